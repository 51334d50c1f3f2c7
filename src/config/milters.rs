//! `smtpd_milters` and what belongs to it.
//!
//! **Implements** `inet:host:port` and `unix:/path`, a table in the place of a string for a filter with timeouts and a default
//! action of its own, and `smtpd_milter_maps` with DISABLE.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::directives::milter::ACTIONS;
use super::error::Complaint;
use super::file::{Located, RawTable, RawValue};
use super::nearest::nearest;
use super::reader::{Reader, Word};
use super::scope::Scope;
use crate::io::milter::settings::{DefaultAction, Endpoint, Filters, Milter};
use crate::net::{CidrSet, parse_network};
use crate::time::parse_duration;
use crate::wire::milter::options::{MacroStage, VERSION, VERSION_MIN};

/// A filter as it is listed, with what it has of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedMilter {
    name: String,
    endpoint: Endpoint,
    default_action: Option<DefaultAction>,
    connect_timeout: Option<Duration>,
    command_timeout: Option<Duration>,
    content_timeout: Option<Duration>,
    version: Option<u32>,
}

const EXPECTED: &str = "a milter such as \"inet:localhost:8891\" or \"unix:/run/opendkim/opendkim.sock\"";
const KEYS: &[&str] = &[
    "address",
    "default_action",
    "connect_timeout",
    "command_timeout",
    "content_timeout",
    "protocol",
];

/// Reads an array of strings and tables, or a string of several.
pub fn read(reader: &mut Reader<'_>, located: &Located) -> Option<Vec<ListedMilter>> {
    let RawValue::List(elements) = &located.value else {
        return read_words(reader, located);
    };
    let mut milters = Some(Vec::new());
    for element in elements {
        let read = match &element.value {
            RawValue::Table(table) => read_table(reader, element, table).map(|milter| vec![milter]),
            _ => read_words(reader, element),
        };
        match (read, &mut milters) {
            (Some(read), Some(milters)) => milters.extend(read),
            _ => milters = None,
        }
    }
    milters
}

fn read_words(reader: &mut Reader<'_>, located: &Located) -> Option<Vec<ListedMilter>> {
    let text = reader.text(located, EXPECTED)?;
    if text.contains('{') {
        let hint =
            "write a table: { address = \"inet:host:port\", default_action = \"accept\", connect_timeout = \"10s\" }";
        return reader.wrong(reader.place(&located.span), &text, EXPECTED, Some(hint.into()));
    }
    let words = reader.split(&text, &located.span)?;
    let read: Vec<Option<ListedMilter>> = words.iter().map(|word| read_word(reader, word)).collect();
    read.into_iter().collect()
}

fn read_word(reader: &mut Reader<'_>, word: &Word) -> Option<ListedMilter> {
    match endpoint(reader, &word.text) {
        Ok(endpoint) => Some(ListedMilter {
            name: word.text.clone(),
            endpoint,
            default_action: None,
            connect_timeout: None,
            command_timeout: None,
            content_timeout: None,
            version: None,
        }),
        Err(hint) => reader.wrong(word.span.clone(), &word.text, EXPECTED, hint),
    }
}

/// Where a filter listens, or what to write instead.
fn endpoint(reader: &Reader<'_>, text: &str) -> Result<Endpoint, Option<String>> {
    let (transport, place) = text.split_once(':').ok_or(None)?;
    match transport {
        "unix" | "local" if !place.is_empty() => Ok(Endpoint::Unix(reader.directory.join(place))),
        "inet" | "inet6" => {
            if let Some((port, host)) = place.split_once('@') {
                return Err(Some(format!("write \"inet:{host}:{port}\", as in main.cf")));
            }
            let (host, port) = place.rsplit_once(':').ok_or(None)?;
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let port = port.parse::<u16>().ok().filter(|port| *port > 0);
            match port {
                Some(port) if !host.is_empty() => Ok(Endpoint::Inet(host.to_owned(), port)),
                _ => Err(Some("a port is a number: write \"inet:localhost:8891\"".into())),
            }
        }
        _ => Err(None),
    }
}

fn read_table(reader: &mut Reader<'_>, element: &Located, table: &RawTable) -> Option<ListedMilter> {
    for (key, span, _) in table.iter() {
        if !KEYS.contains(&key) {
            let hint = nearest(key, KEYS.iter().copied()).map(|near| format!("did you mean {near}?"));
            let expected = format!("one of {}", KEYS.join(", "));
            return reader.wrong(reader.place(span), key, &expected, hint);
        }
    }
    let Some(address) = table.get("address") else {
        let complaint = Complaint::new("the milter has no address", format!("expected {EXPECTED}"));
        let hint = "write address = \"inet:localhost:8891\"";
        reader.error(reader.place(&element.span), complaint.hint(hint));
        return None;
    };
    let mut milter = read_words(reader, address)?.into_iter().next()?;
    if let Some(written) = table.get("default_action") {
        milter.default_action = Some(action(reader, written)?);
    }
    for (key, field) in [
        ("connect_timeout", &mut milter.connect_timeout),
        ("command_timeout", &mut milter.command_timeout),
        ("content_timeout", &mut milter.content_timeout),
    ] {
        if let Some(written) = table.get(key) {
            *field = Some(time(reader, written)?);
        }
    }
    if let Some(written) = table.get("protocol") {
        milter.version = Some(version(reader, written)?);
    }
    Some(milter)
}

fn action(reader: &mut Reader<'_>, located: &Located) -> Option<DefaultAction> {
    let expected = format!("one of {}", ACTIONS.join(", "));
    let text = reader.text(located, &expected)?;
    match action_of(&text) {
        Some(action) => Some(action),
        None => reader.wrong(reader.place(&located.span), &text, &expected, None),
    }
}

fn action_of(text: &str) -> Option<DefaultAction> {
    Some(match text {
        "accept" => DefaultAction::Accept,
        "reject" => DefaultAction::Reject,
        "tempfail" => DefaultAction::TempFail,
        "quarantine" => DefaultAction::Quarantine,
        "shutdown" => DefaultAction::Shutdown,
        _ => return None,
    })
}

fn time(reader: &mut Reader<'_>, located: &Located) -> Option<Duration> {
    const EXPECTED: &str = "a time from 1s to 1h such as \"30s\"";
    let text = match &located.value {
        RawValue::Integer(number) => number.to_string(),
        _ => reader.text(located, EXPECTED)?,
    };
    let seconds = text.trim().parse().map(Duration::from_secs);
    let duration = seconds.or_else(|_| parse_duration(&text)).ok();
    match duration.filter(|duration| (Duration::from_secs(1)..=Duration::from_hours(1)).contains(duration)) {
        Some(duration) => Some(duration),
        None => reader.wrong(reader.place(&located.span), &text, EXPECTED, None),
    }
}

fn version(reader: &mut Reader<'_>, located: &Located) -> Option<u32> {
    let expected = format!("a version from {VERSION_MIN} to {VERSION}");
    let text = match &located.value {
        RawValue::Integer(number) => number.to_string(),
        _ => reader.text(located, &expected)?,
    };
    match text.trim().parse::<u32>() {
        Ok(version) if (VERSION_MIN..=VERSION).contains(&version) => Some(version),
        _ => reader.wrong(reader.place(&located.span), &text, &expected, None),
    }
}

/// Reads the name of a macro, with or without braces.
pub fn macro_name(reader: &mut Reader<'_>, word: &Word) -> Option<String> {
    let bare = word.text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let bare = bare.unwrap_or(&word.text);
    let is_name = !bare.is_empty() && bare.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'_');
    if is_name {
        return Some(word.text.clone());
    }
    let expected = "the name of a macro such as \"{client_addr}\" or \"j\"";
    reader.wrong(word.span.clone(), &word.text, expected, None)
}

/// Reads a table of networks, each DISABLE.
pub fn read_maps(reader: &mut Reader<'_>, located: &Located) -> Option<Vec<IpNet>> {
    const EXPECTED: &str = "a table such as { \"192.0.2.0/24\" = \"DISABLE\" }";
    let RawValue::Table(table) = &located.value else {
        return reader.mismatch(located, EXPECTED);
    };
    let mut networks = Some(Vec::new());
    for (key, span, value) in table.iter() {
        let network = match parse_network(key) {
            Ok(network) => Some(network),
            Err(error) => reader.wrong(reader.place(span), key, &error.to_string(), None),
        };
        let word = reader.text(value, "\"DISABLE\"");
        let is_known = word.as_deref().is_some_and(|word| word.eq_ignore_ascii_case("DISABLE"));
        if let Some(word) = word.filter(|_| !is_known) {
            let hint = "filters for single clients go into a [[listener]] of their own";
            let _: Option<()> = reader.wrong(reader.place(&value.span), &word, "\"DISABLE\"", Some(hint.into()));
        }
        match (network, is_known, &mut networks) {
            (Some(network), true, Some(networks)) => networks.push(network),
            _ => networks = None,
        }
    }
    networks
}

/// The filters of a listener.
pub fn filters(scope: &Scope, listening: SocketAddr) -> Filters {
    let own_or = |own: Option<Duration>, name: &str| own.unwrap_or_else(|| scope.time(name));
    let default_action = scope.text("milter_default_action").and_then(action_of);
    let version = u32::try_from(scope.number("milter_protocol")).unwrap_or(VERSION);
    let milter = |listed: &ListedMilter| Milter {
        name: listed.name.clone(),
        endpoint: listed.endpoint.clone(),
        default_action: listed
            .default_action
            .or(default_action)
            .unwrap_or(DefaultAction::TempFail),
        connect_timeout: own_or(listed.connect_timeout, "milter_connect_timeout"),
        command_timeout: own_or(listed.command_timeout, "milter_command_timeout"),
        content_timeout: own_or(listed.content_timeout, "milter_content_timeout"),
        version: listed.version.unwrap_or(version),
    };
    let macros = [
        (MacroStage::Connect, "milter_connect_macros"),
        (MacroStage::Hello, "milter_helo_macros"),
        (MacroStage::Mail, "milter_mail_macros"),
        (MacroStage::Recipient, "milter_rcpt_macros"),
        (MacroStage::Data, "milter_data_macros"),
        (MacroStage::EndOfHeader, "milter_end_of_header_macros"),
        (MacroStage::EndOfMessage, "milter_end_of_data_macros"),
    ];
    let text = |name: &str| scope.text(name).unwrap_or_default().to_owned();
    Filters {
        milters: scope.milters("smtpd_milters").iter().map(milter).collect(),
        macros: macros.map(|(stage, name)| (stage, scope.words(name).to_vec())).into(),
        daemon_name: text("milter_macro_daemon_name"),
        version_text: text("milter_macro_v"),
        myhostname: text("myhostname"),
        listening: Some(listening),
        disabled: CidrSet::new(scope.networks("smtpd_milter_maps").to_vec()),
        message_octets_max: scope.number("message_size_limit"),
    }
}
