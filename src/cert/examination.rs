//! What was found when a certificate was judged, check by check.
//!
//! **Implements** the trace of a chain verification that `estafette explain` prints; the judge of `io::tls` fills it.

use std::fmt;

use super::identity::Identity;

/// The verdict on what a peer presented, how long it holds, and every check that led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Examination {
    /// The verdict.
    pub identity: Identity,
    /// Seconds since 1970: the verdict must be asked for again from here on, since a certificate of the chain expires or
    /// a revocation list becomes stale then; `i64::MAX` when time alone does not change it.
    pub until_unix_seconds: i64,
    /// In the order made: the leaf first, then each issuer up to the anchor.
    pub steps: Vec<ExaminationStep>,
}

/// One check of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExaminationStep {
    /// The subject of the certificate looked at, one-line text; empty when it cannot be decoded.
    pub certificate: String,
    /// What was looked at.
    pub check: Check,
    /// How it came out.
    pub outcome: Outcome,
    /// What was found, in words: dates, the anchor's name, the age of a CRL, the usages listed.
    pub detail: String,
}

/// What is looked at in a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Whether it can be decoded.
    Encoding,
    /// The relay's own deny-list.
    DenyList,
    /// Who issued it, and where that issuer was found: presented, in the pool, an anchor.
    Issuer,
    /// The issuer's signature, its algorithm and key size.
    Signature,
    /// notBefore and notAfter.
    Validity,
    /// Extended key usage.
    Usage,
    /// Basic constraints and path length.
    Constraints,
    /// Name constraints of its issuers.
    NameConstraints,
    /// The CRL of its issuer.
    Crl,
    /// The OCSP responder.
    Ocsp,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Good.
    Passed,
    /// Bad: the certificate is unverified for this reason.
    Failed,
    /// Doubtful, and let through by a directive (a stale CRL within its grace time).
    Tolerated,
    /// Not looked at, since nothing asks for it or an earlier check failed.
    Skipped,
}

impl Check {
    /// For `explain`, text and JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Encoding => "encoding",
            Self::DenyList => "deny_list",
            Self::Issuer => "issuer",
            Self::Signature => "signature",
            Self::Validity => "validity",
            Self::Usage => "usage",
            Self::Constraints => "constraints",
            Self::NameConstraints => "name_constraints",
            Self::Crl => "crl",
            Self::Ocsp => "ocsp",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Tolerated => "tolerated",
            Self::Skipped => "skipped",
        })
    }
}
