//! What belongs to the connection and not to a state: the peer, its octets, and what goes out.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::action::Action;
use super::event::{BareNewlinePlace, BareOctet, CloseReason, Event, Origin};
use super::extension::Extension;
use super::filter::FilterNotice;
use super::hello::Hello;
use super::limits::{Counters, Wait};
use super::settings::{SessionSettings, TlsOffer};
use crate::cert::identity::Identity;
use crate::mail::trace_header::TlsDescription;
use crate::net;
use crate::policy::chain::Chain;
use crate::policy::client_rates::RateEvent;
use crate::policy::question::{Answer, Answers, PeerNames, Question};
use crate::policy::verdict::Obligations;
use crate::time::Now;
use crate::wire::command::CommandError;
use crate::wire::data::BareNewline;
use crate::wire::domain::Domain;
use crate::wire::line::Input;
use crate::wire::reply::{Charset, Reply};
use crate::wire::sasl::{PasswordMechanism, PasswordMechanisms};

/// What content filters were told of and not yet told the end of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Told {
    /// No transaction.
    #[default]
    Nothing,
    /// One.
    Transaction,
}

/// The connection of one session.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, learnt at its own time"
)]
pub(super) struct Connection {
    pub(super) settings: Arc<SessionSettings>,
    pub(super) peer: SocketAddr,
    /// What the DNS says of the peer: not learnt from the peer, so it outlives STARTTLS.
    pub(super) peer_name: Option<Domain>,
    /// Where the connection came from, which XCLIENT does not change.
    pub(super) proxy: SocketAddr,
    /// What XCLIENT said of the peer's names.
    pub(super) given_names: Option<PeerNames>,
    /// What XCLIENT said of HELO, until the greeting.
    pub(super) given_hello: Option<Hello>,
    pub(super) session_id: String,
    pub(super) identity: Identity,
    /// Who is at the other end of the connection: `identity`, unless XCLIENT named somebody elsewhere.
    pub(super) shown: Identity,
    /// The lists that decide; at first those of the settings.
    pub(super) chain: Arc<Chain>,
    /// What holds from the next EHLO, AUTH or MAIL on.
    pub(super) renewal: Option<(Identity, Arc<Chain>)>,
    /// The name that AUTH with a password proved; it goes with STARTTLS.
    pub(super) login: Option<String>,
    /// The mechanism that proved it, or XCLIENT; empty without a login.
    pub(super) login_mechanism: &'static str,
    /// Our address as the client sees it: that of the socket, or what a proxy said.
    pub(super) local: Option<SocketAddr>,
    /// What the outside world has said in this transaction.
    pub(super) answers: Answers,
    /// What it was asked last.
    pub(super) asked: Option<Question>,
    /// What HOLD and the like of the client and helo lists ask, under `smtpd_delay_reject = no`: of every message.
    pub(super) standing: Obligations,
    /// Transactions begun.
    transactions: u64,
    /// What content filters know of.
    pub(super) told: Told,
    /// Whether AUTH succeeded, with a password or for this identity.
    pub(super) is_authenticated: bool,
    /// What the password service takes; `None` as long as it has not been heard.
    pub(super) mechanisms: Option<PasswordMechanisms>,
    pub(super) tls: Option<TlsDescription>,
    pub(super) origin: Arc<Origin>,
    pub(super) input: Input,
    pub(super) counters: Counters,
    /// The largest message that the queue has room for, octets; 0 while it has none.
    pub(super) room_octets: u64,
    /// What the client takes in a reply now.
    pub(super) charset: Charset,
    /// Set when the session ends as soon as the queue has answered, and says nothing more until then.
    pub(super) leaving: Option<CloseReason>,
    pub(super) shutting_down: bool,
    /// Whether sessions are short.
    pub(super) is_stressed: bool,
    /// Whether the peer has sent what had to wait for a reply or for the greeting.
    pub(super) spoke_out_of_turn: bool,
    /// Whether every recipient is refused (`postscreen_greet_action = enforce`).
    pub(super) is_barred: bool,
    /// Whole commands, handshakes and blocks of mail data so far.
    pub(super) progress: u64,
    pub(super) messages_queued: u64,
    pub(super) deadline: Option<Instant>,
    pub(super) actions: VecDeque<Action>,
    pub(super) events: VecDeque<Event>,
    references: u64,
}

impl Connection {
    /// A connection in plaintext, of which [`Event::SessionOpened`] is told.
    pub(super) fn new(
        settings: Arc<SessionSettings>,
        (peer, local): (SocketAddr, Option<SocketAddr>),
        session_id: String,
        now: Now,
    ) -> Self {
        let identity = Identity::Plaintext;
        let origin = Arc::new(Origin::new(&session_id, &settings.listener, peer, &identity));
        let opened = Event::SessionOpened {
            origin: Arc::clone(&origin),
        };
        Self {
            chain: Arc::clone(&settings.chain),
            mechanisms: settings.sasl.mechanisms,
            renewal: None,
            is_authenticated: false,
            login: None,
            login_mechanism: "",
            local,
            answers: Answers::default(),
            asked: None,
            standing: Obligations::default(),
            transactions: 0,
            told: Told::Nothing,
            settings,
            peer,
            peer_name: None,
            proxy: peer,
            given_names: None,
            given_hello: None,
            session_id,
            shown: identity.clone(),
            identity,
            tls: None,
            origin,
            input: Input::default(),
            counters: Counters::default(),
            room_octets: u64::MAX,
            charset: Charset::Ascii,
            leaving: None,
            shutting_down: false,
            is_stressed: false,
            spoke_out_of_turn: false,
            is_barred: false,
            progress: 0,
            messages_queued: 0,
            deadline: Some(now.monotonic),
            actions: VecDeque::new(),
            events: VecDeque::from([opened]),
            references: 0,
        }
    }

    /// Takes an identity, under which everything that follows is recorded. Who authenticated with a verified certificate has
    /// not done so with another one.
    pub(super) fn identify(&mut self, identity: Identity) {
        self.shown = identity.clone();
        let identity = if self.is_proxied() && !matches!(identity, Identity::Plaintext) {
            Identity::NoCertificate
        } else {
            identity
        };
        let is_same =
            identity.verified().map(|new| &new.fingerprint) == self.identity.verified().map(|known| &known.fingerprint);
        self.is_authenticated = self.login.is_some() || (self.is_authenticated && is_same);
        self.identity = identity;
        self.record_origin();
    }

    /// Takes a login, under which everything that follows is recorded.
    pub(super) fn log_in(&mut self, login: String, mechanism: PasswordMechanism) {
        self.login = Some(login);
        self.login_mechanism = mechanism.name();
        self.is_authenticated = true;
        self.record_origin();
    }

    fn record_origin(&mut self) {
        let listener = &self.settings.listener;
        self.origin = Arc::new(Origin {
            login: self.login.clone(),
            ..Origin::new(&self.session_id, listener, self.peer, &self.identity)
        });
    }

    /// The mechanisms announced behind AUTH: those that would work now. EXTERNAL never without a verified certificate.
    pub(super) fn auth_mechanisms(&self) -> Vec<&'static str> {
        if self.is_auth_exception() {
            return Vec::new();
        }
        let passwords = self.settings.sasl.takes_passwords(self.tls.is_some());
        let passwords = self.mechanisms.filter(|_| passwords).unwrap_or_default();
        let external = self.settings.auth_external && self.identity.verified().is_some();
        passwords.names().chain(external.then_some("EXTERNAL")).collect()
    }

    /// `smtpd_sasl_exceptions_networks`.
    pub(super) fn is_auth_exception(&self) -> bool {
        self.settings.sasl.exceptions.contains(net::canonical(self.peer.ip()))
    }

    /// Whether XCLIENT named a client at another address: the certificate at the other end is not that client's.
    pub(super) fn is_proxied(&self) -> bool {
        net::canonical(self.peer.ip()) != net::canonical(self.proxy.ip())
    }

    /// `smtpd_authorized_xclient_hosts`: whoever really is at the other end.
    pub(super) fn may_xclient(&self) -> bool {
        self.settings.xclient_hosts.contains(self.proxy.ip())
    }

    /// Says a reply; late, once the peer has made `smtpd_soft_error_limit` errors.
    pub(super) fn send(&mut self, reply: &Reply) {
        if self.leaving.is_some() {
            return;
        }
        let mut reply = reply.clone();
        if self.hides(Extension::EnhancedStatusCodes) {
            reply.status = None;
        }
        let octets = reply.to_wire_in(self.charset);
        let defences = &self.settings.defences;
        if !defences.error_sleep.is_zero() && self.counters.errors() >= defences.soft_errors_max {
            self.actions.push_back(Action::Pause(defences.error_sleep));
        }
        self.actions.push_back(Action::Send(octets));
    }

    /// Whether an extension is hidden from this peer.
    pub(super) fn hides(&self, extension: Extension) -> bool {
        let address = net::canonical(self.peer.ip());
        self.settings.hidden.from(address).contains(extension)
    }

    /// Whether an extension is announced to this peer now.
    pub(super) fn offers(&self, extension: Extension) -> bool {
        let settings = &self.settings;
        let is_there = match extension {
            // RFC 3207 section 4.2: not again within TLS.
            Extension::StartTls => self.tls.is_none() && matches!(settings.tls, TlsOffer::May | TlsOffer::Encrypt),
            Extension::Auth => !self.auth_mechanisms().is_empty(),
            Extension::SmtpUtf8 => settings.smtputf8,
            Extension::Xclient => self.may_xclient(),
            // RFC 8689 section 2: within TLS only.
            Extension::RequireTls => settings.require_tls && self.tls.is_some(),
            _ => true,
        };
        is_there && !self.hides(extension)
    }

    /// Refuses a command: says so, counts it, records it.
    pub(super) fn refuse(&mut self, reply: Reply) {
        self.send(&reply);
        self.counters.error();
        let origin = Arc::clone(&self.origin);
        self.events.push_back(Event::CommandRejected { origin, reply });
    }

    /// Tells content filters that the transaction is over, if they know of one.
    pub(super) fn end_filtering(&mut self) {
        if std::mem::take(&mut self.told) == Told::Transaction {
            self.actions.push_back(Action::TellFilters(FilterNotice::Abort));
        }
    }

    /// Tells content filters of a line that is no command.
    pub(super) fn tell_of_unknown(&mut self, why: CommandError, line: &[u8]) {
        if self.settings.has_filters && why == CommandError::Unknown {
            let line = String::from_utf8_lossy(line).into_owned();
            let notice = FilterNotice::UnknownCommand(line);
            self.actions.push_back(Action::TellFilters(notice));
        }
    }

    /// Starts a time limit anew.
    pub(super) fn wait(&mut self, wait: Wait, now: Now) {
        let limit = wait.limit(&self.settings, self.is_hurried());
        self.deadline = now.monotonic.checked_add(limit);
    }

    /// Mail data has arrived. With a deadline for the whole request it moves by the time that these octets may take at
    /// `smtpd_min_data_rate`, and never past the time limit of one read.
    pub(super) fn wait_for_more_data(&mut self, octets: usize, now: Now) {
        let before = self.deadline;
        self.wait(Wait::DataBlock, now);
        if self.has_request_deadline() {
            let rate = self.settings.defences.data_rate_octets_min.max(1);
            let microseconds = (octets as u64).saturating_mul(1_000_000) / rate;
            let moved = before.and_then(|before| before.checked_add(Duration::from_micros(microseconds)));
            self.deadline = self.deadline.into_iter().chain(moved).min();
        }
    }

    /// Whether a time limit is for a whole request (`smtpd_per_request_deadline`).
    pub(super) fn has_request_deadline(&self) -> bool {
        self.settings.defences.per_request_deadline || self.is_hurried()
    }

    /// Whether the peer's address is trusted.
    pub(super) fn is_in_mynetworks(&self) -> bool {
        self.chain.lists.mynetworks.contains(self.peer.ip())
    }

    /// Whether nothing vouches for the peer.
    pub(super) fn is_stranger(&self) -> bool {
        self.identity.verified().is_none() && self.login.is_none() && !self.is_in_mynetworks()
    }

    /// Whether the peer gets less time and fewer errors than otherwise.
    pub(super) fn is_hurried(&self) -> bool {
        self.is_stressed && self.is_stranger()
    }

    /// Whether an event is to be counted.
    pub(super) fn is_limited(&self, event: RateEvent) -> bool {
        let defences = &self.settings.defences;
        defences.rates.of(event) > 0 && !defences.rate_exceptions.contains(self.peer.ip())
    }

    /// The peer's address as it is logged.
    pub(super) fn peer_address(&self) -> IpAddr {
        net::canonical(self.peer.ip())
    }

    /// A short text that names one decision in the reply and in the log.
    pub(super) fn next_reference(&mut self) -> String {
        self.references = self.references.saturating_add(1);
        format!("{}-{}", self.session_id, self.references)
    }

    /// Names a transaction to policy services.
    pub(super) fn next_instance(&mut self) -> String {
        self.transactions = self.transactions.saturating_add(1);
        format!("{}.{}", self.session_id, self.transactions)
    }

    /// What a bare newline leads to for this peer (`smtpd_forbid_bare_newline_exclusions`).
    pub(super) fn bare_newline(&self) -> BareNewline {
        let address = net::canonical(self.peer.ip());
        if self.settings.bare_newline_exclusions.contains(address) {
            BareNewline::Normalize
        } else {
            self.settings.bare_newline
        }
    }

    /// What a session knows without asking: the names that XCLIENT gave.
    pub(super) fn own_answer(&self, question: &Question) -> Option<Answer> {
        let names = self.given_names.as_ref()?;
        match question {
            Question::PeerNames(address) if *address == net::canonical(self.peer.ip()) => {
                Some(Answer::PeerNames(names.clone()))
            }
            _ => None,
        }
    }

    /// The peer as Postfix names it: `name[address]`.
    pub(super) fn peer_in_words(&self) -> String {
        let address = net::canonical(self.peer.ip());
        match &self.peer_name {
            Some(name) => format!("{name}[{address}]"),
            None => format!("unknown[{address}]"),
        }
    }

    /// Records a bare newline where the settings ask for it.
    pub(super) fn note_bare_newline(&mut self, place: BareNewlinePlace, which: BareOctet) {
        if self.bare_newline() != BareNewline::Normalize {
            let origin = Arc::clone(&self.origin);
            self.events.push_back(Event::BareNewlineSeen { origin, place, which });
        }
    }
}
