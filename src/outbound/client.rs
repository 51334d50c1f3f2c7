//! The SMTP client dialogue as a value: octets, TLS results, mail data and the time in; actions and endings out.
//!
//! **Implements** RFC 5321 sections 3 and 4.5.3.2 (client side), RFC 1870 (SIZE), RFC 2920 (PIPELINING), RFC 3207 with
//! the levels of `smtp_tls_security_level`, RFC 6152 (8BITMIME), `smtp_skip_5xx_greeting` and `smtp_skip_quit_response`
//! as Postfix defaults to them; one transaction after the other over one session, as `smtp_connection_cache_on_demand`
//! has it.
//! **Does not** touch a socket, judge a certificate, choose a host, or decide how long a session is kept.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::capabilities::{Capabilities, Extension};
use super::client_state::{Action, ClientOptions, Ending, Leftover, State, Transaction};
use super::fate::{Elsewhere, Fate};
use super::progress::{Next, Progress};
use super::reply_reader::ReplyReader;
use super::settings::TlsLevel;
use crate::wire::data::DotStuffer;
use crate::wire::reply::Reply;

/// One session with its transactions, one after the other.
#[derive(Debug)]
pub struct Client {
    pub(super) options: ClientOptions,
    pub(super) progress: Progress,
    /// Transactions begun.
    transactions: usize,
    pub(super) state: State,
    reader: ReplyReader,
    pub(super) capabilities: Capabilities,
    pub(super) tls: bool,
    /// What the driver shall do instead of taking the fates.
    again: Option<Again>,
    pub(super) actions: VecDeque<Action>,
    pub(super) deadline: Option<Instant>,
}

/// Why the transaction is to be tried on another connection to the same address.
#[derive(Clone, Copy, Debug)]
enum Again {
    InPlaintext,
    Afresh,
}

impl Client {
    /// A session on a connection just made, and its first transaction; in wrapper mode TLS came first.
    pub fn new(options: ClientOptions, transaction: impl Into<Arc<Transaction>>, now: Instant) -> Self {
        let mut client = Self {
            tls: options.tls_wrapper,
            options,
            progress: Progress::new(transaction.into()),
            transactions: 1,
            state: State::Greeting,
            reader: ReplyReader::new(),
            capabilities: Capabilities::default(),
            again: None,
            actions: VecDeque::new(),
            deadline: None,
        };
        client.wait(now, client.options.hello_timeout);
        client
    }

    /// The next transaction of an idle session; for any other it ends as [`Ending::Stale`].
    pub fn begin(&mut self, transaction: impl Into<Arc<Transaction>>, now: Instant) {
        self.progress = Progress::new(transaction.into());
        self.transactions = self.transactions.saturating_add(1);
        match self.state {
            State::Idle(Leftover::None) => self.begin_envelope(now),
            State::Idle(Leftover::OpenTransaction) => {
                self.say("RSET");
                self.go(State::Reset, now);
            }
            _ => self.lost_before_use(),
        }
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

    /// Whether the session can take another transaction.
    pub const fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle(_))
    }

    /// Whether the transaction has ended, well or not.
    pub const fn is_settled(&self) -> bool {
        matches!(self.state, State::Idle(_) | State::Spent | State::Over)
    }

    /// Whether MAIL was said, so that the peer serves us.
    pub const fn is_served(&self) -> bool {
        self.progress.is_begun()
    }

    /// How many transactions were begun before this one.
    pub const fn reuses(&self) -> usize {
        self.transactions.saturating_sub(1)
    }

    /// How the transaction ended; one given up early defers what it had not settled, and ends its session.
    pub fn take_ending(&mut self) -> Ending {
        if !self.is_settled() {
            self.give_up("4.4.2", "the session was given up", Elsewhere::Yes);
            self.close();
        }
        let fates = self.progress.take_fates();
        match self.again.take() {
            Some(Again::InPlaintext) => Ending::RetryInPlaintext(fates),
            Some(Again::Afresh) => Ending::Stale,
            None => Ending::Settled(fates),
        }
    }

    /// Ends a session whose transaction is settled: what is left is to carry out the actions.
    pub fn end(&mut self) {
        if matches!(self.state, State::Idle(_) | State::Spent) {
            self.quit();
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
                Ok(None) => break,
                Err(error) => {
                    let text = format!("protocol error while {}: {error}", self.activity());
                    return self.broken("4.5.0", &text);
                }
            }
        }
        // Whoever says more than was asked for is out of step: what comes next could be taken for another's reply.
        if self.is_idle() && !self.reader.is_empty() {
            self.state = State::Spent;
        }
    }

    /// The peer closed, or the connection broke.
    pub fn handle_eof(&mut self) {
        if self.is_over() {
            return;
        }
        if self.is_stale() {
            return self.lost_before_use();
        }
        let text = format!("lost connection with {} while {}", self.options.remote, self.activity());
        self.broken("4.4.2", &text);
    }

    /// The deadline has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if !self.is_over() && self.deadline.is_some_and(|deadline| deadline <= now) {
            let remote = &self.options.remote;
            let text = format!("conversation with {remote} timed out while {}", self.activity());
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

    /// The next piece of mail data; the one that makes up the size is followed by the final dot.
    pub fn handle_data_chunk(&mut self, now: Instant, chunk: &[u8]) {
        let State::Body(stuffer) = &mut self.state else { return };
        let mut out = Vec::with_capacity(chunk.len().saturating_add(64));
        let is_last = match self.progress.count(chunk.len()) {
            Some(0) => true,
            Some(_) if !chunk.is_empty() => false,
            _ => return self.handle_data_error("the mail data is not as long as it should be"),
        };
        stuffer.push(chunk, &mut out);
        if !is_last {
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
            if self.is_stale() {
                return self.lost_before_use();
            }
            self.settle_rest(reply);
            return self.close();
        }
        match &self.state {
            State::Greeting => self.on_greeting(now, reply),
            State::Hello => self.on_hello(now, reply),
            State::PlainHello => self.on_plain_hello(now, reply),
            State::StartTls => self.on_starttls(now, reply),
            State::Reset => self.on_reset(now, reply),
            State::Envelope if self.progress.is_at_data() => self.on_data(now, reply),
            State::Envelope => self.on_envelope(now, reply),
            State::Body(_) => self.on_early_reply(reply),
            State::FinalReply => self.on_final(reply),
            State::LoneDot => self.on_lone_dot(reply),
            // The peer was not asked anything.
            State::Survey => self.unexpected(reply),
            State::Idle(_) | State::Spent => self.close(),
            State::Handshake | State::Over => {}
        }
    }

    fn on_greeting(&mut self, now: Instant, reply: &Reply) {
        if reply.is_positive() {
            return self.say_hello(now);
        }
        // As `smtp_skip_5xx_greeting`: a host that refuses everybody says nothing about this message.
        self.progress
            .settle_rest(&Fate::softened(&self.options.remote, reply, Elsewhere::Yes));
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
            return self.refused_service(reply);
        }
        self.capabilities = Capabilities::of(reply, &self.options.discarded);
        self.secure_or_begin(now);
    }

    fn on_plain_hello(&mut self, now: Instant, reply: &Reply) {
        if reply.is_positive() {
            self.secure_or_begin(now);
        } else {
            self.refused_service(reply);
        }
    }

    fn secure_or_begin(&mut self, now: Instant) {
        if self.tls || self.options.tls_level == TlsLevel::None {
            return self.begin_envelope(now);
        }
        if self.capabilities.has(Extension::StartTls) {
            self.say("STARTTLS");
            return self.go(State::StartTls, now);
        }
        if self.options.tls_level == TlsLevel::May {
            return self.begin_envelope(now);
        }
        let text = format!("TLS is required, but was not offered by host {}", self.options.remote);
        self.give_up(self.tls_status("4.7.4"), &text, Elsewhere::Yes);
        self.quit();
    }

    fn on_starttls(&mut self, now: Instant, reply: &Reply) {
        if !reply.is_positive() {
            let remote = &self.options.remote;
            let text = format!("TLS is required, but host {remote} refused to start TLS: {reply}");
            return self.tls_failed("4.7.4", &text);
        }
        // The mirror of CVE-2011-0411: what stands behind the 220 was not said under TLS, so nobody vouches for it.
        if !self.reader.is_empty() {
            let text = format!("octets behind the reply to STARTTLS from {}", self.options.remote);
            return self.broken("4.7.5", &text);
        }
        self.actions.push_back(Action::StartTls);
        self.go(State::Handshake, now);
    }

    fn tls_failed(&mut self, status: &'static str, text: &str) {
        self.again = (self.options.tls_level == TlsLevel::May).then_some(Again::InPlaintext);
        self.give_up(self.tls_status(status), text, Elsewhere::Yes);
        self.close();
    }

    pub(super) fn send_group(&mut self, now: Instant) {
        let group = self.progress.next_group(self.capabilities);
        self.send(group);
        self.wait(now, self.options.hello_timeout);
    }

    fn on_reset(&mut self, now: Instant, reply: &Reply) {
        if reply.is_positive() {
            self.begin_envelope(now);
        } else {
            self.lost_before_use();
        }
    }

    fn on_envelope(&mut self, now: Instant, reply: &Reply) {
        if reply.code / 100 == 3 {
            return self.unexpected(reply);
        }
        // A host that takes so many messages per session and no more says so at MAIL, and it may say it to this one only.
        // One that finds our commands out of order (503) has said more than it was asked for since the last message.
        if self.is_stale() && (reply.code == 503 || reply.is_transient() && self.progress.is_at_mail()) {
            self.again = Some(Again::Afresh);
        }
        self.wait(now, self.options.hello_timeout);
        match self.progress.take_reply(&self.options.remote, reply) {
            Next::Reply => {}
            Next::Group => self.send_group(now),
            Next::Nothing => self.rest(),
        }
    }

    fn on_data(&mut self, now: Instant, reply: &Reply) {
        match reply.code {
            // RFC 2920 section 3.1: "If the DATA command was pipelined [..] and no recipients were accepted, the client
            // SHOULD issue a single dot" when 354 comes all the same.
            354 if self.progress.is_decided() => {
                self.send(b".\r\n".to_vec());
                self.state = State::LoneDot;
                self.wait(now, self.options.data_done_timeout);
            }
            354 => {
                self.state = State::Body(DotStuffer::new());
                self.actions.push_back(Action::WantData);
                self.wait(now, self.options.data_transfer_timeout);
            }
            400..=599 => {
                self.settle_rest(reply);
                self.rest();
            }
            _ => self.unexpected(reply),
        }
    }

    /// A message to nobody should be refused. Taken, it is of no use, but then the peer is an odd one.
    fn on_lone_dot(&mut self, reply: &Reply) {
        if reply.code >= 400 {
            self.rest();
        } else {
            self.state = State::Spent;
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

    /// RFC 5321 section 4.1.1.4: the end of the mail data is also the end of the transaction, whatever the reply.
    fn on_final(&mut self, reply: &Reply) {
        if reply.code / 100 == 3 {
            return self.unexpected(reply);
        }
        self.settle_rest(reply);
        self.rest();
    }

    /// The transaction is over. One that the peer began and whose data never came must be reset before the next.
    pub(super) fn rest(&mut self) {
        self.state = match self.state {
            _ if self.again.is_some() || self.is_used_up() => State::Spent,
            State::Envelope | State::LoneDot if self.progress.is_mail_taken() => State::Idle(Leftover::OpenTransaction),
            _ => State::Idle(Leftover::None),
        };
        self.deadline = None;
    }

    /// Whether an end of the session now means no more than that it was kept too long.
    fn is_stale(&self) -> bool {
        self.reuses() > 0 && matches!(self.state, State::Reset | State::Envelope) && self.progress.is_untried()
    }

    fn lost_before_use(&mut self) {
        self.again = Some(Again::Afresh);
        self.close();
    }

    fn unexpected(&mut self, reply: &Reply) {
        let text = format!("unexpected reply while {}: {reply}", self.activity());
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

    /// The peer serves us nothing: the reply decides all, and the session ends in order.
    fn refused_service(&mut self, reply: &Reply) {
        self.settle_rest(reply);
        self.quit();
    }

    fn settle_rest(&mut self, reply: &Reply) {
        self.progress.settle_rest(&Fate::of_reply(&self.options.remote, reply));
    }

    pub(super) fn give_up(&mut self, status: &str, text: &str, elsewhere: Elsewhere) {
        let fate = Fate::deferred(&self.options.remote, status, text, elsewhere);
        self.progress.settle_rest(&fate);
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

    fn activity(&self) -> &'static str {
        self.state.activity().unwrap_or_else(|| self.progress.activity())
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
