//! Why a restriction said what it said.

use std::fmt;
use std::net::IpAddr;

use super::certificate_rule::Finding;
use super::refusal;
use crate::cert::identity::Why;

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
    /// A `[[certificate_rule]]` was asked; how its conditions came out.
    Conditions(Vec<Finding>),
    /// The holder may not send with this address; the addresses it may send with, in words.
    SenderNotOwned {
        /// MAIL FROM.
        sender: String,
        /// What the certificate and the lists allow.
        owned: String,
        /// How the conditions of the rule came out, all of which hold; none for `reject_sender_certificate_mismatch`.
        conditions: Vec<Finding>,
    },
    /// The holder may send with this address.
    SenderOwned {
        /// MAIL FROM.
        sender: String,
        /// How the conditions of the rule came out, all of which hold; none for `reject_sender_certificate_mismatch`.
        conditions: Vec<Finding>,
    },
    /// The recipient's domain is one we relay to.
    DestinationAuthorised(String),
    /// It is not.
    DestinationNotAuthorised(String),
    /// The restriction is unconditional.
    Unconditional,
    /// The list ended without a decision, which is a refusal here.
    EndOfList,
    /// The lists of one step asked more than a session may.
    TooManyQuestions,
    /// The outside world has to be asked this first.
    OpenQuestion(String),
    /// What it looks at is not known at this stage.
    NotKnownYet,
    /// This is as it should be.
    Good(String),
    /// This is not as it should be.
    Fails(String, refusal::Why),
    /// Nobody could say what the DNS holds for this name, and why.
    LookupFailed(String, String),
    /// A table: what it says of a key.
    InTable {
        /// The key that is in it.
        key: String,
        /// What it leads to.
        action: String,
    },
    /// A table says nothing of these keys.
    NotInTable(String),
    /// This is in no DNS list of that name.
    NotListed(String),
    /// A DNS list has this.
    Listed(String),
    /// A policy service named this action.
    ServiceSaid(String),
    /// A policy service named no action, and what is done then.
    ServiceFailed {
        /// Why.
        why: String,
        /// `smtpd_policy_service_default_action`.
        action: String,
    },
    /// A table or a policy service said what has no meaning here.
    Meaningless(String),
    /// The name that AUTH proved.
    LoggedIn(String),
    /// AUTH was not done.
    NotLoggedIn,
    /// The restrictions of a class follow.
    ClassFollows,
    /// `warn_if_reject`: it would have refused.
    WouldRefuse(Box<Self>),
    /// Classes and tables name each other deeper than lists may.
    TooDeep,
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
            Self::Conditions(findings) => conditions(f, findings),
            Self::SenderNotOwned { sender, owned, .. } => {
                write!(
                    f,
                    "<{sender}> is not an address of the certificate's holder, who may send with {owned}"
                )
            }
            Self::SenderOwned { sender, conditions } => {
                let rule = if conditions.is_empty() {
                    ""
                } else {
                    "all conditions hold; "
                };
                write!(f, "{rule}<{sender}> is an address of the certificate's holder")
            }
            Self::DestinationAuthorised(domain) => write!(f, "{domain} is a relay domain"),
            Self::DestinationNotAuthorised(domain) => write!(f, "{domain} is not a relay domain"),
            Self::Unconditional => f.write_str("unconditional"),
            Self::EndOfList => f.write_str("the list ended without a decision"),
            Self::TooManyQuestions => f.write_str("the lists ask more questions than one step may"),
            Self::OpenQuestion(question) => write!(f, "{question} has to be asked first"),
            Self::NotKnownYet => f.write_str("what it looks at is not known at this stage"),
            Self::Good(what) => write!(f, "{what} is as it should be"),
            Self::Fails(what, why) => write!(f, "{what}: {why}"),
            Self::LookupFailed(name, why) => write!(f, "the DNS could not be asked about {name}: {why}"),
            Self::InTable { key, action } => write!(f, "{key} leads to {action}"),
            Self::NotInTable(keys) => write!(f, "the table has nothing on {keys}"),
            Self::NotListed(what) => write!(f, "{what} is not listed"),
            Self::Listed(what) => write!(f, "{what} is listed"),
            Self::ServiceSaid(action) => write!(f, "the service said {action}"),
            Self::ServiceFailed { why, action } => {
                write!(f, "the service said nothing ({why}), which counts as {action}")
            }
            Self::Meaningless(action) => write!(f, "{action} has no meaning here"),
            Self::LoggedIn(login) => write!(f, "authenticated as {login}"),
            Self::NotLoggedIn => f.write_str("not authenticated with a password"),
            Self::ClassFollows => f.write_str("its restrictions follow"),
            Self::WouldRefuse(because) => write!(f, "would refuse: {because}"),
            Self::TooDeep => f.write_str("lists, classes and tables name each other too deeply"),
        }
    }
}

impl Because {
    /// How the conditions of a `[[certificate_rule]]` came out, also where the sender decided.
    pub fn conditions(&self) -> &[Finding] {
        match self {
            Self::Conditions(conditions)
            | Self::SenderNotOwned { conditions, .. }
            | Self::SenderOwned { conditions, .. } => conditions,
            _ => &[],
        }
    }
}

/// What did not hold, or that all did.
fn conditions(f: &mut fmt::Formatter<'_>, findings: &[Finding]) -> fmt::Result {
    let differing: Vec<_> = findings.iter().filter(|finding| !finding.holds).collect();
    if differing.is_empty() {
        return f.write_str("all conditions hold");
    }
    for (n, finding) in differing.iter().enumerate() {
        let (separator, condition) = (if n == 0 { "" } else { "; " }, &finding.condition);
        write!(
            f,
            "{separator}{condition}: found {}, wanted {}",
            finding.found, finding.wanted
        )?;
    }
    Ok(())
}
