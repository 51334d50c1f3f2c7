//! The messages of the in-memory model, and how they move between their states.
//!
//! **Does not** implement the seam: `queue::memory` does.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use bytes::Bytes;

use super::entry::{
    ATTEMPTS_KEPT, EntryRecipient, Lease, LeasedRecipient, NEVER, Notification, Overdue, OverduePlace, PastAttempt,
    Settlement,
};
use super::next::Next;
use super::rounds::{SenderKey, sender_key};
use super::schedule::{DestinationNumber, Ready, Schedule};
use super::{HoldError, StoreError};
use crate::mail::envelope::Envelope;
use crate::mail::queue_id::QueueId;
use crate::time::Timestamp;
use crate::wire::path::ReversePath;

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) messages: BTreeMap<QueueId, Message>,
    pub(super) numbers: HashMap<String, DestinationNumber>,
    pub(super) names: Vec<String>,
    /// What the next hop has taken and is not settled yet.
    pub(super) relayed: BTreeSet<(QueueId, u32)>,
    pub(super) schedule: Schedule,
    pub(super) last: Option<QueueId>,
}

/// A message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) envelope: Envelope,
    pub(super) octets: Bytes,
    pub(super) arrived: Timestamp,
    pub(super) expires: Timestamp,
    pub(super) recipients: BTreeMap<u32, Recipient>,
}

/// One of its recipients.
#[derive(Debug)]
pub(super) struct Recipient {
    pub(super) entry: EntryRecipient,
    pub(super) warned: bool,
    /// The next hop has it, and the sender has not been told.
    pub(super) unreported: bool,
    pub(super) history: VecDeque<PastAttempt>,
}

impl Message {
    fn settle(&mut self, settlement: Settlement) {
        match settlement {
            Settlement::Done { number } | Settlement::Reported { number } => {
                self.recipients.remove(&number);
            }
            Settlement::Warned { number } => {
                if let Some(recipient) = self.recipients.get_mut(&number) {
                    recipient.warned = true;
                }
            }
            Settlement::Retry {
                number,
                at,
                due,
                reply,
                warned,
            } => {
                if let Some(recipient) = self.recipients.get_mut(&number) {
                    recipient.entry.due = due;
                    recipient.entry.attempts += 1;
                    recipient.entry.last_reply.clone_from(&reply);
                    recipient.warned |= warned;
                    recipient.history.push_back(PastAttempt { number, at, reply });
                    if recipient.history.len() > ATTEMPTS_KEPT as usize {
                        recipient.history.pop_front();
                    }
                }
            }
        }
    }
}

impl Queue {
    pub(super) fn next_id(&mut self, now: Timestamp) -> QueueId {
        let fresh = QueueId::from_parts(now.0, 0);
        let id = self.last.map_or(fresh, |last| fresh.max(last.next()));
        self.last = Some(id);
        id
    }

    pub(super) fn number(&mut self, destination: &str) -> DestinationNumber {
        let fresh = DestinationNumber::try_from(self.names.len()).unwrap_or(DestinationNumber::MAX);
        *self.numbers.entry(destination.to_owned()).or_insert_with(|| {
            self.names.push(destination.to_owned());
            fresh
        })
    }

    pub(super) fn wake(&mut self, destination: &str) {
        let number = self.number(destination);
        self.schedule.wake(number);
    }

    pub(super) fn name(&self, ready: Ready) -> String {
        let place = usize::try_from(ready.destination).unwrap_or(usize::MAX);
        self.names.get(place).cloned().unwrap_or_default()
    }

    /// Unleased recipients at a destination as (due, message), in order of due; none where nothing may be leased.
    pub(super) fn waiting(&self, destination: &str) -> Vec<(Timestamp, QueueId)> {
        let Some(number) = self.numbers.get(destination).copied() else {
            return Vec::new();
        };
        let not_before = self.schedule.not_before(number);
        if not_before.is_none() && self.schedule.room(number) == 0 {
            return Vec::new();
        }
        let mut waiting: Vec<(Timestamp, QueueId)> = self
            .messages
            .iter()
            .filter(|(id, _)| !self.schedule.is_leased(**id, number))
            .flat_map(|(id, message)| message.recipients.values().map(move |r| (&r.entry, *id)))
            .filter(|(recipient, _)| recipient.destination == destination && recipient.due < NEVER)
            .map(|(recipient, id)| (recipient.due.max(not_before.unwrap_or_default()), id))
            .collect();
        waiting.sort_unstable();
        waiting
    }

    pub(super) fn sender(&self, id: QueueId) -> SenderKey {
        self.messages.get(&id).map_or(0, |message| {
            let fingerprint = message.envelope.submitter.fingerprint.as_deref();
            sender_key(fingerprint, &message.envelope.reverse_path.to_string())
        })
    }

    /// The lease of a message's recipients that are due at a destination.
    pub(super) fn lease(&self, id: QueueId, destination: &str, now: Timestamp) -> Option<Lease> {
        let message = self.messages.get(&id)?;
        let due = |r: &Recipient| r.entry.destination == destination && r.entry.due <= now;
        let recipients = message.recipients.iter().filter(|(_, recipient)| due(recipient));
        Some(Lease {
            id,
            destination: destination.to_owned(),
            reverse_path: message.envelope.reverse_path.clone(),
            body: message.envelope.body,
            size_octets: message.octets.len() as u64,
            arrived: message.arrived,
            expires: message.expires,
            submitter: message.envelope.submitter.clone(),
            demands: message.envelope.demands.clone(),
            recipients: recipients
                .map(|(number, recipient)| LeasedRecipient {
                    number: *number,
                    forward_path: recipient.entry.forward_path.clone(),
                    request: recipient.entry.request.clone(),
                    attempts: recipient.entry.attempts,
                    warned: recipient.warned,
                    unreported: recipient.unreported,
                })
                .collect(),
            is_probe: false,
            failures: 0,
        })
    }

    pub(super) fn due(&mut self, now: Timestamp, limit: usize) -> Vec<Lease> {
        self.schedule.advance(now);
        let share = self.schedule.fresh_share(limit);
        let mut leases = self.take_fresh(now, share);
        while leases.len() < limit
            && let Some((ready, _)) = self.schedule.first_ready()
        {
            let name = self.name(ready);
            if self.schedule.room(ready.destination) == 0 {
                self.schedule.wait_for_room(ready);
                continue;
            }
            self.schedule.served(ready);
            let waiting = self.waiting(&name);
            let due = waiting.iter().filter(|(due, _)| *due <= now);
            let found: Vec<_> = due.map(|(_, id)| (self.sender(*id), *id)).collect();
            match self.schedule.choose(ready, found, 1).first() {
                Some(id) => leases.extend(self.lease(*id, &name, now).map(|lease| {
                    let standing = self.schedule.lease(*id, (ready.destination, &name));
                    Lease {
                        is_probe: standing.is_probe,
                        failures: standing.failures,
                        ..lease
                    }
                })),
                None => self.schedule.wait(ready, waiting.first().map(|(due, _)| *due)),
            }
        }
        let left = limit.saturating_sub(leases.len());
        leases.extend(self.take_fresh(now, left));
        leases
    }

    pub(super) fn take_fresh(&mut self, now: Timestamp, limit: usize) -> Vec<Lease> {
        let taken = self.schedule.take_fresh(now, limit);
        taken.into_iter().map(|(_, lease)| lease).collect()
    }

    /// Takes a message in.
    pub(super) fn insert(&mut self, new: Notification) {
        let is_held = new.envelope.hold.is_some();
        let due = if is_held { NEVER } else { new.arrived };
        let mut envelope = new.envelope;
        envelope.body = envelope.body.with(!new.octets.is_ascii());
        let demands = std::mem::take(&mut envelope.demands);
        envelope.demands = demands.clone().of_message();
        let rows = (0..).zip(new.recipients).map(|(number, recipient)| {
            let entry = EntryRecipient {
                number,
                forward_path: recipient.forward_path,
                request: demands.of_recipient(number as usize),
                destination: recipient.destination,
                due,
                attempts: 0,
                last_reply: String::new(),
            };
            let fresh = Recipient {
                entry,
                warned: false,
                unreported: false,
                history: VecDeque::new(),
            };
            (number, fresh)
        });
        let message = Message {
            envelope,
            octets: new.octets,
            arrived: new.arrived,
            expires: new.expires,
            recipients: rows.collect(),
        };
        self.messages.insert(new.id, message);
        if !is_held {
            self.admit(new.id, new.arrived);
        }
    }

    /// The next hop has these, and their sender is still to be told.
    pub(super) fn note_unreported(&mut self, id: QueueId, numbers: &[u32]) {
        let recipients = self.messages.get_mut(&id).map(|message| &mut message.recipients);
        for (_, recipient) in recipients
            .into_iter()
            .flatten()
            .filter(|(number, _)| numbers.contains(number))
        {
            recipient.unreported = true;
        }
    }

    /// A message has been committed: it waits in memory where it may, or is found by a look-up.
    pub(super) fn admit(&mut self, id: QueueId, arrived: Timestamp) {
        let recipients = self.messages.get(&id).into_iter().flat_map(|m| m.recipients.values());
        let destinations: BTreeSet<String> = recipients.map(|r| r.entry.destination.clone()).collect();
        for destination in destinations {
            let number = self.number(&destination);
            let lease = self.lease(id, &destination, arrived);
            match lease.filter(|lease| self.schedule.accepts_fresh(number, 0, lease.recipients.len())) {
                Some(lease) => {
                    self.schedule.arrive(id, (number, &destination));
                    self.schedule.admit(number, lease, None, false);
                }
                None => self.schedule.wake(number),
            }
        }
    }

    /// The model walks in order of id.
    pub(super) fn overdue(
        &mut self,
        destination: &str,
        (now, arrived_by): (Timestamp, Timestamp),
        after: Option<QueueId>,
        limit: usize,
    ) -> Overdue {
        let number = self.number(destination);
        let rests = self.schedule.not_before(number).is_some_and(|until| until > now);
        let is_due = |r: &&Recipient| r.entry.destination == destination && r.entry.due <= now;
        let is_overdue = |message: &Message| {
            let mut due = message.recipients.values().filter(is_due).peekable();
            let is_unwarned = |r: &Recipient| !r.warned && message.envelope.reverse_path != ReversePath::Null;
            due.peek().is_some() && (message.expires <= now || message.arrived <= arrived_by && due.any(is_unwarned))
        };
        let messages = self.messages.iter().filter(|(_, message)| rests && is_overdue(message));
        let ids: Vec<QueueId> = messages
            .map(|(id, _)| *id)
            .filter(|id| Some(*id) > after && !self.schedule.is_leased(*id, number))
            .take(limit)
            .collect();
        let last = ids.last().filter(|_| ids.len() == limit);
        let next = last.map(|id| OverduePlace { due: now, id: *id });
        let mut leases = Vec::new();
        for id in ids {
            self.schedule.lease_overdue(id, (number, destination));
            leases.extend(self.lease(id, destination, now));
        }
        Overdue { leases, next }
    }

    pub(super) fn report(
        &mut self,
        lease: &Lease,
        mut settlements: Vec<Settlement>,
        notifications: Vec<Notification>,
    ) -> Result<(), StoreError> {
        let number = self.schedule.begin_settling(lease.id, &lease.destination);
        let number = number.ok_or(StoreError::NotLeased(lease.id))?;
        let told = !settlements.is_empty();
        settlements.retain(|settlement| !self.relayed.contains(&(lease.id, settlement.number())));
        let relayed = lease.recipients.iter().map(|recipient| (lease.id, recipient.number));
        let relayed = relayed.filter(|recipient| self.relayed.remove(recipient));
        settlements.extend(relayed.map(|(_, number)| Settlement::Done { number }));
        let next = Next::after(lease, &settlements);
        let others = self.schedule.begin_settling_others(lease, &settlements);
        if let Some(message) = self.messages.get_mut(&lease.id) {
            for settlement in settlements {
                message.settle(settlement);
            }
            if message.recipients.is_empty() {
                self.messages.remove(&lease.id);
            }
        }
        self.schedule.release(lease.id, number, told, next);
        self.schedule.release_others(lease.id, &others);
        for notification in notifications {
            self.insert(notification);
        }
        Ok(())
    }

    pub(super) fn abandon(&mut self, id: QueueId, destination: &str) {
        if !self.schedule.abandon(id, destination) {
            return;
        }
        if let Some(message) = self.messages.get_mut(&id) {
            let relayed = |number: &u32, _: &mut Recipient| !self.relayed.remove(&(id, *number));
            message.recipients.retain(relayed);
            if message.recipients.is_empty() {
                self.messages.remove(&id);
            }
        }
    }

    pub(super) fn flush(&mut self, now: Timestamp) -> usize {
        self.schedule.open_all();
        let mut moved = 0;
        let recipients = self
            .messages
            .values_mut()
            .flat_map(|message| message.recipients.values_mut())
            .map(|recipient| &mut recipient.entry);
        for recipient in recipients.filter(|recipient| recipient.due > now && recipient.due < NEVER) {
            recipient.due = now;
            moved += 1;
        }
        for destination in self.names.clone() {
            self.wake(&destination);
        }
        moved
    }

    pub(super) fn hold(&mut self, id: QueueId, reason: &str) -> Result<(), HoldError> {
        let message = self.messages.get_mut(&id).ok_or(HoldError::Unknown(id))?;
        if let Some(reason) = message.envelope.hold.clone() {
            return Err(HoldError::OnHold { id, reason });
        }
        if !self.schedule.take_back(id) {
            return Err(HoldError::Leased(id));
        }
        message.envelope.hold = Some(reason.to_owned());
        for recipient in message.recipients.values_mut() {
            recipient.entry.due = NEVER;
        }
        Ok(())
    }

    pub(super) fn release(&mut self, id: QueueId, now: Timestamp) -> Result<(), HoldError> {
        let message = self.messages.get_mut(&id).ok_or(HoldError::Unknown(id))?;
        if message.envelope.hold.take().is_none() {
            return Err(HoldError::NotOnHold(id));
        }
        let mut destinations = Vec::new();
        for recipient in message.recipients.values_mut() {
            recipient.entry.due = now;
            destinations.push(recipient.entry.destination.clone());
        }
        for destination in destinations {
            self.wake(&destination);
        }
        Ok(())
    }

    pub(super) fn release_some(&mut self, now: Timestamp, limit: usize) -> Vec<QueueId> {
        let on_hold = self
            .messages
            .iter()
            .filter(|(_, message)| message.envelope.hold.is_some());
        let ids: Vec<QueueId> = on_hold.map(|(id, _)| *id).take(limit).collect();
        ids.into_iter().filter(|id| self.release(*id, now).is_ok()).collect()
    }
}
