//! What the writer does between groups: checkpoints, the ballast, destinations without mail.
//!
//! **Does not** write operations.

use std::time::{Duration, Instant};

use super::checkpoint::forget_idle_destinations;
use super::writer::{Failure, Writer};

/// Destinations whose numbers are remembered.
const DESTINATIONS_MAX: usize = 65_536;
/// WAL octets not yet in the database file past which a PASSIVE checkpoint runs.
const PASSIVE_OCTETS: i64 = 8 * 1024 * 1024;
/// WAL octets past which a TRUNCATE checkpoint runs.
const TRUNCATE_OCTETS: i64 = 48 * 1024 * 1024;
/// Octets written after which the length of the WAL is asked for: each costs less than two in the WAL.
const ASK_OCTETS: usize = 1024 * 1024;
/// Octets of a WAL frame: a page and its header.
const FRAME_OCTETS: i64 = 4096 + 24;
/// PASSIVE checkpoints from one sweep of idle destinations to the next.
const CHECKPOINTS_PER_SWEEP: u64 = 64;
/// How long a freed ballast stays freed before it is tried to make it again.
const RESERVE_PAUSE: Duration = Duration::from_secs(5);

impl Writer {
    /// Between groups: checkpoints, and the ballast.
    pub(super) fn maintain(&mut self) {
        if let Err(Failure::Other(text)) = self.checkpoint() {
            self.fail(Vec::new(), &text);
        }
        if self.state.destinations.len() > DESTINATIONS_MAX {
            self.state.destinations.clear();
        }
        let rested = self.state.reserve_freed.is_none_or(|at| at.elapsed() > RESERVE_PAUSE);
        if !self.reserve.is_present() && rested {
            self.state.reserve_freed = Some(Instant::now());
            self.make_reserve();
        }
    }

    /// Makes the ballast anew when there is space for it and for new mail. Not made now, it is tried again.
    fn make_reserve(&mut self) {
        if let Err(Failure::Other(text)) = self.run_checkpoint("TRUNCATE") {
            // The WAL's blocks are space as well.
            return self.fail(Vec::new(), &text);
        }
        self.space.ask_anew();
        if self.space.is_above_mark() && self.reserve.make().is_ok() {
            self.space.set_ballast_missing(0);
            self.space.set_over_quota(false);
        }
    }

    /// Moves the WAL into the database file when it is long. An error counts as one of fsync; being out of space
    /// does not: the WAL is durable and stays.
    fn checkpoint(&mut self) -> Result<(), Failure> {
        if self.state.written <= ASK_OCTETS {
            return Ok(());
        }
        self.state.written = 0;
        let (frames, moved) = self.run_checkpoint("NOOP")?;
        if frames * FRAME_OCTETS > TRUNCATE_OCTETS {
            self.calls.before_commit()?;
            self.run_checkpoint("TRUNCATE")?;
        } else if (frames - moved) * FRAME_OCTETS > PASSIVE_OCTETS {
            self.calls.before_commit()?;
            self.run_checkpoint("PASSIVE")?;
            self.state.checkpoints += 1;
            if self.state.checkpoints.is_multiple_of(CHECKPOINTS_PER_SWEEP)
                && let Some(connection) = &self.connection
            {
                self.calls.before_commit()?;
                let forgotten = forget_idle_destinations(connection, (self.clock)())?;
                let mut schedule = self.shared.schedule();
                for number in forgotten {
                    schedule.forget_destination(number);
                }
                self.state.destinations.clear();
            }
        }
        Ok(())
    }
}
