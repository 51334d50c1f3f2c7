//! Log lines on their way to standard error: gathered for a moment and written together.
//!
//! A write for each line would cost more than the line itself. Warnings and errors, and what stands before them, are
//! written at once.
//!
//! **Does not** lose lines to a slow reader: the caller waits once `WAITING_OCTETS_MAX` octets wait. A killed process loses
//! the lines of the last 5 ms.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// How long lines are gathered.
const GATHER: Duration = Duration::from_millis(5);
/// Octets that may wait to be written.
const WAITING_OCTETS_MAX: usize = 1 << 20;

/// Where lines go. Clones share one queue of lines.
#[derive(Clone, Default)]
pub struct LogWriter {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    /// Held while lines are written, so that they keep their order.
    output: Mutex<Vec<u8>>,
}

#[derive(Default)]
struct Waiting {
    octets: Vec<u8>,
    is_closed: bool,
}

/// Writes what waits when it is dropped.
pub struct LogGuard(Arc<Shared>);

impl LogWriter {
    /// Starts the thread that writes. Lines written after the guard is dropped go straight through.
    pub fn start() -> (Self, LogGuard) {
        let shared = Arc::<Shared>::default();
        let writer = Arc::clone(&shared);
        let started = thread::Builder::new().name("log".into()).spawn(move || writer.run());
        if started.is_err() {
            shared.waiting().is_closed = true;
        }
        let guard = LogGuard(Arc::clone(&shared));
        (Self { shared }, guard)
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.0.waiting().is_closed = true;
        self.0.arrived.notify_one();
        self.0.flush();
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        loop {
            let mut waiting = self.waiting();
            while waiting.octets.is_empty() && !waiting.is_closed {
                waiting = self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            let is_closed = waiting.is_closed;
            drop(waiting);
            if is_closed {
                return;
            }
            thread::sleep(GATHER);
            self.flush();
        }
    }

    /// Writes what waits. Nothing can be done about an error: standard error is where it would be told.
    fn flush(&self) {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut self.waiting().octets, &mut output);
        let _ = io::stderr().lock().write_all(&output);
        output.clear();
    }

    fn add(&self, line: &[u8], is_urgent: bool) {
        let mut waiting = self.waiting();
        let is_first = waiting.octets.is_empty();
        waiting.octets.extend_from_slice(line);
        let is_pressing = is_urgent || waiting.is_closed || waiting.octets.len() > WAITING_OCTETS_MAX;
        drop(waiting);
        if is_pressing {
            self.flush();
        } else if is_first {
            self.arrived.notify_one();
        }
    }
}

/// Takes one line.
pub struct Line<'a> {
    shared: &'a Shared,
    is_urgent: bool,
}

impl Write for Line<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.shared.add(octets, self.is_urgent);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            shared: &self.shared,
            is_urgent: false,
        }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line<'a> {
        Line {
            shared: &self.shared,
            is_urgent: *metadata.level() <= Level::WARN,
        }
    }
}
