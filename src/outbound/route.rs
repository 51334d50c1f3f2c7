//! Where a recipient's mail goes: the route, and the targets that DNS answers make of it.
//!
//! **Implements** RFC 5321 section 5.1 (MX order, implicit MX, the own host cut off), RFC 7505 (null MX), `relayhost`,
//! `smtp_mx_address_limit` and `inet_protocols` of postconf(5).
//! **Does not** ask the DNS or draw random numbers: answers and a seed come in as values.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::settings::OutboundSettings;
use crate::mail::outcome::{Outcome, Report};
use crate::net::canonical;
use crate::wire::domain::Host;
use crate::wire::path::ForwardPath;

/// The next hop of a recipient, before DNS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// A name.
    Name {
        /// A domain or a host, lower case.
        name: String,
        /// The port.
        port: u16,
        /// Whether MX records are asked for.
        mx_lookup: bool,
    },
    /// An address: nothing to ask.
    Address(SocketAddr),
}

/// A mail exchanger as the DNS names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailExchanger {
    /// Lower is asked first.
    pub preference: u16,
    /// Lower case without a trailing dot; empty for the root, which is the null MX.
    pub host: String,
}

/// Why a DNS lookup gave no records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The name does not exist.
    #[error("Host not found")]
    NotFound,
    /// The name exists and has no record of the type.
    #[error("Host found but no data record of requested type")]
    NoRecords,
    /// No answer, or a broken one: may pass.
    #[error("Host not found, try again ({0})")]
    Temporary(String),
}

/// A host to try, with its addresses in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name, or its address in text.
    pub host: String,
    /// Where it listens; never empty.
    pub addresses: Vec<SocketAddr>,
}

/// Why there is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// RFC 7505: the domain takes no mail; 5.1.10.
    #[error("Domain {0} does not accept mail (nullMX)")]
    NullMx(String),
    /// The best mail exchanger left is this relay; 5.4.6.
    #[error("mail for {0} loops back to myself")]
    Loop(String),
    /// The DNS denies the name or its addresses; 5.4.4.
    #[error("Host or domain name not found. Name service error for name={name}: {error}")]
    NotFound {
        /// The name asked for.
        name: String,
        /// The answer.
        error: LookupError,
    },
    /// The DNS does not answer; 4.4.3.
    #[error("Host or domain name not found. Name service error for name={name}: {error}")]
    Temporary {
        /// The name asked for.
        name: String,
        /// The answer.
        error: LookupError,
    },
    /// The relayhost cannot be used. As in Postfix a fault of the configuration, which must not bounce mail; 4.3.5.
    #[error("relayhost configuration problem: {0}")]
    Relayhost(String),
    /// The only addresses are of a family that `inet_protocols` switches off; 4.4.4.
    #[error("no address of {0} is of an enabled protocol (inet_protocols)")]
    Protocol(String),
}

impl RouteError {
    /// The RFC 3463 code.
    pub const fn status(&self) -> &'static str {
        match self {
            Self::NullMx(_) => "5.1.10",
            Self::Loop(_) => "5.4.6",
            Self::NotFound { .. } => "5.4.4",
            Self::Temporary { .. } => "4.4.3",
            Self::Protocol(_) => "4.4.4",
            Self::Relayhost(_) => "4.3.5",
        }
    }

    /// Whether another attempt cannot help.
    pub fn is_permanent(&self) -> bool {
        self.status().starts_with('5')
    }

    /// The same where it befalls a relayhost: never permanent.
    #[must_use]
    pub fn of_relayhost(self) -> Self {
        if self.is_permanent() {
            Self::Relayhost(self.to_string())
        } else {
            self
        }
    }

    /// What it means for a recipient.
    pub fn outcome(&self) -> Outcome {
        let report = Report {
            remote: String::new(),
            status: self.status().to_owned(),
            text: self.to_string(),
            from_remote: false,
        };
        if self.is_permanent() {
            Outcome::Failed(report)
        } else {
            Outcome::Deferred(report)
        }
    }
}

/// The scheduling key of a recipient: the relayhost as `relayhost` writes it, else the domain, else the literal.
pub fn destination(settings: &OutboundSettings, path: &ForwardPath) -> String {
    match (&settings.relayhost, path) {
        (Some(relayhost), _) => relayhost.to_string(),
        (None, ForwardPath::Mailbox(mailbox)) => mailbox.host.to_string(),
        (None, ForwardPath::Postmaster) => settings.mydomain.to_ascii_lowercase(),
    }
}

impl Route {
    /// The route of a recipient under these settings.
    pub fn of(settings: &OutboundSettings, path: &ForwardPath) -> Self {
        if let Some(relayhost) = &settings.relayhost {
            return match relayhost.host.parse::<IpAddr>() {
                Ok(address) => Self::Address(SocketAddr::new(address, relayhost.port)),
                Err(_) => Self::Name {
                    name: relayhost.host.clone(),
                    port: relayhost.port,
                    mx_lookup: relayhost.mx_lookup,
                },
            };
        }
        let name = match path {
            ForwardPath::Postmaster => settings.mydomain.to_ascii_lowercase(),
            ForwardPath::Mailbox(mailbox) => match &mailbox.host {
                Host::Name(domain) => domain.as_str().to_owned(),
                Host::Literal(address) => return Self::Address(SocketAddr::new(*address, 25)),
            },
        };
        Self::Name {
            name,
            port: 25,
            mx_lookup: true,
        }
    }

    /// The next-hop name that `smtp_tls_security_level = secure` looks for in the certificate.
    pub fn name(&self) -> String {
        match self {
            Self::Name { name, .. } => name.clone(),
            Self::Address(address) => address.ip().to_string(),
        }
    }
}

/// The hosts to ask for addresses, best first, from the answer to the MX lookup of `domain`; hosts of one preference
/// stand in an order drawn from `seed`. This relay's own name, and all that is not better than it, is cut off.
///
/// # Errors
/// [`RouteError`]; no MX record at all is none: the domain itself is the host then.
pub fn exchangers(
    settings: &OutboundSettings,
    domain: &str,
    answer: Result<Vec<MailExchanger>, LookupError>,
    seed: u64,
) -> Result<Vec<MailExchanger>, RouteError> {
    let mut found = match answer {
        Ok(found) => found,
        Err(LookupError::NoRecords) => Vec::new(),
        Err(error) => return Err(lookup_failed(domain, error)),
    };
    // RFC 7505 section 3: "a single MX RR [..] with a zero-length label". Beside others it is nonsense to skip.
    let is_null = !found.is_empty() && found.iter().all(|exchanger| exchanger.host.is_empty());
    if is_null {
        return Err(RouteError::NullMx(domain.to_owned()));
    }
    found.retain(|exchanger| !exchanger.host.is_empty());
    if found.is_empty() {
        // RFC 5321 section 5.1: "the address is treated as if it was associated with an implicit MX RR, with a
        // preference of 0, pointing to that host."
        let host = domain.to_owned();
        found.push(MailExchanger { preference: 0, host });
    }
    shuffle(&mut found, seed);
    found.sort_by_key(|exchanger| exchanger.preference);
    let own = found
        .iter()
        .find(|exchanger| exchanger.host.eq_ignore_ascii_case(&settings.myhostname))
        .map(|exchanger| exchanger.preference);
    if let Some(own) = own {
        found.retain(|exchanger| exchanger.preference < own);
    }
    if found.is_empty() {
        return Err(RouteError::Loop(domain.to_owned()));
    }
    Ok(found)
}

fn lookup_failed(name: &str, error: LookupError) -> RouteError {
    let name = name.to_owned();
    match error {
        LookupError::Temporary(_) => RouteError::Temporary { name, error },
        LookupError::NotFound | LookupError::NoRecords => RouteError::NotFound { name, error },
    }
}

/// The targets of a route, best first: exchangers with the answers to their address lookups. A host that has an
/// address of ours is cut off with all that is not better (`is_local` tells for `0.0.0.0` and `::` among our
/// endpoints). IPv6 and IPv4 take turns; at most `mx_addresses_max` addresses in all.
///
/// # Errors
/// [`RouteError`] when no address is left.
pub fn targets(
    settings: &OutboundSettings,
    route: &Route,
    answers: &[(MailExchanger, Result<Vec<IpAddr>, LookupError>)],
    is_local: &dyn Fn(IpAddr) -> bool,
) -> Result<Vec<Target>, RouteError> {
    let port = match route {
        Route::Name { port, .. } => *port,
        Route::Address(address) => address.port(),
    };
    let is_own = |address: &IpAddr| is_own_endpoint(settings, SocketAddr::new(*address, port), is_local);
    let own = answers
        .iter()
        .filter(|(_, answer)| answer.as_ref().is_ok_and(|found| found.iter().any(is_own)))
        .map(|(exchanger, _)| exchanger.preference)
        .min();
    let mut left = room(settings.mx_addresses_max);
    let mut found = Vec::new();
    for (exchanger, answer) in answers {
        let Ok(addresses) = answer else { continue };
        if left == 0 || own.is_some_and(|own| exchanger.preference >= own) {
            break;
        }
        let addresses: Vec<SocketAddr> = in_turns(settings, addresses)
            .into_iter()
            .take(left)
            .map(|address| SocketAddr::new(address, port))
            .collect();
        if !addresses.is_empty() {
            left = left.saturating_sub(addresses.len());
            let host = exchanger.host.clone();
            found.push(Target { host, addresses });
        }
    }
    if !found.is_empty() {
        return Ok(found);
    }
    if own.is_some() {
        return Err(RouteError::Loop(route.name()));
    }
    Err(why_nothing(route, answers))
}

/// A limit of 0 is none, as in Postfix.
const fn room(limit: usize) -> usize {
    if limit == 0 { usize::MAX } else { limit }
}

/// Temporary beats permanent: as long as one exchanger may yet be found, mail waits.
fn why_nothing(route: &Route, answers: &[(MailExchanger, Result<Vec<IpAddr>, LookupError>)]) -> RouteError {
    let failures = || {
        answers
            .iter()
            .filter_map(|(exchanger, answer)| Some((exchanger, answer.as_ref().err()?)))
    };
    failures()
        .find(|(_, error)| matches!(error, LookupError::Temporary(_)))
        .or_else(|| failures().next())
        .map_or_else(
            || RouteError::Protocol(route.name()),
            |(exchanger, error)| lookup_failed(&exchanger.host, error.clone()),
        )
}

/// Whether an address is one that this relay listens on.
fn is_own_endpoint(settings: &OutboundSettings, address: SocketAddr, is_local: &dyn Fn(IpAddr) -> bool) -> bool {
    let ip = match canonical(address.ip()) {
        // Connecting to the unspecified address reaches this machine.
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    settings.own_endpoints.iter().any(|own| {
        let listens_on = canonical(own.ip());
        // `[::]` may take IPv4 as well, so it stands for every local address; `0.0.0.0` for IPv4 only.
        let any = listens_on.is_unspecified() && (listens_on.is_ipv6() || ip.is_ipv4());
        own.port() == address.port() && (listens_on == ip || (any && (ip.is_loopback() || is_local(ip))))
    })
}

/// The addresses of enabled protocols, IPv6 and IPv4 alternating, IPv6 first.
fn in_turns(settings: &OutboundSettings, addresses: &[IpAddr]) -> Vec<IpAddr> {
    let mut v6 = addresses.iter().filter(|address| settings.ipv6 && address.is_ipv6());
    let mut v4 = addresses.iter().filter(|address| settings.ipv4 && address.is_ipv4());
    let mut out = Vec::new();
    loop {
        let before = out.len();
        out.extend(v6.next());
        out.extend(v4.next());
        if out.len() == before {
            return out;
        }
    }
}

/// Fisher and Yates, with the numbers of SplitMix64.
fn shuffle(items: &mut [MailExchanger], seed: u64) {
    let mut state = seed;
    for last in (1..items.len()).rev() {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        let bound = u64::try_from(last).unwrap_or(u64::MAX).saturating_add(1);
        items.swap(last, usize::try_from(mixed % bound).unwrap_or(last));
    }
}
