//! Which records are wanted.

use std::net::SocketAddr;

use ipnet::IpNet;

use super::arguments::FilterArguments;
use crate::cli::point::point;
use crate::net::{self, CidrError};
use crate::observe::decision::{AttributeRecord, CertificateRecord, Decision, VerdictWord};
use crate::policy::name_filter::NameFilter;
use crate::time::Timestamp;

/// What a record must be; all must hold.
#[derive(Debug, Default)]
pub(super) struct Filter {
    subject: Vec<NameFilter>,
    issuer: Vec<NameFilter>,
    addresses: Vec<AddressFilter>,
    logins: Vec<String>,
    verdict: Option<VerdictWord>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

#[derive(Debug)]
enum AddressFilter {
    /// The peer is in this network.
    Peer(IpNet),
    /// Sender or recipient, letter case ignored; empty for the null sender.
    Mailbox(String),
    /// Sender or recipient is of this domain; with its `@`.
    Domain(String),
}

/// Whether older records need not be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    Yes,
    No,
    /// Before `--since`: all that follow are older still.
    TooOld,
}

impl Filter {
    /// # Errors
    /// In words that name the argument.
    pub(super) fn of(arguments: &FilterArguments, now: Timestamp) -> Result<Self, String> {
        let time = |name: &str, text: &Option<String>| {
            let read = text.as_ref().map(|text| point(text, now));
            read.transpose().map_err(|why| format!("--{name}: {why}"))
        };
        let addresses = arguments.address.iter().map(|text| AddressFilter::of(text));
        Ok(Self {
            subject: arguments.subject.iter().map(|text| NameFilter::of(text)).collect(),
            issuer: arguments.issuer.iter().map(|text| NameFilter::of(text)).collect(),
            addresses: addresses.collect::<Result<_, _>>()?,
            logins: arguments.login.clone(),
            verdict: arguments.verdict.map(super::arguments::VerdictArgument::word),
            since: time("since", &arguments.since)?,
            until: time("until", &arguments.until)?,
        })
    }

    pub(super) fn matches(&self, decision: &Decision) -> Match {
        if self.since.is_some() || self.until.is_some() {
            let Ok(at) = Timestamp::parse(&decision.time) else {
                return Match::No;
            };
            if self.since.is_some_and(|since| at < since) {
                return Match::TooOld;
            }
            if self.until.is_some_and(|until| at >= until) {
                return Match::No;
            }
        }
        let certificate = decision.certificate.as_ref();
        let names_match = |filters: &[NameFilter], name: fn(&CertificateRecord) -> (&str, &[AttributeRecord])| {
            let holds = |filter: &NameFilter| {
                certificate.is_some_and(|certificate| {
                    let (text, attributes) = name(certificate);
                    filter.matches(text, attributes.iter().map(|a| (a.oid.as_str(), a.value.as_str())))
                })
            };
            filters.iter().all(holds)
        };
        let holds = self.verdict.is_none_or(|verdict| verdict == decision.verdict)
            && names_match(&self.subject, |c| (&c.subject, &c.subject_attributes))
            && names_match(&self.issuer, |c| (&c.issuer, &c.issuer_attributes))
            && self.logins.iter().all(|login| decision.login.as_ref() == Some(login))
            && self.addresses.iter().all(|filter| filter.matches(decision));
        if holds { Match::Yes } else { Match::No }
    }
}

impl AddressFilter {
    fn of(text: &str) -> Result<Self, String> {
        match net::parse_network(text) {
            Ok(network) => return Ok(Self::Peer(network)),
            Err(why @ CidrError::HostBits(_)) => return Err(format!("--address {text}: {why}")),
            Err(CidrError::Syntax) => {}
        }
        let plain = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
        match plain.unwrap_or(text) {
            "" if plain.is_some() => Ok(Self::Mailbox(String::new())),
            domain if domain.starts_with('@') => Ok(Self::Domain(domain.to_ascii_lowercase())),
            mailbox if mailbox.contains('@') || mailbox.eq_ignore_ascii_case("postmaster") => {
                Ok(Self::Mailbox(mailbox.to_owned()))
            }
            _ => Err(format!(
                "--address {text}: expected a mail address, \"@\" and a domain, \"<>\", or an address or network of a peer"
            )),
        }
    }

    fn matches(&self, decision: &Decision) -> bool {
        let paths = || decision.reverse_path.iter().chain(&decision.forward_paths);
        match self {
            Self::Peer(network) => {
                let peer = decision.peer.parse::<SocketAddr>();
                peer.is_ok_and(|peer| network.contains(&net::canonical(peer.ip())))
            }
            Self::Mailbox(wanted) => paths().any(|path| path.eq_ignore_ascii_case(wanted)),
            Self::Domain(wanted) => paths().any(|path| path.to_ascii_lowercase().ends_with(wanted)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_address_is_named() {
        let wrong = |text: &str| AddressFilter::of(text).unwrap_err();
        assert!(wrong("192.0.2.1/24").contains("192.0.2.0/24"));
        assert!(wrong("alice").contains("expected a mail address"));
    }
}
