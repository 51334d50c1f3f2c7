//! When a deferred recipient is tried again, and how long a destination that was not reached rests.
//!
//! **Implements** `minimal_backoff_time` and `maximal_backoff_time` as Postfix does: the next delay is the age of
//! the message, kept between the two, so that delays double; each is spread by 15 %, so that what failed
//! together does not come back together.
//! **Does not** read a clock, draw random numbers (a seed comes in) or decide when to give up.

use std::time::Duration;

use crate::time::Timestamp;

/// How far a delay may lie from what it would be, either way, percent; the bounds hold nevertheless.
const JITTER_PERCENT: u32 = 15;

/// `minimal_backoff_time` and `maximal_backoff_time`. A maximum below the minimum counts as the minimum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// `minimal_backoff_time`.
    pub minimal: Duration,
    /// `maximal_backoff_time`.
    pub maximal: Duration,
}

impl Bounds {
    /// When to try a recipient again: about as far from `now` as `arrived` lies back, within the bounds. The last retry is
    /// at `expires`, not after it; past `expires`, only the bounds count.
    ///
    /// A clock that went back (`now` before `arrived`) gives the minimum; one that jumped ahead gives at most the maximum;
    /// the sum saturates at the end of time.
    pub fn retry_at(self, arrived: Timestamp, expires: Timestamp, now: Timestamp, seed: u64) -> Timestamp {
        let due = now.plus(self.spread(now.since(arrived), seed));
        if now < expires { due.min(expires) } else { due }
    }

    /// When the rest of a destination ends that has failed `failures` times in a row before: the minimum the first time, then
    /// twice as long each time up to the maximum.
    pub fn rest_until(self, failures: u32, now: Timestamp, seed: u64) -> Timestamp {
        let doubled = 2_u32.saturating_pow(failures);
        now.plus(self.spread(self.minimal.saturating_mul(doubled), seed))
    }

    /// The delay within the bounds, spread evenly over what lies about it within the bounds.
    fn spread(self, delay: Duration, seed: u64) -> Duration {
        let maximal = self.maximal.max(self.minimal);
        let delay = delay.clamp(self.minimal, maximal);
        let jitter = delay.saturating_mul(JITTER_PERCENT) / 100;
        let least = delay.saturating_sub(jitter).max(self.minimal);
        let most = delay.saturating_add(jitter).min(maximal);
        let millis = u64::try_from(most.saturating_sub(least).as_millis()).unwrap_or(u64::MAX);
        least.saturating_add(Duration::from_millis(mix(seed) % millis.saturating_add(1).max(1)))
    }
}

/// The seed of an attempt: another one for each message and each attempt.
pub fn seed(message: u64, attempts: u32) -> u64 {
    message.rotate_left(17) ^ u64::from(attempts)
}

/// `SplitMix64`: seeds that differ in one bit give numbers that have nothing in common.
fn mix(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        minimal: Duration::from_secs(300),
        maximal: Duration::from_secs(4000),
    };
    const FAR: Timestamp = Timestamp(i64::MAX);

    /// The shortest and the longest of many delays at that age, seconds.
    fn delays_at_age(seconds: i64) -> (i64, i64) {
        let now = Timestamp::from_seconds(1_000_000);
        let arrived = Timestamp::from_seconds(1_000_000 - seconds);
        let delays = (0..1000).map(|seed| BOUNDS.retry_at(arrived, FAR, now, seed).seconds() - now.seconds());
        delays.fold((i64::MAX, 0), |(least, most), delay| {
            (least.min(delay), most.max(delay))
        })
    }

    #[test]
    fn delay_doubles_between_its_bounds_and_is_spread() {
        for (age, least, most) in [
            (0, 300, 345),
            (300, 300, 345),
            (600, 510, 690),
            (1200, 1020, 1380),
            (2400, 2040, 2760),
            (4800, 3400, 4000),
        ] {
            let (shortest, longest) = delays_at_age(age);
            let tenth = (most - least) / 10;
            assert!((least..=least + tenth).contains(&shortest), "{age}: {shortest}");
            assert!((most - tenth..=most).contains(&longest), "{age}: {longest}");
        }
    }

    #[test]
    fn clock_that_jumps_stays_between_the_bounds() {
        assert!(delays_at_age(-1_000_000_000).1 <= 345);
        assert!(delays_at_age(1_000_000_000).1 <= 4000);
        assert_eq!(BOUNDS.retry_at(Timestamp(i64::MIN), FAR, FAR, 1), FAR);
    }

    #[test]
    fn last_retry_is_at_the_end_of_the_lifetime() {
        let (arrived, expires) = (Timestamp::from_seconds(0), Timestamp::from_seconds(1000));
        let at = |now| BOUNDS.retry_at(arrived, expires, Timestamp::from_seconds(now), 7);
        assert_eq!(at(900), expires);
        assert!(
            at(1000) >= Timestamp::from_seconds(1000 + 850),
            "a bounce that could not be queued waits"
        );
    }

    #[test]
    fn rest_doubles_with_its_failures_up_to_the_maximum() {
        let now = Timestamp::from_seconds(0);
        let rests: Vec<i64> = [0, 1, 2, 3, 4, 100]
            .map(|failures| BOUNDS.rest_until(failures, now, 1).seconds())
            .to_vec();
        for (rest, expected) in rests.iter().zip([300, 600, 1200, 2400, 4000, 4000]) {
            assert!((rest - expected).abs() * 100 <= expected * 15, "{rests:?}");
        }
    }

    #[test]
    fn maximal_below_minimal_counts_as_the_minimum() {
        let bounds = Bounds {
            maximal: Duration::ZERO,
            ..BOUNDS
        };
        let at = bounds.retry_at(Timestamp(0), FAR, Timestamp(0), 5);
        assert_eq!(at, Timestamp::from_seconds(300));
    }

    #[test]
    fn seeds_of_neighbours_differ() {
        let seeds = [seed(1, 0), seed(1, 1), seed(2, 0), seed(2, 1)].map(|seed| mix(seed) % 1000);
        let distinct: std::collections::BTreeSet<u64> = seeds.into_iter().collect();
        assert_eq!(distinct.len(), 4);
    }
}
