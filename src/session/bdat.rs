//! BDAT: mail data in chunks, and the octets of chunks that are refused.
//!
//! **Implements** RFC 3030 sections 2 and 4.2. The first chunk passes what DATA passes before any of its octets is taken in.
//! Whatever is answered, the octets behind BDAT are mail data and never commands: of a refused chunk they are read and
//! thrown away before the reply, and where nobody can say how many they are, or they are too many, the session ends.

use super::action::Action;
use super::connection::Connection;
use super::content::Content;
use super::event::{BareNewlinePlace, CloseReason, MessageFault};
use super::extension::Extension;
use super::hello::Greeting;
use super::limits::{DATA_BLOCK_OCTETS, Wait};
use super::pending::Step;
use super::replies;
use super::state::{Skipped, State};
use super::transaction::Transaction;
use crate::time::Now;
use crate::wire::chunking::Chunk;
use crate::wire::reply::Reply;

/// Octets of one refused chunk that are read and thrown away; of a longer one nothing is, and the session ends.
const SKIPPED_OCTETS_MAX: u64 = 256 * 1024 * 1024;

impl State {
    /// Takes BDAT. `blocked` is the refusal when no mail may be said now.
    pub(super) fn on_bdat(self, argument: &str, blocked: Option<Reply>, connection: &mut Connection, now: Now) -> Self {
        let Some(chunk) = Chunk::parse(argument) else {
            connection.refuse(replies::bad_chunk());
            return self.abort(connection, CloseReason::ChunkOfUnknownLength);
        };
        if chunk.size_octets == 0 && !chunk.is_last {
            let is_hurried = connection.is_hurried();
            connection.counters.junk(&connection.settings, is_hurried);
        }
        if let Some(reply) = blocked {
            return self.refuse_chunk(chunk, reply, connection);
        }
        match self {
            Self::Chunks(greeting, transaction, content) => {
                Self::next_chunk(greeting, transaction, content, chunk, connection, now)
            }
            Self::Failed(greeting) => {
                let reply = replies::chunk_discarded(chunk.size_octets);
                Self::answer_behind_chunk(Self::behind_failed(chunk, greeting), chunk, reply, connection)
            }
            Self::Mail(ref greeting, _) if !greeting.is_extended() || !connection.offers(Extension::Chunking) => {
                self.refuse_chunk(chunk, replies::not_implemented(), connection)
            }
            Self::Mail(greeting, transaction) if !transaction.forward_paths.is_empty() => {
                Self::first_chunk(greeting, transaction, chunk, connection, now)
            }
            Self::Mail(_, ref transaction) if transaction.has_refused => {
                self.refuse_chunk(chunk, replies::no_valid_recipients(), connection)
            }
            Self::Mail(..) => self.refuse_chunk(chunk, replies::need_rcpt(), connection),
            other => other.refuse_chunk(chunk, replies::need_mail(), connection),
        }
    }

    fn first_chunk(
        greeting: Greeting,
        mut transaction: Transaction,
        chunk: Chunk,
        connection: &mut Connection,
        now: Now,
    ) -> Self {
        transaction.chunk = Some(chunk);
        if connection.settings.is_too_big(chunk.size_octets) {
            return Self::reject(greeting, &transaction, 0, MessageFault::TooBig, connection);
        }
        Self::begin(Step::Data(greeting, transaction), connection, now)
    }

    fn next_chunk(
        greeting: Greeting,
        mut transaction: Transaction,
        mut content: Box<Content>,
        chunk: Chunk,
        connection: &mut Connection,
        now: Now,
    ) -> Self {
        let size_octets = content.size_octets();
        let is_too_big = connection
            .settings
            .is_too_big(size_octets.saturating_add(chunk.size_octets));
        let fault = content.fault(connection.bare_newline());
        if let Some(fault) = fault.or(is_too_big.then_some(MessageFault::TooBig)) {
            if content.has_draft() {
                connection.actions.push_back(Action::Discard);
            }
            transaction.chunk = Some(chunk);
            return Self::reject(greeting, &transaction, size_octets, fault, connection);
        }
        content.begin_chunk(chunk);
        connection.wait(Wait::DataBlock, now);
        Self::Content(greeting, transaction, content).on_octets(connection, now)
    }

    /// A chunk was read whole and more are to come.
    pub(super) fn chunk_taken(
        greeting: Greeting,
        transaction: Transaction,
        mut content: Box<Content>,
        chunk: Chunk,
        connection: &mut Connection,
        now: Now,
    ) -> Self {
        let Some(fault) = content.fault(connection.bare_newline()) else {
            connection.actions.extend(content.next_piece().map(Action::Append));
            connection.send(&replies::chunk_taken(chunk.size_octets));
            return Self::Chunks(greeting, transaction, content).after_command(connection, now);
        };
        if let Some(which) = content.bare_octet() {
            connection.note_bare_newline(BareNewlinePlace::MailData, which);
        }
        let state = Self::give_up(greeting, &transaction, &content, fault, connection);
        let state = match state {
            Self::Ready(greeting) => Self::Failed(greeting),
            closed => closed,
        };
        state.after_command(connection, now)
    }

    /// Refuses a message of which something was read.
    pub(super) fn give_up(
        greeting: Greeting,
        transaction: &Transaction,
        content: &Content,
        fault: MessageFault,
        connection: &mut Connection,
    ) -> Self {
        if content.has_draft() {
            connection.actions.push_back(Action::Discard);
        }
        Self::reject(greeting, transaction, content.size_octets(), fault, connection)
    }

    /// Where a session stands behind a chunk whose message is refused: RFC 3030 section 2: "If the receiver-SMTP has
    /// declared support for command pipelining, the receiver SMTP MUST be prepared to accept and discard additional BDAT
    /// chunks already in the pipeline after the failed BDAT."
    pub(super) fn behind_failed(chunk: Chunk, greeting: Greeting) -> Self {
        if chunk.is_last {
            Self::Ready(greeting)
        } else {
            Self::Failed(greeting)
        }
    }

    /// Refuses BDAT as a command; the state stays.
    fn refuse_chunk(self, chunk: Chunk, reply: Reply, connection: &mut Connection) -> Self {
        Self::skip(self, chunk, reply, true, connection)
    }

    /// Answers, once the octets of the chunk are thrown away.
    pub(super) fn answer_behind_chunk(back: Self, chunk: Chunk, reply: Reply, connection: &mut Connection) -> Self {
        Self::skip(back, chunk, reply, false, connection)
    }

    fn skip(back: Self, chunk: Chunk, reply: Reply, is_refusal: bool, connection: &mut Connection) -> Self {
        let is_too_long = chunk.size_octets > SKIPPED_OCTETS_MAX;
        let skipped = Skipped {
            remaining: if is_too_long { 0 } else { chunk.size_octets },
            block_octets: 0,
            reply,
            is_refusal,
            back,
        };
        if skipped.remaining > 0 {
            return Self::Skipping(Box::new(skipped));
        }
        let state = skipped.answer(connection);
        if is_too_long {
            state.abort(connection, CloseReason::ChunkTooLong)
        } else {
            state
        }
    }

    /// Takes unread octets as mail data, wanted or not.
    pub(super) fn on_octets(self, connection: &mut Connection, now: Now) -> Self {
        let mut skipped = match self {
            Self::Skipping(skipped) => skipped,
            other => return other.on_content(connection, now),
        };
        let unread = connection.input.unread().len();
        let read = usize::try_from(skipped.remaining).map_or(unread, |remaining| remaining.min(unread));
        connection.input.consume(read);
        skipped.remaining = skipped.remaining.saturating_sub(read as u64);
        skipped.block_octets = skipped.block_octets.saturating_add(read);
        if skipped.remaining == 0 {
            return skipped.answer(connection).after_command(connection, now);
        }
        if skipped.block_octets >= DATA_BLOCK_OCTETS {
            skipped.block_octets %= DATA_BLOCK_OCTETS;
            connection.wait(Wait::DataBlock, now);
        }
        Self::Skipping(skipped)
    }
}

impl Skipped {
    fn answer(self, connection: &mut Connection) -> State {
        if self.is_refusal {
            connection.refuse(self.reply);
        } else {
            connection.send(&self.reply);
        }
        self.back
    }
}
