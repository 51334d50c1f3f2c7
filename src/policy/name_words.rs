//! What is asked of names: the peer's, that of HELO, the domains of addresses.
//!
//! **Implements** `reject_invalid_helo_hostname`, `reject_non_fqdn_*`, `reject_unknown_*` of postconf(5), and the null MX of
//! RFC 7505.

use super::answer::Answer;
use super::asker::{Asked, Asker, domain_of, not_known, pass};
use super::question::Found;
use super::refusal::{Subject, Why};
use super::verdict::Because;
use crate::wire::domain::{Domain, Host};
use crate::wire::path::Mailbox;

impl Asker<'_> {
    /// `reject_invalid_helo_hostname`.
    pub(super) fn reject_invalid_hello(&self) -> Answer {
        let hello = self.facts.hello;
        if hello.is_empty() {
            return not_known();
        }
        if is_literal(hello) || is_host_name(hello) || hello.parse::<std::net::IpAddr>().is_ok() {
            return pass(Because::Good(hello.to_owned()));
        }
        self.refuse(
            self.lists.codes.invalid_hostname,
            (5, 2),
            Subject::Hello,
            Why::InvalidName,
        )
    }

    /// `reject_non_fqdn_helo_hostname`.
    pub(super) fn reject_non_fqdn_hello(&self) -> Answer {
        let hello = self.facts.hello;
        if hello.is_empty() {
            return not_known();
        }
        let is_qualified = is_host_name(hello) && hello.trim_end_matches('.').contains('.');
        if is_literal(hello) || is_qualified {
            return pass(Because::Good(hello.to_owned()));
        }
        let why = Why::HostNotFullyQualified;
        self.refuse(self.lists.codes.non_fqdn, (5, 2), Subject::Hello, why)
    }

    /// `reject_unknown_helo_hostname`.
    pub(super) fn reject_unknown_hello(&self) -> Asked {
        let hello = self.facts.hello;
        if hello.is_empty() {
            return Ok(not_known());
        }
        if is_literal(hello) {
            return Ok(pass(Because::Good(hello.to_owned())));
        }
        let code = self.lists.codes.unknown_hostname;
        let nowhere = || self.refuse(code, (7, 1), Subject::Hello, Why::HostNotFound);
        match Domain::parse(hello.trim_end_matches('.')) {
            Some(domain) => self.mail_domain(&domain, Subject::Hello, nowhere),
            None => Ok(nowhere()),
        }
    }

    /// `reject_non_fqdn_sender`.
    pub(super) fn reject_non_fqdn_sender(&self) -> Answer {
        match self.sender() {
            Some(mailbox) => self.reject_non_fqdn(mailbox, Subject::Sender),
            None => not_known(),
        }
    }

    /// `reject_non_fqdn_recipient`; `<postmaster>` is good (RFC 5321 section 4.5.1).
    pub(super) fn reject_non_fqdn_recipient(&self) -> Answer {
        match self.recipient() {
            Some(mailbox) => self.reject_non_fqdn(mailbox, Subject::Recipient),
            None => not_known(),
        }
    }

    fn reject_non_fqdn(&self, mailbox: &Mailbox, subject: Subject) -> Answer {
        let is_qualified = match &mailbox.host {
            Host::Name(domain) => domain.as_str().contains('.'),
            Host::Literal(_) => true,
        };
        if is_qualified {
            return pass(Because::Good(mailbox.host.to_string()));
        }
        let why = Why::AddressNotFullyQualified;
        self.refuse(self.lists.codes.non_fqdn, (5, 2), subject, why)
    }

    /// `reject_unknown_sender_domain`.
    pub(super) fn reject_unknown_sender_domain(&self) -> Asked {
        match self.sender() {
            Some(mailbox) => self.reject_unknown_domain(mailbox, Subject::Sender, (1, 8)),
            None => Ok(not_known()),
        }
    }

    /// `reject_unknown_recipient_domain`.
    pub(super) fn reject_unknown_recipient_domain(&self) -> Asked {
        match self.recipient() {
            Some(mailbox) => self.reject_unknown_domain(mailbox, Subject::Recipient, (1, 2)),
            None => Ok(not_known()),
        }
    }

    /// Domains of ours are not looked up, nor are address literals, as in Postfix.
    fn reject_unknown_domain(&self, mailbox: &Mailbox, subject: Subject, status: (u16, u16)) -> Asked {
        let domain = match domain_of(mailbox) {
            Some(domain) if !self.lists.is_destination(domain) => domain,
            _ => return Ok(pass(Because::Good(mailbox.host.to_string()))),
        };
        let code = self.lists.codes.unknown_address;
        self.mail_domain(domain, subject, || {
            self.refuse(code, status, subject, Why::DomainNotFound)
        })
    }

    /// Whether a domain has a mail exchanger or an address; `nowhere` answers when it has neither.
    fn mail_domain(&self, domain: &Domain, subject: Subject, nowhere: impl Fn() -> Answer) -> Asked {
        match self.mail_exchangers(domain)? {
            Found::Records(exchangers) if is_null_mx(&exchangers) && subject != Subject::Hello => {
                let why = Why::NullMx(domain.to_string());
                let (code, status) = match subject {
                    Subject::Recipient => (556, (1, 10)),
                    _ => (550, (7, 27)),
                };
                return Ok(self.refuse(code, status, subject, why));
            }
            Found::Records(_) => return Ok(pass(Because::Good(domain.to_string()))),
            Found::NoSuchName => return Ok(nowhere()),
            Found::Failed(why) => return Ok(self.unknown(subject, domain.as_str(), &why)),
            Found::NoRecords => {}
        }
        Ok(match self.addresses(domain.as_str(), true)? {
            Found::Records(_) => pass(Because::Good(domain.to_string())),
            Found::NoSuchName | Found::NoRecords => nowhere(),
            Found::Failed(why) => self.unknown(subject, domain.as_str(), &why),
        })
    }

    /// `reject_unknown_client_hostname`.
    pub(super) fn reject_unknown_client(&self) -> Asked {
        let names = self.peer_names()?;
        Ok(self.peer_name(names.verified, Why::NoClientName))
    }

    /// `reject_unknown_reverse_client_hostname`.
    pub(super) fn reject_unknown_reverse_client(&self) -> Asked {
        let names = self.peer_names()?;
        Ok(self.peer_name(names.reverse, Why::NoReverseName))
    }

    fn peer_name(&self, found: Found<Domain>, why: Why) -> Answer {
        match found {
            Found::Records(names) => {
                let name = names.first().map_or_else(String::new, Domain::to_string);
                pass(Because::Good(name))
            }
            Found::Failed(cause) => self.unknown(Subject::Client, &self.facts.peer.to_string(), &cause),
            Found::NoRecords | Found::NoSuchName => {
                self.refuse(self.lists.codes.unknown_client, (7, 25), Subject::Client, why)
            }
        }
    }
}

/// RFC 7505 section 3: a single record of preference 0 with the root as its host.
fn is_null_mx(exchangers: &[(u16, String)]) -> bool {
    matches!(exchangers, [(0, host)] if host.is_empty() || host == ".")
}

/// An address in brackets.
fn is_literal(text: &str) -> bool {
    text.starts_with('[') && Host::parse(text).is_some()
}

/// A host name as Postfix takes it: letters, digits, hyphens and underscores, not all of it digits and dots.
fn is_host_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|octet| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_numeric = text.bytes().all(|octet| octet.is_ascii_digit() || octet == b'.');
    text.len() <= 255 && !is_numeric && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_told_from_others() {
        for good in ["a", "a.example", "a.example.", "my_pc.example", "1a.2b"] {
            assert!(is_host_name(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "a..b",
            "-a.example",
            "a b",
            "192.0.2.1",
            "a!b",
            "é.example",
            "a.example..",
        ] {
            assert!(!is_host_name(bad), "{bad}");
        }
    }
}
