//! Connections whose PROXY header has not come yet: few at a time, whatever the limit of sessions.
//!
//! A balancer sends the header with its first octets. Whoever is silent there makes room for the next one, so that silent
//! connections keep nobody out who has something to say.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Connections that have not sent their PROXY header; past it the one that has waited longest is closed.
pub const UNINTRODUCED_MAX: usize = 128;

/// The connections that wait for their header, the one that has waited longest first.
#[derive(Debug, Default)]
pub struct Introductions(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    displaced: BTreeMap<u64, CancellationToken>,
}

/// A connection that waits for its header; dropping it ends the wait.
#[derive(Debug)]
pub struct Introduction<'a> {
    introductions: &'a Introductions,
    number: u64,
    /// Cancelled when another connection needs the room.
    pub displaced: CancellationToken,
}

impl Introductions {
    /// A connection begins to wait; another one may have to end for it.
    pub fn begin(&self) -> Introduction<'_> {
        let displaced = CancellationToken::new();
        let mut waiting = self.lock();
        if waiting.displaced.len() >= UNINTRODUCED_MAX
            && let Some((_, oldest)) = waiting.displaced.pop_first()
        {
            oldest.cancel();
        }
        let number = waiting.next;
        waiting.next = number.wrapping_add(1);
        waiting.displaced.insert(number, displaced.clone());
        Introduction {
            introductions: self,
            number,
            displaced,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Introduction<'_> {
    fn drop(&mut self) {
        self.introductions.lock().displaced.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_that_has_waited_longest_makes_room() {
        let introductions = Introductions::default();
        let mut waiting: Vec<_> = (0..UNINTRODUCED_MAX).map(|_| introductions.begin()).collect();
        drop(waiting.remove(0));
        let _next = introductions.begin();
        assert!(waiting.iter().all(|one| !one.displaced.is_cancelled()));
        let _after = introductions.begin();
        assert!(waiting[0].displaced.is_cancelled());
        assert!(waiting[1..].iter().all(|one| !one.displaced.is_cancelled()));
        assert_eq!(introductions.lock().displaced.len(), UNINTRODUCED_MAX);
    }
}
