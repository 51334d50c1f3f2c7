//! Peers that speak another protocol: cut at their first line, or at their first octet when it is binary.
//!
//! **Implements** `smtpd_forbidden_commands`, and that a header field where a command should stand ends the session, as in
//! Postfix: a web browser that is made to talk to a mail server (ALPACA, cross-protocol requests) sends both.

use super::connection::Connection;
use super::defences::{first_word, is_binary_start, is_header_field};
use super::event::CloseReason;
use super::replies;
use super::state::State;
use crate::wire::command::{Command, CommandError};

impl State {
    /// Whether what is unread begins so that no line of ours can come of it.
    pub(super) fn is_foreign_start(&self, connection: &Connection) -> bool {
        let takes_commands = matches!(
            self,
            Self::Unwelcome(_) | Self::Ready(_) | Self::Mail(..) | Self::Chunks(..) | Self::Failed(_) | Self::Denied
        );
        let unread = connection.input.unread();
        takes_commands
            && !connection.input.is_within_line()
            && is_binary_start(unread)
            && is_forbidden(unread, connection)
    }

    /// Whether a line is of another protocol.
    pub(super) fn is_foreign_line(text: &[u8], connection: &Connection) -> bool {
        let is_unknown = || Command::parse(text) == Err(CommandError::Unknown);
        is_forbidden(first_word(text), connection) || (is_header_field(text) && is_unknown())
    }

    /// Sends such a peer away.
    pub(super) fn send_away(self, connection: &mut Connection) -> Self {
        connection.send(&replies::foreign_protocol());
        self.abort(connection, CloseReason::ForeignProtocol)
    }
}

/// Longest first word that is compared, octets.
const WORD_OCTETS_MAX: usize = 128;

fn is_forbidden(text: &[u8], connection: &Connection) -> bool {
    let word = text.get(..WORD_OCTETS_MAX).unwrap_or(text);
    let forbidden = &connection.settings.defences.forbidden_commands;
    !word.is_empty() && forbidden.contains(&String::from_utf8_lossy(word))
}
