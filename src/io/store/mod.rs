//! The embedded store: SQLite, written in groups.
//!
//! **Implements** [`crate::queue::Store`] with the promise of RFC 5321 section 6.1: what was answered 250 survives
//! the end of the process and a power cut. `docs/queue.md` shows the layout on disk and the error rules.
//! **Does not** deliver, retry or log.

mod changes;
mod checkpoint;
mod done_log;
mod draft;
mod error;
mod files;
mod group;
mod hold;
mod ids;
pub mod inspect;
mod listing;
mod lock;
mod opening;
mod operation;
mod operator;
mod outcome;
mod overdue;
mod place;
mod pool;
mod reader;
mod refusal;
mod reserve;
mod rows;
mod scan;
mod schema;
mod settling;
mod shared;
mod space;
mod statements;
mod upkeep;
pub mod verify;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

pub use draft::SqliteDraft;
pub use error::OpenError;
pub use files::{FileCalls, SystemFiles};
pub use listing::list_directory;
pub use opening::{OpenOptions, Synchronous};
pub use reserve::{RESERVE_OCTETS, ballast_path};

use crate::mail::queue_id::QueueId;
use crate::queue::entry::{Entry, Lease, Notification, Overdue, OverduePlace, PastAttempt, Settlement};
use crate::queue::settings::QueueSettings;
use crate::queue::{HoldError, Store, StoreError};
use crate::time::Timestamp;
use done_log::DoneLog;
use draft::WriterHandle;
use files::DataDirectory;
use hold::Holder;
use ids::IdMaker;
use lock::DirectoryLock;
use operation::{FLUSH_RECIPIENTS_MAX, Operation, Reply};
use reader::Reader;
use scan::Handover;
use shared::Shared;
use space::FreeSpace;

/// Entries in one page of a listing at most.
pub const LIST_ENTRIES_MAX: usize = 1_000;

/// Room made beforehand for a piece of mail data, octets, at most.
const PIECE_OCTETS_MAX: usize = 128 * 1024;

/// Leases given out, and messages released, at a time at most.
pub const LEASES_MAX: usize = 1_000;

/// The embedded store. Clones are handles on the same store; the last one dropped closes it.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    writer: WriterHandle,
    thread: Mutex<Option<JoinHandle<()>>>,
    reader: Arc<Reader>,
    shared: Arc<Shared>,
    space: Arc<FreeSpace>,
    data: DataDirectory,
    ids: IdMaker,
    inline_octets_max: usize,
    clock: fn() -> Timestamp,
    warnings: Vec<String>,
    /// Dropped last: the directory is ours until the writer has ended.
    _lock: DirectoryLock,
}

impl SqliteStore {
    /// Opens the store in `settings.directory`, which is made when missing, and cleans up what a crash left.
    /// Blocks while it does. `clock` is the wall clock.
    ///
    /// # Errors
    /// [`OpenError`] says what the operator has to do.
    pub fn open(settings: &QueueSettings, clock: fn() -> Timestamp) -> Result<Self, OpenError> {
        Self::open_with(settings, clock, OpenOptions::default())
    }

    /// As [`SqliteStore::open`], for a command that changes what a stopped daemon has queued; `None` where no daemon ever
    /// ran. Makes no queue.
    ///
    /// # Errors
    /// As for [`SqliteStore::open`]; a daemon may run after all.
    pub fn open_stopped(directory: &Path, clock: fn() -> Timestamp) -> Result<Option<Self>, OpenError> {
        if !listing::has_queue(directory)? {
            return Ok(None);
        }
        // Of the directives only the directory matters to one who neither takes mail nor delivers it.
        let settings = QueueSettings {
            directory: directory.to_owned(),
            inline_octets_max: 0,
            minfree_octets: 0,
            message_size_octets_max: 0,
            minimal_backoff: Duration::ZERO,
            maximal_backoff: Duration::ZERO,
            lifetime: Duration::ZERO,
            bounce_lifetime: Duration::ZERO,
            run_delay: Duration::ZERO,
            delay_warning: Duration::ZERO,
            in_flow_delay: Duration::ZERO,
        };
        Self::open(&settings, clock).map(Some)
    }

    /// As [`SqliteStore::open`], with what tests turn.
    ///
    /// # Errors
    /// As for [`SqliteStore::open`].
    pub fn open_with(
        settings: &QueueSettings,
        clock: fn() -> Timestamp,
        options: OpenOptions,
    ) -> Result<Self, OpenError> {
        let parts = opening::open(settings, clock, options)?;
        let inner = Inner {
            writer: parts.writer,
            thread: Mutex::new(Some(parts.thread)),
            reader: Arc::new(parts.reader),
            shared: parts.shared,
            space: parts.space,
            data: parts.data,
            ids: IdMaker::above(parts.largest),
            inline_octets_max: parts.inline_octets_max,
            clock,
            warnings: parts.warnings,
            _lock: parts.lock,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What a postmaster should know, in words: a file system that does not keep fsync's promise, a ballast that could
    /// not be made, messages that are held because their data is gone.
    pub fn warnings(&self) -> &[String] {
        &self.inner.warnings
    }

    /// What broke for good, once something has: the daemon should exit non-zero.
    pub fn fault(&self) -> Option<String> {
        self.inner.shared.fault()
    }

    /// Why no new messages are taken although the store is open, once a write or an fsync has failed.
    pub fn refusal(&self) -> Option<String> {
        self.inner.shared.refusal()
    }

    /// Whether new messages are taken: no longer after a failed write or fsync, or once closed. Settling goes on.
    pub fn is_accepting(&self) -> bool {
        self.inner.shared.accepts()
    }

    /// Transactions committed since the start.
    pub fn groups_committed(&self) -> u64 {
        self.inner.shared.groups()
    }

    /// Takes no more messages, commits what waits, empties the WAL and ends the writer. Blocks until that is done.
    pub fn close(&self) {
        self.inner.close();
    }
}

impl Inner {
    async fn ask<T>(&self, operation: impl FnOnce(Reply<T>) -> Operation) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.writer.queue.send(operation(reply)).await;
        sent.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Reads on a blocking thread.
    async fn read<T: Send + 'static, E: From<StoreError> + Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let reader = Arc::clone(&self.reader);
        spawn_blocking(move || read(&reader))
            .await
            .unwrap_or(Err(StoreError::Closed.into()))
    }

    /// Holds or releases on a blocking thread.
    async fn change_hold<T: Send + 'static, E: From<StoreError> + Send + 'static>(
        &self,
        change: impl FnOnce(&Holder<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let writer = self.writer.queue.clone();
        self.read(move |reader| change(&Holder { reader, writer })).await
    }

    /// A damaged message must not be tried again and again; the queue goes on without it.
    async fn hold_damaged(&self, id: QueueId, reason: &str) {
        let reason = reason.to_owned();
        // A writer that is gone holds everything.
        let _ = self.writer.queue.send(Operation::HoldDamaged { id, reason }).await;
    }

    fn close(&self) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(writer) = thread.take() else {
            return;
        };
        self.shared.stop_accepting();
        self.reader.close();
        while let Err(TrySendError::Full(_)) = self.writer.queue.try_send(Operation::Close) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if writer.join().is_err() {
            self.shared.set_fault("the writer of the queue panicked");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

impl Store for SqliteStore {
    type Draft = SqliteDraft;

    async fn begin(&self) -> Result<SqliteDraft, StoreError> {
        let inner = &self.inner;
        if !inner.shared.accepts() {
            return Err(StoreError::Closed);
        }
        if self.room_octets() == 0 {
            return Err(StoreError::NoSpace);
        }
        let id = self.new_id();
        let (writer, data) = (inner.writer.clone(), inner.data.clone());
        Ok(SqliteDraft::new(id, writer, data, inner.inline_octets_max))
    }

    /// Cancel-safe: leases that nobody takes end. At most [`LEASES_MAX`] at a time. Mail in memory is given out without a
    /// look at the disk; none at all while completions cannot be committed.
    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Lease>, StoreError> {
        let limit = limit.min(LEASES_MAX);
        let shared = &self.inner.shared;
        if !shared.delivers() {
            // Nothing else may wake the writer to try again what is owed.
            let _ = self.inner.writer.queue.try_send(Operation::Maintain);
            return Ok(Vec::new());
        }
        let (mut handover, is_ready) = {
            let mut schedule = shared.schedule();
            schedule.advance(now);
            let share = schedule.fresh_share(limit);
            let fresh = schedule.take_fresh(now, share);
            (Handover::new(fresh, shared), schedule.first_ready().is_some())
        };
        let left = limit.saturating_sub(handover.len());
        if is_ready && left > 0 {
            match self.inner.read(move |reader| reader.due(now, left)).await {
                Ok(found) => {
                    for id in found.damaged() {
                        self.inner.hold_damaged(*id, "its envelope cannot be read").await;
                    }
                    handover.append(found);
                }
                // What is in memory can be delivered nevertheless; the next look fails again.
                Err(error) if handover.len() == 0 => return Err(error),
                Err(_) => {}
            }
            let left = limit.saturating_sub(handover.len());
            handover.extend(shared.schedule().take_fresh(now, left));
        }
        Ok(handover.take())
    }

    /// Does not look at the disk unless something may have become due there.
    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        {
            let schedule = self.inner.shared.schedule();
            if let Some(arrived) = schedule.first_fresh() {
                return Ok(Some(arrived));
            }
            if schedule.first_ready().is_none() && !schedule.is_scanning() {
                return Ok(schedule.first_waiting());
            }
        }
        self.inner.read(Reader::next_due).await
    }

    async fn data(&self, id: QueueId, offset: u64, limit: usize) -> Result<Bytes, StoreError> {
        let in_memory = self.inner.shared.schedule().data(id);
        if let Some(octets) = in_memory {
            return Ok(reader::piece(&octets, offset, limit));
        }
        // One octet more, so that the end of the file is met without the vector growing.
        let room = Vec::with_capacity(limit.saturating_add(1).min(PIECE_OCTETS_MAX));
        let read = self
            .inner
            .read(move |reader| reader.data(id, offset, limit, room))
            .await;
        if matches!(read, Err(StoreError::Damaged(_))) {
            self.inner.hold_damaged(id, "its data is not what was written").await;
        }
        read
    }

    /// Cancel-safe: given up, it is carried out nevertheless. On an error the lease stays, so that nothing is sent
    /// twice; what was asked is tried again with every later commit and at the next start. What [`Store::relayed`] has noted
    /// is done, whatever the settlement says.
    async fn report(
        &self,
        lease: Lease,
        settlements: Vec<Settlement>,
        notifications: Vec<Notification>,
    ) -> Result<(), StoreError> {
        self.inner.settle(&lease, settlements, notifications).await
    }

    fn relayed(&self, lease: &Lease, numbers: &[u32]) -> Result<(), StoreError> {
        self.inner.note(lease, numbers, DoneLog::append)
    }

    fn relayed_unreported(&self, lease: &Lease, numbers: &[u32]) -> Result<(), StoreError> {
        self.inner.note(lease, numbers, DoneLog::append_unreported)
    }

    fn new_id(&self) -> QueueId {
        self.inner.ids.next((self.inner.clock)())
    }

    fn abandon(&self, id: QueueId, destination: &str) {
        self.inner.abandon(id, destination);
    }

    /// Cancel-safe: leases that nobody takes end. At most [`LEASES_MAX`] at a time.
    async fn overdue(
        &self,
        destination: &str,
        now: Timestamp,
        arrived_by: Timestamp,
        after: Option<OverduePlace>,
        limit: usize,
    ) -> Result<Overdue, StoreError> {
        let (name, limit) = (destination.to_owned(), limit.min(LEASES_MAX));
        let read = move |reader: &Reader| reader.overdue(&name, (now, arrived_by), after, limit);
        let (handover, next) = self.inner.read(read).await?;
        for id in handover.damaged() {
            self.inner.hold_damaged(*id, "its envelope cannot be read").await;
        }
        let leases = handover.take();
        Ok(Overdue { leases, next })
    }

    async fn history(&self, id: QueueId) -> Result<Vec<PastAttempt>, StoreError> {
        self.inner.read(move |reader| reader.history(id)).await
    }

    fn fresh_waiting(&self) -> usize {
        self.inner.shared.schedule().fresh_waiting()
    }

    fn fresh_waiting_for(&self, destination: &str) -> usize {
        self.inner.shared.schedule().fresh_waiting_for(destination)
    }

    /// Pages of at most [`LIST_ENTRIES_MAX`].
    async fn list(&self, after: Option<QueueId>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let limit = limit.min(LIST_ENTRIES_MAX);
        self.inner.read(move |reader| reader.list(after, limit)).await
    }

    async fn back_off(&self, destination: &str, until: Timestamp, reply: &str) -> Result<(), StoreError> {
        self.inner
            .ask(|answer| Operation::BackOff {
                destination: destination.to_owned(),
                until,
                text: reply.to_owned(),
                reply: answer,
            })
            .await
    }

    fn room_octets(&self) -> u64 {
        let room = self.inner.space.room_octets();
        let is_exhausted = self.inner.space.is_exhausted();
        if is_exhausted {
            // With new mail refused, nothing else may wake the writer to find that space came back. A full channel
            // wakes it as well.
            let _ = self.inner.writer.queue.try_send(Operation::Maintain);
        }
        if is_exhausted { 0 } else { room }
    }

    async fn flush(&self, now: Timestamp) -> Result<usize, StoreError> {
        let mut total = 0;
        loop {
            let moved = self.inner.ask(|reply| Operation::Flush { now, reply }).await?;
            total += moved;
            if moved < FLUSH_RECIPIENTS_MAX {
                return Ok(total);
            }
        }
    }

    /// Cancel-safe: given up, it is carried out nevertheless.
    async fn hold(&self, id: QueueId, reason: &str) -> Result<(), HoldError> {
        let reason = reason.to_owned();
        self.inner.change_hold(move |holder| holder.hold(id, reason)).await
    }

    /// Cancel-safe: given up, it is carried out nevertheless.
    async fn release(&self, id: QueueId, now: Timestamp) -> Result<(), HoldError> {
        self.inner.change_hold(move |holder| holder.release(id, now)).await
    }

    /// At most [`LEASES_MAX`] at a time.
    async fn release_some(&self, now: Timestamp, limit: usize) -> Result<Vec<QueueId>, StoreError> {
        let limit = limit.min(LEASES_MAX);
        self.inner
            .change_hold(move |holder| holder.release_some(now, limit))
            .await
    }
}
