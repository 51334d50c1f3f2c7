//! A step of the dialogue that waits until everybody has been asked: restriction lists first, then content filters.
//!
//! **Implements** the stages of `smtpd_client_restrictions`, `smtpd_helo_restrictions`, `smtpd_sender_restrictions`,
//! `smtpd_relay_restrictions`, `smtpd_recipient_restrictions`, `smtpd_data_restrictions`, `smtpd_end_of_data_restrictions`.
//! **Does not** ask itself: the driver does, and no octet of the peer is looked at meanwhile.
//!
//! ```text
//! a command -> Restrictions --(Ask, handle_answer)*--> Filter --(Filter, handle_filtered)--> the step is carried on
//!                   |                                     |
//!                   +--------------- refused -------------+--> the reply, and back to where the command came from
//! ```

use std::sync::Arc;

use super::action::Action;
use super::connection::Connection;
use super::event::{CloseReason, Event, MessageFault};
use super::filter::{FilterNotice, FilterRefusal, FilterVerdict};
use super::limits::Wait;
use super::pending::{Gate, Pending, Step};
use super::replies;
use super::state::State;
use crate::policy::chain::Evaluation;
use crate::policy::question::Answer;
use crate::policy::stage::Stage;
use crate::policy::verdict::{Opinion, Verdict};
use crate::time::Now;
use crate::wire::reply::Reply;

/// Questions at one step, at most; a list that asks more is a refusal for the time being.
pub const QUESTIONS_MAX: usize = 64;

impl State {
    /// Begins a step: asks everybody who has a say, then carries it on.
    pub(super) fn begin(step: Step, connection: &mut Connection, now: Now) -> Self {
        connection.answers.forget_services();
        if matches!(step, Step::Connect | Step::Hello(..) | Step::Mail(..)) {
            connection.end_filtering();
        }
        let pending = Pending {
            step,
            gate: Gate::Restrictions,
            questions: 0,
        };
        Self::proceed(pending, connection, now)
    }

    fn proceed(mut pending: Pending, connection: &mut Connection, now: Now) -> Self {
        if matches!(pending.gate, Gate::Restrictions) {
            let verdict = match pending.step.evaluate(connection, now) {
                Evaluation::Decided(verdict) => verdict,
                Evaluation::Ask(question) if pending.questions < QUESTIONS_MAX => {
                    pending.questions = pending.questions.saturating_add(1);
                    connection.asked = Some(question.clone());
                    connection.actions.push_back(Action::Ask(Box::new(question)));
                    connection.wait(Wait::Answer, now);
                    return Self::Asking(Box::new(pending));
                }
                Evaluation::Ask(_) => Verdict::of_too_many_questions(),
            };
            if verdict.is_refusal() {
                return pending.step.refuse(verdict, connection, now);
            }
            pending.gate = Gate::Filter(verdict);
            if connection.settings.has_filters {
                let consultation = pending.step.consultation(connection);
                connection.is_filtered |= pending.step.transaction().is_some();
                connection.actions.push_back(Action::Filter(Box::new(consultation)));
                connection.wait(Wait::Answer, now);
                return Self::Asking(Box::new(pending));
            }
        }
        let Gate::Filter(verdict) = pending.gate else {
            return Self::Asking(Box::new(pending));
        };
        pending.step.carry_on(verdict, connection, now)
    }

    /// Takes the answer to [`Action::Ask`].
    pub(super) fn on_answer(self, answer: Answer, connection: &mut Connection, now: Now) -> Self {
        match (self, connection.asked.take()) {
            (Self::Asking(pending), Some(question)) if matches!(pending.gate, Gate::Restrictions) => {
                connection.answers.add(question, answer);
                Self::proceed(*pending, connection, now)
            }
            (other, _) => other,
        }
    }

    /// Takes the answer to [`Action::Filter`].
    pub(super) fn on_filtered(self, verdict: FilterVerdict, connection: &mut Connection, now: Now) -> Self {
        match self {
            Self::Asking(mut pending) if matches!(pending.gate, Gate::Filter(_)) => {
                let transaction = pending.step.transaction_mut();
                match (verdict, transaction) {
                    (FilterVerdict::Refuse(refusal), _) => {
                        return pending.step.filtered_out(refusal, connection, now);
                    }
                    (FilterVerdict::Changed(changes), Some(transaction)) => transaction.change(*changes),
                    (FilterVerdict::Discard(filter), Some(transaction)) => transaction.discarded_by = Some(filter),
                    _ => {}
                }
                Self::proceed(*pending, connection, now)
            }
            other => other,
        }
    }
}

impl Step {
    /// Everybody agreed.
    fn carry_on(mut self, verdict: Verdict, connection: &mut Connection, now: Now) -> State {
        if self.stage() != Stage::Recipient {
            self.take_note(&verdict, connection);
        }
        let state = match self {
            Self::Connect => {
                let greeting = replies::greeting(&connection.settings);
                connection.send(&greeting);
                State::greeted()
            }
            Self::Hello(_, hello) => State::welcome(hello, connection),
            Self::Mail(greeting, transaction) => {
                connection.send(&replies::sender_ok());
                State::Mail(greeting, transaction)
            }
            Self::Recipient(greeting, mut transaction, recipient) => {
                let _ = transaction.decided(recipient, verdict, connection);
                State::Mail(greeting, transaction)
            }
            Self::Data(greeting, transaction) => return State::open(greeting, transaction, connection, now),
            Self::EndOfData(greeting, transaction, size_octets) => {
                return State::weigh(greeting, transaction, size_octets, connection, now);
            }
        };
        state.after_command(connection, now)
    }

    /// What a list asks although it lets the step pass: obligations of the message, and warnings.
    fn take_note(&mut self, verdict: &Verdict, connection: &mut Connection) {
        match self.transaction_mut() {
            Some(transaction) => transaction.oblige(&verdict.obligations),
            None => connection.standing.add(&verdict.obligations),
        }
        if verdict.trace.iter().any(|step| step.opinion == Opinion::Warn) {
            connection.events.push_back(Event::RestrictionWarned {
                origin: Arc::clone(&connection.origin),
                verdict: Box::new(verdict.clone()),
            });
        }
    }

    /// A list refused.
    fn refuse(self, verdict: Verdict, connection: &mut Connection, now: Now) -> State {
        let stage = self.stage();
        let has_filters = connection.settings.has_filters;
        let told = (has_filters && stage == Stage::Recipient).then(|| Box::new(self.consultation(connection)));
        let state = match self {
            Self::Recipient(greeting, mut transaction, recipient) => {
                let reply = transaction.decided(recipient, verdict, connection);
                let is_end = reply.code == 421;
                let notice = told.map(|told| FilterNotice::RecipientRefused(told, reply));
                connection.actions.extend(notice.map(Action::TellFilters));
                // RFC 5321 section 3.8: 421 says that the channel closes.
                if is_end {
                    return State::close(connection, CloseReason::Refused);
                }
                State::Mail(greeting, transaction)
            }
            Self::Data(greeting, transaction) => {
                let fault = MessageFault::Restriction(stage, Box::new(verdict));
                State::reject(greeting, &transaction, 0, fault, connection)
            }
            Self::EndOfData(greeting, transaction, size_octets) => {
                connection.actions.push_back(Action::Discard);
                let fault = MessageFault::Restriction(stage, Box::new(verdict));
                State::reject(greeting, &transaction, size_octets, fault, connection)
            }
            early => {
                let reference = connection.next_reference();
                let reverse_path = early.transaction().map(|transaction| transaction.reverse_path.clone());
                let reply = replies::stage_refusal(stage, &verdict, &early.subject(connection), &reference);
                connection.events.push_back(Event::StageRejected {
                    origin: Arc::clone(&connection.origin),
                    reference,
                    stage,
                    hello: early.hello_name().to_owned(),
                    reverse_path,
                    verdict: Box::new(verdict),
                    reply: reply.clone(),
                });
                return early.go_back(&reply, connection, now);
            }
        };
        state.after_command(connection, now)
    }

    /// A content filter refused.
    fn filtered_out(self, refusal: Box<FilterRefusal>, connection: &mut Connection, now: Now) -> State {
        let reply = refusal.reply.clone();
        let state = match self {
            Self::Data(greeting, transaction) => {
                State::reject(greeting, &transaction, 0, MessageFault::Filter(refusal), connection)
            }
            Self::EndOfData(greeting, transaction, size_octets) => {
                connection.actions.push_back(Action::Discard);
                let fault = MessageFault::Filter(refusal);
                State::reject(greeting, &transaction, size_octets, fault, connection)
            }
            early => {
                let reference = connection.next_reference();
                connection.events.push_back(Event::FilterRejected {
                    origin: Arc::clone(&connection.origin),
                    reference,
                    stage: early.stage(),
                    reverse_path: early.transaction().map(|transaction| transaction.reverse_path.clone()),
                    forward_path: early.recipient().map(|recipient| recipient.forward_path.clone()),
                    refusal,
                });
                return early.go_back(&reply, connection, now);
            }
        };
        state.after_command(connection, now)
    }

    /// Answers a refusal before any recipient. RFC 5321 section 3.1: a refused connection is told 554 and may only QUIT.
    fn go_back(self, reply: &Reply, connection: &mut Connection, now: Now) -> State {
        connection.send(reply);
        connection.counters.error();
        if reply.code == 421 {
            return State::close(connection, CloseReason::Refused);
        }
        let state = match self {
            Self::Connect => State::Denied,
            Self::Recipient(greeting, mut transaction, _) => {
                transaction.has_refused = true;
                State::Mail(greeting, transaction)
            }
            Self::Hello(greeting, _)
            | Self::Mail(greeting, _)
            | Self::Data(greeting, _)
            | Self::EndOfData(greeting, ..) => State::Ready(greeting),
        };
        state.after_command(connection, now)
    }
}
