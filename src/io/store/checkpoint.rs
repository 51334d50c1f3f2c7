//! Checkpoints, and the sweep of destinations without mail.
//!
//! Checkpoints are explicit, so that an error in one is seen: SQLite's automatic ones swallow it.

use rusqlite::Connection;

use super::statements;
use crate::queue::schedule::DestinationNumber;
use crate::time::Timestamp;

/// Frames in the WAL and those of them that are in the database file.
pub(super) fn run_checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<(i64, i64)> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        Ok((row.get(1)?, row.get(2)?))
    })
}

/// Destinations without recipients that do not rest at `now` are forgotten; returns which.
pub(super) fn forget_idle_destinations(
    connection: &Connection,
    now: Timestamp,
) -> rusqlite::Result<Vec<DestinationNumber>> {
    connection
        .prepare(statements::FORGET_IDLE)?
        .query_map([now.0], |row| row.get(0))?
        .collect()
}
