//! What content filters are asked, told and say.
//!
//! **Does not** speak to them: `io` does, in the milter protocol.

use std::net::SocketAddr;

use crate::cert::identity::Identity;
use crate::mail::dsn::{MessageRequest, RecipientRequest};
use crate::mail::trace_header::TlsDescription;
use crate::policy::question::PeerNames;
use crate::policy::stage::Stage;
use crate::wire::domain::Domain;
use crate::wire::path::{ForwardPath, ReversePath};
use crate::wire::reply::Reply;

/// What content filters are asked about, and what there is to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consultation {
    /// Where the dialogue stands.
    pub stage: Stage,
    /// The peer's address and port.
    pub peer: SocketAddr,
    /// Its name, when it is known already.
    pub peer_name: Option<Domain>,
    /// What XCLIENT said of its names; then nobody looks for others.
    pub given_names: Option<PeerNames>,
    /// The certificate shown.
    pub identity: Identity,
    /// What TLS negotiated.
    pub tls: Option<TlsDescription>,
    /// The name that AUTH with a password proved.
    pub login: Option<String>,
    /// The mechanism that proved it, or XCLIENT; empty without a login.
    pub login_mechanism: &'static str,
    /// Whether AUTH EXTERNAL succeeded.
    pub is_authenticated: bool,
    /// HELO or EHLO.
    pub hello: String,
    /// MAIL FROM, from MAIL on.
    pub reverse_path: Option<ReversePath>,
    /// RCPT TO, at RCPT.
    pub forward_path: Option<ForwardPath>,
    /// The parameters of MAIL at MAIL, of RCPT at RCPT, as they were said.
    pub parameters: Vec<String>,
}

/// What content filters are told and not asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterNotice {
    /// The transaction that they know of is over without a message.
    Abort,
    /// A recipient that a restriction list refused, and what was answered.
    RecipientRefused(Box<Consultation>, Reply),
    /// A line that is no command.
    UnknownCommand(String),
}

/// What content filters say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum FilterVerdict {
    /// Go on.
    Continue,
    /// Go on, with an envelope changed like this; the mail data is changed already.
    Changed(Box<EnvelopeChanges>),
    /// Say that the message is taken and throw it away; with the filter's name.
    Discard(String),
    /// Answer this instead.
    Refuse(Box<FilterRefusal>),
}

/// What filters change of an envelope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvelopeChanges {
    /// A new reverse-path.
    pub reverse_path: Option<ReversePath>,
    /// RET and ENVID, where it brings its own.
    pub dsn: MessageRequest,
    /// Recipients added and taken away, in this order.
    pub recipients: Vec<RecipientChange>,
    /// Why the message waits on hold.
    pub hold: Option<String>,
}

/// One change of the recipients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipientChange {
    /// Added, with what it asks of notifications.
    Add(ForwardPath, RecipientRequest),
    /// Taken away, if it is there.
    Remove(ForwardPath),
}

/// A filter refused, or failed where its failure refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("milter {filter} {because}")]
pub struct FilterRefusal {
    /// Its name in the configuration.
    pub filter: String,
    /// Why.
    pub because: FilterFault,
    /// What is answered; 421 ends the session.
    pub reply: Reply,
}

/// Why a filter's word, or its silence, refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterFault {
    /// It refused: policy.
    #[error("refused")]
    Refused,
    /// It cannot be reached, is silent or makes no sense (`milter_default_action`); in words. The operator's fault.
    #[error("failed: {0}")]
    Failed(String),
}
