//! Slows what comes in while deliveries lag behind.
//!
//! **Implements** `in_flow_delay` of postconf(5): a new message waits a little before it is committed, so that what is
//! queued already is delivered first. It never waits longer than that, and deliveries never wait for it. Only mail for
//! the destination that lags is slowed.
//! **Does not** count mail whose destination rests: waiting would not get it delivered.

use std::time::Duration;

use tokio::time::Instant;

/// Messages of a destination that may wait for their first delivery before new ones for it are slowed.
pub const FRESH_WAITING_MAX: usize = 500;

/// How often it is looked whether deliveries have caught up.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Waits until fewer than [`FRESH_WAITING_MAX`] messages wait for their first delivery, or for `at_most`. Cancel-safe.
pub async fn wait_while_behind(fresh_waiting: impl Fn() -> usize, at_most: Duration) {
    if at_most.is_zero() || fresh_waiting() < FRESH_WAITING_MAX {
        return;
    }
    let deadline = Instant::now() + at_most;
    loop {
        let next = Instant::now() + LOOK_INTERVAL;
        tokio::time::sleep_until(next.min(deadline)).await;
        if next >= deadline || fresh_waiting() < FRESH_WAITING_MAX {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const DELAY: Duration = Duration::from_secs(1);

    /// How long a message waits while so many wait for their delivery.
    async fn waits(fresh: &AtomicUsize, at_most: Duration) -> Duration {
        let begun = Instant::now();
        wait_while_behind(|| fresh.load(Ordering::Relaxed), at_most).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn message_waits_only_while_deliveries_lag_and_never_longer_than_the_delay() {
        let behind = AtomicUsize::new(FRESH_WAITING_MAX);
        assert_eq!(waits(&behind, DELAY).await, DELAY);
        assert_eq!(waits(&behind, Duration::ZERO).await, Duration::ZERO, "switched off");
        let in_time = AtomicUsize::new(FRESH_WAITING_MAX - 1);
        assert_eq!(waits(&in_time, DELAY).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn message_goes_on_as_soon_as_deliveries_have_caught_up() {
        let fresh = AtomicUsize::new(FRESH_WAITING_MAX);
        let catch_up = async {
            tokio::time::sleep(Duration::from_millis(120)).await;
            fresh.store(0, Ordering::Relaxed);
        };
        let (waited, ()) = tokio::join!(waits(&fresh, DELAY), catch_up);
        let late = waited.checked_sub(Duration::from_millis(120)).expect("not before");
        assert!(late <= LOOK_INTERVAL, "{waited:?}");
    }
}
