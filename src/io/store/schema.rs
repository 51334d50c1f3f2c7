//! The database: its tables, their migrations, and how connections are opened.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::error::{OpenError, is_full};
use crate::queue::entry;

/// `due` of a recipient that is held, as it is stored.
pub(super) const NEVER: i64 = entry::NEVER.0;

/// How long a statement waits for another process's lock; ours never wait for each other (WAL).
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Pages that the writer keeps in memory, KiB: what was queued a moment ago is deleted without being read again.
const WRITER_CACHE_KIB: i64 = 16 * 1024;
/// And each connection that only reads.
const READER_CACHE_KIB: i64 = 1024;

/// Statement n brings the database from `user_version` n to n + 1.
const MIGRATIONS: [&str; 5] = [
    "
    CREATE TABLE message (
        id INTEGER PRIMARY KEY,          -- the queue id's number
        arrived INTEGER NOT NULL,        -- milliseconds since 1970, UTC
        expires INTEGER NOT NULL,
        reverse_path TEXT NOT NULL,      -- empty: the null reverse-path
        body TEXT NOT NULL,              -- '7bit' or '8bitmime'
        size INTEGER NOT NULL,           -- octets of mail data
        crc32c INTEGER NOT NULL,
        inline INTEGER NOT NULL,         -- 1: in the table data; 0: in data/xx/ID
        session_id TEXT NOT NULL,
        peer TEXT,
        identity TEXT NOT NULL,
        issuer TEXT,
        subject TEXT,
        fingerprint TEXT,
        decided_by TEXT NOT NULL
    ) STRICT;
    CREATE TABLE data (
        message INTEGER PRIMARY KEY,
        octets BLOB NOT NULL
    ) STRICT;
    CREATE TABLE destination (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        next_try INTEGER NOT NULL DEFAULT 0,     -- nothing is due before, whatever its recipients say
        failures INTEGER NOT NULL DEFAULT 0,
        last_reply TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE TABLE recipient (
        destination INTEGER NOT NULL,
        due INTEGER NOT NULL,
        message INTEGER NOT NULL,
        n INTEGER NOT NULL,
        forward_path TEXT NOT NULL,
        state INTEGER NOT NULL DEFAULT 0,        -- 0 waiting, 1 held
        attempts INTEGER NOT NULL DEFAULT 0,
        last_reply TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (destination, due, message, n)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX recipient_message ON recipient (message, n);
",
    // So far only damaged messages were held, with the reason in the place of the last reply.
    "
    ALTER TABLE message ADD COLUMN hold TEXT;                           -- why it is held; then all its recipients are
    ALTER TABLE message ADD COLUMN damaged INTEGER NOT NULL DEFAULT 0;  -- 1: held because it cannot be delivered
    CREATE INDEX message_held ON message (id) WHERE hold IS NOT NULL;
    UPDATE message SET damaged = 1,
            hold = (SELECT 'damaged: ' || substr(last_reply, 7) FROM recipient WHERE message = message.id AND state = 1)
        WHERE id IN (SELECT message FROM recipient WHERE state = 1);
",
    "
    ALTER TABLE recipient ADD COLUMN warned INTEGER NOT NULL DEFAULT 0;  -- 1: the sender was told of the delay
    CREATE TABLE attempt (                   -- attempts that settled nothing, the latest of each recipient
        message INTEGER NOT NULL,
        n INTEGER NOT NULL,
        attempt INTEGER NOT NULL,            -- from 1
        at INTEGER NOT NULL,
        reply TEXT NOT NULL,
        PRIMARY KEY (message, n, attempt)
    ) STRICT, WITHOUT ROWID;
",
    // A start compares the files with their rows: it must not read a million rows that have none.
    "
    CREATE INDEX message_in_file ON message (id) WHERE inline = 0;
",
    // NULL when nothing was asked, which costs an octet each.
    "
    ALTER TABLE message ADD COLUMN login TEXT;           -- the name that AUTH proved
    ALTER TABLE message ADD COLUMN smtputf8 INTEGER;     -- 1: SMTPUTF8 was demanded
    ALTER TABLE message ADD COLUMN require_tls INTEGER;  -- 1: REQUIRETLS was
    ALTER TABLE message ADD COLUMN dsn_ret TEXT;         -- 'FULL' or 'HDRS'
    ALTER TABLE message ADD COLUMN dsn_envid TEXT;       -- xtext, as it was given
    ALTER TABLE recipient ADD COLUMN dsn_notify TEXT;    -- 'NEVER', or 'SUCCESS,FAILURE,DELAY' or some of them
    ALTER TABLE recipient ADD COLUMN dsn_orcpt TEXT;     -- type and xtext, as it was given
",
];

/// What a database of `user_version` 1 lacks in `message`, for a reader that must not change it.
const VERSION_1_LACKS: &str = "
        (SELECT 'damaged: ' || substr(last_reply, 7) FROM main.recipient WHERE message = stored.id AND state = 1) AS hold,
        EXISTS (SELECT 1 FROM main.recipient WHERE message = stored.id AND state = 1) AS damaged,
";

/// The views that show a database of an earlier version as it would be in this one.
fn views(version: i64) -> String {
    let lacks = if version == 1 { VERSION_1_LACKS } else { "" };
    format!(
        "CREATE TEMP VIEW message AS SELECT stored.*, {lacks} NULL AS login, NULL AS smtputf8, NULL AS require_tls,
             NULL AS dsn_ret, NULL AS dsn_envid FROM main.message AS stored;
         CREATE TEMP VIEW recipient AS SELECT stored.*, NULL AS dsn_notify, NULL AS dsn_orcpt
             FROM main.recipient AS stored;"
    )
}

/// The connection of the writer: WAL, every commit synced, no checkpoint that swallows an error.
///
/// What the log holds is moved into the database file, and synced there, before anything is added: what a process before
/// could not sync must not lie between commits that are.
pub(super) fn open_writer(path: &Path, page_count_max: Option<u32>) -> Result<Connection, OpenError> {
    // SQLite would make the file readable by others.
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(OpenError::io(path))?;
    forget_cached(&path.with_extension("db-wal"));
    let mut connection = Connection::open(path).map_err(|error| OpenError::database(path, &error))?;
    prepare(&mut connection, page_count_max).map_err(|error| OpenError::database(path, &error))?;
    migrate(path, &mut connection)?;
    match run_checkpoint(&connection, "TRUNCATE") {
        // The log is durable and stays.
        Err(error) if is_full(&error) => Ok(connection),
        Err(error) => Err(OpenError::database(path, &error)),
        Ok(_) => Ok(connection),
    }
}

/// Has the log read from disk, not from memory: after a failed fsync the kernel takes the pages for written, and shows what
/// is not on disk to whoever reads. Of no avail, it does no harm.
fn forget_cached(log: &Path) {
    if let Ok(file) = File::open(log) {
        let _ = posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    }
}

/// Frames in the WAL and those of them that are in the database file.
pub(super) fn run_checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<(i64, i64)> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        Ok((row.get(1)?, row.get(2)?))
    })
}

fn prepare(connection: &mut Connection, page_count_max: Option<u32>) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    if let Some(pages) = page_count_max {
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
    }
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

fn migrate(path: &Path, connection: &mut Connection) -> Result<(), OpenError> {
    let wrap = |error: rusqlite::Error| OpenError::database(path, &error);
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let found = version(connection).map_err(wrap)?;
    if found > known {
        let path = path.to_owned();
        return Err(OpenError::NewerSchema { path, found, known });
    }
    let done = usize::try_from(found).unwrap_or_default();
    for (migration, to) in MIGRATIONS.iter().zip(1_i64..).skip(done) {
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(wrap)?;
        transaction.execute_batch(migration).map_err(wrap)?;
        transaction.pragma_update(None, "user_version", to).map_err(wrap)?;
        transaction.commit().map_err(wrap)?;
    }
    Ok(())
}

/// The database's version, and the latest that this program knows.
pub(super) fn versions(connection: &Connection) -> rusqlite::Result<(i64, i64)> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    Ok((version(connection)?, known))
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// A connection that only reads.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// A reading connection for another process, which checks the schema and changes nothing. A daemon of the version before
/// may still run on the database.
pub(super) fn open_foreign(path: &Path) -> Result<Connection, OpenError> {
    let wrap = |error: rusqlite::Error| OpenError::database(path, &error);
    let connection = open_reader(path).map_err(wrap)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let found = version(&connection).map_err(wrap)?;
    if found > known {
        let path = path.to_owned();
        return Err(OpenError::NewerSchema { path, found, known });
    }
    if (1..5).contains(&found) {
        connection.execute_batch(&views(found)).map_err(wrap)?;
    }
    Ok(connection)
}
