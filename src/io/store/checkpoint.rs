//! Checkpoints, and the sweep of destinations without mail.
//!
//! Checkpoints are explicit, so that an error in one is seen: SQLite's automatic ones swallow it.

use rusqlite::Connection;

use super::statements;
use crate::queue::schedule::DestinationNumber;
use crate::time::Timestamp;

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
