//! A queue directory read by another process: listings, one message, its history, its data; running or stopped.
//!
//! Page by page, so that no read transaction lasts long: a long reader would let the WAL grow.
//!
//! **Does not** take the directory's lock or change anything.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension};

use super::error::OpenError;
use super::files::data_path;
use super::rows;
use super::schema::open_foreign;
use crate::mail::queue_id::QueueId;
use crate::queue::entry::{Entry, PastAttempt};

/// A reading connection to the queue of a directory.
#[derive(Debug)]
pub struct Inspector {
    directory: PathBuf,
    database: PathBuf,
    /// Absent where no daemon ever ran.
    connection: Option<Connection>,
}

impl Inspector {
    /// Opens it. A directory in which no daemon ever ran is empty.
    ///
    /// # Errors
    /// [`OpenError`] when the database cannot be read or was written by a later version.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let database = directory.join("queue.db");
        let exists = database.try_exists().map_err(OpenError::io(&database))?;
        let connection = exists.then(|| open_foreign(&database)).transpose()?;
        Ok(Self {
            directory: directory.to_owned(),
            database,
            connection,
        })
    }

    fn read<T: Default>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, OpenError> {
        let Some(connection) = &self.connection else {
            return Ok(T::default());
        };
        read(connection).map_err(|error| OpenError::database(&self.database, &error))
    }

    /// Queued messages after `after`, in order of id, at most `limit`; the end is told by an empty page alone.
    ///
    /// # Errors
    /// [`OpenError`] when the database cannot be read.
    pub fn page(&self, after: Option<QueueId>, limit: usize) -> Result<Vec<Entry>, OpenError> {
        self.read(|connection| rows::list(connection, after, limit))
    }

    /// One message.
    ///
    /// # Errors
    /// As for [`Inspector::page`].
    pub fn entry(&self, id: QueueId) -> Result<Option<Entry>, OpenError> {
        self.read(|connection| {
            let message = rows::message(connection, id)?;
            message.map(|message| rows::entry(connection, message)).transpose()
        })
    }

    /// Its attempts on record, in order of time.
    ///
    /// # Errors
    /// As for [`Inspector::page`].
    pub fn history(&self, id: QueueId) -> Result<Vec<PastAttempt>, OpenError> {
        self.read(|connection| rows::history(connection, id))
    }

    /// Its data as it is, up to `limit` octets.
    ///
    /// # Errors
    /// The system's, or SQLite's in words; an error of writing to `to` as well.
    pub fn copy_data(&self, id: QueueId, limit: u64, to: &mut dyn Write) -> io::Result<()> {
        let inline = self.read(|connection| {
            connection
                .prepare_cached("SELECT octets FROM data WHERE message = ?")?
                .query_row([id.number()], |row| row.get::<_, Vec<u8>>(0))
                .optional()
        });
        let Some(octets) = inline.map_err(io::Error::other)? else {
            let file = File::open(data_path(&self.directory, id))?;
            return io::copy(&mut file.take(limit), to).map(drop);
        };
        let end = usize::try_from(limit).unwrap_or(usize::MAX).min(octets.len());
        to.write_all(octets.get(..end).unwrap_or_default())
    }
}
