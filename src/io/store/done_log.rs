//! Recipients that are done, written down before their deletion is committed.
//!
//! When the next hop has said 250 and the database has not committed that yet, the file keeps a restart from sending the
//! message again. Replaying a line whose recipient is gone already does nothing: ids are never used twice. A line costs
//! one write(2) and survives the end of the process, not a power cut.
//!
//! A recipient of which the sender is still to be told is marked: it is not replayed, but kept here until its notification is
//! committed with its deletion.
//!
//! The file is cut when nothing in it is open, and written anew with what is open when it grows long.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::mail::queue_id::QueueId;

/// A recipient: its message and its number in it.
pub(super) type Done = (QueueId, u32);

/// Octets past which the file is written anew.
const LENGTH_MAX: u64 = 1024 * 1024;
/// Follows the number of a recipient that is still to be reported.
const UNREPORTED: &str = " unreported";
/// Ends a line that is not whole, so that it is none.
const TORN: &[u8] = b"#\n";

/// The open file.
#[derive(Debug)]
pub(super) struct DoneLog {
    path: PathBuf,
    file: File,
    length: u64,
    /// Past this length it is written anew.
    renew_at: u64,
    /// The last line may not be whole: it must neither swallow the next one nor be taken for another recipient.
    is_torn: bool,
    /// Written down and not committed.
    open: HashSet<Done>,
    /// Those of them whose sender is still to be told.
    unreported: HashSet<Done>,
}

impl DoneLog {
    /// Opens the log and reads what a former process left; a line that is not whole is skipped. What is still to be reported
    /// stays, and is not returned.
    pub(super) fn open(directory: &Path) -> io::Result<(Self, Vec<Done>)> {
        let path = directory.join("done.log");
        let file = open_at(&path)?;
        let text = fs::read(&path)?;
        let (unreported, left): (Vec<_>, Vec<_>) = text
            .split_inclusive(|octet| *octet == b'\n')
            .filter_map(parse)
            .partition(|(_, is_unreported)| *is_unreported);
        let left: Vec<Done> = left.into_iter().map(|(done, _)| done).collect();
        let unreported: HashSet<Done> = unreported.into_iter().map(|(done, _)| done).collect();
        let log = Self {
            path,
            file,
            length: text.len() as u64,
            renew_at: LENGTH_MAX,
            is_torn: text.last().is_some_and(|last| *last != b'\n'),
            open: left.iter().chain(&unreported).copied().collect(),
            unreported,
        };
        Ok((log, left))
    }

    /// Writes recipients down that are not yet, by one write. Survives the end of the process; a power cut only after
    /// [`DoneLog::sync`].
    pub(super) fn append(&mut self, done: impl Iterator<Item = Done>) -> io::Result<()> {
        self.write(done, "")
    }

    /// As [`DoneLog::append`], for recipients whose sender is still to be told.
    pub(super) fn append_unreported(&mut self, done: impl Iterator<Item = Done> + Clone) -> io::Result<()> {
        self.write(done.clone(), UNREPORTED)?;
        self.unreported.extend(done);
        Ok(())
    }

    fn write(&mut self, done: impl Iterator<Item = Done>, mark: &str) -> io::Result<()> {
        let new: Vec<Done> = done.filter(|done| !self.open.contains(done)).collect();
        if new.is_empty() {
            return Ok(());
        }
        if self.length > self.renew_at {
            self.renew()?;
        }
        let mut lines = Vec::new();
        if self.is_torn {
            lines.extend(TORN);
        }
        write_lines(&mut lines, new.iter(), mark)?;
        self.is_torn = true;
        self.file.write_all(&lines)?;
        self.is_torn = false;
        self.length += lines.len() as u64;
        self.open.extend(new);
        Ok(())
    }

    /// Whether the recipient is written down and not committed.
    pub(super) fn is_open(&self, done: Done) -> bool {
        self.open.contains(&done)
    }

    /// Whether its sender is still to be told.
    pub(super) fn is_unreported(&self, done: Done) -> bool {
        self.unreported.contains(&done)
    }

    /// Those whose sender is still to be told.
    pub(super) fn unreported(&self) -> Vec<Done> {
        self.unreported.iter().copied().collect()
    }

    /// The recipients of a message that are written down and have nothing to be told. Looks at all: for what is rare.
    pub(super) fn open_of(&self, id: QueueId) -> Vec<u32> {
        let its_own = self
            .open
            .iter()
            .filter(|done| done.0 == id && !self.is_unreported(**done));
        its_own.map(|(_, number)| *number).collect()
    }

    /// Whether nothing is.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Makes what was written survive a power cut; called when the commit failed.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// These are committed. A log that holds nothing else is cut.
    pub(super) fn committed(&mut self, done: impl Iterator<Item = Done>) -> io::Result<()> {
        for done in done {
            self.open.remove(&done);
            self.unreported.remove(&done);
        }
        if self.open.is_empty() && self.length > 0 {
            self.file.set_len(0)?;
            self.length = 0;
            self.is_torn = false;
            self.renew_at = LENGTH_MAX;
        }
        Ok(())
    }

    /// Writes the file anew with what is open. It takes the old one's place whole, or not at all.
    fn renew(&mut self) -> io::Result<()> {
        let new = self.path.with_extension("new");
        // What a failure left of it is of no use.
        let _ = fs::remove_file(&new);
        let mut file = open_at(&new)?;
        let mut lines = Vec::new();
        let plain = self.open.iter().filter(|done| !self.is_unreported(**done));
        write_lines(&mut lines, plain, "")?;
        write_lines(&mut lines, self.unreported.iter(), UNREPORTED)?;
        file.write_all(&lines)?;
        fs::rename(&new, &self.path)?;
        self.file = file;
        self.is_torn = false;
        self.length = lines.len() as u64;
        // With much open, each renewal would have little effect.
        self.renew_at = LENGTH_MAX.max(self.length * 2);
        Ok(())
    }
}

fn open_at(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn write_lines<'a>(lines: &mut Vec<u8>, done: impl Iterator<Item = &'a Done>, mark: &str) -> io::Result<()> {
    for (id, number) in done {
        writeln!(lines, "{id} {number}{mark}")?;
    }
    Ok(())
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

/// A recipient, and whether its sender is still to be told.
fn parse(line: &[u8]) -> Option<(Done, bool)> {
    let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (line, is_unreported) = line.strip_suffix(UNREPORTED).map_or((line, false), |line| (line, true));
    let (id, number) = line.split_once(' ')?;
    Some(((QueueId::parse(id)?, number.parse().ok()?), is_unreported))
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
        log.append([(id, 0), (id, 12)].into_iter()).unwrap();
        log.append([(id, 0)].into_iter()).unwrap();
        log.file.write_all(format!("\0\0\n{id} 1").as_bytes()).unwrap();
        let (mut log, left) = DoneLog::open(directory.path()).unwrap();
        assert_eq!(left, [(id, 0), (id, 12)], "each once");
        log.committed(left.into_iter()).unwrap();
        assert!(DoneLog::open(directory.path()).unwrap().1.is_empty());
    }

    #[test]
    fn line_after_a_torn_one_is_read_and_the_torn_one_names_nobody() {
        let id = |number| QueueId::from_parts(1_800_000_000_000, number);
        let whole = format!("{} 12\n", id(1));
        for octets in 1..whole.len() {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("done.log");
            fs::write(&path, &whole[..octets]).unwrap();
            let (mut log, left) = DoneLog::open(directory.path()).unwrap();
            assert!(left.is_empty());
            log.append([(id(2), 0)].into_iter()).unwrap();
            let (_, left) = DoneLog::open(directory.path()).unwrap();
            assert_eq!(left, [(id(2), 0)], "{:?}", fs::read_to_string(&path));
        }
    }

    #[test]
    fn log_that_could_be_written_only_in_part_goes_on() {
        let id = |number| QueueId::from_parts(1_800_000_000_000, number);
        let directory = tempfile::tempdir().unwrap();
        let (mut log, _) = DoneLog::open(directory.path()).unwrap();
        log.file = OpenOptions::new()
            .read(true)
            .open(directory.path().join("done.log"))
            .unwrap();
        log.append([(id(1), 0)].into_iter()).unwrap_err();
        // What a full disk leaves.
        fs::write(directory.path().join("done.log"), format!("{} 1", id(1))).unwrap();
        log.file = open_at(&directory.path().join("done.log")).unwrap();
        log.append([(id(1), 12), (id(2), 0)].into_iter()).unwrap();
        let (_, left) = DoneLog::open(directory.path()).unwrap();
        assert_eq!(left, [(id(1), 12), (id(2), 0)]);
    }

    #[test]
    fn log_is_cut_when_nothing_is_open_and_renewed_when_it_is_long() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("done.log");
        let id = |number| QueueId::from_parts(1_800_000_000_000, number);
        let (mut log, _) = DoneLog::open(directory.path()).unwrap();
        log.append([(id(0), 0)].into_iter()).unwrap();
        let mut longest = 0;
        for number in 1..100_000 {
            log.append([(id(number), 0)].into_iter()).unwrap();
            log.committed([(id(number), 0)].into_iter()).unwrap();
            longest = longest.max(log.length);
        }
        assert!(longest < LENGTH_MAX + 100, "{longest}");
        assert_eq!(fs::metadata(&path).unwrap().len(), log.length);
        let (_, left) = DoneLog::open(directory.path()).unwrap();
        assert!(left.contains(&(id(0), 0)), "what is open is kept");
        log.committed([(id(0), 0)].into_iter()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
        log.append([(id(5), 1)].into_iter()).unwrap();
        assert_eq!(DoneLog::open(directory.path()).unwrap().1, [(id(5), 1)]);
    }
}
