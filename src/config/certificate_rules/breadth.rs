//! Whether a rule says whose certificates it is about, or is satisfied by what anybody can get from a public CA.
//!
//! **Implements** the judgement behind the open relay errors of `list_checks` and the unreachable rules of `list_reach`.

use super::describe;
use crate::cert::certificate::NameOf;
use crate::cert::name::oid_of;
use crate::config::strangers::{
    is_a_place, is_of_a_public_authority, matches_a_public_authority, matches_a_stranger, matches_every_name,
};
use crate::policy::certificate_rule::{CertificateRule, Condition};
use crate::policy::restriction::CertificateMatch;

/// Policies that public CAs put into every certificate: anyPolicy and those of the CA/Browser Forum.
const PUBLIC_POLICIES: [&str; 2] = ["2.5.29.32.", "2.23.140."];

/// Whether anybody's certificate can satisfy all conditions of a rule.
pub fn is_for_anybody(rule: &CertificateRule) -> bool {
    are_for_anybody(&rule.conditions)
}

/// Whether both expressions match anybody's names.
pub fn matches_anybody(rule: &CertificateMatch) -> bool {
    rule.issuer.as_ref().is_none_or(matches_a_public_authority) && rule.subject.as_ref().is_none_or(matches_a_stranger)
}

/// Whether both expressions match every name, as far as names of strangers show.
pub fn matches_everybody(rule: &CertificateMatch) -> bool {
    [&rule.issuer, &rule.subject]
        .into_iter()
        .flatten()
        .all(matches_every_name)
}

/// Whether every certificate that satisfies the narrow rule satisfies the wide one, as far as the conditions say so in the
/// same words.
pub fn is_within(narrow: &CertificateRule, wide: &CertificateRule) -> bool {
    let is_implied = |wide: &Condition| narrow.conditions.iter().any(|narrow| implies(narrow, wide));
    wide.conditions.iter().all(is_implied)
}

fn implies(narrow: &Condition, wide: &Condition) -> bool {
    let all_in = |narrow: &[String], wide: &[String]| narrow.iter().all(|value| wide.contains(value));
    match (narrow, wide) {
        (
            Condition::Attribute { of, attribute, any_of },
            Condition::Attribute {
                of: wide_of,
                attribute: wide_attribute,
                any_of: wide_any_of,
            },
        ) => of == wide_of && oid_of(attribute) == oid_of(wide_attribute) && all_in(any_of, wide_any_of),
        (Condition::Serial(narrow), Condition::Serial(wide))
        | (Condition::Fingerprint(narrow), Condition::Fingerprint(wide))
        | (Condition::PublicKeyFingerprint(narrow), Condition::PublicKeyFingerprint(wide)) => all_in(narrow, wide),
        (Condition::KeyBitsMin(narrow), Condition::KeyBitsMin(wide)) => narrow >= wide,
        (Condition::ValidForSeconds(narrow), Condition::ValidForSeconds(wide)) => narrow >= wide,
        (narrow, wide) => describe::condition(narrow) == describe::condition(wide),
    }
}

fn are_for_anybody(conditions: &[Condition]) -> bool {
    conditions.iter().all(is_free)
}

/// Whether a stranger can get a certificate that satisfies this.
fn is_free(condition: &Condition) -> bool {
    match condition {
        Condition::Attribute { of, attribute, any_of } => match of {
            NameOf::Issuer => is_of_a_public_authority(attribute, any_of),
            NameOf::Subject => is_a_place(attribute),
        },
        Condition::Serial(_)
        | Condition::Fingerprint(_)
        | Condition::PublicKeyFingerprint(_)
        | Condition::IssuedBy { .. } => false,
        Condition::Text { of, regex } => match of {
            NameOf::Issuer => matches_a_public_authority(regex),
            NameOf::Subject => matches_a_stranger(regex),
        },
        Condition::AlternativeName { any_of, .. } => any_of.iter().any(|glob| is_free_glob(glob)),
        Condition::Policy(oids) => oids.iter().any(|oid| PUBLIC_POLICIES.iter().any(|start| oid.starts_with(start))),
        Condition::ExtendedKeyUsage(_)
        | Condition::KeyUsage(_)
        | Condition::KeyAlgorithm(_)
        | Condition::KeyBitsMin(_)
        | Condition::ValidForSeconds(_)
        // What is excluded says nothing about who is left.
        | Condition::Not(_) => true,
        Condition::Any(alternatives) => alternatives.iter().any(|inner| are_for_anybody(inner)),
    }
}

/// A public CA proves that an applicant controls a domain, so a glob must end in one: `*@example.org`, not `alice@*`,
/// `*.org` or `*example.org`.
fn is_free_glob(glob: &str) -> bool {
    let Some((_, end)) = glob.rsplit_once('*') else {
        return false;
    };
    let Some(domain) = end.strip_prefix(['@', '.']) else {
        return true;
    };
    !domain.contains('.') && !domain.contains('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glob_without_a_whole_domain_at_its_end_is_free() {
        for glob in [
            "*",
            "*@*",
            "alice@*",
            "*example.org",
            "*.org",
            "*@org",
            "a@*.org",
            "*@example.*",
        ] {
            assert!(is_free_glob(glob), "{glob}");
        }
        for glob in [
            "*@example.org",
            "*@*.example.org",
            "*.example.org",
            "alice@example.org",
            "*.lab@example.org",
        ] {
            assert!(!is_free_glob(glob), "{glob}");
        }
    }
}
