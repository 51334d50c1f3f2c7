//! The one thread that writes: it commits in groups.
//!
//! It takes all that waits, writes it in one transaction with one fsync, and acknowledges all; meanwhile the
//! next group gathers. No timer: a single client waits for one fsync, a thousand share one. Only a group of nothing but
//! settlements waits for half a millisecond, or until there is something else: no client waits for it. While several
//! other messages are on their way in, new ones wait some 3 ms for them at most.
//!
//! **Error rules.** Out of space: the group is rolled back, its new messages are refused, the ballast is freed and
//! the rest tried again. Any other error is an fsync error: nothing is retried on the same pages, the group is
//! refused, no new message is taken, the database is read from disk anew once and settling goes on; the second time is a
//! fault, for which the daemon exits. A settlement that was refused keeps its lease, stays in done.log, and is tried
//! with every later group, so nothing is sent twice.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::mpsc;

use super::done_log::Done;
use super::error::{from_io, is_failed_write, is_full};
use super::files::{DataDirectory, FileCalls};
use super::group::Group;
use super::operation::{Effects, Operation};
use super::outcome;
use super::place::Place;
use super::pool::ReadPool;
use super::refusal::{keep_file, refuse, split_new, split_telling};
use super::reserve::Reserve;
use super::schema;
use super::shared::Shared;
use super::space::{self, FreeSpace};
use crate::queue::StoreError;
use crate::queue::schedule::DestinationNumber;
use crate::time::Timestamp;

/// Operations in one transaction at most.
const GROUP_OPERATIONS_MAX: usize = 8_192;
/// Octets in one transaction at most; the last operation may pass it.
const GROUP_OCTETS_MAX: usize = 16 * 1024 * 1024;

/// How long new messages wait for others, and a quarter of it settlements: so many steps of that length, unless there are
/// enough.
const LINGER_STEPS: usize = 25;
const LINGER_STEP: Duration = Duration::from_micros(100);
const LINGER_OPERATIONS: usize = 48;
/// Messages on their way in that are worth waiting for.
const COMPANY_MIN: usize = 2;

/// The writer's state.
pub(super) struct Writer {
    pub(super) database: PathBuf,
    pub(super) page_count_max: Option<u32>,
    pub(super) connection: Option<Connection>,
    pub(super) place: Place,
    pub(super) readers: Arc<ReadPool>,
    pub(super) calls: Arc<dyn FileCalls>,
    pub(super) shared: Arc<Shared>,
    pub(super) space: Arc<FreeSpace>,
    pub(super) data: DataDirectory,
    pub(super) reserve: Reserve,
    pub(super) queue: mpsc::Receiver<Operation>,
    pub(super) clock: fn() -> Timestamp,
    pub(super) state: State,
}

/// What the writer remembers between groups.
#[derive(Default)]
pub(super) struct State {
    pub(super) destinations: HashMap<String, DestinationNumber>,
    /// To be written with the next group: what a former one could not.
    owed: Vec<Operation>,
    failures: u32,
    /// Octets committed since the length of the WAL was asked for.
    pub(super) written: usize,
    pub(super) checkpoints: u64,
    pub(super) reserve_freed: Option<Instant>,
}

/// Why a transaction was not committed.
pub(super) enum Failure {
    Full,
    /// A write failed, perhaps for want of quota.
    Write(String),
    Other(String),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        if is_full(&error) {
            Self::Full
        } else if is_failed_write(&error) {
            Self::Write(error.to_string())
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
            let mut group = self.take_owed();
            closing = self.gather(first, &mut group) || self.linger(&mut group);
            self.process(group);
            self.maintain();
        }
        self.shared.stop_accepting();
        self.queue.close();
        while let Ok(first) = self.queue.try_recv() {
            let mut group = self.take_owed();
            self.gather(first, &mut group);
            self.process(group);
        }
        self.finish();
    }

    fn take_owed(&mut self) -> Vec<Operation> {
        let mut owed = std::mem::take(&mut self.state.owed);
        owed.extend(self.shared.take_owed());
        owed
    }

    /// Adds `first` and what else waits to the group; says whether the end was asked for.
    fn gather(&mut self, first: Operation, group: &mut Vec<Operation>) -> bool {
        // Sessions that could run and have no processor are about to bring more; when there are none, this returns at once.
        std::thread::yield_now();
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

    /// Waits a moment for more: when nobody waits for the group but deliveries that are over, for what they have to say is
    /// in done.log; and when several other messages are on their way in, which shall share the fsync. Says whether the end
    /// was asked for.
    fn linger(&mut self, group: &mut Vec<Operation>) -> bool {
        let is_settling = |operation: &Operation| matches!(operation, Operation::Settle { .. });
        let is_new = |operation: &Operation| matches!(operation, Operation::Enqueue(_));
        for step in 0..LINGER_STEPS {
            let has_company = || self.shared.open_drafts() >= COMPANY_MIN && group.iter().any(is_new);
            let is_patient = || step < LINGER_STEPS / 4 && group.iter().all(is_settling);
            if group.len() >= LINGER_OPERATIONS || !(has_company() || is_patient()) {
                return false;
            }
            std::thread::sleep(LINGER_STEP);
            if let Ok(next) = self.queue.try_recv()
                && self.gather(next, group)
            {
                return true;
            }
        }
        false
    }

    /// Writes a group and tells its callers.
    pub(super) fn process(&mut self, mut group: Vec<Operation>) {
        // A client that gave up waiting was told nothing: its message need not exist.
        group.retain(|operation| !matches!(operation, Operation::Enqueue(new) if new.is_given_up()));
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
            Err(Failure::Other(text) | Failure::Write(text)) => self.fail(group, &text),
        }
    }

    /// One transaction, one fsync. On return the files written are known to be those in the directory.
    fn commit(&mut self, group: &[Operation]) -> Result<Effects, Failure> {
        let committed = self.write(group)?;
        self.place.check().map_err(Failure::Other)?;
        Ok(committed)
    }

    fn write(&mut self, group: &[Operation]) -> Result<Effects, Failure> {
        self.shared.done_log().append(group.iter().flat_map(Operation::done))?;
        let Some(connection) = &mut self.connection else {
            let fault = self.shared.fault().unwrap_or_default();
            return Err(Failure::Other(fault));
        };
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut open = Group {
            transaction,
            destinations: &mut self.state.destinations,
            shared: &self.shared,
            effects: Effects::default(),
        };
        let written = group.iter().try_for_each(|operation| open.apply(operation));
        let Group {
            transaction,
            destinations,
            effects,
            ..
        } = open;
        // From the moment of the commit look-ups see what is new: they must see it leased.
        outcome::arrive(&self.shared, group, &effects.arrivals);
        let committed = written.map_err(Failure::from).and_then(|()| {
            self.calls.before_commit()?;
            Ok(transaction.commit()?)
        });
        match committed {
            Ok(()) => {
                self.state.written += group.iter().map(Operation::octets).sum::<usize>();
                Ok(effects)
            }
            Err(failure) => {
                // Destinations made in the transaction are gone with it.
                destinations.clear();
                let failure = examine(failure, &self.database, &self.space);
                if matches!(failure, Failure::Full) {
                    outcome::depart(&self.shared, effects.arrivals);
                }
                // After any other failure the rows may be there: they stay leased until they are discarded.
                Err(failure)
            }
        }
    }

    /// The group is durable.
    fn acknowledge(&mut self, group: Vec<Operation>, mut effects: Effects) {
        self.shared.count_group();
        let files = std::mem::take(&mut effects.files);
        let gone: Vec<Done> = group.iter().flat_map(Operation::gone).collect();
        outcome::carry_out(&self.shared, group, effects);
        for id in files {
            self.data.remove(id);
        }
        // A log that cannot be cut is replayed in vain at the next start; that does no harm.
        let _ = self.shared.forget_done(gone.into_iter());
        if self.state.owed.is_empty() && self.connection.is_some() {
            self.shared.set_halted(false);
        }
    }

    /// Out of space: new messages are refused, the rest is tried again with the ballast's blocks.
    fn process_when_full(&mut self, group: Vec<Operation>) {
        self.reserve.free();
        self.space.set_ballast_missing(self.reserve.missing_octets());
        self.state.reserve_freed = Some(Instant::now());
        let (new, rest) = split_new(group);
        refuse(new, &StoreError::NoSpace);
        if let Err(Failure::Other(text)) = self.run_checkpoint("TRUNCATE") {
            // Moving the WAL would have given its blocks back.
            return self.fail(rest, &text);
        }
        if rest.is_empty() {
            return;
        }
        match self.commit(&rest) {
            Ok(effects) => return self.acknowledge(rest, effects),
            Err(Failure::Full) => {}
            Err(Failure::Other(text) | Failure::Write(text)) => return self.fail(rest, &text),
        }
        // Notifications may need more blocks than what they settle gives back: nothing else shall wait for them.
        let (telling, rest) = split_telling(rest);
        if telling.is_empty() {
            return self.postpone(rest);
        }
        self.postpone(telling);
        if rest.is_empty() {
            return;
        }
        match self.commit(&rest) {
            Ok(effects) => self.acknowledge(rest, effects),
            Err(Failure::Full) => self.postpone(rest),
            Err(Failure::Other(text) | Failure::Write(text)) => self.fail(rest, &text),
        }
    }

    /// No space for it now: it is written with a later group.
    fn postpone(&mut self, group: Vec<Operation>) {
        let is_completion =
            |operation: &Operation| matches!(operation, Operation::Settle { .. } | Operation::Replay(_));
        if group.iter().any(is_completion) {
            // What would be delivered now could not be recorded either, or was delivered by a former process. Known
            // before anybody is told.
            self.shared.set_halted(true);
        }
        let owed = refuse(group, &StoreError::NoSpace);
        self.state.owed.extend(owed);
    }

    /// A write or an fsync failed: what the pages hold is unknown.
    pub(super) fn fail(&mut self, group: Vec<Operation>, text: &str) {
        self.shared.refuse_mail(text);
        // What is done must not be forgotten, and what was refused must not come back; if this fails too, the file still
        // holds it unless power goes.
        let refused = group.iter().flat_map(Operation::refused);
        let _ = self.shared.done_log().append(refused);
        let _ = self.shared.done_log().sync();
        let owed = refuse(group, &StoreError::Io(text.to_owned()));
        self.state.failures += 1;
        // Dropped first, and the readers with it: a connection that lives on would share what it knows of the WAL.
        let former = self.connection.take();
        // Opened where its files are gone, the store would be a new and empty one.
        let is_last_time = self.state.failures > 1 || self.place.check().is_err();
        self.connection = self.readers.closed_while(|| {
            drop(former);
            if is_last_time {
                return None;
            }
            schema::open_writer(&self.database, self.page_count_max).ok()
        });
        if self.connection.is_some() {
            // SQLite may have made the log anew.
            self.place.look_again();
        }
        if self.connection.is_none() {
            if self.place.check().is_ok() {
                self.readers.note_damage();
            }
            self.shared.set_fault(text);
            // Their rows may be on disk: files without a row are removed at the next start.
            owed.into_iter().for_each(keep_file);
            return;
        }
        self.process(owed);
    }

    /// Frames in the WAL and those of them that are in the database file; none after a fault.
    pub(super) fn run_checkpoint(&self, mode: &str) -> Result<(i64, i64), Failure> {
        match &self.connection {
            Some(connection) => schema::run_checkpoint(connection, mode)
                .map_err(|error| examine(error.into(), &self.database, &self.space)),
            None => Ok((0, 0)),
        }
    }

    /// What is owed is tried once more, and the WAL is emptied.
    fn finish(mut self) {
        let owed = self.take_owed();
        self.process(owed);
        if let Err(Failure::Other(text)) = self.run_checkpoint("TRUNCATE") {
            self.shared.set_fault(&text);
        }
        self.state.owed.into_iter().for_each(keep_file);
    }
}

/// A write that failed for want of quota is want of space. SQLite does not tell, so the file system is asked.
fn examine(failure: Failure, database: &Path, space: &FreeSpace) -> Failure {
    match failure {
        Failure::Write(_) if space::is_over_quota(database) => {
            space.set_over_quota(true);
            Failure::Full
        }
        Failure::Write(text) => Failure::Other(text),
        failure => failure,
    }
}
