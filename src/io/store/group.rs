//! How each operation is written within the group's transaction.
//!
//! **Does not** begin or commit: `writer` does.

use std::collections::HashMap;

use rusqlite::{Transaction, params};

use super::operation::{Arrival, Content, Effects, Enqueue, FLUSH_RECIPIENTS_MAX, Operation};
use super::schema::NEVER;
use super::shared::Shared;
use super::statements;
use crate::mail::envelope::Body;
use crate::mail::queue_id::QueueId;
use crate::queue::entry::{ATTEMPTS_KEPT, Settlement};
use crate::queue::schedule::DestinationNumber;
use crate::time::Timestamp;

/// The writer's transaction with what it remembers of destinations.
pub(super) struct Group<'a> {
    pub(super) transaction: Transaction<'a>,
    pub(super) destinations: &'a mut HashMap<String, DestinationNumber>,
    pub(super) shared: &'a Shared,
    pub(super) effects: Effects,
}

impl Group<'_> {
    /// Writes one operation.
    pub(super) fn apply(&mut self, operation: &Operation) -> rusqlite::Result<()> {
        match operation {
            Operation::Enqueue(enqueue) => self.enqueue(enqueue),
            Operation::Settle {
                id,
                settlements,
                notifications,
                is_whole,
                reply,
                ..
            } => {
                if *is_whole {
                    self.delete_whole(*id)?;
                } else {
                    self.settle(*id, settlements)?;
                }
                self.notify(notifications, reply.is_none())
            }
            Operation::Replay(done) => {
                for (id, number) in done {
                    self.delete_recipient(*id, *number)?;
                    self.delete_if_settled(*id)?;
                }
                Ok(())
            }
            Operation::Discard { id, .. } => self.discard(*id),
            Operation::HoldDamaged { id, reason } => self.hold(*id, &format!("damaged: {reason}"), true),
            Operation::Hold { id, reason, .. } => self.hold(*id, reason, false),
            Operation::Release { ids, now, .. } => ids.iter().try_for_each(|id| self.release(*id, *now)),
            Operation::Changes { changes, now, .. } => changes
                .iter()
                .try_for_each(|(id, change)| self.change(*id, change, *now)),
            Operation::BackOff {
                destination,
                until,
                text,
                ..
            } => self.back_off(destination, *until, text),
            Operation::Flush { now, .. } => self.flush(*now),
            Operation::Close | Operation::Maintain => Ok(()),
        }
    }

    fn enqueue(&mut self, enqueue: &Enqueue) -> rusqlite::Result<()> {
        let Enqueue { envelope, content, .. } = enqueue;
        let submitter = &envelope.submitter;
        let id = enqueue.id.number();
        self.transaction
            .prepare_cached(statements::INSERT_MESSAGE)?
            .execute(params![
                id,
                enqueue.arrived.0,
                enqueue.expires.0,
                envelope.reverse_path.to_string(),
                match envelope.body {
                    Body::SevenBit => "7bit",
                    Body::EightBitMime => "8bitmime",
                },
                i64::try_from(enqueue.size_octets).unwrap_or(i64::MAX),
                enqueue.crc32c,
                matches!(content, Content::Inline(_)),
                submitter.session_id,
                submitter.peer.map(|peer| peer.to_string()),
                submitter.identity,
                submitter.issuer,
                submitter.subject,
                submitter.fingerprint,
                submitter.decided_by,
                envelope.hold,
                submitter.login,
                envelope.demands.smtputf8.then_some(1),
                envelope.demands.require_tls.then_some(1),
                envelope.demands.dsn.ret.map(|ret| ret.to_string()),
                envelope.demands.dsn.envelope_id,
            ])?;
        if let Content::Inline(octets) = content {
            self.transaction
                .prepare_cached(statements::INSERT_DATA)?
                .execute(params![id, &octets[..]])?;
        }
        self.enqueue_recipients(enqueue)
    }

    /// `again` when a commit has failed before without it being certain that nothing was written.
    fn notify(&mut self, notifications: &[Enqueue], again: bool) -> rusqlite::Result<()> {
        for notification in notifications {
            if again {
                self.discard(notification.id)?;
            }
            self.enqueue(notification)?;
        }
        Ok(())
    }

    fn enqueue_recipients(&mut self, enqueue: &Enqueue) -> rusqlite::Result<()> {
        let is_held = enqueue.envelope.hold.is_some();
        let due = if is_held {
            NEVER
        } else {
            enqueue.arrived.0.min(NEVER - 1)
        };
        let first = self.effects.arrivals.len();
        for (number, recipient) in (0_u32..).zip(&enqueue.recipients) {
            let request = enqueue.envelope.demands.recipients.get(number as usize);
            let destination = self.destination(&recipient.destination)?;
            self.transaction
                .prepare_cached(statements::INSERT_RECIPIENT)?
                .execute(params![
                    destination,
                    due,
                    enqueue.id.number(),
                    number,
                    recipient.forward_path.to_string(),
                    is_held,
                    request
                        .and_then(|request| request.notify)
                        .map(|notify| notify.to_string()),
                    request.and_then(|request| request.original_recipient.as_deref()),
                ])?;
            if !is_held {
                self.arrive(first, enqueue.id, destination, number);
            }
        }
        Ok(())
    }

    /// Adds a recipient to the arrivals of its message, which begin at `first`.
    fn arrive(&mut self, first: usize, id: QueueId, destination: DestinationNumber, number: u32) {
        let mut arrivals = self.effects.arrivals.iter_mut().skip(first);
        if let Some(arrival) = arrivals.find(|arrival| arrival.destination == destination) {
            arrival.recipients.push(number);
            return;
        }
        self.effects.arrivals.push(Arrival {
            id,
            destination,
            recipients: vec![number],
        });
    }

    /// The number of a destination, which gets one when it has none.
    pub(super) fn destination(&mut self, name: &str) -> rusqlite::Result<DestinationNumber> {
        if let Some(known) = self.destinations.get(name) {
            return Ok(*known);
        }
        self.transaction
            .prepare_cached("INSERT INTO destination (name) VALUES (?) ON CONFLICT DO NOTHING")?
            .execute([name])?;
        let number = self
            .transaction
            .prepare_cached("SELECT id FROM destination WHERE name = ?")?
            .query_row([name], |row| row.get(0))?;
        self.destinations.insert(name.to_owned(), number);
        Ok(number)
    }

    fn settle(&mut self, id: QueueId, settlements: &[Settlement]) -> rusqlite::Result<()> {
        for settlement in settlements {
            match settlement {
                Settlement::Done { number } | Settlement::Reported { number } => self.delete_recipient(id, *number)?,
                Settlement::Warned { number } => self.note_warning(id, *number)?,
                Settlement::Retry {
                    number,
                    at,
                    due,
                    reply,
                    warned,
                } => {
                    // A held recipient stays held: it is not for its delivery to wake it.
                    self.transaction
                        .prepare_cached(
                            "UPDATE recipient SET due = CASE state WHEN 0 THEN ?3 ELSE due END,
                                 attempts = attempts + 1, last_reply = ?4, warned = max(warned, ?5)
                             WHERE message = ?1 AND n = ?2",
                        )?
                        .execute(params![id.number(), number, due.0.min(NEVER - 1), reply, warned])?;
                    self.record_attempt(id, *number, *at, reply)?;
                }
            }
        }
        if settlements.is_empty() {
            return Ok(());
        }
        self.delete_if_settled(id)
    }

    /// All recipients are done, and none was ever deferred.
    fn delete_whole(&mut self, id: QueueId) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached(statements::DELETE_RECIPIENTS)?
            .execute([id.number()])?;
        self.delete_message(id, false)
    }

    /// The latest [`ATTEMPTS_KEPT`] attempts stay on record.
    fn record_attempt(&self, id: QueueId, number: u32, at: Timestamp, reply: &str) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO attempt SELECT message, n, attempts, ?3, ?4 FROM recipient
                     WHERE message = ?1 AND n = ?2",
            )?
            .execute(params![id.number(), number, at.0, reply])?;
        self.transaction
            .prepare_cached(
                "DELETE FROM attempt WHERE message = ?1 AND n = ?2 AND attempt <=
                     (SELECT attempts FROM recipient WHERE message = ?1 AND n = ?2) - ?3",
            )?
            .execute(params![id.number(), number, ATTEMPTS_KEPT])
            .map(drop)
    }

    fn note_warning(&self, id: QueueId, number: u32) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached("UPDATE recipient SET warned = 1 WHERE message = ? AND n = ?")?
            .execute(params![id.number(), number])
            .map(drop)
    }

    fn delete_recipient(&self, id: QueueId, number: u32) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached(statements::DELETE_RECIPIENT)?
            .execute(params![id.number(), number])
            .map(drop)
    }

    /// The message goes with its last recipient.
    fn delete_if_settled(&mut self, id: QueueId) -> rusqlite::Result<()> {
        let left: bool = self
            .transaction
            .prepare_cached(statements::HAS_RECIPIENTS)?
            .query_row([id.number()], |row| row.get(0))?;
        if !left {
            self.delete_message(id, true)?;
        }
        Ok(())
    }

    fn delete_message(&mut self, id: QueueId, was_tried: bool) -> rusqlite::Result<()> {
        let number = id.number();
        let existed = self
            .transaction
            .prepare_cached(statements::DELETE_MESSAGE)?
            .execute([number])?;
        if was_tried {
            self.transaction
                .prepare_cached(statements::DELETE_ATTEMPTS)?
                .execute([number])?;
        }
        let inline = self
            .transaction
            .prepare_cached(statements::DELETE_DATA)?
            .execute([number])?;
        if existed > 0 && inline == 0 {
            self.effects.files.push(id);
        }
        Ok(())
    }

    pub(super) fn discard(&mut self, id: QueueId) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached(statements::DELETE_RECIPIENTS)?
            .execute([id.number()])?;
        self.delete_message(id, true)
    }

    /// A damaged message stays damaged, whoever else would hold it.
    pub(super) fn hold(&mut self, id: QueueId, reason: &str, is_damaged: bool) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached("UPDATE message SET hold = ?2, damaged = ?3 WHERE id = ?1 AND damaged = 0")?
            .execute(params![id.number(), reason, is_damaged])?;
        let destinations: Vec<DestinationNumber> = self
            .transaction
            .prepare_cached("UPDATE recipient SET state = 1, due = ?2 WHERE message = ?1 RETURNING destination")?
            .query_map(params![id.number(), NEVER], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        // They may have waited for what is due no more.
        self.effects.woken.extend(destinations);
        Ok(())
    }

    pub(super) fn release(&mut self, id: QueueId, now: Timestamp) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached("UPDATE message SET hold = NULL, damaged = 0 WHERE id = ?")?
            .execute([id.number()])?;
        let destinations: Vec<DestinationNumber> = self
            .transaction
            .prepare_cached("UPDATE recipient SET state = 0, due = ?2 WHERE message = ?1 RETURNING destination")?
            .query_map(params![id.number(), now.0.min(NEVER - 1)], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        self.effects.woken.extend(destinations);
        Ok(())
    }

    fn back_off(&mut self, destination: &str, until: Timestamp, text: &str) -> rusqlite::Result<()> {
        let number = self.destination(destination)?;
        let failures = self.shared.schedule().failures_after(number, until);
        self.transaction
            .prepare_cached("UPDATE destination SET next_try = ?2, failures = ?3, last_reply = ?4 WHERE id = ?1")?
            .execute(params![number, until.0, failures, text])?;
        self.effects.rests.push((number, until, failures));
        Ok(())
    }

    fn flush(&mut self, now: Timestamp) -> rusqlite::Result<()> {
        let mut moved = 0;
        let destinations: Vec<DestinationNumber> = self
            .transaction
            .prepare_cached("SELECT id FROM destination")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        self.transaction
            .prepare_cached("UPDATE destination SET next_try = 0 WHERE next_try > 0")?
            .execute([])?;
        for destination in destinations {
            moved += self
                .transaction
                .prepare_cached(
                    "UPDATE recipient SET due = ?2 WHERE (destination, due, message, n) IN (
                         SELECT destination, due, message, n FROM recipient
                         WHERE destination = ?1 AND due > ?2 AND due < ?3 LIMIT ?4)",
                )?
                .execute(params![
                    destination,
                    now.0,
                    NEVER,
                    i64::try_from(FLUSH_RECIPIENTS_MAX - moved).unwrap_or(0)
                ])?;
            self.effects.woken.push(destination);
            if moved >= FLUSH_RECIPIENTS_MAX {
                break;
            }
        }
        self.effects.flushed.push(moved);
        Ok(())
    }
}
