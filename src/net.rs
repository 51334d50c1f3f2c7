//! Networks and endpoints as a postmaster writes them: CIDR lists, `[host]:port`, listen addresses.
//!
//! **Implements** the notations of `mynetworks` and `relayhost` in postconf(5).
//! **Does not** resolve names or open sockets.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// A set of networks; an address is inside when any of them contains it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CidrSet(Vec<IpNet>);

/// Why a text is not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// Not an address with an optional prefix length.
    #[error("expected an address or a network such as \"192.0.2.0/24\" or \"[2001:db8::]/32\"")]
    Syntax,
    /// Bits beyond the prefix length are set, as Postfix refuses too.
    #[error("the host bits are not zero; write \"{0}\"")]
    HostBits(String),
}

impl CidrSet {
    /// The set of these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether the address, or the IPv4 address mapped into it, lies in one of the networks.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.matching(address).is_some()
    }

    /// The first network that contains the address.
    pub fn matching(&self, address: IpAddr) -> Option<IpNet> {
        let address = canonical(address);
        self.0.iter().find(|network| network.contains(&address)).copied()
    }

    /// The networks in the order given.
    pub fn networks(&self) -> &[IpNet] {
        &self.0
    }
}

/// Reads one network in Postfix's notation; IPv6 may stand in brackets.
///
/// # Errors
/// [`CidrError`] on bad syntax or host bits that are not zero.
pub fn parse_network(text: &str) -> Result<IpNet, CidrError> {
    let plain: String = text.trim().chars().filter(|c| !matches!(c, '[' | ']')).collect();
    let network = if let Ok(address) = plain.parse::<IpAddr>() {
        IpNet::from(address)
    } else {
        plain.parse::<IpNet>().map_err(|_| CidrError::Syntax)?
    };
    if network.addr() != network.network() {
        return Err(CidrError::HostBits(network.trunc().to_string()));
    }
    Ok(network)
}

/// An IPv4 address mapped into IPv6 as IPv4, everything else as it is.
pub fn canonical(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// A next hop in Postfix's `relayhost` notation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// A host or domain name in lower case, or an address without brackets.
    pub host: String,
    /// The port; 25 unless written.
    pub port: u16,
    /// Whether brackets turned the MX lookup off (an address never has one).
    pub mx_lookup: bool,
}

/// Why a text is not a next hop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected \"[host]:port\", \"[host]\", \"host:port\", \"host\" or \"[::1]:25\"")]
pub struct NextHopError;

impl std::str::FromStr for NextHop {
    type Err = NextHopError;

    fn from_str(text: &str) -> Result<Self, NextHopError> {
        let text = text.trim();
        let (host, port, bracketed) = if let Some(rest) = text.strip_prefix('[') {
            let (host, tail) = rest.split_once(']').ok_or(NextHopError)?;
            let port = if tail.is_empty() {
                None
            } else {
                Some(tail.strip_prefix(':').ok_or(NextHopError)?)
            };
            (host, port, true)
        } else if text.parse::<Ipv6Addr>().is_ok() {
            (text, None, true)
        } else if let Some((host, port)) = text.rsplit_once(':') {
            (host, Some(port), false)
        } else {
            (text, None, false)
        };
        let port = match port {
            None | Some("smtp") => 25,
            Some("submission") => 587,
            Some("submissions" | "smtps") => 465,
            Some(number) => number.parse().ok().filter(|port| *port != 0).ok_or(NextHopError)?,
        };
        let host = host
            .strip_prefix("IPv6:")
            .unwrap_or(host)
            .trim_end_matches('.')
            .to_ascii_lowercase();
        let is_address = host.parse::<IpAddr>().is_ok();
        let is_name = !host.is_empty()
            && host.len() <= 253
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
        if is_address || is_name {
            Ok(Self {
                mx_lookup: !(bracketed || is_address),
                host,
                port,
            })
        } else {
            Err(NextHopError)
        }
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.mx_lookup, self.port) {
            (true, 25) => write!(f, "{}", self.host),
            (true, port) => write!(f, "{}:{port}", self.host),
            (false, 25) => write!(f, "[{}]", self.host),
            (false, port) => write!(f, "[{}]:{port}", self.host),
        }
    }
}

/// Reads a listen address: `0.0.0.0:25`, `[::]:587`, `127.0.0.1:2525`.
///
/// # Errors
/// The standard library's, when the text is not ADDRESS:PORT.
pub fn parse_listen(text: &str) -> Result<SocketAddr, std::net::AddrParseError> {
    text.trim().parse()
}

/// Reads the address of a name server: `192.0.2.53`, `[2001:db8::53]:5353`. The port is 53 unless written; 0 is none.
pub fn parse_name_server(text: &str) -> Option<SocketAddr> {
    let text = text.trim();
    let plain = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = plain
        .unwrap_or(text)
        .parse()
        .map(|address| SocketAddr::new(address, 53));
    address
        .or_else(|_| text.parse())
        .ok()
        .filter(|server: &SocketAddr| server.port() != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_with_host_bits_is_refused_with_the_right_one() {
        assert_eq!(
            parse_network("192.0.2.1/24"),
            Err(CidrError::HostBits("192.0.2.0/24".into()))
        );
        assert_eq!(parse_network("[::1]/128").unwrap().to_string(), "::1/128");
        assert!(parse_network("campus").is_err());
    }

    #[test]
    fn mapped_ipv4_address_is_found_in_ipv4_network() {
        let set = CidrSet::new(vec![parse_network("127.0.0.0/8").unwrap()]);
        assert!(set.contains("::ffff:127.0.0.1".parse().unwrap()));
        assert!(!set.contains("::1".parse().unwrap()));
    }

    #[test]
    fn name_server_is_read_with_and_without_port() {
        for (text, server) in [
            ("192.0.2.53", "192.0.2.53:53"),
            ("192.0.2.53:5353", "192.0.2.53:5353"),
            ("2001:db8::53", "[2001:db8::53]:53"),
            ("[2001:db8::53]", "[2001:db8::53]:53"),
            ("[2001:db8::53]:5353", "[2001:db8::53]:5353"),
        ] {
            assert_eq!(parse_name_server(text), server.parse().ok(), "{text}");
        }
        for text in ["", "dns.example.org", "192.0.2.53:0", "192.0.2.53:", "[192.0.2.53"] {
            assert_eq!(parse_name_server(text), None, "{text}");
        }
    }

    #[test]
    fn relayhost_notations_are_read() {
        for (text, host, port, mx_lookup) in [
            ("[smtp.example.net]:587", "smtp.example.net", 587, false),
            ("smtp.example.net", "smtp.example.net", 25, true),
            ("smtp.example.net:2525", "smtp.example.net", 2525, true),
            ("[::1]:25", "::1", 25, false),
            ("[IPv6:2001:db8::1]", "2001:db8::1", 25, false),
            ("127.0.0.1:2526", "127.0.0.1", 2526, false),
            ("[Mail]", "mail", 25, false),
        ] {
            assert_eq!(
                text.parse(),
                Ok(NextHop {
                    host: host.into(),
                    port,
                    mx_lookup
                }),
                "{text}"
            );
        }
        for text in ["", "[host", "host:0", "host:x", "[host]25", "a b"] {
            assert_eq!(text.parse::<NextHop>(), Err(NextHopError), "{text}");
        }
    }
}
