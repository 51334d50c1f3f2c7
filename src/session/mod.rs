//! The server dialogue of RFC 5321, without a socket.
//!
//! **Implements** RFC 5321 (server side), PIPELINING (RFC 2920), SIZE (RFC 1870), 8BITMIME (RFC 6152), STARTTLS
//! (RFC 3207), AUTH (RFC 4954), enhanced status codes (RFC 2034), DSN (RFC 3461), SMTPUTF8 (RFC 6531), CHUNKING
//! (RFC 3030), REQUIRETLS (RFC 8689), LIMITS (RFC 9422), and the smtpd directives in [`settings::SessionSettings`].
//! **Does not** touch a socket, a clock or a log: a driver hands in octets, facts and the time, and carries out
//! the [`Action`]s in order.
//!
//! ```text
//! octets, TLS, queue answers, time -> handle_*  ->  Session  ->  poll_action   what to do, in order
//!                                                            ->  poll_event    what to record
//!                                                            ->  poll_timeout  when to call handle_timeout
//! ```
//!
//! After each `handle_*` the driver polls until both polls return `None`; nothing else bounds the two queues.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::cert::identity::Identity;
use crate::mail::queue_id::QueueId;
use crate::mail::trace_header::TlsDescription;
use crate::policy::chain::Chain;
use crate::policy::client_rates::RateExceeded;
use crate::policy::limits::Allowance;
use crate::policy::question::Answer;
use crate::time::Now;
use crate::wire::domain::Domain;
use crate::wire::sasl::PasswordMechanisms;

mod action;
mod auth;
mod authentication;
mod bdat;
mod connection;
mod content;
mod counting;
pub mod defences;
pub mod event;
pub mod extension;
pub mod filter;
mod foreign;
mod hello;
mod limits;
mod mail_data;
pub mod password;
mod pending;
mod pressure;
mod renewal;
pub mod replies;
pub mod settings;
mod stages;
mod starttls;
mod state;
mod synchronisation;
mod transaction;
mod vrfy;
mod xclient;

pub use action::{Action, QueueRefusal};
use connection::Connection;
use event::{CloseReason, Event};
use filter::FilterVerdict;
use limits::Wait;
use password::Verification;
use settings::{SessionSettings, TlsOffer};
pub use stages::QUESTIONS_MAX;
use state::State;

/// The most unread octets kept while the session waits for its driver; one read of the socket stays far below.
pub const UNREAD_OCTETS_MAX: usize = 1024 * 1024;

/// One SMTP session, from the greeting to the close.
#[derive(Debug)]
pub struct Session {
    connection: Connection,
    state: State,
}

impl Session {
    /// A session with a peer that has just connected. Queues the greeting, or with [`TlsOffer::Implicit`] the
    /// handshake, behind which the greeting follows.
    pub fn new(settings: Arc<SessionSettings>, peer: SocketAddr, session_id: String, now: Now) -> Self {
        Self::reached_at(None, settings, peer, session_id, now)
    }

    /// Like [`Session::new`], where it is known at which of our addresses the peer has reached us.
    pub fn reached_at(
        local: Option<SocketAddr>,
        settings: Arc<SessionSettings>,
        peer: SocketAddr,
        session_id: String,
        now: Now,
    ) -> Self {
        let is_implicit = settings.tls == TlsOffer::Implicit;
        let mut connection = Connection::new(settings, (peer, local), session_id, now);
        let state = if is_implicit {
            starttls::begin(&mut connection, now);
            State::Handshake
        } else {
            State::receive(&mut connection, now)
        };
        Self { connection, state }
    }

    /// Whether the driver may read the socket: not while the session waits for TLS or the queue, nor at the end.
    pub fn wants_bytes(&self) -> bool {
        self.state.takes_octets()
    }

    /// Whether octets wait to be looked at: commands that come behind what the session waits for.
    pub fn has_unread_octets(&self) -> bool {
        !self.connection.input.unread().is_empty()
    }

    /// Whose session it is: the peer, or whoever XCLIENT named.
    pub fn peer(&self) -> SocketAddr {
        self.connection.peer
    }

    /// The peer's name, when the driver has found one: it stands in the trace header of what comes after. What XCLIENT said
    /// of names wins.
    pub fn handle_peer_name(&mut self, name: Domain) {
        if self.connection.given_names.is_none() {
            self.connection.peer_name = Some(name);
        }
    }

    /// Octets from the peer. They may hold many commands, or parts of one. What cannot be looked at yet is kept,
    /// up to [`UNREAD_OCTETS_MAX`].
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Now) {
        if self.state.is_closed() {
            return;
        }
        if self.connection.input.unread().len().saturating_add(bytes.len()) > UNREAD_OCTETS_MAX {
            self.abort(CloseReason::InputOverflow);
            return;
        }
        self.connection.input.push(bytes);
        if self.state.takes_commands() && !self.connection.has_request_deadline() {
            self.connection.wait(Wait::Command, now);
        }
        self.advance(now);
    }

    /// Octets that were there before anything was polled, and so before the greeting. Like [`Session::handle_bytes`], but for
    /// a peer that had to wait for the greeting.
    pub fn handle_early_bytes(&mut self, bytes: &[u8], now: Now) {
        let waits_for_greeting = !matches!(self.state, State::Handshake | State::Silent { .. });
        if waits_for_greeting && !bytes.is_empty() {
            self.replace(State::on_octets_before_greeting);
        }
        self.handle_bytes(bytes, now);
    }

    /// The answer to [`Action::Count`]: the limit, when it is exceeded.
    pub fn handle_counted(&mut self, exceeded: Option<RateExceeded>, now: Now) {
        self.replace(|state, connection| state.on_counted(exceeded, connection, now));
        self.advance(now);
    }

    /// The TLS handshake is done.
    pub fn handle_tls(&mut self, identity: Identity, tls: TlsDescription, now: Now) {
        if !matches!(self.state, State::Handshake) {
            return;
        }
        let unwelcome = starttls::finish(&mut self.connection, identity, tls);
        let is_implicit = self.connection.settings.tls == TlsOffer::Implicit;
        self.state = match (unwelcome, is_implicit) {
            (None, false) => State::forgotten(),
            (None, true) => State::receive(&mut self.connection, now),
            (Some(fault), false) => State::Unwelcome(fault),
            (Some(fault), true) => State::turn_away(&mut self.connection, fault),
        };
        self.replace(|state, connection| state.after_command(connection, now));
        self.advance(now);
    }

    /// The peer's certificate judged anew, and the restriction lists of this moment: revocation, time or a reload has
    /// changed something. Both hold from the next EHLO, AUTH or MAIL on; a transaction under way goes on as it began.
    pub fn handle_identity(&mut self, identity: Identity, chain: Arc<Chain>) {
        self.connection.renewal = Some((identity, chain));
    }

    /// The answer to [`Action::Charge`].
    pub fn handle_charged(&mut self, allowance: Allowance, now: Now) {
        self.replace(|state, connection| state.on_charged(allowance, connection, now));
        self.advance(now);
    }

    /// The answer to [`Action::Ask`].
    pub fn handle_answer(&mut self, answer: Answer, now: Now) {
        self.replace(|state, connection| state.on_answer(answer, connection, now));
        self.advance(now);
    }

    /// The answer to [`Action::Filter`].
    pub fn handle_filtered(&mut self, verdict: FilterVerdict, now: Now) {
        self.replace(|state, connection| state.on_filtered(verdict, connection, now));
        self.advance(now);
    }

    /// What the password service takes, as far as it has been heard: announced from the next EHLO on.
    pub fn handle_mechanisms(&mut self, mechanisms: Option<PasswordMechanisms>) {
        self.connection.mechanisms = mechanisms;
    }

    /// The answer to [`Action::Authenticate`].
    pub fn handle_authenticated(&mut self, verification: Verification, now: Now) {
        self.replace(|state, connection| {
            state
                .on_authenticated(verification, connection)
                .after_command(connection, now)
        });
        self.advance(now);
    }

    /// The largest message that the queue has room for, octets: MAIL is answered with 452 4.3.1 when it declares more, and
    /// always while there is no room at all (0).
    pub fn handle_space(&mut self, room_octets: u64) {
        self.connection.room_octets = room_octets;
    }

    /// The answer to [`Action::OpenDraft`].
    pub fn handle_draft(&mut self, result: Result<QueueId, QueueRefusal>, now: Now) {
        self.replace(|state, connection| state.on_draft(result, connection, now));
        self.advance(now);
    }

    /// The answer to [`Action::Commit`]. `Ok` promises that the message survives a power cut.
    pub fn handle_committed(&mut self, result: Result<QueueId, QueueRefusal>, now: Now) {
        self.replace(|state, connection| state.on_committed(result, connection, now));
        self.advance(now);
    }

    /// An [`Action::Append`] failed. Appends and a commit not yet polled are withdrawn, the draft is discarded,
    /// the mail data is read to its end, and the refusal is answered instead of 250.
    pub fn handle_append_failed(&mut self, why: QueueRefusal, now: Now) {
        self.replace(|state, connection| state.on_append_failed(why, connection, now));
        self.advance(now);
    }

    /// [`Session::poll_timeout`] has passed: 421 4.4.2 and the end. A commit under way is still waited for before the
    /// close, so that its message is recorded.
    pub fn handle_timeout(&mut self, now: Now) {
        if matches!(self.state, State::Silent { .. }) {
            self.replace(|state, connection| state.greet(connection, now));
            self.advance(now);
            return;
        }
        if self.state.may_speak() {
            let reply = replies::timeout(&self.connection.settings);
            self.connection.send(&reply);
        }
        self.leave(CloseReason::Timeout);
    }

    /// The peer has closed, or its handshake failed. A commit under way is still waited for, so that it is recorded.
    pub fn handle_eof(&mut self, _now: Now) {
        self.leave(CloseReason::Lost);
    }

    /// The relay is stopping: what is being said is finished, up to the reply to the final dot; then 421 4.3.2.
    pub fn handle_shutdown(&mut self, now: Now) {
        self.connection.shutting_down = true;
        self.advance(now);
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.connection.actions.pop_front()
    }

    /// The next thing to record.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.connection.events.pop_front()
    }

    /// When to call [`Session::handle_timeout`], unless something else is handled before; `None` at the end.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.state.is_closed() {
            None
        } else {
            self.connection.deadline
        }
    }

    fn leave(&mut self, reason: CloseReason) {
        if matches!(self.state, State::Committing(..)) {
            self.connection.leaving = Some(reason);
            self.connection.deadline = None;
        } else {
            self.abort(reason);
        }
    }

    fn abort(&mut self, reason: CloseReason) {
        self.replace(|state, connection| state.abort(connection, reason));
    }

    fn replace(&mut self, step: impl FnOnce(State, &mut Connection) -> State) {
        let state = std::mem::replace(&mut self.state, State::Closed);
        self.state = step(state, &mut self.connection);
    }

    /// Looks at unread octets until there are none, or the session has to wait.
    fn advance(&mut self, now: Now) {
        loop {
            if self.connection.shutting_down && self.state.is_between_data() {
                if self.state.may_speak() {
                    let reply = replies::shutting_down(&self.connection.settings);
                    self.connection.send(&reply);
                }
                self.abort(CloseReason::Shutdown);
            }
            if !self.state.takes_octets() {
                return;
            }
            if self.connection.input.unread().is_empty() {
                return;
            }
            if matches!(self.state, State::Content(..) | State::Skipping(_)) {
                self.replace(|state, connection| state.on_octets(connection, now));
            } else if matches!(self.state, State::Silent { .. }) {
                self.replace(|_, connection| State::on_early(connection));
            } else if self.state.is_foreign_start(&self.connection) {
                self.replace(State::send_away);
            } else {
                let Some(line) = self.connection.input.next_line(self.state.line_octets_max()) else {
                    return;
                };
                self.connection.progress = self.connection.progress.saturating_add(1);
                self.replace(|state, connection| state.on_line(line, connection, now));
            }
        }
    }
}
