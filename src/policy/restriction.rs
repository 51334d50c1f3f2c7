//! The restrictions, one variant each.
//!
//! **Implements** the words of postconf(5) and `CERTISSUER:`/`CERTSUBJECT:` with regular expressions over the
//! unambiguous one-line text.

use std::fmt;
use std::sync::Arc;

use regex::Regex;

use super::certificate_rule::CertificateRule;
use super::sender_binding::SenderBinding;

/// One element of a restriction list.
#[derive(Clone, Debug)]
pub enum Restriction {
    /// `permit_mynetworks`.
    PermitMynetworks,
    /// `permit_tls_all_clientcerts`: any certificate whose chain verified.
    PermitTlsAllClientcerts,
    /// `permit_tls_clientcerts`: a fingerprint in `relay_clientcerts`; the issuer need not be known.
    PermitTlsClientcerts,
    /// `permit_sasl_authenticated`: a login that a password proved.
    PermitSaslAuthenticated,
    /// `CERTISSUER:<regex>`, `CERTSUBJECT:<regex>` or both in one table, with what to do on a match.
    Certificate(CertificateMatch),
    /// The name of a `[[certificate_rule]]`.
    Rule(Arc<CertificateRule>),
    /// `reject_sender_certificate_mismatch`: the holder of a verified certificate sends with its addresses only.
    RejectSenderCertificateMismatch(Arc<SenderBinding>),
    /// `permit_auth_destination`.
    PermitAuthDestination,
    /// `reject_unauth_destination`.
    RejectUnauthDestination,
    /// `defer_unauth_destination`.
    DeferUnauthDestination,
    /// `check_relay_domains`: legacy; permits authorised destinations and rejects all others.
    CheckRelayDomains,
    /// `permit`.
    Permit,
    /// `reject`.
    Reject,
    /// `defer`.
    Defer,
}

/// Regular expressions on the names of a verified certificate; all that are given must match.
#[derive(Clone, Debug)]
pub struct CertificateMatch {
    /// On the issuer's one-line text.
    pub issuer: Option<Regex>,
    /// On the subject's one-line text.
    pub subject: Option<Regex>,
    /// What a match leads to.
    pub action: Action,
}

/// What a match leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `permit`.
    Permit,
    /// `reject`.
    Reject,
    /// `defer`.
    Defer,
}

impl Restriction {
    /// Whether the list ends here for every client, so that what follows is never asked.
    pub const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Permit | Self::Reject | Self::Defer | Self::CheckRelayDomains
        )
    }

    /// Whether it looks at a client certificate.
    pub const fn needs_client_certificate(&self) -> bool {
        matches!(
            self,
            Self::PermitTlsAllClientcerts
                | Self::PermitTlsClientcerts
                | Self::Certificate(_)
                | Self::Rule(_)
                | Self::RejectSenderCertificateMismatch(_)
        )
    }
}

impl fmt::Display for Restriction {
    /// As it is written in the configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PermitMynetworks => "permit_mynetworks",
            Self::PermitTlsAllClientcerts => "permit_tls_all_clientcerts",
            Self::PermitTlsClientcerts => "permit_tls_clientcerts",
            Self::PermitSaslAuthenticated => "permit_sasl_authenticated",
            Self::PermitAuthDestination => "permit_auth_destination",
            Self::RejectUnauthDestination => "reject_unauth_destination",
            Self::DeferUnauthDestination => "defer_unauth_destination",
            Self::CheckRelayDomains => "check_relay_domains",
            Self::Permit => "permit",
            Self::Reject => "reject",
            Self::Defer => "defer",
            Self::Certificate(rule) => return write!(f, "{rule}"),
            Self::Rule(rule) => &rule.name,
            Self::RejectSenderCertificateMismatch(_) => "reject_sender_certificate_mismatch",
        })
    }
}

impl fmt::Display for CertificateMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.issuer, &self.subject, self.action) {
            (Some(issuer), None, Action::Permit) => write!(f, "CERTISSUER:{issuer}"),
            (None, Some(subject), Action::Permit) => write!(f, "CERTSUBJECT:{subject}"),
            (issuer, subject, action) => {
                f.write_str("{ ")?;
                if let Some(issuer) = issuer {
                    write!(f, "CERTISSUER = \"{issuer}\", ")?;
                }
                if let Some(subject) = subject {
                    write!(f, "CERTSUBJECT = \"{subject}\", ")?;
                }
                write!(f, "action = \"{}\" }}", action.word())
            }
        }
    }
}

impl Action {
    /// As it is written in the configuration.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Reject => "reject",
            Self::Defer => "defer",
        }
    }
}
