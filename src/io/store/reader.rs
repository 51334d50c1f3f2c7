//! What is read: due recipients, mail data, listings.
//!
//! Connections that only read, used on blocking threads. **Does not** write; a message that turns out to be damaged
//! is reported to the caller, who has it held.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension};

use super::error::from_sqlite;
use super::files::DataDirectory;
use super::rows;
use super::schema::{NEVER, open_reader};
use super::shared::Shared;
use crate::mail::queue_id::QueueId;
use crate::queue::StoreError;
use crate::queue::entry::{Entry, Lease, PastAttempt};
use crate::queue::schedule::{DestinationNumber, Ready};
use crate::time::Timestamp;

/// Connections kept open.
const CONNECTIONS_MAX: usize = 4;

/// The reading side of the store.
#[derive(Debug)]
pub(super) struct Reader {
    database: PathBuf,
    data: DataDirectory,
    shared: Arc<Shared>,
    idle: Mutex<Vec<Connection>>,
    /// One scan at a time: only a scan adds leases.
    scan: Mutex<()>,
}

/// What a scan found.
#[derive(Debug, Default)]
struct Found {
    leases: Vec<Lease>,
    /// Where they are.
    destinations: Vec<DestinationNumber>,
    damaged: Vec<QueueId>,
}

/// Leases on their way to the caller; if the caller has gone, they end.
#[derive(Debug)]
pub(super) struct Handover {
    found: Found,
    shared: Arc<Shared>,
}

impl Handover {
    /// Messages whose envelope cannot be read.
    pub(super) fn damaged(&self) -> &[QueueId] {
        &self.found.damaged
    }

    /// The caller has them now.
    pub(super) fn take(mut self) -> Vec<Lease> {
        std::mem::take(&mut self.found.leases)
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        if self.found.leases.is_empty() {
            return;
        }
        let mut schedule = self.shared.schedule();
        for lease in &self.found.leases {
            schedule.release(lease.id, &lease.destination);
        }
        for destination in &self.found.destinations {
            schedule.wake(*destination);
        }
    }
}

/// Ends the bracket around look-ups, however they end.
struct Scan<'a>(&'a Shared);

impl Drop for Scan<'_> {
    fn drop(&mut self) {
        self.0.schedule().end_scan();
    }
}

impl Reader {
    pub(super) fn new(database: PathBuf, data: DataDirectory, shared: Arc<Shared>) -> Self {
        Self {
            database,
            data,
            shared,
            idle: Mutex::default(),
            scan: Mutex::default(),
        }
    }

    pub(super) fn with<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle().pop();
        let connection = match kept {
            Some(connection) => Ok(connection),
            None => open_reader(&self.database),
        };
        let result = connection.and_then(|connection| read(&connection).map(|value| (connection, value)));
        match result {
            Ok((connection, value)) => {
                let mut idle = idle();
                if idle.len() < CONNECTIONS_MAX {
                    idle.push(connection);
                }
                Ok(value)
            }
            Err(error) => Err(from_sqlite(&error)),
        }
    }

    /// Closes the idle connections, so that the writer's last checkpoint finds no reader.
    pub(super) fn close(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Keeps everyone from leasing anything until it is dropped.
    pub(super) fn pause_scans(&self) -> MutexGuard<'_, ()> {
        self.scan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a delivery has any recipient of the message.
    pub(super) fn is_leased(&self, id: QueueId) -> bool {
        self.shared.schedule().is_any_leased(id)
    }

    /// Leases what an operator claims; nothing else can be leased meanwhile.
    pub(super) fn lease_all(&self, leases: &[Lease]) {
        let mut schedule = self.shared.schedule();
        for lease in leases {
            schedule.lease(lease.id, &lease.destination);
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
        match self.data(message.id, 0, 0) {
            Ok(_) => Ok(true),
            Err(StoreError::Damaged(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Leases what is due, fairly over destinations.
    pub(super) fn due(&self, now: Timestamp, limit: usize) -> Result<Handover, StoreError> {
        let _one = self.pause_scans();
        let mut handover = Handover {
            found: Found::default(),
            shared: Arc::clone(&self.shared),
        };
        let found = &mut handover.found;
        self.with(|connection| {
            let turns = {
                let mut schedule = self.shared.schedule();
                schedule.advance(now);
                schedule.begin_scan();
                schedule.first_ready().map_or(0, |(_, count)| count) + limit
            };
            let _scan = Scan(&self.shared);
            for _ in 0..turns {
                let left = limit.saturating_sub(found.leases.len());
                let Some((ready, count)) = self.shared.schedule().first_ready().filter(|_| left > 0) else {
                    break;
                };
                let share = left.div_ceil(count).max(1);
                self.serve(connection, ready, now, share, found)?;
            }
            Ok(())
        })?;
        Ok(handover)
    }

    /// Leases up to `share` messages of one destination.
    fn serve(
        &self,
        connection: &Connection,
        ready: Ready,
        now: Timestamp,
        share: usize,
        found: &mut Found,
    ) -> rusqlite::Result<()> {
        let number = ready.destination;
        let Some((name, next_try)) = rows::destination(connection, number)? else {
            self.shared.schedule().wait(ready, None);
            return Ok(());
        };
        if next_try > now {
            self.shared.schedule().wait(ready, Some(next_try));
            return Ok(());
        }
        let share = share.min(self.shared.schedule().room(&name));
        if share == 0 {
            // The end of one of its leases wakes it.
            self.shared.schedule().wait(ready, None);
            return Ok(());
        }
        let mut chosen: Vec<QueueId> = Vec::new();
        rows::visit_waiting(connection, number, now, |_, id| {
            if chosen.last() != Some(&id) && !chosen.contains(&id) && !self.shared.schedule().is_leased(id, &name) {
                chosen.push(id);
            }
            Ok(chosen.len() < share)
        })?;
        let is_exhausted = chosen.len() < share;
        for id in chosen {
            match rows::lease(connection, id, (number, &name), now)? {
                Ok(Some(lease)) => {
                    self.shared.schedule().lease(id, &name);
                    found.leases.push(lease);
                    found.destinations.push(number);
                }
                Ok(None) => {}
                Err(id) => found.damaged.push(id),
            }
        }
        self.shared.schedule().served(ready);
        if is_exhausted {
            let next = self.first_unleased(connection, ready, &name, next_try)?;
            // What is due by now was looked at: it cannot be read, and is about to be held.
            let next = next.map(|next| next.max(now.plus(std::time::Duration::from_millis(1))));
            self.shared.schedule().wait(ready, next);
        }
        Ok(())
    }

    fn first_unleased(
        &self,
        connection: &Connection,
        ready: Ready,
        name: &str,
        next_try: Timestamp,
    ) -> rusqlite::Result<Option<Timestamp>> {
        let mut first = None;
        rows::visit_waiting(connection, ready.destination, Timestamp(NEVER), |due, id| {
            if !self.shared.schedule().is_leased(id, name) {
                first = Some(due.max(next_try));
            }
            Ok(first.is_none())
        })?;
        Ok(first)
    }

    /// When the next unleased recipient is due; when several are due already, when one of them was.
    pub(super) fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let _one = self.pause_scans();
        self.with(|connection| {
            let turns = {
                let mut schedule = self.shared.schedule();
                schedule.begin_scan();
                schedule.first_ready().map_or(0, |(_, count)| count)
            };
            let _scan = Scan(&self.shared);
            let mut earliest: Option<Timestamp> = None;
            for _ in 0..turns {
                let Some((ready, _)) = self.shared.schedule().first_ready() else {
                    break;
                };
                let next = match rows::destination(connection, ready.destination)? {
                    Some((name, next_try)) => self.first_unleased(connection, ready, &name, next_try)?,
                    None => None,
                };
                let mut schedule = self.shared.schedule();
                schedule.served(ready);
                schedule.wait(ready, next);
                earliest = [earliest, next].into_iter().flatten().min();
                if earliest.is_some_and(|due| due <= schedule.now()) {
                    break;
                }
            }
            let waiting = self.shared.schedule().first_waiting();
            Ok([earliest, waiting].into_iter().flatten().min())
        })
    }

    /// A piece of the mail data. The first piece is handed out only when the checksum of the whole is right, so that
    /// nothing damaged is ever begun to be sent.
    pub(super) fn data(&self, id: QueueId, offset: u64, limit: usize) -> Result<Bytes, StoreError> {
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
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(octets.len());
            let end = start.saturating_add(limit).min(octets.len());
            return Ok(Bytes::from(octets).slice(start..end));
        }
        let wrap = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => damaged(),
            _ => StoreError::Io(error.to_string()),
        };
        if offset == 0 && self.data.checksum(id).map_err(wrap)? != (message.size_octets, message.crc32c) {
            return Err(damaged());
        }
        self.data.read(id, offset, limit).map(Bytes::from).map_err(wrap)
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
