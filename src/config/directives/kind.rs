//! What the value of a directive looks like.

/// One directive that works.
#[derive(Clone, Copy, Debug)]
pub struct Directive {
    /// As in main.cf.
    pub name: &'static str,
    /// Our default, written in TOML; `""` and `[]` mean that it is not set.
    pub default: &'static str,
    /// What Postfix 3.12 has as default; `-` when Postfix has no such directive.
    pub postfix: &'static str,
    /// What it does, in one line.
    pub meaning: &'static str,
    /// Its value.
    pub kind: Kind,
    /// Where it may stand.
    pub place: Place,
}

/// A directive of Postfix that does not work yet.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// As in main.cf.
    pub name: &'static str,
    /// What Postfix 3.12 has as default.
    pub postfix: &'static str,
    /// What it does, in one line.
    pub meaning: &'static str,
}

/// Where a directive may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At the top only.
    Global,
    /// At the top, and in a `[[listener]]` table to override it there.
    Listener,
}

/// The value of a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`; `"yes"` and `"no"` too.
    Boolean,
    /// A count between the two bounds.
    Count(u64, u64),
    /// Octets: an integer, or `"50 MiB"`.
    Size,
    /// A time: an integer in seconds, or `"300s"`, `"5d"`; at least so many seconds.
    Time(u64),
    /// Any text.
    Text,
    /// A host or domain name.
    Name,
    /// A path; relative ones start at the directory of the configuration file.
    Path,
    /// A path, `unix:path` or `inet:host:port`.
    Socket,
    /// Several paths.
    Paths,
    /// One of these words; booleans count as `yes` and `no` when they are among them.
    Choice(&'static [&'static str]),
    /// Any of these words.
    Choices(&'static [&'static str]),
    /// Networks as in `mynetworks`.
    Networks,
    /// Domains as in `relay_domains`.
    Domains,
    /// Addresses to listen on.
    Interfaces,
    /// Name servers: addresses, with a port when it is not 53.
    NameServers,
    /// SHA-256 fingerprints.
    Fingerprints,
    /// A next hop as in `relayhost`.
    NextHop,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// TLS versions.
    TlsVersions,
    /// A restriction list.
    Restrictions,
    /// Restriction classes: a table of lists, or names.
    Classes,
    /// Look-up tables.
    Tables,
    /// First words of commands, or regular expressions on them.
    Commands,
    /// Issuers and what a missing or stale revocation list of theirs means.
    IssuerPolicies,
    /// Content filters.
    Milters,
    /// Names of macros.
    MacroNames,
    /// Networks and what holds for them.
    MilterMaps,
    /// Keywords of EHLO.
    EhloKeywords,
    /// Networks and the keywords of EHLO that are meant for them.
    EhloKeywordMaps,
}

impl Kind {
    /// For the manual.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Count(..) => "integer",
            Self::Size => "size",
            Self::Time(_) => "time",
            Self::Text => "text",
            Self::Name => "host name",
            Self::Path => "path",
            Self::Socket => "path or socket",
            Self::Paths => "list of paths",
            Self::Choice(_) => "one word",
            Self::Choices(_) | Self::EhloKeywords | Self::Commands => "list of words",
            Self::Networks => "list of networks",
            Self::Domains => "list of domains",
            Self::Interfaces => "list of addresses",
            Self::NameServers => "list of name servers",
            Self::Fingerprints => "list of fingerprints",
            Self::NextHop => "next hop",
            Self::Ipv4 => "IPv4 address",
            Self::Ipv6 => "IPv6 address",
            Self::TlsVersions => "TLS versions",
            Self::Restrictions => "restriction list",
            Self::Milters => "list of milters",
            Self::MacroNames => "list of macros",
            Self::MilterMaps => "list of networks and words",
            Self::Classes => "table of restriction lists",
            Self::Tables => "look-up tables",
            Self::IssuerPolicies => "list of issuers and policies",
            Self::EhloKeywordMaps => "table of networks",
        }
    }
}
