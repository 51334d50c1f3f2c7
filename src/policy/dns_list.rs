//! DNS lists as `reject_rbl_client` and its kin name them.
//!
//! **Implements** `zone=127.0.0.[2..11]`: which answers of a list count.

use std::fmt;
use std::net::IpAddr;

/// One DNS list in a restriction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsList {
    /// What is looked up there, and what a listing means.
    pub use_: ListUse,
    /// The list's domain.
    pub zone: String,
    /// The answers that count; `None` when every one does.
    pub filter: Option<AddressFilter>,
}

/// What is looked up in a list, and what a listing means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListUse {
    /// `reject_rbl_client`.
    RejectClient,
    /// `permit_dnswl_client`.
    PermitClient,
    /// `reject_rhsbl_client`.
    RejectClientName,
    /// `permit_rhswl_client`.
    PermitClientName,
    /// `reject_rhsbl_reverse_client`.
    RejectReverseName,
    /// `reject_rhsbl_helo`.
    RejectHello,
    /// `reject_rhsbl_sender`.
    RejectSender,
    /// `reject_rhsbl_recipient`.
    RejectRecipient,
}

impl ListUse {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::RejectClient,
        Self::PermitClient,
        Self::RejectClientName,
        Self::PermitClientName,
        Self::RejectReverseName,
        Self::RejectHello,
        Self::RejectSender,
        Self::RejectRecipient,
    ];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RejectClient => "reject_rbl_client",
            Self::PermitClient => "permit_dnswl_client",
            Self::RejectClientName => "reject_rhsbl_client",
            Self::PermitClientName => "permit_rhswl_client",
            Self::RejectReverseName => "reject_rhsbl_reverse_client",
            Self::RejectHello => "reject_rhsbl_helo",
            Self::RejectSender => "reject_rhsbl_sender",
            Self::RejectRecipient => "reject_rhsbl_recipient",
        }
    }

    /// The use of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Whether a listing permits.
    pub const fn permits(self) -> bool {
        matches!(self, Self::PermitClient | Self::PermitClientName)
    }
}

/// An IPv4 address of which each octet is one of some ranges: `127.0.0.[2..11;255]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressFilter {
    octets: [Vec<(u8, u8)>; 4],
    text: String,
}

impl AddressFilter {
    /// Reads the text behind `=`; `None` when it is not such a pattern.
    pub fn parse(text: &str) -> Option<Self> {
        let mut octets: [Vec<(u8, u8)>; 4] = Default::default();
        let mut rest = text;
        for (n, ranges) in octets.iter_mut().enumerate() {
            let part = if let Some(open) = rest.strip_prefix('[') {
                let (inside, behind) = open.split_once(']')?;
                rest = behind;
                inside
            } else {
                let end = rest.find('.').unwrap_or(rest.len());
                let (part, behind) = rest.split_at_checked(end)?;
                rest = behind;
                part
            };
            *ranges = part.split(';').map(range).collect::<Option<_>>()?;
            if n < 3 {
                rest = rest.strip_prefix('.')?;
            }
        }
        rest.is_empty().then(|| Self {
            octets,
            text: text.to_owned(),
        })
    }

    /// Whether an answer of the list counts.
    pub fn matches(&self, address: IpAddr) -> bool {
        let IpAddr::V4(address) = address else { return false };
        let within =
            |(octet, ranges): (u8, &Vec<(u8, u8)>)| ranges.iter().any(|(from, to)| (*from..=*to).contains(&octet));
        address.octets().into_iter().zip(&self.octets).all(within)
    }
}

fn range(text: &str) -> Option<(u8, u8)> {
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    let number = |text: &str| {
        text.bytes()
            .all(|octet| octet.is_ascii_digit())
            .then(|| text.parse::<u8>().ok())?
    };
    let (from, to) = (number(from)?, number(to)?);
    (from <= to).then_some((from, to))
}

impl fmt::Display for DnsList {
    /// As it is written in the configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.use_.name(), self.zone)?;
        match &self.filter {
            Some(filter) => write!(f, "={}", filter.text),
            None => Ok(()),
        }
    }
}

/// The name under which an address stands in a list: its octets, or the nibbles of IPv6, from the last to the first.
pub fn reversed(address: IpAddr) -> String {
    let labels: Vec<String> = match address {
        IpAddr::V4(address) => address.octets().iter().rev().map(u8::to_string).collect(),
        IpAddr::V6(address) => {
            let octets = address.octets();
            let nibbles = octets.iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}")).collect()
        }
    };
    labels.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_the_answers_they_name() {
        let filter = AddressFilter::parse("127.0.0.[2..11;255]").unwrap();
        for (address, expected) in [
            ("127.0.0.2", true),
            ("127.0.0.11", true),
            ("127.0.0.255", true),
            ("127.0.0.12", false),
            ("127.0.1.2", false),
            ("::2", false),
        ] {
            assert_eq!(filter.matches(address.parse().unwrap()), expected, "{address}");
        }
        assert!(AddressFilter::parse("127.0.0.4").is_some());
        for bad in [
            "",
            "127.0.0",
            "127.0.0.256",
            "127.0.0.[5..2]",
            "127.0.0.[2",
            "127.0.0.2.3",
            "127.0.0.+2",
            "a.b.c.d",
            "127.0.0.",
        ] {
            assert_eq!(AddressFilter::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn addresses_are_reversed() {
        assert_eq!(reversed("192.0.2.1".parse().unwrap()), "1.2.0.192");
        let name = reversed("2001:db8::1".parse().unwrap());
        assert!(
            name.starts_with("1.0.0.0.") && name.ends_with(".8.b.d.0.1.0.0.2"),
            "{name}"
        );
    }
}
