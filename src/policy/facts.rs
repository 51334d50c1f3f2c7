//! What a restriction may look at.

use std::net::IpAddr;

use super::question::Answers;
use crate::cert::identity::Identity;
use crate::net::CidrSet;
use crate::wire::domain::Domain;
use crate::wire::path::{ForwardPath, ReversePath};

/// A session at one stage, as the lists see it.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The peer's address, IPv4 mapped into IPv6 already undone.
    pub peer: IpAddr,
    /// The name given to HELO or EHLO.
    pub hello: &'a str,
    /// Who holds the session.
    pub identity: &'a Identity,
    /// The name that AUTH with a password proved.
    pub login: Option<&'a str>,
    /// MAIL FROM, from MAIL on.
    pub reverse_path: Option<&'a ReversePath>,
    /// RCPT TO, at RCPT.
    pub forward_path: Option<&'a ForwardPath>,
    /// What the outside world has said.
    pub answers: &'a Answers,
    /// Seconds since 1970, for the validity that a certificate has left.
    pub now_unix_seconds: i64,
}

impl<'a> Facts<'a> {
    /// What is known of whoever has just connected.
    pub fn new(peer: IpAddr, identity: &'a Identity, now_unix_seconds: i64) -> Self {
        Self {
            peer,
            hello: "",
            identity,
            login: None,
            reverse_path: None,
            forward_path: None,
            answers: Answers::NONE,
            now_unix_seconds,
        }
    }
}

/// The lists that restrictions refer to.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    /// `mynetworks`.
    pub mynetworks: CidrSet,
    /// `relay_domains` together with `mydestination`: where mail is taken for anybody.
    pub destinations: Vec<DestinationPattern>,
    /// `relay_clientcerts`: SHA-256 fingerprints, upper-case hexadecimal with colons.
    pub relay_clientcerts: Vec<String>,
}

/// An entry of `relay_domains`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationPattern {
    /// The domain.
    pub domain: Domain,
    /// Whether its sub-domains match too (`parent_domain_matches_subdomains`, or a leading dot).
    pub subdomains: bool,
}

impl DestinationPattern {
    /// Whether mail to this domain is ours to take.
    pub fn matches(&self, domain: &Domain) -> bool {
        *domain == self.domain || (self.subdomains && domain.is_within(&self.domain))
    }
}
