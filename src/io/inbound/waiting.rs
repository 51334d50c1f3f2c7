//! What a session waits for beside its peer, and what the peer does meanwhile.
//!
//! **Does not** read the socket: the loop of the session does.

use std::future::{Future, pending};
use std::pin::Pin;
use std::time::{Duration, Instant};

use crate::io::clock;

/// Octets that are read while the session waits for an answer; the rest stays in the kernel.
const READ_AHEAD_OCTETS_MAX: usize = 64 * 1024;
/// How long a peer that has closed its side is taken to wait for the reply to what it said last.
const HALF_CLOSED_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a session looks for the name of its peer for itself and for its filters. A restriction that needs the name waits as
/// long as for any other answer of the DNS.
pub(super) const NAMES_TIME_MAX: Duration = Duration::from_secs(5);

/// An answer under way.
pub(super) type Asking<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What the peer did while the session was waiting.
#[derive(Debug, Default)]
pub(super) struct ReadAhead {
    pub(super) octets: usize,
    /// When a peer that has closed its side is taken for gone.
    pub(super) gone_by: Option<Instant>,
}

impl ReadAhead {
    /// Whether more is read.
    pub(super) fn has_room(&self) -> bool {
        self.gone_by.is_none() && self.octets < READ_AHEAD_OCTETS_MAX
    }

    /// The peer has closed its side. What it said before that may still be answered.
    pub(super) fn end(&mut self) {
        self.gone_by = clock::now().monotonic.checked_add(HALF_CLOSED_TIME_MAX);
    }
}

/// The answer, when one is under way.
pub(super) async fn told<T>(asking: &mut Option<Asking<T>>) -> T {
    match asking {
        Some(asking) => asking.as_mut().await,
        None => pending().await,
    }
}
