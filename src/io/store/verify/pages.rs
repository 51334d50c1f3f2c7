//! SQLite's own check of the database, in bounded memory and, while a daemon writes, in bounded time: a reader that stays
//! keeps the WAL from being emptied.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

/// Errors told at most.
const ERRORS_MAX: usize = 100;

/// What the check says.
pub(super) enum Pages {
    Sound,
    Damaged(Vec<String>),
    /// Broken off.
    TooLong,
}

pub(super) fn check(connection: &Connection, limit: Option<Duration>) -> rusqlite::Result<Pages> {
    let (ended, end) = channel::<()>();
    let handle = connection.get_interrupt_handle();
    let checked = std::thread::scope(|scope| {
        if let Some(limit) = limit {
            scope.spawn(move || {
                if end.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                    handle.interrupt();
                }
            });
        }
        let checked = ask(connection);
        drop(ended);
        checked
    });
    match checked {
        Ok(texts) if texts == ["ok"] => Ok(Pages::Sound),
        Ok(texts) => Ok(Pages::Damaged(texts)),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => Ok(Pages::TooLong),
        Err(error) => Err(error),
    }
}

fn ask(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare(&format!("PRAGMA integrity_check({ERRORS_MAX})"))?
        .query_map([], |row| row.get(0))?
        .collect()
}
