//! The SMTP client dialogue as a value: octets, TLS results, mail data and the time in; actions and an ending out.
//!
//! **Implements** RFC 5321 sections 3 and 4.5.3.2 (client side), RFC 1870 (SIZE), RFC 2920 (PIPELINING), RFC 3207 with
//! the levels of `smtp_tls_security_level`, RFC 6152 (8BITMIME), `smtp_skip_5xx_greeting` and `smtp_skip_quit_response`
//! as Postfix defaults to them.
//! **Does not** touch a socket, judge a certificate or choose a host.
//! **Bugs** Mail declared 8BITMIME goes as it is to a peer that does not offer 8BITMIME, where Postfix would convert it
//! to quoted-printable.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::client_state::{Action, Capabilities, ClientOptions, Ending, Envelope, State, Transaction};
use super::fate::{Elsewhere, Fate};
use super::reply_reader::ReplyReader;
use super::settings::TlsLevel;
use crate::mail::envelope::Body;
use crate::wire::data::DotStuffer;
use crate::wire::reply::Reply;

/// Commands sent before a reply is waited for: with more, both sides could end up writing with nobody reading.
const PIPELINE_COMMANDS_MAX: usize = 50;

/// One session with one transaction.
#[derive(Debug)]
pub struct Client {
    options: ClientOptions,
    transaction: Transaction,
    state: State,
    reader: ReplyReader,
    capabilities: Capabilities,
    tls: bool,
    fates: Vec<Option<Fate>>,
    plaintext_retry: bool,
    actions: VecDeque<Action>,
    deadline: Option<Instant>,
}

impl Client {
    /// A session on a connection just made; in wrapper mode its handshake is done already.
    pub fn new(options: ClientOptions, transaction: Transaction, now: Instant) -> Self {
        let mut client = Self {
            tls: options.tls_wrapper,
            fates: vec![None; transaction.forward_paths.len()],
            options,
            transaction,
            state: State::Greeting,
            reader: ReplyReader::new(),
            capabilities: Capabilities::default(),
            plaintext_retry: false,
            actions: VecDeque::new(),
            deadline: None,
        };
        client.wait(now, client.options.hello_timeout);
        client
    }

    /// What to do next; `None`: read from the peer.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`Client::handle_timeout`], whatever is being waited for: reading, writing or the handshake.
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether everything is said.
    pub const fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Whether TLS is in use.
    pub const fn is_tls(&self) -> bool {
        self.tls
    }

    /// How it ended; a session that is given up early defers what it had not settled.
    pub fn into_ending(mut self) -> Ending {
        self.give_up("4.4.2", "the session was given up", Elsewhere::Yes);
        let fates = self.fates.into_iter().flatten().collect();
        if self.plaintext_retry {
            Ending::RetryInPlaintext(fates)
        } else {
            Ending::Settled(fates)
        }
    }

    /// Octets from the peer.
    pub fn handle_bytes(&mut self, now: Instant, octets: &[u8]) {
        if matches!(self.state, State::Over | State::Handshake) {
            return;
        }
        self.reader.push(octets);
        while !self.is_over() {
            match self.reader.next_reply() {
                Ok(Some(reply)) => self.handle_reply(now, &reply),
                Ok(None) => return,
                Err(error) => {
                    let text = format!("protocol error while {}: {error}", self.state.activity());
                    return self.broken("4.5.0", &text);
                }
            }
        }
    }

    /// The peer closed, or the connection broke.
    pub fn handle_eof(&mut self) {
        if self.is_over() {
            return;
        }
        let text = format!(
            "lost connection with {} while {}",
            self.options.remote,
            self.state.activity()
        );
        self.broken("4.4.2", &text);
    }

    /// The deadline has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if !self.is_over() && self.deadline.is_some_and(|deadline| deadline <= now) {
            let text = format!(
                "conversation with {} timed out while {}",
                self.options.remote,
                self.state.activity()
            );
            self.broken("4.4.2", &text);
        }
    }

    /// The handshake is done, or why it is not.
    pub fn handle_tls(&mut self, now: Instant, result: Result<(), String>) {
        if !matches!(self.state, State::Handshake) {
            return;
        }
        match result {
            Ok(()) => {
                self.tls = true;
                // RFC 3207 section 4.2: "The client MUST discard any knowledge obtained from the server, such as the
                // list of SMTP service extensions".
                self.capabilities = Capabilities::default();
                self.reader = ReplyReader::new();
                self.say_hello(now);
            }
            Err(why) => self.tls_failed("4.7.5", &format!("Cannot start TLS: {why}")),
        }
    }

    /// The next piece of mail data; an empty one is the end.
    pub fn handle_data_chunk(&mut self, now: Instant, chunk: &[u8]) {
        let State::Body(stuffer) = &mut self.state else { return };
        let mut out = Vec::with_capacity(chunk.len().saturating_add(64));
        if !chunk.is_empty() {
            stuffer.push(chunk, &mut out);
            self.send(out);
            self.actions.push_back(Action::WantData);
            return self.wait(now, self.options.data_transfer_timeout);
        }
        if let State::Body(stuffer) = std::mem::replace(&mut self.state, State::FinalReply) {
            stuffer.finish(&mut out);
        }
        self.send(out);
        self.wait(now, self.options.data_done_timeout);
    }

    /// The mail data cannot be read. The connection is closed without the final dot, so the peer drops the message.
    pub fn handle_data_error(&mut self, why: &str) {
        self.give_up("4.3.0", why, Elsewhere::No);
        self.close();
    }

    fn handle_reply(&mut self, now: Instant, reply: &Reply) {
        // RFC 5321 section 3.8: 421 may come as the answer to any command and ends the session.
        if reply.code == 421 {
            self.settle_rest(reply);
            return self.close();
        }
        match &self.state {
            State::Greeting => self.on_greeting(now, reply),
            State::Hello => self.on_hello(now, reply),
            State::PlainHello => self.on_plain_hello(now, reply),
            State::StartTls => self.on_starttls(now, reply),
            State::Envelope(_) => self.on_envelope(now, reply),
            State::Data => self.on_data(now, reply),
            State::Body(_) => self.on_early_reply(reply),
            State::FinalReply => self.on_final(reply),
            State::Handshake | State::Over => {}
        }
    }

    fn on_greeting(&mut self, now: Instant, reply: &Reply) {
        if reply.is_positive() {
            return self.say_hello(now);
        }
        // As `smtp_skip_5xx_greeting`: a host that refuses everybody says nothing about this message.
        self.settle_with(&Fate::softened(&self.options.remote, reply, Elsewhere::Yes));
        self.quit();
    }

    fn say_hello(&mut self, now: Instant) {
        self.say(&format!("EHLO {}", self.options.hello_name));
        self.go(State::Hello, now);
    }

    fn on_hello(&mut self, now: Instant, reply: &Reply) {
        if reply.is_permanent() && !self.tls {
            self.say(&format!("HELO {}", self.options.hello_name));
            return self.go(State::PlainHello, now);
        }
        if !reply.is_positive() {
            return self.refused(reply);
        }
        self.capabilities = Capabilities::of(reply);
        self.secure_or_begin(now);
    }

    fn on_plain_hello(&mut self, now: Instant, reply: &Reply) {
        if reply.is_positive() {
            self.secure_or_begin(now);
        } else {
            self.refused(reply);
        }
    }

    fn secure_or_begin(&mut self, now: Instant) {
        if self.tls || self.options.tls_level == TlsLevel::None {
            return self.begin(now);
        }
        if self.capabilities.starttls {
            self.say("STARTTLS");
            return self.go(State::StartTls, now);
        }
        if self.options.tls_level == TlsLevel::May {
            return self.begin(now);
        }
        let text = format!("TLS is required, but was not offered by host {}", self.options.remote);
        self.give_up("4.7.4", &text, Elsewhere::Yes);
        self.quit();
    }

    fn on_starttls(&mut self, now: Instant, reply: &Reply) {
        if !reply.is_positive() {
            let remote = &self.options.remote;
            let text = format!("TLS is required, but host {remote} refused to start TLS: {reply}");
            self.tls_failed("4.7.4", &text);
            return;
        }
        // The mirror of CVE-2011-0411: what stands behind the 220 was not said under TLS, so nobody vouches for it.
        if !self.reader.is_empty() {
            let text = format!("octets behind the reply to STARTTLS from {}", self.options.remote);
            return self.broken("4.7.5", &text);
        }
        self.actions.push_back(Action::StartTls);
        self.go(State::Handshake, now);
    }

    fn tls_failed(&mut self, status: &str, text: &str) {
        self.plaintext_retry = self.options.tls_level == TlsLevel::May;
        self.give_up(status, text, Elsewhere::Yes);
        self.close();
    }

    fn begin(&mut self, now: Instant) {
        let size = self.transaction.size_octets;
        if let Some(limit) = self.capabilities.size.filter(|limit| (1..size).contains(limit)) {
            let remote = &self.options.remote;
            let text = format!("message size {size} exceeds size limit {limit} of server {remote}");
            self.settle_with(&Fate::failed(remote, "5.3.4", &text));
            return self.quit();
        }
        self.state = State::Envelope(Envelope::default());
        self.send_envelope(now);
    }

    /// Sends the next command, or the next group of them with PIPELINING.
    fn send_envelope(&mut self, now: Instant) {
        let State::Envelope(envelope) = &mut self.state else {
            return;
        };
        let group = if self.capabilities.pipelining {
            PIPELINE_COMMANDS_MAX
        } else {
            1
        };
        let from = envelope.sent;
        let to = from
            .saturating_add(group)
            .min(self.transaction.forward_paths.len().saturating_add(1));
        envelope.sent = to;
        let mut text = String::new();
        for number in from..to {
            match number
                .checked_sub(1)
                .and_then(|n| self.transaction.forward_paths.get(n))
            {
                None => text.push_str(&self.mail_command()),
                Some(path) => text.extend(["RCPT TO:<", &path.to_string(), ">\r\n"]),
            }
        }
        self.send(text.into_bytes());
        self.wait(now, self.options.hello_timeout);
    }

    fn mail_command(&self) -> String {
        let mut text = format!("MAIL FROM:<{}>", self.transaction.reverse_path);
        if self.capabilities.size.is_some() {
            text.extend([" SIZE=", &self.transaction.size_octets.to_string()]);
        }
        if self.capabilities.eight_bit_mime && self.transaction.body == Body::EightBitMime {
            text.push_str(" BODY=8BITMIME");
        }
        text.push_str("\r\n");
        text
    }

    fn on_envelope(&mut self, now: Instant, reply: &Reply) {
        let State::Envelope(envelope) = &mut self.state else {
            return;
        };
        let number = envelope.answered;
        envelope.answered = number.saturating_add(1);
        let (answered, sent) = (envelope.answered, envelope.sent);
        if reply.code / 100 == 3 {
            return self.unexpected(reply);
        }
        if !reply.is_positive() {
            let Some(recipient) = number.checked_sub(1) else {
                return self.refused(reply);
            };
            let fate = self.fate_of_recipient(reply);
            if let Some(slot) = self.fates.get_mut(recipient) {
                *slot = Some(fate);
            }
        }
        self.wait(now, self.options.hello_timeout);
        if answered < sent {
            return;
        }
        if sent <= self.transaction.forward_paths.len() {
            return self.send_envelope(now);
        }
        if self.fates.iter().all(Option::is_some) {
            return self.quit();
        }
        self.say("DATA");
        self.go(State::Data, now);
    }

    fn fate_of_recipient(&self, reply: &Reply) -> Fate {
        if reply.code != 552 {
            return Fate::of_reply(&self.options.remote, reply);
        }
        // RFC 5321 section 4.5.3.1.10: "if a client receives a 552 reply code [to RCPT], it SHOULD be treated as
        // 452", for it means too many recipients.
        Fate::softened(&self.options.remote, reply, Elsewhere::No)
    }

    fn on_data(&mut self, now: Instant, reply: &Reply) {
        match reply.code {
            354 => {
                self.state = State::Body(DotStuffer::new());
                self.actions.push_back(Action::WantData);
                self.wait(now, self.options.data_transfer_timeout);
            }
            400..=599 => self.refused(reply),
            _ => self.unexpected(reply),
        }
    }

    /// A reply in the midst of the mail data: a refusal stands, anything else is out of step. QUIT cannot be said.
    fn on_early_reply(&mut self, reply: &Reply) {
        if reply.code >= 400 {
            self.settle_rest(reply);
            self.close();
        } else {
            self.unexpected(reply);
        }
    }

    fn on_final(&mut self, reply: &Reply) {
        if reply.code / 100 == 3 {
            self.unexpected(reply);
        } else {
            self.refused(reply);
        }
    }

    fn unexpected(&mut self, reply: &Reply) {
        let text = format!("unexpected reply while {}: {reply}", self.state.activity());
        self.broken("4.5.0", &text);
    }

    /// The dialogue cannot go on: everything unsettled waits. Behind the final dot the peer may hold the message, so
    /// no other host is given it at once.
    fn broken(&mut self, status: &str, text: &str) {
        if matches!(self.state, State::FinalReply) {
            let text = format!("{text} (lost connection after the final dot: may have been delivered)");
            self.give_up(status, &text, Elsewhere::No);
        } else {
            self.give_up(status, text, Elsewhere::Yes);
        }
        self.close();
    }

    /// The reply decides all that is unsettled, and the session ends in order.
    fn refused(&mut self, reply: &Reply) {
        self.settle_rest(reply);
        self.quit();
    }

    fn settle_rest(&mut self, reply: &Reply) {
        self.settle_with(&Fate::of_reply(&self.options.remote, reply));
    }

    fn give_up(&mut self, status: &str, text: &str, elsewhere: Elsewhere) {
        self.settle_with(&Fate::deferred(&self.options.remote, status, text, elsewhere));
    }

    fn settle_with(&mut self, fate: &Fate) {
        for slot in &mut self.fates {
            slot.get_or_insert_with(|| fate.clone());
        }
    }

    /// QUIT is said and its reply not waited for, as `smtp_skip_quit_response` has it.
    fn quit(&mut self) {
        self.say("QUIT");
        self.close();
    }

    fn close(&mut self) {
        self.actions.retain(|action| matches!(action, Action::Send(_)));
        self.actions.push_back(Action::Close);
        self.state = State::Over;
    }

    fn say(&mut self, command: &str) {
        self.send(format!("{command}\r\n").into_bytes());
    }

    fn send(&mut self, octets: Vec<u8>) {
        self.actions.push_back(Action::Send(octets));
    }

    fn go(&mut self, state: State, now: Instant) {
        self.state = state;
        self.wait(now, self.options.hello_timeout);
    }

    fn wait(&mut self, now: Instant, timeout: Duration) {
        self.deadline = now.checked_add(timeout);
    }
}
