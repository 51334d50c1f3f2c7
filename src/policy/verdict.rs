//! A decision and its reasons.

use std::fmt;
use std::net::IpAddr;

use crate::cert::identity::Why;

/// What one restriction says. Postfix: OK, REJECT, DEFER, DUNNO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Opinion {
    /// Ends the list: permitted.
    Permit,
    /// Ends the list: refused for good.
    Reject,
    /// Ends the list: refused for now.
    Defer,
    /// No opinion; the next one is asked.
    Pass,
}

/// Why a restriction said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Because {
    /// The peer's address lies in this network.
    AddressInNetwork(IpAddr, ipnet::IpNet),
    /// The peer's address lies in none.
    AddressOutsideNetworks(IpAddr),
    /// The session is not encrypted, so there is no certificate.
    NoTls,
    /// TLS without a client certificate.
    NoCertificateShown,
    /// A certificate was shown but did not verify.
    CertificateUnverified(Why),
    /// The chain verified up to this issuer (one-line text).
    CertificateVerified(String),
    /// This fingerprint is listed.
    FingerprintListed(String),
    /// The fingerprint of the certificate is not listed.
    FingerprintNotListed(String),
    /// All regular expressions matched; the names they were asked of.
    NamesMatch {
        /// Issuer, one-line text.
        issuer: String,
        /// Subject, one-line text.
        subject: String,
    },
    /// The issuer did not match; its one-line text.
    IssuerDiffers(String),
    /// The subject did not match; its one-line text.
    SubjectDiffers(String),
    /// The recipient's domain is one we relay to.
    DestinationAuthorised(String),
    /// It is not.
    DestinationNotAuthorised(String),
    /// The restriction is unconditional.
    Unconditional,
    /// The list ended without a decision, which is a refusal here.
    EndOfList,
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressInNetwork(address, network) => write!(f, "{address} is in {network}"),
            Self::AddressOutsideNetworks(address) => write!(f, "{address} is in none of mynetworks"),
            Self::NoTls => f.write_str("the session is not encrypted, so no certificate was shown"),
            Self::NoCertificateShown => f.write_str("no client certificate was shown"),
            Self::CertificateUnverified(why) => write!(f, "{why}"),
            Self::CertificateVerified(issuer) => write!(f, "certificate verified, issuer {issuer}"),
            Self::FingerprintListed(fingerprint) => write!(f, "fingerprint {fingerprint} is in relay_clientcerts"),
            Self::FingerprintNotListed(fingerprint) => {
                write!(f, "fingerprint {fingerprint} is not in relay_clientcerts")
            }
            Self::NamesMatch { issuer, subject } => write!(f, "issuer {issuer}, subject {subject} match"),
            Self::IssuerDiffers(issuer) => write!(f, "issuer {issuer} does not match"),
            Self::SubjectDiffers(subject) => write!(f, "subject {subject} does not match"),
            Self::DestinationAuthorised(domain) => write!(f, "{domain} is a relay domain"),
            Self::DestinationNotAuthorised(domain) => write!(f, "{domain} is not a relay domain"),
            Self::Unconditional => f.write_str("unconditional"),
            Self::EndOfList => f.write_str("the list ended without a decision"),
        }
    }
}

/// One restriction asked: where it stands, what it said, why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// `smtpd_relay_restrictions` or `smtpd_recipient_restrictions`.
    pub list: &'static str,
    /// As written in the configuration.
    pub restriction: String,
    /// What it said.
    pub opinion: Opinion,
    /// Why.
    pub because: Because,
}

/// The decision on one recipient, with the trace of all that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Verdict {
    /// Permit, Reject or Defer.
    pub opinion: Opinion,
    /// In the order asked; the last one decided.
    pub trace: Vec<Step>,
    /// Why the certificate that was shown did not verify: what the user can act on.
    pub certificate_fault: Option<Why>,
}

impl Verdict {
    /// Whether the recipient is taken.
    pub fn is_permit(&self) -> bool {
        self.opinion == Opinion::Permit
    }

    /// The restriction that decided, as written.
    pub fn decided_by(&self) -> &str {
        self.trace
            .last()
            .map_or("end of list", |step| step.restriction.as_str())
    }

    /// Why it decided so.
    pub fn because(&self) -> &Because {
        self.trace.last().map_or(&Because::EndOfList, |step| &step.because)
    }
}

impl Opinion {
    /// For logs and `explain`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Reject => "reject",
            Self::Defer => "defer",
            Self::Pass => "pass",
        }
    }
}
