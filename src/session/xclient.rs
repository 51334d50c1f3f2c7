//! XCLIENT: a proxy says whom it speaks for.
//!
//! **Implements** XCLIENT of Postfix (XCLIENT_README) for the hosts of `smtpd_authorized_xclient_hosts`: NAME, ADDR, PORT, PROTO,
//! HELO, REVERSE_NAME, LOGIN, DESTADDR, DESTPORT. The session starts anew, with the lists for connecting clients asked of the
//! client named. Who may say XCLIENT is judged by the address the connection came from, so that it can be said again.
//! **Does not** let the certificate of the proxy count for the client it names: behind an ADDR other than its own the session has
//! no certificate, where Postfix keeps it. A name that goes with another address goes too: the DNS is asked anew.
//! **Bugs** a client without an address (`ADDR=[UNAVAILABLE]`) is logged as `0.0.0.0`. DESTADDR and DESTPORT are told to policy
//! services only.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::connection::Connection;
use super::event::Event;
use super::extension::Extension;
use super::hello::{Hello, name_of};
use super::pending::Step;
use super::replies;
use super::state::State;
use crate::policy::question::{Answers, Found, PeerNames};
use crate::policy::verdict::Obligations;
use crate::time::Now;
use crate::wire::domain::Domain;
use crate::wire::reply::Reply;

/// The longest value, decoded.
const VALUE_OCTETS_MAX: usize = 255;

/// What an attribute gives; `None` for one that the proxy does not know.
#[derive(Debug)]
struct Given<T>(Option<T>);

/// What the command gives; `None` leaves things as they are.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    name: Option<Found<Domain>>,
    reverse_name: Option<Found<Domain>>,
    address: Option<Given<IpAddr>>,
    port: Option<u16>,
    is_extended: Option<bool>,
    hello: Option<Given<String>>,
    login: Option<Given<String>>,
    server_address: Option<Given<IpAddr>>,
    server_port: Option<u16>,
}

impl State {
    pub(super) fn on_xclient(self, argument: &str, connection: &mut Connection, now: Now) -> Self {
        match self {
            Self::Ready(_) => {}
            Self::Mail(..) => return self.refuse(replies::transaction_in_progress(), connection),
            other => return other,
        }
        if argument.is_empty() {
            return self.refuse(replies::usage("XCLIENT attribute=value..."), connection);
        }
        if !connection.offers(Extension::Xclient) {
            return self.refuse(replies::insufficient_authorization(), connection);
        }
        match Attributes::parse(argument) {
            Ok(attributes) => {
                attributes.apply(connection);
                Self::begin(Step::Connect, connection, now)
            }
            Err(reply) => self.refuse(reply, connection),
        }
    }
}

impl Attributes {
    /// Reads all of them; one that is wrong spoils the command.
    ///
    /// # Errors
    /// The refusal.
    pub(super) fn parse(argument: &str) -> Result<Self, Reply> {
        let mut attributes = Self::default();
        for word in argument.split_ascii_whitespace() {
            let (key, value) = word.split_once('=').ok_or_else(replies::attribute_expected)?;
            let bad = || replies::bad_attribute(key, value);
            let value = decoded(value).ok_or_else(bad)?;
            let is_good = attributes.take(&key.to_ascii_uppercase(), value);
            if !is_good.ok_or_else(|| replies::unknown_attribute(key))? {
                return Err(bad());
            }
        }
        Ok(attributes)
    }

    /// Takes one; whether its value is good, and `None` when there is no such attribute.
    fn take(&mut self, key: &str, value: Value) -> Option<bool> {
        let is_good = match key {
            "NAME" => put(&mut self.name, host_name(value)),
            "REVERSE_NAME" => put(&mut self.reverse_name, host_name(value)),
            "ADDR" => put(&mut self.address, value.if_known(|text| address(&text))),
            "PORT" => put(&mut self.port, port(value)),
            "PROTO" => put(&mut self.is_extended, protocol(value)),
            "HELO" => put(&mut self.hello, value.if_known(|text| name_of(&text))),
            "LOGIN" => put(
                &mut self.login,
                value.if_known(|text| Some(text).filter(|text| !text.is_empty())),
            ),
            "DESTADDR" => put(&mut self.server_address, value.if_known(|text| address(&text))),
            "DESTPORT" => put(&mut self.server_port, port(value)),
            _ => return None,
        };
        Some(is_good)
    }

    /// The session becomes that of the client named, and knows nothing of what was said before.
    fn apply(self, connection: &mut Connection) {
        if let Some(address) = self.address {
            let address = address.0.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            connection.peer = SocketAddr::new(address, self.port.unwrap_or_default());
            connection.peer_name = None;
            connection.given_names = None;
        } else if let Some(port) = self.port {
            connection.peer.set_port(port);
        }
        match self.server_address {
            Some(Given(address)) => {
                let port = self.server_port.unwrap_or_default();
                connection.local = address.map(|address| SocketAddr::new(address, port));
            }
            None => {
                if let (Some(local), Some(port)) = (&mut connection.local, self.server_port) {
                    local.set_port(port);
                }
            }
        }
        if let Some(verified) = self.name {
            connection.peer_name = match &verified {
                Found::Records(names) => names.first().cloned(),
                _ => None,
            };
            let reverse = self.reverse_name.unwrap_or_else(|| verified.clone());
            connection.given_names = Some(PeerNames { reverse, verified });
        } else if let Some(reverse) = self.reverse_name {
            let verified = Found::NoRecords;
            connection.peer_name = None;
            connection.given_names = Some(PeerNames { reverse, verified });
        }
        let extended = self.is_extended.unwrap_or_default();
        connection.given_hello = self
            .hello
            .and_then(|given| given.0)
            .map(|name| Hello { name, extended });
        connection.login = self.login.and_then(|given| given.0);
        connection.login_mechanism = connection.login.as_ref().map_or("", |_| "XCLIENT");
        connection.is_authenticated = false;
        connection.answers = Answers::default();
        // What the lists for connecting clients ask is asked of whoever is named now.
        connection.standing = Obligations::default();
        let shown = connection.shown.clone();
        connection.identify(shown);
        connection.events.push_back(Event::ClientNamed {
            origin: Arc::clone(&connection.origin),
            proxy: connection.proxy,
            login: connection.login.clone(),
        });
    }
}

/// A value, or that there is none to give.
enum Value {
    Text(String),
    /// `[UNAVAILABLE]`
    Unavailable,
    /// `[TEMPUNAVAIL]`: the DNS did not answer the proxy.
    Temporarily,
}

impl Value {
    /// What the value gives; `None` when it is wrong.
    fn if_known<T>(self, read: impl FnOnce(String) -> Option<T>) -> Option<Given<T>> {
        match self {
            Self::Text(text) => read(text).map(|known| Given(Some(known))),
            Self::Unavailable | Self::Temporarily => Some(Given(None)),
        }
    }
}

/// Keeps a value; whether there is a good one.
fn put<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    *place = value;
    place.is_some()
}

fn host_name(value: Value) -> Option<Found<Domain>> {
    match value {
        Value::Text(text) => Domain::parse(&text).map(|name| Found::Records(vec![name])),
        Value::Unavailable => Some(Found::NoRecords),
        Value::Temporarily => Some(Found::Failed("the proxy could not look the name up".into())),
    }
}

/// Postfix writes IPv6 addresses with a prefix; without one they are understood too.
fn address(text: &str) -> Option<IpAddr> {
    let prefix = text.get(..5).filter(|prefix| prefix.eq_ignore_ascii_case("IPV6:"));
    match prefix.and_then(|prefix| text.get(prefix.len()..)) {
        Some(v6) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

fn port(value: Value) -> Option<u16> {
    let number = |text: String| {
        text.parse()
            .ok()
            .filter(|_| text.bytes().all(|digit| digit.is_ascii_digit()))
    };
    value.if_known(number).map(|given| given.0.unwrap_or_default())
}

fn protocol(value: Value) -> Option<bool> {
    match value {
        Value::Text(text) if text.eq_ignore_ascii_case("ESMTP") => Some(true),
        Value::Text(text) if text.eq_ignore_ascii_case("SMTP") => Some(false),
        Value::Text(_) => None,
        Value::Unavailable | Value::Temporarily => Some(false),
    }
}

/// RFC 1891 xtext: `+` and two hexadecimal digits, of either letter case as in Postfix. No control characters.
fn decoded(value: &str) -> Option<Value> {
    if value.eq_ignore_ascii_case("[UNAVAILABLE]") {
        return Some(Value::Unavailable);
    }
    if value.eq_ignore_ascii_case("[TEMPUNAVAIL]") {
        return Some(Value::Temporarily);
    }
    let mut octets = Vec::new();
    let mut rest = value.bytes();
    while let Some(octet) = rest.next() {
        octets.push(if octet == b'+' {
            let digits = [rest.next()?, rest.next()?];
            let text = std::str::from_utf8(&digits)
                .ok()
                .filter(|text| !text.starts_with('+'))?;
            u8::from_str_radix(text, 16).ok()?
        } else {
            octet
        });
    }
    let text = String::from_utf8(octets).ok()?;
    let is_good = text.len() <= VALUE_OCTETS_MAX && !text.contains(char::is_control);
    is_good.then_some(Value::Text(text))
}
