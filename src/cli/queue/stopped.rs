//! The queue of a stopped relay, opened to be changed.

use std::io;
use std::path::Path;

use crate::admin::request::Answer;
use crate::io::clock;
use crate::io::store::{OpenError, SqliteStore};
use crate::queue::Store;

pub fn is_nobody_there(error: &io::Error) -> bool {
    use io::ErrorKind;
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}

pub fn no_queue(directory: &Path) -> String {
    format!("there is no queue in {}", directory.display())
}

/// Opens it; says in words what is wrong.
pub fn open(directory: &Path) -> Result<SqliteStore, String> {
    let place = directory.display();
    match SqliteStore::open_stopped(directory, clock::timestamp) {
        Ok(Some(store)) => {
            for warning in store.warnings() {
                eprintln!("estafette: {warning}");
            }
            Ok(store)
        }
        Ok(None) => Err(no_queue(directory)),
        Err(OpenError::Owner { owner, .. }) => Err(format!(
            "the queue in {place} belongs to uid {owner}: run this as that user"
        )),
        Err(OpenError::Locked { pid, .. }) => Err(format!(
            "process {pid} has the queue in {place} but does not answer: it is starting or stopping, try again"
        )),
        Err(error) => Err(format!("the queue in {place} cannot be changed: {error}")),
    }
}

/// What the daemon would answer to a flush.
pub async fn flush(store: &SqliteStore) -> Answer {
    match store.flush(clock::timestamp()).await {
        Ok(count) => Answer {
            done: true,
            message: format!("{count} recipients are due now that waited for a retry; no destination rests any more"),
        },
        Err(error) => Answer {
            done: false,
            message: error.to_string(),
        },
    }
}
