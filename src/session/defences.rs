//! What a session does against peers that do not keep to the protocol, as the configuration says it.
//!
//! **Implements** `smtpd_soft_error_limit`, `smtpd_error_sleep_time`, `smtpd_forbid_unauth_pipelining`,
//! `smtpd_forbidden_commands`, `header_size_limit`, `smtpd_per_request_deadline`, `smtpd_min_data_rate`,
//! `postscreen_greet_wait`, `postscreen_greet_action` and the rates of `smtpd_client_*_rate_limit`.

use std::time::Duration;

use regex::Regex;

use crate::net::CidrSet;
use crate::policy::client_rates::RateLimits;

/// The time limit of a stranger's request while sessions are short (`smtpd_timeout = ${stress?{10}:{300}}s`).
pub const STRESS_TIMEOUT: Duration = Duration::from_secs(10);

/// Errors, and junk commands, that a stranger may make while sessions are short (`smtpd_hard_error_limit =
/// ${stress?{1}:{20}}`).
pub const STRESS_ERRORS_MAX: usize = 1;

/// The defences of one listener.
#[derive(Clone, Debug)]
pub struct Defences {
    /// `smtpd_soft_error_limit`: errors from which on every reply comes late.
    pub soft_errors_max: usize,
    /// `smtpd_error_sleep_time`: how late; zero never.
    pub error_sleep: Duration,
    /// `smtpd_forbid_unauth_pipelining`.
    pub forbid_unauth_pipelining: bool,
    /// `smtpd_forbidden_commands`.
    pub forbidden_commands: ForbiddenCommands,
    /// `header_size_limit`, octets of one header field; 0 means no limit.
    pub header_field_octets_max: u64,
    /// `smtpd_per_request_deadline`: the time limit is for a whole request and not for each read.
    pub per_request_deadline: bool,
    /// `smtpd_min_data_rate`, octets a second.
    pub data_rate_octets_min: u64,
    /// `postscreen_greet_wait`: how long a stranger has to wait for the greeting; zero greets at once.
    pub greet_wait: Duration,
    /// `postscreen_greet_action`: what becomes of a stranger that does not wait.
    pub greet_action: GreetAction,
    /// `smtpd_client_*_limit`; 0 means no limit.
    pub rates: RateLimits,
    /// `smtpd_client_event_limit_exceptions`: peers that `rates` spare.
    pub rate_exceptions: CidrSet,
}

impl Default for Defences {
    /// What no protocol asks for is off; the time limits are those for whole requests.
    fn default() -> Self {
        Self {
            soft_errors_max: usize::MAX,
            error_sleep: Duration::ZERO,
            forbid_unauth_pipelining: false,
            forbidden_commands: ForbiddenCommands::default(),
            header_field_octets_max: 0,
            per_request_deadline: true,
            data_rate_octets_min: 500,
            greet_wait: Duration::ZERO,
            greet_action: GreetAction::Ignore,
            rates: RateLimits::default(),
            rate_exceptions: CidrSet::default(),
        }
    }
}

/// `postscreen_greet_action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GreetAction {
    /// Record it.
    Ignore,
    /// Record it, and refuse every recipient with 550 5.5.1.
    Enforce,
    /// Record it, say 521 5.5.1, and end the session.
    Drop,
}

/// `smtpd_forbidden_commands`: first words that end a session at once.
#[derive(Clone, Debug, Default)]
pub struct ForbiddenCommands {
    /// Whole words, letter case apart.
    pub words: Vec<String>,
    /// Regular expressions on the first word.
    pub patterns: Vec<Regex>,
}

impl ForbiddenCommands {
    /// Whether a command that begins with this word is none of ours.
    pub fn contains(&self, word: &str) -> bool {
        self.words.iter().any(|listed| listed.eq_ignore_ascii_case(word))
            || self.patterns.iter().any(|pattern| pattern.is_match(word))
    }
}

/// Whether a line has the form of a header field, `Label: text`, as what HTTP says behind its first line: Postfix ends a
/// session at one, whatever `smtpd_forbidden_commands` lists.
pub(super) fn is_header_field(line: &[u8]) -> bool {
    let colon = line.iter().position(|octet| *octet == b':');
    let label = colon.and_then(|at| line.get(..at)).unwrap_or_default();
    let label = label.trim_ascii_end();
    !label.is_empty() && label.iter().all(u8::is_ascii_graphic)
}

/// The first word of a command line.
pub(super) fn first_word(line: &[u8]) -> &[u8] {
    let line = line.trim_ascii_start();
    let end = line.iter().position(|octet| matches!(octet, b' ' | b'\t'));
    end.and_then(|end| line.get(..end)).unwrap_or(line)
}

/// Whether a line that begins like this can be cut before it ends: no command of ours begins with a control character or
/// an octet that is not ASCII, but a TLS or RDP handshake does, and it may never send a line end.
pub(super) fn is_binary_start(unread: &[u8]) -> bool {
    let blank = |octet: &u8| matches!(octet, b'\t' | b'\r' | b'\n');
    unread
        .first()
        .is_some_and(|octet| !blank(octet) && (octet.is_ascii_control() || !octet.is_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_field_is_told_from_a_command() {
        for line in ["Subject: x", "Host:x", "X-A : b"] {
            assert!(is_header_field(line.as_bytes()), "{line}");
        }
        for line in ["MAIL FROM:<a@example.org>", ": x", "", "NOOP"] {
            assert!(!is_header_field(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn handshakes_of_other_protocols_are_seen_at_their_first_octet() {
        for start in [b"\x16\x03\x01".as_slice(), b"\x03\0\0\x13", b"\0", b"\xff"] {
            assert!(is_binary_start(start), "{start:?}");
        }
        for start in [b"EHLO".as_slice(), b"\r\n", b"\n", b"\tNOOP", b""] {
            assert!(!is_binary_start(start), "{start:?}");
        }
    }
}
