//! Whether a certificate has been taken back: by the postmaster, by its issuer's list, by its responder.
//!
//! **Implements** `smtpd_tls_deny_list_file`, `smtpd_tls_crl_policy`, `smtpd_tls_crl_grace_time`,
//! `smtpd_tls_crl_issuer_policies`, `smtpd_tls_ocsp`: one finding for each question, which both decides and is shown.
//! **Does not** read files or ask anybody.

use std::sync::Arc;

use super::crl::{Status, VerifiedList};
use super::crl_files::CrlFiles;
use super::deny_list::DenyList;
use super::ocsp::{OcspStatus, Responders};
use super::settings::{CrlPolicy, OcspMode, OnUnknown, RevocationSettings};
use crate::cert::certificate::Certificate;
use crate::cert::examination::Outcome;
use crate::cert::identity::Why;
use crate::cert::name::DistinguishedName;
use crate::time::Timestamp;

/// The answer to one question about one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// How it came out.
    pub(super) outcome: Outcome,
    /// Why the certificate is unverified, when it is.
    pub(super) why: Option<Why>,
    /// What was found.
    pub(super) detail: String,
    /// The first second at which time alone may change the answer.
    pub(super) until_unix_seconds: i64,
}

/// All that may take a certificate back.
#[derive(Debug)]
pub(super) struct Revocation {
    pub(super) settings: RevocationSettings,
    pub(super) lists: Option<CrlFiles>,
    pub(super) deny_list: Option<Arc<DenyList>>,
    pub(super) responders: Arc<Responders>,
}

impl Finding {
    pub(super) fn new(outcome: Outcome, why: Option<Why>, detail: impl Into<String>) -> Self {
        Self {
            outcome,
            why,
            detail: detail.into(),
            until_unix_seconds: i64::MAX,
        }
    }

    pub(super) fn skipped(detail: impl Into<String>) -> Self {
        Self::new(Outcome::Skipped, None, detail)
    }

    fn until(self, until_unix_seconds: i64) -> Self {
        Self {
            until_unix_seconds,
            ..self
        }
    }
}

impl Revocation {
    /// Changes whenever any answer may have, other than by time.
    pub(super) fn generation(&self) -> u64 {
        // Each only ever grows, so the sum changes with any of them.
        let lists = self.lists.as_ref().map_or(0, CrlFiles::generation);
        let denied = self.deny_list.as_ref().map_or(0, |list| list.generation());
        lists.wrapping_add(denied).wrapping_add(self.responders.generation())
    }

    /// Whether the postmaster has blocked a certificate, leaf or issuer.
    pub(super) fn denial(&self, certificate: &Certificate) -> Finding {
        let Some(list) = &self.deny_list else {
            return Finding::skipped("there is no deny-list");
        };
        match list.denial(certificate) {
            None => Finding::new(Outcome::Passed, None, "not on the deny-list"),
            Some(denial) => {
                let mut detail = "blocked by the postmaster".to_owned();
                if denial.since_unix_seconds > 0 {
                    let since = Timestamp::from_seconds(denial.since_unix_seconds);
                    detail.push_str(&format!(" since {since}"));
                }
                if !denial.reason.is_empty() {
                    detail.push_str(&format!(": {}", denial.reason));
                }
                Finding::new(Outcome::Failed, Some(Why::Denied), detail)
            }
        }
    }

    /// What the lists of its issuer say of a certificate.
    pub(super) fn list_finding(&self, certificate: &Certificate, issuer: &Certificate, now: i64) -> Finding {
        let Some(files) = &self.lists else {
            return Finding::skipped("no revocation lists are configured");
        };
        let policy = self.policy(&certificate.issuer);
        let lists = files.lists();
        match lists.status(certificate, issuer) {
            Status::Revoked(verified, entry) => {
                let since = Timestamp::from_seconds(entry.since_seconds);
                let reason = entry.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
                let detail = format!("revoked on {since}{reason}, says {}", describe(verified));
                Finding::new(Outcome::Failed, Some(Why::Revoked), detail)
            }
            Status::Listed(verified) => freshness(verified, policy, now),
            Status::Missing => {
                let detail = format!("no revocation list of {} at hand", certificate.issuer.one_line());
                unknown(policy, Why::CrlMissing, detail)
            }
        }
    }

    /// What the responder of a leaf has said.
    pub(super) fn responder_finding(&self, leaf: &Certificate, issuer: &Certificate, now: i64) -> Finding {
        if self.settings.ocsp == OcspMode::Off {
            return Finding::skipped("smtpd_tls_ocsp = off");
        }
        match self.responders.status(leaf, issuer, now) {
            OcspStatus::Good { until_unix_seconds } => {
                let until = Timestamp::from_seconds(until_unix_seconds);
                let detail = format!("its responder vouches for it until {until}");
                Finding::new(Outcome::Passed, None, detail).until(until_unix_seconds.saturating_add(1))
            }
            OcspStatus::Revoked => Finding::new(
                Outcome::Failed,
                Some(Why::Revoked),
                "its responder says that it is revoked",
            ),
            OcspStatus::Unknown => {
                let names_none = leaf.ocsp_responders.is_empty();
                let detail = if names_none {
                    "it names no responder"
                } else {
                    "no answer of its responder that counts is at hand"
                };
                match self.settings.ocsp {
                    OcspMode::Require => Finding::new(Outcome::Failed, Some(Why::OcspUnknown), detail),
                    _ => Finding::new(Outcome::Tolerated, None, format!("{detail} (smtpd_tls_ocsp = prefer)")),
                }
            }
        }
    }

    /// From when on a list no longer counts as fresh, grace included.
    pub(super) fn stale_from(&self, verified: &VerifiedList) -> i64 {
        stale_from(verified, self.policy(&verified.list.issuer))
    }

    /// The policy for what an issuer has issued.
    pub(super) fn policy(&self, issuer: &DistinguishedName) -> CrlPolicy {
        let policies = &self.settings.issuer_policies;
        if policies.is_empty() {
            return self.settings.crl_policy;
        }
        let issuer = issuer.one_line();
        let own = policies.iter().find(|(name, _)| *name == issuer);
        own.map_or(self.settings.crl_policy, |(_, policy)| *policy)
    }
}

fn stale_from(verified: &VerifiedList, policy: CrlPolicy) -> i64 {
    let grace = i64::try_from(policy.grace.as_secs()).unwrap_or(i64::MAX);
    verified.next_update().saturating_add(grace).saturating_add(1)
}

fn freshness(verified: &VerifiedList, policy: CrlPolicy, now: i64) -> Finding {
    let stale_from = stale_from(verified, policy);
    let detail = format!("not on {}", describe(verified));
    if now <= verified.next_update() {
        return Finding::new(Outcome::Passed, None, detail).until(stale_from);
    }
    if now < stale_from {
        let until = Timestamp::from_seconds(stale_from);
        let detail = format!("{detail}; it is past its nextUpdate and counts until {until}");
        return Finding::new(Outcome::Tolerated, None, detail).until(stale_from);
    }
    unknown(policy, Why::CrlStale, format!("{detail}; it is out of date"))
}

fn unknown(policy: CrlPolicy, why: Why, detail: String) -> Finding {
    match policy.on_unknown {
        OnUnknown::FailClosed => Finding::new(Outcome::Failed, Some(why), detail),
        OnUnknown::FailOpen => Finding::new(Outcome::Tolerated, None, format!("{detail} (fail-open)")),
    }
}

/// `list 7 of 2026-11-24T08:00:00Z, next due 2026-12-01T08:00:00Z`.
fn describe(verified: &VerifiedList) -> String {
    let list = &verified.list;
    let number = list.number.as_deref().unwrap_or("without a number");
    let issued = Timestamp::from_seconds(list.this_update_seconds);
    let due = list.next_update_seconds.map_or_else(
        || "without a nextUpdate".to_owned(),
        |next| format!("next due {}", Timestamp::from_seconds(next)),
    );
    format!("list {number} of {issued}, {due}")
}
