//! Networks that hold a large part of the Internet.

use ipnet::IpNet;

/// Prefixes shorter than these hold more than anybody's networks: a registry hands out a /8 at most, a /16 of IPv6.
const IPV4_PREFIX_MIN: u8 = 8;
const IPV6_PREFIX_MIN: u8 = 16;
/// Unique local addresses (RFC 4193) are nobody's on the Internet, however many they are.
const UNIQUE_LOCAL: [u8; 2] = [0xfc, 0xfd];

/// Whether a network is larger than anybody's.
pub fn is_of_the_world(network: &IpNet) -> bool {
    match network {
        IpNet::V4(network) => network.prefix_len() < IPV4_PREFIX_MIN,
        IpNet::V6(network) => {
            let [first, ..] = network.network().octets();
            let is_local = network.prefix_len() >= 7 && UNIQUE_LOCAL.contains(&first);
            network.prefix_len() < IPV6_PREFIX_MIN && !is_local
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_of_the_world;

    #[test]
    fn network_larger_than_any_campus_is_of_the_world() {
        for network in [
            "0.0.0.0/0",
            "0.0.0.0/1",
            "2.0.0.0/7",
            "::/0",
            "2000::/3",
            "f000::/4",
            "2a00::/12",
        ] {
            assert!(is_of_the_world(&network.parse().expect("a network")), "{network}");
        }
        for network in [
            "10.0.0.0/8",
            "193.0.0.0/8",
            "fc00::/7",
            "fd00::/8",
            "fe80::/64",
            "2001::/16",
        ] {
            assert!(!is_of_the_world(&network.parse().expect("a network")), "{network}");
        }
    }
}
