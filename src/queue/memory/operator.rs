//! The model of what an operator does.

use std::collections::BTreeSet;
use std::future::Future;

use super::MemoryStore;
use crate::mail::queue_id::QueueId;
use crate::queue::HoldError;
use crate::queue::entry::{Lease, NEVER};
use crate::queue::model::Queue;
use crate::queue::operator::{Change, Operator};
use crate::time::Timestamp;

impl Queue {
    fn change(&mut self, id: QueueId, change: Change, now: Timestamp) -> Result<(), HoldError> {
        match change {
            Change::Hold(reason) => self.hold(id, &reason),
            Change::Release => self.release(id, now),
            Change::Flush => self.hasten(id, &[], now),
            Change::Requeue(destinations) => {
                self.unleased(id)?;
                self.hasten(id, &destinations, now)
            }
            Change::Delete => {
                self.unleased(id)?;
                self.messages.remove(&id);
                Ok(())
            }
        }
    }

    fn unleased(&mut self, id: QueueId) -> Result<(), HoldError> {
        if !self.messages.contains_key(&id) {
            return Err(HoldError::Unknown(id));
        }
        if !self.schedule.take_back(id) {
            return Err(HoldError::Leased(id));
        }
        Ok(())
    }

    fn hasten(&mut self, id: QueueId, moved: &[(u32, String)], now: Timestamp) -> Result<(), HoldError> {
        let message = self.messages.get_mut(&id).ok_or(HoldError::Unknown(id))?;
        for (number, destination) in moved {
            if let Some(recipient) = message.recipients.get_mut(number) {
                recipient.entry.destination.clone_from(destination);
            }
        }
        let mut destinations = BTreeSet::new();
        for recipient in message.recipients.values_mut() {
            if recipient.entry.due < NEVER {
                recipient.entry.due = now.min(recipient.entry.due);
                destinations.insert(recipient.entry.destination.clone());
            }
        }
        for destination in destinations {
            let number = self.number(&destination);
            self.schedule.open(number);
        }
        Ok(())
    }

    fn claim(&mut self, id: QueueId) -> Result<Vec<Lease>, HoldError> {
        self.unleased(id)?;
        let message = self.messages.get(&id).ok_or(HoldError::Unknown(id))?;
        let recipients = message.recipients.values();
        let destinations: BTreeSet<String> = recipients.map(|r| r.entry.destination.clone()).collect();
        let mut leases = Vec::new();
        for name in &destinations {
            let number = self.number(name);
            self.schedule.lease_overdue(id, (number, name));
            leases.extend(self.lease(id, name, NEVER));
        }
        Ok(leases)
    }
}

impl Operator for MemoryStore {
    fn change(
        &self,
        changes: Vec<(QueueId, Change)>,
        now: Timestamp,
    ) -> impl Future<Output = Vec<Result<(), HoldError>>> + Send {
        let mut queue = self.queue();
        let done = changes.into_iter().map(|(id, change)| queue.change(id, change, now));
        std::future::ready(done.collect())
    }

    fn claim(&self, id: QueueId) -> impl Future<Output = Result<Vec<Lease>, HoldError>> + Send {
        std::future::ready(self.queue().claim(id))
    }

    fn leased(&self) -> Vec<QueueId> {
        self.queue().schedule.messages_out()
    }
}
