//! The clock: the only place that reads it.

use std::time::{Instant, SystemTime};

use crate::time::{Now, Timestamp};

/// The wall clock.
pub fn timestamp() -> Timestamp {
    let millis = match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
    };
    Timestamp(millis)
}

/// Whole seconds since 1970, as certificate validity counts them.
pub fn unix_seconds() -> i64 {
    timestamp().seconds()
}

/// Both clocks and the local offset.
pub fn now() -> Now {
    let wall = timestamp();
    let utc_offset_seconds =
        jiff::Timestamp::from_millisecond(wall.0).map_or(0, |at| jiff::tz::TimeZone::system().to_offset(at).seconds());
    Now {
        monotonic: Instant::now(),
        wall,
        utc_offset_seconds,
    }
}
