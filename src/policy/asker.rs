//! One restriction being asked: what it may look at, what it hears from outside, whom a refusal names.

use std::net::IpAddr;

use super::answer::Answer;
use super::facts::{Facts, Lists};
use super::question::{self, Found, PeerNames, Question};
use super::refusal::{Denied, Subject, Why};
use super::stage::List;
use super::verdict::{Because, Opinion};
use crate::wire::domain::{Domain, Host};
use crate::wire::path::{ForwardPath, Mailbox, ReversePath};

/// The answer of a restriction, or what it has to know first.
pub(super) type Asked = Result<Answer, Box<Question>>;

/// What a restriction looks at.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) lists: &'a Lists,
    pub(super) facts: &'a Facts<'a>,
    /// The list it stands in.
    pub(super) list: List,
}

impl Asker<'_> {
    /// What a refusal of this list is about, when the restriction itself does not say.
    pub(super) const fn subject(&self) -> Subject {
        match self.list {
            List::Client => Subject::Client,
            List::Hello => Subject::Hello,
            List::Sender => Subject::Sender,
            List::Relay | List::Recipient => Subject::Recipient,
            List::Data => Subject::Data,
            List::EndOfData => Subject::EndOfData,
        }
    }

    /// A refusal about this.
    pub(super) fn denied(&self, code: u16, status: (u16, u16), subject: Subject, why: Why) -> Denied {
        let class = if code < 500 { 4 } else { 5 };
        Denied {
            code,
            status: (class, status.0, status.1),
            name: self.name_of(subject),
            subject,
            why,
        }
    }

    /// Refuses, or not: the usual end of a restriction that looks at one thing.
    pub(super) fn refuse(&self, code: u16, status: (u16, u16), subject: Subject, why: Why) -> Answer {
        let denied = self.denied(code, status, subject, why.clone());
        let because = Because::Fails(denied.name.clone(), why);
        Answer::denied(denied, because)
    }

    /// Nobody knows now: refused for now unless something refuses for good.
    pub(super) fn unknown(&self, subject: Subject, name: &str, why: &str) -> Answer {
        let denied = self.denied(450, (4, 3), subject, Why::LookupFailed(name.to_owned()));
        Answer::defer_if_permit(denied, Because::LookupFailed(name.to_owned(), why.to_owned()))
    }

    pub(super) fn name_of(&self, subject: Subject) -> String {
        match subject {
            Subject::Client | Subject::ReverseClient => {
                format!("{}[{}]", self.client_name_known(), self.facts.peer)
            }
            Subject::Hello => self.facts.hello.to_owned(),
            Subject::Sender => self.facts.reverse_path.map(ToString::to_string).unwrap_or_default(),
            Subject::Recipient => self.facts.forward_path.map(ToString::to_string).unwrap_or_default(),
            Subject::Data => "DATA".into(),
            Subject::EndOfData => "END-OF-MESSAGE".into(),
            Subject::Certificate => {
                let certificate = self.facts.identity.certificate();
                certificate.map_or_else(String::new, |certificate| certificate.fingerprint.clone())
            }
            Subject::Login => self.facts.login.unwrap_or_default().to_owned(),
        }
    }

    /// The peer's name as far as it is known, without asking.
    pub(super) fn client_name_known(&self) -> String {
        let answered = match self.facts.answers.of(&Question::PeerNames(self.facts.peer)) {
            Some(question::Answer::PeerNames(names)) => first(&names.verified),
            _ => None,
        };
        let name = answered.or(self.facts.peer_name);
        name.map_or_else(|| "unknown".to_owned(), Domain::to_string)
    }

    /// The addresses of a name.
    pub(super) fn addresses(&self, name: &str, both_families: bool) -> Result<Found<IpAddr>, Box<Question>> {
        let question = Question::Addresses {
            name: name.to_owned(),
            both_families,
        };
        match self.facts.answers.of(&question) {
            Some(question::Answer::Addresses(found)) => Ok(found.clone()),
            Some(_) => Ok(Found::Failed(OTHER_KIND.into())),
            None => Err(Box::new(question)),
        }
    }

    /// The mail exchangers of a domain.
    pub(super) fn mail_exchangers(&self, domain: &Domain) -> Result<Found<(u16, String)>, Box<Question>> {
        let question = Question::MailExchangers(domain.clone());
        match self.facts.answers.of(&question) {
            Some(question::Answer::MailExchangers(found)) => Ok(found.clone()),
            Some(_) => Ok(Found::Failed(OTHER_KIND.into())),
            None => Err(Box::new(question)),
        }
    }

    /// The texts of a name.
    pub(super) fn texts(&self, name: &str) -> Result<Found<String>, Box<Question>> {
        let question = Question::Texts(name.to_owned());
        match self.facts.answers.of(&question) {
            Some(question::Answer::Texts(found)) => Ok(found.clone()),
            Some(_) => Ok(Found::Failed(OTHER_KIND.into())),
            None => Err(Box::new(question)),
        }
    }

    /// What the DNS calls the peer.
    pub(super) fn peer_names(&self) -> Result<PeerNames, Box<Question>> {
        let question = Question::PeerNames(self.facts.peer);
        match self.facts.answers.of(&question) {
            Some(question::Answer::PeerNames(names)) => Ok(names.clone()),
            Some(_) => Ok(PeerNames {
                reverse: Found::Failed(OTHER_KIND.into()),
                verified: Found::Failed(OTHER_KIND.into()),
            }),
            None => Err(Box::new(question)),
        }
    }

    /// The mailbox of the sender; none for the null reverse-path.
    pub(super) fn sender(&self) -> Option<&Mailbox> {
        match self.facts.reverse_path {
            Some(ReversePath::Mailbox(mailbox)) => Some(mailbox),
            _ => None,
        }
    }

    /// Whether the recipient's local-part asks the destination to route on (`user%elsewhere@here`, `elsewhere!user@here`):
    /// Postfix does not count such an address as authorised, since the next hop might relay it.
    pub(super) fn asks_for_routing(&self) -> bool {
        let mut local_part = self.recipient().map(|mailbox| mailbox.local_part.as_str()).into_iter();
        local_part.any(|text| text.contains(['%', '!', '@']))
    }

    /// The mailbox of the recipient; none for `<postmaster>`.
    pub(super) fn recipient(&self) -> Option<&Mailbox> {
        match self.facts.forward_path {
            Some(ForwardPath::Mailbox(mailbox)) => Some(mailbox),
            _ => None,
        }
    }
}

/// An answer that does not belong to its question is as good as none.
const OTHER_KIND: &str = "the answer is of another kind";

/// The first of the records.
pub(super) fn first<T>(found: &Found<T>) -> Option<&T> {
    match found {
        Found::Records(records) => records.first(),
        _ => None,
    }
}

/// The domain of a mailbox; none for an address literal.
pub(super) const fn domain_of(mailbox: &Mailbox) -> Option<&Domain> {
    match &mailbox.host {
        Host::Name(domain) => Some(domain),
        Host::Literal(_) => None,
    }
}

/// No opinion.
pub(super) fn pass(because: Because) -> Answer {
    Answer::from((Opinion::Pass, because))
}

/// Nothing to look at, at this stage or in this session.
pub(super) fn not_known() -> Answer {
    pass(Because::NotKnownYet)
}
