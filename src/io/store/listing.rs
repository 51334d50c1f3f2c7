//! The listing for another process: `estafette queue list` with or without a running daemon.
//!
//! **Does not** take the directory's lock or change anything.

use std::path::Path;

use super::error::OpenError;
use super::rows;
use super::schema::open_foreign;
use crate::mail::queue_id::QueueId;
use crate::queue::entry::Entry;

/// Queued messages of a queue directory after `after`, in order of id, at most `limit`. Page by page, so that no
/// read transaction lasts long: a long reader would let the WAL grow. A directory in which no daemon ever ran is empty.
///
/// # Errors
/// [`OpenError`] when the database cannot be read or was written by a later version.
pub fn list_directory(directory: &Path, after: Option<QueueId>, limit: usize) -> Result<Vec<Entry>, OpenError> {
    if !has_queue(directory)? {
        return Ok(Vec::new());
    }
    let path = directory.join("queue.db");
    let connection = open_foreign(&path)?;
    rows::list(&connection, after, limit).map_err(|error| OpenError::database(&path, &error))
}

/// Whether a daemon ever ran in the directory.
pub(super) fn has_queue(directory: &Path) -> Result<bool, OpenError> {
    let path = directory.join("queue.db");
    path.try_exists().map_err(OpenError::io(&path))
}
