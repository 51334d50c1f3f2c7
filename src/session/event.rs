//! What happened in a session: one variant for each log line, with all of its fields.
//!
//! **Does not** log: `observe` turns these into lines and counters.

use std::net::SocketAddr;
use std::sync::Arc;

use super::action::QueueRefusal;
use super::filter::FilterRefusal;
use super::password::PasswordFault;
use crate::cert::certificate::Certificate;
use crate::cert::identity::{Identity, Why};
use crate::mail::from_header::FromFault;
use crate::mail::queue_id::QueueId;
use crate::mail::trace_header::TlsDescription;
use crate::policy::client_rates::RateExceeded;
use crate::policy::limits::Exceeded;
use crate::policy::stage::Stage;
use crate::policy::verdict::Verdict;
use crate::wire::path::{ForwardPath, Mailbox, ReversePath};
use crate::wire::reply::Reply;
use crate::wire::sasl::PasswordMechanism;

/// Who speaks; the fields that every line of a session carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The session.
    pub session_id: String,
    /// The listener's name.
    pub listener: String,
    /// The peer's address and port.
    pub peer: SocketAddr,
    /// `plaintext`, `no_certificate`, `unverified`, `verified`.
    pub identity: &'static str,
    /// Issuer of the certificate shown, one-line text.
    pub issuer: Option<String>,
    /// Subject of the certificate shown, one-line text.
    pub subject: Option<String>,
    /// SHA-256 of the certificate shown.
    pub fingerprint: Option<String>,
    /// The certificate shown, verified or not.
    pub certificate: Option<Arc<Certificate>>,
    /// The name that AUTH with a password proved.
    pub login: Option<String>,
}

impl Origin {
    /// The fields for a session and whoever holds it.
    pub fn new(session_id: &str, listener: &str, peer: SocketAddr, identity: &Identity) -> Self {
        let certificate = identity.certificate();
        Self {
            session_id: session_id.to_owned(),
            listener: listener.to_owned(),
            peer,
            identity: identity.state(),
            issuer: certificate.map(|certificate| certificate.issuer.one_line()),
            subject: certificate.map(|certificate| certificate.subject.one_line()),
            fingerprint: certificate.map(|certificate| certificate.fingerprint.clone()),
            certificate: identity.shared_certificate(),
            login: None,
        }
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Event {
    /// `session.opened`.
    SessionOpened {
        /// Who.
        origin: Arc<Origin>,
    },
    /// `tls.started`: the handshake is done; `origin` tells the certificate.
    TlsStarted {
        /// Who, as known from now on.
        origin: Arc<Origin>,
        /// Protocol, cipher and the rest.
        tls: Box<TlsDescription>,
        /// The identity, with the reason when the certificate does not verify.
        identity: Box<Identity>,
    },
    /// `identity.changed`: the certificate was judged anew, and the verdict differs from now on.
    IdentityChanged {
        /// Who, as known from now on.
        origin: Arc<Origin>,
        /// What it was until now.
        before: Box<Identity>,
        /// What it is, with the reason when the certificate does not verify.
        identity: Box<Identity>,
    },
    /// `client.named`: a proxy said with XCLIENT whom it speaks for.
    ClientNamed {
        /// Who, from now on.
        origin: Arc<Origin>,
        /// Where the connection came from.
        proxy: SocketAddr,
        /// The name that the client proved to the proxy.
        login: Option<String>,
    },
    /// `session.rejected`: `smtpd_tls_req_ccert`, and the session ends.
    SessionRejected {
        /// Who.
        origin: Arc<Origin>,
        /// As it stands in the reply.
        reference: String,
        /// Why.
        because: CertificateFault,
        /// What was answered.
        reply: Reply,
    },
    /// `authentication.succeeded`: the login that a password proved stands in `origin` from now on.
    Authenticated {
        /// Who, as known from now on.
        origin: Arc<Origin>,
        /// How.
        mechanism: PasswordMechanism,
    },
    /// `authentication.rejected`: AUTH failed, or nobody could find out.
    AuthenticationRejected {
        /// Who.
        origin: Arc<Origin>,
        /// As it stands in the reply.
        reference: String,
        /// Why.
        because: AuthenticationFault,
        /// What was answered.
        reply: Reply,
    },
    /// `command.refused`: a list refused before any recipient: the connection, HELO or MAIL.
    StageRejected {
        /// Who.
        origin: Arc<Origin>,
        /// As it stands in the reply.
        reference: String,
        /// Where.
        stage: Stage,
        /// HELO or EHLO.
        hello: String,
        /// MAIL FROM, at MAIL.
        reverse_path: Option<ReversePath>,
        /// The decision and its trace.
        verdict: Box<Verdict>,
        /// What was answered.
        reply: Reply,
    },
    /// `recipient.permitted`, `recipient.rejected` or `recipient.deferred`.
    RecipientDecided {
        /// Who.
        origin: Arc<Origin>,
        /// As it stands in the reply.
        reference: String,
        /// MAIL FROM.
        reverse_path: ReversePath,
        /// RCPT TO.
        forward_path: ForwardPath,
        /// The decision and its trace.
        verdict: Box<Verdict>,
        /// What was answered.
        reply: Reply,
    },
    /// `limit.exceeded`: the holder of the certificate sent more than a limit of a rule lets it. Under `defer` and `reject`
    /// a [`Event::MessageRejected`] with the same reference follows, under `hold` a [`Event::MessageQueued`] on hold.
    LimitExceeded {
        /// Who.
        origin: Arc<Origin>,
        /// As it stands in the reply; `None` when the message is taken and waits on hold.
        reference: Option<String>,
        /// MAIL FROM.
        reverse_path: ReversePath,
        /// RCPT TO, each once.
        forward_paths: Vec<ForwardPath>,
        /// The limit, the holder and what was used.
        exceeded: Box<Exceeded>,
    },
    /// `message.queued`: it would survive a power cut.
    MessageQueued {
        /// Who.
        origin: Arc<Origin>,
        /// Its queue id.
        id: QueueId,
        /// Octets of mail data as received, dots taken out, without our trace header.
        size_octets: u64,
        /// MAIL FROM.
        reverse_path: ReversePath,
        /// RCPT TO, each once.
        forward_paths: Vec<ForwardPath>,
        /// The restriction that permitted the last recipient.
        decided_by: String,
        /// The references of the decisions on its recipients.
        references: Vec<String>,
        /// Why it waits on hold, when it does.
        hold: Option<String>,
    },
    /// `restriction.warned`: a list let something pass that it would have refused, before or behind the recipients.
    RestrictionWarned {
        /// Who.
        origin: Arc<Origin>,
        /// With the steps that warn.
        verdict: Box<Verdict>,
    },
    /// `message.rejected`: a transaction with permitted recipients did not become a message.
    MessageRejected {
        /// Who.
        origin: Arc<Origin>,
        /// MAIL FROM.
        reverse_path: ReversePath,
        /// RCPT TO, each once.
        forward_paths: Vec<ForwardPath>,
        /// Octets of mail data received, dots taken out.
        size_octets: u64,
        /// Why.
        because: MessageFault,
        /// As it stands in the reply, when policy refused it.
        reference: Option<String>,
        /// What was answered.
        reply: Reply,
    },
    /// `filter.rejected`: a content filter refused the connection, HELO, MAIL or a recipient.
    FilterRejected {
        /// Who.
        origin: Arc<Origin>,
        /// Names the decision in log and journal; the filter's reply has none.
        reference: String,
        /// Where.
        stage: Stage,
        /// MAIL FROM, from MAIL on.
        reverse_path: Option<ReversePath>,
        /// RCPT TO, at RCPT.
        forward_path: Option<ForwardPath>,
        /// Which filter, why, and what was answered.
        refusal: Box<FilterRefusal>,
    },
    /// `message.discarded`: a content filter, or DISCARD of an access table, had it taken and thrown away; or a filter took
    /// away its recipients.
    MessageDiscarded {
        /// Who.
        origin: Arc<Origin>,
        /// Names the decision in log and journal.
        reference: String,
        /// The id that the client was told.
        id: Option<QueueId>,
        /// `smtpd_milters`, or the action of a table.
        decided_by: &'static str,
        /// In words.
        because: String,
        /// Octets of mail data received, dots taken out.
        size_octets: u64,
        /// MAIL FROM.
        reverse_path: ReversePath,
        /// RCPT TO, each once.
        forward_paths: Vec<ForwardPath>,
        /// What was answered.
        reply: Reply,
    },
    /// `command.rejected`.
    CommandRejected {
        /// Who.
        origin: Arc<Origin>,
        /// What was answered.
        reply: Reply,
    },
    /// `bare_newline.seen`: under `note` and `reject`.
    BareNewlineSeen {
        /// Who.
        origin: Arc<Origin>,
        /// Where it stood.
        place: BareNewlinePlace,
        /// Which.
        which: BareOctet,
    },
    /// `client.out_of_turn`: the peer sent what had to wait for a reply, or for the greeting.
    SpokeOutOfTurn {
        /// Who.
        origin: Arc<Origin>,
        /// The command that was followed too soon, or `CONNECT`.
        after: &'static str,
    },
    /// `client_rate.exceeded`: a command was refused because of what the peer's network did in this time unit.
    RateExceeded {
        /// Who.
        origin: Arc<Origin>,
        /// What was counted.
        exceeded: RateExceeded,
    },
    /// `session.closed`: the last one.
    SessionClosed {
        /// Who.
        origin: Arc<Origin>,
        /// Why.
        because: CloseReason,
        /// Messages queued in this session.
        messages_queued: u64,
    },
}

/// Why no certificate vouches for the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// None was shown.
    #[error("no client certificate was shown")]
    NotShown,
    /// One was shown and does not verify.
    #[error("{0}")]
    Unverified(Why),
}

impl CertificateFault {
    /// The fault of a peer; `None` when its certificate is verified.
    pub const fn of(identity: &Identity) -> Option<Self> {
        match identity {
            Identity::Plaintext | Identity::NoCertificate => Some(Self::NotShown),
            Identity::Unverified { why, .. } => Some(Self::Unverified(*why)),
            Identity::Verified { .. } => None,
        }
    }
}

/// Why AUTH failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticationFault {
    /// No verified certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateFault),
    /// The certificate does not name this authorization identity.
    #[error("the certificate does not name the authorization identity {0:?}")]
    NotNamed(String),
    /// AUTH with a password.
    #[error("{login:?}: {fault}")]
    Password {
        /// How.
        mechanism: PasswordMechanism,
        /// Who the client said it is.
        login: String,
        /// Why not.
        fault: PasswordFault,
    },
}

impl AuthenticationFault {
    /// What failed, for records.
    pub const fn decided_by(&self) -> &'static str {
        match self {
            Self::Certificate(_) | Self::NotNamed(_) => "AUTH EXTERNAL",
            Self::Password {
                fault: PasswordFault::LoginExceeded,
                ..
            } => "smtpd_sasl_failure_limit_login",
            Self::Password {
                fault: PasswordFault::AddressExceeded,
                ..
            } => "smtpd_sasl_failure_limit_address",
            Self::Password { mechanism, .. } => match mechanism {
                PasswordMechanism::Plain => "AUTH PLAIN",
                PasswordMechanism::Login => "AUTH LOGIN",
            },
        }
    }
}

/// Why a message was not taken after its DATA command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageFault {
    /// Larger than `message_size_limit`.
    #[error("larger than message_size_limit")]
    TooBig,
    /// More Received headers than `hopcount_limit`.
    #[error("more Received headers than hopcount_limit")]
    TooManyHops,
    /// A header field larger than `header_size_limit`.
    #[error("a header field larger than header_size_limit")]
    HeaderTooBig,
    /// A bare CR or LF under `smtpd_forbid_bare_newline = reject`.
    #[error("bare {0} in the mail data")]
    BareNewline(BareOctet),
    /// `from_header`: the addresses of the From header field cannot be told.
    #[error("{0}")]
    FromHeader(FromFault),
    /// `from_header`: the holder of the certificate may not send with this address.
    #[error("the From address <{0}> is not owned by the holder of the certificate")]
    FromNotOwned(Mailbox),
    /// A limit of a certificate rule, under `defer` or `reject`.
    #[error("{} exceeds limit {}: {}", .0.holder, .0.limit.name, .0.usage)]
    Limit(Box<Exceeded>),
    /// A restriction list, at DATA or at the end of the mail data.
    #[error("{}", .1.because())]
    Restriction(Stage, Box<Verdict>),
    /// A content filter, with what it answers.
    #[error("{0}")]
    Filter(Box<FilterRefusal>),
    /// The queue did not take it.
    #[error(transparent)]
    Queue(#[from] QueueRefusal),
}

impl MessageFault {
    /// Whether policy refused it: the reply carries a reference.
    pub const fn is_policy(&self) -> bool {
        matches!(
            self,
            Self::FromHeader(_) | Self::FromNotOwned(_) | Self::Limit(_) | Self::Restriction(..) | Self::Filter(_)
        )
    }

    /// What decided so, as it is written in the configuration; empty when it was not policy.
    pub fn decided_by(&self) -> &str {
        match self {
            Self::FromHeader(_) | Self::FromNotOwned(_) => "from_header",
            Self::Limit(exceeded) => &exceeded.limit.name,
            Self::Restriction(_, verdict) => verdict.decided_by(),
            Self::Filter(_) => "smtpd_milters",
            _ => "",
        }
    }
}

/// Where a bare newline stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BareNewlinePlace {
    /// In a command line.
    Command,
    /// In the mail data.
    MailData,
}

/// Half of a line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BareOctet {
    /// CR without LF.
    #[error("<CR>")]
    Cr,
    /// LF without CR.
    #[error("<LF>")]
    Lf,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// QUIT.
    #[error("quit")]
    Quit,
    /// The peer went without QUIT, or a handshake failed.
    #[error("connection lost")]
    Lost,
    /// The peer said nothing for too long.
    #[error("timeout")]
    Timeout,
    /// `smtpd_hard_error_limit`.
    #[error("too many errors")]
    TooManyErrors,
    /// `smtpd_tls_req_ccert`, and no verified certificate.
    #[error("no verified client certificate")]
    ClientCertificate,
    /// `smtpd_sasl_failure_limit_address`.
    #[error("too many failed logins")]
    TooManyFailedLogins,
    /// `smtpd_forbid_bare_newline = reject`.
    #[error("bare newline")]
    BareNewline,
    /// BDAT without a length that can be read: nobody knows where the next command begins.
    #[error("chunk of unknown length")]
    ChunkOfUnknownLength,
    /// A refused BDAT with more octets than are read and thrown away.
    #[error("refused chunk too long")]
    ChunkTooLong,
    /// A restriction list or a content filter ended it.
    #[error("refused")]
    Refused,
    /// The peer sent what had to wait for a reply, or for the greeting.
    #[error("out of turn")]
    Unsynchronised,
    /// The session had to make room for others.
    #[error("shed")]
    Shed,
    /// The peer speaks another protocol.
    #[error("another protocol")]
    ForeignProtocol,
    /// The relay is stopping, or its queue is closed.
    #[error("shutting down")]
    Shutdown,
    /// The driver handed over more than it may: our fault.
    #[error("input buffer full")]
    InputOverflow,
}
