//! The files: those of the queue directory itself, and that no data file is without its row.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::finding::{Condition, Finding, Sum, Told};
use crate::io::store::done_log;
use crate::io::store::error::OpenError;
use crate::io::store::files::data_path;
use crate::io::store::reserve::ballast_path;
use crate::io::store::rows;
use crate::mail::queue_id::QueueId;

/// How long a running daemon gets to commit the row of a file, or to remove the file of a row that is gone.
const PATIENCE: Duration = Duration::from_secs(10);
/// From one look to the next.
const PAUSE: Duration = Duration::from_millis(200);
/// Orphans that are looked at again together.
const AT_ONCE: usize = 10_000;

const FILES: [&str; 7] = [
    "queue.db",
    "queue.db-wal",
    "queue.db-shm",
    "lock",
    "done.log",
    "reserve",
    "admin.sock",
];

/// Owner and mode of the directory and its files, the ballast, done.log.
pub(super) fn check_surroundings(directory: &Path, tell: &mut dyn FnMut(Told)) -> Result<(), OpenError> {
    let here = fs::metadata(directory).map_err(OpenError::io(directory))?;
    if here.mode() & 0o022 != 0 {
        let what = format!(
            "{} has mode {:03o}, others could change mail",
            directory.display(),
            here.mode() & 0o777
        );
        tell(Told::Finding(Finding::new("files", what, "chmod 700 it")));
    }
    for name in FILES {
        check_file(&directory.join(name), here.uid(), tell)?;
    }
    check_ballast(directory, tell)?;
    let path = directory.join("done.log");
    let torn = done_log::unreadable_lines(&path).map_err(OpenError::io(&path))?;
    if torn > 0 {
        let what = format!("done.log has {torn} lines that cannot be read");
        let remedy = "they are skipped at the next start; after a crash a message may be delivered twice";
        tell(Told::Finding(Finding::new("done_log", what, remedy)));
    }
    Ok(())
}

/// Absent when the file is gone.
fn look(path: &Path) -> Result<Option<Metadata>, OpenError> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(OpenError::io(path)(error)),
    }
}

fn check_file(path: &Path, owner: u32, tell: &mut dyn FnMut(Told)) -> Result<(), OpenError> {
    let Some(found) = look(path)? else { return Ok(()) };
    let place = path.display();
    if found.uid() != owner {
        let what = format!("{place} belongs to uid {}, the directory to uid {owner}", found.uid());
        tell(Told::Finding(Finding::new("files", what, format!("chown {owner} it"))));
    }
    if found.mode() & 0o077 != 0 && !found.is_dir() {
        let what = format!(
            "{place} has mode {:03o}, others could read or change mail",
            found.mode() & 0o777
        );
        tell(Told::Finding(Finding::new("files", what, "chmod 600 it")));
    }
    Ok(())
}

fn check_ballast(directory: &Path, tell: &mut dyn FnMut(Told)) -> Result<(), OpenError> {
    let found = look(&ballast_path(directory))?;
    let is_there = found.is_some_and(|found| found.len() > 0 && found.blocks().saturating_mul(512) >= found.len());
    if !is_there {
        let what = "the ballast is missing: on a full disk nothing could be removed from the queue";
        let remedy = "make room; the running relay makes it anew";
        tell(Told::Finding(Finding::new("ballast", what, remedy)));
    }
    Ok(())
}

/// Every data file has its row, its place, its owner and its mode.
pub(super) fn check_data(
    directory: &Path,
    connection: &Connection,
    condition: Condition,
    sum: &mut Sum,
    tell: &mut dyn FnMut(Told),
) -> rusqlite::Result<()> {
    let mut orphans = Vec::new();
    let walked = walk(directory, condition, tell, |id, tell| {
        sum.files += 1;
        if is_orphan(directory, connection, id)? {
            orphans.push(id);
            if orphans.len() >= AT_ONCE {
                name_orphans(directory, connection, condition, std::mem::take(&mut orphans), tell)?;
            }
        }
        Ok(())
    })?;
    if let Err(error) = walked {
        let remedy = "look at the disk and at the directory's owner";
        tell(Told::Finding(Finding::new("files", error.to_string(), remedy)));
    }
    name_orphans(directory, connection, condition, orphans, tell)
}

/// Visits the data files; the inner error is the file system's.
fn walk(
    directory: &Path,
    condition: Condition,
    tell: &mut dyn FnMut(Told),
    mut visit: impl FnMut(QueueId, &mut dyn FnMut(Told)) -> rusqlite::Result<()>,
) -> rusqlite::Result<Result<(), OpenError>> {
    let owner = fs::metadata(directory).map_or(0, |found| found.uid());
    let root = directory.join("data");
    let shelves = (0..=255).map(|number| format!("{number:02x}"));
    for shelf in shelves.chain([String::from("incoming")]) {
        let shelf = root.join(shelf);
        let entries = match fs::read_dir(&shelf) {
            Ok(entries) => entries,
            Err(error) => return Ok(Err(OpenError::io(&shelf)(error))),
        };
        for entry in entries {
            let path = match entry {
                Ok(entry) => entry.path(),
                Err(error) => return Ok(Err(OpenError::io(&shelf)(error))),
            };
            if let Err(error) = check_file(&path, owner, tell) {
                return Ok(Err(error));
            }
            let id = path.file_name().and_then(|name| name.to_str()).and_then(QueueId::parse);
            match id {
                Some(id) if data_path(directory, id) == path => visit(id, tell)?,
                Some(_) if shelf.ends_with("incoming") && condition == Condition::Running => {}
                _ => {
                    let what = format!("{} is no mail data of this queue", path.display());
                    tell(Told::Finding(Finding::new("orphan", what, orphan_remedy(&shelf))));
                }
            }
        }
    }
    Ok(Ok(()))
}

fn orphan_remedy(shelf: &Path) -> &'static str {
    if shelf.ends_with("incoming") {
        "it was arriving when the relay ended, nobody was told that it was taken; the next start removes it, or estafette queue verify --repair"
    } else {
        "move it away"
    }
}

fn is_orphan(directory: &Path, connection: &Connection, id: QueueId) -> rusqlite::Result<bool> {
    let has_row = rows::message(connection, id)?.is_some_and(|message| !message.inline);
    Ok(!has_row && data_path(directory, id).exists())
}

/// A running daemon may be about to commit the row, or to remove the file: those are looked at again.
fn name_orphans(
    directory: &Path,
    connection: &Connection,
    condition: Condition,
    mut orphans: Vec<QueueId>,
    tell: &mut dyn FnMut(Told),
) -> rusqlite::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while condition == Condition::Running && !orphans.is_empty() && Instant::now() < deadline {
        std::thread::sleep(PAUSE);
        let mut left = Vec::new();
        for id in orphans {
            if is_orphan(directory, connection, id)? {
                left.push(id);
            }
        }
        orphans = left;
    }
    for id in orphans {
        let what = format!("{} has no row", data_path(directory, id).display());
        let remedy = "the next start removes it, or estafette queue verify --repair on the stopped queue";
        tell(Told::Finding(Finding::of(id, "orphan", what, remedy)));
    }
    Ok(())
}
