//! What a restriction asks the outside world, and what it hears.
//!
//! **Implements** the seam between the pure lists and the driver: [`Evaluation::Ask`](super::chain::Evaluation::Ask) names one
//! [`Question`]; the list is evaluated again with the [`Answer`] among its [`Answers`].
//! **Does not** look anything up.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::wire::domain::Domain;

/// One question; two that are equal have the same answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The addresses of a name: A, and AAAA too unless only A counts (DNS lists).
    Addresses {
        /// The name, without a trailing dot.
        name: String,
        /// Whether AAAA is asked too.
        both_families: bool,
    },
    /// The MX records of a domain.
    MailExchangers(Domain),
    /// The TXT records of a name (the text of a DNS list).
    Texts(String),
    /// The names that the DNS gives the peer's address.
    PeerNames(IpAddr),
    /// A policy service (`check_policy_service`).
    Service {
        /// Which, and how long to wait for it.
        service: Arc<PolicyService>,
        /// The attributes in the order they are sent; names and values without line ends.
        attributes: Vec<(&'static str, String)>,
    },
}

/// A policy service as `check_policy_service` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyService {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// `smtpd_policy_service_timeout`.
    pub timeout: Duration,
    /// `smtpd_policy_service_default_action`: what a service that fails is taken to have said.
    pub default_action: String,
    /// `smtpd_policy_service_policy_context`: told to the service, so that one may serve several lists.
    pub context: String,
}

/// A local server: `unix:/path` or `inet:host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// A UNIX-domain socket; an absolute path.
    Unix(std::path::PathBuf),
    /// A host name or an address, and a port.
    Inet(String, u16),
}

impl std::fmt::Display for Question {
    /// In words, for traces.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Addresses {
                name,
                both_families: true,
            } => write!(f, "the DNS for the addresses of {name}"),
            Self::Addresses { name, .. } => write!(f, "the DNS list for {name}"),
            Self::MailExchangers(domain) => write!(f, "the DNS for the mail exchangers of {domain}"),
            Self::Texts(name) => write!(f, "the DNS for the texts of {name}"),
            Self::PeerNames(address) => write!(f, "the DNS for the names of {address}"),
            Self::Service { service, .. } => write!(f, "the policy service {}", service.endpoint),
        }
    }
}

impl std::fmt::Display for Endpoint {
    /// As it is written in the configuration.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Inet(host, port) => write!(f, "inet:{host}:{port}"),
        }
    }
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Question::Addresses`].
    Addresses(Found<IpAddr>),
    /// To [`Question::MailExchangers`]: preference and host; a single `.` of preference 0 is the null MX of RFC 7505.
    MailExchangers(Found<(u16, String)>),
    /// To [`Question::Texts`].
    Texts(Found<String>),
    /// To [`Question::PeerNames`].
    PeerNames(PeerNames),
    /// To [`Question::Service`]: the action it named, or why it named none, in words.
    Service(Result<String, String>),
}

/// What the DNS says of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// These records, at least one.
    Records(Vec<T>),
    /// The name exists and has none of them.
    NoRecords,
    /// There is no such name.
    NoSuchName,
    /// Nobody knows now, in words: a refusal for the time being, never a permission.
    Failed(String),
}

/// What the DNS calls the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerNames {
    /// The name of the address, whether or not it leads back.
    pub reverse: Found<Domain>,
    /// The name of the address that leads back to it (`reject_unknown_client_hostname`).
    pub verified: Found<Domain>,
}

/// What has been heard so far; a session keeps at most [`ANSWERS_MAX`], the oldest goes first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    known: Vec<(Question, Answer)>,
}

/// How many answers a session keeps.
pub const ANSWERS_MAX: usize = 64;

impl Answers {
    /// Nothing heard yet.
    pub const NONE: &'static Self = &Self { known: Vec::new() };

    /// The answer to a question, when it was asked.
    pub fn of(&self, question: &Question) -> Option<&Answer> {
        self.known
            .iter()
            .find_map(|(asked, answer)| (asked == question).then_some(answer))
    }

    /// Keeps an answer.
    pub fn add(&mut self, question: Question, answer: Answer) {
        self.known.retain(|(asked, _)| *asked != question);
        if self.known.len() >= ANSWERS_MAX {
            self.known.remove(0);
        }
        self.known.push((question, answer));
    }

    /// Forgets what policy services said: it held for one restriction of one command only.
    pub fn forget_services(&mut self) {
        self.known
            .retain(|(asked, _)| !matches!(asked, Question::Service { .. }));
    }
}
