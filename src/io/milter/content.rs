//! A whole message told to one filter, and its verdict with what it changes.

use super::changes::Changes;
use super::conversation::{Conversation, Event, Patience, Standing, Word};
use super::failure::Failure;
use super::message::Message;
use super::settings::DefaultAction;
use crate::wire::milter::command::{Command, letter};
use crate::wire::milter::options::{MacroStage, Steps};
use crate::wire::milter::response::Response;

/// The macros of the three moments.
pub(super) struct ContentMacros {
    pub(super) header: Vec<(String, String)>,
    pub(super) end: Vec<(String, String)>,
}

impl Conversation {
    /// Tells of header, body and end. The whole of it takes `milter_content_timeout` at most, PROGRESS or not: the client
    /// waits for its reply meanwhile.
    pub(super) async fn message(
        &mut self,
        message: &Message,
        macros: ContentMacros,
        octets_max: u64,
    ) -> Result<(Word, Option<Changes>), Failure> {
        let patience = Patience::new(self.milter.content_timeout, self.milter.content_timeout);
        let word = self.header(message, macros.header, patience).await?;
        if word != Word::Continue || self.standing != Standing::Asked {
            return Ok((word, None));
        }
        let word = self.body(message, patience).await?;
        if word != Word::Continue || self.standing != Standing::Asked {
            return Ok((word, None));
        }
        self.end(message, macros.end, (patience, octets_max)).await
    }

    async fn header(
        &mut self,
        message: &Message,
        macros: Vec<(String, String)>,
        patience: Patience,
    ) -> Result<Word, Failure> {
        let keeps_space = self.agreed.steps.has(Steps::LEADING_SPACE);
        let mut first_macros = macros.clone();
        for field in message.header.received() {
            let mut value = field.value();
            if !keeps_space && value.first() == Some(&b' ') {
                value.remove(0);
            }
            let name = field.name().to_vec();
            let event = Event {
                letter: b'L',
                stage: MacroStage::EndOfHeader,
                left_out: Steps::NO_HEADERS,
                silent: Steps::SILENT_HEADERS,
                command: Command::Header { name, value },
            };
            let word = self.event(&event, std::mem::take(&mut first_macros), patience).await?;
            if word != Word::Continue || self.standing != Standing::Asked {
                return not_skipped(word);
            }
        }
        let event = Event {
            letter: letter::END_OF_HEADER,
            stage: MacroStage::EndOfHeader,
            left_out: Steps::NO_END_OF_HEADER,
            silent: Steps::SILENT_END_OF_HEADER,
            command: Command::EndOfHeader,
        };
        not_skipped(self.event(&event, macros, patience).await?)
    }

    /// Tells of the body. Its end comes empty, as from Postfix and Sendmail: rspamd does not look for a piece there.
    async fn body(&mut self, message: &Message, patience: Patience) -> Result<Word, Failure> {
        let mut offset = 0_u64;
        while !self.agreed.steps.has(Steps::NO_BODY) {
            let piece = message.body_piece(offset).await?;
            if piece.is_empty() {
                break;
            }
            offset = offset.saturating_add(piece.len() as u64);
            let event = Event {
                letter: b'B',
                stage: MacroStage::EndOfMessage,
                left_out: Steps::NO_BODY,
                silent: Steps::SILENT_BODY,
                command: Command::Body(piece),
            };
            match self.event(&event, Vec::new(), patience).await? {
                Word::Continue if self.standing == Standing::Asked => {}
                Word::Skip => break,
                word => return Ok(word),
            }
        }
        Ok(Word::Continue)
    }

    async fn end(
        &mut self,
        message: &Message,
        macros: Vec<(String, String)>,
        (patience, octets_max): (Patience, u64),
    ) -> Result<(Word, Option<Changes>), Failure> {
        let mut changes = Changes::new(message, &self.agreed, octets_max);
        let channel = self.channel.as_mut().ok_or(Failure::Closed)?;
        if !macros.is_empty() {
            let event = letter::END_OF_BODY;
            channel.put(&Command::Macros { event, pairs: macros });
        }
        channel.put(&Command::EndOfBody(Vec::new()));
        channel.flush(patience.left()).await?;
        channel.check_unread()?;
        loop {
            match self.response(patience).await? {
                Response::Change(change) => changes.take(change, message).await?,
                Response::Skip => return Err(Failure::OutOfPlace("SKIP")),
                response => {
                    self.in_message = false;
                    let word = self.word(response, MacroStage::EndOfMessage)?;
                    return Ok((word, Some(changes)));
                }
            }
        }
    }

    /// What this filter's failure puts a message on hold for, if it does.
    pub(super) fn holds_for_failure(&self) -> Option<String> {
        match &self.standing {
            Standing::Failed(why) if self.milter.default_action == DefaultAction::Quarantine => {
                Some(format!("milter {} {why}", self.milter.name))
            }
            _ => None,
        }
    }
}

/// SKIP has a meaning in the body only.
fn not_skipped(word: Word) -> Result<Word, Failure> {
    match word {
        Word::Skip => Err(Failure::OutOfPlace("SKIP")),
        word => Ok(word),
    }
}
