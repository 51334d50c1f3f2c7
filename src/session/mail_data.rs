//! What follows DATA: the holder's allowance, the draft, the mail data, the commit.
//!
//! **Implements** RFC 5321 section 4.1.1.4, the `from_header` and the limits of a certificate rule.

use std::sync::Arc;

use super::action::{Action, QueueRefusal};
use super::connection::Connection;
use super::content::Content;
use super::event::{BareNewlinePlace, CloseReason, Event, MessageFault};
use super::hello::Greeting;
use super::limits::Wait;
use super::pending::Step;
use super::replies;
use super::state::State;
use super::transaction::Transaction;
use crate::mail::queue_id::QueueId;
use crate::mail::trace_header::{Dialect, Received};
use crate::net;
use crate::policy::limits::{Allowance, OnExceed};
use crate::time::Now;

impl State {
    pub(super) fn on_data(self, argument: &str, connection: &mut Connection, now: Now) -> Self {
        match self {
            Self::Mail(..) if !argument.is_empty() => self.refuse(replies::usage("DATA"), connection),
            Self::Mail(greeting, transaction) if !transaction.forward_paths.is_empty() => {
                Self::begin(Step::Data(greeting, transaction), connection, now)
            }
            Self::Mail(_, ref transaction) if transaction.has_refused => {
                self.refuse(replies::no_valid_recipients(), connection)
            }
            Self::Mail(..) => self.refuse(replies::need_rcpt(), connection),
            other => other.refuse(replies::need_mail(), connection),
        }
    }

    /// Everybody agrees to the mail data: the holder's allowance, then the draft.
    pub(super) fn open(greeting: Greeting, transaction: Transaction, connection: &mut Connection, now: Now) -> Self {
        connection.wait(Wait::DataInitiation, now);
        match transaction.opening_charge(connection) {
            Some(charge) => {
                connection.actions.push_back(Action::Charge(charge));
                Self::Charging(greeting, transaction)
            }
            None => Self::open_draft(greeting, transaction, connection),
        }
    }

    fn open_draft(greeting: Greeting, transaction: Transaction, connection: &mut Connection) -> Self {
        connection.actions.push_back(Action::OpenDraft);
        Self::Opening(greeting, transaction)
    }

    /// Takes the holder's allowance: the message goes on, goes on hold, or is refused.
    pub(super) fn on_charged(self, allowance: Allowance, connection: &mut Connection, now: Now) -> Self {
        let (greeting, mut transaction, size_octets) = match self {
            Self::Charging(greeting, transaction) => (greeting, transaction, None),
            Self::Weighing(greeting, transaction, size_octets) => (greeting, transaction, Some(size_octets)),
            other => return other,
        };
        if let Allowance::Exceeded(exceeded) = allowance {
            if exceeded.limit.on_exceed != OnExceed::Hold {
                if size_octets.is_some() {
                    connection.actions.push_back(Action::Discard);
                }
                let fault = MessageFault::Limit(exceeded);
                return Self::reject(
                    greeting,
                    &transaction,
                    size_octets.unwrap_or_default(),
                    fault,
                    connection,
                )
                .after_command(connection, now);
            }
            transaction.put_on_hold(*exceeded, connection);
        }
        match size_octets {
            None => Self::open_draft(greeting, transaction, connection),
            Some(size_octets) => {
                Self::commit(greeting, transaction, size_octets, connection).after_command(connection, now)
            }
        }
    }

    /// Takes the queue's answer to the draft: the trace header, then 354 or the first chunk.
    pub(super) fn on_draft(self, result: Result<QueueId, QueueRefusal>, connection: &mut Connection, now: Now) -> Self {
        let Self::Opening(greeting, mut transaction) = self else {
            return self;
        };
        match result {
            Ok(id) => {
                transaction.id = Some(id);
                let mut header = transaction.prepended();
                header.push_str(&trace_header(id, &greeting, &transaction, connection, now));
                connection.actions.push_back(Action::Append(header.into_bytes()));
                connection.wait(Wait::DataBlock, now);
                let chunk = transaction.chunk.take();
                let content = Content::new(transaction.collector_of_from(), chunk);
                let state = Self::Content(greeting, transaction, Box::new(content));
                if chunk.is_some() {
                    // Its octets may be here already, and a chunk without any is complete.
                    return state.on_content(connection, now);
                }
                state.answer(&replies::start_data(), connection)
            }
            Err(refusal) => {
                Self::reject(greeting, &transaction, 0, refusal.into(), connection).after_command(connection, now)
            }
        }
    }

    /// Takes unread octets as mail data.
    pub(super) fn on_content(self, connection: &mut Connection, now: Now) -> Self {
        let Self::Content(greeting, mut transaction, mut content) = self else {
            return self;
        };
        let progress = content.take(connection.input.unread(), &connection.settings);
        connection.input.consume(progress.read);
        connection.wait_for_more_data(progress.read, now);
        if progress.block_done {
            connection.progress = connection.progress.saturating_add(1);
        }
        if progress.fault_found {
            connection.actions.push_back(Action::Discard);
        }
        if let Some(chunk) = content.finished_chunk() {
            return Self::chunk_taken(greeting, transaction, content, chunk, connection, now);
        }
        if !content.has_ended() {
            connection.actions.extend(content.next_piece().map(Action::Append));
            return Self::Content(greeting, transaction, content);
        }
        transaction.demands.smtputf8 = content.has_utf8_header();
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
        let fault = content.fault(connection.bare_newline());
        let Some(fault) = fault.or_else(|| transaction.fault_of_from(content.from(), &connection.identity)) else {
            connection.actions.extend(content.next_piece().map(Action::Append));
            return Self::begin(Step::EndOfData(greeting, transaction, size_octets), connection, now);
        };
        Self::give_up(greeting, &transaction, content, fault, connection).after_command(connection, now)
    }

    /// Everybody agrees to the message: the holder's allowance, then the commit.
    pub(super) fn weigh(
        greeting: Greeting,
        transaction: Transaction,
        size_octets: u64,
        connection: &mut Connection,
        now: Now,
    ) -> Self {
        connection.wait(Wait::DataTermination, now);
        let Some(charge) = transaction.octets_charge(size_octets, connection) else {
            return Self::commit(greeting, transaction, size_octets, connection).after_command(connection, now);
        };
        connection.actions.push_back(Action::Charge(charge));
        Self::Weighing(greeting, transaction, size_octets)
    }

    fn commit(greeting: Greeting, mut transaction: Transaction, size_octets: u64, connection: &mut Connection) -> Self {
        if let Some((decided_by, because)) = transaction.discard() {
            transaction.throw_away(decided_by, because, size_octets, connection);
            return Self::Ready(greeting);
        }
        transaction.settle_hold();
        let envelope = transaction.envelope(connection);
        connection.actions.push_back(Action::Commit(Box::new(envelope)));
        Self::Committing(greeting, transaction, size_octets)
    }

    /// An append failed: the draft goes, at once or, when the data has ended already, with the answer.
    pub(super) fn on_append_failed(self, why: QueueRefusal, connection: &mut Connection, now: Now) -> Self {
        if let Some(at) = connection.actions.iter().position(|action| *action == Action::Discard) {
            // The message is gone already, and what is asked and done behind that belongs to the next one.
            let mut behind = connection.actions.split_off(at);
            connection.actions.retain(|action| !matches!(action, Action::Append(_)));
            connection.actions.append(&mut behind);
            return self;
        }
        connection.actions.retain(|action| {
            !matches!(
                action,
                Action::Append(_) | Action::Ask(_) | Action::Filter(_) | Action::Charge(_) | Action::Commit(_)
            )
        });
        match self {
            Self::Content(greeting, transaction, mut content) => {
                if content.fail(why) {
                    connection.actions.push_back(Action::Discard);
                }
                Self::Content(greeting, transaction, content)
            }
            Self::Chunks(greeting, transaction, mut content) => {
                if content.fail(why) {
                    connection.actions.push_back(Action::Discard);
                }
                Self::Chunks(greeting, transaction, content)
            }
            Self::Weighing(greeting, transaction, size_octets)
            | Self::Committing(greeting, transaction, size_octets) => {
                connection.actions.push_back(Action::Discard);
                Self::reject(greeting, &transaction, size_octets, why.into(), connection).after_command(connection, now)
            }
            Self::Asking(pending) => match pending.step {
                Step::EndOfData(greeting, transaction, size_octets) => {
                    connection.asked = None;
                    connection.actions.push_back(Action::Discard);
                    Self::reject(greeting, &transaction, size_octets, why.into(), connection)
                        .after_command(connection, now)
                }
                _ => Self::Asking(pending),
            },
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
            references: transaction.references,
            hold: transaction.hold,
        });
        match connection.leaving {
            Some(reason) => Self::close(connection, reason),
            None => Self::Ready(greeting).after_command(connection, now),
        }
    }

    /// Answers a message that is not taken; two faults end the session.
    pub(super) fn reject(
        greeting: Greeting,
        transaction: &Transaction,
        size_octets: u64,
        because: MessageFault,
        connection: &mut Connection,
    ) -> Self {
        let reference = because.is_policy().then(|| connection.next_reference());
        let reply = replies::message_fault(&because, &connection.settings, reference.as_deref().unwrap_or_default());
        connection.counters.error();
        if let MessageFault::Limit(exceeded) = &because {
            transaction.record_exceeded((**exceeded).clone(), reference.clone(), connection);
        }
        let reason = match because {
            MessageFault::BareNewline(_) => Some(CloseReason::BareNewline),
            MessageFault::Queue(QueueRefusal::Closed) => Some(CloseReason::Shutdown),
            // RFC 5321 section 3.8: 421 says that the channel closes.
            _ if reply.code == 421 => Some(CloseReason::Refused),
            _ => None,
        };
        connection.events.push_back(Event::MessageRejected {
            origin: Arc::clone(&connection.origin),
            reverse_path: transaction.reverse_path.clone(),
            forward_paths: transaction.forward_paths.clone(),
            size_octets,
            because,
            reference,
            reply: reply.clone(),
        });
        match (connection.leaving.or(reason), transaction.chunk) {
            (Some(reason), _) => {
                connection.send(&reply);
                Self::close(connection, reason)
            }
            (None, Some(chunk)) => {
                let back = Self::behind_failed(chunk, greeting);
                Self::answer_behind_chunk(back, chunk, reply, connection)
            }
            (None, None) => Self::Ready(greeting).answer(&reply, connection),
        }
    }
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
    let dialect = match (connection.is_authenticated, greeting.is_extended()) {
        (true, _) => Dialect::Authenticated,
        (false, true) => Dialect::Extended,
        (false, false) => Dialect::Plain,
    };
    let received = Received {
        hello: name,
        dialect,
        is_utf8: transaction.is_utf8,
        peer: net::canonical(connection.peer.ip()),
        peer_name: connection.peer_name.as_ref(),
        myhostname: &connection.settings.myhostname,
        tls: connection.tls.as_ref(),
        identity: &connection.identity,
        with_tls_details: connection.settings.tls_received_header,
        certificate_asked: connection.settings.ask_client_certificate,
        login: connection
            .login
            .as_deref()
            .filter(|_| connection.settings.sasl.authenticated_header),
        id,
        forward_paths: &transaction.forward_paths,
        now,
    };
    received.to_header()
}
