//! What DNS lists say of the peer, of HELO, and of the domains of addresses.
//!
//! **Implements** `reject_rbl_client`, `permit_dnswl_client`, `reject_rhsbl_*`, `permit_rhswl_client` of postconf(5). A list
//! that does not answer refuses for now what would be permitted in the end, where Postfix takes it for an empty one.

use super::answer::Answer;
use super::asker::{Asked, Asker, domain_of, first, not_known, pass};
use super::dns_list::{DnsList, ListUse, reversed};
use super::question::{Found, Question};
use super::refusal::{Subject, Why};
use super::verdict::{Because, Opinion};
use crate::wire::domain::{Domain, Host};

impl Asker<'_> {
    /// Asks a DNS list.
    pub(super) fn ask_dns_list(&self, list: &DnsList) -> Asked {
        if list.use_.permits() && self.recipient_is_not_ours() {
            // What anybody can put into a list of somebody else must not let mail through to the world.
            return Ok(pass(Because::DestinationNotAuthorised(
                self.name_of(Subject::Recipient),
            )));
        }
        let (subject, what) = match self.listed_thing(list.use_)? {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(not_known()),
            Err(why) => return Ok(self.no_list(list, &self.facts.peer.to_string(), &why)),
        };
        let in_list = match subject {
            Subject::Client if is_of_address(list.use_) => reversed(self.facts.peer),
            _ => what.clone(),
        };
        let name = format!("{in_list}.{}", list.zone);
        let counts = |address| list.filter.as_ref().is_none_or(|filter| filter.matches(address));
        let is_listed = match self.addresses(&name, false)? {
            Found::Records(addresses) => addresses.into_iter().any(counts),
            Found::NoRecords | Found::NoSuchName => false,
            Found::Failed(why) => return Ok(self.no_list(list, &name, &why)),
        };
        if !is_listed {
            return Ok(pass(Because::NotListed(what)));
        }
        if list.use_.permits() {
            return Ok(Answer::from((Opinion::Permit, Because::Listed(what))));
        }
        let reason = first(&self.texts(&name)?).cloned();
        let why = Why::Listed {
            list: list.zone.clone(),
            reason,
        };
        let mut denied = self.denied(self.lists.codes.dns_list, (7, 1), subject, why.clone());
        // Postfix names the whole address whose domain is listed.
        if !matches!(subject, Subject::Sender | Subject::Recipient) {
            denied.name.clone_from(&what);
        }
        Ok(Answer::denied(denied, Because::Fails(what, why)))
    }

    fn no_list(&self, list: &DnsList, name: &str, why: &str) -> Answer {
        let mut answer = self.unknown(Subject::Client, name, why);
        if list.use_.permits() {
            answer.opinion = Opinion::DeferIfReject;
        }
        answer
    }

    fn recipient_is_not_ours(&self) -> bool {
        let is_ours = |domain: &Domain| self.lists.is_destination(domain);
        self.recipient()
            .is_some_and(|mailbox| self.asks_for_routing() || !domain_of(mailbox).is_some_and(is_ours))
    }

    /// What is looked up, and what a refusal is about; an error when the DNS could not say it.
    #[expect(clippy::type_complexity, reason = "the outer result asks, the inner one has failed")]
    fn listed_thing(&self, use_: ListUse) -> Result<Result<Option<(Subject, String)>, String>, Box<Question>> {
        let of = |subject, domain: Option<&Domain>| Ok(domain.map(|domain| (subject, domain.to_string())));
        let of_name = |subject, found: &Found<Domain>| match found {
            Found::Failed(why) => Err(why.clone()),
            found => of(subject, first(found)),
        };
        Ok(match use_ {
            ListUse::RejectClient | ListUse::PermitClient => Ok(Some((Subject::Client, self.facts.peer.to_string()))),
            ListUse::RejectClientName | ListUse::PermitClientName => {
                of_name(Subject::Client, &self.peer_names()?.verified)
            }
            ListUse::RejectReverseName => of_name(Subject::ReverseClient, &self.peer_names()?.reverse),
            ListUse::RejectHello => match Host::parse(self.facts.hello.trim_end_matches('.')) {
                Some(Host::Name(domain)) => of(Subject::Hello, Some(&domain)),
                _ => Ok(None),
            },
            ListUse::RejectSender => of(Subject::Sender, self.sender().and_then(domain_of)),
            ListUse::RejectRecipient => of(Subject::Recipient, self.recipient().and_then(domain_of)),
        })
    }
}

const fn is_of_address(use_: ListUse) -> bool {
    matches!(use_, ListUse::RejectClient | ListUse::PermitClient)
}
