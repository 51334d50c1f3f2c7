//! What is read: messages, mail data, listings.
//!
//! Connections that only read, used on blocking threads. **Does not** write; a message that turns out to be damaged
//! is reported to the caller, who has it held.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension};

use super::error::{from_sqlite, is_corrupt};
use super::files::DataDirectory;
use super::pool::ReadPool;
use super::rows;
use super::shared::Shared;
use crate::mail::queue_id::QueueId;
use crate::queue::StoreError;
use crate::queue::entry::{Entry, Lease, PastAttempt};
use crate::queue::schedule::DestinationNumber;

/// The reading side of the store.
#[derive(Debug)]
pub(super) struct Reader {
    pool: Arc<ReadPool>,
    data: DataDirectory,
    pub(super) shared: Arc<Shared>,
    /// One scan at a time: only a scan adds leases.
    scan: Mutex<()>,
}

impl Reader {
    pub(super) fn new(pool: Arc<ReadPool>, data: DataDirectory, shared: Arc<Shared>) -> Self {
        Self {
            pool,
            data,
            shared,
            scan: Mutex::default(),
        }
    }

    pub(super) fn with<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        self.pool.with(read).map_err(|error| {
            if is_corrupt(&error) {
                // What else the damage has hit is unknown: nothing may be acknowledged on top of it.
                self.pool.note_damage();
                self.shared.set_fault(&format!("queue.db is damaged: {error}"));
            }
            from_sqlite(&error)
        })
    }

    /// Closes the idle connections, so that the writer's last checkpoint finds no reader.
    pub(super) fn close(&self) {
        self.pool.close();
    }

    /// Keeps everyone from leasing anything until it is dropped.
    pub(super) fn pause_scans(&self) -> MutexGuard<'_, ()> {
        self.scan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a delivery has any recipient of the message. What waits in memory for its first delivery is taken back, so
    /// that it can be changed: for callers that have paused scans.
    pub(super) fn is_leased(&self, id: QueueId) -> bool {
        !self.shared.schedule().take_back(id)
    }

    /// Leases what an operator claims; nothing else can be leased meanwhile.
    pub(super) fn lease_all(&self, leases: &[(DestinationNumber, Lease)]) {
        let mut schedule = self.shared.schedule();
        for (number, lease) in leases {
            schedule.lease_overdue(lease.id, (*number, &lease.destination));
        }
    }

    /// A message, if it is queued.
    pub(super) fn message(&self, id: QueueId) -> Result<Option<rows::Message>, StoreError> {
        self.with(|connection| rows::message(connection, id))
    }

    /// The first messages on hold.
    pub(super) fn on_hold(&self, limit: usize) -> Result<Vec<QueueId>, StoreError> {
        self.with(|connection| rows::on_hold(connection, limit))
    }

    /// Whether all of the message can be delivered as it was taken.
    pub(super) fn is_whole(&self, message: &rows::Message) -> Result<bool, StoreError> {
        if !self.with(|connection| rows::has_readable_paths(connection, message))? {
            return Ok(false);
        }
        match self.data(message.id, 0, 0, Vec::new()) {
            Ok(_) => Ok(true),
            Err(StoreError::Damaged(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A piece of the mail data. The first piece is handed out only when the checksum of the whole is right, so that
    /// nothing damaged is ever begun to be sent.
    /// `room` is where a piece of a file goes: a thread that only reads must not keep memory for what others give back.
    pub(super) fn data(&self, id: QueueId, offset: u64, limit: usize, room: Vec<u8>) -> Result<Bytes, StoreError> {
        let damaged = || StoreError::Damaged(id.to_string());
        let message = self.message(id)?.ok_or_else(damaged)?;
        if message.inline {
            let octets = self.with(|connection| {
                connection
                    .prepare_cached("SELECT octets FROM data WHERE message = ?")?
                    .query_row([id.number()], |row| row.get::<_, Vec<u8>>(0))
                    .optional()
            })?;
            let octets = octets.ok_or_else(damaged)?;
            if octets.len() as u64 != message.size_octets || crc32c::crc32c(&octets) != message.crc32c {
                return Err(damaged());
            }
            return Ok(piece(&Bytes::from(octets), offset, limit));
        }
        let wrap = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => damaged(),
            _ => StoreError::Io(error.to_string()),
        };
        if offset == 0 && self.data.checksum(id).map_err(wrap)? != (message.size_octets, message.crc32c) {
            return Err(damaged());
        }
        self.data.read(id, offset, limit, room).map(Bytes::from).map_err(wrap)
    }

    /// The attempts of a message that are on record.
    pub(super) fn history(&self, id: QueueId) -> Result<Vec<PastAttempt>, StoreError> {
        self.with(|connection| rows::history(connection, id))
    }

    /// A page of the listing.
    pub(super) fn list(&self, after: Option<QueueId>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.with(|connection| rows::list(connection, after, limit))
    }
}

/// Up to `limit` octets from `offset`.
pub(super) fn piece(octets: &Bytes, offset: u64, limit: usize) -> Bytes {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(octets.len());
    let end = start.saturating_add(limit).min(octets.len());
    octets.slice(start..end)
}
