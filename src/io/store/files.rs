//! Mail data too large for the database: one file per message.
//!
//! A file is written as `data/incoming/ID`, synced, renamed to `data/xx/ID`, and the directory synced, all before its
//! row is committed. A file without a row is an orphan and goes at the next start; a guard removes it earlier when
//! its message is given up.
//!
//! **Does not** know rows. The calls that can lose data go through [`FileCalls`], so that a test can fail the n-th.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::mail::queue_id::QueueId;

/// Octets moved at a time.
pub(super) const PIECE_OCTETS: usize = 64 * 1024;

/// The file operations that durability hangs on.
pub trait FileCalls: Send + Sync + Debug + 'static {
    /// open(2) of a new file.
    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    /// write(2), all of it.
    fn write(&self, file: &mut File, octets: &[u8]) -> io::Result<()> {
        file.write_all(octets)
    }

    /// fdatasync(2).
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    /// rename(2).
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    /// fsync(2) of a directory.
    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    /// Called before each COMMIT; an error counts as one of the commit's own fsync.
    fn before_commit(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The operations of the operating system as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemFiles;

impl FileCalls for SystemFiles {}

/// Where the data of a message lies in a queue directory.
pub(super) fn data_path(queue_directory: &Path, id: QueueId) -> PathBuf {
    queue_directory.join("data").join(shelf_name(id)).join(id.to_string())
}

fn shelf_name(id: QueueId) -> String {
    format!("{:02x}", id.number() & 0xFF)
}

/// The directory `data`.
#[derive(Clone, Debug)]
pub(super) struct DataDirectory {
    root: PathBuf,
    calls: Arc<dyn FileCalls>,
}

impl DataDirectory {
    /// Makes `data` and what is in it where missing, durably.
    pub(super) fn open(queue_directory: &Path, calls: Arc<dyn FileCalls>) -> io::Result<Self> {
        let root = queue_directory.join("data");
        let here = Self { root, calls };
        let shelves = (0..=255).map(|number| here.root.join(format!("{number:02x}")));
        let missing: Vec<PathBuf> = std::iter::once(here.incoming())
            .chain(shelves)
            .filter(|path| !path.is_dir())
            .collect();
        for path in &missing {
            DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        }
        if !missing.is_empty() {
            here.calls.sync_directory(&here.root)?;
            here.calls.sync_directory(queue_directory)?;
        }
        Ok(here)
    }

    /// `data` itself.
    pub(super) fn root(&self) -> PathBuf {
        self.root.clone()
    }

    fn incoming(&self) -> PathBuf {
        self.root.join("incoming")
    }

    fn shelf(&self, id: QueueId) -> PathBuf {
        self.root.join(shelf_name(id))
    }

    /// Where the data of a message lies.
    pub(super) fn path(&self, id: QueueId) -> PathBuf {
        self.shelf(id).join(id.to_string())
    }

    /// A new file for data that is arriving.
    pub(super) fn create(&self, id: QueueId) -> io::Result<PartFile> {
        let path = self.incoming().join(id.to_string());
        let file = self.calls.create(&path)?;
        let guard = DataFile { path, keep: false };
        let directory = self.clone();
        Ok(PartFile {
            id,
            file,
            guard,
            directory,
        })
    }

    /// Removes the data of a message that is settled; a file that is gone already is no matter.
    pub(super) fn remove(&self, id: QueueId) {
        // What cannot be removed is an orphan without a row: the next start removes it.
        let _ = fs::remove_file(self.path(id));
    }

    /// Empties `incoming` and returns the ids that have a file, and how many were in `incoming`.
    pub(super) fn survey(&self) -> io::Result<(BTreeSet<QueueId>, usize)> {
        let mut arriving = 0;
        for entry in fs::read_dir(self.incoming())? {
            fs::remove_file(entry?.path())?;
            arriving += 1;
        }
        let mut ids = BTreeSet::new();
        for number in 0..=255 {
            for entry in fs::read_dir(self.root.join(format!("{number:02x}")))? {
                ids.extend(entry?.file_name().to_str().and_then(QueueId::parse));
            }
        }
        Ok((ids, arriving))
    }

    /// The length and CRC32C of the file of a message.
    pub(super) fn checksum(&self, id: QueueId) -> io::Result<(u64, u32)> {
        let mut file = File::open(self.path(id))?;
        let mut piece = vec![0; PIECE_OCTETS];
        let (mut length, mut crc) = (0, 0);
        loop {
            let read = file.read(&mut piece)?;
            let Some(octets) = piece.get(..read).filter(|octets| !octets.is_empty()) else {
                return Ok((length, crc));
            };
            length += octets.len() as u64;
            crc = crc32c::crc32c_append(crc, octets);
        }
    }

    /// Up to `limit` octets of the file of a message from `offset`.
    pub(super) fn read(&self, id: QueueId, offset: u64, limit: usize, mut room: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.path(id))?;
        file.seek(SeekFrom::Start(offset))?;
        room.clear();
        file.take(limit as u64).read_to_end(&mut room)?;
        Ok(room)
    }
}

/// Data that is arriving; dropped, the file goes.
#[derive(Debug)]
pub(super) struct PartFile {
    id: QueueId,
    file: File,
    guard: DataFile,
    directory: DataDirectory,
}

impl PartFile {
    /// Adds octets.
    pub(super) fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.directory.calls.write(&mut self.file, octets)
    }

    /// Makes the file durable under its final name.
    pub(super) fn finish(mut self) -> Result<DataFile, Unfinished> {
        let calls = &self.directory.calls;
        calls.sync(&self.file).map_err(Unfinished::NotSynced)?;
        let path = self.directory.path(self.id);
        calls.rename(&self.guard.path, &path).map_err(Unfinished::NotRenamed)?;
        self.guard.path = path;
        let shelf = self.directory.shelf(self.id);
        calls.sync_directory(&shelf).map_err(Unfinished::NotSynced)?;
        Ok(self.guard)
    }
}

/// Why a file was not made durable; it is gone.
#[derive(Debug)]
pub(super) enum Unfinished {
    /// It or its directory could not be synced.
    NotSynced(io::Error),
    /// It has no place.
    NotRenamed(io::Error),
}

/// A file without a row so far; dropped before [`DataFile::keep`], it goes.
#[derive(Debug)]
pub(super) struct DataFile {
    path: PathBuf,
    keep: bool,
}

impl DataFile {
    /// Its row is committed (or may be): the file stays.
    pub(super) fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for DataFile {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed is an orphan without a row: the next start removes it.
            let _ = fs::remove_file(&self.path);
        }
    }
}
