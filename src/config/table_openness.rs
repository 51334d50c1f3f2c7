//! Whether a table that decides who may relay has an entry for strangers.
//!
//! **Implements** the search for keys that strangers choose (sender, HELO, the name they give their own address), for networks
//! and names that hold a large part of the Internet, and for expressions that match whatever a stranger shows.
//! **Does not** find every expression that matches too much: a few strangers are tried.

use ipnet::IpNet;

use super::world_networks::is_of_the_world;
use crate::net::parse_network;
use crate::policy::restriction::AccessOf;
use crate::policy::table::{Entries, NetworkEntry, Table};

/// Names and addresses of peers that nobody's table is about.
const PEERS: [&str; 6] = [
    "unknown",
    "mail.stranger.example",
    "dsl-203-0-113-77.stranger.example",
    "203.0.113.77",
    "8.8.8.8",
    "2001:db8:77::77",
];
/// Destinations that nobody's table is about.
const RECIPIENTS: [&str; 2] = ["somebody@stranger.example", "anybody@mail.stranger.test"];
/// The fingerprint of a certificate that anybody makes.
const FINGERPRINT: &str =
    "0F:1E:2D:3C:4B:5A:69:78:87:96:A5:B4:C3:D2:E1:F0:0F:1E:2D:3C:4B:5A:69:78:87:96:A5:B4:C3:D2:E1:F0";
/// Domains of many labels' owners, beside those of countries, which have two letters.
const REGISTRIES: [&str; 9] = ["com", "net", "org", "edu", "info", "biz", "io", "app", "arpa"];

/// An entry that permits a stranger, in words; `permits` says whether a value may.
pub fn open_entry(of: &AccessOf, table: &Table, permits: &dyn Fn(&str) -> bool) -> Option<String> {
    match of {
        AccessOf::Sender | AccessOf::Hello | AccessOf::ReverseClient => table
            .values()
            .any(permits)
            .then(|| format!("\"{}\" believes the client", of.name())),
        AccessOf::Client => open_client(table, permits),
        AccessOf::Recipient => open_recipient(table, permits),
        AccessOf::Certificate(_) => open_pattern(table, &[FINGERPRINT], permits),
        AccessOf::Login => None,
    }
}

fn open_client(table: &Table, permits: &dyn Fn(&str) -> bool) -> Option<String> {
    match &table.entries {
        Entries::Networks(entries) => open_network(entries, permits),
        Entries::Keys(keys) => {
            let permitting = || {
                keys.iter()
                    .filter(|(_, value)| permits(value))
                    .map(|(key, _)| key.as_str())
            };
            let world = IpNet::aggregate(&permitting().filter_map(network_of).collect());
            let world = world.iter().find(|network| is_of_the_world(network)).map(of_network);
            let unknown = || {
                let unknown = permitting().find(|key| *key == "unknown");
                unknown.map(|_| "\"unknown\" is whoever has no name in the DNS".to_owned())
            };
            world.or_else(unknown).or_else(|| permitting().find_map(of_registry))
        }
        Entries::Patterns(_) => open_pattern(table, &PEERS, permits),
    }
}

fn open_recipient(table: &Table, permits: &dyn Fn(&str) -> bool) -> Option<String> {
    match &table.entries {
        Entries::Keys(keys) => {
            let mut permitting = keys
                .iter()
                .filter(|(_, value)| permits(value))
                .map(|(key, _)| key.as_str());
            permitting.find_map(|key| match key.strip_suffix('@') {
                Some(_) => Some(format!("\"{key}\" stands for that local-part in every domain")),
                None => of_registry(key),
            })
        }
        Entries::Networks(_) => None,
        Entries::Patterns(_) => open_pattern(table, &RECIPIENTS, permits),
    }
}

fn open_pattern(table: &Table, strangers: &[&str], permits: &dyn Fn(&str) -> bool) -> Option<String> {
    let Entries::Patterns(_) = &table.entries else {
        return None;
    };
    let found = |stranger: &&&str| table.find(stranger).is_some_and(|value| permits(&value));
    let stranger = strangers.iter().find(found)?;
    Some(format!("an expression in it matches \"{stranger}\""))
}

/// Entries behind one that holds them already are never reached; of one behind `!network`, that network is left.
fn open_network(entries: &[NetworkEntry], permits: &dyn Fn(&str) -> bool) -> Option<String> {
    let permitting = || entries.iter().enumerate().filter(|(_, entry)| permits(&entry.value));
    let mut all = IpNet::aggregate(&permitting().map(|(_, entry)| entry.network).collect());
    all.retain(is_of_the_world);
    let mut open = Vec::new();
    for (n, entry) in permitting() {
        if !entry.negated && !all.iter().any(|world| world.contains(&entry.network)) {
            // The usual table has many small networks: whatever is before them, they make no world.
            continue;
        }
        match left_of(entry, entries.get(..n).unwrap_or_default()) {
            Left::Nothing => {}
            Left::Network(network) => open.push(network),
            Left::Everything => return Some(format!("!{} is every address but these", entry.network)),
        }
    }
    let open = IpNet::aggregate(&open);
    open.iter().find(|network| is_of_the_world(network)).map(of_network)
}

/// What the entries before leave of an entry.
enum Left {
    Nothing,
    /// At most that.
    Network(IpNet),
    Everything,
}

fn left_of(entry: &NetworkEntry, before: &[NetworkEntry]) -> Left {
    let mut left = (!entry.negated).then_some(entry.network);
    for earlier in before {
        left = match left {
            Some(known) if earlier.network.contains(&known) && !earlier.negated => return Left::Nothing,
            Some(known) if earlier.network.contains(&known) => Some(known),
            // They have nothing in common.
            Some(known) if earlier.negated && !known.contains(&earlier.network) => return Left::Nothing,
            _ if earlier.negated => Some(earlier.network),
            other => other,
        };
    }
    match left {
        Some(known) if entry.negated && entry.network.contains(&known) => Left::Nothing,
        Some(known) => Left::Network(known),
        None => Left::Everything,
    }
}

fn of_network(network: &IpNet) -> String {
    match network.prefix_len() {
        0 => format!("{network} is every address"),
        length => format!("{network} is one in {} of all addresses", 1_u32 << length),
    }
}

/// The network that a key stands for: an address, or its first octets or groups.
fn network_of(key: &str) -> Option<IpNet> {
    if let Ok(address) = key.parse::<std::net::IpAddr>() {
        return Some(address.into());
    }
    let is_octets = key.split('.').all(|octet| octet.parse::<u8>().is_ok());
    if is_octets {
        let octets = key.split('.').count();
        let rest = ".0".repeat(4_usize.checked_sub(octets)?);
        return parse_network(&format!("{key}{rest}/{}", octets * 8)).ok();
    }
    let groups = key.split(':').count();
    let is_groups = key.contains(':') && !key.contains("::") && groups < 8;
    is_groups
        .then(|| parse_network(&format!("{}::/{}", key.trim_end_matches(':'), groups * 16)).ok())
        .flatten()
}

/// A domain in which anybody registers.
fn of_registry(key: &str) -> Option<String> {
    let label = key.trim_start_matches('.');
    let is_country = label.len() == 2 && label.bytes().all(|octet| octet.is_ascii_alphabetic());
    (is_country || REGISTRIES.contains(&label)).then(|| format!("\"{key}\" is a domain where anybody registers"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::table_files::{Form, parse};

    fn open(of: &AccessOf, form: Form, text: &str) -> Option<String> {
        let (entries, _) = parse(form, text).expect("a good table");
        let name = "test".into();
        open_entry(of, &Table { name, entries }, &|value| value == "OK")
    }

    #[test]
    fn entries_for_strangers_are_found() {
        for (of, form, text) in [
            (AccessOf::Client, Form::Networks, "0.0.0.0/0 OK\n"),
            (AccessOf::Client, Form::Networks, "::/0 OK\n"),
            (
                AccessOf::Client,
                Form::Networks,
                "10.0.0.0/8 REJECT\n0.0.0.0/1 OK\n128.0.0.0/1 DUNNO\n",
            ),
            (AccessOf::Client, Form::Networks, "0.0.0.0/2 OK\n64.0.0.0/2 OK\n"),
            (AccessOf::Client, Form::Networks, "!192.0.2.0/24 OK\n"),
            (AccessOf::Client, Form::Networks, "!2.0.0.0/7 REJECT\n0.0.0.0/0 OK\n"),
            (AccessOf::Client, Form::Keys, "unknown OK\n"),
            (AccessOf::Client, Form::Keys, "com OK\n"),
            (AccessOf::Client, Form::Keys, ".fr OK\n"),
            (AccessOf::Client, Form::Keys, "2 OK\n3 OK\n"),
            (AccessOf::Client, Form::Pcre, "/./ OK\n"),
            (AccessOf::Client, Form::Regexp, "!/^192\\.0\\.2\\./ OK\n"),
            (AccessOf::Recipient, Form::Pcre, "/@/ OK\n"),
            (AccessOf::Recipient, Form::Keys, "postmaster@ OK\n"),
            (AccessOf::Recipient, Form::Keys, "net OK\n"),
            (AccessOf::Certificate(Vec::new()), Form::Pcre, "/^..:/ OK\n"),
            (AccessOf::Sender, Form::Keys, "boss@campus.example OK\n"),
        ] {
            assert!(open(&of, form, text).is_some(), "{of:?} {text}");
        }
        for (of, form, text) in [
            (
                AccessOf::Client,
                Form::Networks,
                "192.0.2.0/24 OK\n2001:db8::/32 OK\n0.0.0.0/0 REJECT\n",
            ),
            (AccessOf::Client, Form::Networks, "0.0.0.0/0 REJECT\n0.0.0.0/0 OK\n"),
            (AccessOf::Client, Form::Networks, "!192.0.2.0/24 REJECT\n0.0.0.0/0 OK\n"),
            (AccessOf::Client, Form::Networks, "!192.0.2.0/24 REJECT\n::/0 OK\n"),
            (
                AccessOf::Client,
                Form::Networks,
                "!192.0.2.0/24 REJECT\n!192.0.0.0/16 OK\n",
            ),
            (
                AccessOf::Client,
                Form::Keys,
                "192.0.2 OK\n10 OK\nlocalhost OK\ncampus.example OK\n2001:db8 OK\ncom REJECT\n",
            ),
            (AccessOf::Client, Form::Pcre, "/\\.campus\\.example$/ OK\n/./ REJECT\n"),
            (
                AccessOf::Recipient,
                Form::Keys,
                "partner.example OK\npostmaster@ REJECT\n",
            ),
            (AccessOf::Certificate(Vec::new()), Form::Keys, "AA:BB OK\n"),
            (AccessOf::Sender, Form::Keys, "a@campus.example REJECT\n"),
            (AccessOf::Login, Form::Pcre, "/./ OK\n"),
        ] {
            assert_eq!(open(&of, form, text), None, "{of:?} {text}");
        }
    }
}
