//! Questions to the DNS.
//!
//! **Implements** the client names of Postfix: the name of an address, and whether it leads back to it.

use std::net::IpAddr;

use crate::io::dns::{Resolver, SystemResolver};
use crate::net;
use crate::outbound::route::{LookupError, MailExchanger};
use crate::policy::question::{Found, PeerNames};
use crate::wire::domain::Domain;

/// Names of one address that are looked at.
const PEER_NAMES_MAX: usize = 5;

/// A and AAAA, or A alone.
pub(super) async fn addresses(resolver: &SystemResolver, name: &str, both_families: bool) -> Found<IpAddr> {
    found(resolver.addresses(name, true, both_families).await)
}

/// MX; the null MX keeps its dot.
pub(super) async fn mail_exchangers(resolver: &SystemResolver, domain: &Domain) -> Found<(u16, String)> {
    let exchangers = resolver.mx(domain.as_str()).await.map(|exchangers| {
        let host = |host: String| if host.is_empty() { String::from(".") } else { host };
        let pair = |exchanger: MailExchanger| (exchanger.preference, host(exchanger.host));
        exchangers.into_iter().map(pair).collect()
    });
    found(exchangers)
}

/// TXT. Control characters are replaced: the texts of DNS lists end up in replies and in the log.
pub(super) async fn texts(resolver: &SystemResolver, name: &str) -> Found<String> {
    let clean = |text: String| text.replace(char::is_control, "?");
    let texts = resolver.texts(name).await;
    found(texts.map(|texts| texts.into_iter().map(clean).collect()))
}

/// The name of an address, and the one that has the address in turn.
pub(super) async fn peer_names(resolver: &SystemResolver, address: IpAddr) -> PeerNames {
    let address = net::canonical(address);
    if address.is_loopback()
        && let Some(localhost) = Domain::parse("localhost")
    {
        return PeerNames {
            reverse: Found::Records(vec![localhost.clone()]),
            verified: Found::Records(vec![localhost]),
        };
    }
    let reverse = found(resolver.pointers(address).await);
    let verified = match &reverse {
        Found::Records(names) => verified(resolver, address, names).await,
        other => other.clone(),
    };
    PeerNames { reverse, verified }
}

/// The first name that leads back. A name that cannot be looked up now might have been the one.
async fn verified(resolver: &SystemResolver, address: IpAddr, names: &[Domain]) -> Found<Domain> {
    let mut without = Found::NoRecords;
    for name in names.iter().take(PEER_NAMES_MAX) {
        let addresses = resolver
            .addresses(name.as_str(), address.is_ipv4(), address.is_ipv6())
            .await;
        match addresses {
            Ok(addresses) if addresses.contains(&address) => return Found::Records(vec![name.clone()]),
            Err(LookupError::Temporary(why)) => without = Found::Failed(format!("{name}: {why}")),
            _ => {}
        }
    }
    without
}

/// Nobody knows the names.
pub(super) fn unknown(why: String) -> PeerNames {
    PeerNames {
        reverse: Found::Failed(why.clone()),
        verified: Found::Failed(why),
    }
}

fn found<T>(answer: Result<Vec<T>, LookupError>) -> Found<T> {
    match answer {
        Ok(records) => Found::Records(records),
        Err(LookupError::NoRecords) => Found::NoRecords,
        Err(LookupError::NotFound) => Found::NoSuchName,
        Err(LookupError::Temporary(why)) => Found::Failed(why),
    }
}
