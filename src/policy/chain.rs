//! The evaluation of the two recipient lists.
//!
//! **Implements** the order of postconf(5): relay restrictions first, then recipient restrictions; a list that
//! is empty has no opinion. The end of a list that is not empty is a refusal, where Postfix permits. A permission is bound to
//! the limits and the From header of every certificate rule on the way whose conditions held.

use regex::Regex;

use super::answer::{Answer, ask_binding, ask_rule};
use super::facts::{Facts, Lists};
use super::question::Question;
use super::restriction::{Action, CertificateMatch, Restriction};
use super::stage::Stage;
use super::verdict::{Because, Obligations, Opinion, Refusal, Step, Verdict};
use crate::cert::certificate::Certificate;
use crate::cert::identity::{Identity, Why};
use crate::wire::domain::{Domain, Host};
use crate::wire::path::ForwardPath;

/// Both lists and what they refer to.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// `smtpd_relay_restrictions`.
    pub relay: Vec<Restriction>,
    /// `smtpd_recipient_restrictions`.
    pub recipient: Vec<Restriction>,
    /// `mynetworks`, `relay_domains`, `relay_clientcerts`.
    pub lists: Lists,
}

/// What has come together on the way through the lists.
#[derive(Default)]
struct Walk {
    trace: Vec<Step>,
    refusal: Refusal,
    obligations: Obligations,
}

impl Walk {
    fn take(&mut self, list: &'static str, restriction: &Restriction, answer: Answer) {
        self.trace.push(Step {
            list,
            restriction: restriction.to_string(),
            opinion: answer.opinion,
            because: answer.because,
        });
        self.refusal = answer.refusal;
        for limit in answer.obligations.limits {
            if !self.obligations.limits.contains(&limit) {
                self.obligations.limits.push(limit);
            }
        }
        for binding in answer.obligations.from_header {
            if !self.obligations.from_header.contains(&binding) {
                self.obligations.from_header.push(binding);
            }
        }
    }
}

/// What came of the lists of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Evaluation {
    /// The decision.
    Decided(Verdict),
    /// Ask this, add the answer to the facts and evaluate again.
    Ask(Question),
}

impl Chain {
    /// Evaluates the lists of a stage. Only those of [`Stage::Recipient`] permit anything; at the other stages a verdict that
    /// is neither Reject nor Defer lets the dialogue go on.
    pub fn evaluate(&self, stage: Stage, facts: &Facts<'_>) -> Evaluation {
        Evaluation::Decided(match stage {
            Stage::Recipient => self.decide(facts),
            _ => Verdict::of_nobody(),
        })
    }

    /// Decides on one recipient with what is known. Both lists must permit when both are given; with neither, nothing is
    /// permitted.
    pub fn decide(&self, facts: &Facts<'_>) -> Verdict {
        let mut walk = Walk::default();
        let mut opinion = Opinion::Pass;
        let lists = [
            ("smtpd_relay_restrictions", &self.relay),
            ("smtpd_recipient_restrictions", &self.recipient),
        ];
        for (name, restrictions) in lists {
            if restrictions.is_empty() {
                continue;
            }
            opinion = self.walk(name, restrictions, facts, &mut walk);
            if opinion != Opinion::Permit {
                break;
            }
        }
        if opinion == Opinion::Pass {
            opinion = Opinion::Reject;
        }
        let certificate_fault = match facts.identity {
            Identity::Unverified { why, .. } => Some(*why),
            _ => None,
        };
        if opinion != Opinion::Permit {
            walk.obligations = Obligations::default();
        }
        Verdict {
            opinion,
            trace: walk.trace,
            certificate_fault,
            refusal: walk.refusal,
            obligations: walk.obligations,
        }
    }

    fn walk(&self, list: &'static str, restrictions: &[Restriction], facts: &Facts<'_>, walk: &mut Walk) -> Opinion {
        for restriction in restrictions {
            let answer = self.ask(restriction, facts);
            let opinion = answer.opinion;
            walk.take(list, restriction, answer);
            if opinion != Opinion::Pass {
                return opinion;
            }
        }
        let end = Step {
            list,
            restriction: "end of list".into(),
            opinion: Opinion::Reject,
            because: Because::EndOfList,
        };
        walk.trace.push(end);
        Opinion::Reject
    }

    fn ask(&self, restriction: &Restriction, facts: &Facts<'_>) -> Answer {
        let (opinion, because) = match restriction {
            Restriction::PermitMynetworks => self.permit_mynetworks(facts),
            Restriction::PermitTlsAllClientcerts => with_verified(facts.identity, |certificate| {
                (
                    Opinion::Permit,
                    Because::CertificateVerified(certificate.issuer.one_line()),
                )
            }),
            Restriction::PermitTlsClientcerts => self.permit_tls_clientcerts(facts.identity),
            Restriction::PermitSaslAuthenticated => match facts.login {
                Some(login) => (Opinion::Permit, Because::Authenticated(login.to_owned())),
                None => (Opinion::Pass, Because::NotAuthenticated),
            },
            Restriction::Certificate(rule) => with_verified(facts.identity, |certificate| rule.ask(certificate)),
            Restriction::Rule(rule) => {
                return with_verified(facts.identity, |certificate| ask_rule(rule, certificate, facts));
            }
            Restriction::RejectSenderCertificateMismatch(binding) => {
                return with_verified(facts.identity, |certificate| ask_binding(binding, certificate, facts));
            }
            Restriction::PermitAuthDestination => self.destination(facts, Opinion::Permit, Opinion::Pass),
            Restriction::RejectUnauthDestination => self.destination(facts, Opinion::Pass, Opinion::Reject),
            Restriction::DeferUnauthDestination => self.destination(facts, Opinion::Pass, Opinion::Defer),
            Restriction::CheckRelayDomains => self.destination(facts, Opinion::Permit, Opinion::Reject),
            Restriction::Permit => (Opinion::Permit, Because::Unconditional),
            Restriction::Reject => (Opinion::Reject, Because::Unconditional),
            Restriction::Defer => (Opinion::Defer, Because::Unconditional),
        };
        Answer::from((opinion, because))
    }

    fn permit_mynetworks(&self, facts: &Facts<'_>) -> (Opinion, Because) {
        match self.lists.mynetworks.matching(facts.peer) {
            Some(network) => (Opinion::Permit, Because::AddressInNetwork(facts.peer, network)),
            None => (Opinion::Pass, Because::AddressOutsideNetworks(facts.peer)),
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

    fn destination(&self, facts: &Facts<'_>, authorised: Opinion, other: Opinion) -> (Opinion, Because) {
        let Some(forward_path) = facts.forward_path else {
            return (other, Because::DestinationNotAuthorised("nobody".into()));
        };
        let domain = match forward_path {
            // RFC 5321 section 4.5.1: <postmaster> is always ours to take.
            ForwardPath::Postmaster => return (authorised, Because::DestinationAuthorised("postmaster".into())),
            ForwardPath::Mailbox(mailbox) => &mailbox.host,
        };
        match domain {
            Host::Name(name) if self.is_destination(name) && !has_sender_routing(forward_path) => {
                (authorised, Because::DestinationAuthorised(name.to_string()))
            }
            host => (other, Because::DestinationNotAuthorised(host.to_string())),
        }
    }

    fn is_destination(&self, domain: &Domain) -> bool {
        self.lists.destinations.iter().any(|pattern| pattern.matches(domain))
    }
}

/// Whether the local-part asks the destination to route on (`user%elsewhere@here`, `elsewhere!user@here`):
/// Postfix does not count such an address as authorised, since the next hop might relay it.
fn has_sender_routing(path: &ForwardPath) -> bool {
    matches!(path, ForwardPath::Mailbox(mailbox) if mailbox.local_part.contains(['%', '!', '@']))
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
