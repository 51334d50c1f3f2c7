//! The filters of one session, in order.

use std::net::SocketAddr;
use std::sync::Arc;

use super::content::ContentMacros;
use super::conversation::{Conversation, Event, Standing, Word};
use super::failure::Failure;
use super::macros::Known;
use super::message::Message;
use super::settings::{DefaultAction, Filters};
use super::spool::SpoolError;
use crate::net;
use crate::observe::log;
use crate::policy::stage::Stage;
use crate::session::filter::{EnvelopeChanges, FilterFault, FilterRefusal, FilterVerdict};
use crate::session::replies::{filter_defers, filter_shuts_down, filter_unavailable};
use crate::wire::milter::command::{Command, letter};
use crate::wire::milter::options::{MacroStage, Steps};

/// The filters of one session.
pub struct Milters {
    filters: Arc<Filters>,
    session_id: String,
    peer: SocketAddr,
    conversations: Vec<Conversation>,
    /// One has thrown the message away: nobody is told any more of it.
    is_discarded: bool,
}

impl Milters {
    /// Nobody is connected to before the session's first question.
    pub fn new(filters: &Arc<Filters>, session_id: &str, peer: SocketAddr) -> Self {
        Self {
            filters: Arc::clone(filters),
            session_id: session_id.to_owned(),
            peer,
            conversations: Vec::new(),
            is_discarded: false,
        }
    }

    /// Whether filters are told of a client (`smtpd_milter_maps`).
    pub fn are_told_of(&self, client: SocketAddr) -> bool {
        !self.filters.disabled.contains(net::canonical(client.ip()))
    }

    /// Whether any filter will see a message of this session.
    pub fn want_content(&self) -> bool {
        let wants = |conversation: &Conversation| match conversation.standing {
            Standing::Asked | Standing::Refuses(_) => true,
            Standing::Failed(_) => conversation.milter.default_action != DefaultAction::Accept,
            Standing::Fresh | Standing::Past | Standing::Gone => false,
        };
        !self.is_discarded && self.conversations.iter().any(wants)
    }

    /// Asks every filter about a step before the end of the data. Not cancel-safe.
    pub async fn ask(&mut self, known: &Known<'_>) -> FilterVerdict {
        let stage = known.consultation.stage;
        if stage == Stage::Connect {
            self.begin(known.consultation.peer).await;
        }
        self.is_discarded &= !matches!(stage, Stage::Connect | Stage::Hello | Stage::Mail);
        if self.is_discarded {
            return FilterVerdict::Continue;
        }
        let event = event_of(known);
        for number in 0..self.conversations.len() {
            let Some(conversation) = self.conversations.get_mut(number) else {
                break;
            };
            if stage == Stage::Mail {
                conversation.in_message = conversation.standing == Standing::Asked;
            }
            let verdict = match &conversation.standing {
                Standing::Asked => {
                    let macros = macros(&self.filters, conversation, event.stage, known);
                    let patience = conversation.command_patience();
                    match conversation.event(&event, macros, patience).await {
                        Ok(Word::Continue) => None,
                        Ok(Word::Discard) => Some(FilterVerdict::Discard(conversation.milter.name.clone())),
                        Ok(Word::Refuse(reply)) => Some(refusal(conversation, FilterFault::Refused, reply)),
                        Ok(Word::Skip) => self.fail(number, stage, &Failure::OutOfPlace("SKIP")),
                        Err(failure) => self.fail(number, stage, &failure),
                    }
                }
                _ => standing_verdict(conversation, &self.filters.myhostname),
            };
            if let Some(verdict) = verdict {
                self.is_discarded = matches!(verdict, FilterVerdict::Discard(_));
                return verdict;
            }
        }
        FilterVerdict::Continue
    }

    /// Tells every filter of a whole message and takes what it changes. Not cancel-safe.
    ///
    /// # Errors
    /// [`SpoolError`]: the message cannot be read; nothing was decided.
    pub async fn weigh(&mut self, known: &Known<'_>, message: &mut Message) -> Result<FilterVerdict, SpoolError> {
        let mut together = EnvelopeChanges::default();
        for number in 0..self.conversations.len() {
            if let Some(verdict) = self.weigh_one(number, known, message, &mut together).await? {
                return Ok(verdict);
            }
        }
        self.conversations.iter_mut().for_each(Conversation::go_on);
        Ok(if together == EnvelopeChanges::default() {
            FilterVerdict::Continue
        } else {
            FilterVerdict::Changed(Box::new(together))
        })
    }

    async fn weigh_one(
        &mut self,
        number: usize,
        known: &Known<'_>,
        message: &mut Message,
        together: &mut EnvelopeChanges,
    ) -> Result<Option<FilterVerdict>, SpoolError> {
        let filters = Arc::clone(&self.filters);
        let Some(conversation) = self.conversations.get_mut(number) else {
            return Ok(None);
        };
        if conversation.standing != Standing::Asked {
            let verdict = standing_verdict(conversation, &filters.myhostname);
            hold_for_failure(conversation, together);
            return Ok(verdict);
        }
        let told = ContentMacros {
            header: macros(&filters, conversation, MacroStage::EndOfHeader, known),
            end: macros(&filters, conversation, MacroStage::EndOfMessage, known),
        };
        let said = match conversation.message(message, told, filters.message_octets_max).await {
            Ok((Word::Continue, Some(changes))) => {
                changes.apply(message).await.map(|changes| (Word::Continue, changes))
            }
            Ok((word, _)) => Ok((word, (EnvelopeChanges::default(), String::new()))),
            Err(failure) => Err(failure),
        };
        let (word, (changes, words)) = match said {
            Ok(said) => said,
            Err(Failure::Spool(error)) => return Err(error),
            Err(failure) => {
                let verdict = self.fail(number, Stage::EndOfData, &failure);
                if let Some(conversation) = self.conversations.get(number) {
                    hold_for_failure(conversation, together);
                }
                return Ok(verdict);
            }
        };
        let name = &conversation.milter.name;
        if !words.is_empty() {
            log::milter_changed(&self.session_id, self.peer, name, known.id, &words);
        }
        merge(together, changes, name);
        Ok(match word {
            Word::Discard => Some(FilterVerdict::Discard(name.clone())),
            Word::Refuse(reply) => Some(refusal(conversation, FilterFault::Refused, reply)),
            Word::Continue | Word::Skip => None,
        })
    }

    /// A recipient that a list refused: told to the filters that want to know, whatever they say to it.
    pub async fn tell_of_refused(&mut self, known: &Known<'_>) {
        let event = event_of(known);
        for number in 0..self.conversations.len() {
            let Some(conversation) = self.conversations.get_mut(number) else {
                break;
            };
            let wants = conversation.agreed.steps.has(Steps::REFUSED_RECIPIENTS);
            if conversation.standing == Standing::Asked && wants && !self.is_discarded {
                let macros = macros(&self.filters, conversation, event.stage, known);
                let patience = conversation.command_patience();
                match conversation.event(&event, macros, patience).await {
                    Ok(_) => conversation.go_on(),
                    Err(failure) => drop(self.fail(number, Stage::Recipient, &failure)),
                }
            }
        }
    }

    /// A line that is no command: told, whatever the filters say to it.
    pub async fn tell_of_unknown(&mut self, line: &str) {
        let event = Event {
            letter: b'U',
            stage: MacroStage::Mail,
            left_out: Steps::NO_UNKNOWN,
            silent: Steps::SILENT_UNKNOWN,
            command: Command::Unknown(line.to_owned()),
        };
        for number in 0..self.conversations.len() {
            let Some(conversation) = self.conversations.get_mut(number) else {
                break;
            };
            if conversation.standing == Standing::Asked {
                let patience = conversation.command_patience();
                match conversation.event(&event, Vec::new(), patience).await {
                    Ok(_) => conversation.go_on(),
                    Err(failure) => drop(self.fail(number, Stage::Connect, &failure)),
                }
            }
        }
    }

    /// The message that they know of is no more.
    pub async fn abort(&mut self) {
        for conversation in &mut self.conversations {
            conversation.abort().await;
        }
    }

    /// The session ends.
    pub async fn quit(&mut self) {
        for mut conversation in std::mem::take(&mut self.conversations) {
            conversation.quit().await;
        }
    }

    /// Connects to every filter: a session begins, or begins anew with another client.
    async fn begin(&mut self, client: SocketAddr) {
        self.quit().await;
        self.peer = client;
        if !self.are_told_of(client) {
            return;
        }
        let new = |milter: &super::settings::Milter| Conversation::new(milter.clone(), &self.filters.myhostname);
        self.conversations = self.filters.milters.iter().map(new).collect();
        for number in 0..self.conversations.len() {
            if let Some(conversation) = self.conversations.get_mut(number)
                && let Err(failure) = conversation.open().await
            {
                let _ = self.fail(number, Stage::Connect, &failure);
            }
        }
    }

    /// A filter is given up to the end of the session.
    fn fail(&mut self, number: usize, stage: Stage, failure: &Failure) -> Option<FilterVerdict> {
        let conversation = self.conversations.get_mut(number)?;
        let why = failure.to_string();
        log::milter_failed(
            &self.session_id,
            self.peer,
            &conversation.milter.name,
            stage.word(),
            &why,
        );
        conversation.channel = None;
        conversation.in_message = false;
        conversation.standing = Standing::Failed(why);
        standing_verdict(conversation, &self.filters.myhostname)
    }
}

/// What a filter that is not asked any more says; `None` when it lets everything go on.
fn standing_verdict(conversation: &Conversation, myhostname: &str) -> Option<FilterVerdict> {
    match &conversation.standing {
        Standing::Refuses(reply) => Some(refusal(conversation, FilterFault::Refused, reply.clone())),
        Standing::Failed(why) => {
            let reply = match conversation.milter.default_action {
                DefaultAction::Accept | DefaultAction::Quarantine => return None,
                DefaultAction::Reject => filter_unavailable(),
                DefaultAction::TempFail => filter_defers(),
                DefaultAction::Shutdown => filter_shuts_down(myhostname),
            };
            Some(refusal(conversation, FilterFault::Failed(why.clone()), reply))
        }
        Standing::Fresh | Standing::Asked | Standing::Past | Standing::Gone => None,
    }
}

fn refusal(conversation: &Conversation, because: FilterFault, reply: crate::wire::reply::Reply) -> FilterVerdict {
    FilterVerdict::Refuse(Box::new(FilterRefusal {
        filter: conversation.milter.name.clone(),
        because,
        reply,
    }))
}

fn hold_for_failure(conversation: &Conversation, together: &mut EnvelopeChanges) {
    if let Some(why) = conversation.holds_for_failure() {
        together.hold.get_or_insert(why);
    }
}

fn merge(together: &mut EnvelopeChanges, changes: EnvelopeChanges, name: &str) {
    if changes.reverse_path.is_some() {
        together.reverse_path = changes.reverse_path;
    }
    together.dsn.ret = changes.dsn.ret.or(together.dsn.ret);
    let envelope_id = changes.dsn.envelope_id;
    together.dsn.envelope_id = envelope_id.or_else(|| together.dsn.envelope_id.take());
    together.recipients.extend(changes.recipients);
    if let Some(reason) = changes.hold {
        together.hold.get_or_insert(format!("milter {name}: {reason}"));
    }
}

/// What the filter itself asked for, or what the configuration says.
fn macros(
    filters: &Filters,
    conversation: &Conversation,
    stage: MacroStage,
    known: &Known<'_>,
) -> Vec<(String, String)> {
    let configured = || filters.macros.get(&stage).map(Vec::as_slice).unwrap_or_default();
    let names = conversation.wanted(stage).unwrap_or_else(configured);
    known.pairs(filters, names)
}

fn event_of(known: &Known<'_>) -> Event {
    let consultation = known.consultation;
    let words = |path: String| {
        let mut words = vec![format!("<{path}>")];
        words.extend(consultation.parameters.iter().cloned());
        words
    };
    let reverse_path = || consultation.reverse_path.as_ref().map(ToString::to_string);
    let forward_path = || consultation.forward_path.as_ref().map(ToString::to_string);
    let (letter, stage, left_out, silent, command) = match consultation.stage {
        Stage::Connect => {
            let (hostname, address) = (known.hostname(), Some(known.client()));
            let command = Command::Connect { hostname, address };
            let (left_out, silent) = (Steps::NO_CONNECT, Steps::SILENT_CONNECT);
            (letter::CONNECT, MacroStage::Connect, left_out, silent, command)
        }
        Stage::Hello => {
            let command = Command::Hello(consultation.hello.clone());
            let (left_out, silent) = (Steps::NO_HELLO, Steps::SILENT_HELLO);
            (letter::HELLO, MacroStage::Hello, left_out, silent, command)
        }
        Stage::Mail => {
            let command = Command::Mail(words(reverse_path().unwrap_or_default()));
            let (left_out, silent) = (Steps::NO_MAIL, Steps::SILENT_MAIL);
            (letter::MAIL, MacroStage::Mail, left_out, silent, command)
        }
        Stage::Recipient => {
            let command = Command::Recipient(words(forward_path().unwrap_or_default()));
            let (left_out, silent) = (Steps::NO_RECIPIENT, Steps::SILENT_RECIPIENT);
            (letter::RECIPIENT, MacroStage::Recipient, left_out, silent, command)
        }
        Stage::Data | Stage::EndOfData => {
            let (left_out, silent) = (Steps::NO_DATA, Steps::SILENT_DATA);
            (letter::DATA, MacroStage::Data, left_out, silent, Command::Data)
        }
    };
    Event {
        letter,
        stage,
        left_out,
        silent,
        command,
    }
}
