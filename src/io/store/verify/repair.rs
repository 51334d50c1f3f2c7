//! Removes what belongs to nobody from a stopped queue: data files without a row, rows without a message.
//!
//! **Does not** touch a message, and nothing at all in a database whose own check fails: rows may then only seem to be
//! missing.

use std::path::Path;
use std::sync::Arc;

use rusqlite::TransactionBehavior;

use super::pages::{self, Pages};
use crate::io::store::error::OpenError;
use crate::io::store::files::{DataDirectory, SystemFiles};
use crate::io::store::{listing, lock, opening, schema};

/// Removes orphans and says how many rows and files went. A directory in which no daemon ever ran has none.
///
/// # Errors
/// [`OpenError::Locked`] while a daemon runs, [`OpenError::Corrupted`] when the database is damaged, and what else keeps a
/// queue from being opened.
pub fn repair(directory: &Path) -> Result<(usize, usize), OpenError> {
    if !listing::has_queue(directory)? {
        return Ok((0, 0));
    }
    let _lock = lock::take(directory)?;
    let path = directory.join("queue.db");
    let wrap = |error: rusqlite::Error| OpenError::database(&path, &error);
    let mut connection = schema::open_writer(&path, None)?;
    if let Pages::Damaged(texts) = pages::check(&connection, None).map_err(wrap)? {
        let detail = texts.join("; ");
        return Err(OpenError::Corrupted { path, detail });
    }
    let removed = (|| {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut rows = 0;
        for table in ["recipient", "data", "attempt"] {
            rows += transaction.execute(
                &format!("DELETE FROM {table} WHERE message NOT IN (SELECT id FROM message)"),
                [],
            )?;
        }
        transaction.commit()?;
        Ok(rows)
    })();
    let rows = removed.map_err(wrap)?;
    let data = DataDirectory::open(directory, Arc::new(SystemFiles)).map_err(OpenError::io(directory))?;
    let files = opening::remove_orphans(&connection, &data)?.map_err(wrap)?;
    Ok((rows, files))
}
