//! The in-memory model of the queue: what a store has to do, without a disk.
//!
//! **Does not** survive anything; it is what the contract suite measures the embedded store against, and what
//! simulations run on.

mod operator;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::entry::{Entry, Lease, NewRecipient, Notification, Overdue, OverduePlace, PastAttempt, Settlement};
use super::model::Queue;
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
        let next = next.map(|(due, _)| due).chain(queue.schedule.first_fresh());
        std::future::ready(Ok(next.min()))
    }

    fn data(&self, id: QueueId, offset: u64, limit: usize) -> impl Future<Output = Result<Bytes, StoreError>> + Send {
        let queue = self.queue();
        let piece = queue.messages.get(&id).map(|message| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(message.octets.len());
            let end = start.saturating_add(limit).min(message.octets.len());
            message.octets.slice(start..end)
        });
        std::future::ready(piece.ok_or_else(|| StoreError::Damaged(id.to_string())))
    }

    fn relayed(&self, lease: &Lease, numbers: &[u32]) -> Result<(), StoreError> {
        let mut queue = self.queue();
        if !queue.schedule.is_out(lease.id, &lease.destination) {
            return Err(StoreError::NotLeased(lease.id));
        }
        queue.relayed.extend(numbers.iter().map(|number| (lease.id, *number)));
        Ok(())
    }

    fn relayed_unreported(&self, lease: &Lease, numbers: &[u32]) -> Result<(), StoreError> {
        let mut queue = self.queue();
        if !queue.schedule.is_out(lease.id, &lease.destination) {
            return Err(StoreError::NotLeased(lease.id));
        }
        queue.note_unreported(lease.id, numbers);
        Ok(())
    }

    fn new_id(&self) -> QueueId {
        self.queue().next_id((self.clock)())
    }

    fn history(&self, id: QueueId) -> impl Future<Output = Result<Vec<PastAttempt>, StoreError>> + Send {
        let queue = self.queue();
        let recipients = queue.messages.get(&id).into_iter().flat_map(|m| m.recipients.values());
        let mut past: Vec<PastAttempt> = recipients.flat_map(|r| r.history.iter().cloned()).collect();
        past.sort_by_key(|attempt| attempt.at);
        std::future::ready(Ok(past))
    }

    fn fresh_waiting(&self) -> usize {
        self.queue().schedule.fresh_waiting()
    }

    fn fresh_waiting_for(&self, destination: &str) -> usize {
        self.queue().schedule.fresh_waiting_for(destination)
    }

    fn abandon(&self, id: QueueId, destination: &str) {
        self.queue().abandon(id, destination);
    }

    fn overdue(
        &self,
        destination: &str,
        now: Timestamp,
        arrived_by: Timestamp,
        after: Option<OverduePlace>,
        limit: usize,
    ) -> impl Future<Output = Result<Overdue, StoreError>> + Send {
        let after = after.map(|place| place.id);
        std::future::ready(Ok(self.queue().overdue(destination, (now, arrived_by), after, limit)))
    }

    fn report(
        &self,
        lease: Lease,
        settlements: Vec<Settlement>,
        notifications: Vec<Notification>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        std::future::ready(self.queue().report(&lease, settlements, notifications))
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
            demands: message.envelope.demands.clone(),
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
        let number = queue.number(destination);
        let failures = queue.schedule.failures_after(number, until);
        queue.schedule.back_off(number, until, failures);
        std::future::ready(Ok(()))
    }

    fn room_octets(&self) -> u64 {
        u64::MAX
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
        self.store.queue().insert(Notification {
            id: self.id,
            octets: self.octets.into(),
            envelope,
            recipients,
            arrived,
            expires,
        });
        std::future::ready(Ok(self.id))
    }
}
