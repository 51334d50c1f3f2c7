//! OCSP: asking the responder that a client's certificate names, and keeping what it said.
//!
//! **Implements** RFC 6960 over plain HTTP, for `smtpd_tls_ocsp`. An answer counts only when the issuer, or a responder it
//! delegated, has signed it, and until its nextUpdate.
//! **Does not** ask for anybody whose chain does not verify: the address to ask stands in the certificate.

use std::time::Duration;

use crate::cert::certificate::Certificate;

/// What is known of certificates from their responders; shared by every listener, bounded.
#[derive(Debug, Default)]
pub struct Responders {}

/// What a responder said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OcspStatus {
    /// It vouches for the certificate until then (seconds since 1970).
    Good {
        /// nextUpdate.
        until_unix_seconds: i64,
    },
    /// The certificate has been revoked.
    Revoked,
    /// No answer that counts is at hand.
    Unknown,
}

impl Responders {
    /// What is known of a leaf whose direct issuer is `issuer`.
    pub fn status(&self, leaf: &Certificate, issuer: &Certificate, now_unix_seconds: i64) -> OcspStatus {
        let _ = (leaf, issuer, now_unix_seconds);
        OcspStatus::Unknown
    }

    /// Changes with every answer that changes what is known.
    pub fn generation(&self) -> u64 {
        0
    }

    /// Asks the responders that the leaf names, unless an answer that still counts is at hand, for at most `timeout`.
    /// `leaf` and `issuer` are DER. Cancel-safe: what was not answered is not kept.
    #[expect(clippy::unused_async, reason = "the seam comes first")]
    pub async fn ask(&self, leaf: &[u8], issuer: &[u8], timeout: Duration, now_unix_seconds: i64) {
        let _ = (leaf, issuer, timeout, now_unix_seconds);
    }
}
