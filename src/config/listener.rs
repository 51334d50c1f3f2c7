//! `[[listener]]` tables: names, addresses, and the listeners there are when nobody writes any.
//!
//! **Implements** `inet_interfaces` for the default listeners on port 25.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::client::protocols;
use super::environment::Environment;
use super::error::{Complaint, Findings};
use super::file::{RawEntry, RawFile, RawTable, RawValue};
use super::scope::Scope;
use crate::net::parse_listen;

/// Keys of a `[[listener]]` table that are not directives.
pub const KEYS: [&str; 3] = ["name", "address", "socket_name"];

/// A listener before its directives are read.
#[derive(Debug)]
pub struct Endpoint<'a> {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// The name that systemd knows it by.
    pub socket_name: Option<String>,
    /// Its own directives.
    pub own: Option<&'a RawTable>,
}

/// The listeners of the file, or the default ones.
pub fn endpoints<'a>(
    file: &'a RawFile,
    top: &Scope,
    environment: &Environment,
    findings: &mut Findings,
) -> Vec<Endpoint<'a>> {
    if file.listeners.is_empty() {
        return default_endpoints(top, environment, findings);
    }
    for name in ["inet_interfaces"] {
        if top.is_written(name) {
            let complaint = Complaint::new("has no effect beside [[listener]] tables", "ignored");
            findings.warning(name, top.span(name), complaint.hint("take it out"));
        }
    }
    let mut endpoints: Vec<Endpoint<'a>> = Vec::new();
    for listener in &file.listeners {
        let name = text(listener, "name", "a name such as \"submission\"", findings);
        let address = address(listener, findings);
        let socket_name = if listener.table.get("socket_name").is_some() {
            text(listener, "socket_name", "a name such as \"smtp\"", findings)
        } else {
            None
        };
        let (Some(name), Some(address)) = (name, address) else {
            continue;
        };
        check_unique(&endpoints, &name, address, listener, findings);
        check_protocol(address, top, listener, findings);
        endpoints.push(Endpoint {
            name,
            address,
            socket_name,
            own: Some(&listener.table),
        });
    }
    endpoints
}

/// `inet_protocols` says which addresses may be listened on at all.
fn check_protocol(address: SocketAddr, top: &Scope, listener: &RawEntry, findings: &mut Findings) {
    let (ipv4, ipv6) = protocols(top);
    let (family, is_allowed) = if address.is_ipv4() {
        ("ipv4", ipv4)
    } else {
        ("ipv6", ipv6)
    };
    if !is_allowed && top.is_good("inet_protocols") {
        let complaint = Complaint::new(
            format!("inet_protocols does not allow {address}"),
            "expected an address of a family that inet_protocols names",
        );
        let span = listener.table.get("address").map(|located| located.span.clone());
        let hint = format!("add \"{family}\" to inet_protocols, or take the listener out");
        findings.error("address", span, complaint.hint(hint));
    }
}

fn check_unique(
    endpoints: &[Endpoint<'_>],
    name: &str,
    address: SocketAddr,
    listener: &RawEntry,
    findings: &mut Findings,
) {
    let place = |key: &str| listener.table.get(key).map(|located| located.span.clone());
    if let Some(other) = endpoints.iter().find(|other| other.address == address) {
        let message = format!("{address} is the address of listener \"{}\" already", other.name);
        let complaint = Complaint::new(message, "expected an address of its own");
        findings.error(
            "address",
            place("address"),
            complaint.hint("change the address or the port"),
        );
    }
    if endpoints.iter().any(|other| other.name == name) {
        let complaint = Complaint::new(
            format!("there is a listener \"{name}\" already"),
            "expected a name of its own",
        );
        findings.error("name", place("name"), complaint.hint("choose another name"));
    }
}

fn text(listener: &RawEntry, key: &str, expected: &str, findings: &mut Findings) -> Option<String> {
    let complaint = |message: String| Complaint::new(message, format!("expected {expected}"));
    let Some(located) = listener.table.get(key) else {
        let hint = format!("write {key} = ... in this table");
        findings.error(
            key,
            Some(findings.first_line(&listener.span)),
            complaint(format!("the listener has no {key}")).hint(hint),
        );
        return None;
    };
    match &located.value {
        RawValue::Text(text) if !text.trim().is_empty() => Some(text.trim().into()),
        RawValue::Text(_) => {
            let message = format!("found \"\", expected {expected}");
            findings.error(key, Some(located.span.clone()), complaint(message));
            None
        }
        other => {
            let message = format!("found {}, expected {expected}", other.kind());
            findings.error(key, Some(located.span.clone()), complaint(message));
            None
        }
    }
}

fn address(listener: &RawEntry, findings: &mut Findings) -> Option<SocketAddr> {
    const EXPECTED: &str = "ADDRESS:PORT such as \"0.0.0.0:25\" or \"[::]:587\"";
    let text = text(listener, "address", EXPECTED, findings)?;
    if let Ok(address) = parse_listen(&text) {
        return Some(address);
    }
    let span = listener.table.get("address").map(|located| located.span.clone());
    let complaint = Complaint::new(
        format!("found \"{text}\", expected {EXPECTED}"),
        format!("expected {EXPECTED}"),
    );
    let hint = match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => Some(format!("write \"{address}:25\"")),
        Ok(IpAddr::V6(address)) => Some(format!("write \"[{address}]:25\"")),
        Err(_) => None,
    };
    findings.error("address", span, complaint.maybe_hint(hint));
    None
}

/// Port 25 on each address of `inet_interfaces` that `inet_protocols` allows.
fn default_endpoints<'a>(top: &Scope, environment: &Environment, findings: &mut Findings) -> Vec<Endpoint<'a>> {
    let (ipv4, ipv6) = protocols(top);
    // Without IPv6 in the kernel a socket on [::] cannot be opened, which "all" does not ask for.
    let ipv6_usable = ipv6 && (environment.ipv6 || !ipv4);
    let mut addresses: Vec<IpAddr> = Vec::new();
    for word in top.words("inet_interfaces") {
        match word.as_str() {
            "all" => addresses.extend([Ipv4Addr::UNSPECIFIED.into(), IpAddr::from(Ipv6Addr::UNSPECIFIED)]),
            "loopback-only" => addresses.extend([Ipv4Addr::LOCALHOST.into(), IpAddr::from(Ipv6Addr::LOCALHOST)]),
            address => addresses.extend(address.parse::<IpAddr>()),
        }
    }
    addresses.retain(|address| if address.is_ipv4() { ipv4 } else { ipv6_usable });
    let mut unique: Vec<IpAddr> = Vec::new();
    for address in addresses {
        if !unique.contains(&address) {
            unique.push(address);
        }
    }
    if unique.is_empty() && top.is_good("inet_interfaces") && top.is_good("inet_protocols") {
        let complaint = Complaint::new(
            "no address to listen on is left",
            "expected an address that inet_protocols allows",
        );
        let hint = "write inet_interfaces = [\"all\"], or a [[listener]] table";
        findings.error("inet_interfaces", top.span("inet_interfaces"), complaint.hint(hint));
    }
    let endpoint = |(n, address): (usize, IpAddr)| Endpoint {
        name: if n == 0 {
            "smtp".into()
        } else {
            format!("smtp-{}", n + 1)
        },
        address: SocketAddr::new(address, 25),
        socket_name: None,
        own: None,
    };
    unique.into_iter().enumerate().map(endpoint).collect()
}
