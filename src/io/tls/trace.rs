//! Every check of every certificate of a path, in words, and how long the verdict holds.
//!
//! **Implements** the steps of an [`Examination`](crate::cert::examination::Examination). The verdict is an argument: of
//! a path that verified no check has failed, and of one that did not the check that the verdict names has.
//! **Does not** decide anything; beside the verdict's own, a check that fails tells of one more thing to repair.

use super::authorities::Origin;
use super::path::{ClientUsage, Link, is_weak};
use super::revocation::{Finding, Revocation};
use super::signature::SignatureFault;
use crate::cert::certificate::Certificate;
use crate::cert::decode;
use crate::cert::examination::{Check, ExaminationStep, Outcome};
use crate::cert::identity::Why;
use crate::cert::usage;
use crate::time::Timestamp;

/// A path and the verdict on it.
pub(super) struct Traced<'a> {
    /// The leaf first; the anchor last, where one was reached.
    pub(super) links: &'a [Link],
    pub(super) verdict: Result<(), Why>,
    pub(super) revocation: &'a Revocation,
    pub(super) usage: &'a ClientUsage,
    pub(super) verify_depth: usize,
    pub(super) now_unix_seconds: i64,
}

/// The one step of a leaf that cannot be decoded.
pub(super) fn undecodable() -> ExaminationStep {
    ExaminationStep {
        certificate: String::new(),
        check: Check::Encoding,
        outcome: Outcome::Failed,
        detail: Why::Malformed.to_string(),
    }
}

impl Traced<'_> {
    /// The steps, and the first second at which time alone may change the verdict.
    pub(super) fn steps(&self) -> (Vec<ExaminationStep>, i64) {
        let mut steps = Vec::new();
        let mut until = i64::MAX;
        for (position, link) in self.links.iter().enumerate() {
            let certificate = link.certificate.subject.one_line();
            for (check, finding) in self.findings(position, link) {
                until = until.min(finding.until_unix_seconds);
                steps.push(ExaminationStep {
                    certificate: certificate.clone(),
                    check,
                    outcome: finding.outcome,
                    detail: finding.detail,
                });
            }
        }
        match self.verdict {
            Ok(()) => {}
            Err(why) => mark(&mut steps, why),
        }
        (steps, until)
    }

    fn findings(&self, position: usize, link: &Link) -> Vec<(Check, Finding)> {
        let issuer = self.links.get(position + 1);
        let certificate: &Certificate = &link.certificate;
        let mut findings = vec![
            (Check::Encoding, self.encoding(position, certificate)),
            (Check::DenyList, self.revocation.denial(certificate)),
            (Check::Issuer, issuer_finding(link, issuer)),
            (Check::Signature, self.signature(link, issuer)),
            (Check::Validity, self.validity(certificate)),
            (Check::Usage, self.usages(link)),
            (Check::Constraints, self.constraints(position, link)),
            (Check::NameConstraints, name_constraints(position, link)),
        ];
        let list = match issuer {
            Some(issuer) => self
                .revocation
                .list_finding(certificate, &issuer.certificate, self.now_unix_seconds),
            None if link.is_anchor => Finding::skipped("a trust anchor is not revoked by a list"),
            None => Finding::skipped("its issuer is unknown"),
        };
        findings.push((Check::Crl, list));
        if position == 0 {
            findings.push((Check::Ocsp, self.responder(certificate, issuer)));
        }
        findings
    }

    /// Passed where it holds or the whole path has verified.
    fn finding(&self, holds: bool, detail: impl Into<String>) -> Finding {
        let outcome = if holds || self.verdict.is_ok() {
            Outcome::Passed
        } else {
            Outcome::Failed
        };
        Finding::new(outcome, None, detail)
    }

    fn encoding(&self, position: usize, certificate: &Certificate) -> Finding {
        let (version, serial) = (certificate.version, &certificate.serial);
        let detail = format!("X.509 version {version}, serial number {serial}");
        self.finding(version == 3 || position != 0, detail)
    }

    fn signature(&self, link: &Link, issuer: Option<&Link>) -> Finding {
        let (algorithm, bits) = (&link.certificate.key_algorithm, link.certificate.key_bits);
        let key = format!("its own key is {algorithm} of {bits} bits");
        let Some(issuer) = issuer else {
            return Finding::skipped(if link.is_anchor {
                format!("a trust anchor is trusted as it is; {key}")
            } else {
                format!("its issuer is unknown; {key}")
            });
        };
        let name = decode::signature_algorithm(&link.der).unwrap_or_default();
        // What webpki has verified is not verified again.
        let signature = self.verdict.or_else(|_| link.signature(issuer));
        let fault = match signature {
            Err(SignatureFault::Unsupported) => " is too weak or not supported",
            Err(SignatureFault::Bad) if is_weak(&issuer.certificate) => " by a key of its issuer that is too small",
            Err(SignatureFault::Bad) => " is not by the key of its issuer",
            Ok(()) if is_weak(&link.certificate) => "; the key is too small",
            Ok(()) => "",
        };
        self.finding(fault.is_empty(), format!("{name}{fault}; {key}"))
    }

    fn validity(&self, certificate: &Certificate) -> Finding {
        let (from, to) = (certificate.not_before_seconds, certificate.not_after_seconds);
        let now = self.now_unix_seconds;
        let detail = format!(
            "from {} to {}",
            Timestamp::from_seconds(from),
            Timestamp::from_seconds(to)
        );
        let until_unix_seconds = if now < from {
            from
        } else if now <= to {
            to.saturating_add(1)
        } else {
            i64::MAX
        };
        Finding {
            until_unix_seconds,
            ..self.finding((from..=to).contains(&now), detail)
        }
    }

    fn usages(&self, link: &Link) -> Finding {
        let usages = &link.certificate.extended_key_usages;
        if link.is_anchor {
            return Finding::skipped("not asked of a trust anchor");
        }
        let detail = if usages.is_empty() {
            "no extended key usage: good for anything".to_owned()
        } else {
            let names: Vec<&str> = usages.iter().map(|oid| usage::name_of(oid).unwrap_or(oid)).collect();
            format!("extended key usage {}", names.join(", "))
        };
        self.finding(self.usage.allows(usages), detail)
    }

    /// An end entity at the bottom, authorities above, and not too many of them.
    fn constraints(&self, position: usize, link: &Link) -> Finding {
        if position == 0 {
            let is_ca = link.certificate.is_ca;
            let detail = if is_ca {
                "a certification authority"
            } else {
                "an end entity"
            };
            return self.finding(!is_ca, detail);
        }
        let below = position - 1;
        let limit = link
            .path_length
            .map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let may_sign = link.certificate.is_ca || link.is_anchor;
        let kind = if may_sign {
            "a certification authority"
        } else {
            "no certification authority"
        };
        let allowed = link
            .path_length
            .map_or_else(String::new, |limit| format!(", {limit} allowed"));
        let detail = format!("{kind}, {below} intermediates below it{allowed}");
        let is_deep = link.is_anchor && below > self.verify_depth;
        let detail = if is_deep {
            format!("{detail}; smtpd_tls_ccert_verifydepth is {}", self.verify_depth)
        } else {
            detail
        };
        self.finding(may_sign && below <= limit && !is_deep, detail)
    }

    fn responder(&self, leaf: &Certificate, issuer: Option<&Link>) -> Finding {
        match issuer {
            // Nobody is asked about a chain that does not verify.
            Some(issuer) if matches!(self.verdict, Ok(()) | Err(Why::OcspUnknown | Why::Revoked)) => self
                .revocation
                .responder_finding(leaf, &issuer.certificate, self.now_unix_seconds),
            _ => Finding::skipped("not asked, since the chain does not verify"),
        }
    }
}

/// Sees to it that the check which the verdict names has failed.
fn mark(steps: &mut [ExaminationStep], why: Why) {
    let checks: &[Check] = match why {
        Why::UnknownIssuer => &[Check::Issuer, Check::Constraints],
        Why::Expired | Why::NotYetValid => &[Check::Validity],
        Why::Revoked => &[Check::Crl, Check::Ocsp],
        Why::Denied => &[Check::DenyList],
        Why::CrlMissing | Why::CrlStale => &[Check::Crl],
        Why::OcspUnknown => &[Check::Ocsp],
        Why::WrongExtendedKeyUsage => &[Check::Usage],
        Why::BadSignature | Why::WeakAlgorithm => &[Check::Signature],
        Why::PathLength | Why::CaAsEndEntity => &[Check::Constraints],
        Why::NameConstraint => &[Check::NameConstraints],
        Why::OldVersion | Why::Malformed => &[Check::Encoding],
    };
    let is_told = |step: &ExaminationStep| step.outcome == Outcome::Failed && checks.contains(&step.check);
    if steps.iter().any(is_told) {
        return;
    }
    let step = steps.iter_mut().filter(|step| checks.contains(&step.check));
    // Name constraints bind through the issuer that has them.
    if let Some(step) = step.max_by_key(|step| step.outcome == Outcome::Passed && why == Why::NameConstraint) {
        step.outcome = Outcome::Failed;
        step.detail = format!("{}; {why}", step.detail);
    }
}

fn issuer_finding(link: &Link, issuer: Option<&Link>) -> Finding {
    let name = link.certificate.issuer.one_line();
    let (outcome, detail) = match issuer {
        Some(issuer) if issuer.is_anchor => (
            Outcome::Passed,
            format!("{name}, a trust anchor {}", place(issuer.origin)),
        ),
        Some(issuer) => (Outcome::Passed, format!("{name}, {}", place(issuer.origin))),
        None if link.is_anchor => (Outcome::Passed, format!("a trust anchor {}", place(link.origin))),
        None => (
            Outcome::Failed,
            format!("{name}, of which there is no certificate: neither presented nor known here"),
        ),
    };
    Finding::new(outcome, None, detail)
}

fn place(origin: Option<Origin>) -> &'static str {
    match origin {
        None => "presented by the client",
        Some(Origin::File) => "in smtpd_tls_CAfile",
        Some(Origin::Directory) => "in smtpd_tls_CApath",
        Some(Origin::System) => "in the system's store",
    }
}

fn name_constraints(position: usize, link: &Link) -> Finding {
    if position == 0 {
        return Finding::skipped("an end entity constrains nobody");
    }
    match decode::name_constraints(&link.der) {
        Ok(Some(constraints)) => Finding::new(Outcome::Passed, None, constraints),
        _ => Finding::skipped("none"),
    }
}
