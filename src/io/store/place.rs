//! Whether the queue directory is still where it was, and whether it is whole.
//!
//! A directory that is removed or unmounted under a running daemon takes every write nevertheless: the files are open, only
//! their names are gone, and with the end of the process all would be lost that was acknowledged meanwhile.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::error::OpenError;

/// A database of up to so many octets is checked whole at each start; a larger one when damage was noted.
const CHECKED_OCTETS_MAX: u64 = 64 * 1024 * 1024;

/// The files that must stay under their names while the store is open.
#[derive(Debug)]
pub(super) struct Place {
    files: Vec<(PathBuf, (u64, u64))>,
}

impl Place {
    /// As it is now.
    pub(super) fn of(directory: &Path) -> io::Result<Self> {
        let paths = ["lock", "queue.db", "queue.db-wal"].map(|name| directory.join(name));
        let known = paths.into_iter().map(|path| identity(&path).map(|own| (path, own)));
        Ok(Self {
            files: known.collect::<io::Result<_>>()?,
        })
    }

    /// Takes the files for the right ones that are there now.
    pub(super) fn look_again(&mut self) {
        for (path, own) in &mut self.files {
            if let Ok(found) = identity(path) {
                *own = found;
            }
        }
    }

    /// # Errors
    /// Says in words which file is no longer the one that was opened.
    pub(super) fn check(&self) -> Result<(), String> {
        for (path, own) in &self.files {
            match identity(path) {
                Ok(found) if found == *own => {}
                Ok(_) => return Err(format!("{} is not the file that was opened any more", path.display())),
                Err(error) => return Err(format!("{} has vanished: {error}", path.display())),
            }
        }
        Ok(())
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Refuses a directory whose database is gone while mail is there that belongs to it: a new database would make orphans of
/// all of that, and orphans are removed.
pub(super) fn refuse_bereft(directory: &Path, database: &Path) -> Result<(), OpenError> {
    if fs::metadata(database).is_ok_and(|found| found.len() > 0) {
        return Ok(());
    }
    let wal = directory.join("queue.db-wal");
    let has_wal = fs::metadata(wal).is_ok_and(|found| found.len() > 0);
    let files = count_data_files(&directory.join("data")).map_err(OpenError::io(directory))?;
    if !has_wal && files == 0 {
        return Ok(());
    }
    Err(OpenError::Bereft {
        path: database.to_owned(),
        files,
    })
}

fn count_data_files(data: &Path) -> io::Result<usize> {
    let shelves = match fs::read_dir(data) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        shelves => shelves?,
    };
    let mut files = 0;
    for shelf in shelves {
        let shelf = shelf?.path();
        if shelf.is_dir() && !shelf.ends_with("incoming") {
            files += fs::read_dir(shelf)?.count();
        }
    }
    Ok(files)
}

/// Where it is noted that damage was met while the daemon ran: the next start looks at the whole database.
fn damage_note(database: &Path) -> PathBuf {
    database.with_extension("db-damaged")
}

/// Has the next start check the whole database.
pub(super) fn note_damage(database: &Path) {
    // Where nothing can be written, the damage is met again.
    let _ = fs::write(
        damage_note(database),
        "damage was met: the next start checks queue.db\n",
    );
}

/// Checks the database whole, when it is small enough or when damage was noted.
pub(super) fn check_whole(connection: &Connection, database: &Path) -> Result<(), OpenError> {
    let note = damage_note(database);
    let is_noted = note.exists();
    let octets = fs::metadata(database).map_err(OpenError::io(database))?.len();
    if !is_noted && octets > CHECKED_OCTETS_MAX {
        return Ok(());
    }
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| OpenError::database(database, &error))?;
    // What the check has read need not stay in memory: damage that comes later would go unseen until the next start.
    connection
        .execute_batch("PRAGMA shrink_memory")
        .map_err(|error| OpenError::database(database, &error))?;
    if found != "ok" {
        return Err(OpenError::Corrupted {
            path: database.to_owned(),
            detail: found,
        });
    }
    if is_noted {
        fs::remove_file(&note).map_err(OpenError::io(&note))?;
    }
    Ok(())
}
