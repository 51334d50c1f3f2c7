//! What a message asks of a peer, and what is done when the peer lacks it; then the envelope.
//!
//! **Implements** RFC 1870 (a message larger than the peer takes is not sent), RFC 6152 section 3 (conversion, or failure),
//! RFC 6531 section 3.5 (SMTPUTF8 or failure), RFC 8689 section 4.2.1 (REQUIRETLS), RFC 9422 (MAILMAX, RCPTMAX).
//! **Does not** convert anything: it has the driver look at the message, and bring it converted.

use std::time::Instant;

use super::capabilities::Extension;
use super::client::Client;
use super::client_state::{Action, State};
use super::fate::{Elsewhere, Fate};
use crate::mail::downgrade::fault::Fault;
use crate::mail::envelope::Body;

/// What the driver found in the mail data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surveyed {
    /// Whether no header has an octet above 127.
    pub is_header_ascii: bool,
    /// What becomes of it for a peer that takes seven bits.
    pub seven_bit: SevenBit,
}

/// What becomes of mail data for a peer that takes seven bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SevenBit {
    /// It is seven-bit as it is.
    AsItIs,
    /// It can be converted, and has so many octets then.
    Converted(u64),
    /// It cannot.
    Impossible(Fault),
}

/// TLS, or the promise to demand it, is missing; RFC 8689 section 4.2.1 has 5.7.10 and 5.7.30 in the end.
pub const TLS_MISSING: &str = "4.7.10";
/// The peer does not announce REQUIRETLS.
pub const REQUIRETLS_MISSING: &str = "4.7.30";

impl Client {
    /// Whether the mail data is to be brought converted to seven bits.
    pub const fn is_converting(&self) -> bool {
        self.progress.is_converted()
    }

    /// Whether the peer takes on the notifications of what it takes.
    pub fn takes_notifications(&self) -> bool {
        self.capabilities.has(Extension::Dsn)
    }

    pub(super) fn begin_envelope(&mut self, now: Instant) {
        if let Some(fate) = self.unprotected() {
            self.progress.settle_rest(&fate);
            return self.rest();
        }
        if self.lacks_utf8() || self.lacks_eight_bits() {
            self.actions.push_back(Action::Survey);
            self.state = State::Survey;
            self.deadline = None;
            return;
        }
        self.begin_mail(now);
    }

    /// What is in the mail data.
    pub fn handle_survey(&mut self, now: Instant, surveyed: Surveyed) {
        if !matches!(self.state, State::Survey) {
            return;
        }
        let remote = self.options.remote.clone();
        if self.lacks_utf8() {
            self.refuse_utf8(&remote, surveyed.is_header_ascii);
        }
        if self.lacks_eight_bits() {
            match surveyed.seven_bit {
                SevenBit::AsItIs => {}
                SevenBit::Converted(octets) => self.progress.convert(octets),
                SevenBit::Impossible(fault) => {
                    let text = format!(
                        "host {remote} does not take 8-bit mail (8BITMIME), and this message cannot be converted: {fault}"
                    );
                    self.progress.settle_rest(&Fate::failed(&remote, fault.status(), &text));
                }
            }
        }
        self.begin_mail(now);
    }

    fn begin_mail(&mut self, now: Instant) {
        if self.progress.is_decided() {
            return self.rest();
        }
        let (size, remote) = (self.progress.size_octets(), &self.options.remote);
        if let Some(limit) = self.capabilities.size.filter(|limit| (1..size).contains(limit)) {
            let text = format!("message size {size} exceeds size limit {limit} of server {remote}");
            self.progress.settle_rest(&Fate::failed(remote, "5.3.4", &text));
            return self.rest();
        }
        self.progress.choose(remote, self.capabilities.recipients_max);
        self.state = State::Envelope;
        self.send_group(now);
    }

    /// What REQUIRETLS comes to where the session is not what it asks for.
    fn unprotected(&self) -> Option<Fate> {
        if !self.progress.transaction().demands.require_tls {
            return None;
        }
        let remote = &self.options.remote;
        let (status, text) = if !self.tls {
            let text = format!("REQUIRETLS needs TLS, which the session with host {remote} does not have");
            (TLS_MISSING, text)
        } else if !self.capabilities.has(Extension::RequireTls) {
            let text = format!("REQUIRETLS is required, but was not offered by host {remote}");
            (REQUIRETLS_MISSING, text)
        } else {
            return None;
        };
        Some(Fate::deferred(remote, status, &text, Elsewhere::Yes))
    }

    /// The status of TLS that failed: REQUIRETLS has its own.
    pub(super) fn tls_status(&self, otherwise: &'static str) -> &'static str {
        if self.progress.transaction().demands.require_tls {
            TLS_MISSING
        } else {
            otherwise
        }
    }

    fn lacks_utf8(&self) -> bool {
        self.progress.transaction().demands.smtputf8 && !self.capabilities.has(Extension::SmtpUtf8)
    }

    fn lacks_eight_bits(&self) -> bool {
        let is_eight_bit = self.progress.transaction().body == Body::EightBitMime;
        is_eight_bit && self.options.converts && !self.capabilities.has(Extension::EightBitMime)
    }

    /// What does not need SMTPUTF8, though its client said so, goes without: RFC 6531 section 3.1 (6) has it for messages
    /// that "require" it. Domains are in ASCII already.
    fn refuse_utf8(&mut self, remote: &str, is_header_ascii: bool) {
        let fate = Fate::failed(
            remote,
            "5.6.7",
            &format!("SMTPUTF8 is required, but was not offered by host {remote}"),
        );
        let transaction = self.progress.transaction();
        if !is_header_ascii || !transaction.reverse_path.to_string().is_ascii() {
            return self.progress.settle_rest(&fate);
        }
        let paths = transaction.forward_paths.iter().enumerate();
        let beyond = paths.filter(|(_, path)| !path.to_string().is_ascii());
        let beyond: Vec<usize> = beyond.map(|(place, _)| place).collect();
        for place in beyond {
            self.progress.settle(place, fate.clone());
        }
    }

    /// Whether the peer takes no further transaction in this session (RFC 9422, MAILMAX).
    pub(super) fn is_used_up(&self) -> bool {
        self.capabilities
            .transactions_max
            .is_some_and(|limit| self.reuses().saturating_add(1) >= limit)
    }
}
