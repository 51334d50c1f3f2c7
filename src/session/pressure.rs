//! When sessions are short: less patience with strangers, and the end of a session that has to make room.
//!
//! **Implements** Postfix's `stress` for `smtpd_timeout`, `smtpd_hard_error_limit`, `smtpd_junk_command_limit`,
//! `smtpd_per_request_deadline`.
//! **Does not** know when sessions are short, nor whose turn it is: the driver's side does.

use super::Session;
use super::event::CloseReason;
use super::limits::Wait;
use super::replies;
use super::state::State;
use crate::time::Now;

impl Session {
    /// Whether nothing vouches for the peer: no network of `mynetworks`, no verified certificate, no login.
    pub fn is_stranger(&self) -> bool {
        self.connection.is_stranger()
    }

    /// Grows with every whole command, handshake and block of mail data; what trickles in does not count.
    pub fn progress(&self) -> u64 {
        self.connection.progress
    }

    /// Octets of mail data that the session keeps until they are handed to the queue.
    pub fn mail_data_octets(&self) -> usize {
        match &self.state {
            State::Content(_, _, content) | State::Chunks(_, _, content) => content.kept_octets(),
            _ => 0,
        }
    }

    /// Whether sessions are short. From then on a stranger has less time and fewer errors.
    pub fn handle_stress(&mut self, is_stressed: bool, now: Now) {
        self.connection.is_stressed = is_stressed;
        let waits_for_peer = self.state.takes_octets() || matches!(self.state, State::Handshake);
        if !waits_for_peer || !self.connection.is_hurried() || matches!(self.state, State::Silent { .. }) {
            return;
        }
        let before = self.connection.deadline;
        self.connection.wait(Wait::Command, now);
        self.connection.deadline = self.connection.deadline.into_iter().chain(before).min();
    }

    /// The session has to make room: 421 and the end. A commit under way is still waited for.
    pub fn handle_shed(&mut self, _now: Now) {
        if self.state.may_speak() {
            let reply = replies::busy(&self.connection.settings);
            self.connection.send(&reply);
        }
        self.leave(CloseReason::Shed);
    }
}
