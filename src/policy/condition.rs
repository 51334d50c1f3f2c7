//! The conditions of certificate rules, and how each came out.
//!
//! **Implements** the keys of `[[certificate_rule]]` that look at a certificate: attributes compare decoded values exactly,
//! alternative names go by globs, regular expressions read the unambiguous one-line text, the rest are object
//! identifiers and numbers; `not` and `any` compose them.
//! **Does not** normalise Unicode: a composed and a decomposed accent are two values.

use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use super::{glob, wording};
use crate::cert::certificate::{Certificate, NameOf};
use crate::cert::name::printable;
use crate::time::{Timestamp, print_duration};

/// A kind of subject alternative name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlternativeName {
    /// rfc822Name.
    MailAddress,
    /// dNSName.
    DnsName,
    /// otherName User Principal Name.
    UserPrincipalName,
}

/// One condition. Several values mean any of them; without any value it never holds.
#[derive(Clone, Debug)]
pub enum Condition {
    /// `subject = { OU = [..] }`: a value of this attribute type is one of these, letter for letter.
    Attribute {
        /// Issuer or subject.
        of: NameOf,
        /// As written: a short name or a dotted OID.
        attribute: String,
        /// The values wanted.
        any_of: Vec<String>,
    },
    /// `subject_regex = ".."`: over the unambiguous one-line text.
    Text {
        /// Issuer or subject.
        of: NameOf,
        /// The expression.
        regex: Regex,
    },
    /// `mail_address`, `dns_name`, `user_principal_name`: a glob, letter case ignored. `*` does not cross the `@`, nor the
    /// dots of a dNSName.
    AlternativeName {
        /// Which kind.
        kind: AlternativeName,
        /// The globs.
        any_of: Vec<String>,
    },
    /// `extended_key_usage`: dotted OIDs. Without the extension it does not hold.
    ExtendedKeyUsage(Vec<String>),
    /// `policy`: dotted OIDs.
    Policy(Vec<String>),
    /// `key_usage`: names of RFC 5280, letter case ignored. Without the extension it does not hold.
    KeyUsage(Vec<String>),
    /// `serial`: hexadecimal; colons, letter case and leading zeros are ignored.
    Serial(Vec<String>),
    /// `fingerprint`: SHA-256 of the certificate, as `relay_clientcerts`; colons and letter case are ignored.
    Fingerprint(Vec<String>),
    /// `public_key_fingerprint`: SHA-256 of the public key, likewise.
    PublicKeyFingerprint(Vec<String>),
    /// `issuer_file`: issued directly by the holder of one of these keys under the same name.
    IssuedBy {
        /// As written.
        file: String,
        /// The certificates of the file.
        issuers: Vec<Arc<Certificate>>,
    },
    /// `key_algorithm`: `RSA`, `ECDSA`, `Ed25519`, letter case ignored.
    KeyAlgorithm(Vec<String>),
    /// `key_bits_min`. A size that is not known is 0.
    KeyBitsMin(u32),
    /// `valid_for`: seconds of validity left at least.
    ValidForSeconds(i64),
    /// `not = { .. }`: the conditions inside do not all hold.
    Not(Vec<Condition>),
    /// `any = [ { .. }, .. ]`: all conditions of one of them hold; an empty one counts for nothing.
    Any(Vec<Vec<Condition>>),
}

/// How one condition came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The condition's key as written, with the attribute: `subject.OU`, `valid_for`, `not`, `any`; `any.1` inside `any`.
    pub condition: String,
    /// What the rule wants, in words.
    pub wanted: String,
    /// What the certificate holds, in words; values in the escaped form of the one-line text, between double quotes.
    pub found: String,
    /// Whether it holds.
    pub holds: bool,
    /// For `not` and `any`: how the conditions inside came out.
    pub inner: Vec<Finding>,
}

/// What conditions look at.
#[derive(Clone, Copy)]
pub(super) struct Evidence<'a> {
    /// The leaf.
    pub(super) certificate: &'a Certificate,
    /// Its issuers, its own first.
    pub(super) issuers: &'a [Arc<Certificate>],
    /// Seconds since 1970.
    pub(super) now_unix_seconds: i64,
}

/// Asks every condition, also behind one that does not hold.
pub(super) fn examine_all(conditions: &[Condition], evidence: Evidence<'_>) -> Vec<Finding> {
    conditions
        .iter()
        .map(|condition| examine(condition, evidence))
        .collect()
}

// tidy: table
fn examine(condition: &Condition, evidence: Evidence<'_>) -> Finding {
    let certificate = evidence.certificate;
    match condition {
        Condition::Attribute { of, attribute, any_of } => {
            let values = certificate.name(*of).values(attribute);
            let key = format!("{}.{attribute}", of.word());
            any_agrees(&key, values, any_of, |wanted, value| wanted == value)
        }
        Condition::Text { of, regex } => text(*of, regex, certificate),
        Condition::AlternativeName { kind, any_of } => alternative_name(*kind, any_of, certificate),
        Condition::ExtendedKeyUsage(any_of) => any_agrees(
            "extended_key_usage",
            strs(&certificate.extended_key_usages),
            any_of,
            |w, v| w == v,
        ),
        Condition::Policy(any_of) => any_agrees("policy", strs(&certificate.policies), any_of, |w, v| w == v),
        Condition::KeyUsage(any_of) => any_agrees("key_usage", strs(&certificate.key_usages), any_of, same_usage),
        Condition::Serial(any_of) => any_agrees("serial", [certificate.serial.as_str()], any_of, same_number),
        Condition::Fingerprint(any_of) => {
            any_agrees("fingerprint", [certificate.fingerprint.as_str()], any_of, same_digits)
        }
        Condition::PublicKeyFingerprint(any_of) => {
            let value = certificate.public_key_fingerprint.as_str();
            any_agrees("public_key_fingerprint", [value], any_of, same_digits)
        }
        Condition::IssuedBy { file, issuers } => issued_by(file, issuers, evidence.issuers.first()),
        Condition::KeyAlgorithm(any_of) => any_agrees(
            "key_algorithm",
            [certificate.key_algorithm.as_str()],
            any_of,
            str::eq_ignore_ascii_case,
        ),
        Condition::KeyBitsMin(bits) => key_bits(*bits, certificate.key_bits),
        Condition::ValidForSeconds(seconds) => {
            valid_for(*seconds, certificate.not_after_seconds, evidence.now_unix_seconds)
        }
        Condition::Not(conditions) => not(examine_all(conditions, evidence)),
        Condition::Any(alternatives) => any(alternatives, evidence),
    }
}

impl Finding {
    fn new(condition: &str, wanted: String, found: String, holds: bool) -> Self {
        Self {
            condition: wording::bounded(printable(condition)),
            wanted: wording::bounded(wanted),
            found: wording::bounded(found),
            holds,
            inner: Vec::new(),
        }
    }

    fn with_inner(mut self, inner: Vec<Self>) -> Self {
        self.inner = inner;
        self
    }
}

fn strs(values: &[String]) -> impl Iterator<Item = &str> {
    values.iter().map(String::as_str)
}

/// Whether a value agrees with one that is wanted; those that do are told first.
fn any_agrees<'a>(
    condition: &str,
    values: impl IntoIterator<Item = &'a str>,
    any_of: &[String],
    agrees: impl Fn(&str, &str) -> bool,
) -> Finding {
    let is_wanted = |value: &&str| any_of.iter().any(|wanted| agrees(wanted, value));
    let (agreeing, others): (Vec<&str>, Vec<&str>) = values.into_iter().partition(is_wanted);
    let holds = !agreeing.is_empty();
    let found = wording::listed(agreeing.into_iter().chain(others));
    Finding::new(condition, wording::one_of(any_of), found, holds)
}

fn text(of: NameOf, regex: &Regex, certificate: &Certificate) -> Finding {
    let one_line = certificate.name(of).one_line();
    Finding::new(
        &format!("{}_regex", of.word()),
        format!("a match of {}", printable(regex.as_str())),
        wording::escaped_name(&one_line),
        regex.is_match(&one_line),
    )
}

fn alternative_name(kind: AlternativeName, any_of: &[String], certificate: &Certificate) -> Finding {
    let (condition, values, separator) = match kind {
        AlternativeName::MailAddress => ("mail_address", &certificate.mail_addresses, '@'),
        AlternativeName::DnsName => ("dns_name", &certificate.dns_names, '.'),
        AlternativeName::UserPrincipalName => ("user_principal_name", &certificate.user_principal_names, '@'),
    };
    any_agrees(condition, strs(values), any_of, |pattern, value| {
        glob::matches(pattern, value, separator)
    })
}

/// RFC 5280 section 4.2.1.3: "recent editions of X.509 have renamed [the nonRepudiation] bit to contentCommitment".
fn same_usage(wanted: &str, value: &str) -> bool {
    let is_renamed = wanted.eq_ignore_ascii_case("contentCommitment");
    let wanted = if is_renamed { "nonRepudiation" } else { wanted };
    wanted.eq_ignore_ascii_case(value)
}

/// The same hexadecimal digits, whatever their letter case and the colons between.
fn same_digits(wanted: &str, value: &str) -> bool {
    let has_digits = wanted.bytes().any(|b| b.is_ascii_hexdigit());
    has_digits && digits(wanted).eq(digits(value))
}

/// The same number in hexadecimal.
fn same_number(wanted: &str, value: &str) -> bool {
    let has_digits = wanted.bytes().any(|b| b.is_ascii_hexdigit());
    let number = |text| digits(text).skip_while(|b: &u8| *b == b'0');
    has_digits && number(wanted).eq(number(value))
}

fn digits(text: &str) -> impl Iterator<Item = u8> {
    text.bytes().filter(|b| *b != b':').map(|b| b.to_ascii_uppercase())
}

fn issued_by(file: &str, wanted: &[Arc<Certificate>], direct: Option<&Arc<Certificate>>) -> Finding {
    let is_direct = |issuer: &&Arc<Certificate>| {
        direct.is_some_and(|direct| {
            direct.subject == issuer.subject && direct.public_key_fingerprint == issuer.public_key_fingerprint
        })
    };
    let key_of = |certificate: &Certificate| {
        let name = wording::escaped_name(&certificate.subject.one_line());
        format!("{name} with public key {}", certificate.public_key_fingerprint)
    };
    let names = wording::joined(wanted.iter().map(|certificate| key_of(certificate)));
    Finding::new(
        "issuer_file",
        format!("one of {}: {names}", wording::value(file)),
        direct.map_or_else(|| "none".into(), |certificate| key_of(certificate)),
        wanted.iter().any(|issuer| is_direct(&issuer)),
    )
}

fn key_bits(wanted: u32, found: u32) -> Finding {
    let words = match found {
        0 => "an unknown size".into(),
        bits => format!("{bits} bits"),
    };
    Finding::new("key_bits_min", format!("{wanted} bits or more"), words, found >= wanted)
}

fn valid_for(wanted_seconds: i64, not_after_seconds: i64, now_unix_seconds: i64) -> Finding {
    let left_seconds = not_after_seconds.saturating_sub(now_unix_seconds);
    let span = |seconds: i64| print_duration(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
    let end = Timestamp::from_seconds(not_after_seconds);
    Finding::new(
        "valid_for",
        format!("{} left or more", span(wanted_seconds)),
        format!("{} left, until {end}", span(left_seconds)),
        left_seconds >= wanted_seconds,
    )
}

fn not(inner: Vec<Finding>) -> Finding {
    let all_hold = inner.iter().all(|finding| finding.holds);
    let wanted = format!("not ({})", all_wanted(&inner));
    Finding::new("not", wanted, all_found(&inner), !all_hold).with_inner(inner)
}

fn any(alternatives: &[Vec<Condition>], evidence: Evidence<'_>) -> Finding {
    let alternative = |(n, conditions): (usize, &Vec<Condition>)| {
        let inner = examine_all(conditions, evidence);
        let holds = !inner.is_empty() && inner.iter().all(|finding| finding.holds);
        let key = format!("any.{}", n.saturating_add(1));
        Finding::new(&key, all_wanted(&inner), all_found(&inner), holds).with_inner(inner)
    };
    let inner: Vec<Finding> = alternatives.iter().enumerate().map(alternative).collect();
    let wanted = in_a_row(inner.iter().map(|finding| format!("({})", finding.wanted)), " or ");
    let conditions: Vec<&Finding> = inner.iter().flat_map(|finding| &finding.inner).collect();
    let holds = inner.iter().any(|finding| finding.holds);
    Finding::new("any", wanted, all_found(conditions), holds).with_inner(inner)
}

fn all_wanted(findings: &[Finding]) -> String {
    in_a_row(
        findings.iter().map(|f| format!("{} {}", f.condition, f.wanted)),
        " and ",
    )
}

fn all_found<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> String {
    in_a_row(
        findings.into_iter().map(|f| format!("{} {}", f.condition, f.found)),
        "; ",
    )
}

/// Texts one behind the other, each once.
fn in_a_row(texts: impl Iterator<Item = String>, separator: &str) -> String {
    let mut kept: Vec<String> = Vec::new();
    for text in texts {
        if !kept.contains(&text) {
            kept.push(text);
        }
    }
    kept.join(separator)
}
