//! What the configuration needs to know of the machine: its name and its networks.
//!
//! **Implements** `mynetworks_style` of postconf(5).
//! **Bugs** interfaces are read from Linux' /proc (from /proc/self/net, which a sandbox with ProcSubset=pid leaves); elsewhere only the loopback networks are known.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What the machine is like; tests make their own.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The system's host name, the default of `myhostname`.
    pub hostname: String,
    /// Own addresses, each with the prefix length of its network; loopback included.
    pub interfaces: Vec<IpNet>,
    /// Whether the kernel speaks IPv6, so that listening on `[::]` can succeed.
    pub ipv6: bool,
    /// Whether the files that the configuration names are looked at.
    pub check_files: bool,
    /// Bundles and directories of the public CAs of the system.
    pub public_ca_bundles: Vec<PathBuf>,
}

/// Where distributions keep the public CAs.
const PUBLIC_CA_BUNDLES: [&str; 10] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/certs/ca-bundle.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
    "/usr/share/ssl/certs/ca-bundle.crt",
    "/etc/ssl/certs",
    "/etc/pki/tls/certs",
];

impl Environment {
    /// This machine.
    pub fn of_system() -> Self {
        let hostname = nix::unistd::gethostname().map_or_else(|_| String::new(), |name| name.to_string_lossy().into());
        let mut interfaces = ipv4_interfaces(
            &read("/proc/self/net/fib_trie").unwrap_or_default(),
            &read("/proc/self/net/route").unwrap_or_default(),
        );
        let ipv6 = read("/proc/self/net/if_inet6");
        interfaces.extend(ipv6_interfaces(ipv6.as_deref().unwrap_or_default()));
        Self {
            hostname: hostname.trim().to_ascii_lowercase(),
            interfaces,
            ipv6: ipv6.is_some_and(|text| !text.trim().is_empty()),
            check_files: true,
            public_ca_bundles: PUBLIC_CA_BUNDLES.iter().map(PathBuf::from).collect(),
        }
    }

    /// `mynetworks` by `mynetworks_style`; `None` when the networks of this machine are not known.
    pub fn networks(&self, style: &str) -> Option<Vec<IpNet>> {
        let mut networks: Vec<IpNet> = vec![
            Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8).into(),
            Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128).into(),
        ];
        let own: Vec<&IpNet> = self
            .interfaces
            .iter()
            .filter(|interface| !interface.addr().is_loopback())
            .collect();
        if own.is_empty() && style != "host" {
            return None;
        }
        for interface in own {
            let network = match style {
                "host" => IpNet::from(interface.addr()),
                "class" => class_of(interface),
                _ => interface.trunc(),
            };
            if !networks.contains(&network) {
                networks.push(network);
            }
        }
        Some(networks)
    }
}

/// The class A, B or C network; IPv6 has no classes, so its network is the interface's.
fn class_of(interface: &IpNet) -> IpNet {
    match interface.addr() {
        IpAddr::V4(address) => {
            let prefix = match address.octets()[0] {
                0..=127 => 8,
                128..=191 => 16,
                _ => 24,
            };
            IpNet::V4(Ipv4Net::new_assert(address, prefix).trunc())
        }
        IpAddr::V6(_) => interface.trunc(),
    }
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// Own IPv4 addresses are the `/32 host LOCAL` leaves of the trie; connected routes give their prefix lengths.
fn ipv4_interfaces(trie: &str, routes: &str) -> Vec<IpNet> {
    let connected: Vec<Ipv4Net> = routes.lines().skip(1).filter_map(connected_route).collect();
    let mut found: Vec<IpNet> = Vec::new();
    let mut leaf: Option<Ipv4Addr> = None;
    for line in trie.lines() {
        if let Some(address) = line.trim().strip_prefix("|-- ") {
            leaf = address.parse().ok();
        } else if line.trim() == "/32 host LOCAL"
            && let Some(address) = leaf
        {
            let prefix = connected
                .iter()
                .filter(|route| route.contains(&address))
                .map(Ipv4Net::prefix_len)
                .max();
            let network = IpNet::V4(Ipv4Net::new_assert(address, prefix.unwrap_or(32)));
            if !found.contains(&network) {
                found.push(network);
            }
        }
    }
    found
}

/// A line of /proc/net/route whose gateway is zero: addresses are hexadecimal in the machine's order.
fn connected_route(line: &str) -> Option<Ipv4Net> {
    let mut fields = line.split_whitespace().skip(1);
    let address = |text: &str| {
        let number = u32::from_str_radix(text, 16).ok()?;
        Some(Ipv4Addr::from(number.to_ne_bytes()))
    };
    let destination = address(fields.next()?)?;
    let gateway = address(fields.next()?)?;
    let mask = address(fields.nth(4)?)?;
    let network = Ipv4Net::with_netmask(destination, mask).ok()?;
    (gateway.is_unspecified() && network.prefix_len() > 0).then_some(network)
}

/// A line of /proc/net/if_inet6: address, interface index, prefix length, scope, flags, name.
/// Link-local addresses are left out: every host of the link has one.
fn ipv6_interfaces(text: &str) -> Vec<IpNet> {
    let interface = |line: &str| {
        let mut fields = line.split_whitespace();
        let address = u128::from_str_radix(fields.next()?, 16).ok()?;
        let prefix = u8::from_str_radix(fields.nth(1)?, 16).ok()?;
        let address = Ipv6Addr::from(address);
        let network = Ipv6Net::new(address, prefix).ok()?;
        (!address.is_unicast_link_local()).then_some(IpNet::V6(network))
    };
    text.lines().filter_map(interface).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_address_takes_prefix_of_its_connected_route() {
        let trie = "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 127.0.0.1\n        /32 host LOCAL\n     \
                    |-- 192.0.2.7\n        /32 host LOCAL\n     |-- 192.0.2.255\n        /32 link BROADCAST\n";
        let number = |octets: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(octets));
        let routes = format!(
            "Iface\tDestination\tGateway\nlan\t{}\t00000000\t0001\t0\t0\t0\t{}\t0\t0\t0\n",
            number([192, 0, 2, 0]),
            number([255, 255, 255, 0])
        );
        let found: Vec<String> = ipv4_interfaces(trie, &routes).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["127.0.0.1/32", "192.0.2.7/24"]);
    }

    #[test]
    fn ipv6_addresses_are_read_without_link_local_ones() {
        let text =
            "20010db8000000000000000000000005 02 40 00 80 lan\nfe800000000000000000000000000001 02 40 20 80 lan\n";
        let found: Vec<String> = ipv6_interfaces(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["2001:db8::5/64"]);
    }

    #[test]
    fn networks_follow_the_style() {
        let environment = Environment {
            hostname: "relay.example.org".into(),
            interfaces: vec!["127.0.0.1/8".parse().unwrap(), "172.16.3.7/24".parse().unwrap()],
            ipv6: true,
            check_files: false,
            public_ca_bundles: Vec::new(),
        };
        let last = |style: &str| environment.networks(style).unwrap().last().unwrap().to_string();
        assert_eq!(last("host"), "172.16.3.7/32");
        assert_eq!(last("subnet"), "172.16.3.0/24");
        assert_eq!(last("class"), "172.16.0.0/16");
    }
}
