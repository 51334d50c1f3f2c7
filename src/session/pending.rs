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
use crate::wire::path::ForwardPath;

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
#[expect(clippy::large_enum_variant, reason = "it stands in a box already")]
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
        let transaction = self.transaction();
        let id = transaction.and_then(|transaction| transaction.id);
        let queue_id = id.map(|id| id.to_string()).unwrap_or_default();
        let tls = connection.tls.as_ref();
        let facts = Facts {
            peer_port: connection.peer.port(),
            peer_name: connection.peer_name.as_ref(),
            is_extended: self.is_extended(),
            tls: tls.map(|tls| (tls.protocol.as_str(), tls.cipher.as_str(), tls.cipher_bits)),
            instance: transaction.map_or("", |transaction| transaction.instance.as_str()),
            queue_id: &queue_id,
            size_octets: self.size_octets(),
            recipients: transaction.map_or(0, |transaction| transaction.forward_paths.len()),
            pipelined_unauthorised: connection.spoke_out_of_turn || self.is_pipelined(connection),
            hello: self.hello_name(),
            login: connection.login.as_deref(),
            login_mechanism: connection.login_mechanism,
            login_sender: transaction.map_or("", |transaction| transaction.login_sender()),
            server: connection.local,
            is_stressed: connection.is_stressed,
            reverse_path: transaction.map(|transaction| &transaction.reverse_path),
            forward_path: self.forward_path(),
            answers: &connection.answers,
            ..Facts::new(
                net::canonical(connection.peer.ip()),
                &connection.identity,
                now.wall.seconds(),
            )
        };
        connection.chain.evaluate(self.stage(), &facts)
    }

    /// The recipient in question; behind RCPT the only one, when there is one only.
    fn forward_path(&self) -> Option<&ForwardPath> {
        match self {
            Self::Data(_, transaction) | Self::EndOfData(_, transaction, _) => {
                match transaction.forward_paths.as_slice() {
                    [only] => Some(only),
                    _ => None,
                }
            }
            other => other.recipient().map(|recipient| &recipient.forward_path),
        }
    }

    fn size_octets(&self) -> Option<u64> {
        match self {
            Self::EndOfData(_, _, size_octets) => Some(*size_octets),
            other => other.transaction()?.size_octets,
        }
    }

    fn is_extended(&self) -> bool {
        match self {
            Self::Connect => false,
            Self::Hello(_, hello) => hello.extended,
            Self::Mail(greeting, _)
            | Self::Recipient(greeting, ..)
            | Self::Data(greeting, _)
            | Self::EndOfData(greeting, ..) => greeting.is_extended(),
        }
    }

    /// RFC 2920 section 3.1: EHLO and DATA end a group of commands, and before EHLO there are no groups.
    fn is_pipelined(&self, connection: &Connection) -> bool {
        let ends_group = match self {
            Self::Connect | Self::Hello(..) => true,
            // Octets of the chunk follow BDAT.
            Self::Data(_, transaction) => transaction.chunk.is_none(),
            Self::Mail(..) | Self::Recipient(..) => !self.is_extended(),
            Self::EndOfData(..) => false,
        };
        ends_group && !connection.input.unread().is_empty()
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
            given_names: connection.given_names.clone(),
            identity: connection.identity.clone(),
            tls: connection.tls.clone(),
            login: connection.login.clone(),
            login_mechanism: connection.login_mechanism,
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
