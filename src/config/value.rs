//! Typed values: how each kind of directive is read.
//!
//! **Implements** booleans, counts, sizes, times, words, networks, domains, fingerprints, next hops, TLS versions.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::directives::kind::Kind;
use super::ehlo_keywords;
use super::error::{Complaint, Span};
use super::file::{Located, RawValue};
use super::forbidden_commands;
use super::issuer_policies::{self, IssuerPolicy};
use super::milters::{self, ListedMilter};
use super::nearest::nearest;
use super::reader::{Reader, Word};
use super::restriction_words::Listed;
use super::{restrictions, tables};
use crate::net::{CidrError, NextHop, parse_name_server, parse_network};
use crate::policy::table::Table;
use crate::session::extension::Extensions;
use crate::time::parse_duration;
use crate::wire::domain::Domain;

/// A value that is what its directive wants.
#[derive(Clone, Debug)]
pub enum Value {
    /// A boolean.
    Boolean(bool),
    /// A count or octets.
    Number(u64),
    /// A time.
    Time(Duration),
    /// A text, a name, a path, a choice; `None` when it is empty, which means not set.
    Text(Option<String>),
    /// Several words.
    Words(Vec<String>),
    /// Networks; `None` when not set.
    Networks(Option<Vec<IpNet>>),
    /// Domains.
    Domains(Vec<ListedDomain>),
    /// A next hop.
    NextHop(Option<NextHop>),
    /// An address.
    Address(Option<IpAddr>),
    /// Whether TLS 1.2 is allowed; TLS 1.3 always is.
    Tls12(bool),
    /// A restriction list.
    Restrictions(Vec<Listed>),
    /// Restriction classes, and what else tables may name.
    Classes(restrictions::Named),
    /// Look-up tables.
    Tables(Vec<Arc<Table>>),
    /// What the revocation lists of single issuers mean.
    IssuerPolicies(Vec<IssuerPolicy>),
    /// Content filters.
    Milters(Vec<ListedMilter>),
    /// Extensions by network.
    EhloKeywordMaps(Vec<(IpNet, Extensions)>),
}

/// An entry of a list of domains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedDomain {
    /// The domain.
    pub domain: Domain,
    /// Written with a leading dot: its sub-domains are meant.
    pub dotted: bool,
}

/// Reads a value of this kind; `None` when it is wrong, which the findings then say.
pub fn read(reader: &mut Reader<'_>, kind: Kind, located: &Located) -> Option<Value> {
    match kind {
        Kind::Boolean => boolean(reader, located).map(Value::Boolean),
        Kind::Count(least, most) => count(reader, located, least, most).map(Value::Number),
        Kind::Size => size(reader, located).map(Value::Number),
        Kind::Time(least) => time(reader, located, Duration::from_secs(least)).map(Value::Time),
        Kind::Text => reader.text(located, "a string").map(|text| Value::Text(set(&text))),
        Kind::Name => name(reader, located),
        Kind::Path => path(reader, located),
        Kind::Socket => socket(reader, located),
        Kind::Paths => each_word(reader, located, "paths", |reader, word| {
            Some(reader.directory.join(&word.text).to_string_lossy().into_owned())
        })
        .map(Value::Words),
        Kind::Choice(words) => choice(reader, located, words),
        Kind::Choices(words) => choices(reader, located, words).map(Value::Words),
        Kind::Networks => networks(reader, located),
        Kind::Domains => each_word(reader, located, "domain names", domain).map(Value::Domains),
        Kind::Interfaces => each_word(reader, located, "all, loopback-only or addresses", interface).map(Value::Words),
        Kind::NameServers => each_word(reader, located, "addresses of name servers", name_server).map(Value::Words),
        Kind::Fingerprints => each_word(reader, located, "SHA-256 fingerprints", fingerprint).map(Value::Words),
        Kind::NextHop => next_hop(reader, located),
        Kind::Ipv4 => address(reader, located, "an IPv4 address", |text| {
            text.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
        }),
        Kind::Ipv6 => address(reader, located, "an IPv6 address", |text| {
            let plain = text.trim_start_matches('[').trim_end_matches(']');
            plain.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }),
        Kind::TlsVersions => tls_versions(reader, located).map(Value::Tls12),
        Kind::Restrictions => restrictions::read(reader, located).map(Value::Restrictions),
        Kind::Milters => milters::read(reader, located).map(Value::Milters),
        Kind::MacroNames => each_word(
            reader,
            located,
            "names of macros such as \"{client_addr}\"",
            milters::macro_name,
        )
        .map(Value::Words),
        Kind::MilterMaps => milters::read_maps(reader, located).map(|networks| Value::Networks(Some(networks))),
        Kind::Classes => restrictions::read_classes(reader, located).map(Value::Classes),
        Kind::Tables => tables::read_all(reader, located, &|_, _| Ok(())).map(Value::Tables),
        Kind::Commands => each_word(
            reader,
            located,
            "words or /regular expressions/",
            forbidden_commands::read,
        )
        .map(Value::Words),
        Kind::IssuerPolicies => issuer_policies::read(reader, located).map(Value::IssuerPolicies),
        Kind::EhloKeywords => ehlo_keywords::read(reader, located).map(Value::Words),
        Kind::EhloKeywordMaps => ehlo_keywords::read_maps(reader, located).map(Value::EhloKeywordMaps),
    }
}

fn set(text: &str) -> Option<String> {
    let trimmed = text.trim();
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

fn boolean(reader: &mut Reader<'_>, located: &Located) -> Option<bool> {
    const EXPECTED: &str = "true or false (or \"yes\" or \"no\")";
    if let RawValue::Boolean(value) = located.value {
        return Some(value);
    }
    let text = reader.text(located, EXPECTED)?;
    match text.trim().to_ascii_lowercase().as_str() {
        "yes" | "true" => Some(true),
        "no" | "false" => Some(false),
        _ => reader.wrong(reader.place(&located.span), &text, EXPECTED, None),
    }
}

fn count(reader: &mut Reader<'_>, located: &Located, least: u64, most: u64) -> Option<u64> {
    let expected = format!("an integer from {least} to {most}");
    let text = match &located.value {
        RawValue::Integer(number) => number.to_string(),
        _ => reader.text(located, &expected)?,
    };
    match text.trim().parse::<u64>() {
        Ok(number) if (least..=most).contains(&number) => Some(number),
        _ => reader.wrong(reader.place(&located.span), &text, &expected, None),
    }
}

fn size(reader: &mut Reader<'_>, located: &Located) -> Option<u64> {
    const EXPECTED: &str = "octets: an integer, or a size such as \"50 MiB\"";
    let text = match &located.value {
        RawValue::Integer(number) => number.to_string(),
        _ => reader.text(located, EXPECTED)?,
    };
    match parse_size(&text) {
        Some(octets) => Some(octets),
        None => reader.wrong(reader.place(&located.span), &text, EXPECTED, None),
    }
}

/// Octets: a number and perhaps a unit, KiB, MiB, GiB in powers of 1024, kB, MB, GB in powers of 1000.
fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "KiB" | "K" | "k" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    let octets = number.parse::<u64>().ok()?.checked_mul(factor)?;
    i64::try_from(octets).is_ok().then_some(octets)
}

/// Ten years: longer than any wait that is meant, short enough to be added to any clock.
const LONGEST: Duration = Duration::from_hours(10 * 365 * 24);

fn time(reader: &mut Reader<'_>, located: &Located, least: Duration) -> Option<Duration> {
    const EXPECTED: &str = "a time such as \"300s\", \"5m\", \"1h\", \"5d\", or an integer in seconds";
    let text = match &located.value {
        RawValue::Integer(number) => number.to_string(),
        _ => reader.text(located, EXPECTED)?,
    };
    let seconds = text.trim().parse().map(Duration::from_secs);
    let Ok(duration) = seconds.or_else(|_| parse_duration(&text)) else {
        return reader.wrong(reader.place(&located.span), &text, EXPECTED, None);
    };
    if duration < least || duration > LONGEST {
        let expected = format!("a time from {}s to {}d", least.as_secs(), LONGEST.as_secs() / 86_400);
        return reader.wrong(reader.place(&located.span), &text, &expected, None);
    }
    Some(duration)
}

fn name(reader: &mut Reader<'_>, located: &Located) -> Option<Value> {
    let Some(text) = set(&reader.text(located, "a host name")?) else {
        return Some(Value::Text(None));
    };
    match Domain::parse(&text) {
        Some(domain) => Some(Value::Text(Some(domain.to_string()))),
        None => reader.wrong(
            reader.place(&located.span),
            &text,
            "a host name such as \"relay.example.org\"",
            None,
        ),
    }
}

fn path(reader: &mut Reader<'_>, located: &Located) -> Option<Value> {
    let text = set(&reader.text(located, "a path")?);
    let path = text.map(|text| reader.directory.join(text).to_string_lossy().into_owned());
    Some(Value::Text(path))
}

/// `inet:host:port` as it stands; a path, with `unix:` before it or not, as a path.
fn socket(reader: &mut Reader<'_>, located: &Located) -> Option<Value> {
    const EXPECTED: &str = "a path, unix:path or inet:host:port";
    let Some(text) = set(&reader.text(located, EXPECTED)?) else {
        return Some(Value::Text(None));
    };
    if let Some(address) = text.strip_prefix("inet:") {
        let is_address = address
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0));
        return if is_address {
            Some(Value::Text(Some(text)))
        } else {
            reader.wrong(reader.place(&located.span), &text, EXPECTED, None)
        };
    }
    let path = text.strip_prefix("unix:").unwrap_or(&text);
    Some(Value::Text(Some(
        reader.directory.join(path).to_string_lossy().into_owned(),
    )))
}

fn choice(reader: &mut Reader<'_>, located: &Located, words: &[&'static str]) -> Option<Value> {
    let expected = format!("one of {}", words.join(", "));
    let text = match located.value {
        RawValue::Boolean(true) if words.contains(&"yes") => "yes".into(),
        RawValue::Boolean(false) if words.contains(&"no") => "no".into(),
        _ => reader.text(located, &expected)?,
    };
    let text = set(&text);
    match text {
        Some(text) if !words.contains(&text.as_str()) => {
            let hint = choice_hint(&text, words);
            reader.wrong(reader.place(&located.span), &text, &expected, hint)
        }
        chosen => Some(Value::Text(chosen)),
    }
}

fn choice_hint(text: &str, words: &[&'static str]) -> Option<String> {
    match text {
        "dane" | "dane-only" | "fingerprint" | "half-dane" => Some(format!(
            "\"{text}\" is known, but not supported yet; \"secure\" with smtp_tls_CAfile is the strictest level here"
        )),
        "md5" | "sha1" => Some("make the fingerprints again with SHA-256: openssl x509 -sha256 -fingerprint".into()),
        _ => nearest(text, words.iter().copied()).map(|near| format!("did you mean \"{near}\"?")),
    }
}

fn choices(reader: &mut Reader<'_>, located: &Located, words: &'static [&'static str]) -> Option<Vec<String>> {
    let expected = format!("any of {}", words.join(", "));
    each_word(reader, located, &expected, |reader, word| {
        if words.contains(&word.text.as_str()) {
            return Some(word.text.clone());
        }
        let hint = nearest(&word.text, words.iter().copied()).map(|near| format!("did you mean \"{near}\"?"));
        reader.wrong(word.span.clone(), &word.text, &expected, hint)
    })
}

fn each_word<T>(
    reader: &mut Reader<'_>,
    located: &Located,
    expected: &str,
    parse: impl Fn(&mut Reader<'_>, &Word) -> Option<T>,
) -> Option<Vec<T>> {
    let words = reader.words(located, expected)?;
    let read: Vec<Option<T>> = words.iter().map(|word| parse(reader, word)).collect();
    read.into_iter().collect()
}

fn networks(reader: &mut Reader<'_>, located: &Located) -> Option<Value> {
    if matches!(&located.value, RawValue::Text(text) if text.trim().is_empty()) {
        return Some(Value::Networks(None));
    }
    each_word(reader, located, "networks", network).map(|networks| Value::Networks(Some(networks)))
}

fn network(reader: &mut Reader<'_>, word: &Word) -> Option<IpNet> {
    match parse_network(&word.text) {
        Ok(network) => Some(network),
        Err(_) if is_table(&word.text) => table(reader, word),
        Err(CidrError::HostBits(right)) => {
            let hint = format!("write \"{right}\" for the whole network: the host bits must be zero");
            reader.wrong(word.span.clone(), &word.text, &format!("\"{right}\""), Some(hint))
        }
        Err(error) => reader.wrong(word.span.clone(), &word.text, &error.to_string(), None),
    }
}

fn domain(reader: &mut Reader<'_>, word: &Word) -> Option<ListedDomain> {
    let (text, dotted) = match word.text.strip_prefix('.') {
        Some(rest) => (rest, true),
        None => (word.text.as_str(), false),
    };
    if let Some(domain) = Domain::parse(text) {
        return Some(ListedDomain { domain, dotted });
    }
    if is_table(&word.text) {
        return table(reader, word);
    }
    let hint = (text == "*").then(|| {
        "mail to every domain for anybody is an open relay; permit those who may relay in smtpd_relay_restrictions"
            .to_owned()
    });
    reader.wrong(
        word.span.clone(),
        &word.text,
        "a domain name such as \"example.org\"",
        hint,
    )
}

/// `hash:/etc/postfix/relay` and the like, or a file name.
fn is_table(text: &str) -> bool {
    text.contains(":/") || text.starts_with('/') || text.starts_with("static:")
}

fn table<T>(reader: &mut Reader<'_>, word: &Word) -> Option<T> {
    let complaint = Complaint::new(
        format!("\"{}\" is a look-up table, which is not supported yet", word.text),
        "expected the entries themselves",
    );
    reader.error(word.span.clone(), complaint.hint("write the entries of the table here"));
    None
}

fn interface(reader: &mut Reader<'_>, word: &Word) -> Option<String> {
    let plain = word.text.trim_start_matches('[').trim_end_matches(']');
    if matches!(plain, "all" | "loopback-only") || plain.parse::<IpAddr>().is_ok() {
        return Some(plain.into());
    }
    let hint = nearest(plain, ["all", "loopback-only"]).map(|near| format!("did you mean \"{near}\"?"));
    reader.wrong(
        word.span.clone(),
        &word.text,
        "all, loopback-only or an IP address",
        hint,
    )
}

/// `192.0.2.53`, `192.0.2.53:5353`, `2001:db8::53`, `[2001:db8::53]:5353`.
fn name_server(reader: &mut Reader<'_>, word: &Word) -> Option<String> {
    if let Some(server) = parse_name_server(&word.text) {
        return Some(server.to_string());
    }
    let expected = "the IP address of a name server, with a port when it is not 53";
    reader.wrong(word.span.clone(), &word.text, expected, None)
}

fn fingerprint(reader: &mut Reader<'_>, word: &Word) -> Option<String> {
    let digits: String = word.text.chars().filter(|c| *c != ':').collect();
    if digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some(colons(&digits));
    }
    if is_table(&word.text) {
        return table(reader, word);
    }
    let hint = matches!(digits.len(), 32 | 40)
        .then(|| "this is an MD5 or SHA-1 fingerprint; make it again: openssl x509 -sha256 -fingerprint".to_owned());
    reader.wrong(
        word.span.clone(),
        &word.text,
        "a SHA-256 fingerprint: 64 hexadecimal digits, with or without colons",
        hint,
    )
}

/// Hexadecimal digits in upper case with a colon between two octets, as certificates are decoded to.
pub fn colons(digits: &str) -> String {
    let upper = digits.to_ascii_uppercase();
    let octets = (0..upper.len()).step_by(2).filter_map(|n| upper.get(n..n + 2));
    octets.collect::<Vec<_>>().join(":")
}

fn next_hop(reader: &mut Reader<'_>, located: &Located) -> Option<Value> {
    let Some(text) = set(&reader.text(located, "a next hop")?) else {
        return Some(Value::NextHop(None));
    };
    match text.parse() {
        Ok(next_hop) => Some(Value::NextHop(Some(next_hop))),
        Err(error) => reader.wrong(reader.place(&located.span), &text, &format!("{error}"), None),
    }
}

fn address(
    reader: &mut Reader<'_>,
    located: &Located,
    expected: &str,
    parse: impl Fn(&str) -> Option<IpAddr>,
) -> Option<Value> {
    let Some(text) = set(&reader.text(located, expected)?) else {
        return Some(Value::Address(None));
    };
    match parse(&text) {
        Some(address) => Some(Value::Address(Some(address))),
        None => reader.wrong(reader.place(&located.span), &text, expected, None),
    }
}

/// TLS versions from old to new, as Postfix calls them.
const TLS_VERSIONS: [&str; 6] = ["SSLv2", "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];

/// `>=TLSv1.2`, `TLSv1.3`, `!SSLv2, !SSLv3, !TLSv1`: whether TLS 1.2 is in. TLS 1.3 has to be.
fn tls_versions(reader: &mut Reader<'_>, located: &Located) -> Option<bool> {
    const EXPECTED: &str = "\">=TLSv1.2\" or \">=TLSv1.3\"";
    let words = reader.words(located, EXPECTED)?;
    let mut allowed: Option<Vec<&str>> = None;
    let mut excluded: Vec<&str> = Vec::new();
    let span = reader.place(&located.span);
    for word in &words {
        let text = word.text.as_str();
        let version = text.trim_start_matches([':', '!', '>', '=']);
        let Some(rank) = TLS_VERSIONS
            .iter()
            .position(|known| known.eq_ignore_ascii_case(version))
        else {
            return reader.wrong(word.span.clone(), text, EXPECTED, None);
        };
        if text.starts_with('!') {
            excluded.push(TLS_VERSIONS[rank]);
        } else if text.starts_with(">=") {
            allowed.get_or_insert_default().extend(&TLS_VERSIONS[rank..]);
            if rank < 4 {
                old_version(reader, word.span.clone(), TLS_VERSIONS[rank]);
            }
        } else {
            allowed.get_or_insert_default().push(TLS_VERSIONS[rank]);
        }
    }
    let has = |version: &str| {
        !excluded.contains(&version) && allowed.as_ref().is_none_or(|allowed| allowed.contains(&version))
    };
    if has("TLSv1.3") {
        return Some(has("TLSv1.2"));
    }
    let message = "leaves TLS 1.3 out; TLS 1.2 and 1.3 are supported, and 1.3 is always offered";
    reader.error(span, Complaint::new(message, format!("expected {EXPECTED}")));
    None
}

fn old_version(reader: &mut Reader<'_>, span: Option<Span>, version: &str) {
    let message = format!("{version} is not offered: TLS 1.2 is the least supported");
    let complaint = Complaint::new(message, "expected \">=TLSv1.2\"");
    reader.warning(span, complaint.hint("write \">=TLSv1.2\""));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(parse_size("50 MiB"), Some(52_428_800));
        assert_eq!(parse_size("10240000"), Some(10_240_000));
        assert_eq!(parse_size("32KiB"), Some(32_768));
        for text in ["", "MiB", "-1", "1.5 MiB", "5 parsecs", "99999999999 GiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
