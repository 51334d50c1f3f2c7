//! What an operator does to queued messages, beyond what deliveries do.
//!
//! **Does not** choose the messages: [`super::filter`] does; **does not** make bounces.

use std::future::Future;

use super::entry::Lease;
use super::{HoldError, Store};
use crate::mail::queue_id::QueueId;
use crate::time::Timestamp;

/// Changes that a caller gives at a time at most: while they are carried out, nothing is leased.
pub const CHANGES_MAX: usize = 200;

/// A change of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// All recipients are due now, and their destinations no longer back off. What is on hold stays on hold.
    Flush,
    /// On hold, with the reason.
    Hold(String),
    /// On hold no longer, due now.
    Release,
    /// As [`Change::Flush`], and the named recipients are scheduled under these destinations. Attempts and their history
    /// are kept; a message on hold stays on hold.
    Requeue(Vec<(u32, String)>),
    /// Gone with its data; nobody is told.
    Delete,
}

/// A store whose messages an operator may change.
pub trait Operator: Store {
    /// Carries out changes of different messages, all of what is possible in one transaction, and says for each whether it
    /// was done. On return it is durable.
    /// A delivery that has begun is left alone: hold, requeue and delete of its message are refused. Callers give at most
    /// [`CHANGES_MAX`] at a time.
    fn change(
        &self,
        changes: Vec<(QueueId, Change)>,
        now: Timestamp,
    ) -> impl Future<Output = Vec<Result<(), HoldError>>> + Send;

    /// Leases all recipients of a message, due or not, held or damaged, so that nobody delivers it meanwhile: one lease
    /// for each of its destinations, to be settled or abandoned. Recipients whose path cannot be read are not among them.
    ///
    /// # Errors
    /// [`HoldError::Unknown`], [`HoldError::Leased`], [`HoldError::Store`].
    fn claim(&self, id: QueueId) -> impl Future<Output = Result<Vec<Lease>, HoldError>> + Send;

    /// The messages that a delivery has at this moment.
    fn leased(&self) -> Vec<QueueId>;
}
