//! The extensions of SMTP that EHLO may announce, and which of them are hidden from whom.
//!
//! **Implements** `smtpd_discard_ehlo_keywords` and `smtpd_discard_ehlo_keyword_address_maps`: what is hidden is refused, too.

use std::net::IpAddr;

use ipnet::IpNet;

/// One extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// RFC 2920.
    Pipelining,
    /// RFC 1870.
    Size,
    /// RFC 5321 section 3.5: not announced, since every server has it.
    Vrfy,
    /// RFC 3207.
    StartTls,
    /// RFC 4954.
    Auth,
    /// RFC 2034.
    EnhancedStatusCodes,
    /// RFC 6152.
    EightBitMime,
    /// RFC 3461.
    Dsn,
    /// RFC 6531.
    SmtpUtf8,
    /// RFC 3030.
    Chunking,
    /// RFC 8689.
    RequireTls,
    /// RFC 9422.
    Limits,
}

/// The words of `smtpd_discard_ehlo_keywords`. `silent-discard` keeps Postfix from logging, which never happens here.
pub const HIDING_WORDS: &[&str] = &[
    "8bitmime",
    "auth",
    "chunking",
    "dsn",
    "enhancedstatuscodes",
    "limits",
    "pipelining",
    "requiretls",
    "silent-discard",
    "size",
    "smtputf8",
    "starttls",
    "vrfy",
];

impl Extension {
    /// The extension of an EHLO keyword.
    fn of_word(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "8bitmime" => Self::EightBitMime,
            "auth" => Self::Auth,
            "chunking" => Self::Chunking,
            "dsn" => Self::Dsn,
            "enhancedstatuscodes" => Self::EnhancedStatusCodes,
            "limits" => Self::Limits,
            "pipelining" => Self::Pipelining,
            "requiretls" => Self::RequireTls,
            "size" => Self::Size,
            "smtputf8" => Self::SmtpUtf8,
            "starttls" => Self::StartTls,
            "vrfy" => Self::Vrfy,
            _ => return None,
        })
    }

    /// The extension that a parameter of MAIL or RCPT belongs to.
    pub(super) fn of_parameter(keyword: &str) -> Option<Self> {
        Some(match keyword {
            "SIZE" => Self::Size,
            "BODY" => Self::EightBitMime,
            "AUTH" => Self::Auth,
            "SMTPUTF8" => Self::SmtpUtf8,
            "REQUIRETLS" => Self::RequireTls,
            "RET" | "ENVID" | "NOTIFY" | "ORCPT" => Self::Dsn,
            _ => return None,
        })
    }
}

/// A set of extensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions(u16);

impl Extensions {
    /// Those of the words; a word that names none adds none.
    pub fn of_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let extensions = words.into_iter().filter_map(Extension::of_word);
        Self(extensions.fold(0, |set, extension| set | 1 << extension as u16))
    }

    /// Whether one is among them.
    pub const fn contains(self, extension: Extension) -> bool {
        self.0 & (1 << extension as u16) != 0
    }
}

/// What is hidden from whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HiddenExtensions {
    /// `smtpd_discard_ehlo_keywords`.
    pub from_all: Extensions,
    /// `smtpd_discard_ehlo_keyword_address_maps`: for these peers instead of the other.
    pub from_networks: Vec<(IpNet, Extensions)>,
}

impl HiddenExtensions {
    /// What is hidden from this peer; of several networks that hold it the narrowest counts.
    pub fn from(&self, peer: IpAddr) -> Extensions {
        let holding = self.from_networks.iter().filter(|(network, _)| network.contains(&peer));
        let narrowest = holding.max_by_key(|(network, _)| network.prefix_len());
        narrowest.map_or(self.from_all, |(_, hidden)| *hidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_but_one_names_an_extension() {
        for word in HIDING_WORDS {
            assert_eq!(Extension::of_word(word).is_none(), *word == "silent-discard", "{word}");
        }
    }

    #[test]
    fn narrowest_network_counts_and_replaces_the_rest() {
        let set = |word| Extensions::of_words([word]);
        let hidden = HiddenExtensions {
            from_all: set("DSN"),
            from_networks: vec![
                ("192.0.2.0/24".parse().unwrap(), set("size")),
                ("192.0.2.7/32".parse().unwrap(), set("chunking")),
            ],
        };
        for (peer, word) in [
            ("198.51.100.1", "dsn"),
            ("192.0.2.1", "size"),
            ("192.0.2.7", "chunking"),
        ] {
            assert_eq!(hidden.from(peer.parse().unwrap()), set(word), "{peer}");
        }
        assert!(hidden.from("192.0.2.7".parse().unwrap()).contains(Extension::Chunking));
        assert!(!hidden.from("192.0.2.7".parse().unwrap()).contains(Extension::Dsn));
    }
}
