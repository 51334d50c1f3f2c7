//! The files of the journal: appended to in turn, the oldest deleted to keep within the bound.
//!
//! **Implements** names that sort by age, mode 0600, and an append that is whole or not there: after a failure the file
//! is cut back, and where that fails too the next record begins on a line of its own.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The largest file; also what a reader takes into memory at once.
pub(super) const SEGMENT_OCTETS_MAX: u64 = 8 << 20;
/// How many files share the bound, so that a part of the history goes at a time.
const SEGMENTS: u64 = 8;
/// Files are not smaller than this, unless the bound is.
const SEGMENT_OCTETS_MIN: u64 = 64 << 10;
const SUFFIX: &str = ".jsonl";

/// The files, and the one that is appended to.
#[derive(Debug)]
pub(super) struct Segments {
    directory: PathBuf,
    octets_max: u64,
    segment_octets_max: u64,
    /// Numbers and sizes of the closed ones, oldest first.
    closed: Vec<(u64, u64)>,
    current: Current,
}

#[derive(Debug)]
struct Current {
    number: u64,
    file: File,
    octets: u64,
    /// Whether the last line has no end.
    is_torn: bool,
}

impl Segments {
    /// Opens the directory, or makes it, and deletes what is beyond the bound.
    pub(super) fn open(directory: &Path, octets_max: u64) -> io::Result<Self> {
        make_directory(directory)?;
        let mut closed = Vec::new();
        for number in numbers(directory)? {
            closed.push((number, fs::metadata(path(directory, number))?.len()));
        }
        let segment_octets_max = (octets_max / SEGMENTS)
            .clamp(SEGMENT_OCTETS_MIN, SEGMENT_OCTETS_MAX)
            .min(octets_max);
        let last = closed.pop_if(|(_, octets)| *octets < segment_octets_max);
        let next = closed.last().map_or(1, |(number, _)| number.saturating_add(1));
        let current = Current::open(directory, last.map_or(next, |(number, _)| number))?;
        let mut segments = Self {
            directory: directory.to_owned(),
            octets_max,
            segment_octets_max,
            closed,
            current,
        };
        segments.make_room(0);
        Ok(segments)
    }

    /// Appends whole lines; on an error nothing of them is left. The bound holds before and after.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let octets = lines.len() as u64 + u64::from(self.current.is_torn);
        // Somebody removed the file: what is appended to it would be gone.
        let is_gone = self.current.file.metadata().is_ok_and(|found| found.nlink() == 0);
        if is_gone || (self.current.octets > 0 && self.current.octets.saturating_add(octets) > self.segment_octets_max)
        {
            self.rotate()?;
        }
        self.make_room(octets);
        self.current.append(lines)
    }

    /// How large a file becomes, octets, unless a single record is larger.
    pub(super) fn file_octets_max(&self) -> usize {
        usize::try_from(self.segment_octets_max).unwrap_or(usize::MAX)
    }

    /// Forces what was appended to the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.current.file.sync_data()
    }

    fn rotate(&mut self) -> io::Result<()> {
        make_directory(&self.directory)?;
        let next = Current::open(&self.directory, self.current.number.saturating_add(1))?;
        let last = std::mem::replace(&mut self.current, next);
        self.closed.push((last.number, last.octets));
        Ok(())
    }

    /// Deletes the oldest files until so many more octets are within the bound. One that cannot be deleted is not
    /// counted any more: the next start finds it again.
    fn make_room(&mut self, octets: u64) {
        let wanted = self.current.octets.saturating_add(octets);
        while !self.closed.is_empty() {
            let closed: u64 = self.closed.iter().map(|(_, octets)| octets).sum();
            if closed.saturating_add(wanted) <= self.octets_max {
                break;
            }
            let (number, _) = self.closed.remove(0);
            let _ = fs::remove_file(path(&self.directory, number));
        }
    }
}

impl Current {
    fn open(directory: &Path, number: u64) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path(directory, number))?;
        let octets = file.seek(SeekFrom::End(0))?;
        let mut last = [b'\n'];
        if octets > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        Ok(Self {
            number,
            file,
            octets,
            is_torn: last != *b"\n",
        })
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let mut octets = Vec::with_capacity(line.len() + 1);
        if self.is_torn {
            octets.push(b'\n');
        }
        octets.extend_from_slice(line);
        match self.file.write_all(&octets) {
            Ok(()) => {
                self.octets += octets.len() as u64;
                self.is_torn = false;
                Ok(())
            }
            Err(error) => {
                if self.file.set_len(self.octets).is_err() {
                    self.is_torn = true;
                    self.octets = self.file.metadata().map_or(self.octets, |found| found.len());
                }
                Err(error)
            }
        }
    }
}

fn make_directory(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// The numbers of the files of a journal, oldest first; other files are not looked at.
pub(super) fn numbers(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()));
        numbers.extend(digits.and_then(|digits| digits.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The file with this number.
pub(super) fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:010}{SUFFIX}"))
}

/// Deletes every file of a journal, and the directory when nothing else is in it.
pub(super) fn remove_all(directory: &Path) -> io::Result<()> {
    let numbers = match numbers(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        numbers => numbers?,
    };
    for number in numbers {
        fs::remove_file(path(directory, number))?;
    }
    // A file that is not ours keeps it.
    let _ = fs::remove_dir(directory);
    Ok(())
}
