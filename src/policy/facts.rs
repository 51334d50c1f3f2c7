//! What a restriction may look at.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::question::Answers;
use super::reached::Named;
use super::stage::Stage;
use super::table::Table;
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
    /// The mechanism that proved it, or XCLIENT; empty without a login.
    pub login_mechanism: &'a str,
    /// The value of AUTH= of MAIL, as it was written (`sasl_sender`).
    pub login_sender: &'a str,
    /// Where the peer has reached us, when that is known.
    pub server: Option<SocketAddr>,
    /// Whether the places for sessions become scarce (`stress`).
    pub is_stressed: bool,
    /// MAIL FROM, from MAIL on.
    pub reverse_path: Option<&'a ReversePath>,
    /// RCPT TO, at RCPT.
    pub forward_path: Option<&'a ForwardPath>,
    /// Where the dialogue stands.
    pub stage: Stage,
    /// The peer's port; 0 when it is not known.
    pub peer_port: u16,
    /// The peer's name that leads back to its address, where it is known already.
    pub peer_name: Option<&'a Domain>,
    /// Whether EHLO was said, and not HELO.
    pub is_extended: bool,
    /// Protocol, cipher and the bits of its key, within TLS.
    pub tls: Option<(&'a str, &'a str, u16)>,
    /// Names this transaction to policy services (`instance`).
    pub instance: &'a str,
    /// The queue id, once there is a draft.
    pub queue_id: &'a str,
    /// The size that MAIL declares, or that of the mail data at its end, octets.
    pub size_octets: Option<u64>,
    /// Recipients taken so far.
    pub recipients: usize,
    /// Whether the peer sent more than it may before it was answered (`reject_unauth_pipelining`).
    pub pipelined_unauthorised: bool,
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
            login_mechanism: "",
            login_sender: "",
            server: None,
            is_stressed: false,
            reverse_path: None,
            forward_path: None,
            stage: Stage::Connect,
            peer_port: 0,
            peer_name: None,
            is_extended: false,
            tls: None,
            instance: "",
            queue_id: "",
            size_octets: None,
            recipients: 0,
            pipelined_unauthorised: false,
            answers: Answers::NONE,
            now_unix_seconds,
        }
    }
}

/// The lists that restrictions refer to.
#[derive(Clone, Debug)]
pub struct Lists {
    /// `mynetworks`.
    pub mynetworks: CidrSet,
    /// `relay_domains` together with `mydestination`: where mail is taken for anybody.
    pub destinations: Vec<DestinationPattern>,
    /// `relay_clientcerts`: SHA-256 fingerprints, upper-case hexadecimal with colons.
    pub relay_clientcerts: Vec<String>,
    /// The addresses of this machine, for `permit_inet_interfaces`.
    pub local_addresses: Vec<IpAddr>,
    /// Where the listener listens, for policy services that ask of nobody's session (`explain`).
    pub server: Option<SocketAddr>,
    /// `relay_recipient_maps`: who exists in `relay_domains`; without any, everybody.
    pub relay_recipients: Vec<Arc<Table>>,
    /// `smtpd_sender_login_maps`: which logins own a sender's address.
    pub sender_logins: Vec<Arc<Table>>,
    /// `smtpd_reject_unlisted_recipient`.
    pub rejects_unlisted_recipient: bool,
    /// `smtpd_reject_unlisted_sender`.
    pub rejects_unlisted_sender: bool,
    /// Whether a domain in an access table means its sub-domains only with a leading dot: `smtpd_access_maps` is not in
    /// `parent_domain_matches_subdomains`.
    pub subdomains_need_a_dot: bool,
    /// `smtpd_null_access_lookup_key`: what stands for the null reverse-path in access tables.
    pub null_sender_key: String,
    /// What tables and policy services may name: `smtpd_restriction_classes`, and single restrictions.
    pub named: Named,
    /// The codes of refusals.
    pub codes: ReplyCodes,
}

impl Default for Lists {
    /// Nothing, with Postfix's codes.
    fn default() -> Self {
        Self {
            mynetworks: CidrSet::default(),
            destinations: Vec::new(),
            relay_clientcerts: Vec::new(),
            local_addresses: Vec::new(),
            server: None,
            relay_recipients: Vec::new(),
            sender_logins: Vec::new(),
            rejects_unlisted_recipient: false,
            rejects_unlisted_sender: false,
            subdomains_need_a_dot: false,
            null_sender_key: "<>".into(),
            named: Named::new(),
            codes: ReplyCodes::default(),
        }
    }
}

impl Lists {
    /// Whether mail to this domain is ours to take.
    pub fn is_destination(&self, domain: &Domain) -> bool {
        self.destinations.iter().any(|pattern| pattern.matches(domain))
    }
}

/// The directives that end in `_reject_code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyCodes {
    /// `access_map_reject_code`.
    pub access_map: u16,
    /// `unknown_client_reject_code`.
    pub unknown_client: u16,
    /// `unknown_address_reject_code`.
    pub unknown_address: u16,
    /// `unknown_hostname_reject_code`.
    pub unknown_hostname: u16,
    /// `maps_rbl_reject_code`.
    pub dns_list: u16,
    /// `relay_domains_reject_code`.
    pub relay_domains: u16,
    /// `invalid_hostname_reject_code`.
    pub invalid_hostname: u16,
    /// `non_fqdn_reject_code`.
    pub non_fqdn: u16,
    /// `unlisted_recipient_reject_code`: Postfix's `unknown_relay_recipient_reject_code`.
    pub unlisted: u16,
    /// `plaintext_reject_code`.
    pub plaintext: u16,
    /// `access_map_defer_code`.
    pub access_map_defer: u16,
    /// `multi_recipient_bounce_reject_code`.
    pub multi_recipient_bounce: u16,
    /// `reject_code`: of the word `reject`.
    pub reject: u16,
    /// `defer_code`: of the word `defer`.
    pub defer: u16,
}

impl Default for ReplyCodes {
    /// Those of Postfix.
    fn default() -> Self {
        Self {
            access_map: 554,
            unknown_client: 450,
            unknown_address: 450,
            unknown_hostname: 450,
            dns_list: 554,
            relay_domains: 554,
            invalid_hostname: 501,
            non_fqdn: 504,
            unlisted: 550,
            plaintext: 450,
            access_map_defer: 450,
            multi_recipient_bounce: 550,
            reject: 554,
            defer: 450,
        }
    }
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
