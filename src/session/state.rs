//! The states of a session and what each command makes of them.
//!
//! **Implements** RFC 5321 section 4.1.4 (order of commands). Every step consumes the state it starts from, so that
//! no half reset survives.
//!
//! ```text
//!                  +---------- STARTTLS ---------- Handshake --------> Unwelcome (first command: 421)
//!                  v                                  ^
//!  220 --> Ready --- MAIL --> Mail --- DATA --> Opening --- draft --> Content --- CRLF.CRLF --> Committing
//!            ^                 |                  |                     |                            |
//!            +-- RSET, EHLO ---+------ refused ---+------ refused ------+--------- 250, 4yz ---------+
//! ```

use std::sync::Arc;

use super::action::{Action, QueueRefusal};
use super::connection::Connection;
use super::content::Content;
use super::event::{BareNewlinePlace, BareOctet, CloseReason, Event, MessageFault};
use super::hello::{Greeting, Hello, name_of};
use super::limits::Wait;
use super::settings::TlsOffer;
use super::transaction::Transaction;
use super::{replies, starttls};
use crate::mail::queue_id::QueueId;
use crate::mail::trace_header::Received;
use crate::net;
use crate::time::Now;
use crate::wire::command::{Command, Verb};
use crate::wire::data::BareNewline;
use crate::wire::line::{Line, LineEnd};
use crate::wire::reply::Reply;

/// Where a session stands.
#[derive(Debug)]
pub(super) enum State {
    /// Waiting for TLS; everything before it is forgotten.
    Handshake,
    /// In TLS without the certificate that is required: the first command is answered with this.
    Unwelcome(Reply),
    /// Between transactions.
    Ready(Greeting),
    /// After MAIL.
    Mail(Greeting, Transaction),
    /// After DATA, waiting for the queue's draft.
    Opening(Greeting, Transaction),
    /// After 354.
    Content(Greeting, Transaction, Box<Content>),
    /// After the final dot, waiting for the queue; with the octets received.
    Committing(Greeting, Transaction, u64),
    /// The end.
    Closed,
}

impl State {
    /// After the greeting.
    pub(super) const fn greeted() -> Self {
        Self::Ready(Greeting::NotYet)
    }

    /// After STARTTLS: nothing is known.
    pub(super) const fn forgotten() -> Self {
        Self::Ready(Greeting::Forgotten)
    }

    /// Ends the session.
    pub(super) fn close(connection: &mut Connection, because: CloseReason) -> Self {
        connection.input.clear();
        connection.actions.push_back(Action::Close);
        connection.events.push_back(Event::SessionClosed {
            origin: Arc::clone(&connection.origin),
            because,
            messages_queued: connection.messages_queued,
        });
        Self::Closed
    }

    /// Whether octets can be looked at now.
    pub(super) const fn takes_octets(&self) -> bool {
        matches!(
            self,
            Self::Unwelcome(_) | Self::Ready(_) | Self::Mail(..) | Self::Content(..)
        )
    }

    /// Whether no mail data is on its way: the session may end without losing any.
    pub(super) const fn is_between_data(&self) -> bool {
        matches!(
            self,
            Self::Handshake | Self::Unwelcome(_) | Self::Ready(_) | Self::Mail(..)
        )
    }

    /// Whether a reply can be understood: not in the middle of a handshake.
    pub(super) const fn may_speak(&self) -> bool {
        !matches!(self, Self::Handshake | Self::Closed)
    }

    /// Whether the session has ended.
    pub(super) const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    /// Ends the session wherever it stands; a draft goes, a commit handed over stays the queue's.
    pub(super) fn abort(self, connection: &mut Connection, because: CloseReason) -> Self {
        let has_draft = match &self {
            Self::Closed => return self,
            Self::Opening(..) => true,
            Self::Content(_, _, content) => content.has_draft(),
            _ => false,
        };
        if has_draft {
            connection.actions.push_back(Action::Discard);
        }
        Self::close(connection, because)
    }

    /// Takes a command line.
    pub(super) fn on_line(self, line: Line, connection: &mut Connection, now: Now) -> Self {
        if let Self::Unwelcome(reply) = self {
            connection.send(&reply);
            return Self::close(connection, CloseReason::ClientCertificate);
        }
        let state = match line {
            Line::TooLong => self.refuse(replies::line_too_long(), connection),
            Line::Complete { text, end } => {
                if end == LineEnd::Lf {
                    connection.note_bare_newline(BareNewlinePlace::Command, BareOctet::Lf);
                    if connection.bare_newline() == BareNewline::Reject {
                        connection.refuse(replies::bare_newline_in_command());
                        return Self::close(connection, CloseReason::BareNewline);
                    }
                }
                match Command::parse(&text) {
                    Ok(command) => self.on_command(&command, connection, now),
                    Err(why) => self.refuse(replies::not_a_command(why), connection),
                }
            }
        };
        state.after_command(connection, now)
    }

    /// Counts errors and starts the time limit of the next command.
    fn after_command(self, connection: &mut Connection, now: Now) -> Self {
        match self {
            Self::Ready(_) | Self::Mail(..) if connection.counters.is_exhausted(&connection.settings) => {
                connection.send(&replies::too_many_errors(&connection.settings));
                Self::close(connection, CloseReason::TooManyErrors)
            }
            Self::Ready(_) | Self::Mail(..) => {
                connection.wait(Wait::Command, now);
                self
            }
            waiting => waiting,
        }
    }

    fn refuse(self, reply: Reply, connection: &mut Connection) -> Self {
        connection.refuse(reply);
        self
    }

    fn answer(self, reply: &Reply, connection: &mut Connection) -> Self {
        connection.send(reply);
        self
    }

    fn on_command(self, command: &Command, connection: &mut Connection, now: Now) -> Self {
        let argument = command.argument.as_str();
        connection.counters.command(command.verb, &connection.settings);
        if needs_tls(command.verb, connection) {
            return self.refuse(replies::must_start_tls(), connection);
        }
        match command.verb {
            Verb::Helo | Verb::Ehlo => self.on_hello(command, connection),
            Verb::Mail => self.on_mail(argument, connection),
            Verb::Rcpt => self.on_rcpt(argument, connection, now),
            Verb::Data => self.on_data(argument, connection, now),
            Verb::StartTls => self.on_starttls(argument, connection, now),
            Verb::Rset if argument.is_empty() => self.without_transaction().answer(&replies::ok(), connection),
            Verb::Rset => self.refuse(replies::usage("RSET"), connection),
            Verb::Noop => self.answer(&replies::ok(), connection),
            Verb::Help => self.answer(&replies::help(), connection),
            Verb::Vrfy if connection.settings.vrfy_disabled => self.refuse(replies::disabled("VRFY"), connection),
            Verb::Vrfy if argument.is_empty() => self.refuse(replies::usage("VRFY address"), connection),
            Verb::Vrfy => self.answer(&replies::cannot_verify(argument), connection),
            Verb::Expn => self.refuse(replies::disabled("EXPN"), connection),
            Verb::Quit => {
                connection.send(&replies::bye());
                Self::close(connection, CloseReason::Quit)
            }
            Verb::Foreign => {
                connection.send(&replies::foreign_protocol());
                Self::close(connection, CloseReason::ForeignProtocol)
            }
        }
    }

    fn without_transaction(self) -> Self {
        match self {
            Self::Mail(greeting, _) => Self::Ready(greeting),
            other => other,
        }
    }

    /// RFC 5321 section 4.1.4: "the server MUST clear all buffers and reset the state exactly as if a RSET command
    /// had been issued."
    fn on_hello(self, command: &Command, connection: &mut Connection) -> Self {
        let extended = command.verb == Verb::Ehlo;
        let Some(name) = name_of(&command.argument) else {
            let syntax = if extended { "EHLO hostname" } else { "HELO hostname" };
            return self.refuse(replies::usage(syntax), connection);
        };
        let reply = if extended {
            replies::extensions(&connection.settings, connection.tls.is_some())
        } else {
            replies::hello(&connection.settings)
        };
        connection.send(&reply);
        Self::Ready(Greeting::Said(Hello { name, extended }))
    }

    fn on_starttls(self, argument: &str, connection: &mut Connection, now: Now) -> Self {
        if let Err(reply) = starttls::check(connection, argument) {
            return self.refuse(reply, connection);
        }
        connection.send(&replies::ready_for_tls());
        starttls::begin(connection, now);
        Self::Handshake
    }

    fn on_mail(self, argument: &str, connection: &mut Connection) -> Self {
        let greeting = match self {
            Self::Ready(greeting) if greeting.allows_mail(connection.settings.hello_required) => greeting,
            Self::Mail(..) => return self.refuse(replies::nested_mail(), connection),
            other => return other.refuse(replies::say_ehlo_first(), connection),
        };
        match Transaction::begin(argument, &connection.settings, connection.has_space) {
            Ok(transaction) => Self::Mail(greeting, transaction).answer(&replies::sender_ok(), connection),
            Err(reply) => Self::Ready(greeting).refuse(reply, connection),
        }
    }

    fn on_rcpt(self, argument: &str, connection: &mut Connection, now: Now) -> Self {
        let Self::Mail(greeting, mut transaction) = self else {
            return self.refuse(replies::need_mail(), connection);
        };
        if transaction.is_full(&connection.settings) {
            let reply = replies::too_many_recipients();
            if transaction.tolerates_overshoot() {
                connection.send(&reply);
            } else {
                connection.refuse(reply);
            }
            return Self::Mail(greeting, transaction);
        }
        match Transaction::read_recipient(argument) {
            Ok(forward_path) => {
                let reply = transaction.decide(forward_path, greeting.name(), connection, now);
                connection.send(&reply);
                if !reply.is_positive() {
                    transaction.has_refused = true;
                    connection.counters.error();
                }
            }
            Err(reply) => {
                transaction.has_refused = true;
                connection.refuse(reply);
            }
        }
        Self::Mail(greeting, transaction)
    }

    fn on_data(self, argument: &str, connection: &mut Connection, now: Now) -> Self {
        match self {
            Self::Mail(..) if !argument.is_empty() => self.refuse(replies::usage("DATA"), connection),
            Self::Mail(greeting, transaction) if !transaction.forward_paths.is_empty() => {
                connection.actions.push_back(Action::OpenDraft);
                connection.wait(Wait::DataInitiation, now);
                Self::Opening(greeting, transaction)
            }
            Self::Mail(_, ref transaction) if transaction.has_refused => {
                self.refuse(replies::no_valid_recipients(), connection)
            }
            Self::Mail(..) => self.refuse(replies::need_rcpt(), connection),
            other => other.refuse(replies::need_mail(), connection),
        }
    }

    /// Takes the queue's answer to the draft: the trace header, then 354.
    pub(super) fn on_draft(self, result: Result<QueueId, QueueRefusal>, connection: &mut Connection, now: Now) -> Self {
        let Self::Opening(greeting, transaction) = self else {
            return self;
        };
        match result {
            Ok(id) => {
                let header = trace_header(id, &greeting, &transaction, connection, now);
                connection.actions.push_back(Action::Append(header.into_bytes()));
                connection.send(&replies::start_data());
                connection.wait(Wait::DataBlock, now);
                Self::Content(greeting, transaction, Box::new(Content::new()))
            }
            Err(refusal) => {
                Self::reject(greeting, &transaction, 0, refusal.into(), connection).after_command(connection, now)
            }
        }
    }

    /// Takes unread octets as mail data.
    pub(super) fn on_content(self, connection: &mut Connection, now: Now) -> Self {
        let Self::Content(greeting, transaction, mut content) = self else {
            return self;
        };
        let progress = content.take(connection.input.unread(), &connection.settings);
        connection.input.consume(progress.read);
        if progress.block_done {
            connection.wait(Wait::DataBlock, now);
        }
        if progress.fault_found {
            connection.actions.push_back(Action::Discard);
        }
        if !content.has_ended() {
            connection.actions.extend(content.next_piece().map(Action::Append));
            return Self::Content(greeting, transaction, content);
        }
        Self::end_of_data(greeting, transaction, &mut content, connection, now)
    }

    fn end_of_data(
        greeting: Greeting,
        transaction: Transaction,
        content: &mut Content,
        connection: &mut Connection,
        now: Now,
    ) -> Self {
        if let Some(which) = content.bare_octet() {
            connection.note_bare_newline(BareNewlinePlace::MailData, which);
        }
        let size_octets = content.size_octets();
        let Some(fault) = content.fault(connection.bare_newline()) else {
            connection.actions.extend(content.next_piece().map(Action::Append));
            let envelope = transaction.envelope(connection);
            connection.actions.push_back(Action::Commit(Box::new(envelope)));
            connection.wait(Wait::DataTermination, now);
            return Self::Committing(greeting, transaction, size_octets);
        };
        if content.has_draft() {
            connection.actions.push_back(Action::Discard);
        }
        Self::reject(greeting, &transaction, size_octets, fault, connection).after_command(connection, now)
    }

    /// An append failed: the draft goes, at once or, when the data has ended already, with the answer.
    pub(super) fn on_append_failed(self, why: QueueRefusal, connection: &mut Connection, now: Now) -> Self {
        connection
            .actions
            .retain(|action| !matches!(action, Action::Append(_) | Action::Commit(_)));
        match self {
            Self::Content(greeting, transaction, mut content) => {
                if content.fail(why) {
                    connection.actions.push_back(Action::Discard);
                }
                Self::Content(greeting, transaction, content)
            }
            Self::Committing(greeting, transaction, size_octets) => {
                connection.actions.push_back(Action::Discard);
                Self::reject(greeting, &transaction, size_octets, why.into(), connection).after_command(connection, now)
            }
            other => other,
        }
    }

    /// Takes the queue's answer to the commit.
    pub(super) fn on_committed(
        self,
        result: Result<QueueId, QueueRefusal>,
        connection: &mut Connection,
        now: Now,
    ) -> Self {
        let Self::Committing(greeting, transaction, size_octets) = self else {
            return self;
        };
        let id = match result {
            Ok(id) => id,
            Err(refusal) => {
                return Self::reject(greeting, &transaction, size_octets, refusal.into(), connection)
                    .after_command(connection, now);
            }
        };
        connection.send(&replies::queued(id));
        connection.counters.reset();
        connection.messages_queued = connection.messages_queued.saturating_add(1);
        connection.events.push_back(Event::MessageQueued {
            origin: Arc::clone(&connection.origin),
            id,
            size_octets,
            reverse_path: transaction.reverse_path,
            forward_paths: transaction.forward_paths,
            decided_by: transaction.decided_by,
            references: Vec::new(),
            hold: None,
        });
        match connection.leaving {
            Some(reason) => Self::close(connection, reason),
            None => Self::Ready(greeting).after_command(connection, now),
        }
    }

    /// Answers a message that is not taken; two faults end the session.
    fn reject(
        greeting: Greeting,
        transaction: &Transaction,
        size_octets: u64,
        because: MessageFault,
        connection: &mut Connection,
    ) -> Self {
        let reply = replies::message_fault(because, &connection.settings);
        connection.send(&reply);
        connection.counters.error();
        connection.events.push_back(Event::MessageRejected {
            origin: Arc::clone(&connection.origin),
            reverse_path: transaction.reverse_path.clone(),
            forward_paths: transaction.forward_paths.clone(),
            size_octets,
            because,
            reference: None,
            reply,
        });
        let reason = match because {
            MessageFault::BareNewline(_) => Some(CloseReason::BareNewline),
            MessageFault::Queue(QueueRefusal::Closed) => Some(CloseReason::Shutdown),
            _ => None,
        };
        match connection.leaving.or(reason) {
            Some(reason) => Self::close(connection, reason),
            None => Self::Ready(greeting),
        }
    }
}

/// `smtpd_tls_security_level = encrypt`; the exceptions are those of RFC 3207 section 4, and HELP and RSET.
fn needs_tls(verb: Verb, connection: &Connection) -> bool {
    let is_exempt = matches!(
        verb,
        Verb::Noop | Verb::Ehlo | Verb::StartTls | Verb::Quit | Verb::Help | Verb::Rset | Verb::Foreign
    );
    connection.settings.tls == TlsOffer::Encrypt && connection.tls.is_none() && !is_exempt
}

fn trace_header(
    id: QueueId,
    greeting: &Greeting,
    transaction: &Transaction,
    connection: &Connection,
    now: Now,
) -> String {
    let name = match greeting.name() {
        "" => "unknown",
        name => name,
    };
    let received = Received {
        hello: name,
        extended: greeting.is_extended(),
        peer: net::canonical(connection.peer.ip()),
        peer_name: connection.peer_name.as_ref(),
        myhostname: &connection.settings.myhostname,
        tls: connection.tls.as_ref(),
        identity: &connection.identity,
        with_tls_details: connection.settings.tls_received_header,
        certificate_asked: connection.settings.ask_client_certificate,
        id,
        forward_paths: &transaction.forward_paths,
        now,
    };
    received.to_header()
}
