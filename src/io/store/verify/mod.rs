//! `queue verify`: proves that a queue directory, running or stopped, is whole, or names what is not.
//!
//! Every row has its data and every checksum holds; data without a row, rows without a message, messages without
//! recipients, recipients without a destination are named; the database's own check, the schema, done.log, owners, modes
//! and the ballast are looked at. Everything goes page by page: memory is flat, and no read transaction lasts over a second.
//! Each SQL statement sees whole transactions only; what stands in files besides is looked at again before it is named,
//! since a running daemon makes and removes it.
//!
//! **Does not** change anything; [`repair`] removes orphans of a stopped queue and nothing else.

mod files;
mod finding;
mod pages;
mod repair;
mod rows;

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::error::OpenError;
use super::listing::has_queue;
use super::schema;
pub use finding::{Condition, Finding, Sum, Told};
pub use repair::repair;

/// How long a check of the database's pages may hold its read transaction while a daemon runs.
const READ_TRANSACTION_MAX: Duration = Duration::from_millis(900);

/// Looks at everything and tells what is wrong as it is found.
///
/// # Errors
/// [`OpenError`] when the queue cannot be looked at, which proves nothing about it.
pub fn verify(directory: &Path, tell: &mut dyn FnMut(Told)) -> Result<(Condition, Sum), OpenError> {
    if !has_queue(directory)? {
        return Ok((Condition::Missing, Sum::default()));
    }
    // Held to the end: no daemon starts meanwhile.
    let (condition, _lock) = condition(directory)?;
    let mut sum = Sum::default();
    files::check_surroundings(directory, tell)?;
    let database = directory.join("queue.db");
    let connection = match schema::open_foreign(&database) {
        Ok(connection) => connection,
        Err(error @ (OpenError::Corrupted { .. } | OpenError::NewerSchema { .. })) => {
            tell(Told::Finding(Finding::database(&error.to_string())));
            return Ok((condition, sum));
        }
        Err(error) => return Err(error),
    };
    if let Err(error) = check_database(directory, &connection, condition, &mut sum, tell) {
        let error = OpenError::database(&database, &error);
        tell(Told::Finding(Finding::database(&error.to_string())));
    }
    Ok((condition, sum))
}

fn check_database(
    directory: &Path,
    connection: &Connection,
    condition: Condition,
    sum: &mut Sum,
    tell: &mut dyn FnMut(Told),
) -> rusqlite::Result<()> {
    let limit = (condition == Condition::Running).then_some(READ_TRANSACTION_MAX);
    match pages::check(connection, limit)? {
        pages::Pages::Sound => {}
        pages::Pages::Damaged(texts) => texts
            .iter()
            .for_each(|text| tell(Told::Finding(Finding::database(text)))),
        pages::Pages::TooLong => tell(Told::Note(
            "SQLite's check of all pages takes over a second and was broken off; every row was read. Verify the stopped queue for it"
                .into(),
        )),
    }
    let (found, known) = schema::versions(connection)?;
    if found < known {
        let note = format!("the database has schema {found}; the next start brings it to {known}");
        tell(Told::Note(note));
    }
    rows::check_messages(directory, connection, sum, tell)?;
    rows::check_recipients(connection, sum, tell)?;
    rows::check_strays(connection, found >= 3, tell)?;
    files::check_data(directory, connection, condition, sum, tell)
}

/// Takes the lock if it is free.
fn condition(directory: &Path) -> Result<(Condition, Option<File>), OpenError> {
    let path = directory.join("lock");
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((Condition::Stopped, None)),
        Err(error) => return Err(OpenError::io(&path)(error)),
    };
    match file.try_lock() {
        Ok(()) => Ok((Condition::Stopped, Some(file))),
        Err(TryLockError::WouldBlock) => Ok((Condition::Running, None)),
        Err(TryLockError::Error(error)) => Err(OpenError::io(&path)(error)),
    }
}
