//! Look-up tables: keys and what they lead to, held in memory.
//!
//! **Implements** the matching of Postfix's texthash, cidr, regexp and pcre tables; which keys are asked for, and in which
//! order, is `access`'s.
//! **Does not** read files: `config::tables` does.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use regex::Regex;

use crate::wire::domain::Domain;

/// One table.
#[derive(Clone, Debug)]
pub struct Table {
    /// As the configuration names it: `texthash:/etc/estafette/senders`, or `inline`.
    pub name: String,
    /// What is in it.
    pub entries: Entries,
}

/// What is in a table.
#[derive(Clone, Debug)]
pub enum Entries {
    /// Whole keys, as [`whole_key`] makes them.
    Keys(HashMap<String, String>),
    /// Networks; the first that holds the address counts.
    Networks(Vec<NetworkEntry>),
    /// Regular expressions; the first that matches counts.
    Patterns(Vec<PatternEntry>),
}

/// One line of a `cidr:` table.
#[derive(Clone, Debug)]
pub struct NetworkEntry {
    /// The network.
    pub network: IpNet,
    /// Written with `!`: everything but the network.
    pub negated: bool,
    /// What it leads to.
    pub value: String,
}

/// One line of a `regexp:` or `pcre:` table.
#[derive(Clone, Debug)]
pub struct PatternEntry {
    /// The expression.
    pub pattern: Regex,
    /// Written with `!`: everything but what it matches.
    pub negated: bool,
    /// The `if` lines around it, all of which must match, each perhaps negated.
    pub conditions: Vec<(Regex, bool)>,
    /// What it leads to, with `$1`, `${1}` and `$(1)` for the groups.
    pub value: String,
}

impl Table {
    /// Whether parts of an address or a name are keys too; patterns are asked about the whole only.
    pub const fn has_partial_keys(&self) -> bool {
        matches!(self.entries, Entries::Keys(_))
    }

    /// Whether host names can be in it.
    pub const fn holds_names(&self) -> bool {
        !matches!(self.entries, Entries::Networks(_))
    }

    /// What a key leads to.
    pub fn find(&self, key: &str) -> Option<String> {
        match &self.entries {
            Entries::Keys(keys) => keys.get(&whole_key(key)).cloned(),
            Entries::Networks(_) => self.find_address(key.parse().ok()?),
            Entries::Patterns(patterns) => patterns.iter().find_map(|entry| entry.find(key)),
        }
    }

    /// What an address leads to, in a table of networks.
    pub fn find_address(&self, address: IpAddr) -> Option<String> {
        let Entries::Networks(networks) = &self.entries else {
            return None;
        };
        let counts = |entry: &&NetworkEntry| entry.network.contains(&address) != entry.negated;
        networks.iter().find(counts).map(|entry| entry.value.clone())
    }

    /// Every value, for checks.
    pub fn values(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match &self.entries {
            Entries::Keys(keys) => Box::new(keys.values().map(String::as_str)),
            Entries::Networks(networks) => Box::new(networks.iter().map(|entry| entry.value.as_str())),
            Entries::Patterns(patterns) => Box::new(patterns.iter().map(|entry| entry.value.as_str())),
        }
    }
}

impl PatternEntry {
    fn find(&self, key: &str) -> Option<String> {
        let holds = |(regex, negated): &(Regex, bool)| regex.is_match(key) != *negated;
        if !self.conditions.iter().all(holds) {
            return None;
        }
        if self.negated {
            return (!self.pattern.is_match(key)).then(|| self.value.clone());
        }
        let groups = self.pattern.captures(key)?;
        Some(substitute(&self.value, &|n| {
            groups.get(n).map_or("", |group| group.as_str())
        }))
    }
}

/// A whole key as it is kept and looked for: in lower case, its domain in A-labels, as names are kept.
pub fn whole_key(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let domain_at = text.rfind('@').map_or(0, |at| at.saturating_add(1));
    let (head, domain) = text.split_at_checked(domain_at).unwrap_or(("", text));
    let (dot, name) = domain.strip_prefix('.').map_or(("", domain), |name| (".", name));
    match Domain::parse(name).filter(|_| !name.is_ascii()) {
        Some(name) => format!("{}{dot}{name}", head.to_lowercase()),
        None => text.to_lowercase(),
    }
}

/// Puts the groups into a value; `$$` is a dollar sign.
pub fn substitute<'a>(value: &str, group: &dyn Fn(usize) -> &'a str) -> String {
    let mut out = String::new();
    let mut rest = value;
    while let Some((plain, behind)) = rest.split_once('$') {
        out.push_str(plain);
        let (inside, after) = match behind.chars().next() {
            Some('$') => {
                out.push('$');
                rest = behind.get(1..).unwrap_or_default();
                continue;
            }
            Some('{') => behind
                .get(1..)
                .and_then(|text| text.split_once('}'))
                .unwrap_or((behind, "")),
            Some('(') => behind
                .get(1..)
                .and_then(|text| text.split_once(')'))
                .unwrap_or((behind, "")),
            _ => {
                let end = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
                behind.split_at_checked(end).unwrap_or((behind, ""))
            }
        };
        if let Ok(n) = inside.parse() {
            out.push_str(group(n));
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_one_in_either_case_and_with_either_label() {
        for (key, expected) in [
            ("Bob@Example.ORG", "bob@example.org"),
            ("bücher.example", "xn--bcher-kva.example"),
            (".BÜCHER.example", ".xn--bcher-kva.example"),
            ("Chef@Bücher.example", "chef@xn--bcher-kva.example"),
            ("@bücher.example", "@xn--bcher-kva.example"),
            ("ÉLISE@Example.org", "élise@example.org"),
            ("élise@", "élise@"),
            ("élise@x@bücher.example", "élise@x@xn--bcher-kva.example"),
            ("pas un nom: é", "pas un nom: é"),
        ] {
            assert_eq!(whole_key(key), expected, "{key}");
            assert_eq!(whole_key(expected), expected, "{key}");
        }
    }

    #[test]
    fn groups_are_put_into_values() {
        let groups = |n: usize| ["whole", "one", "two"].get(n).copied().unwrap_or("");
        for (value, expected) in [
            ("REJECT $1 and ${2}$(1)", "REJECT one and twoone"),
            ("costs $$5, $9.", "costs $5, ."),
            ("$", ""),
        ] {
            assert_eq!(substitute(value, &groups), expected, "{value}");
        }
    }
}
