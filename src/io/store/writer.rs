//! The one thread that writes: it commits in groups.
//!
//! It takes all that waits, writes it in one transaction with one fsync, and acknowledges all; meanwhile the next
//! group gathers. No timer: a single client waits for one fsync, a thousand share one.
//!
//! **Error rules.** Out of space: the group is rolled back, its new messages are refused, the ballast is freed and
//! the rest tried again. Any other error is an fsync error: nothing is retried on the same pages, the group is
//! refused, no new message is taken, the database is opened anew once and settling goes on; the second time is a
//! fault, for which the daemon exits. A settlement that was refused keeps its lease, stays in done.log, and is tried
//! with every later group, so nothing is sent twice.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::mpsc;

use super::done_log::{Done, DoneLog};
use super::error::{from_io, is_full};
use super::files::{DataDirectory, FileCalls};
use super::operation::{Content, Effects, Group, Operation};
use super::reserve::Reserve;
use super::schema;
use super::shared::Shared;
use super::space::FreeSpace;
use crate::queue::StoreError;
use crate::queue::schedule::DestinationNumber;

/// Operations in one transaction at most.
const GROUP_OPERATIONS_MAX: usize = 8_192;
/// Octets in one transaction at most; the last operation may pass it.
const GROUP_OCTETS_MAX: usize = 16 * 1024 * 1024;
/// Destinations whose numbers are remembered.
const DESTINATIONS_MAX: usize = 65_536;
/// WAL octets not yet in the database file past which a PASSIVE checkpoint runs.
const PASSIVE_OCTETS: i64 = 8 * 1024 * 1024;
/// WAL octets past which a TRUNCATE checkpoint runs.
const TRUNCATE_OCTETS: i64 = 48 * 1024 * 1024;
/// Octets of a WAL frame: a page and its header.
const FRAME_OCTETS: i64 = 4096 + 24;
/// PASSIVE checkpoints from one sweep of idle destinations to the next.
const CHECKPOINTS_PER_SWEEP: u64 = 64;
/// How long a freed ballast stays freed before it is tried to make it again.
const RESERVE_PAUSE: Duration = Duration::from_secs(5);

/// The writer's state.
pub(super) struct Writer {
    pub(super) database: PathBuf,
    pub(super) page_count_max: Option<u32>,
    pub(super) connection: Option<Connection>,
    pub(super) calls: Arc<dyn FileCalls>,
    pub(super) shared: Arc<Shared>,
    pub(super) space: Arc<FreeSpace>,
    pub(super) data: DataDirectory,
    pub(super) done_log: DoneLog,
    pub(super) reserve: Reserve,
    pub(super) queue: mpsc::Receiver<Operation>,
    pub(super) state: State,
}

/// What the writer remembers between groups.
#[derive(Default)]
pub(super) struct State {
    destinations: HashMap<String, DestinationNumber>,
    /// To be written with the next group: what a former one could not.
    owed: Vec<Operation>,
    failures: u32,
    checkpoints: u64,
    reserve_freed: Option<Instant>,
}

/// Why a transaction was not committed.
enum Failure {
    Full,
    Other(String),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        if is_full(&error) {
            Self::Full
        } else {
            Self::Other(error.to_string())
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match from_io(&error) {
            StoreError::NoSpace => Self::Full,
            _ => Self::Other(error.to_string()),
        }
    }
}

impl Writer {
    /// Runs until closed, or until the last handle is gone.
    pub(super) fn run(mut self) {
        let mut closing = false;
        while !closing && let Some(first) = self.queue.blocking_recv() {
            let mut group = std::mem::take(&mut self.state.owed);
            closing = self.gather(first, &mut group);
            self.process(group);
            self.maintain();
        }
        self.shared.stop_accepting();
        self.queue.close();
        while let Ok(first) = self.queue.try_recv() {
            let mut group = std::mem::take(&mut self.state.owed);
            self.gather(first, &mut group);
            self.process(group);
        }
        self.finish();
    }

    /// Adds `first` and what else waits to the group; says whether the end was asked for.
    fn gather(&mut self, first: Operation, group: &mut Vec<Operation>) -> bool {
        let mut octets = 0;
        let mut next = Some(first);
        while let Some(operation) = next {
            octets += operation.octets();
            let closing = matches!(operation, Operation::Close);
            group.push(operation);
            if closing {
                return true;
            }
            let room = group.len() < GROUP_OPERATIONS_MAX && octets < GROUP_OCTETS_MAX;
            next = if room { self.queue.try_recv().ok() } else { None };
        }
        false
    }

    /// Writes a group and tells its callers.
    pub(super) fn process(&mut self, mut group: Vec<Operation>) {
        // A client that gave up waiting was told nothing: its message need not exist.
        group.retain(|operation| !matches!(operation, Operation::Enqueue(new) if new.reply.is_closed()));
        group.retain(|operation| !matches!(operation, Operation::Close | Operation::Maintain));
        if self.space.is_exhausted() {
            // Drafts begun before the disk was full must not use up the blocks that deletes need.
            let (new, rest) = split_new(group);
            refuse(new, &StoreError::NoSpace);
            group = rest;
        }
        if group.is_empty() {
            return;
        }
        match self.commit(&group) {
            Ok(effects) => self.acknowledge(group, effects),
            Err(Failure::Full) => self.process_when_full(group),
            Err(Failure::Other(text)) => self.fail(group, &text),
        }
    }

    /// One transaction, one fsync.
    fn commit(&mut self, group: &[Operation]) -> Result<Effects, Failure> {
        let done: Vec<Done> = group.iter().flat_map(Operation::done).collect();
        self.done_log.append(&done)?;
        let Some(connection) = &mut self.connection else {
            let fault = self.shared.fault().unwrap_or_default();
            return Err(Failure::Other(fault));
        };
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut open = Group {
            transaction,
            destinations: &mut self.state.destinations,
            effects: Effects::default(),
        };
        let mut written = Ok(());
        for operation in group {
            written = written.and_then(|()| open.apply(operation));
        }
        let Group {
            transaction,
            destinations,
            effects,
        } = open;
        let committed = match written {
            Ok(()) => match self.calls.before_commit() {
                Ok(()) => transaction.commit().map_err(Failure::from),
                Err(error) => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        };
        if committed.is_err() {
            // Destinations made in the transaction are gone with it.
            destinations.clear();
        }
        committed.map(|()| effects)
    }

    /// The group is durable: its leases end, its files go, its callers are told.
    fn acknowledge(&mut self, group: Vec<Operation>, effects: Effects) {
        self.shared.count_group();
        {
            let mut schedule = self.shared.schedule();
            for operation in &group {
                if let Operation::Settle { id, destination, .. } = operation {
                    schedule.release(*id, destination);
                }
            }
            for destination in effects.woken {
                schedule.wake(destination);
            }
        }
        for id in effects.files {
            self.data.remove(id);
        }
        let mut flushed = effects.flushed.into_iter();
        for operation in group {
            // A caller that has gone away needs no answer.
            match operation {
                Operation::Enqueue(new) => {
                    if let Content::File(file) = new.content {
                        file.keep();
                    }
                    let _ = new.reply.send(Ok(()));
                }
                Operation::Settle { reply: Some(reply), .. }
                | Operation::BackOff { reply, .. }
                | Operation::Changes { reply, .. }
                | Operation::Hold { reply, .. }
                | Operation::Release { reply, .. } => {
                    let _ = reply.send(Ok(()));
                }
                Operation::Flush { reply, .. } => {
                    let _ = reply.send(Ok(flushed.next().unwrap_or_default()));
                }
                _ => {}
            }
        }
        // A log that cannot be cut is replayed in vain at the next start; that does no harm.
        let _ = self.done_log.clear();
    }

    /// Out of space: new messages are refused, the rest is tried again with the ballast's blocks.
    fn process_when_full(&mut self, group: Vec<Operation>) {
        self.reserve.free();
        self.space.set_ballast_missing(self.reserve.missing_octets());
        self.state.reserve_freed = Some(Instant::now());
        let (new, rest) = split_new(group);
        refuse(new, &StoreError::NoSpace);
        if let Some(connection) = &self.connection
            && let Err(Failure::Other(text)) = run_checkpoint(connection, "TRUNCATE").map_err(Failure::from)
        {
            // Moving the WAL would have given its blocks back.
            return self.fail(rest, &text);
        }
        if rest.is_empty() {
            return;
        }
        match self.commit(&rest) {
            Ok(effects) => self.acknowledge(rest, effects),
            Err(Failure::Full) => {
                let owed = refuse(rest, &StoreError::NoSpace);
                self.state.owed.extend(owed);
            }
            Err(Failure::Other(text)) => self.fail(rest, &text),
        }
    }

    /// A write or an fsync failed: what the pages hold is unknown.
    fn fail(&mut self, group: Vec<Operation>, text: &str) {
        self.shared.stop_accepting();
        // What is done must not be forgotten; if this fails too, the file still holds it unless power goes.
        let _ = self.done_log.sync();
        let owed = refuse(group, &StoreError::Io(text.to_owned()));
        self.state.failures += 1;
        // Dropped first: a second connection in between would share the pages.
        self.connection = None;
        if self.state.failures == 1 {
            self.connection = schema::open_writer(&self.database, self.page_count_max).ok();
        }
        if self.connection.is_none() {
            self.shared.set_fault(text);
            // Their rows may be on disk: files without a row are removed at the next start.
            owed.into_iter().for_each(keep_file);
            return;
        }
        self.process(owed);
    }

    /// Between groups: checkpoints, and the ballast.
    fn maintain(&mut self) {
        if let Err(Failure::Other(text)) = self.checkpoint() {
            self.fail(Vec::new(), &text);
        }
        if self.state.destinations.len() > DESTINATIONS_MAX {
            self.state.destinations.clear();
        }
        let rested = self.state.reserve_freed.is_none_or(|at| at.elapsed() > RESERVE_PAUSE);
        if !self.reserve.is_present() && rested {
            self.state.reserve_freed = Some(Instant::now());
            self.make_reserve();
        }
    }

    /// Makes the ballast anew when there is space for it and for new mail. Not made now, it is tried again.
    fn make_reserve(&mut self) {
        if let Some(connection) = &self.connection
            && let Err(Failure::Other(text)) = run_checkpoint(connection, "TRUNCATE").map_err(Failure::from)
        {
            // The WAL's blocks are space as well.
            return self.fail(Vec::new(), &text);
        }
        self.space.ask_anew();
        if self.space.is_above_mark() && self.reserve.make().is_ok() {
            self.space.set_ballast_missing(0);
        }
    }

    /// Moves the WAL into the database file when it is long. An error counts as one of fsync; being out of space
    /// does not: the WAL is durable and stays.
    fn checkpoint(&mut self) -> Result<(), Failure> {
        let Some(connection) = &self.connection else {
            return Ok(());
        };
        let (frames, moved) = run_checkpoint(connection, "NOOP")?;
        if frames * FRAME_OCTETS > TRUNCATE_OCTETS {
            self.calls.before_commit()?;
            run_checkpoint(connection, "TRUNCATE")?;
        } else if (frames - moved) * FRAME_OCTETS > PASSIVE_OCTETS {
            self.calls.before_commit()?;
            run_checkpoint(connection, "PASSIVE")?;
            self.state.checkpoints += 1;
            if self.state.checkpoints.is_multiple_of(CHECKPOINTS_PER_SWEEP) {
                forget_idle_destinations(connection)?;
                self.state.destinations.clear();
            }
        }
        Ok(())
    }

    /// What is owed is tried once more, and the WAL is emptied.
    fn finish(mut self) {
        let owed = std::mem::take(&mut self.state.owed);
        self.process(owed);
        if let Some(connection) = &self.connection
            && let Err(error) = run_checkpoint(connection, "TRUNCATE")
        {
            self.shared.set_fault(&error.to_string());
        }
        self.state.owed.into_iter().for_each(keep_file);
    }
}

/// New messages, and everything else.
fn split_new(group: Vec<Operation>) -> (Vec<Operation>, Vec<Operation>) {
    group
        .into_iter()
        .partition(|operation| matches!(operation, Operation::Enqueue(_)))
}

/// Tells the callers, and returns what has to be written nevertheless.
fn refuse(group: Vec<Operation>, error: &StoreError) -> Vec<Operation> {
    let mut owed = Vec::new();
    for operation in group {
        // A caller that has gone away needs no answer.
        match operation {
            Operation::Enqueue(new) => {
                let file = match new.content {
                    Content::File(file) => Some(file),
                    Content::Inline(_) => None,
                };
                let _ = new.reply.send(Err(error.clone()));
                owed.push(Operation::Discard { id: new.id, file });
            }
            Operation::Settle {
                id,
                destination,
                settlements,
                reply,
            } => {
                if let Some(reply) = reply {
                    let _ = reply.send(Err(error.clone()));
                }
                owed.push(Operation::Settle {
                    id,
                    destination,
                    settlements,
                    reply: None,
                });
            }
            Operation::BackOff { reply, .. }
            | Operation::Changes { reply, .. }
            | Operation::Hold { reply, .. }
            | Operation::Release { reply, .. } => {
                let _ = reply.send(Err(error.clone()));
            }
            Operation::Flush { reply, .. } => {
                let _ = reply.send(Err(error.clone()));
            }
            Operation::Replay(_) | Operation::Discard { .. } | Operation::HoldDamaged { .. } => owed.push(operation),
            Operation::Close | Operation::Maintain => {}
        }
    }
    owed
}

fn keep_file(operation: Operation) {
    if let Operation::Discard { file: Some(file), .. } = operation {
        file.keep();
    }
}

/// Frames in the WAL and those of them that are in the database file.
fn run_checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<(i64, i64)> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        Ok((row.get(1)?, row.get(2)?))
    })
}

/// Destinations without recipients and without a back-off are forgotten.
pub(super) fn forget_idle_destinations(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .execute(
            "DELETE FROM destination WHERE next_try = 0
                 AND NOT EXISTS (SELECT 1 FROM recipient WHERE recipient.destination = destination.id)",
            [],
        )
        .map(drop)
}
