//! The thread that writes the journal: it alone waits for the disk.
//!
//! **Implements** that a full disk keeps its last blocks for the queue: while the queue's ballast is given up, records
//! are dropped.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::sys::statvfs::statvfs;

use super::segments::Segments;
use crate::io::store::{RESERVE_OCTETS, ballast_path};
use crate::observe::log;

/// How long records are gathered: a write for each would cost more than the record.
const GATHER: Duration = Duration::from_millis(5);
/// Octets written together at most; a longer record is written alone.
const GATHERED_OCTETS_MAX: usize = 64 << 10;
/// Without a record for this long, a burst of losses is over.
const BURST_PAUSE: Duration = Duration::from_secs(1);
/// A burst without an end is told this often.
const BURST_MAX: Duration = Duration::from_secs(300);

/// What the sessions and the thread both count.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Octets handed over and not yet written.
    pub(super) waiting_octets: AtomicU64,
    /// Records lost and not yet told.
    pub(super) lost: AtomicU64,
}

/// The state of the thread.
pub(super) struct Writer {
    segments: Segments,
    queue_directory: PathBuf,
    octets_max: u64,
    tally: Arc<Tally>,
    /// Since when records are being lost.
    burst_since: Option<Instant>,
    /// Whether this burst's failure is logged.
    is_failure_told: bool,
}

impl Writer {
    pub(super) fn new(segments: Segments, queue_directory: &Path, octets_max: u64, tally: Arc<Tally>) -> Self {
        Self {
            segments,
            queue_directory: queue_directory.to_owned(),
            octets_max,
            tally,
            burst_since: None,
            is_failure_told: false,
        }
    }

    /// Writes lines until the last sender is gone: what comes within [`GATHER`] of the first is written together.
    pub(super) fn run(mut self, lines: &Receiver<String>) {
        loop {
            let next = if self.burst_since.is_some() {
                lines.recv_timeout(BURST_PAUSE)
            } else {
                lines.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            match next {
                Ok(line) => {
                    // A refusal ends the wait.
                    std::thread::park_timeout(GATHER);
                    self.write_gathered(line, lines);
                    self.watch_losses();
                }
                Err(RecvTimeoutError::Timeout) => self.end_burst(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if let Err(error) = self.segments.sync() {
            self.tell_failure(&error);
        }
        self.end_burst();
    }

    fn write_gathered(&mut self, first: String, lines: &Receiver<String>) {
        let at_most = self.segments.file_octets_max().min(GATHERED_OCTETS_MAX);
        let mut gathered = first;
        let mut count = 1;
        while gathered.len() < at_most
            && let Ok(line) = lines.try_recv()
        {
            if gathered.len().saturating_add(line.len()) > at_most {
                self.write(&gathered, count);
                gathered.clear();
                count = 0;
            }
            gathered.push_str(&line);
            count += 1;
        }
        self.write(&gathered, count);
    }

    fn write(&mut self, lines: &str, count: u64) {
        let written = if self.has_room() {
            self.segments.append(lines.as_bytes())
        } else {
            let why = "the disk is full, and what is free is kept for the queue";
            Err(io::Error::new(io::ErrorKind::StorageFull, why))
        };
        if let Err(error) = written {
            self.tally.lost.fetch_add(count, Ordering::Relaxed);
            self.tell_failure(&error);
        }
        self.tally
            .waiting_octets
            .fetch_sub(lines.len() as u64, Ordering::Relaxed);
    }

    /// While the ballast of the queue is missing, its blocks are free only so that deletes can commit. On a disk that
    /// never had room for it, there must be plenty.
    fn has_room(&self) -> bool {
        ballast_path(&self.queue_directory).exists()
            || statvfs(&self.queue_directory).is_ok_and(|found| {
                let free = found.blocks_available() * found.fragment_size();
                free >= RESERVE_OCTETS.saturating_add(self.octets_max)
            })
    }

    fn tell_failure(&mut self, error: &io::Error) {
        if !self.is_failure_told {
            self.is_failure_told = true;
            log::journal_failed(&error.to_string());
        }
    }

    fn watch_losses(&mut self) {
        if self.tally.lost.load(Ordering::Relaxed) == 0 {
            return;
        }
        let since = *self.burst_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= BURST_MAX {
            self.end_burst();
        }
    }

    fn end_burst(&mut self) {
        self.burst_since = None;
        self.is_failure_told = false;
        let lost = self.tally.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            log::journal_overflowed(lost);
        }
    }
}
