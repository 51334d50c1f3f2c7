//! New queue ids: strictly increasing within the process and above everything stored.

use std::hash::{BuildHasher, Hasher};
use std::sync::{Mutex, PoisonError};

use crate::mail::queue_id::QueueId;
use crate::time::Timestamp;

/// Makes queue ids.
#[derive(Debug)]
pub(super) struct IdMaker {
    last: Mutex<(QueueId, u32)>,
}

impl IdMaker {
    /// Ids above `largest`. The number within a millisecond starts at random, so that a process started anew with
    /// an empty queue and a clock set back does not repeat an id.
    pub(super) fn above(largest: QueueId) -> Self {
        let random = std::hash::RandomState::new().build_hasher().finish();
        let start = u32::try_from(random & 0xF_FFFF).unwrap_or_default();
        Self {
            last: Mutex::new((largest, start)),
        }
    }

    /// The next id; `now` is the wall clock, which may stand still or go back.
    pub(super) fn next(&self, now: Timestamp) -> QueueId {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.1 = last.1.wrapping_add(1);
        let fresh = QueueId::from_parts(now.0, last.1);
        last.0 = if fresh > last.0 { fresh } else { last.0.next() };
        last.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_increase_while_the_clock_goes_back() {
        let ids = IdMaker::above(QueueId::from_parts(2_000_000_000_000, 0));
        let mut last = QueueId::from_parts(2_000_000_000_000, 0);
        for now in [5, 4, 2_000_000_000_001, 2_000_000_000_001, 0] {
            let next = ids.next(Timestamp(now));
            assert!(next > last);
            last = next;
        }
    }
}
