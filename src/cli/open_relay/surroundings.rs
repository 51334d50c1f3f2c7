//! Where an outsider comes from and what it asks for: addresses outside mynetworks, destinations that are not ours.

use std::net::IpAddr;

use crate::net::CidrSet;
use crate::policy::chain::Chain;
use crate::policy::facts::Lists;
use crate::policy::reached::reached;
use crate::policy::restriction::{AccessOf, Restriction};
use crate::policy::table::Entries;
use crate::wire::domain::Host;
use crate::wire::path::{ForwardPath, ReversePath};

/// Addresses of the world, of both families; documentation networks, and such as nobody's campus has.
const PEERS: [&str; 10] = [
    "198.51.100.77",
    "203.0.113.77",
    "192.0.2.77",
    "8.8.8.8",
    "100.64.0.1",
    "2001:db8:77::1",
    "2600::77",
    "2a00:1450::77",
    "fd77::1",
    "::ffff:198.51.100.78",
];
/// Domains that are nobody's.
const DOMAINS: [&str; 4] = ["outside.example", "outside.invalid", "outside.test", "example.net"];
/// Where anybody registers a domain: whoever takes all of it for its own relays to the world.
const REGISTRIES: [&str; 6] = ["com", "net", "org", "eu", "fr", "info"];

/// What is tried for every outsider.
#[derive(Debug)]
pub(super) struct Surroundings {
    /// At least one.
    pub(super) peers: Vec<IpAddr>,
    pub(super) reverse_paths: Vec<ReversePath>,
    pub(super) forward_paths: Vec<ForwardPath>,
    /// What outsiders call themselves in HELO, and what they let the DNS call their address; at least one.
    pub(super) names: Vec<String>,
}

/// Keys of one table that are tried at most.
const KEYS_MAX: usize = 200;

/// The keys of the tables that decide who may relay and look at this.
fn keys(chain: &Chain, looks_at: &dyn Fn(&AccessOf) -> bool) -> Vec<String> {
    let lists = chain.relay.iter().chain(&chain.recipient);
    let tables = lists
        .flat_map(|restriction| reached(restriction, &chain.lists.named))
        .filter_map(|restriction| match restriction {
            Restriction::Access(of, table) if looks_at(&of) => Some(table),
            _ => None,
        });
    let keys = tables.flat_map(|table| {
        let mut keys: Vec<String> = match &table.entries {
            Entries::Keys(keys) => keys.keys().cloned().collect(),
            _ => Vec::new(),
        };
        keys.sort();
        keys.truncate(KEYS_MAX);
        keys
    });
    keys.collect()
}

/// An address that a key of a table is about.
fn address_of(key: &str, outside: &str) -> String {
    match key.split_once('@') {
        Some((_, "")) => format!("{key}{outside}"),
        Some(_) => key.to_owned(),
        None if key == "<>" => String::new(),
        None => format!("someone@{}", key.trim_start_matches('.')),
    }
}

impl Surroundings {
    pub(super) fn of(chain: &Chain) -> Self {
        let lists = &chain.lists;
        let own = lists.destinations.first().map(|pattern| pattern.domain.to_string());
        let outside = outside_domain(lists);
        let mut reverse_paths = vec![String::new(), format!("someone@{outside}")];
        let mut forward_paths = vec![format!("someone@{outside}"), "someone@[198.51.100.99]".to_owned()];
        forward_paths.extend(REGISTRIES.map(|registry| format!("someone@estafette-outside.{registry}")));
        let senders = keys(chain, &|of| *of == AccessOf::Sender);
        reverse_paths.extend(senders.iter().map(|key| address_of(key, outside)));
        let mut names = vec!["outside.example".to_owned()];
        names.extend(keys(chain, &|of| {
            matches!(of, AccessOf::Hello | AccessOf::ReverseClient)
        }));
        if let Some(own) = own {
            reverse_paths.push(format!("someone@{own}"));
            // Destinations of ours that ask to be relayed on (the percent hack, a bang path, a quoted address, a route).
            forward_paths.push(format!("someone%{outside}@{own}"));
            forward_paths.push(format!("{outside}!someone@{own}"));
            forward_paths.push(format!("\"someone@{outside}\"@{own}"));
            forward_paths.push(format!("@{own}:someone@{outside}"));
        }
        Self {
            peers: outside_peers(&lists.mynetworks),
            names,
            reverse_paths: reverse_paths
                .iter()
                .filter_map(|path| ReversePath::parse(&format!("<{path}>")).ok())
                .collect(),
            forward_paths: forward_paths
                .iter()
                .filter_map(|path| ForwardPath::parse(&format!("<{path}>")).ok())
                .collect(),
        }
    }
}

/// Two of each family that are in none of the networks. Networks that hold all of them are the world's: then any will do.
fn outside_peers(networks: &CidrSet) -> Vec<IpAddr> {
    let all: Vec<IpAddr> = PEERS.iter().filter_map(|text| text.parse().ok()).collect();
    let mut peers = Vec::new();
    for is_ipv4 in [true, false] {
        let family = || all.iter().copied().filter(|peer| peer.is_ipv4() == is_ipv4);
        let outside: Vec<IpAddr> = family().filter(|peer| !networks.contains(*peer)).take(2).collect();
        if outside.is_empty() {
            peers.extend(family().take(2));
        }
        peers.extend(outside);
    }
    peers
}

fn outside_domain(lists: &Lists) -> &'static str {
    let is_ours = |text: &str| match Host::parse(text) {
        Some(Host::Name(domain)) => lists.destinations.iter().any(|pattern| pattern.matches(&domain)),
        _ => false,
    };
    let mut outside = DOMAINS.into_iter().filter(|domain| !is_ours(domain));
    outside.next().unwrap_or(DOMAINS[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::parse_network;

    #[test]
    fn peers_are_outside_the_networks_while_there_is_an_outside() {
        let set = |texts: &[&str]| CidrSet::new(texts.iter().map(|text| parse_network(text).unwrap()).collect());
        let campus = set(&["192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32"]);
        let peers = outside_peers(&campus);
        assert_eq!(peers.len(), 4);
        assert!(peers.iter().all(|peer| !campus.contains(*peer)));
        assert_eq!(outside_peers(&set(&["0.0.0.0/0", "::/0"])).len(), 4);
    }
}
