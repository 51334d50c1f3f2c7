//! Free space, and whether the file system keeps what it promises.
//!
//! **Implements** the mark of `queue_minfree`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::from_io;
use crate::queue::StoreError;
use nix::sys::statfs::{NFS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, statfs};
use nix::sys::statvfs::statvfs;

/// How long one answer of the file system is believed.
const BELIEVED: Duration = Duration::from_secs(1);

/// Free space of the queue's file system, asked at most once a second.
#[derive(Debug)]
pub(super) struct FreeSpace {
    directory: PathBuf,
    minfree_octets: u64,
    mark_octets: u64,
    ballast_missing_octets: AtomicU64,
    over_quota: AtomicBool,
    last: Mutex<Option<(Instant, u64)>>,
}

impl FreeSpace {
    /// The mark is `minfree` octets, or one and a half times the largest message when that is more.
    pub(super) fn new(directory: &Path, minfree_octets: u64, message_octets_max: u64) -> Self {
        let messages = message_octets_max.saturating_add(message_octets_max / 2);
        Self {
            directory: directory.to_owned(),
            minfree_octets,
            mark_octets: minfree_octets.max(messages),
            ballast_missing_octets: AtomicU64::new(0),
            over_quota: AtomicBool::new(false),
            last: Mutex::new(None),
        }
    }

    /// Whether the mark is free, and what the ballast lacks with it: blocks freed for deletes are not for new mail.
    /// An error of the system counts as no.
    pub(super) fn is_above_mark(&self) -> bool {
        let ballast = self.ballast_missing_octets.load(Ordering::Relaxed);
        self.octets() >= self.mark_octets.saturating_add(ballast)
    }

    /// The largest message that fits, octets: one and a half times as much is free beyond `queue_minfree`. 0 below the mark.
    pub(super) fn room_octets(&self) -> u64 {
        if !self.is_above_mark() {
            return 0;
        }
        let ballast = self.ballast_missing_octets.load(Ordering::Relaxed);
        let kept = self.minfree_octets.saturating_add(ballast);
        // In thirds, so that no number is too large.
        self.octets().saturating_sub(kept) / 3 * 2
    }

    /// Whether the ballast was given up and there is no room to make it anew: what is free is for deletes. Asks the
    /// file system each time while the ballast is missing, since a second is enough to fill what is left.
    pub(super) fn is_exhausted(&self) -> bool {
        let is_missing = self.ballast_missing_octets.load(Ordering::Relaxed) > 0;
        if is_missing {
            self.ask_anew();
        }
        is_missing && (self.over_quota.load(Ordering::Relaxed) || !self.is_above_mark())
    }

    /// Says that a quota, which the free space of the file system does not show, is used up; until there is a ballast again.
    pub(super) fn set_over_quota(&self, is_over: bool) {
        self.over_quota.store(is_over, Ordering::Relaxed);
    }

    /// Says what the ballast lacks now.
    pub(super) fn set_ballast_missing(&self, octets: u64) {
        self.ballast_missing_octets.store(octets, Ordering::Relaxed);
        self.ask_anew();
    }

    /// Forgets the last answer: blocks were taken or given back.
    pub(super) fn ask_anew(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn octets(&self) -> u64 {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some((at, octets)) = *last
            && now.duration_since(at) < BELIEVED
        {
            return octets;
        }
        let octets = statvfs(&self.directory).map_or(0, |found| found.blocks_available() * found.fragment_size());
        *last = Some((now, octets));
        octets
    }
}

/// Octets of the whole file system, used or free; in whole MiB.
pub(super) fn total_octets(directory: &Path) -> u64 {
    let octets = statvfs(directory).map_or(0, |found| found.blocks() * found.fragment_size());
    octets & !0xf_ffff
}

/// Octets written to find out whether any can be.
const PROBE_OCTETS: usize = 64 * 1024;

/// Whether nothing more can be written beside the database for want of space or quota.
pub(super) fn is_over_quota(database: &Path) -> bool {
    let probe = database.with_file_name("probe");
    let written = fs::write(&probe, vec![0; PROBE_OCTETS]);
    let _ = fs::remove_file(&probe);
    written.is_err_and(|error| from_io(&error) == StoreError::NoSpace)
}

/// A warning in words when the file system does not keep fsync's promise.
pub(super) fn durability_warning(directory: &Path) -> Option<String> {
    let kind = statfs(directory).ok()?.filesystem_type();
    let why = if kind == TMPFS_MAGIC {
        "tmpfs: everything queued is gone after a restart of the machine"
    } else if kind == OVERLAYFS_SUPER_MAGIC {
        "overlay: whether fsync reaches a disk depends on its upper layer, and the queue goes with the container"
    } else if kind == NFS_SUPER_MAGIC {
        "NFS: a server that exports async forgets acknowledged mail in a power cut, and locks may not hold"
    } else {
        return None;
    };
    Some(format!(
        "queue_directory {} lies on {why}; put it on a local disk",
        directory.display()
    ))
}
