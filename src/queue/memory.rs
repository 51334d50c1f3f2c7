//! The in-memory model of the queue: what a store has to do, without a disk.
//!
//! **Does not** survive anything; it is what the contract suite measures the embedded store against, and what
//! simulations run on.

mod operator;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::entry::{
    ATTEMPTS_KEPT, Entry, EntryRecipient, Lease, LeasedRecipient, NEVER, NewRecipient, PastAttempt, Settlement,
};
use super::schedule::{DestinationNumber, Ready, Schedule};
use super::{Draft, HoldError, Store, StoreError};
use crate::mail::envelope::Envelope;
use crate::mail::queue_id::QueueId;
use crate::time::Timestamp;

/// A queue in memory. Clones are handles on the same queue.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    queue: Arc<Mutex<Queue>>,
    clock: fn() -> Timestamp,
}

#[derive(Debug, Default)]
struct Queue {
    messages: BTreeMap<QueueId, Message>,
    numbers: HashMap<String, DestinationNumber>,
    names: Vec<String>,
    back_offs: HashMap<String, Timestamp>,
    schedule: Schedule,
    last: Option<QueueId>,
}

#[derive(Debug)]
struct Message {
    envelope: Envelope,
    octets: Vec<u8>,
    arrived: Timestamp,
    expires: Timestamp,
    recipients: BTreeMap<u32, Recipient>,
}

#[derive(Debug)]
struct Recipient {
    entry: EntryRecipient,
    warned: bool,
    history: VecDeque<PastAttempt>,
}

impl MemoryStore {
    /// An empty queue; `clock` gives the wall clock for the ids.
    pub fn new(clock: fn() -> Timestamp) -> Self {
        Self {
            queue: Arc::default(),
            clock,
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn next_id(&mut self, now: Timestamp) -> QueueId {
        let fresh = QueueId::from_parts(now.0, 0);
        let id = self.last.map_or(fresh, |last| fresh.max(last.next()));
        self.last = Some(id);
        id
    }

    fn wake(&mut self, destination: &str) {
        let fresh = DestinationNumber::try_from(self.names.len()).unwrap_or(DestinationNumber::MAX);
        let number = *self.numbers.entry(destination.to_owned()).or_insert_with(|| {
            self.names.push(destination.to_owned());
            fresh
        });
        self.schedule.wake(number);
    }

    fn name(&self, ready: Ready) -> String {
        let place = usize::try_from(ready.destination).unwrap_or(usize::MAX);
        self.names.get(place).cloned().unwrap_or_default()
    }

    /// Unleased recipients at a destination as (due, message), in order of due.
    fn waiting(&self, destination: &str) -> Vec<(Timestamp, QueueId)> {
        let not_before = self.back_offs.get(destination).copied().unwrap_or_default();
        let mut waiting: Vec<(Timestamp, QueueId)> = self
            .messages
            .iter()
            .filter(|(id, _)| !self.schedule.is_leased(**id, destination))
            .flat_map(|(id, message)| message.recipients.values().map(move |r| (&r.entry, *id)))
            .filter(|(recipient, _)| recipient.destination == destination && recipient.due < NEVER)
            .map(|(recipient, id)| (recipient.due.max(not_before), id))
            .collect();
        waiting.sort_unstable();
        waiting
    }

    fn lease(&mut self, id: QueueId, destination: &str, now: Timestamp) -> Option<Lease> {
        let message = self.messages.get(&id)?;
        let due = |r: &Recipient| r.entry.destination == destination && r.entry.due <= now;
        let recipients = message.recipients.iter().filter(|(_, recipient)| due(recipient));
        let lease = Lease {
            id,
            destination: destination.to_owned(),
            reverse_path: message.envelope.reverse_path.clone(),
            body: message.envelope.body,
            size_octets: message.octets.len() as u64,
            arrived: message.arrived,
            expires: message.expires,
            submitter: message.envelope.submitter.clone(),
            recipients: recipients
                .map(|(number, recipient)| LeasedRecipient {
                    number: *number,
                    forward_path: recipient.entry.forward_path.clone(),
                    attempts: recipient.entry.attempts,
                    warned: recipient.warned,
                })
                .collect(),
            is_probe: false,
            failures: 0,
        };
        self.schedule.lease(id, destination);
        Some(lease)
    }

    fn due(&mut self, now: Timestamp, limit: usize) -> Vec<Lease> {
        let mut leases = Vec::new();
        self.schedule.advance(now);
        while leases.len() < limit
            && let Some((ready, _)) = self.schedule.first_ready()
        {
            let name = self.name(ready);
            if self.schedule.room(&name) == 0 {
                self.schedule.wait(ready, None);
                continue;
            }
            self.schedule.served(ready);
            match self.waiting(&name).first() {
                Some((due, id)) if *due <= now => leases.extend(self.lease(*id, &name, now)),
                later => self.schedule.wait(ready, later.map(|(due, _)| *due)),
            }
        }
        leases
    }

    fn settle(&mut self, lease: &Lease, settlements: Vec<Settlement>) {
        if let Some(message) = self.messages.get_mut(&lease.id) {
            for settlement in settlements {
                match settlement {
                    Settlement::Done { number } => {
                        message.recipients.remove(&number);
                    }
                    Settlement::Retry {
                        number,
                        at,
                        due,
                        reply,
                        warned,
                    } => {
                        if let Some(recipient) = message.recipients.get_mut(&number) {
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
            if message.recipients.is_empty() {
                self.messages.remove(&lease.id);
            }
        }
        self.schedule.release(lease.id, &lease.destination);
        self.wake(&lease.destination);
    }

    fn flush(&mut self, now: Timestamp) -> usize {
        self.back_offs.clear();
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

    fn hold(&mut self, id: QueueId, reason: &str) -> Result<(), HoldError> {
        let is_leased = self.schedule.is_any_leased(id);
        let message = self.messages.get_mut(&id).ok_or(HoldError::Unknown(id))?;
        if let Some(reason) = message.envelope.hold.clone() {
            return Err(HoldError::OnHold { id, reason });
        }
        if is_leased {
            return Err(HoldError::Leased(id));
        }
        message.envelope.hold = Some(reason.to_owned());
        for recipient in message.recipients.values_mut() {
            recipient.entry.due = NEVER;
        }
        Ok(())
    }

    fn release(&mut self, id: QueueId, now: Timestamp) -> Result<(), HoldError> {
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

    fn release_some(&mut self, now: Timestamp, limit: usize) -> Vec<QueueId> {
        let on_hold = self
            .messages
            .iter()
            .filter(|(_, message)| message.envelope.hold.is_some());
        let ids: Vec<QueueId> = on_hold.map(|(id, _)| *id).take(limit).collect();
        ids.into_iter().filter(|id| self.release(*id, now).is_ok()).collect()
    }
}

impl Store for MemoryStore {
    type Draft = MemoryDraft;

    fn begin(&self) -> impl Future<Output = Result<MemoryDraft, StoreError>> + Send {
        let id = self.queue().next_id((self.clock)());
        std::future::ready(Ok(MemoryDraft {
            store: self.clone(),
            id,
            octets: Vec::new(),
        }))
    }

    fn due(&self, now: Timestamp, limit: usize) -> impl Future<Output = Result<Vec<Lease>, StoreError>> + Send {
        std::future::ready(Ok(self.queue().due(now, limit)))
    }

    fn next_due(&self) -> impl Future<Output = Result<Option<Timestamp>, StoreError>> + Send {
        let queue = self.queue();
        let next = queue
            .names
            .iter()
            .filter_map(|name| queue.waiting(name).first().copied());
        std::future::ready(Ok(next.map(|(due, _)| due).min()))
    }

    fn data(&self, id: QueueId, offset: u64, limit: usize) -> impl Future<Output = Result<Bytes, StoreError>> + Send {
        let queue = self.queue();
        let piece = queue.messages.get(&id).map(|message| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(message.octets.len());
            let end = start.saturating_add(limit).min(message.octets.len());
            Bytes::copy_from_slice(message.octets.get(start..end).unwrap_or_default())
        });
        std::future::ready(piece.ok_or_else(|| StoreError::Damaged(id.to_string())))
    }

    fn relayed(&self, _lease: &Lease, _numbers: &[u32]) -> Result<(), StoreError> {
        Ok(())
    }

    fn history(&self, id: QueueId) -> impl Future<Output = Result<Vec<PastAttempt>, StoreError>> + Send {
        let queue = self.queue();
        let recipients = queue.messages.get(&id).into_iter().flat_map(|m| m.recipients.values());
        let mut past: Vec<PastAttempt> = recipients.flat_map(|r| r.history.iter().cloned()).collect();
        past.sort_by_key(|attempt| attempt.at);
        std::future::ready(Ok(past))
    }

    fn fresh_waiting(&self) -> usize {
        0
    }

    fn abandon(&self, id: QueueId, destination: &str) {
        let mut queue = self.queue();
        queue.schedule.release(id, destination);
        queue.wake(destination);
    }

    fn settle(
        &self,
        lease: Lease,
        settlements: Vec<Settlement>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        self.queue().settle(&lease, settlements);
        std::future::ready(Ok(()))
    }

    fn list(
        &self,
        after: Option<QueueId>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Entry>, StoreError>> + Send {
        let queue = self.queue();
        let messages = queue
            .messages
            .iter()
            .filter(|(id, _)| after.is_none_or(|after| **id > after));
        let entries = messages.take(limit).map(|(id, message)| Entry {
            id: *id,
            arrived: message.arrived,
            expires: message.expires,
            size_octets: message.octets.len() as u64,
            reverse_path: message.envelope.reverse_path.clone(),
            submitter: message.envelope.submitter.clone(),
            hold: message.envelope.hold.clone(),
            recipients: message.recipients.values().map(|r| r.entry.clone()).collect(),
        });
        std::future::ready(Ok(entries.collect()))
    }

    fn back_off(
        &self,
        destination: &str,
        until: Timestamp,
        _reply: &str,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let mut queue = self.queue();
        queue.back_offs.insert(destination.to_owned(), until);
        queue.wake(destination);
        std::future::ready(Ok(()))
    }

    fn has_space(&self) -> bool {
        true
    }

    fn flush(&self, now: Timestamp) -> impl Future<Output = Result<usize, StoreError>> + Send {
        std::future::ready(Ok(self.queue().flush(now)))
    }

    fn hold(&self, id: QueueId, reason: &str) -> impl Future<Output = Result<(), HoldError>> + Send {
        std::future::ready(self.queue().hold(id, reason))
    }

    fn release(&self, id: QueueId, now: Timestamp) -> impl Future<Output = Result<(), HoldError>> + Send {
        std::future::ready(self.queue().release(id, now))
    }

    fn release_some(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<QueueId>, StoreError>> + Send {
        std::future::ready(Ok(self.queue().release_some(now, limit)))
    }
}

/// A message on its way into a [`MemoryStore`].
#[derive(Debug)]
pub struct MemoryDraft {
    store: MemoryStore,
    id: QueueId,
    octets: Vec<u8>,
}

impl Draft for MemoryDraft {
    fn id(&self) -> QueueId {
        self.id
    }

    fn append(&mut self, octets: &[u8]) -> impl Future<Output = Result<(), StoreError>> + Send {
        self.octets.extend_from_slice(octets);
        std::future::ready(Ok(()))
    }

    fn commit(
        self,
        envelope: Envelope,
        recipients: Vec<NewRecipient>,
        arrived: Timestamp,
        expires: Timestamp,
    ) -> impl Future<Output = Result<QueueId, StoreError>> + Send {
        if recipients.is_empty() {
            return std::future::ready(Err(StoreError::Io("a message needs a recipient".into())));
        }
        let mut queue = self.store.queue();
        for recipient in &recipients {
            queue.wake(&recipient.destination);
        }
        let due = if envelope.hold.is_some() { NEVER } else { arrived };
        let rows = (0..).zip(recipients).map(|(number, recipient)| {
            let entry = EntryRecipient {
                number,
                forward_path: recipient.forward_path,
                destination: recipient.destination,
                due,
                attempts: 0,
                last_reply: String::new(),
            };
            let fresh = Recipient {
                entry,
                warned: false,
                history: VecDeque::new(),
            };
            (number, fresh)
        });
        let message = Message {
            envelope,
            octets: self.octets,
            arrived,
            expires,
            recipients: rows.collect(),
        };
        queue.messages.insert(self.id, message);
        std::future::ready(Ok(self.id))
    }
}
