//! The holder bound to the sender: which addresses a certificate may send with.
//!
//! **Implements** `sender = "certificate"`, `sender_domains`, `sender_addresses`, `from_header`, `null_sender` of a
//! `[[certificate_rule]]`, and `reject_sender_certificate_mismatch`. An address of a certificate or of a list counts when
//! it is one whole mailbox to the parser that reads MAIL FROM, and nothing else: no glob, no route, no text around it.
//!
//! RFC 5321 section 2.4 lets nobody but the destination ignore the letter case of a local-part. Here nothing is
//! delivered by it: it is asked whether two spellings mean one person, and mail programs and CAs write them
//! differently. So the case of the letters A to Z is ignored. Where a destination does give `Alice` and `alice` to two
//! people, each could send under the other's name.

use super::wording;
use crate::cert::certificate::Certificate;
use crate::wire::domain::{Domain, Host};
use crate::wire::path::{Mailbox, ReversePath};

/// What a holder may send with. An address is owned when the certificate names it or a list allows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SenderBinding {
    /// The rule it belongs to, or `reject_sender_certificate_mismatch`.
    pub rule: String,
    /// `sender = "certificate"`: the addresses of the certificate (SAN rfc822Name, emailAddress in the subject).
    pub certificate_addresses: bool,
    /// `sender_domains`: any address there; `true` (written with a leading dot) adds the sub-domains.
    pub domains: Vec<(Domain, bool)>,
    /// `sender_addresses`: exactly these, letter case ignored.
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

    /// Whether the holder may send with this address; letter case is ignored.
    pub fn owns(&self, certificate: &Certificate, mailbox: &Mailbox) -> bool {
        let is_certified = || self.certificate_addresses && any_is(certificate_addresses(certificate), mailbox);
        let is_listed = || any_is(self.addresses.iter().map(String::as_str), mailbox);
        is_certified() || is_listed() || self.domains.iter().any(|domain| holds_domain(domain, mailbox))
    }

    /// What the holder may send with, in words: `<alice@example.org>, any address at lab.example`.
    pub fn owned_in_words(&self, certificate: &Certificate) -> String {
        let from_certificate = || certificate_addresses(certificate).filter(|_| self.certificate_addresses);
        let mut mailboxes: Vec<Mailbox> = Vec::new();
        for address in from_certificate().chain(self.addresses.iter().map(String::as_str)) {
            if let Ok(mailbox) = Mailbox::parse(address)
                && !mailboxes.iter().any(|known| is_same(known, &mailbox))
            {
                mailboxes.push(mailbox);
            }
        }
        let domain = |(domain, with_subdomains): &(Domain, bool)| match with_subdomains {
            true => format!("any address at {domain} and its sub-domains"),
            false => format!("any address at {domain}"),
        };
        let null_sender = self.allows_null_sender.then(|| "the null reverse-path <>".to_owned());
        let parts = mailboxes.iter().map(mailbox_in_words);
        let parts: Vec<String> = parts
            .chain(self.domains.iter().map(domain))
            .chain(null_sender)
            .collect();
        let words = if parts.is_empty() {
            "no address".into()
        } else {
            wording::joined(parts)
        };
        let odd: Vec<&str> = from_certificate()
            .filter(|text| Mailbox::parse(text).is_err())
            .collect();
        if odd.is_empty() {
            return words;
        }
        let odd = wording::listed(odd);
        wording::bounded(format!("{words} (in the certificate, but no mailbox: {odd})"))
    }
}

/// Whether one of these texts is exactly this mailbox.
fn any_is<'a>(mut addresses: impl Iterator<Item = &'a str>, mailbox: &Mailbox) -> bool {
    addresses.any(|address| Mailbox::parse(address).is_ok_and(|known| is_same(&known, mailbox)))
}

/// Host names are in lower case once they are parsed.
fn is_same(one: &Mailbox, other: &Mailbox) -> bool {
    one.host == other.host && one.local_part.eq_ignore_ascii_case(&other.local_part)
}

fn holds_domain((domain, with_subdomains): &(Domain, bool), mailbox: &Mailbox) -> bool {
    match &mailbox.host {
        Host::Name(host) if *with_subdomains => host.is_within(domain),
        Host::Name(host) => host == domain,
        Host::Literal(_) => false,
    }
}

/// In angle brackets, or in quotes where the local-part could hold what is between two addresses here.
fn mailbox_in_words(mailbox: &Mailbox) -> String {
    let text = mailbox.to_string();
    if text.starts_with('"') {
        wording::value(&text)
    } else {
        format!("<{text}>")
    }
}
