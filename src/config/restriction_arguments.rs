//! Restrictions with an argument: access tables, DNS lists, policy services.
//!
//! **Implements** them as words of main.cf (`check_ccert_access { type:path, { search_order = .. } }`) and as inline tables of
//! TOML (`{ check_ccert_access = .., search_order = [..] }`).

use std::sync::Arc;
use std::time::Duration;

use super::error::{Complaint, Span};
use super::expand::expand;
use super::file::{Located, RawTable, RawValue};
use super::nearest::nearest;
use super::reader::Reader;
use super::tables::{self, CheckValue};
use crate::policy::dns_list::{AddressFilter, DnsList, ListUse};
use crate::policy::question::{Endpoint, PolicyService};
use crate::policy::restriction::{AccessOf, CertificateKey, Restriction};
use crate::time::parse_duration;
use crate::wire::domain::Domain;

const SERVICE: &str = "check_policy_service";

/// Access tables, by their word.
fn access(word: &str) -> Option<AccessOf> {
    let order = || vec![CertificateKey::Certificate, CertificateKey::PublicKey];
    let all = [
        AccessOf::Client,
        AccessOf::ReverseClient,
        AccessOf::Hello,
        AccessOf::Sender,
        AccessOf::Recipient,
        AccessOf::Certificate(order()),
        AccessOf::Login,
    ];
    all.into_iter().find(|of| of.name() == word)
}

/// The words that take an argument.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let tables = [
        "check_client_access",
        "check_reverse_client_hostname_access",
        "check_helo_access",
        "check_sender_access",
        "check_recipient_access",
        "check_ccert_access",
        "check_sasl_access",
    ];
    tables
        .into_iter()
        .chain([SERVICE])
        .chain(ListUse::ALL.into_iter().map(ListUse::name))
}

/// Whether the next word belongs to this one.
pub(super) fn takes_argument(word: &str) -> bool {
    names().any(|name| name == word)
}

/// What stands behind a word.
pub(super) fn expected(word: &str) -> &'static str {
    if word == SERVICE {
        "expected a policy service such as \"unix:/run/policy\" or \"inet:127.0.0.1:10023\""
    } else if ListUse::named(word).is_some() {
        "expected the domain of a DNS list such as \"zen.spamhaus.org\" or \"list.example=127.0.0.[2..11]\""
    } else {
        "expected a table such as \"texthash:/etc/estafette/access\""
    }
}

/// The word of an inline table that names a restriction.
pub(super) fn main_key(table: &RawTable) -> Option<&str> {
    table.iter().map(|(key, ..)| key).find(|key| takes_argument(key))
}

/// What is written beside the argument.
#[derive(Default)]
struct Options {
    search_order: Option<Vec<CertificateKey>>,
    timeout: Option<Duration>,
    default_action: Option<String>,
    policy_context: Option<String>,
}

/// A restriction as main.cf writes it.
pub(super) fn from_text(
    reader: &mut Reader<'_>,
    word: &str,
    argument: &str,
    span: &Span,
    check: CheckValue<'_>,
) -> Option<Restriction> {
    let Some(inside) = argument.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        return with_options(reader, word, &text_at(argument, span), Options::default(), check);
    };
    let mut parts = split_at_top(inside, ',').into_iter();
    let main = parts.next().unwrap_or_default();
    let mut options = Options::default();
    let mut is_whole = true;
    for part in parts.filter(|part| !part.is_empty()) {
        let plain = part
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
            .unwrap_or(&part);
        let (key, value) = plain.split_once('=').unwrap_or((plain, ""));
        is_whole &= option(reader, word, (key.trim(), value.trim()), span, (&mut options, check)).is_some();
    }
    let restriction = with_options(reader, word, &text_at(&main, span), options, check)?;
    is_whole.then_some(restriction)
}

/// A restriction as an inline table.
pub(super) fn from_table(reader: &mut Reader<'_>, table: &RawTable, check: CheckValue<'_>) -> Option<Restriction> {
    let word = main_key(table)?.to_owned();
    let mut options = Options::default();
    let mut is_whole = true;
    for (key, key_span, located) in table.iter().filter(|(key, ..)| *key != word) {
        let value = match &located.value {
            RawValue::Text(_) | RawValue::Integer(_) | RawValue::List(_) => located.value.as_reference(),
            _ => {
                let _: Option<()> = reader.mismatch(located, "a string");
                is_whole = false;
                continue;
            }
        };
        is_whole &= option(reader, &word, (key, &value), key_span, (&mut options, check)).is_some();
    }
    let restriction = with_options(reader, &word, table.get(&word)?, options, check)?;
    is_whole.then_some(restriction)
}

fn text_at(text: &str, span: &Span) -> Located {
    Located {
        span: span.clone(),
        value: RawValue::Text(text.to_owned()),
    }
}

/// Parts between commas outside braces, trimmed.
fn split_at_top(text: &str, separator: char) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0_usize);
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if c == separator && depth == 0 {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

fn option(
    reader: &mut Reader<'_>,
    word: &str,
    (key, value): (&str, &str),
    span: &Span,
    (options, check): (&mut Options, CheckValue<'_>),
) -> Option<()> {
    let place = reader.place(span);
    match (word, key) {
        ("check_ccert_access", "search_order") => {
            let words = value
                .split(|c: char| c == ',' || c.is_whitespace())
                .filter(|name| !name.is_empty());
            let known = [CertificateKey::Certificate, CertificateKey::PublicKey];
            let keys: Vec<_> = words
                .map(|name| known.into_iter().find(|key| key.name() == name))
                .collect();
            let order: Option<Vec<CertificateKey>> = keys.into_iter().collect();
            match order {
                Some(order) if !order.is_empty() => options.search_order = Some(order),
                _ => return reader.wrong(place, value, "cert_fingerprint, pubkey_fingerprint or both", None),
            }
        }
        (SERVICE, "timeout") => {
            let seconds = value
                .parse()
                .map(Duration::from_secs)
                .or_else(|_| parse_duration(value));
            match seconds {
                Ok(timeout) if !timeout.is_zero() => options.timeout = Some(timeout),
                _ => return reader.wrong(place, value, "a time such as \"10s\"", None),
            }
        }
        (SERVICE, "default_action") => match check(reader, value) {
            Ok(()) => options.default_action = Some(value.to_owned()),
            Err(why) => return reader.wrong(place, value, &format!("an action: {why}"), None),
        },
        (SERVICE, "policy_context") => options.policy_context = Some(value.to_owned()),
        _ => {
            let keys = ["search_order", "timeout", "default_action", "policy_context"];
            let hint = nearest(key, keys).map(|near| format!("did you mean {near}?"));
            let complaint = Complaint::new(format!("\"{key}\" does not belong to \"{word}\""), expected(word));
            reader.error(place, complaint.maybe_hint(hint));
            return None;
        }
    }
    Some(())
}

fn with_options(
    reader: &mut Reader<'_>,
    word: &str,
    located: &Located,
    options: Options,
    check: CheckValue<'_>,
) -> Option<Restriction> {
    if let Some(of) = access(word) {
        let of = match (of, options.search_order) {
            (AccessOf::Certificate(_), Some(order)) => AccessOf::Certificate(order),
            (of, _) => of,
        };
        return Some(Restriction::Access(of, tables::read(reader, located, check)?));
    }
    let text = reader.text(located, expected(word))?;
    let place = reader.place(&located.span);
    if let Some(use_) = ListUse::named(word) {
        return match dns_list(use_, text.trim()) {
            Some(list) => Some(Restriction::DnsList(Arc::new(list))),
            None => reader.wrong(place, &text, expected(word), None),
        };
    }
    match endpoint(text.trim()) {
        Some(endpoint) => Some(Restriction::Service(Arc::new(PolicyService {
            endpoint,
            timeout: options.timeout.unwrap_or_else(|| usual_timeout(reader)),
            default_action: match options.default_action {
                Some(own) => own,
                None => usual_action(reader, place, check)?,
            },
            context: options
                .policy_context
                .unwrap_or_else(|| usual(reader, "smtpd_policy_service_policy_context")),
        }))),
        None => reader.wrong(place, &text, expected(word), None),
    }
}

/// `zone`, `zone=127.0.0.[2..11]`.
fn dns_list(use_: ListUse, text: &str) -> Option<DnsList> {
    let (zone, filter) = match text.split_once('=') {
        Some((zone, filter)) => (zone, Some(AddressFilter::parse(filter)?)),
        None => (text, None),
    };
    Some(DnsList {
        use_,
        zone: Domain::parse(zone)?.to_string(),
        filter,
    })
}

/// `unix:/path`, `inet:host:port`.
fn endpoint(text: &str) -> Option<Endpoint> {
    if let Some(path) = text.strip_prefix("unix:") {
        return path.starts_with('/').then(|| Endpoint::Unix(path.into()));
    }
    let (host, port) = text.strip_prefix("inet:")?.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let plain = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    let is_host = plain.parse::<std::net::IpAddr>().is_ok() || Domain::parse(plain).is_some();
    is_host.then(|| Endpoint::Inet(plain.to_owned(), port))
}

/// `smtpd_policy_service_timeout` where the list is asked; a wrong value has its own error.
fn usual_timeout(reader: &Reader<'_>) -> Duration {
    let text = usual(reader, "smtpd_policy_service_timeout");
    let seconds = text.parse().map(Duration::from_secs).or_else(|_| parse_duration(&text));
    seconds.unwrap_or(Duration::from_secs(100))
}

/// `smtpd_policy_service_default_action` where the list is asked.
fn usual_action(reader: &mut Reader<'_>, place: Option<Span>, check: CheckValue<'_>) -> Option<String> {
    const KEY: &str = "smtpd_policy_service_default_action";
    let action = usual(reader, KEY);
    match check(reader, &action) {
        Ok(()) => Some(action),
        Err(why) => reader.wrong(place, &format!("{KEY} = {action}"), &format!("an action: {why}"), None),
    }
}

fn usual(reader: &Reader<'_>, key: &str) -> String {
    let text = (reader.lookup)(key).and_then(|text| expand(&text, reader.lookup, &mut vec![key.to_owned()]).ok());
    text.unwrap_or_default().trim().to_owned()
}
