//! What the session asks its driver to do, and what the queue may answer.

use crate::mail::envelope::Envelope;
use crate::policy::limits::Charge;
use crate::policy::question::Question;
use crate::policy::stage::Stage;
use crate::wire::path::{ForwardPath, ReversePath};
use crate::wire::reply::Reply;
use crate::wire::sasl::Credentials;

/// One thing to do; the driver does them in the order they are polled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Action {
    /// Write these octets. Flush before an [`Action::UpgradeTls`] or when nothing else is polled.
    Send(Vec<u8>),
    /// Start the TLS handshake; answer with `handle_tls`, or close and answer with `handle_eof`.
    UpgradeTls,
    /// Ask the outside world; answer with `handle_answer`, also when nobody knows.
    Ask(Box<Question>),
    /// Ask the content filters; answer with `handle_filtered`, also when they fail. Mail data appended between
    /// [`Stage::Data`] and [`Stage::EndOfData`] is theirs to see.
    Filter(Box<Consultation>),
    /// Verify a login and its password; answer with `handle_authenticated`, also when nobody can.
    Authenticate(Box<Credentials>),
    /// Begin a message in the queue; answer with `handle_draft`.
    OpenDraft,
    /// Add mail data to the draft; a failure is told with `handle_append_failed`.
    Append(Vec<u8>),
    /// Charge the holder of the session's certificate; answer with `handle_charged`.
    Charge(Box<Charge>),
    /// Commit the draft with this envelope; answer with `handle_committed` once it is durable.
    Commit(Box<Envelope>),
    /// Drop the draft, if there is one.
    Discard,
    /// Flush and close the connection. Nothing follows.
    Close,
}

/// What content filters are asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consultation {
    /// Where the dialogue stands.
    pub stage: Stage,
    /// HELO or EHLO.
    pub hello: String,
    /// MAIL FROM, from MAIL on.
    pub reverse_path: Option<ReversePath>,
    /// RCPT TO, at RCPT.
    pub forward_path: Option<ForwardPath>,
}

/// What content filters say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum FilterVerdict {
    /// Go on.
    Continue,
    /// Answer this instead.
    Refuse(Reply),
}

/// Why the queue did not take a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueRefusal {
    /// The environment's fault: 452 4.3.1.
    #[error("no space left for the queue")]
    NoSpace,
    /// The environment's fault: 451 4.3.0.
    #[error("the queue cannot be written")]
    Failed,
    /// The queue is closed: 421 4.3.2, and the session ends.
    #[error("the queue is closed")]
    Closed,
}
