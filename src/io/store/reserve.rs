//! The ballast file: real blocks that are freed when the disk is full, so that deletes can still commit.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::posix_fallocate;

/// Octets of ballast unless the store is opened with another number.
pub const RESERVE_OCTETS: u64 = 64 * 1024 * 1024;

/// Where the ballast of a queue directory lies. While it is missing, what is free on the disk is for deletes.
pub fn ballast_path(directory: &Path) -> PathBuf {
    directory.join("reserve")
}

/// The ballast.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    octets: u64,
    present: bool,
}

impl Reserve {
    /// Finds the ballast in `directory`, or says that it is to be made.
    pub(super) fn find(directory: &Path, octets: u64) -> Self {
        let path = ballast_path(directory);
        let present = fs::metadata(&path).is_ok_and(|found| found.len() == octets);
        Self { path, octets, present }
    }

    /// Whether the ballast is there (a ballast of nothing always is).
    pub(super) const fn is_present(&self) -> bool {
        self.present || self.octets == 0
    }

    /// Octets still to be allocated.
    pub(super) const fn missing_octets(&self) -> u64 {
        if self.is_present() { 0 } else { self.octets }
    }

    /// Allocates the ballast. On an error nothing of it is left.
    pub(super) fn make(&mut self) -> io::Result<()> {
        if self.is_present() {
            return Ok(());
        }
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&self.path)?;
        let length = i64::try_from(self.octets).unwrap_or(i64::MAX);
        if let Err(errno) = posix_fallocate(&file, 0, length) {
            self.free();
            return Err(errno.into());
        }
        self.present = true;
        Ok(())
    }

    /// Gives the blocks back to the file system.
    pub(super) fn free(&mut self) {
        // A ballast that cannot be removed frees nothing; the caller's retry then fails as it would have.
        let _ = fs::remove_file(&self.path);
        self.present = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ballast_is_made_of_real_blocks_and_freed() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        let mut reserve = Reserve::find(directory.path(), 1 << 20);
        assert_eq!(reserve.missing_octets(), 1 << 20);
        reserve.make().unwrap();
        let blocks = fs::metadata(directory.path().join("reserve")).unwrap().blocks();
        assert!(blocks * 512 >= 1 << 20);
        assert!(Reserve::find(directory.path(), 1 << 20).is_present());
        reserve.free();
        assert!(!directory.path().join("reserve").exists());
    }
}
