//! Recipients that are done, written down before their deletion is tried.
//!
//! When the next hop has said 250 and the database cannot commit that, the file keeps a restart from sending the
//! message again. Replaying a line whose recipient is gone already does nothing: ids are never used twice.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::mail::queue_id::QueueId;

/// A recipient: its message and its number in it.
pub(super) type Done = (QueueId, u32);

/// The open file.
#[derive(Debug)]
pub(super) struct DoneLog {
    file: File,
    is_empty: bool,
}

impl DoneLog {
    /// Opens the log and reads what a former process left; a line that is not whole is skipped.
    pub(super) fn open(directory: &Path) -> io::Result<(Self, Vec<Done>)> {
        let path = directory.join("done.log");
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        let text = fs::read(&path)?;
        let left = text
            .split_inclusive(|octet| *octet == b'\n')
            .filter_map(parse)
            .collect();
        let is_empty = text.is_empty();
        Ok((Self { file, is_empty }, left))
    }

    /// Writes the recipients down. Survives the end of the process; a power cut only after [`DoneLog::sync`].
    pub(super) fn append(&mut self, done: &[Done]) -> io::Result<()> {
        if done.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        for (id, number) in done {
            writeln!(lines, "{id} {number}")?;
        }
        self.is_empty = false;
        self.file.write_all(&lines)
    }

    /// Makes what was written survive a power cut; called when the commit failed.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Forgets everything: it is committed.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        if !self.is_empty {
            self.file.set_len(0)?;
            self.is_empty = true;
        }
        Ok(())
    }
}

/// Whole lines that cannot be read; a last line without its end is only torn, or about to be written.
pub(super) fn unreadable_lines(path: &Path) -> io::Result<usize> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        read => read?,
    };
    let lines = text.split_inclusive(|octet| *octet == b'\n');
    let whole = lines.filter(|line| line.ends_with(b"\n"));
    Ok(whole.filter(|line| parse(line).is_none()).count())
}

fn parse(line: &[u8]) -> Option<Done> {
    let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (id, number) = line.split_once(' ')?;
    Some((QueueId::parse(id)?, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_written_are_read_back_and_torn_ones_skipped() {
        let directory = tempfile::tempdir().unwrap();
        let id = QueueId::from_parts(1_800_000_000_000, 1);
        let (mut log, left) = DoneLog::open(directory.path()).unwrap();
        assert!(left.is_empty());
        log.append(&[(id, 0), (id, 12)]).unwrap();
        log.file.write_all(format!("\0\0\n{id} 1").as_bytes()).unwrap();
        let (mut log, left) = DoneLog::open(directory.path()).unwrap();
        assert_eq!(left, [(id, 0), (id, 12)]);
        log.clear().unwrap();
        assert!(DoneLog::open(directory.path()).unwrap().1.is_empty());
    }
}
