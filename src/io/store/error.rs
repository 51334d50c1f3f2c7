//! Why a queue directory cannot be opened, and how SQLite's errors become the store's.
//!
//! **Does not** decide what follows from an error: `writer` does.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::queue::StoreError;

/// Why a queue directory cannot be opened. The operator's or the environment's fault; each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A daemon runs on the directory.
    #[error("queue_directory {} is in use by process {pid}", directory.display())]
    Locked {
        /// `queue_directory`.
        directory: PathBuf,
        /// The pid written by the first daemon; `unknown` when it has not been written yet.
        pid: String,
    },
    /// Not a directory.
    #[error("queue_directory {} is not a directory", directory.display())]
    NotADirectory {
        /// `queue_directory`.
        directory: PathBuf,
    },
    /// The directory belongs to someone else.
    #[error("queue_directory {} belongs to uid {owner}, the daemon runs as uid {user}; chown it", directory.display())]
    Owner {
        /// `queue_directory`.
        directory: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who we are.
        user: u32,
    },
    /// Others can write into the directory.
    #[error("queue_directory {} has mode {mode:03o}, others could change mail; chmod 700 it", directory.display())]
    Permissions {
        /// `queue_directory`.
        directory: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// `queue.db` is not a database or is damaged.
    #[error(
        "{path} is damaged: {detail}; restore queue_directory from a backup, or save what can be read with \
         sqlite3 {path} .recover | sqlite3 recovered.db and put that in the place of queue.db, without its -wal and -shm",
        path = path.display()
    )]
    Corrupted {
        /// The database.
        path: PathBuf,
        /// SQLite's words.
        detail: String,
    },
    /// `queue.db` is missing or empty while mail is there that belongs to it.
    #[error(
        "{} is missing, but its log or {files} files of mail data are there; restore it, or move the directory aside to \
         begin a new queue",
        path.display()
    )]
    Bereft {
        /// The database.
        path: PathBuf,
        /// Files of mail data.
        files: usize,
    },
    /// Written by a later version.
    #[error("{} has schema {found}, this program knows up to {known}; run the newer program", path.display())]
    NewerSchema {
        /// The database.
        path: PathBuf,
        /// Its `user_version`.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The database cannot be opened or read for another reason.
    #[error("{}: {detail}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// SQLite's words.
        detail: String,
    },
    /// A file operation failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
}

impl OpenError {
    /// Wraps an error of a file operation.
    pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// Wraps an error of SQLite.
    pub(super) fn database(path: &Path, error: &rusqlite::Error) -> Self {
        let (path, detail) = (path.to_owned(), error.to_string());
        if is_corrupt(error) {
            Self::Corrupted { path, detail }
        } else {
            Self::Database { path, detail }
        }
    }
}

/// Whether SQLite found the database damaged.
pub(super) fn is_corrupt(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

/// Whether a write failed for a reason that SQLite does not tell: over quota is one of them.
pub(super) fn is_failed_write(error: &rusqlite::Error) -> bool {
    error
        .sqlite_error()
        .is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_WRITE)
}

/// Whether SQLite ran out of space.
pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

/// What SQLite's error means to a user of the store.
pub(super) fn from_sqlite(error: &rusqlite::Error) -> StoreError {
    if is_full(error) {
        StoreError::NoSpace
    } else {
        StoreError::Io(error.to_string())
    }
}

/// What a file operation's error means to a user of the store.
pub(super) fn from_io(error: &std::io::Error) -> StoreError {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::NoSpace,
        _ => StoreError::Io(error.to_string()),
    }
}
