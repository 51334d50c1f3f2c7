//! The queue: durable messages, recipients that settle one by one, and when each is due.
//!
//! **Implements** the promise of RFC 5321 section 6.1. A message, and its recipients at one destination, are in one of these
//! states; what is in memory only is lost in a crash, and leads to what the last column says.
//!
//! | state | message row | recipient row | lease | done.log | due | a crash here leads to |
//! |---|---|---|---|---|---|---|
//! | arriving | no | no | no | no | – | nothing: it never existed, the client was told nothing |
//! | fresh | yes | yes | waits in memory | no | now | waiting |
//! | waiting | yes | yes | no | no | now | waiting |
//! | leased | yes | yes | with a delivery | no | now | waiting: a delivery under way may be repeated once |
//! | relayed | yes | yes | with a delivery | yes | now | done: the next hop has said 250, the row goes at the start |
//! | unreported | yes | yes | with a delivery | yes, marked | now | waiting, to be reported and not to be attempted |
//! | retried | yes | yes | no | no | later | retried |
//! | on hold | yes | yes | no | no | never | on hold, until a human releases it |
//! | damaged | yes | yes | no | no | never | damaged: held, a human must look |
//! | done | while others wait | no | no | no | – | done |
//! | gone | no | no | no | no | – | gone: its last recipient is done |
//!
//! The legal moves, and where they lead; a blank is refused and changes nothing.
//!
//! | move | fresh | waiting | leased | relayed | retried | on hold | damaged |
//! |---|---|---|---|---|---|---|---|
//! | due | leased | leased | | | leased, at its time | | |
//! | overdue, at a rest | | leased, not to be attempted | | | leased, at its time | | |
//! | relayed | | | relayed | relayed | | | |
//! | settle: done | | | done | done | | | |
//! | settle: retry | | | retried | done | | | |
//! | settle: not named, or warned | | | waiting | done | | | |
//! | abandon | | | waiting | done | | | |
//! | back off | waiting | waiting | leased | relayed | retried | on hold | damaged |
//! | flush | fresh | waiting | leased | relayed | waiting | on hold | damaged |
//! | hold | on hold | on hold | | | on hold | | |
//! | release | | | | | | waiting | waiting, when it is whole again |
//! | requeue | waiting | waiting | | | waiting | | |
//! | delete | gone | gone | | | gone | gone | gone |
//! | bounce | gone | gone | | | gone | gone | |
//!
//! commit: arriving to fresh; to waiting where its destination rests or memory is full; to on hold when the envelope says
//! so. What is gone allows nothing. Requeue, delete and bounce are the operator's; a message any recipient of which is leased
//! is refused as a whole. What is on hold or damaged is never leased and does not expire. A destination that rests gives
//! out nothing, and one lease, the probe, when its rest is over.
//!
//! **Does not** keep anything on disk. The seam between the relay and whatever keeps its messages: [`Store`] and [`Draft`]. The model in
//! `queue::memory` and the embedded store in `io::store` pass the same contract suite.

use std::future::Future;

use bytes::Bytes;

use crate::mail::envelope::Envelope;
use crate::mail::queue_id::QueueId;
use crate::time::Timestamp;

pub mod backoff;
pub mod entry;
pub mod filter;
pub mod fresh;
pub mod leases;
pub mod memory;
mod model;
pub mod next;
pub mod operator;
pub mod places;
pub mod rounds;
pub mod schedule;
pub mod settings;
pub mod statistics;
pub mod turns;

use entry::{Entry, Lease, NewRecipient, Notification, Overdue, OverduePlace, PastAttempt, Settlement};

/// Why the store refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No space: the answer is 452 4.3.1. The environment's fault; may pass.
    #[error("no space left for the queue")]
    NoSpace,
    /// A write or fsync failed: the answer is 451 4.3.0. The environment's fault.
    #[error("the queue cannot be written: {0}")]
    Io(String),
    /// The store has stopped accepting after such an error, or is shutting down: 421 4.3.0.
    #[error("the queue is closed")]
    Closed,
    /// The message is gone or its data is not what was written.
    #[error("message {0} is damaged or gone")]
    Damaged(String),
    /// What a lease that has ended would settle: nothing is changed. Our fault.
    #[error("message {0} is not leased to this delivery")]
    NotLeased(QueueId),
}

/// Why a message is not put on hold or released. The operator's fault but for [`HoldError::Store`]; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoldError {
    /// No such message; it may have been delivered or returned meanwhile.
    #[error("no message {0} is queued")]
    Unknown(QueueId),
    /// A delivery has it: what the next hop takes now cannot be held back. May pass.
    #[error("message {0} is being delivered at this moment: try again when that attempt has ended")]
    Leased(QueueId),
    /// It is on hold already.
    #[error("message {id} is on hold already: {reason}")]
    OnHold {
        /// The message.
        id: QueueId,
        /// Why it is.
        reason: String,
    },
    /// There is nothing to release.
    #[error("message {0} is not on hold")]
    NotOnHold(QueueId),
    /// It is held because it cannot be delivered as it was taken.
    #[error("message {id} is held because it is {reason}")]
    Damaged {
        /// The message.
        id: QueueId,
        /// `damaged: ` and what is wrong.
        reason: String,
    },
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A queue of messages.
pub trait Store: Send + Sync + 'static {
    /// A message on its way in.
    type Draft: Draft;

    /// Begins a message and gives it its id; nothing of it exists until it is committed.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`] under the free-space mark, [`StoreError::Closed`].
    fn begin(&self) -> impl Future<Output = Result<Self::Draft, StoreError>> + Send;

    /// Leases up to `limit` (message, destination) pairs that are due and not leased. Destinations take turns, and at each
    /// its senders do (the holder of the certificate, or else the reverse-path); fresh mail comes before retries, which have a
    /// part of each look. A lease lasts until it is settled or abandoned, or this process ends.
    fn due(&self, now: Timestamp, limit: usize) -> impl Future<Output = Result<Vec<Lease>, StoreError>> + Send;

    /// When the next unleased recipient is due, if any is queued.
    fn next_due(&self) -> impl Future<Output = Result<Option<Timestamp>, StoreError>> + Send;

    /// A piece of the mail data: up to `limit` octets from `offset`; empty at the end. The lines end in CRLF, dots
    /// are not doubled.
    fn data(&self, id: QueueId, offset: u64, limit: usize) -> impl Future<Output = Result<Bytes, StoreError>> + Send;

    /// Notes, before it can be committed, that the next hop has taken the message for these recipients: called as soon as
    /// it has said so, and before anything else is said on that connection. Survives the end of this process, not a
    /// power cut; the recipients are not delivered again after a crash. Does not wait. [`Store::settle`] follows.
    ///
    /// # Errors
    /// [`StoreError::NotLeased`]: the lease has ended.
    /// [`StoreError::Io`], [`StoreError::NoSpace`]: it could not be written down, and a crash before the commit leads to a
    /// second delivery.
    fn relayed(&self, lease: &Lease, numbers: &[u32]) -> Result<(), StoreError>;

    /// As [`Store::relayed`], for recipients of which the sender has still to be told: they are done with the notification
    /// and not before. Until then whoever leases them finds them [`entry::LeasedRecipient::unreported`].
    ///
    /// # Errors
    /// As for [`Store::relayed`].
    fn relayed_unreported(&self, lease: &Lease, numbers: &[u32]) -> Result<(), StoreError>;

    /// The id of a notification to be made.
    fn new_id(&self) -> QueueId;

    /// [`Store::report`] without notifications.
    ///
    /// # Errors
    /// As for [`Store::report`].
    fn settle(
        &self,
        lease: Lease,
        settlements: Vec<Settlement>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        self.report(lease, settlements, Vec::new())
    }

    /// Records what became of the recipients of a lease, queues the notifications of it, all or nothing, and ends the lease.
    /// Recipients not named stay as they were; what was noted as relayed is done, whatever it is named. Recipients of the
    /// message's other leases may be named by whoever holds them all; these leases end too. On return it is durable; the message
    /// goes with its last recipient. Notifications are queued even when no new mail is taken: what they settle makes room.
    ///
    /// # Errors
    /// [`StoreError::NotLeased`]: the lease has ended, and nothing is changed. Any other: it could not be committed; the lease
    /// stays, and the store tries again by itself, notifications included.
    fn report(
        &self,
        lease: Lease,
        settlements: Vec<Settlement>,
        notifications: Vec<Notification>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Ends a lease whose delivery is over without a settlement (it panicked, or was never begun): its recipients are as
    /// they were, and due again, but for those that were noted as relayed. Nothing is written; nothing happens when there is no
    /// such lease.
    fn abandon(&self, id: QueueId, destination: &str);

    /// Queued messages in order of id, after `after`, at most `limit`; the end is told by an empty page alone.
    fn list(&self, after: Option<QueueId>, limit: usize)
    -> impl Future<Output = Result<Vec<Entry>, StoreError>> + Send;

    /// Nothing at the destination is due before `until`, whatever its recipients say; then one lease is, the probe, and when
    /// it is settled without another back-off, all is. The epoch ends the back-off and its count of failures; a flush ends
    /// the back-off. Deliveries that fail while it lasts count once. Durable on return. `reply` is kept for the operator.
    fn back_off(
        &self,
        destination: &str,
        until: Timestamp,
        reply: &str,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// A walk over what waits at a destination that rests, a piece at a time: leases up to `limit` of the messages with due
    /// recipients whose lifetime is over at `now`, or that came in by `arrived_by` and have a sender who has not been
    /// told of the delay. A destination that does not rest at `now` has none. Begins behind `after`.
    fn overdue(
        &self,
        destination: &str,
        now: Timestamp,
        arrived_by: Timestamp,
        after: Option<OverduePlace>,
        limit: usize,
    ) -> impl Future<Output = Result<Overdue, StoreError>> + Send;

    /// The attempts of a message's unsettled recipients that are on record, in order of time; at most
    /// [`entry::ATTEMPTS_KEPT`] of each.
    fn history(&self, id: QueueId) -> impl Future<Output = Result<Vec<PastAttempt>, StoreError>> + Send;

    /// Messages that were committed and wait in memory for their first delivery, at destinations that are not backing
    /// off.
    fn fresh_waiting(&self) -> usize;

    /// Those of one destination: when they grow, mail for it comes in faster than it goes out.
    fn fresh_waiting_for(&self, destination: &str) -> usize;

    /// The largest message that may begin, octets: one and a half times as much is free beyond `queue_minfree`. 0 when
    /// none may.
    fn room_octets(&self) -> u64;

    /// Makes all recipients due now (`estafette queue flush`); returns how many.
    fn flush(&self, now: Timestamp) -> impl Future<Output = Result<usize, StoreError>> + Send;

    /// Puts a queued message on hold: none of its recipients is due until it is released. Durable on return. `reason` is
    /// kept for the operator.
    ///
    /// # Errors
    /// [`HoldError`]: unknown, leased, held already.
    fn hold(&self, id: QueueId, reason: &str) -> impl Future<Output = Result<(), HoldError>> + Send;

    /// Releases a message on hold: all its recipients are due at `now`. Durable on return. A damaged message is released
    /// only when its data is found whole again.
    ///
    /// # Errors
    /// [`HoldError`]: unknown, not on hold, damaged.
    fn release(&self, id: QueueId, now: Timestamp) -> impl Future<Output = Result<(), HoldError>> + Send;

    /// Releases up to `limit` messages on hold, oldest first, and returns which; none when none is left. Damaged ones stay.
    fn release_some(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<QueueId>, StoreError>> + Send;
}

/// A message on its way in. Dropped before its commit, it never existed.
pub trait Draft: Send {
    /// The id the message will have.
    fn id(&self) -> QueueId;

    /// Adds mail data.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`] or [`StoreError::Io`]; the draft is then only fit to be dropped.
    fn append(&mut self, octets: &[u8]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Commits. On return the message survives a power cut. `arrived` is now; `expires` is when the sender is told
    /// that it could not be delivered; every recipient is due at once, or never when the envelope puts the message on
    /// hold.
    ///
    /// # Errors
    /// As for [`Draft::append`]; nothing is queued then.
    fn commit(
        self,
        envelope: Envelope,
        recipients: Vec<NewRecipient>,
        arrived: Timestamp,
        expires: Timestamp,
    ) -> impl Future<Output = Result<QueueId, StoreError>> + Send;
}
