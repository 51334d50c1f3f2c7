//! The examples of certificate rules, proved whenever a configuration is loaded.
//!
//! **Implements** `accepts` and `refuses`: the conditions are asked of the first certificate of the file.
//! **Does not** verify its chain, nor whether it is still valid: an example proves the conditions, nothing else. Its issuer,
//! for `issuer_file`, is looked up by name only.

use std::path::PathBuf;
use std::sync::Arc;

use super::certificate_file;
use super::defined::{Defined, Example, RuleSet};
use crate::cert::certificate::Certificate;
use crate::config::error::{Complaint, Findings};
use crate::policy::certificate_rule::{CertificateRule, Condition, Finding};

/// Proves every example of every good rule; `authorities` are the files of the CAs that listeners trust.
pub fn prove_all(rules: &RuleSet, authorities: &[PathBuf], now_unix_seconds: i64, findings: &mut Findings) {
    if rules.0.iter().all(|defined| defined.examples.is_empty()) {
        return;
    }
    // A file that cannot be read has its own error where it is named.
    let trusted: Vec<_> = authorities
        .iter()
        .flat_map(|path| certificate_file::read(path).unwrap_or_default())
        .collect();
    for defined in &rules.0 {
        for example in &defined.examples {
            check_example(defined, example, &trusted, now_unix_seconds, findings);
        }
    }
}

fn check_example(
    defined: &Defined,
    example: &Example,
    trusted: &[Arc<Certificate>],
    now_unix_seconds: i64,
    findings: &mut Findings,
) {
    let span = Some(example.span.clone());
    let certificates = match certificate_file::read(&example.path) {
        Ok(certificates) => certificates,
        Err(message) => {
            let complaint = Complaint::new(message, "expected a PEM file with the certificate first");
            return findings.error(example.key, span, complaint);
        }
    };
    let (Some(rule), Some((leaf, shown))) = (&defined.rule, certificates.split_first()) else {
        return;
    };
    let known = shown.iter().chain(issuers_named(&rule.conditions)).chain(trusted);
    let found = prove(rule, leaf, known.cloned(), now_unix_seconds);
    let broken: Vec<&Finding> = found.iter().filter(|finding| !finding.holds).collect();
    let (file, name) = (&example.file, &rule.name);
    if example.key == "accepts" {
        if broken.is_empty() {
            return;
        }
        let message = format!("\"{file}\" does not satisfy \"{name}\": {}", in_words(&broken));
        let complaint = Complaint::new(message, "expected a certificate that satisfies the rule");
        // Time alone must not keep the relay from starting.
        if broken.iter().all(|finding| finding.condition == "valid_for") {
            findings.warning(
                example.key,
                span,
                complaint.hint("take a certificate with more validity left"),
            );
        } else {
            findings.error(
                example.key,
                span,
                complaint.hint("change the condition, or the example"),
            );
        }
    } else if broken.is_empty() {
        let all: Vec<&Finding> = found.iter().collect();
        let message = format!("\"{file}\" satisfies \"{name}\": {}", in_words(&all));
        let complaint = Complaint::new(message, "expected a certificate that does not satisfy the rule");
        findings.error(
            example.key,
            span,
            complaint.hint("add a condition that tells it apart, or take it out"),
        );
    }
}

/// How the conditions of a rule come out for a certificate whose chain is not known: its issuers are looked up by name.
pub fn prove(
    rule: &CertificateRule,
    leaf: &Arc<Certificate>,
    known: impl Iterator<Item = Arc<Certificate>>,
    now_unix_seconds: i64,
) -> Vec<Finding> {
    let known: Vec<_> = known.collect();
    let mut issuers: Vec<Arc<Certificate>> = Vec::new();
    let mut current = leaf;
    while current.issuer != current.subject || issuers.is_empty() {
        let is_next = |other: &&Arc<Certificate>| other.subject == current.issuer && !issuers.contains(other);
        let Some(next) = known.iter().find(is_next) else { break };
        issuers.push(Arc::clone(next));
        current = next;
    }
    rule.findings(leaf, &issuers, now_unix_seconds)
}

/// The certificates of every `issuer_file` of these conditions.
fn issuers_named(conditions: &[Condition]) -> Vec<&Arc<Certificate>> {
    let mut found = Vec::new();
    for condition in conditions {
        match condition {
            Condition::IssuedBy { issuers, .. } => found.extend(issuers),
            Condition::Not(inner) => found.extend(issuers_named(inner)),
            Condition::Any(alternatives) => {
                found.extend(alternatives.iter().flat_map(|inner| issuers_named(inner)));
            }
            _ => {}
        }
    }
    found
}

fn in_words(findings: &[&Finding]) -> String {
    if findings.is_empty() {
        return "it has no conditions".into();
    }
    let words = findings.iter().map(|finding| {
        let Finding {
            condition,
            found,
            wanted,
            ..
        } = finding;
        format!("{condition} is {found}, wanted {wanted}")
    });
    words.collect::<Vec<_>>().join("; ")
}
