//! A message on its way in: in memory while small, in a file of its own once it is not.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::error::from_io;
use super::files::{DataDirectory, DataFile, PIECE_OCTETS, PartFile, Unfinished};
use super::operation::{Content, Enqueue, Operation};
use super::shared::{OpenDraft, Shared};
use super::space::FreeSpace;
use crate::mail::envelope::Envelope;
use crate::mail::queue_id::QueueId;
use crate::queue::entry::NewRecipient;
use crate::queue::{Draft, StoreError};
use crate::time::Timestamp;

/// Octets that one permit of the writer's share stands for.
const SHARE_OCTETS: usize = 1024;
/// Permits: 16 MiB may wait for the writer.
pub(super) const SHARES: usize = 16 * 1024;

/// The way to the writer.
#[derive(Clone, Debug)]
pub(super) struct WriterHandle {
    pub(super) queue: mpsc::Sender<Operation>,
    pub(super) shares: Arc<Semaphore>,
    pub(super) space: Arc<FreeSpace>,
    pub(super) shared: Arc<Shared>,
}

/// A message on its way in. Dropped before its commit, it never existed.
#[derive(Debug)]
pub struct SqliteDraft {
    id: QueueId,
    writer: WriterHandle,
    data: DataDirectory,
    inline_octets_max: usize,
    buffer: Vec<u8>,
    file: FileState,
    size_octets: u64,
    crc32c: u32,
    has_high_octets: bool,
    _open: OpenDraft,
}

#[derive(Debug)]
enum FileState {
    /// All octets so far are in the buffer.
    None,
    /// The octets before those in the buffer are in the file.
    Open(PartFile),
    /// A write failed or was given up half way.
    Broken(StoreError),
}

impl SqliteDraft {
    pub(super) fn new(id: QueueId, writer: WriterHandle, data: DataDirectory, inline_octets_max: usize) -> Self {
        Self {
            _open: OpenDraft::new(&writer.shared),
            id,
            writer,
            data,
            inline_octets_max,
            buffer: Vec::new(),
            file: FileState::None,
            size_octets: 0,
            crc32c: 0,
            has_high_octets: false,
        }
    }

    /// Moves the buffer into the file, off the async workers.
    async fn spill(&mut self) -> Result<(), StoreError> {
        let abandoned = FileState::Broken(StoreError::Io("a write was given up".into()));
        let state = std::mem::replace(&mut self.file, abandoned);
        let octets = std::mem::take(&mut self.buffer);
        let (data, id) = (self.data.clone(), self.id);
        let space = Arc::clone(&self.writer.space);
        let written = spawn_blocking(move || {
            if space.is_exhausted() {
                return Err(StoreError::NoSpace);
            }
            let mut part = match state {
                FileState::None => data.create(id).map_err(|error| from_io(&error))?,
                FileState::Open(part) => part,
                FileState::Broken(error) => return Err(error),
            };
            part.write(&octets).map_err(|error| from_io(&error))?;
            Ok((part, octets))
        });
        match written.await.unwrap_or(Err(StoreError::Closed)) {
            Ok((part, mut octets)) => {
                octets.clear();
                self.buffer = octets;
                self.file = FileState::Open(part);
                Ok(())
            }
            Err(error) => {
                self.file = FileState::Broken(error.clone());
                Err(error)
            }
        }
    }

    async fn into_content(mut self) -> Result<Content, StoreError> {
        if matches!(self.file, FileState::None) {
            return Ok(Content::Inline(into_bytes(self.buffer)));
        }
        if !self.buffer.is_empty() {
            self.spill().await?;
        }
        match self.file {
            FileState::Open(part) => finish(part, self.writer.shared).await.map(Content::File),
            FileState::Broken(error) => Err(error),
            FileState::None => Ok(Content::Inline(into_bytes(self.buffer))),
        }
    }
}

/// The octets without the room that a growing buffer has taken: they may stay in memory for a while.
fn into_bytes(mut buffer: Vec<u8>) -> Bytes {
    buffer.shrink_to_fit();
    Bytes::from(buffer)
}

/// A file that cannot be renamed is its message's matter; a disk that cannot sync is everybody's.
async fn finish(part: PartFile, shared: Arc<Shared>) -> Result<DataFile, StoreError> {
    let finish = move || match part.finish() {
        Ok(file) => Ok(file),
        Err(Unfinished::NotRenamed(error)) => Err(from_io(&error)),
        Err(Unfinished::NotSynced(error)) => {
            let error = from_io(&error);
            if let StoreError::Io(text) = &error {
                shared.refuse_mail(&format!("a file of mail data cannot be synced: {text}"));
            }
            Err(error)
        }
    };
    spawn_blocking(finish).await.unwrap_or(Err(StoreError::Closed))
}

impl Draft for SqliteDraft {
    fn id(&self) -> QueueId {
        self.id
    }

    /// Not cancel-safe: a draft whose append was given up is only fit to be dropped.
    async fn append(&mut self, octets: &[u8]) -> Result<(), StoreError> {
        if let FileState::Broken(error) = &self.file {
            return Err(error.clone());
        }
        self.size_octets += octets.len() as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, octets);
        self.has_high_octets |= !octets.is_ascii();
        self.buffer.extend_from_slice(octets);
        let room = match self.file {
            FileState::None => self.inline_octets_max,
            _ => PIECE_OCTETS,
        };
        if self.buffer.len() > room {
            self.spill().await?;
        }
        Ok(())
    }

    /// Given up before it returns, the message may or may not be queued.
    async fn commit(
        self,
        envelope: Envelope,
        recipients: Vec<NewRecipient>,
        arrived: Timestamp,
        expires: Timestamp,
    ) -> Result<QueueId, StoreError> {
        let (id, size_octets, crc32c) = (self.id, self.size_octets, self.crc32c);
        let body = envelope.body.with(self.has_high_octets);
        let writer = self.writer.clone();
        if recipients.is_empty() {
            return Err(StoreError::Io("a message needs a recipient".into()));
        }
        let content = self.into_content().await?;
        let share = match &content {
            Content::Inline(octets) => (octets.len() / SHARE_OCTETS + 1).min(SHARES),
            Content::File(_) => 1,
        };
        let share = u32::try_from(share).unwrap_or(1);
        let share = writer.shares.acquire_many_owned(share).await;
        let (reply, answer) = oneshot::channel();
        let enqueue = Enqueue {
            id,
            envelope: Envelope { body, ..envelope },
            recipients,
            arrived,
            expires,
            size_octets,
            crc32c,
            content,
            reply: Some(reply),
            _share: Some(share.map_err(|_| StoreError::Closed)?),
        };
        let sent = writer.queue.send(Operation::Enqueue(Box::new(enqueue))).await;
        sent.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)??;
        Ok(id)
    }
}
