//! A decision and its reasons.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::certificate_rule::Finding;
use super::limits::Limit;
use super::sender_binding::SenderBinding;
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
    /// AUTH with a password proved this login.
    Authenticated(String),
    /// There was no AUTH with a password.
    NotAuthenticated,
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
            Self::Authenticated(login) => write!(f, "authenticated as {login}"),
            Self::NotAuthenticated => f.write_str("not authenticated with a password"),
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
    /// What a refusal says.
    pub refusal: Refusal,
    /// What a permission is bound to.
    pub obligations: Obligations,
}

/// What the reply to a refused recipient says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Refusal {
    /// `Relay access denied`.
    #[default]
    RelayDenied,
    /// The own text of the rule that decided.
    Text(String),
    /// 553 5.7.1: the holder may not send with this reverse-path.
    SenderNotOwned,
}

/// What a permission is bound to: decided when the message is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Obligations {
    /// Bindings with `from_header`, of the rules whose conditions held; every one must own every address of From.
    pub from_header: Vec<Arc<SenderBinding>>,
    /// Limits of the rules whose conditions held.
    pub limits: Vec<Arc<Limit>>,
}

impl Verdict {
    /// No list had anything to say.
    pub fn of_nobody() -> Self {
        Self {
            opinion: Opinion::Pass,
            trace: Vec::new(),
            certificate_fault: None,
            refusal: Refusal::default(),
            obligations: Obligations::default(),
        }
    }

    /// The lists asked too much: a refusal for the time being.
    pub fn of_too_many_questions() -> Self {
        Self {
            opinion: Opinion::Defer,
            trace: vec![Step {
                list: "",
                restriction: "question limit".into(),
                opinion: Opinion::Defer,
                because: Because::TooManyQuestions,
            }],
            ..Self::of_nobody()
        }
    }

    /// Whether it refuses, for good or for now.
    pub fn is_refusal(&self) -> bool {
        matches!(self.opinion, Opinion::Reject | Opinion::Defer)
    }

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
