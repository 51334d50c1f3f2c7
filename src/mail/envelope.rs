//! The envelope and who handed it in.
//!
//! **Implements** RFC 5321 section 2.3.1, with the record of the submitter that lets the holder of a misused
//! certificate be found.

use std::net::SocketAddr;

use crate::wire::path::{ForwardPath, ReversePath};

/// The BODY parameter of RFC 6152.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Body {
    /// No octet above 127, or nothing declared.
    #[default]
    SevenBit,
    /// `BODY=8BITMIME`.
    EightBitMime,
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
            decided_by: reason.into(),
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
    /// Why the message waits on hold from the start, for the postmaster; `None` for a message that is delivered.
    pub hold: Option<String>,
}
