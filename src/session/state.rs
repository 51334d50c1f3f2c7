//! The states of a session and what each command makes of them.
//!
//! **Implements** RFC 5321 section 4.1.4 (order of commands). Every step consumes the state it starts from, so that
//! no half reset survives.
//!
//! ```text
//!  220 --> Ready --- STARTTLS --> Handshake ------> Ready again, or Unwelcome (first command: 421)
//!          Ready --- AUTH ------> Authenticating -> Ready again (235 or refused), for a password through Verifying
//!          Ready --- MAIL ------> Mail
//!
//!  Mail --- DATA --+---------------> Opening --- draft, 354 --> Content --- CRLF.CRLF --+----------------> Committing
//!                  +--> Charging ------^                                                +--> Weighing -------^
//!
//!  Mail ----------------------------------------------- RSET, EHLO --> Ready
//!  Connecting, HELO, EHLO, MAIL, RCPT, DATA and the final dot go through Asking while a list or a filter is asked.
//!
//!  Content --- chunk of BDAT, 250 --> Chunks --- BDAT --> Content, until the last one; RSET, EHLO --> Ready
//!  BDAT --- refused --> Skipping --- its octets are read, then the reply --> where it came from, Ready, or
//!                                    Failed (more BDAT: 551, anything else: as in Ready)
//!
//!  Charging, Opening, Content, Weighing, Committing --- refused -----> Ready
//!  Committing ----------------------------------------- 250 ---------> Ready
//! ```
//!
//! Charging and Weighing wait for the holder's allowance, where a rule limits it. `mail_data` holds what follows DATA, `bdat`
//! what is particular to BDAT.

use std::sync::Arc;

use super::action::Action;
use super::auth::Exchange;
use super::connection::Connection;
use super::content::Content;
use super::event::{BareNewlinePlace, BareOctet, CertificateFault, CloseReason, Event};
use super::extension::Extension;
use super::hello::{Greeting, Hello, name_of};
use super::limits::Wait;
use super::password::Claim;
use super::pending::{Pending, Step};
use super::settings::TlsOffer;
use super::transaction::Transaction;
use super::{renewal, replies, starttls};
use crate::policy::question::Answers;
use crate::time::Now;
use crate::wire::command::{Command, Verb};
use crate::wire::data::BareNewline;
use crate::wire::line::{AUTHENTICATION_LINE_OCTETS_MAX, COMMAND_LINE_OCTETS_MAX, Line, LineEnd};
use crate::wire::reply::{Charset, Reply};
use crate::wire::sasl::Secret;

/// Where a session stands.
#[derive(Debug)]
pub(super) enum State {
    /// Waiting for TLS; everything before it is forgotten.
    Handshake,
    /// In TLS without the certificate that is required: the first command is answered with 421.
    Unwelcome(CertificateFault),
    /// Before the greeting, while the peer has to wait for it; and whether it did not.
    Silent { is_broken: bool },
    /// Between transactions.
    Ready(Greeting),
    /// After 334: the next line is a response and no command.
    Authenticating(Greeting, Exchange),
    /// Waiting for what the password service says.
    Verifying(Greeting, Claim),
    /// After MAIL.
    Mail(Greeting, Transaction),
    /// Waiting for what the outside world or a content filter says to the last command.
    Asking(Box<Pending>),
    /// Waiting for the count of a command; with the state it is to be obeyed in.
    Counting(Box<(Self, Command)>),
    /// The connection is refused: only QUIT is taken.
    Denied,
    /// After DATA, waiting for the holder's allowance.
    Charging(Greeting, Transaction),
    /// After DATA, waiting for the queue's draft.
    Opening(Greeting, Transaction),
    /// After 354.
    Content(Greeting, Transaction, Box<Content>),
    /// Between two chunks of BDAT, with a draft or the fault that cost it.
    Chunks(Greeting, Transaction, Box<Content>),
    /// Reading the octets of a BDAT that is refused.
    Skipping(Box<Skipped>),
    /// After a BDAT whose message was refused, before the last one: more may be in the pipeline.
    Failed(Greeting),
    /// After the final dot, waiting for the holder's allowance; with the octets received.
    Weighing(Greeting, Transaction, u64),
    /// After the final dot, waiting for the queue; with the octets received.
    Committing(Greeting, Transaction, u64),
    /// The end.
    Closed,
}

/// A refused chunk whose octets are being thrown away, and what follows then.
#[derive(Debug)]
pub(super) struct Skipped {
    /// Octets still to come.
    pub(super) remaining: u64,
    /// Octets since the time limit began anew.
    pub(super) block_octets: usize,
    /// What is answered then.
    pub(super) reply: Reply,
    /// Whether it refuses the command, and is counted as that; otherwise the message was refused before.
    pub(super) is_refusal: bool,
    /// Where the session goes on.
    pub(super) back: State,
}

impl State {
    /// After the greeting; XCLIENT may have told what HELO was.
    pub(super) fn greeted(given: Option<Hello>) -> Self {
        Self::Ready(given.map_or(Greeting::NotYet, Greeting::Said))
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

    /// Tells a peer without the certificate that is required to go, and ends the session.
    pub(super) fn turn_away(connection: &mut Connection, because: CertificateFault) -> Self {
        let reference = connection.next_reference();
        let reply = replies::certificate_required(&connection.settings, because, &reference);
        connection.send(&reply);
        connection.events.push_back(Event::SessionRejected {
            origin: Arc::clone(&connection.origin),
            reference,
            because,
            reply,
        });
        Self::close(connection, CloseReason::ClientCertificate)
    }

    /// Whether octets can be looked at now.
    pub(super) const fn takes_octets(&self) -> bool {
        matches!(
            self,
            Self::Silent { is_broken: false }
                | Self::Unwelcome(_)
                | Self::Ready(_)
                | Self::Authenticating(..)
                | Self::Mail(..)
                | Self::Content(..)
                | Self::Chunks(..)
                | Self::Skipping(_)
                | Self::Failed(_)
                | Self::Denied
        )
    }

    /// Whether a line can be looked at now.
    pub(super) const fn takes_commands(&self) -> bool {
        self.takes_octets() && !matches!(self, Self::Silent { .. } | Self::Content(..))
    }

    /// The longest line that may come next, octets with its end.
    pub(super) const fn line_octets_max(&self) -> usize {
        match self {
            Self::Authenticating(..) => AUTHENTICATION_LINE_OCTETS_MAX,
            _ => COMMAND_LINE_OCTETS_MAX,
        }
    }

    /// Whether no mail data is on its way: the session may end without losing any.
    pub(super) const fn is_between_data(&self) -> bool {
        match self {
            Self::Asking(pending) => !pending.step.has_draft(),
            Self::Handshake
            | Self::Silent { .. }
            | Self::Counting(_)
            | Self::Unwelcome(_)
            | Self::Ready(_)
            | Self::Authenticating(..)
            | Self::Verifying(..)
            | Self::Mail(..)
            | Self::Failed(_)
            | Self::Denied => true,
            _ => false,
        }
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
        if self.is_closed() {
            return self;
        }
        if self.has_draft() {
            connection.actions.push_back(Action::Discard);
        }
        Self::close(connection, because)
    }

    /// Whether the queue holds a draft that nothing has become of yet.
    fn has_draft(&self) -> bool {
        match self {
            Self::Opening(..) | Self::Weighing(..) => true,
            Self::Content(_, _, content) | Self::Chunks(_, _, content) => content.has_draft(),
            Self::Asking(pending) => pending.step.has_draft(),
            Self::Skipping(skipped) => skipped.back.has_draft(),
            Self::Counting(counted) => counted.0.has_draft(),
            _ => false,
        }
    }

    /// What the client takes in a reply.
    const fn charset(&self) -> Charset {
        match self {
            Self::Mail(_, transaction) | Self::Chunks(_, transaction, _) => transaction.charset(),
            _ => Charset::Ascii,
        }
    }

    /// Takes a command line, or the response to 334.
    pub(super) fn on_line(self, line: Line, connection: &mut Connection, now: Now) -> Self {
        if let Self::Unwelcome(fault) = self {
            return Self::turn_away(connection, fault);
        }
        connection.charset = self.charset();
        let state = match line {
            Line::TooLong if matches!(self, Self::Authenticating(..)) => {
                self.after_response().refuse(replies::response_too_long(), connection)
            }
            Line::TooLong => self.refuse(replies::line_too_long(), connection),
            Line::Complete { text, end } => {
                if end == LineEnd::Lf {
                    connection.note_bare_newline(BareNewlinePlace::Command, BareOctet::Lf);
                    if connection.bare_newline() == BareNewline::Reject {
                        connection.refuse(replies::bare_newline_in_command());
                        return self.abort(connection, CloseReason::BareNewline);
                    }
                }
                if matches!(self, Self::Authenticating(..)) {
                    let text = Secret::new(text);
                    let state = self.on_response(text.octets(), connection, now);
                    return state.after_command(connection, now);
                }
                if Self::is_foreign_line(&text, connection) {
                    return self.send_away(connection);
                }
                match Command::parse(&text) {
                    Ok(command) if self.is_out_of_turn(command.verb, connection) => self.cut(connection),
                    Ok(command) => self.on_command(&command, connection, now),
                    Err(why) => {
                        connection.tell_of_unknown(why, &text);
                        self.refuse(replies::not_a_command(why), connection)
                    }
                }
            }
        };
        state.after_command(connection, now)
    }

    /// Counts errors and starts the time limit of the next command.
    pub(super) fn after_command(self, connection: &mut Connection, now: Now) -> Self {
        if matches!(self, Self::Ready(_) | Self::Failed(_) | Self::Denied) {
            connection.end_filtering();
        }
        match self {
            Self::Ready(_) | Self::Mail(..) | Self::Chunks(..) | Self::Failed(_) | Self::Denied
                if connection
                    .counters
                    .is_exhausted(&connection.settings, connection.is_hurried()) =>
            {
                connection.send(&replies::too_many_errors(&connection.settings));
                self.abort(connection, CloseReason::TooManyErrors)
            }
            Self::Ready(_)
            | Self::Authenticating(..)
            | Self::Mail(..)
            | Self::Chunks(..)
            | Self::Failed(_)
            | Self::Denied => {
                connection.wait(Wait::Command, now);
                self
            }
            Self::Skipping(_) => {
                connection.wait(Wait::DataBlock, now);
                self
            }
            waiting => waiting,
        }
    }

    pub(super) fn refuse(self, reply: Reply, connection: &mut Connection) -> Self {
        connection.refuse(reply);
        self
    }

    pub(super) fn answer(self, reply: &Reply, connection: &mut Connection) -> Self {
        connection.send(reply);
        self
    }

    /// Does what a command asks for.
    pub(super) fn obey(self, command: &Command, connection: &mut Connection, now: Now) -> Self {
        let argument = command.argument.as_str();
        if !matches!(self, Self::Denied) {
            let is_hurried = connection.is_hurried();
            connection
                .counters
                .command(command.verb, &connection.settings, is_hurried);
        }
        let blocked = self.refusal_of(command.verb, connection);
        match (command.verb, blocked, self) {
            (Verb::Bdat, blocked, state) => state.on_bdat(argument, blocked, connection, now),
            (_, Some(reply), state) => state.refuse(reply, connection),
            (_, None, Self::Failed(greeting)) => Self::Ready(greeting).carry_out(command, connection, now),
            (_, None, state) => state.carry_out(command, connection, now),
        }
    }

    /// Why a command may not be said here, whatever its argument.
    fn refusal_of(&self, verb: Verb, connection: &Connection) -> Option<Reply> {
        match (self, verb) {
            (Self::Denied, Verb::Quit) => None,
            (Self::Denied, _) => Some(replies::denied(&connection.peer_in_words())),
            _ if needs_tls(verb, connection) => Some(replies::must_start_tls()),
            (_, Verb::StartTls) if connection.hides(Extension::StartTls) => Some(replies::not_implemented()),
            (_, Verb::Auth) if connection.hides(Extension::Auth) => Some(replies::authentication_not_enabled()),
            (_, Verb::NotImplemented) => Some(replies::not_implemented()),
            (_, Verb::Expn) => Some(replies::disabled("EXPN")),
            (Self::Chunks(..), verb) => replies::between_chunks(verb),
            _ => None,
        }
    }

    fn carry_out(self, command: &Command, connection: &mut Connection, now: Now) -> Self {
        let argument = command.argument.as_str();
        match command.verb {
            Verb::Helo | Verb::Ehlo => self.on_hello(command, connection, now),
            Verb::Mail => self.on_mail(argument, connection, now),
            Verb::Rcpt => self.on_rcpt(argument, connection, now),
            Verb::Data => self.on_data(argument, connection, now),
            Verb::StartTls => self.on_starttls(argument, connection, now),
            Verb::Xclient => self.on_xclient(argument, connection, now),
            Verb::Auth => self.on_auth(argument, connection, now),
            Verb::Rset if argument.is_empty() => {
                self.without_transaction(connection).answer(&replies::ok(), connection)
            }
            Verb::Rset => self.refuse(replies::usage("RSET"), connection),
            Verb::Noop => self.answer(&replies::ok(), connection),
            Verb::Help => self.answer(&replies::help(), connection),
            Verb::Vrfy => self.on_vrfy(argument, connection),
            Verb::Quit => {
                connection.send(&replies::bye());
                self.abort(connection, CloseReason::Quit)
            }
            Verb::Bdat | Verb::Expn | Verb::NotImplemented => self,
        }
    }

    /// Forgets the transaction, and the draft of one that came in chunks.
    fn without_transaction(self, connection: &mut Connection) -> Self {
        if self.has_draft() {
            connection.actions.push_back(Action::Discard);
        }
        match self {
            Self::Mail(greeting, _) | Self::Chunks(greeting, ..) => Self::Ready(greeting),
            other => other,
        }
    }

    /// RFC 5321 section 4.1.4: "the server MUST clear all buffers and reset the state exactly as if a RSET command
    /// had been issued."
    fn on_hello(self, command: &Command, connection: &mut Connection, now: Now) -> Self {
        let extended = command.verb == Verb::Ehlo;
        let Some(name) = name_of(&command.argument) else {
            let syntax = if extended { "EHLO hostname" } else { "HELO hostname" };
            return self.refuse(replies::usage(syntax), connection);
        };
        let before = match self.without_transaction(connection) {
            Self::Ready(greeting) => greeting,
            other => return other,
        };
        if let Some(fault) = renewal::apply(connection) {
            return Self::turn_away(connection, fault);
        }
        Self::begin(Step::Hello(before, Hello { name, extended }), connection, now)
    }

    /// Answers HELO or EHLO.
    pub(super) fn welcome(hello: Hello, connection: &mut Connection) -> Self {
        let reply = if hello.extended {
            replies::extensions(&connection.settings, &connection.auth_mechanisms(), |extension| {
                connection.offers(extension)
            })
        } else {
            replies::hello(&connection.settings)
        };
        connection.send(&reply);
        Self::Ready(Greeting::Said(hello))
    }

    fn on_starttls(self, argument: &str, connection: &mut Connection, now: Now) -> Self {
        if let Err(reply) = starttls::check(connection, argument) {
            return self.refuse(reply, connection);
        }
        connection.send(&replies::ready_for_tls());
        starttls::begin(connection, now);
        Self::Handshake
    }

    fn on_mail(self, argument: &str, connection: &mut Connection, now: Now) -> Self {
        let greeting = match self {
            Self::Ready(greeting) if greeting.allows_mail(connection.settings.hello_required) => greeting,
            Self::Mail(..) => return self.refuse(replies::nested_mail(), connection),
            other => return other.refuse(replies::say_ehlo_first(), connection),
        };
        if let Some(fault) = renewal::apply(connection) {
            return Self::turn_away(connection, fault);
        }
        match Transaction::begin(argument, &greeting, connection) {
            Ok(transaction) => {
                connection.charset = transaction.charset();
                connection.answers = Answers::default();
                Self::begin(Step::Mail(greeting, transaction), connection, now)
            }
            Err(reply) => Self::Ready(greeting).refuse(reply, connection),
        }
    }

    fn on_rcpt(self, argument: &str, connection: &mut Connection, now: Now) -> Self {
        let Self::Mail(greeting, mut transaction) = self else {
            return self.refuse(replies::need_mail(), connection);
        };
        if connection.is_barred {
            transaction.has_refused = true;
            connection.refuse(replies::barred());
            return Self::Mail(greeting, transaction);
        }
        if transaction.is_full(&connection.settings) {
            let reply = replies::too_many_recipients();
            if transaction.tolerates_overshoot() {
                connection.send(&reply);
            } else {
                connection.refuse(reply);
            }
            return Self::Mail(greeting, transaction);
        }
        match transaction.read_recipient(argument, &greeting, connection) {
            Ok(recipient) => return Self::begin(Step::Recipient(greeting, transaction, recipient), connection, now),
            Err(reply) => {
                transaction.has_refused = true;
                connection.refuse(reply);
            }
        }
        Self::Mail(greeting, transaction)
    }
}

/// `smtpd_tls_security_level = encrypt`; the exceptions are those of RFC 3207 section 4, AUTH, which has a refusal of its own
/// (538) before TLS, and XCLIENT as in Postfix.
fn needs_tls(verb: Verb, connection: &Connection) -> bool {
    let is_exempt = matches!(
        verb,
        Verb::Noop | Verb::Ehlo | Verb::StartTls | Verb::Auth | Verb::Quit | Verb::Xclient
    );
    connection.settings.tls == TlsOffer::Encrypt && connection.tls.is_none() && !is_exempt
}
