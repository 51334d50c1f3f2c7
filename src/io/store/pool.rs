//! Connections that only read, and how they make way while the database is opened anew.
//!
//! After a failed write or fsync nothing that was read before may live on: as long as one connection of the process is
//! open, SQLite keeps its index of the WAL in shared memory and does not look at the disk again.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use rusqlite::Connection;

use super::place;
use super::schema::open_reader;

/// Connections kept open.
const CONNECTIONS_MAX: usize = 16;

/// The reading connections.
#[derive(Debug)]
pub(super) struct ReadPool {
    database: PathBuf,
    idle: Mutex<Vec<Connection>>,
    /// Read while a connection is in use.
    in_use: RwLock<()>,
}

impl ReadPool {
    pub(super) fn new(database: PathBuf) -> Self {
        Self {
            database,
            idle: Mutex::default(),
            in_use: RwLock::default(),
        }
    }

    /// Reads on a connection; one that met an error is not used again.
    pub(super) fn with<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let _in_use = self.in_use.read().unwrap_or_else(PoisonError::into_inner);
        let kept = self.idle().pop();
        let connection = match kept {
            Some(connection) => connection,
            None => open_reader(&self.database)?,
        };
        let value = read(&connection)?;
        let mut idle = self.idle();
        if idle.len() < CONNECTIONS_MAX {
            idle.push(connection);
        }
        Ok(value)
    }

    /// Has the next start check the whole database.
    pub(super) fn note_damage(&self) {
        place::note_damage(&self.database);
    }

    /// Closes the idle connections.
    pub(super) fn close(&self) {
        self.idle().clear();
    }

    /// Does something while none of the connections is open; reading waits meanwhile.
    pub(super) fn closed_while<T>(&self, act: impl FnOnce() -> T) -> T {
        let _nobody_reads = self.in_use.write().unwrap_or_else(PoisonError::into_inner);
        self.close();
        act()
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
