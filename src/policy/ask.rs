//! Each restriction is asked here: networks, certificates and destinations at once, the others by their kind.
//!
//! **Implements** `permit_mynetworks`, `permit_tls_*`, `CERTISSUER:`/`CERTSUBJECT:`, `[[certificate_rule]]`,
//! `*_auth_destination`, `permit`, `reject`, `defer`.

use regex::Regex;

use super::answer::{Answer, ask_binding, ask_rule};
use super::asker::{Asked, Asker, pass};
use super::facts::ReplyCodes;
use super::refusal::{Denied, Refusal, Subject, Why as Reason};
use super::restriction::{Action, CertificateMatch, Restriction};
use super::stage::Stage;
use super::verdict::{Because, Opinion};
use crate::cert::certificate::Certificate;
use crate::cert::identity::{Identity, Why};
use crate::wire::domain::Host;
use crate::wire::path::ForwardPath;

impl Asker<'_> {
    /// Asks one restriction; a class and `warn_if_reject` are asked by the walk.
    pub(super) fn ask(&self, restriction: &Restriction) -> Asked {
        let facts = self.facts;
        let (opinion, because) = match restriction {
            Restriction::PermitMynetworks => self.permit_mynetworks(),
            Restriction::PermitTlsAllClientcerts => with_verified(facts.identity, |certificate| {
                (
                    Opinion::Permit,
                    Because::CertificateVerified(certificate.issuer.one_line()),
                )
            }),
            Restriction::PermitTlsClientcerts => self.permit_tls_clientcerts(facts.identity),
            Restriction::Certificate(rule) => with_verified(facts.identity, |certificate| rule.ask(certificate)),
            Restriction::Rule(rule) => {
                return Ok(with_verified(facts.identity, |certificate| {
                    ask_rule(rule, certificate, facts)
                }));
            }
            Restriction::RejectSenderCertificateMismatch(binding) => {
                return Ok(with_verified(facts.identity, |certificate| {
                    ask_binding(binding, certificate, facts)
                }));
            }
            Restriction::PermitAuthDestination => self.destination(Opinion::Permit, Opinion::Pass),
            Restriction::RejectUnauthDestination => return Ok(self.relay_denied(Opinion::Pass)),
            Restriction::DeferUnauthDestination => return Ok(self.relay_deferred()),
            Restriction::CheckRelayDomains => return Ok(self.relay_denied(Opinion::Permit)),
            Restriction::Permit => (Opinion::Permit, Because::Unconditional),
            Restriction::Reject => return Ok(self.unconditional(Opinion::Reject)),
            Restriction::Defer => return Ok(self.unconditional(Opinion::Defer)),
            Restriction::Word(word) => return self.ask_word(*word),
            Restriction::Access(of, table) => return self.ask_table(of, table),
            Restriction::DnsList(list) => return self.ask_dns_list(list),
            Restriction::Service(service) => return self.ask_service(service),
            Restriction::WarnIfReject(_) | Restriction::Class(..) => return Ok(pass(Because::ClassFollows)),
        };
        Ok(Answer::from((opinion, because)))
    }

    /// `reject_unauth_destination` and `check_relay_domains`, with `relay_domains_reject_code`.
    fn relay_denied(&self, authorised: Opinion) -> Answer {
        let code = self.lists.codes.relay_domains;
        let own = code != ReplyCodes::default().relay_domains;
        self.unauthorised(authorised, code, own)
    }

    /// `defer_unauth_destination`: the transient code that goes with `relay_domains_reject_code`, 454 by default.
    fn relay_deferred(&self) -> Answer {
        let code = self.lists.codes.relay_domains;
        self.unauthorised(
            Opinion::Pass,
            if code < 500 { code } else { code.saturating_sub(100) },
            true,
        )
    }

    fn unauthorised(&self, authorised: Opinion, code: u16, own_code: bool) -> Answer {
        let other = if code < 500 { Opinion::Defer } else { Opinion::Reject };
        let mut answer = Answer::from(self.destination(authorised, other));
        if answer.opinion != other {
            return answer;
        }
        if self.facts.stage != Stage::Recipient {
            // The reply is not to RCPT, and has to say whom it is about.
            let denied = self.denied(code, (7, 1), Subject::Recipient, Reason::RelayDenied);
            answer.refusal = Refusal::Denied(Box::new(denied));
        } else if own_code {
            answer.refusal = Refusal::RelayDeniedWith(code);
        }
        answer
    }

    /// `reject` and `defer`: in the lists that decide who may relay they deny that; elsewhere access.
    fn unconditional(&self, opinion: Opinion) -> Answer {
        let (codes, usual) = (&self.lists.codes, ReplyCodes::default());
        let (code, usual, status, why) = match opinion {
            Opinion::Defer => (codes.defer, usual.defer, (3, 2), Reason::TryAgainLater),
            _ => (codes.reject, usual.reject, (7, 1), Reason::AccessDenied),
        };
        let opinion = if code < 500 { Opinion::Defer } else { Opinion::Reject };
        let refusal = if self.list.permits_recipients() {
            let own = (code != usual).then_some(Refusal::RelayDeniedWith(code));
            own.unwrap_or(Refusal::RelayDenied)
        } else {
            let denied: Denied = self.denied(code, status, self.subject(), why);
            Refusal::Denied(Box::new(denied))
        };
        Answer {
            refusal,
            ..Answer::from((opinion, Because::Unconditional))
        }
    }

    fn permit_mynetworks(&self) -> (Opinion, Because) {
        match self.lists.mynetworks.matching(self.facts.peer) {
            Some(network) => (Opinion::Permit, Because::AddressInNetwork(self.facts.peer, network)),
            None => (Opinion::Pass, Because::AddressOutsideNetworks(self.facts.peer)),
        }
    }

    /// Postfix looks the public key up first, then the certificate; the chain need not be trusted, since the
    /// handshake proves possession of the key. Every other fault of the chain still counts.
    fn permit_tls_clientcerts(&self, identity: &Identity) -> (Opinion, Because) {
        let certificate = match identity {
            Identity::Verified { certificate, .. }
            | Identity::Unverified {
                why: Why::UnknownIssuer,
                certificate: Some(certificate),
            } => certificate,
            other => return (Opinion::Pass, without_certificate(other)),
        };
        let candidates = [&certificate.public_key_fingerprint, &certificate.fingerprint];
        let listed = |fingerprint: &&&String| self.lists.relay_clientcerts.contains(fingerprint);
        match candidates.iter().find(listed) {
            Some(found) => (Opinion::Permit, Because::FingerprintListed((*found).clone())),
            None => (
                Opinion::Pass,
                Because::FingerprintNotListed(certificate.fingerprint.clone()),
            ),
        }
    }

    fn destination(&self, authorised: Opinion, other: Opinion) -> (Opinion, Because) {
        let Some(forward_path) = self.facts.forward_path else {
            // Before RCPT, and behind it when there is more than one.
            return (Opinion::Pass, Because::NotKnownYet);
        };
        let domain = match forward_path {
            // RFC 5321 section 4.5.1: <postmaster> is always ours to take.
            ForwardPath::Postmaster => return (authorised, Because::DestinationAuthorised("postmaster".into())),
            ForwardPath::Mailbox(mailbox) => &mailbox.host,
        };
        match domain {
            Host::Name(name) if self.lists.is_destination(name) && !self.asks_for_routing() => {
                (authorised, Because::DestinationAuthorised(name.to_string()))
            }
            host => (other, Because::DestinationNotAuthorised(host.to_string())),
        }
    }
}

/// Asks of a verified certificate; every other identity has the opinion of nobody.
fn with_verified<T: From<(Opinion, Because)>>(identity: &Identity, ask: impl FnOnce(&Certificate) -> T) -> T {
    match identity.verified() {
        Some(certificate) => ask(certificate),
        None => T::from((Opinion::Pass, without_certificate(identity))),
    }
}

fn without_certificate(identity: &Identity) -> Because {
    match identity {
        Identity::Plaintext => Because::NoTls,
        Identity::Unverified { why, .. } => Because::CertificateUnverified(*why),
        Identity::NoCertificate | Identity::Verified { .. } => Because::NoCertificateShown,
    }
}

impl CertificateMatch {
    fn ask(&self, certificate: &Certificate) -> (Opinion, Because) {
        let issuer = certificate.issuer.one_line();
        let subject = certificate.subject.one_line();
        let differs = |regex: &Option<Regex>, text: &str| regex.as_ref().is_some_and(|regex| !regex.is_match(text));
        if differs(&self.issuer, &issuer) {
            return (Opinion::Pass, Because::IssuerDiffers(issuer));
        }
        if differs(&self.subject, &subject) {
            return (Opinion::Pass, Because::SubjectDiffers(subject));
        }
        let opinion = match self.action {
            Action::Permit => Opinion::Permit,
            Action::Reject => Opinion::Reject,
            Action::Defer => Opinion::Defer,
        };
        (opinion, Because::NamesMatch { issuer, subject })
    }
}
