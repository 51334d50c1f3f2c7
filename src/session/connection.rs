//! What belongs to the connection and not to a state: the peer, its octets, and what goes out.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::action::Action;
use super::event::{BareNewlinePlace, BareOctet, CloseReason, Event, Origin};
use super::extension::Extension;
use super::filter::FilterNotice;
use super::limits::{Counters, Wait};
use super::settings::{SessionSettings, TlsOffer};
use crate::cert::identity::Identity;
use crate::mail::trace_header::TlsDescription;
use crate::net;
use crate::policy::chain::Chain;
use crate::policy::question::{Answers, Question};
use crate::policy::verdict::Obligations;
use crate::time::Now;
use crate::wire::command::CommandError;
use crate::wire::data::BareNewline;
use crate::wire::domain::Domain;
use crate::wire::line::Input;
use crate::wire::reply::Reply;
use crate::wire::sasl::PasswordMechanisms;

/// The connection of one session.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) settings: Arc<SessionSettings>,
    pub(super) peer: SocketAddr,
    /// What the DNS says of the peer: not learnt from the peer, so it outlives STARTTLS.
    pub(super) peer_name: Option<Domain>,
    pub(super) session_id: String,
    pub(super) identity: Identity,
    /// The lists that decide; at first those of the settings.
    pub(super) chain: Arc<Chain>,
    /// What holds from the next EHLO, AUTH or MAIL on.
    pub(super) renewal: Option<(Identity, Arc<Chain>)>,
    /// The name that AUTH with a password proved; it goes with STARTTLS.
    pub(super) login: Option<String>,
    /// What the outside world has said in this transaction.
    pub(super) answers: Answers,
    /// What it was asked last.
    pub(super) asked: Option<Question>,
    /// What HOLD and the like of the client and helo lists ask, under `smtpd_delay_reject = no`: of every message.
    pub(super) standing: Obligations,
    /// Transactions begun.
    transactions: u64,
    /// Whether content filters know of a transaction.
    pub(super) is_filtered: bool,
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
    /// Whether the client has declared SMTPUTF8 and may be answered in UTF-8.
    pub(super) speaks_utf8: bool,
    /// Set when the session ends as soon as the queue has answered, and says nothing more until then.
    pub(super) leaving: Option<CloseReason>,
    pub(super) shutting_down: bool,
    pub(super) messages_queued: u64,
    pub(super) deadline: Option<Instant>,
    pub(super) actions: VecDeque<Action>,
    pub(super) events: VecDeque<Event>,
    references: u64,
}

impl Connection {
    /// A connection in plaintext, of which [`Event::SessionOpened`] is told.
    pub(super) fn new(settings: Arc<SessionSettings>, peer: SocketAddr, session_id: String, now: Now) -> Self {
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
            answers: Answers::default(),
            asked: None,
            standing: Obligations::default(),
            transactions: 0,
            is_filtered: false,
            settings,
            peer,
            peer_name: None,
            session_id,
            identity,
            tls: None,
            origin,
            input: Input::default(),
            counters: Counters::default(),
            room_octets: u64::MAX,
            speaks_utf8: false,
            leaving: None,
            shutting_down: false,
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
        let is_same =
            identity.verified().map(|new| &new.fingerprint) == self.identity.verified().map(|known| &known.fingerprint);
        self.is_authenticated = self.login.is_some() || (self.is_authenticated && is_same);
        self.identity = identity;
        self.record_origin();
    }

    /// Takes a login, under which everything that follows is recorded.
    pub(super) fn log_in(&mut self, login: String) {
        self.login = Some(login);
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

    /// Says a reply.
    pub(super) fn send(&mut self, reply: &Reply) {
        if self.leaving.is_some() {
            return;
        }
        let mut reply = reply.clone();
        if self.hides(Extension::EnhancedStatusCodes) {
            reply.status = None;
        }
        let octets = if self.speaks_utf8 {
            reply.to_utf8_wire()
        } else {
            reply.to_wire()
        };
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
        if std::mem::take(&mut self.is_filtered) {
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
        self.deadline = now.monotonic.checked_add(wait.limit(&self.settings));
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
