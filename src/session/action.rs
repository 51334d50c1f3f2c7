//! What the session asks its driver to do, and what the queue may answer.

use super::filter::{Consultation, FilterNotice};
use std::time::Duration;

use crate::mail::envelope::Envelope;
use crate::policy::client_rates::RateEvent;
use crate::policy::limits::Charge;
use crate::policy::question::Question;
use crate::wire::sasl::Credentials;

/// One thing to do; the driver does them in the order they are polled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Action {
    /// Write these octets. Flush before an [`Action::UpgradeTls`] or when nothing else is polled.
    Send(Vec<u8>),
    /// Write what is to be written so far, then wait this long, or until the peer goes or the relay stops
    /// (`smtpd_error_sleep_time`).
    Pause(Duration),
    /// Count this for the peer's network; answer with `handle_counted`.
    Count(RateEvent),
    /// Start the TLS handshake; answer with `handle_tls`, or close and answer with `handle_eof`.
    UpgradeTls,
    /// Ask the outside world; answer with `handle_answer`, also when nobody knows.
    Ask(Box<Question>),
    /// Ask the content filters; answer with `handle_filtered`, also when they fail. Mail data appended between
    /// DATA and the end of data is theirs to see, the first octets, our trace header, are not.
    Filter(Box<Consultation>),
    /// Verify a login and its password; answer with `handle_authenticated`, also when nobody can.
    Authenticate(Box<Credentials>),
    /// Tell the content filters; there is no answer.
    TellFilters(FilterNotice),
    /// Begin a message in the queue; answer with `handle_draft`.
    OpenDraft,
    /// Add mail data to the draft, first the trace header as a whole; a failure is told with `handle_append_failed`.
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

/// Why the queue did not take a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueRefusal {
    /// The environment's fault: 452 4.3.1.
    #[error("no space left for the queue")]
    NoSpace,
    /// The environment's fault: 451 4.3.0.
    #[error("the queue cannot be written")]
    Failed,
    /// Messages on their way in hold as much memory as they may: 452 4.3.1.
    #[error("mail data in memory fills smtpd_mail_data_memory_limit")]
    NoMemory,
    /// The queue is closed: 421 4.3.2, and the session ends.
    #[error("the queue is closed")]
    Closed,
}
