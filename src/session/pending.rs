//! A step of the dialogue that waits: what it is, what a list may look at, what a filter is told.

use super::connection::Connection;
use super::filter::Consultation;
use super::hello::{Greeting, Hello};
use super::transaction::{Recipient, Transaction};
use crate::net;
use crate::policy::chain::Evaluation;
use crate::policy::facts::Facts;
use crate::policy::stage::Stage;
use crate::policy::verdict::Verdict;
use crate::time::Now;

/// A step that waits.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) step: Step,
    pub(super) gate: Gate,
    pub(super) questions: usize,
}

/// What goes on once everybody agrees.
#[derive(Debug)]
pub(super) enum Step {
    /// The greeting.
    Connect,
    /// The reply to HELO or EHLO; with what was known before.
    Hello(Greeting, Hello),
    /// The reply to MAIL.
    Mail(Greeting, Transaction),
    /// The reply to RCPT.
    Recipient(Greeting, Transaction, Recipient),
    /// The draft behind DATA.
    Data(Greeting, Transaction),
    /// The commit behind the final dot; with the octets received.
    EndOfData(Greeting, Transaction, u64),
}

/// Who is asked next.
#[derive(Debug)]
pub(super) enum Gate {
    Restrictions,
    /// The filter, with what the lists decided.
    Filter(Verdict),
}

impl Step {
    pub(super) const fn stage(&self) -> Stage {
        match self {
            Self::Connect => Stage::Connect,
            Self::Hello(..) => Stage::Hello,
            Self::Mail(..) => Stage::Mail,
            Self::Recipient(..) => Stage::Recipient,
            Self::Data(..) => Stage::Data,
            Self::EndOfData(..) => Stage::EndOfData,
        }
    }

    /// Whether a draft waits for the outcome.
    pub(super) const fn has_draft(&self) -> bool {
        matches!(self, Self::EndOfData(..))
    }

    pub(super) fn hello_name(&self) -> &str {
        match self {
            Self::Connect => "",
            Self::Hello(_, hello) => &hello.name,
            Self::Mail(greeting, _)
            | Self::Recipient(greeting, ..)
            | Self::Data(greeting, _)
            | Self::EndOfData(greeting, ..) => greeting.name(),
        }
    }

    pub(super) const fn transaction(&self) -> Option<&Transaction> {
        match self {
            Self::Connect | Self::Hello(..) => None,
            Self::Mail(_, transaction)
            | Self::Recipient(_, transaction, _)
            | Self::Data(_, transaction)
            | Self::EndOfData(_, transaction, _) => Some(transaction),
        }
    }

    pub(super) const fn transaction_mut(&mut self) -> Option<&mut Transaction> {
        match self {
            Self::Connect | Self::Hello(..) => None,
            Self::Mail(_, transaction)
            | Self::Recipient(_, transaction, _)
            | Self::Data(_, transaction)
            | Self::EndOfData(_, transaction, _) => Some(transaction),
        }
    }

    pub(super) const fn recipient(&self) -> Option<&Recipient> {
        match self {
            Self::Recipient(_, _, recipient) => Some(recipient),
            _ => None,
        }
    }

    /// Asks the lists of this stage.
    pub(super) fn evaluate(&self, connection: &Connection, now: Now) -> Evaluation {
        let facts = Facts {
            hello: self.hello_name(),
            login: connection.login.as_deref(),
            reverse_path: self.transaction().map(|transaction| &transaction.reverse_path),
            forward_path: self.recipient().map(|recipient| &recipient.forward_path),
            answers: &connection.answers,
            ..Facts::new(
                net::canonical(connection.peer.ip()),
                &connection.identity,
                now.wall.seconds(),
            )
        };
        connection.chain.evaluate(self.stage(), &facts)
    }

    pub(super) fn consultation(&self, connection: &Connection) -> Consultation {
        let parameters = match self {
            Self::Mail(_, transaction) => transaction.parameters.as_slice(),
            Self::Recipient(_, _, recipient) => recipient.parameters.as_slice(),
            _ => &[],
        };
        Consultation {
            stage: self.stage(),
            peer: connection.peer,
            peer_name: connection.peer_name.clone(),
            identity: connection.identity.clone(),
            tls: connection.tls.clone(),
            login: connection.login.clone(),
            is_authenticated: connection.is_authenticated,
            hello: self.hello_name().to_owned(),
            reverse_path: self.transaction().map(|transaction| transaction.reverse_path.clone()),
            forward_path: self.recipient().map(|recipient| recipient.forward_path.clone()),
            parameters: parameters.to_vec(),
        }
    }

    /// What a refusal names, as in Postfix.
    pub(super) fn subject(&self, connection: &Connection) -> String {
        match self.stage() {
            Stage::Connect => connection.peer_in_words(),
            Stage::Hello => self.hello_name().to_owned(),
            _ => self
                .transaction()
                .map_or_else(String::new, |transaction| transaction.reverse_path.to_string()),
        }
    }
}
