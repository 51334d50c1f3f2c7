//! The conditions of a certificate rule.
//!
//! **Implements** every key of [`super::keys::CONDITIONS`], `not` and `any` to a bounded depth, and the errors for
//! conditions that can never hold together.

use std::path::Path;
use std::sync::Arc;

use super::certificate_file;
use super::describe;
use super::fields::{Fields, each_string};
use super::keys;
use super::words;
use crate::cert::certificate::{Certificate, NameOf};
use crate::cert::name::oid_of;
use crate::config::directives::kind::Kind;
use crate::config::error::{Complaint, Span};
use crate::config::file::{RawTable, RawValue};
use crate::config::name_regex;
use crate::config::public_bundle;
use crate::config::reader::{Reader, Word};
use crate::config::value::Value;
use crate::policy::certificate_rule::{AlternativeName, Condition};

/// How deep `not` and `any` may stand in each other.
const DEPTH_MAX: usize = 4;

/// Smallest and largest key size that means anything, bits: Ed25519 has 256, RSA below 2048 never verifies.
const KEY_BITS: (u64, u64) = (224, 16_384);

/// Largest key of a type whose size is bounded, bits.
const LARGEST_KEYS: [(&str, u32); 2] = [("ECDSA", 521), ("Ed25519", 256)];

type Parse = fn(&mut Reader<'_>, &Word) -> Option<String>;
type Make = fn(Vec<String>) -> Condition;

/// The conditions of a table; what is wrong goes to the findings and is left out.
pub fn read(fields: &mut Fields<'_>, depth: usize) -> Vec<Condition> {
    let mut found = Vec::new();
    for (key, of) in [("issuer", NameOf::Issuer), ("subject", NameOf::Subject)] {
        attributes(fields, key, of, &mut found);
    }
    for (key, of) in [("issuer_regex", NameOf::Issuer), ("subject_regex", NameOf::Subject)] {
        found.extend(regex(fields, key, of));
    }
    let alternative_names: [(&str, AlternativeName, &str, Parse); 3] = [
        (
            "mail_address",
            AlternativeName::MailAddress,
            "addresses",
            words::address_glob,
        ),
        ("dns_name", AlternativeName::DnsName, "host names", words::host_glob),
        (
            "user_principal_name",
            AlternativeName::UserPrincipalName,
            "names such as \"alice@example.org\"",
            words::principal_glob,
        ),
    ];
    for (key, kind, expected, parse) in alternative_names {
        let globs = fields.each(key, expected, parse);
        found.extend(globs.map(|any_of| Condition::AlternativeName { kind, any_of }));
    }
    let lists: [(&str, &str, Parse, Make); 5] = [
        (
            "extended_key_usage",
            "names or dotted OIDs",
            words::extended_key_usage,
            Condition::ExtendedKeyUsage,
        ),
        ("policy", "dotted OIDs", words::policy, Condition::Policy),
        ("key_usage", "names of RFC 5280", words::key_usage, Condition::KeyUsage),
        ("serial", "serial numbers", words::serial, Condition::Serial),
        (
            "key_algorithm",
            "RSA, ECDSA, Ed25519",
            words::key_algorithm,
            Condition::KeyAlgorithm,
        ),
    ];
    for (key, expected, parse, condition) in lists {
        found.extend(fields.each(key, expected, parse).map(condition));
    }
    let fingerprints: [(&str, Make); 2] = [
        ("fingerprint", Condition::Fingerprint),
        ("public_key_fingerprint", Condition::PublicKeyFingerprint),
    ];
    for (key, condition) in fingerprints {
        found.extend(fingerprints_of(fields, key).map(condition));
    }
    found.extend(issuer_file(fields));
    numbers(fields, &mut found);
    found.extend(not(fields, depth));
    found.extend(any(fields, depth));
    check_contradictions(fields, &found);
    found
}

/// `subject = { OU = "UMR5168" }`: one condition for each attribute type.
fn attributes(fields: &mut Fields<'_>, key: &str, of: NameOf, found: &mut Vec<Condition>) {
    let Some(located) = fields.table.get(key) else { return };
    let mut reader = fields.reader(key);
    let RawValue::Table(table) = &located.value else {
        let _: Option<()> = reader.mismatch(located, "a table of attributes such as { OU = \"UMR5168\" }");
        return;
    };
    if table.is_empty() {
        let complaint = Complaint::new("no attribute is named", "expected { OU = \"..\" }");
        reader.error(
            Some(located.span.clone()),
            complaint.hint("write an attribute, or take the key out"),
        );
    }
    let mut seen: Vec<(String, String)> = Vec::new();
    for (attribute, span, value) in table.iter() {
        let word = Word {
            text: attribute.into(),
            span: Some(span.clone()),
        };
        let Some(attribute) = words::attribute_type(&mut reader, &word) else {
            continue;
        };
        let oid = oid_of(&attribute).unwrap_or_default().to_owned();
        if let Some((other, _)) = seen.iter().find(|(_, known)| *known == oid) {
            let message = format!("\"{attribute}\" is the same attribute type as \"{other}\"");
            let complaint = Complaint::new(message, "the same attribute type twice");
            let hint = "put the values into one array: any of them is enough";
            reader.error(Some(span.clone()), complaint.hint(hint));
        }
        seen.push((attribute.clone(), oid));
        let any_of = each_string(&mut reader, value, "values", words::attribute_value);
        found.push(Condition::Attribute { of, attribute, any_of });
    }
}

fn regex(fields: &mut Fields<'_>, key: &str, of: NameOf) -> Option<Condition> {
    let located = fields.table.get(key)?;
    let mut reader = fields.reader(key);
    let RawValue::Text(text) = &located.value else {
        return reader.mismatch(located, "a regular expression in a string");
    };
    let regex = name_regex::read(&mut reader, text, &located.span)?;
    Some(Condition::Text { of, regex })
}

fn fingerprints_of(fields: &mut Fields<'_>, key: &str) -> Option<Vec<String>> {
    match fields.value(key, Kind::Fingerprints)? {
        Value::Words(words) if words.is_empty() => {
            fields.complain(
                key,
                Complaint::new("no fingerprint is named", "expected SHA-256 fingerprints"),
            );
            None
        }
        Value::Words(words) => Some(words),
        _ => None,
    }
}

fn issuer_file(fields: &mut Fields<'_>) -> Option<Condition> {
    const KEY: &str = "issuer_file";
    let Value::Text(path) = fields.value(KEY, Kind::Path)? else {
        return None;
    };
    let Some(path) = path else {
        fields.complain(KEY, Complaint::new("found \"\"", "expected the path of a PEM file"));
        return None;
    };
    let file = match fields.table.get(KEY).map(|located| &located.value) {
        Some(RawValue::Text(text)) => text.clone(),
        _ => path.clone(),
    };
    let (path, environment) = (Path::new(&path), fields.context.environment);
    if public_bundle::is_public(path, environment) {
        let message = format!(
            "{} holds the public CAs of the system: anybody gets a certificate",
            path.display()
        );
        let complaint = Complaint::new(message, "expected the CAs whose holders are meant");
        fields.complain(KEY, complaint.hint("name a file with your own CAs only"));
        return None;
    }
    let issuers = if environment.check_files {
        issuers_of(fields, path)?
    } else {
        Vec::new()
    };
    Some(Condition::IssuedBy { file, issuers })
}

fn issuers_of(fields: &mut Fields<'_>, path: &Path) -> Option<Vec<Arc<Certificate>>> {
    const EXPECTED: &str = "expected a PEM file of CA certificates";
    let certificates = match certificate_file::read(path) {
        Ok(certificates) => certificates,
        Err(message) => {
            fields.complain("issuer_file", Complaint::new(message, EXPECTED));
            return None;
        }
    };
    // A version 1 certificate has no basic constraints.
    let leaf = certificates
        .iter()
        .find(|certificate| certificate.version > 1 && !certificate.is_ca);
    if let Some(leaf) = leaf {
        let message = format!(
            "{} is not the certificate of a CA, so that it issues none",
            leaf.subject.one_line()
        );
        let hint = "name the file of the issuer; for one certificate use fingerprint";
        fields.complain("issuer_file", Complaint::new(message, EXPECTED).hint(hint));
    }
    Some(certificates)
}

fn numbers(fields: &mut Fields<'_>, found: &mut Vec<Condition>) {
    if let Some(Value::Number(bits)) = fields.value("key_bits_min", Kind::Count(KEY_BITS.0, KEY_BITS.1)) {
        found.extend(u32::try_from(bits).map(Condition::KeyBitsMin));
    }
    if let Some(Value::Time(left)) = fields.value("valid_for", Kind::Time(1)) {
        found.extend(i64::try_from(left.as_secs()).map(Condition::ValidForSeconds));
    }
}

fn not(fields: &mut Fields<'_>, depth: usize) -> Option<Condition> {
    const KEY: &str = "not";
    let located = fields.table.get(KEY)?;
    let RawValue::Table(table) = &located.value else {
        return fields
            .reader(KEY)
            .mismatch(located, "a table of conditions: not = { .. }");
    };
    nested(fields, KEY, table, &located.span, depth).map(Condition::Not)
}

fn any(fields: &mut Fields<'_>, depth: usize) -> Option<Condition> {
    const KEY: &str = "any";
    const EXPECTED: &str = "an array of tables of conditions: any = [{ .. }, { .. }]";
    let located = fields.table.get(KEY)?;
    let RawValue::List(elements) = &located.value else {
        return fields.reader(KEY).mismatch(located, EXPECTED);
    };
    if elements.is_empty() {
        let complaint = Complaint::new("an empty array is satisfied by nothing", format!("expected {EXPECTED}"));
        fields.complain(KEY, complaint);
        return None;
    }
    let mut alternatives = Vec::new();
    for element in elements {
        match &element.value {
            RawValue::Table(table) => alternatives.extend(nested(fields, KEY, table, &element.span, depth)),
            _ => {
                let _: Option<()> = fields.reader(KEY).mismatch(element, "a table of conditions");
            }
        }
    }
    Some(Condition::Any(alternatives))
}

/// The conditions inside `not` or an element of `any`.
fn nested(fields: &mut Fields<'_>, key: &str, table: &RawTable, span: &Span, depth: usize) -> Option<Vec<Condition>> {
    let span = fields.findings.first_line(span);
    if depth >= DEPTH_MAX {
        let message = format!("not and any stand in each other more than {DEPTH_MAX} deep");
        let complaint = Complaint::new(message, "too deep").hint("write several rules instead");
        fields.findings.error(key, Some(span), complaint);
        return None;
    }
    let errors = fields.findings.errors();
    let mut inner = fields.inner(table, span.clone());
    inner.check_keys("the conditions inside not and any", &[keys::CONDITIONS]);
    let conditions = read(&mut inner, depth + 1);
    if conditions.is_empty() && fields.findings.errors() == errors {
        let message = "no condition is named, and none holds for every certificate";
        let complaint = Complaint::new(message, "expected conditions").hint("write a condition, or take it out");
        fields.findings.error(key, Some(span), complaint);
    }
    Some(conditions)
}

/// Conditions that can never hold together.
fn check_contradictions(fields: &mut Fields<'_>, conditions: &[Condition]) {
    let written: Vec<String> = conditions.iter().map(describe::condition).collect();
    let is_denied = |inner: &[Condition]| {
        let all = inner
            .iter()
            .all(|condition| written.contains(&describe::condition(condition)));
        all && !inner.is_empty()
    };
    let denied = |condition: &Condition| matches!(condition, Condition::Not(inner) if is_denied(inner));
    if conditions.iter().any(denied) {
        let message = "what is excluded here is required beside it: the conditions never hold together";
        fields.complain(
            "not",
            Complaint::new(message, "a contradiction").hint("take one of them out"),
        );
    }
    let wanted = conditions.iter().find_map(|condition| match condition {
        Condition::KeyBitsMin(bits) => Some(*bits),
        _ => None,
    });
    let algorithms = conditions.iter().find_map(|condition| match condition {
        Condition::KeyAlgorithm(algorithms) => Some(algorithms),
        _ => None,
    });
    let (Some(wanted), Some(algorithms)) = (wanted, algorithms) else {
        return;
    };
    let is_too_small = |algorithm: &String| {
        let largest = LARGEST_KEYS.iter().find(|(name, _)| name == algorithm);
        largest.is_some_and(|(_, bits)| *bits < wanted)
    };
    if let Some(algorithm) = algorithms.iter().find(|algorithm| is_too_small(algorithm)) {
        let message = format!("no {algorithm} key has {wanted} bits: the conditions never hold together");
        let hint = "compare sizes of one type of key: any = [{ key_algorithm = \"RSA\", key_bits_min = 3072 }, \
                    { key_algorithm = \"ECDSA\" }]";
        fields.complain("key_bits_min", Complaint::new(message, "a contradiction").hint(hint));
    }
}
