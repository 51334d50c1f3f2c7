//! How a lease ends: what is noted before it is committed, and what the writer is asked for.
//!
//! **Does not** write to the database: the writer does.

use std::io;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use super::Inner;
use super::done_log::{Done, DoneLog};
use super::error::from_io;
use super::operation::{Content, Enqueue, Operation};
use crate::mail::envelope::Envelope;
use crate::mail::queue_id::QueueId;
use crate::queue::StoreError;
use crate::queue::entry::{Lease, Notification, Settlement};
use crate::queue::next::Next;

impl Inner {
    /// Notes that the next hop has taken recipients of a lease.
    pub(super) fn note(
        &self,
        lease: &Lease,
        numbers: &[u32],
        write: impl FnOnce(&mut DoneLog, std::vec::IntoIter<Done>) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        if !self.shared.schedule().is_out(lease.id, &lease.destination) {
            return Err(StoreError::NotLeased(lease.id));
        }
        let relayed: Vec<Done> = numbers.iter().map(|number| (lease.id, *number)).collect();
        let written = write(&mut self.shared.done_log(), relayed.into_iter());
        written.map_err(|error| from_io(&error))
    }

    /// Has it committed what became of a lease.
    pub(super) async fn settle(
        &self,
        lease: &Lease,
        mut settlements: Vec<Settlement>,
        notifications: Vec<Notification>,
    ) -> Result<(), StoreError> {
        let shared = &self.shared;
        let told = !settlements.is_empty();
        shared.add_relayed(lease.id, lease.recipients.iter().map(|r| r.number), &mut settlements);
        let (id, next) = (lease.id, Next::after(lease, &settlements));
        let are_done = settlements.iter().all(Settlement::is_final);
        let (destination, others, is_whole) = {
            let mut schedule = shared.schedule();
            let destination = schedule.begin_settling(id, &lease.destination);
            let destination = destination.ok_or(StoreError::NotLeased(id))?;
            if settlements.is_empty() && notifications.is_empty() {
                // Nothing is to be written.
                schedule.release(id, destination, told, next);
                return Ok(());
            }
            let others = schedule.begin_settling_others(lease, &settlements);
            (
                destination,
                others,
                are_done && next == Next::Nothing && schedule.is_whole(id),
            )
        };
        let (reply, answer) = oneshot::channel();
        let settle = Operation::Settle {
            id,
            destination,
            others,
            settlements,
            notifications: notifications.into_iter().map(enqueue).collect(),
            next,
            is_whole,
            reply: Some(reply),
        };
        match self.writer.queue.try_send(settle) {
            Ok(()) => {}
            // Given up while it waited for room, the lease would last until the restart.
            Err(TrySendError::Full(settle)) => shared.owe(settle),
            Err(TrySendError::Closed(_)) => return Err(StoreError::Closed),
        }
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Ends a lease of which nothing is known but what was noted.
    pub(super) fn abandon(&self, id: QueueId, destination: &str) {
        let shared = &self.shared;
        let relayed = shared.relayed_of(id);
        if relayed.is_empty() {
            shared.schedule().abandon(id, destination);
            return;
        }
        // What the next hop has taken must not be given out again: the lease ends with its commit.
        let Some(number) = shared.schedule().begin_settling(id, destination) else {
            return;
        };
        shared.owe(Operation::Settle {
            id,
            destination: number,
            others: Vec::new(),
            settlements: relayed.into_iter().map(|number| Settlement::Done { number }).collect(),
            notifications: Vec::new(),
            next: Next::Now,
            is_whole: false,
            reply: None,
        });
        // A writer that is busy takes it with its next group anyway.
        let _ = self.writer.queue.try_send(Operation::Maintain);
    }
}

/// A notification for the writer. It is in memory as a whole and goes into the table, so that no file has to be kept or
/// removed whichever way its commit goes.
fn enqueue(new: Notification) -> Enqueue {
    Enqueue {
        id: new.id,
        envelope: Envelope {
            body: new.envelope.body.with(!new.octets.is_ascii()),
            ..new.envelope
        },
        recipients: new.recipients,
        arrived: new.arrived,
        expires: new.expires,
        size_octets: new.octets.len() as u64,
        crc32c: crc32c::crc32c(&new.octets),
        content: Content::Inline(new.octets),
        reply: None,
        _share: None,
    }
}
