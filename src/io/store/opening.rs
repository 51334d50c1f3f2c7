//! How the store is opened: lock, database, data files, what a crash left, and the writer thread.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{Semaphore, mpsc};

use super::checkpoint::forget_idle_destinations;
use super::done_log::{Done, DoneLog};
use super::draft::{SHARES, WriterHandle};
use super::error::OpenError;
use super::files::{DataDirectory, FileCalls, SystemFiles};
use super::lock::{self, DirectoryLock};
use super::operation::Operation;
use super::place::{self, Place};
use super::pool::ReadPool;
use super::reader::Reader;
use super::reserve::{RESERVE_OCTETS, Reserve};
use super::rows;
use super::schema;
use super::shared::Shared;
use super::space::{self, FreeSpace, durability_warning};
use super::statements;
use super::writer::{State, Writer};
use crate::mail::queue_id::QueueId;
use crate::queue::settings::QueueSettings;
use crate::time::Timestamp;

/// Operations that may wait for the writer; more wait before they are sent.
const WAITING_MAX: usize = 8_192;
/// The largest inline limit that is followed, octets: inline data is kept in memory while it arrives.
const INLINE_OCTETS_MAX: u64 = 1024 * 1024;

/// What tests turn; the default is what a daemon uses.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Octets of ballast, normally [`RESERVE_OCTETS`]; 0 for none.
    pub reserve_octets: u64,
    /// Pages the database may have: a disk that is full, without filling one.
    pub page_count_max: Option<u32>,
    /// The file operations that durability hangs on.
    pub calls: Arc<dyn FileCalls>,
    /// When a commit is durable.
    pub synchronous: Synchronous,
}

/// When a commit is on stable storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Synchronous {
    /// When it returns: what a daemon uses, always.
    #[default]
    Full,
    /// Some time later, so that a power cut loses it: SQLite's `synchronous=NORMAL`. For the negative control of the
    /// power-cut test only; no directive leads here.
    Normal,
}

impl Synchronous {
    fn apply(self, connection: &Connection) -> rusqlite::Result<()> {
        match self {
            Self::Full => Ok(()),
            Self::Normal => connection.pragma_update(None, "synchronous", "NORMAL"),
        }
    }
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            reserve_octets: RESERVE_OCTETS,
            page_count_max: None,
            calls: Arc::new(SystemFiles),
            synchronous: Synchronous::Full,
        }
    }
}

/// An open store's parts.
pub(super) struct Parts {
    pub(super) writer: WriterHandle,
    pub(super) thread: JoinHandle<()>,
    pub(super) reader: Reader,
    pub(super) shared: Arc<Shared>,
    pub(super) space: Arc<FreeSpace>,
    pub(super) data: DataDirectory,
    pub(super) largest: QueueId,
    pub(super) inline_octets_max: usize,
    pub(super) warnings: Vec<String>,
    pub(super) lock: DirectoryLock,
}

/// The ballast is at most this part of the file system: a small one shall still take mail.
const BALLAST_SHARE: u64 = 16;

/// Opens the store.
pub(super) fn open(
    settings: &QueueSettings,
    clock: fn() -> Timestamp,
    options: OpenOptions,
) -> Result<Parts, OpenError> {
    let now = clock();
    let directory = settings.directory.as_path();
    let lock = lock::take(directory)?;
    let database = directory.join("queue.db");
    let connection = open_database(directory, &database, options.page_count_max)?;
    let data = DataDirectory::open(directory, Arc::clone(&options.calls)).map_err(OpenError::io(directory))?;
    let space = FreeSpace::new(directory, settings.minfree_octets, settings.message_size_octets_max);
    let mut warnings: Vec<String> = durability_warning(directory).into_iter().collect();
    let octets = options
        .reserve_octets
        .min(space::total_octets(directory) / BALLAST_SHARE);
    let reserve = ballast(directory, octets, &mut warnings);
    space.set_ballast_missing(reserve.missing_octets());
    let (done_log, done) = DoneLog::open(directory).map_err(OpenError::io(directory))?;
    // The names of the database and the logs have to survive as well as what is in them.
    options
        .calls
        .sync_directory(directory)
        .map_err(OpenError::io(directory))?;
    let wrap = |error: rusqlite::Error| OpenError::database(&database, &error);
    options.synchronous.apply(&connection).map_err(wrap)?;
    let missing = reconcile(&connection, &data)?.map_err(wrap)?;
    let shared = Arc::new(Shared::new(done_log));
    forget_reported(&connection, &shared).map_err(wrap)?;
    load_destinations(&connection, now, &shared).map_err(wrap)?;
    let largest = largest(&connection).map_err(wrap)?;

    let (sender, queue) = mpsc::channel(WAITING_MAX);
    let first = first_group(done, missing, &mut warnings);
    let space = Arc::new(space);
    let readers = Arc::new(ReadPool::new(database.clone()));
    let writer = Writer {
        database,
        page_count_max: options.page_count_max,
        connection: Some(connection),
        place: Place::of(directory).map_err(OpenError::io(directory))?,
        readers: Arc::clone(&readers),
        calls: options.calls,
        shared: Arc::clone(&shared),
        space: Arc::clone(&space),
        data: data.clone(),
        reserve,
        queue,
        clock,
        state: State::default(),
    };
    let thread = start(writer, first).map_err(OpenError::io(directory))?;
    Ok(Parts {
        writer: WriterHandle {
            queue: sender,
            shares: Arc::new(Semaphore::new(SHARES)),
            space: Arc::clone(&space),
            shared: Arc::clone(&shared),
        },
        thread,
        reader: Reader::new(readers, data.clone(), Arc::clone(&shared)),
        shared,
        space,
        data,
        largest,
        inline_octets_max: usize::try_from(settings.inline_octets_max.min(INLINE_OCTETS_MAX)).unwrap_or_default(),
        warnings,
        lock,
    })
}

/// What a crash left to be written.
fn first_group(done: Vec<Done>, missing: Vec<QueueId>, warnings: &mut Vec<String>) -> Vec<Operation> {
    let mut first = Vec::new();
    if !done.is_empty() {
        first.push(Operation::Replay(done));
    }
    for id in missing {
        warnings.push(format!("message {id} is held: its data file is missing"));
        let reason = String::from("its data file is missing");
        first.push(Operation::HoldDamaged { id, reason });
    }
    first
}

fn open_database(directory: &Path, database: &Path, page_count_max: Option<u32>) -> Result<Connection, OpenError> {
    place::refuse_bereft(directory, database)?;
    let connection = schema::open_writer(database, page_count_max)?;
    place::check_whole(&connection, database)?;
    Ok(connection)
}

/// Writes what a crash left before anything is due, then lets the writer run.
fn start(mut writer: Writer, first: Vec<Operation>) -> std::io::Result<JoinHandle<()>> {
    writer.process(first);
    std::thread::Builder::new()
        .name("queue-writer".into())
        .spawn(move || writer.run())
}

fn ballast(directory: &Path, octets: u64, warnings: &mut Vec<String>) -> Reserve {
    let mut reserve = Reserve::find(directory, octets);
    if let Err(error) = reserve.make() {
        warnings.push(format!(
            "the ballast of {octets} octets in {} could not be made: {error}",
            directory.display()
        ));
    }
    reserve
}

/// Removes data files without a row and returns the messages whose file is missing.
fn reconcile(connection: &Connection, data: &DataDirectory) -> Result<rusqlite::Result<Vec<QueueId>>, OpenError> {
    Ok(sweep(connection, data)?.map(|(missing, _)| missing))
}

/// Removes data files without a row, those that were arriving among them, and says how many.
pub(super) fn remove_orphans(
    connection: &Connection,
    data: &DataDirectory,
) -> Result<rusqlite::Result<usize>, OpenError> {
    Ok(sweep(connection, data)?.map(|(_, removed)| removed))
}

/// The messages whose file is missing, and how many files without a row were removed.
fn sweep(connection: &Connection, data: &DataDirectory) -> Result<rusqlite::Result<(Vec<QueueId>, usize)>, OpenError> {
    let (files, arriving) = data.survey().map_err(OpenError::io(&data.root()))?;
    let rows = match messages_with_file(connection) {
        Ok(rows) => rows,
        Err(error) => return Ok(Err(error)),
    };
    let mut removed = arriving;
    for orphan in files.difference(&rows) {
        data.remove(*orphan);
        removed += 1;
    }
    Ok(Ok((rows.difference(&files).copied().collect(), removed)))
}

/// What was reported just before the end of a former process is in the log still, and has no row any more.
fn forget_reported(connection: &Connection, shared: &Shared) -> rusqlite::Result<()> {
    let unreported = shared.done_log().unreported();
    let mut gone = Vec::new();
    for (id, number) in unreported {
        if !rows::has_recipient(connection, id, number)? {
            gone.push((id, number));
        }
    }
    // A log that cannot be cut is read in vain at the next start; that does no harm.
    let _ = shared.forget_done(gone.into_iter());
    Ok(())
}

fn messages_with_file(connection: &Connection) -> rusqlite::Result<BTreeSet<QueueId>> {
    connection
        .prepare(statements::IN_FILES)?
        .query_map([], |row| rows::id(row.get(0)?))?
        .collect()
}

/// Every destination has to be looked at, when its rest is over.
fn load_destinations(connection: &Connection, now: Timestamp, shared: &Shared) -> rusqlite::Result<()> {
    forget_idle_destinations(connection, now)?;
    let mut statement = connection.prepare(statements::DESTINATIONS)?;
    let mut rows = statement.query([])?;
    let mut schedule = shared.schedule();
    schedule.advance(now);
    while let Some(row) = rows.next()? {
        let (number, until, failures) = (row.get(0)?, Timestamp(row.get(1)?), row.get(2)?);
        schedule.wake(number);
        if failures > 0 || until > Timestamp::default() {
            schedule.back_off(number, until.max(Timestamp(1)), failures);
        }
    }
    Ok(())
}

fn largest(connection: &Connection) -> rusqlite::Result<QueueId> {
    let number: i64 = connection.query_row(statements::LARGEST, [], |row| row.get(0))?;
    rows::id(number)
}
