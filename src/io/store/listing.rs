//! A page of the listing for another process, with or without a running daemon.
//!
//! **Does not** take the directory's lock or change anything.

use std::path::Path;

use super::error::OpenError;
use super::inspect::Inspector;
use crate::mail::queue_id::QueueId;
use crate::queue::entry::Entry;

/// [`Inspector::page`] of a queue directory that is opened for it.
///
/// # Errors
/// [`OpenError`] when the database cannot be read or was written by a later version.
pub fn list_directory(directory: &Path, after: Option<QueueId>, limit: usize) -> Result<Vec<Entry>, OpenError> {
    Inspector::open(directory)?.page(after, limit)
}

/// Whether a daemon ever ran in the directory.
pub(super) fn has_queue(directory: &Path) -> Result<bool, OpenError> {
    let path = directory.join("queue.db");
    path.try_exists().map_err(OpenError::io(&path))
}
