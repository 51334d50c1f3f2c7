//! The envelope and who handed it in.
//!
//! **Implements** RFC 5321 section 2.3.1, with the record of the submitter that lets the holder of a misused
//! certificate be found.

use std::net::SocketAddr;

use super::dsn::{MessageRequest, RecipientRequest};
use crate::wire::path::{ForwardPath, ReversePath};

/// The BODY parameter of RFC 6152, or what the mail data turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Body {
    /// No octet above 127.
    #[default]
    SevenBit,
    /// `BODY=8BITMIME`, or octets above 127 that nobody declared: the queue looks when it takes a message.
    EightBitMime,
}

impl Body {
    /// With the mail data looked at.
    #[must_use]
    pub const fn with(self, has_high_octets: bool) -> Self {
        if has_high_octets { Self::EightBitMime } else { self }
    }
}

/// Who handed a message in and what let it through; kept with the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitter {
    /// The session it came in by.
    pub session_id: String,
    /// The peer's address and port; absent for mail made here (bounces).
    pub peer: Option<SocketAddr>,
    /// `plaintext`, `no_certificate`, `unverified`, `verified`, or `local` for mail made here.
    pub identity: String,
    /// Issuer, one-line text, when a certificate was shown.
    pub issuer: Option<String>,
    /// Subject, one-line text, when a certificate was shown.
    pub subject: Option<String>,
    /// SHA-256 of the certificate.
    pub fingerprint: Option<String>,
    /// The name that AUTH with a password proved; `None` without one.
    pub login: Option<String>,
    /// The restriction that permitted the (last) recipient.
    pub decided_by: String,
}

impl Submitter {
    /// The submitter of mail that this relay makes itself.
    pub fn local(reason: &str) -> Self {
        Self {
            session_id: String::new(),
            peer: None,
            identity: "local".into(),
            issuer: None,
            subject: None,
            fingerprint: None,
            login: None,
            decided_by: reason.into(),
        }
    }
}

/// What the client asked of whoever carries the message on. The default asks nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// SMTPUTF8 (RFC 6531): an address, or the header, holds UTF-8.
    pub smtputf8: bool,
    /// REQUIRETLS (RFC 8689): over verified TLS to hosts that say REQUIRETLS, or back.
    pub require_tls: bool,
    /// RET and ENVID (RFC 3461).
    pub dsn: MessageRequest,
    /// NOTIFY and ORCPT (RFC 3461), one for each of the envelope's forward-paths and in their order, or none at all when no
    /// RCPT asked anything.
    pub recipients: Vec<RecipientRequest>,
}

impl Demands {
    /// What RCPT asked for the recipient of that place.
    pub fn of_recipient(&self, place: usize) -> RecipientRequest {
        self.recipients.get(place).cloned().unwrap_or_default()
    }

    /// What MAIL asked, without the recipients.
    #[must_use]
    pub fn of_message(self) -> Self {
        Self {
            recipients: Vec::new(),
            ..self
        }
    }
}

/// What a message is queued with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Where a bounce goes.
    pub reverse_path: ReversePath,
    /// One or more.
    pub forward_paths: Vec<ForwardPath>,
    /// Declared body type.
    pub body: Body,
    /// Who handed it in.
    pub submitter: Submitter,
    /// What whoever carries the message on has to keep to.
    pub demands: Demands,
    /// Why the message waits on hold from the start, for the postmaster; `None` for a message that is delivered.
    pub hold: Option<String>,
}
