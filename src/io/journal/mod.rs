//! The decision journal: what was decided on whom and why, kept on disk within a bound.
//!
//! **Implements** `decision_journal_size_limit` and what `estafette why` searches: lines of JSON in
//! `queue_directory/journal`, appended by a thread of its own. What was written survives a killed daemon;
//! a refusal is written at once, other records within some 5 ms.
//! **Does not** force records to the disk one by one: a power cut may lose the last seconds.

pub mod reader;
mod segments;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};

use segments::Segments;
use writer::{Tally, Writer};

use crate::observe::decision::{Decision, VerdictWord};
use crate::observe::decision_line;
use crate::session::event::Event;
use crate::time::Timestamp;

/// Records that may wait for the thread.
const WAITING_MAX: usize = 8_192;
/// Octets that may wait for the thread.
const WAITING_OCTETS_MAX: u64 = 8 << 20;
/// The longest record, octets.
const RECORD_OCTETS_MAX: usize = 64 << 10;

/// The journal of a running daemon.
#[derive(Debug)]
pub struct Journal {
    lines: Mutex<Option<SyncSender<String>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    tally: Arc<Tally>,
    record_octets_max: usize,
    writer: Thread,
}

/// Where the journal of a queue directory lies.
pub fn directory(queue_directory: &Path) -> PathBuf {
    queue_directory.join("journal")
}

/// Removes a journal that is not wanted any more (`decision_journal_size_limit = 0`).
///
/// # Errors
/// The system's; that there is none is not one.
pub fn remove(queue_directory: &Path) -> io::Result<()> {
    segments::remove_all(&directory(queue_directory))
}

impl Journal {
    /// Opens the journal of a queue directory, or makes it; `octets_max` bounds all of its files together. The caller
    /// holds the lock of the queue directory: there is one writer.
    ///
    /// # Errors
    /// The directory or a file cannot be made or written.
    pub fn open(queue_directory: &Path, octets_max: u64) -> io::Result<Arc<Self>> {
        let segments = Segments::open(&directory(queue_directory), octets_max)?;
        let tally = Arc::new(Tally::default());
        let (lines, waiting) = sync_channel(WAITING_MAX);
        let writer = Writer::new(segments, queue_directory, octets_max, Arc::clone(&tally));
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || writer.run(&waiting))?;
        let record_octets_max = usize::try_from(octets_max).unwrap_or(usize::MAX).min(RECORD_OCTETS_MAX);
        Ok(Arc::new(Self {
            lines: Mutex::new(Some(lines)),
            writer: thread.thread().clone(),
            thread: Mutex::new(Some(thread)),
            tally,
            record_octets_max,
        }))
    }

    /// Records a decision; other events are passed over. Never waits for the disk: a journal that cannot keep up loses
    /// records and says so in the log.
    pub fn record(&self, event: &Event, at: Timestamp) {
        let Some(decision) = Decision::of(event, at) else {
            return;
        };
        let line = decision_line::to_line(&decision, self.record_octets_max);
        // The client that was refused may ask at once why.
        let is_pressing = decision.verdict != VerdictWord::Permit;
        if !line.is_some_and(|line| self.hand_over(line)) {
            self.tally.lost.fetch_add(1, Ordering::Relaxed);
        }
        if is_pressing {
            self.writer.unpark();
        }
    }

    /// Whether the thread will write the line.
    fn hand_over(&self, line: String) -> bool {
        let octets = line.len() as u64;
        let waiting = self.tally.waiting_octets.fetch_add(octets, Ordering::Relaxed);
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let is_taken = waiting.saturating_add(octets) <= WAITING_OCTETS_MAX
            && lines.as_ref().is_some_and(|lines| lines.try_send(line).is_ok());
        if !is_taken {
            self.tally.waiting_octets.fetch_sub(octets, Ordering::Relaxed);
        }
        is_taken
    }

    /// Writes what waits, forces it to the disk and ends the thread; what is recorded later is lost. Waits for the disk.
    pub fn close(&self) {
        drop(self.lines.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
