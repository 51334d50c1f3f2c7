//! Messages put on hold and released.
//!
//! A message is looked at and written while nothing can be leased, so that "on hold" is never said of a message that a
//! delivery has.
//!
//! **Does not** hold what is damaged: that happens where the damage is found.

use tokio::sync::{mpsc, oneshot};

use super::operation::{Operation, Reply};
use super::reader::Reader;
use super::rows::Message;
use crate::mail::queue_id::QueueId;
use crate::queue::{HoldError, StoreError};
use crate::time::Timestamp;

/// Holds and releases; used on a blocking thread.
pub(super) struct Holder<'a> {
    pub(super) reader: &'a Reader,
    pub(super) writer: mpsc::Sender<Operation>,
}

impl Holder<'_> {
    pub(super) fn hold(&self, id: QueueId, reason: String) -> Result<(), HoldError> {
        let _nothing_is_leased = self.reader.pause_scans();
        self.may_hold(id)?;
        Ok(self.write(|reply| Operation::Hold { id, reason, reply })?)
    }

    /// Asked while nothing can be leased.
    pub(super) fn may_hold(&self, id: QueueId) -> Result<(), HoldError> {
        let message = self.message(id)?;
        match message.hold {
            Some(reason) if message.is_damaged => Err(HoldError::Damaged { id, reason }),
            Some(reason) => Err(HoldError::OnHold { id, reason }),
            None if self.reader.is_leased(id) => Err(HoldError::Leased(id)),
            None => Ok(()),
        }
    }

    pub(super) fn release(&self, id: QueueId, now: Timestamp) -> Result<(), HoldError> {
        let _nothing_is_leased = self.reader.pause_scans();
        self.may_release(id)?;
        let ids = vec![id];
        Ok(self.write(|reply| Operation::Release { ids, now, reply })?)
    }

    /// Asked while nothing can be leased.
    pub(super) fn may_release(&self, id: QueueId) -> Result<(), HoldError> {
        let message = self.message(id)?;
        if message.is_damaged && !self.reader.is_whole(&message)? {
            let reason = message.hold.unwrap_or_default();
            return Err(HoldError::Damaged { id, reason });
        }
        if message.hold.is_none() {
            return Err(HoldError::NotOnHold(id));
        }
        Ok(())
    }

    pub(super) fn release_some(&self, now: Timestamp, limit: usize) -> Result<Vec<QueueId>, StoreError> {
        let _nothing_is_leased = self.reader.pause_scans();
        let ids = self.reader.on_hold(limit)?;
        let released = ids.clone();
        self.write(|reply| Operation::Release { ids, now, reply })?;
        Ok(released)
    }

    pub(super) fn message(&self, id: QueueId) -> Result<Message, HoldError> {
        self.reader.message(id)?.ok_or(HoldError::Unknown(id))
    }

    /// Has it written, and waits until it is durable.
    pub(super) fn write(&self, operation: impl FnOnce(Reply<()>) -> Operation) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.writer.blocking_send(operation(reply));
        sent.map_err(|_| StoreError::Closed)?;
        answer.blocking_recv().map_err(|_| StoreError::Closed)?
    }
}
