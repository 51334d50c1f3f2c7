//! One outsider at one listener: whether any of its attempts would be relayed.

use std::net::IpAddr;

use crate::cert::identity::Identity;
use crate::config::ListenerSettings;
use crate::net;
use crate::policy::chain::Evaluation;
use crate::policy::facts::Facts;
use crate::policy::question::{self, ANSWERS_MAX, Answer, Answers, PeerNames, Question};
use crate::policy::stage::Stage;
use crate::policy::verdict::Verdict;
use crate::session::replies;
use crate::wire::domain::Domain;

use super::surroundings::Surroundings;

/// How many of the surroundings are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breadth {
    /// Every peer, sender and destination.
    All,
    /// Every sender from one peer to one destination: for the many certificates of which only the name differs.
    Senders,
}

/// An attempt that would be relayed.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) listener: String,
    pub(super) outsider: String,
    /// `from ADDRESS, <sender> to <recipient>`.
    pub(super) attempt: String,
    pub(super) decided_by: String,
    pub(super) because: String,
}

/// A listener, and what is tried there.
pub(super) struct Target<'a> {
    pub(super) listener: &'a ListenerSettings,
    pub(super) surroundings: Surroundings,
    pub(super) now_unix_seconds: i64,
}

impl Target<'_> {
    /// The first attempt that would be relayed, asked of the daemon's own chain.
    pub(super) fn attempt(&self, outsider: &str, identity: &Identity, breadth: Breadth) -> Option<Found> {
        let session = &self.listener.session;
        if replies::before_recipients(session, identity, "check").is_some() {
            return None;
        }
        let some = |all: usize| if breadth == Breadth::All { all } else { 1 };
        let surroundings = &self.surroundings;
        for peer in surroundings.peers.iter().take(some(usize::MAX)) {
            for forward_path in surroundings.forward_paths.iter().take(some(usize::MAX)) {
                for reverse_path in &surroundings.reverse_paths {
                    for name in &surroundings.names {
                        let verdict = self.verdict(
                            &Facts {
                                hello: name,
                                reverse_path: Some(reverse_path),
                                forward_path: Some(forward_path),
                                ..Facts::new(net::canonical(*peer), identity, self.now_unix_seconds)
                            },
                            name,
                        );
                        if verdict.is_permit() {
                            return Some(Found {
                                listener: self.listener.name.clone(),
                                outsider: outsider.to_owned(),
                                attempt: format!("from {peer}, <{reverse_path}> to <{forward_path}>"),
                                decided_by: verdict.decided_by().to_owned(),
                                because: verdict.because().to_string(),
                            });
                        }
                    }
                }
            }
        }
        None
    }

    /// The decision in a world that does whatever a stranger can make it do.
    fn verdict(&self, facts: &Facts<'_>, name: &str) -> Verdict {
        let chain = &self.listener.session.chain;
        let mut answers = Answers::default();
        for _ in 0..ANSWERS_MAX {
            let facts = Facts {
                answers: &answers,
                ..*facts
            };
            match chain.evaluate(Stage::Recipient, &facts) {
                Evaluation::Decided(verdict) => return verdict,
                Evaluation::Ask(question) => {
                    let answer = of_a_stranger(&question, name, facts.peer);
                    answers.add(question, answer);
                }
            }
        }
        Verdict::of_too_many_questions()
    }
}

/// Every domain exists, no list has the stranger, and its address is called what it wants. A policy service belongs to the
/// operator: it is taken to say nothing.
fn of_a_stranger(asked: &Question, name: &str, peer: IpAddr) -> Answer {
    match asked {
        Question::Addresses {
            both_families: true, ..
        } => Answer::Addresses(question::Found::Records(vec![peer])),
        Question::Addresses { .. } => Answer::Addresses(question::Found::NoSuchName),
        Question::MailExchangers(domain) => {
            Answer::MailExchangers(question::Found::Records(vec![(10, domain.to_string())]))
        }
        Question::Texts(_) => Answer::Texts(question::Found::NoSuchName),
        Question::PeerNames(_) => {
            let one = |name: &str| {
                Domain::parse(name).map_or(question::Found::NoSuchName, |name| question::Found::Records(vec![name]))
            };
            Answer::PeerNames(PeerNames {
                reverse: one(name),
                verified: one("outside.example"),
            })
        }
        Question::Service { .. } => Answer::Service(Ok("DUNNO".into())),
    }
}
