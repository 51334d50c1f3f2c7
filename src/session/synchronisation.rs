//! Peers that do not wait for their turn: octets before the greeting, and commands sent ahead where RFC 2920 forbids it.
//!
//! **Implements** `smtpd_forbid_unauth_pipelining` with the judgement of Postfix 3.9: nothing may be sent ahead before EHLO
//! was answered, nor behind HELO, EHLO, DATA, NOOP and VRFY; MAIL, RCPT, RSET and the final dot may be followed at once
//! (RFC 2920 section 3.1). `postscreen_greet_wait` and `postscreen_greet_action`.
//! **Does not** end a session for octets behind STARTTLS: they are thrown away, as RFC 3207 section 4.2 has it; nor that of
//! a holder of a verified certificate for what it sends ahead.
//! **Bugs** only octets that have been read are seen to be ahead; what arrives while a reply is on its way is not.

use std::sync::Arc;

use super::connection::Connection;
use super::defences::GreetAction;
use super::event::{CloseReason, Event};
use super::pending::Step;
use super::replies;
use super::state::State;
use crate::time::Now;
use crate::wire::command::Verb;

impl State {
    /// A peer has connected: it is greeted, at once or after a while.
    pub(super) fn receive(connection: &mut Connection, now: Now) -> Self {
        let wait = connection.settings.defences.greet_wait;
        if wait.is_zero() || connection.is_in_mynetworks() {
            return Self::begin(Step::Connect, connection, now);
        }
        connection.deadline = now.monotonic.checked_add(wait);
        Self::Silent { is_broken: false }
    }

    /// Octets while silence was asked for.
    pub(super) fn on_early(connection: &mut Connection) -> Self {
        note(connection, "CONNECT");
        match connection.settings.defences.greet_action {
            GreetAction::Drop => {
                connection.send(&replies::protocol_error());
                Self::close(connection, CloseReason::Unsynchronised)
            }
            GreetAction::Enforce => {
                connection.is_barred = true;
                Self::Silent { is_broken: true }
            }
            GreetAction::Ignore => Self::Silent { is_broken: true },
        }
    }

    /// The wait for silence is over.
    pub(super) fn greet(self, connection: &mut Connection, now: Now) -> Self {
        let is_broken = matches!(self, Self::Silent { is_broken: true });
        if is_broken && connection.settings.defences.forbid_unauth_pipelining && !connection.is_barred {
            return self.cut(connection);
        }
        Self::begin(Step::Connect, connection, now)
    }

    /// Octets that were there before the greeting was written: nothing of the session has been carried out yet.
    pub(super) fn on_octets_before_greeting(self, connection: &mut Connection) -> Self {
        if !connection.settings.defences.forbid_unauth_pipelining {
            connection.spoke_out_of_turn = true;
            return self;
        }
        note(connection, "CONNECT");
        connection.asked = None;
        connection.actions.clear();
        self.cut(connection)
    }

    /// Whether a command is followed by octets that had to wait for its reply, and that ends the session. The octets of a
    /// chunk belong to its command (RFC 3030 section 4.2).
    pub(super) fn is_out_of_turn(&self, verb: Verb, connection: &mut Connection) -> bool {
        let is_last = matches!(verb, Verb::Helo | Verb::Ehlo | Verb::Data | Verb::Noop | Verb::Vrfy);
        // A certificate holder has proved who it is; a script of its own that says everything at once harms nobody.
        let is_spared = verb == Verb::Bdat || connection.identity.verified().is_some();
        if is_spared || connection.input.unread().is_empty() || (self.is_extended() && !is_last) {
            return false;
        }
        if !connection.settings.defences.forbid_unauth_pipelining {
            connection.spoke_out_of_turn = true;
            return false;
        }
        note(connection, verb.word());
        true
    }

    fn is_extended(&self) -> bool {
        matches!(
            self,
            Self::Ready(greeting) | Self::Mail(greeting, _) | Self::Chunks(greeting, ..) | Self::Failed(greeting)
                if greeting.is_extended()
        )
    }

    pub(super) fn cut(self, connection: &mut Connection) -> Self {
        connection.send(&replies::unsynchronised());
        self.abort(connection, CloseReason::Unsynchronised)
    }
}

/// Records it, the first time.
fn note(connection: &mut Connection, after: &'static str) {
    if !std::mem::replace(&mut connection.spoke_out_of_turn, true) {
        connection.events.push_back(Event::SpokeOutOfTurn {
            origin: Arc::clone(&connection.origin),
            after,
        });
    }
}
