//! What the writer can be asked to do, and how each is written within the group's transaction.
//!
//! **Does not** begin or commit: `writer` does.

use std::collections::HashMap;

use rusqlite::{Transaction, params};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::done_log::Done;
use super::files::DataFile;
use super::schema::NEVER;
use crate::mail::envelope::{Body, Envelope};
use crate::mail::queue_id::QueueId;
use crate::queue::StoreError;
use crate::queue::entry::{ATTEMPTS_KEPT, NewRecipient, Settlement};
use crate::queue::operator::Change;
use crate::queue::schedule::DestinationNumber;
use crate::time::Timestamp;

/// Where the answer to an operation goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// Recipients moved by one [`Operation::Flush`].
pub(super) const FLUSH_RECIPIENTS_MAX: usize = 10_000;

/// A message to be queued.
#[derive(Debug)]
pub(super) struct Enqueue {
    pub(super) id: QueueId,
    pub(super) envelope: Envelope,
    pub(super) recipients: Vec<NewRecipient>,
    pub(super) arrived: Timestamp,
    pub(super) expires: Timestamp,
    pub(super) size_octets: u64,
    pub(super) crc32c: u32,
    pub(super) content: Content,
    pub(super) reply: Reply<()>,
    /// Its share of the octets that may wait for the writer.
    pub(super) _share: OwnedSemaphorePermit,
}

/// Where the mail data is.
#[derive(Debug)]
pub(super) enum Content {
    /// In memory, for the table `data`.
    Inline(Vec<u8>),
    /// In a file that is durable already.
    File(DataFile),
}

/// Something for the writer to do.
#[derive(Debug)]
pub(super) enum Operation {
    /// Queue a message.
    Enqueue(Box<Enqueue>),
    /// Settle recipients and end their lease.
    Settle {
        id: QueueId,
        destination: String,
        settlements: Vec<Settlement>,
        /// Absent when it is tried again after its caller was told of a failure.
        reply: Option<Reply<()>>,
    },
    /// Remove recipients that a former process left in done.log.
    Replay(Vec<Done>),
    /// Take back a message whose commit failed without it being certain that nothing was written.
    Discard { id: QueueId, file: Option<DataFile> },
    /// Hold a message that cannot be delivered: nothing of it is due any more.
    HoldDamaged { id: QueueId, reason: String },
    /// Put a message on hold that no delivery has.
    Hold {
        id: QueueId,
        reason: String,
        reply: Reply<()>,
    },
    /// Make the recipients of held messages due.
    Release {
        ids: Vec<QueueId>,
        now: Timestamp,
        reply: Reply<()>,
    },
    /// Carry out what an operator asked for.
    Changes {
        changes: Vec<(QueueId, Change)>,
        now: Timestamp,
        reply: Reply<()>,
    },
    /// Nothing at the destination is due before `until`.
    BackOff {
        destination: String,
        until: Timestamp,
        text: String,
        reply: Reply<()>,
    },
    /// Make up to [`FLUSH_RECIPIENTS_MAX`] recipients due.
    Flush { now: Timestamp, reply: Reply<usize> },
    /// Look whether there is space again.
    Maintain,
    /// Commit what waits, checkpoint, and end.
    Close,
}

/// What is to be done once the transaction is committed.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// Destinations at which something changed.
    pub(super) woken: Vec<DestinationNumber>,
    /// Messages that are gone and had a file.
    pub(super) files: Vec<QueueId>,
    /// Recipients moved by the flushes, in order.
    pub(super) flushed: Vec<usize>,
}

impl Operation {
    /// An estimate of what the operation adds to the transaction, octets.
    pub(super) fn octets(&self) -> usize {
        match self {
            Self::Enqueue(enqueue) => match &enqueue.content {
                Content::Inline(octets) => octets.len() + 512,
                Content::File(_) => 512,
            },
            _ => 512,
        }
    }

    /// The recipients it settles for good.
    pub(super) fn done(&self) -> impl Iterator<Item = Done> {
        let (id, settlements) = match self {
            Self::Settle { id, settlements, .. } => (Some(*id), settlements.as_slice()),
            _ => (None, &[][..]),
        };
        settlements.iter().filter_map(move |settlement| match settlement {
            Settlement::Done { number } => Some((id?, *number)),
            Settlement::Retry { .. } => None,
        })
    }
}

/// The writer's transaction with what it remembers of destinations.
pub(super) struct Group<'a> {
    pub(super) transaction: Transaction<'a>,
    pub(super) destinations: &'a mut HashMap<String, DestinationNumber>,
    pub(super) effects: Effects,
}

impl Group<'_> {
    /// Writes one operation.
    pub(super) fn apply(&mut self, operation: &Operation) -> rusqlite::Result<()> {
        match operation {
            Operation::Enqueue(enqueue) => self.enqueue(enqueue),
            Operation::Settle {
                id,
                destination,
                settlements,
                ..
            } => self.settle(*id, destination, settlements),
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
            .prepare_cached("INSERT INTO message VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,0)")?
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
            ])?;
        if let Content::Inline(octets) = content {
            self.transaction
                .prepare_cached("INSERT INTO data VALUES (?, ?)")?
                .execute(params![id, octets])?;
        }
        self.enqueue_recipients(enqueue)
    }

    fn enqueue_recipients(&mut self, enqueue: &Enqueue) -> rusqlite::Result<()> {
        let is_held = enqueue.envelope.hold.is_some();
        let due = if is_held {
            NEVER
        } else {
            enqueue.arrived.0.min(NEVER - 1)
        };
        for (number, recipient) in (0_i64..).zip(&enqueue.recipients) {
            let destination = self.destination(&recipient.destination)?;
            self.transaction
                .prepare_cached(
                    "INSERT INTO recipient (destination, due, message, n, forward_path, state) VALUES (?, ?, ?, ?, ?, ?)",
                )?
                .execute(params![
                    destination,
                    due,
                    enqueue.id.number(),
                    number,
                    recipient.forward_path.to_string(),
                    is_held,
                ])?;
            self.effects.woken.push(destination);
        }
        Ok(())
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

    fn settle(&mut self, id: QueueId, destination: &str, settlements: &[Settlement]) -> rusqlite::Result<()> {
        for settlement in settlements {
            match settlement {
                Settlement::Done { number } => self.delete_recipient(id, *number)?,
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
        self.delete_if_settled(id)?;
        let destination = self.destination(destination)?;
        self.effects.woken.push(destination);
        Ok(())
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

    fn delete_recipient(&self, id: QueueId, number: u32) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached("DELETE FROM recipient WHERE message = ? AND n = ?")?
            .execute(params![id.number(), number])
            .map(drop)
    }

    /// The message goes with its last recipient.
    fn delete_if_settled(&mut self, id: QueueId) -> rusqlite::Result<()> {
        let left: bool = self
            .transaction
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM recipient WHERE message = ?)")?
            .query_row([id.number()], |row| row.get(0))?;
        if !left {
            self.delete_message(id)?;
        }
        Ok(())
    }

    fn delete_message(&mut self, id: QueueId) -> rusqlite::Result<()> {
        let number = id.number();
        let inline = self
            .transaction
            .prepare_cached("DELETE FROM message WHERE id = ? RETURNING inline")?
            .query_map([number], |row| row.get(0))?
            .collect::<rusqlite::Result<Vec<bool>>>()?;
        self.transaction
            .prepare_cached("DELETE FROM attempt WHERE message = ?")?
            .execute([number])?;
        match inline.first() {
            Some(true) => {
                self.transaction
                    .prepare_cached("DELETE FROM data WHERE message = ?")?
                    .execute([number])?;
            }
            Some(false) => self.effects.files.push(id),
            None => {}
        }
        Ok(())
    }

    pub(super) fn discard(&mut self, id: QueueId) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached("DELETE FROM recipient WHERE message = ?")?
            .execute([id.number()])?;
        self.delete_message(id)
    }

    /// A damaged message stays damaged, whoever else would hold it.
    pub(super) fn hold(&mut self, id: QueueId, reason: &str, is_damaged: bool) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached("UPDATE message SET hold = ?2, damaged = ?3 WHERE id = ?1 AND damaged = 0")?
            .execute(params![id.number(), reason, is_damaged])?;
        self.transaction
            .prepare_cached("UPDATE recipient SET state = 1, due = ?2 WHERE message = ?1")?
            .execute(params![id.number(), NEVER])
            .map(drop)
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
        self.transaction
            .prepare_cached(
                "UPDATE destination SET next_try = ?2, failures = CASE ?2 WHEN 0 THEN 0 ELSE failures + 1 END,
                     last_reply = ?3 WHERE id = ?1",
            )?
            .execute(params![number, until.0, text])?;
        self.effects.woken.push(number);
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
