//! What the writer can be asked to do.
//!
//! **Does not** carry it out: `group` and `writer` do.

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::done_log::Done;
use super::files::DataFile;
use crate::mail::envelope::Envelope;
use crate::mail::queue_id::QueueId;
use crate::queue::StoreError;
use crate::queue::entry::{NewRecipient, Settlement};
use crate::queue::next::Next;
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
    /// Absent for a notification: its settlement has the caller.
    pub(super) reply: Option<Reply<()>>,
    /// Its share of the octets that may wait for the writer; what a notification takes is bounded by the leases in hand.
    pub(super) _share: Option<OwnedSemaphorePermit>,
}

impl Enqueue {
    /// Whether its caller no longer waits: it was told nothing.
    pub(super) fn is_given_up(&self) -> bool {
        self.reply.as_ref().is_some_and(oneshot::Sender::is_closed)
    }
}

/// Where the mail data is.
#[derive(Debug)]
pub(super) enum Content {
    /// In memory, for the table `data`.
    Inline(Bytes),
    /// In a file that is durable already.
    File(DataFile),
}

/// Something for the writer to do.
#[derive(Debug)]
pub(super) enum Operation {
    /// Queue a message.
    Enqueue(Box<Enqueue>),
    /// Settle recipients, queue what their sender is told, and end their lease.
    Settle {
        id: QueueId,
        destination: DestinationNumber,
        /// Where the message has other leases, which end with this one.
        others: Vec<DestinationNumber>,
        settlements: Vec<Settlement>,
        notifications: Vec<Enqueue>,
        next: Next,
        /// The recipients are all that the message has, and all are done: nothing of it is left.
        is_whole: bool,
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
    /// Destinations whose rest an operator has ended.
    pub(super) opened: Vec<DestinationNumber>,
    /// Messages that are gone and had a file.
    pub(super) files: Vec<QueueId>,
    /// Recipients moved by the flushes, in order.
    pub(super) flushed: Vec<usize>,
    /// New messages and where they go, in order of the group.
    pub(super) arrivals: Vec<Arrival>,
    /// Destinations that rest from now on, or no longer: until when, and how many times in a row.
    pub(super) rests: Vec<(DestinationNumber, Timestamp, u32)>,
}

/// The recipients of a new message at one destination.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) id: QueueId,
    pub(super) destination: DestinationNumber,
    /// Their places among the message's recipients.
    pub(super) recipients: Vec<u32>,
}

impl Operation {
    /// An estimate of what the operation adds to the transaction, octets.
    pub(super) fn octets(&self) -> usize {
        let of_new = |new: &Enqueue| match &new.content {
            Content::Inline(octets) => octets.len(),
            Content::File(_) => 0,
        };
        512 + self.new_messages().iter().map(of_new).sum::<usize>()
    }

    /// The messages it queues.
    pub(super) fn new_messages(&self) -> &[Enqueue] {
        match self {
            Self::Enqueue(new) => std::slice::from_ref(new),
            Self::Settle { notifications, .. } => notifications,
            _ => &[],
        }
    }

    /// The recipients it settles for good without anybody being told: what is written down before the commit.
    pub(super) fn done(&self) -> impl Iterator<Item = Done> {
        self.settled(|settlement| matches!(settlement, Settlement::Done { .. }))
    }

    /// The recipients it settles for good.
    pub(super) fn gone(&self) -> impl Iterator<Item = Done> {
        self.settled(Settlement::is_final)
    }

    fn settled(&self, which: impl Fn(&Settlement) -> bool) -> impl Iterator<Item = Done> {
        let (settled, replayed) = match self {
            Self::Settle { id, settlements, .. } => (Some((*id, settlements)), None),
            Self::Replay(done) => (None, Some(done)),
            _ => (None, None),
        };
        let settled = settled
            .into_iter()
            .flat_map(|(id, settlements)| settlements.iter().map(move |settlement| (id, settlement)))
            .filter(move |(_, settlement)| which(settlement))
            .map(|(id, settlement)| (id, settlement.number()));
        settled.chain(replayed.into_iter().flatten().copied())
    }

    /// The recipients of a new message, to be written down as done when it is not certain that its commit is not on disk:
    /// its client was told 451 and brings it again.
    pub(super) fn refused(&self) -> impl Iterator<Item = Done> {
        let (id, count) = match self {
            Self::Enqueue(new) => (Some(new.id), new.recipients.len()),
            _ => (None, 0),
        };
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        id.into_iter()
            .flat_map(move |id| (0..count).map(move |number| (id, number)))
    }
}
