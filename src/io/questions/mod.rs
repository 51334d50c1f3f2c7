//! Answers what restrictions ask of the outside world.
//!
//! **Implements** every [`Question`] over the DNS and policy services, each with a time limit and a bound on how many are
//! asked at a time.
//! **Does not** judge an answer: the lists do. What nobody knows is an answer too, in words.

mod names;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::io::dns::SystemResolver;
use crate::io::policy_service::{PolicyClient, PolicyConnections};
use crate::io::turns::{Turn, Turns};
use crate::net;
use crate::policy::chain::Evaluation;
use crate::policy::question::{Answer, Answers, Found, PeerNames, Question};
use crate::policy::session_places::network_of;
use crate::policy::verdict::Verdict;
use crate::session::QUESTIONS_MAX;

/// How long one question to the DNS may take, the wait for its turn included.
pub const DNS_TIME_MAX: Duration = Duration::from_secs(30);
/// Questions of restrictions to the DNS at a time; the next one waits.
const DNS_QUESTIONS_MAX: usize = 500;
/// Of these, and of the look-ups of names, those of one network: whoever asks of domains whose name servers never answer
/// must not take the turns of everybody.
pub const NETWORK_QUESTIONS_MAX: usize = 50;
/// Questions of one network to policy services at a time: a service may have to ask such name servers too.
const NETWORK_SERVICES_MAX: usize = 20;
/// Peers whose names are looked up at a time; the next one waits. Every connection asks for them, and whoever connects chooses
/// how slowly its name server answers, so that they must not take the turns of the other questions.
const DNS_PEERS_MAX: usize = 500;

/// Whoever knows, shared by all sessions.
pub struct Questions {
    resolver: Arc<SystemResolver>,
    services: PolicyClient,
    turns: Turns,
    peer_turns: Turns,
    service_turns: Turns,
}

impl Questions {
    /// Asks these name servers, and policy services over connections of its own.
    pub fn new(resolver: Arc<SystemResolver>, connections: PolicyConnections) -> Self {
        Self {
            resolver,
            services: PolicyClient::new(connections),
            turns: Turns::new(DNS_QUESTIONS_MAX, NETWORK_QUESTIONS_MAX),
            peer_turns: Turns::new(DNS_PEERS_MAX, NETWORK_QUESTIONS_MAX),
            // How many are asked at a time is each service's matter.
            service_turns: Turns::new(Semaphore::MAX_PERMITS, NETWORK_SERVICES_MAX),
        }
    }

    /// Answers one question of a session with this peer; a failure is an answer. Cancel-safe.
    pub async fn answer(&self, question: &Question, peer: IpAddr) -> Answer {
        let network = network_of(net::canonical(peer));
        match question {
            Question::Addresses { name, both_families } => {
                let asked = names::addresses(&self.resolver, name, *both_families);
                Answer::Addresses(
                    in_time(self.turns.turn(network), asked)
                        .await
                        .unwrap_or_else(Found::Failed),
                )
            }
            Question::MailExchangers(domain) => {
                let asked = names::mail_exchangers(&self.resolver, domain);
                Answer::MailExchangers(
                    in_time(self.turns.turn(network), asked)
                        .await
                        .unwrap_or_else(Found::Failed),
                )
            }
            Question::Texts(name) => {
                let asked = names::texts(&self.resolver, name);
                Answer::Texts(
                    in_time(self.turns.turn(network), asked)
                        .await
                        .unwrap_or_else(Found::Failed),
                )
            }
            Question::PeerNames(address) => Answer::PeerNames(self.peer_names(*address).await),
            Question::Service { service, attributes } => {
                let turn = self.service_turns.turn(network);
                let Ok(_turn) = tokio::time::timeout(service.timeout, turn).await else {
                    return Answer::Service(Err(String::from(
                        "too many questions of this network wait for the service",
                    )));
                };
                Answer::Service(self.services.ask(service, attributes).await)
            }
        }
    }

    /// What the DNS calls an address, as Postfix's `smtpd_peer_init` finds it. Cancel-safe.
    pub async fn peer_names(&self, address: IpAddr) -> PeerNames {
        let asked = names::peer_names(&self.resolver, address);
        let turn = self.peer_turns.turn(network_of(net::canonical(address)));
        let named = in_time(turn, asked).await;
        named.unwrap_or_else(names::unknown)
    }

    /// Asks and evaluates until there is a decision, as a session does. Cancel-safe.
    pub async fn decide(&self, mut evaluate: impl FnMut(&Answers) -> Evaluation) -> Verdict {
        let mut answers = Answers::default();
        for _ in 0..QUESTIONS_MAX {
            match evaluate(&answers) {
                Evaluation::Decided(verdict) => return verdict,
                Evaluation::Ask(question) => {
                    let answer = self.answer(&question, Ipv4Addr::UNSPECIFIED.into()).await;
                    answers.add(question, answer);
                }
            }
        }
        match evaluate(&answers) {
            Evaluation::Decided(verdict) => verdict,
            Evaluation::Ask(_) => Verdict::of_too_many_questions(),
        }
    }
}

/// # Errors
/// In words: the time is over.
async fn in_time<T>(turn: impl Future<Output = Turn<'_>>, asked: impl Future<Output = T>) -> Result<T, String> {
    let in_turn = async {
        let _turn = turn.await;
        asked.await
    };
    let outcome = tokio::time::timeout(DNS_TIME_MAX, in_turn).await;
    outcome.map_err(|_elapsed| late(DNS_TIME_MAX))
}

fn late(within: Duration) -> String {
    format!("no answer from the DNS within {} s", within.as_secs())
}

/// The names of a peer that the DNS has not told within this time.
pub fn unknown_names(within: Duration) -> PeerNames {
    names::unknown(late(within))
}

/// The answer to a question that is not asked, or no longer waited for.
pub fn unanswered(question: &Question, why: &str) -> Answer {
    let why = why.to_owned();
    match question {
        Question::Addresses { .. } => Answer::Addresses(Found::Failed(why)),
        Question::MailExchangers(_) => Answer::MailExchangers(Found::Failed(why)),
        Question::Texts(_) => Answer::Texts(Found::Failed(why)),
        Question::PeerNames(_) => Answer::PeerNames(names::unknown(why)),
        Question::Service { .. } => Answer::Service(Err(why)),
    }
}
