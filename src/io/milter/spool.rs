//! Content kept until the filters have spoken: in memory while it is small, then in a file that has no name.
//!
//! **Does not** bound its size: the session (`message_size_limit`) and the conversation with a filter do.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::wire::milter::command::BODY_CHUNK_OCTETS;

/// Content of up to so many octets stays in memory.
pub const MEMORY_OCTETS_MAX: usize = 256 * 1024;

/// Octets read at once: what goes to a filter in one packet.
const READ_OCTETS: usize = BODY_CHUNK_OCTETS;

/// Why content cannot be kept or read; the environment's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    /// The disk is full.
    #[error("no space left for content on its way to the filters")]
    NoSpace,
    /// Anything else.
    #[error("content on its way to the filters cannot be kept: {0}")]
    Io(String),
}

impl From<io::Error> for SpoolError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            _ => Self::Io(error.to_string()),
        }
    }
}

/// Content that is appended to and read.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    /// What no file holds yet.
    memory: Vec<u8>,
    file: Option<Arc<File>>,
    /// Octets in the file.
    written: u64,
}

impl Spool {
    /// Nothing yet; a file would be in this directory.
    pub fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            memory: Vec::new(),
            file: None,
            written: 0,
        }
    }

    /// Octets kept.
    pub fn len_octets(&self) -> u64 {
        self.written.saturating_add(self.memory.len() as u64)
    }

    /// Octets in memory.
    pub fn memory_octets(&self) -> usize {
        self.memory.len()
    }

    /// Adds octets. Not cancel-safe: a spool dropped midway is lost, as it is meant.
    ///
    /// # Errors
    /// [`SpoolError`]; the spool is then only fit to be dropped.
    pub async fn append(&mut self, octets: &[u8]) -> Result<(), SpoolError> {
        self.memory.extend_from_slice(octets);
        if self.memory.len() <= MEMORY_OCTETS_MAX {
            return Ok(());
        }
        let octets = std::mem::take(&mut self.memory);
        let (directory, known, offset) = (self.directory.clone(), self.file.clone(), self.written);
        self.written = offset.saturating_add(octets.len() as u64);
        let write = move || -> io::Result<Arc<File>> {
            let file = match known {
                Some(file) => file,
                None => Arc::new(nameless_file(&directory)?),
            };
            file.write_all_at(&octets, offset)?;
            Ok(file)
        };
        self.file = Some(in_background(write).await?);
        Ok(())
    }

    /// A piece from this place on; empty at the end.
    ///
    /// # Errors
    /// [`SpoolError::Io`].
    pub async fn read(&self, offset: u64) -> Result<Vec<u8>, SpoolError> {
        if let Some(file) = self.file.as_ref().filter(|_| offset < self.written) {
            let file = Arc::clone(file);
            let left = usize::try_from(self.written.saturating_sub(offset)).unwrap_or(usize::MAX);
            let read = move || -> io::Result<Vec<u8>> {
                let mut piece = vec![0; left.min(READ_OCTETS)];
                file.read_exact_at(&mut piece, offset)?;
                Ok(piece)
            };
            return in_background(read).await;
        }
        let start = usize::try_from(offset.saturating_sub(self.written)).unwrap_or(usize::MAX);
        let rest = self.memory.get(start..).unwrap_or_default();
        Ok(rest.get(..READ_OCTETS).unwrap_or(rest).to_vec())
    }
}

async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, SpoolError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| SpoolError::Io(error.to_string()))?
        .map_err(SpoolError::from)
}

/// A file that is gone when it is closed, whatever happens to the process.
fn nameless_file(directory: &Path) -> io::Result<File> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    let nameless = options
        .clone()
        .custom_flags(nix::fcntl::OFlag::O_TMPFILE.bits())
        .open(directory);
    if let Ok(file) = nameless {
        return Ok(file);
    }
    // Not every file system has files without names.
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = directory.join(format!("filtering-{}-{number}", std::process::id()));
    let file = options.create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn content_is_read_as_it_was_kept_and_leaves_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(directory.path());
        let mut all = Vec::new();
        for number in 0..40_u8 {
            let piece = vec![number; 20_000];
            spool.append(&piece).await.unwrap();
            all.extend(piece);
        }
        assert_eq!(spool.len_octets(), all.len() as u64);
        assert!(spool.memory.len() <= MEMORY_OCTETS_MAX && spool.file.is_some());
        let mut read = Vec::new();
        loop {
            let piece = spool.read(read.len() as u64).await.unwrap();
            if piece.is_empty() {
                break;
            }
            read.extend(piece);
        }
        assert!(read == all);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
