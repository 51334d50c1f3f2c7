//! Time limits and the counting of errors.
//!
//! **Implements** RFC 5321 section 4.5.3.2 as deadlines, `smtpd_timeout`, `smtpd_hard_error_limit`,
//! `smtpd_junk_command_limit`.

use std::time::Duration;

use super::settings::SessionSettings;
use crate::wire::command::Verb;

/// Octets of mail data that must arrive within one data block limit: a slow drip does not hold a session.
pub(super) const DATA_BLOCK_OCTETS: usize = 512;

/// What the session waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// A whole command line (4.5.3.2.7).
    Command,
    /// The holder's allowance and the queue's draft, hence our 354 (4.5.3.2.4).
    DataInitiation,
    /// The next [`DATA_BLOCK_OCTETS`] of mail data (4.5.3.2.5).
    DataBlock,
    /// The holder's allowance and the commit, hence our reply to the final dot (4.5.3.2.6).
    DataTermination,
    /// What the outside world says to a restriction or a filter (4.5.3.2: no reply may take longer than 5 minutes).
    Answer,
    /// The TLS handshake (`smtpd_starttls_timeout`).
    Handshake,
}

impl Wait {
    /// How long it may take.
    pub(super) fn limit(self, settings: &SessionSettings) -> Duration {
        let limit = match self {
            Self::Command => Duration::from_mins(5),
            Self::DataInitiation => Duration::from_mins(2),
            Self::DataBlock => Duration::from_mins(3),
            Self::DataTermination => Duration::from_mins(10),
            Self::Answer => return Duration::from_mins(5),
            Self::Handshake => return settings.starttls_timeout,
        };
        limit.min(settings.timeout)
    }
}

/// Errors and junk commands since the last message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    errors: usize,
    junk: usize,
}

impl Counters {
    /// A command was refused.
    pub(super) fn error(&mut self) {
        self.errors = self.errors.saturating_add(1);
    }

    /// A command was said; past the limit junk counts as errors.
    pub(super) fn command(&mut self, verb: Verb, settings: &SessionSettings) {
        let is_junk = matches!(
            verb,
            Verb::Helo | Verb::Ehlo | Verb::Noop | Verb::Vrfy | Verb::Expn | Verb::Rset | Verb::Help
        );
        if is_junk {
            self.junk(settings);
        }
    }

    /// A command that brings no mail any further; past the limit it counts as an error.
    pub(super) fn junk(&mut self, settings: &SessionSettings) {
        self.junk = self.junk.saturating_add(1);
        if self.junk > settings.junk_commands_max {
            self.error();
        }
    }

    /// A message was queued: the peer is doing its work.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Whether the session is to be ended.
    pub(super) fn is_exhausted(&self, settings: &SessionSettings) -> bool {
        self.errors >= settings.errors_max.max(1)
    }
}
