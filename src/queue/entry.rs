//! What the queue hands out: leases, listings, settlements.

use bytes::Bytes;

use crate::mail::dsn::RecipientRequest;
use crate::mail::envelope::{Body, Demands, Envelope, Submitter};
use crate::mail::queue_id::QueueId;
use crate::time::Timestamp;
use crate::wire::path::{ForwardPath, ReversePath};

/// `due` of a recipient that is held: it sorts behind everything and never comes.
pub const NEVER: Timestamp = Timestamp(i64::MAX);

/// Attempts of one recipient that are kept, the latest.
pub const ATTEMPTS_KEPT: u32 = 10;

/// A recipient to be queued with the destination it is scheduled under (a next hop or a domain, lower case).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecipient {
    /// Scheduling key.
    pub destination: String,
    /// RCPT TO.
    pub forward_path: ForwardPath,
}

/// The recipients of one message at one destination, given to one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Lease {
    /// The message.
    pub id: QueueId,
    /// Scheduling key.
    pub destination: String,
    /// MAIL FROM.
    pub reverse_path: ReversePath,
    /// Declared body type.
    pub body: Body,
    /// Octets of mail data.
    pub size_octets: u64,
    /// When it came in.
    pub arrived: Timestamp,
    /// When it is given up.
    pub expires: Timestamp,
    /// Who handed it in.
    pub submitter: Submitter,
    /// What MAIL asked; what RCPT asked stands with the recipients.
    pub demands: Demands,
    /// The due recipients.
    pub recipients: Vec<LeasedRecipient>,
    /// Whether the destination was backing off and this is the one lease that finds out whether it is reached again.
    pub is_probe: bool,
    /// How many times in a row the destination has been backed off; 0 when it is not suspected.
    pub failures: u32,
}

/// A recipient in a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasedRecipient {
    /// Its number within the message, from 0.
    pub number: u32,
    /// RCPT TO.
    pub forward_path: ForwardPath,
    /// NOTIFY and ORCPT.
    pub request: RecipientRequest,
    /// Attempts made so far.
    pub attempts: u32,
    /// Whether the sender was told of the delay (`delay_warning_time`).
    pub warned: bool,
    /// Whether the next hop took it before this process came to report that: it is not to be attempted, only reported.
    pub unreported: bool,
}

/// A message to the sender about recipients, queued in one transaction with their settlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Its own id, from [`super::Store::new_id`].
    pub id: QueueId,
    /// The whole message; its lines end in CRLF.
    pub octets: Bytes,
    /// Its envelope.
    pub envelope: Envelope,
    /// Where it goes, one or more.
    pub recipients: Vec<NewRecipient>,
    /// When it is made.
    pub arrived: Timestamp,
    /// When it is given up.
    pub expires: Timestamp,
}

/// What becomes of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Settled for good, and nobody has to be told any more: the row goes.
    Done {
        /// Its number within the message.
        number: u32,
    },
    /// Settled for good by the notification that is queued with this: the row goes when that is durable, and not before.
    Reported {
        /// Its number within the message.
        number: u32,
    },
    /// To be tried again.
    Retry {
        /// Its number within the message.
        number: u32,
        /// When this attempt ended.
        at: Timestamp,
        /// Not before.
        due: Timestamp,
        /// The last reply, for `queue list` and the history of attempts.
        reply: String,
        /// Whether the sender has been told of the delay, now or earlier.
        warned: bool,
    },
    /// As it was, but for this: the sender has been told of the delay.
    Warned {
        /// Its number within the message.
        number: u32,
    },
}

/// Messages at a destination that rests for which something has to be done nevertheless.
#[derive(Debug, Default)]
#[must_use]
pub struct Overdue {
    /// Their due recipients. They are not to be attempted.
    pub leases: Vec<Lease>,
    /// Where to go on; absent at the end.
    pub next: Option<OverduePlace>,
}

/// The last recipient that a walk over a destination has come to, in the order in which they are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OverduePlace {
    /// When it is due.
    pub due: Timestamp,
    /// Its message.
    pub id: QueueId,
}

impl Settlement {
    /// The recipient's number within the message.
    pub const fn number(&self) -> u32 {
        match self {
            Self::Done { number }
            | Self::Reported { number }
            | Self::Warned { number }
            | Self::Retry { number, .. } => *number,
        }
    }

    /// Whether the recipient's row goes.
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Reported { .. })
    }
}

/// A queued message as `queue list` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The message.
    pub id: QueueId,
    /// When it came in.
    pub arrived: Timestamp,
    /// When it is given up.
    pub expires: Timestamp,
    /// Octets of mail data.
    pub size_octets: u64,
    /// MAIL FROM.
    pub reverse_path: ReversePath,
    /// Who handed it in.
    pub submitter: Submitter,
    /// What MAIL asked; what RCPT asked stands with the recipients.
    pub demands: Demands,
    /// Why it is held; begins with `damaged: ` when it cannot be delivered as it was taken.
    pub hold: Option<String>,
    /// The recipients that are not settled.
    pub recipients: Vec<EntryRecipient>,
}

/// An unsettled recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryRecipient {
    /// Its number within the message, from 0.
    pub number: u32,
    /// RCPT TO.
    pub forward_path: ForwardPath,
    /// NOTIFY and ORCPT.
    pub request: RecipientRequest,
    /// Scheduling key.
    pub destination: String,
    /// Next attempt not before; [`NEVER`] when held.
    pub due: Timestamp,
    /// Attempts made so far.
    pub attempts: u32,
    /// The last reply; empty before the first attempt.
    pub last_reply: String,
}

/// An attempt that did not settle its recipient, for `queue show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastAttempt {
    /// The recipient's number within the message.
    pub number: u32,
    /// When the attempt ended.
    pub at: Timestamp,
    /// What the next hop said, or why none was reached.
    pub reply: String,
}
