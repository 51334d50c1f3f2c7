//! When a deferred recipient is tried again.
//!
//! **Implements** `minimal_backoff_time` and `maximal_backoff_time` as Postfix does: the next delay is the age of
//! the message, kept between the two, so that delays double.
//! **Does not** read a clock or decide when to give up.

use std::time::Duration;

use crate::time::Timestamp;

/// When to try again: as far from `now` as `arrived` lies back, at least `minimal`, at most `maximal`.
///
/// A clock that went back (`now` before `arrived`) gives `minimal`; one that jumped ahead gives at most `maximal`;
/// the sum saturates at the end of time. A `maximal` below `minimal` gives `minimal`.
pub fn retry_at(arrived: Timestamp, now: Timestamp, minimal: Duration, maximal: Duration) -> Timestamp {
    now.plus(now.since(arrived).min(maximal).max(minimal))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: Duration = Duration::from_secs(300);
    const MAXIMAL: Duration = Duration::from_secs(4000);

    fn delay_at_age(seconds: i64) -> i64 {
        let now = Timestamp::from_seconds(1_000_000);
        let arrived = Timestamp::from_seconds(1_000_000 - seconds);
        retry_at(arrived, now, MINIMAL, MAXIMAL).seconds() - now.seconds()
    }

    #[test]
    fn delay_doubles_between_its_bounds() {
        let delays: Vec<i64> = [0, 300, 600, 1200, 2400, 4800].map(delay_at_age).to_vec();
        assert_eq!(delays, [300, 300, 600, 1200, 2400, 4000]);
    }

    #[test]
    fn clock_that_jumps_stays_between_the_bounds() {
        assert_eq!(delay_at_age(-1_000_000_000), 300);
        assert_eq!(delay_at_age(1_000_000_000), 4000);
        let end = Timestamp(i64::MAX);
        assert_eq!(retry_at(Timestamp(i64::MIN), end, MINIMAL, MAXIMAL), end);
    }

    #[test]
    fn maximal_below_minimal_gives_minimal() {
        let at = retry_at(Timestamp(0), Timestamp(0), MINIMAL, Duration::ZERO);
        assert_eq!(at, Timestamp::from_seconds(300));
    }
}
