//! Domain names and address literals.
//!
//! **Implements** RFC 5321 sections 4.1.2 and 4.1.3, RFC 1123 section 2.1, RFC 5891 (U-labels, as UTS 46 reads them);
//! underscores are let through, as Postfix does. A name is kept with its A-labels alone, so that both spellings are one name
//! wherever names are compared, looked up or routed, and any host can be told it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A domain name in lower case, in A-labels, without a trailing dot, at most 255 octets, labels of 1 to 63.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(String);

impl Domain {
    /// Reads a domain name; U-labels become A-labels.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if !text.is_ascii() {
            let ascii = idna::domain_to_ascii_strict(text).ok()?;
            return ascii.is_ascii().then(|| Self::parse(&ascii))?;
        }
        let label_is_good = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        (text.len() <= 255 && text.split('.').all(label_is_good)).then(|| Self(text.to_ascii_lowercase()))
    }

    /// The name in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as people read it, in U-labels. The same as [`Domain::as_str`] where a label stands for none.
    pub fn to_unicode(&self) -> String {
        match idna::domain_to_unicode(&self.0) {
            (name, Ok(())) => name,
            (_, Err(_)) => self.0.clone(),
        }
    }

    /// Whether this is `other` or a sub-domain of it.
    pub fn is_within(&self, other: &Self) -> bool {
        self == other
            || self
                .0
                .strip_suffix(other.as_str())
                .is_some_and(|head| head.ends_with('.'))
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What may stand behind the `@` or after EHLO: a name or an address in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A domain name.
    Name(Domain),
    /// `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
    Literal(IpAddr),
}

impl Host {
    /// Reads a domain or an address literal; general address literals of other tags are refused.
    pub fn parse(text: &str) -> Option<Self> {
        let Some(literal) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
            return Domain::parse(text).map(Self::Name);
        };
        let address = match literal.get(..5) {
            Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => IpAddr::V6(literal.get(5..)?.parse::<Ipv6Addr>().ok()?),
            _ => IpAddr::V4(literal.parse::<Ipv4Addr>().ok()?),
        };
        Some(Self::Literal(address))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(domain) => write!(f, "{domain}"),
            Self::Literal(IpAddr::V4(address)) => write!(f, "[{address}]"),
            Self::Literal(IpAddr::V6(address)) => write!(f, "[IPv6:{address}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domain_is_lower_cased_and_bad_ones_refused() {
        assert_eq!(Domain::parse("Mail.Example.ORG.").unwrap().as_str(), "mail.example.org");
        for text in [
            "",
            ".",
            "a..b",
            "-a.b",
            "a-.b",
            "a b",
            "é_a.fr",
            "\u{202E}.fr",
            "é\u{FFFD}.fr",
            "é..fr",
            &"a".repeat(64),
        ] {
            assert_eq!(Domain::parse(text), None, "{text}");
        }
    }

    #[test]
    fn u_labels_and_a_labels_are_one_name() {
        for text in [
            "bücher.example",
            "BÜCHER.example.",
            "bu\u{308}cher.example",
            "XN--bcher-KVA.example",
        ] {
            let domain = Domain::parse(text).unwrap();
            assert_eq!(domain.as_str(), "xn--bcher-kva.example", "{text}");
            assert_eq!(domain.to_unicode(), "bücher.example");
        }
        let odd = Domain::parse("xn--0.example").unwrap();
        assert_eq!(odd.to_unicode(), "xn--0.example");
        let parent = Domain::parse("例え.jp").unwrap();
        assert!(Domain::parse("a.例え.jp").unwrap().is_within(&parent));
    }

    #[test]
    fn sub_domain_is_within_its_parent_only() {
        let parent = Domain::parse("example.org").unwrap();
        assert!(Domain::parse("a.example.org").unwrap().is_within(&parent));
        assert!(!Domain::parse("badexample.org").unwrap().is_within(&parent));
    }

    #[test]
    fn address_literals_are_read_and_printed() {
        for text in ["[192.0.2.1]", "[IPv6:2001:db8::1]"] {
            assert_eq!(Host::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Host::parse("[2001:db8::1]"), None);
        assert_eq!(Host::parse("[x-tag:1]"), None);
    }
}
