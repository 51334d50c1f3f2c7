//! The restrictions, one variant each.
//!
//! **Implements** the words of postconf(5), the rest of them in `word`, and `CERTISSUER:`/`CERTSUBJECT:` with regular expressions over the
//! unambiguous one-line text.

use std::fmt;
use std::sync::Arc;

use regex::Regex;

use super::certificate_rule::CertificateRule;
use super::dns_list::DnsList;
use super::question::PolicyService;
use super::sender_binding::SenderBinding;
use super::table::Table;
use super::word::Word;

/// One element of a restriction list.
#[derive(Clone, Debug)]
pub enum Restriction {
    /// `permit_mynetworks`.
    PermitMynetworks,
    /// `permit_tls_all_clientcerts`: any certificate whose chain verified.
    PermitTlsAllClientcerts,
    /// `permit_tls_clientcerts`: a fingerprint in `relay_clientcerts`; the issuer need not be known.
    PermitTlsClientcerts,
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
    /// One of the other words without an argument.
    Word(Word),
    /// `check_client_access` and its kin.
    Access(AccessOf, Arc<Table>),
    /// `reject_rbl_client` and its kin.
    DnsList(Arc<DnsList>),
    /// `check_policy_service`.
    Service(Arc<PolicyService>),
    /// `warn_if_reject`: what follows is asked, and does not refuse.
    WarnIfReject(Box<Restriction>),
    /// The name of a class in `smtpd_restriction_classes`, and what is in it.
    Class(String, Arc<[Restriction]>),
}

/// What is looked up in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessOf {
    /// `check_client_access`: the name, its parents, the address, its networks.
    Client,
    /// `check_reverse_client_hostname_access`: the name that need not lead back.
    ReverseClient,
    /// `check_helo_access`.
    Hello,
    /// `check_sender_access`.
    Sender,
    /// `check_recipient_access`.
    Recipient,
    /// `check_ccert_access`, with its `search_order`.
    Certificate(Vec<CertificateKey>),
    /// `check_sasl_access`.
    Login,
}

impl AccessOf {
    /// The word that asks so.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Client => "check_client_access",
            Self::ReverseClient => "check_reverse_client_hostname_access",
            Self::Hello => "check_helo_access",
            Self::Sender => "check_sender_access",
            Self::Recipient => "check_recipient_access",
            Self::Certificate(_) => "check_ccert_access",
            Self::Login => "check_sasl_access",
        }
    }
}

/// What of a certificate is a key of `check_ccert_access`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateKey {
    /// `cert_fingerprint`.
    Certificate,
    /// `pubkey_fingerprint`.
    PublicKey,
}

impl CertificateKey {
    /// As it is written in `search_order`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Certificate => "cert_fingerprint",
            Self::PublicKey => "pubkey_fingerprint",
        }
    }
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
    /// Those that are one word and need nothing of the configuration but the lists; the others are [`Word`]s.
    pub const SIMPLE: [(&'static str, Self); 10] = [
        ("permit_mynetworks", Self::PermitMynetworks),
        ("permit_tls_all_clientcerts", Self::PermitTlsAllClientcerts),
        ("permit_tls_clientcerts", Self::PermitTlsClientcerts),
        ("permit_auth_destination", Self::PermitAuthDestination),
        ("reject_unauth_destination", Self::RejectUnauthDestination),
        ("defer_unauth_destination", Self::DeferUnauthDestination),
        ("check_relay_domains", Self::CheckRelayDomains),
        ("permit", Self::Permit),
        ("reject", Self::Reject),
        ("defer", Self::Defer),
    ];

    /// The restriction that is this one word, in either letter case as in Postfix.
    pub fn simple(name: &str) -> Option<Self> {
        let mut simple = Self::SIMPLE.into_iter();
        let found = simple.find_map(|(word, restriction)| word.eq_ignore_ascii_case(name).then_some(restriction));
        found.or_else(|| Word::named(name).map(Self::Word))
    }

    /// Whether the list ends here for every client, so that what follows is never asked.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Permit | Self::Reject | Self::Defer | Self::CheckRelayDomains => true,
            Self::Class(_, list) => list.iter().any(Self::is_final),
            _ => false,
        }
    }

    /// Itself and, of a class or behind `warn_if_reject`, what is inside.
    pub fn with_inner(&self) -> Vec<&Self> {
        let mut all = vec![self];
        match self {
            Self::Class(_, list) => all.extend(list.iter().flat_map(Self::with_inner)),
            Self::WarnIfReject(inner) => all.extend(inner.with_inner()),
            _ => {}
        }
        all
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
                | Self::Access(AccessOf::Certificate(_), _)
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
            Self::Word(word) => word.name(),
            Self::Access(of, table) => return write!(f, "{} {}", of.name(), table.name),
            Self::DnsList(list) => return write!(f, "{list}"),
            Self::Service(service) => return write!(f, "check_policy_service {}", service.endpoint),
            Self::WarnIfReject(inner) => return write!(f, "warn_if_reject {inner}"),
            Self::Class(name, _) => name,
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
