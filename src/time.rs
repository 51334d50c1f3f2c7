//! Clock values: the wall clock in milliseconds, both clocks together, and Postfix's time notation.
//!
//! **Implements** the date-time of RFC 5322 section 3.3 and the time suffixes of postconf(5).
//! **Does not** read a clock: `io::clock` does, and hands the values down.

use std::fmt;
use std::time::{Duration, Instant};

/// A point on the wall clock: milliseconds since 1970-01-01 00:00:00 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Whole seconds since the epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The timestamp of a number of whole seconds since the epoch.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// This point plus a duration, saturating at the end of time.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// How long it is from `earlier` to this point; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The date-time of RFC 5322 section 3.3 at the given offset from UTC in seconds:
    /// `Tue, 24 Nov 2026 10:00:00 +0100`.
    pub fn rfc5322(self, utc_offset_seconds: i32) -> String {
        let offset = jiff::tz::Offset::from_seconds(utc_offset_seconds).unwrap_or(jiff::tz::Offset::UTC);
        jiff::Timestamp::from_millisecond(self.0).map_or_else(
            |_out_of_range| String::from("Thu, 01 Jan 1970 00:00:00 +0000"),
            |at| {
                at.to_zoned_datetime(offset.to_time_zone())
                    .strftime("%a, %d %b %Y %H:%M:%S %z")
                    .to_string()
            },
        )
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with whole seconds, as logs and `queue list` show it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.seconds()) {
            Ok(at) => write!(f, "{at}"),
            Err(_) => write!(f, "@{}", self.seconds()),
        }
    }
}

/// The time as a driver reads it once per event: both clocks and the local offset.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For deadlines.
    pub monotonic: Instant,
    /// For records and trace headers.
    pub wall: Timestamp,
    /// The local offset from UTC, in seconds, for the Received and Date headers.
    pub utc_offset_seconds: i32,
}

/// Why a text is not a time value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a number with a unit s, m, h, d or w, such as \"300s\" or \"5d\"")]
pub struct DurationError;

/// Reads Postfix's time notation: `300s`, `5m`, `2h`, `5d`, `1w`; parts add up (`1h 30m`).
///
/// # Errors
/// [`DurationError`] when a number or a unit is missing, or the sum overflows.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(DurationError);
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(DurationError)?;
        let (number, tail) = rest.split_at(digits);
        let mut letters = tail.chars();
        let unit = match letters.next() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3_600,
            Some('d') => 86_400,
            Some('w') => 604_800,
            _ => return Err(DurationError),
        };
        let number: u64 = number.parse().map_err(|_| DurationError)?;
        let part = number.checked_mul(unit).ok_or(DurationError)?;
        total = total.checked_add(Duration::from_secs(part)).ok_or(DurationError)?;
        rest = letters.as_str().trim_start();
    }
    Ok(total)
}

/// Prints whole seconds in Postfix's notation, so that [`parse_duration`] reads the same back: `90m` is `1h 30m`.
pub fn print_duration(duration: Duration) -> String {
    let mut rest = duration.as_secs();
    let mut parts = Vec::new();
    for (seconds, unit) in [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')] {
        let number = rest.checked_div(seconds).unwrap_or(0);
        rest = rest.saturating_sub(number.saturating_mul(seconds));
        if number > 0 {
            parts.push(format!("{number}{unit}"));
        }
    }
    if parts.is_empty() {
        return "0s".into();
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_in_postfix_notation_is_read() {
        assert_eq!(parse_duration("300s"), Ok(Duration::from_mins(5)));
        assert_eq!(parse_duration("5d"), Ok(Duration::from_hours(120)));
        assert_eq!(parse_duration("1h 30m"), Ok(Duration::from_mins(90)));
    }

    #[test]
    fn duration_is_printed_as_it_is_read() {
        for text in ["0s", "1s", "1h 30m", "10d", "1d 1h 1m 1s"] {
            assert_eq!(parse_duration(text).map(print_duration).as_deref(), Ok(text));
        }
        assert_eq!(print_duration(Duration::from_secs(604_800)), "7d");
    }

    #[test]
    fn duration_without_unit_or_number_is_refused() {
        for text in ["", "5", "m", "5x", "-1s", "99999999999999999999d"] {
            assert_eq!(parse_duration(text), Err(DurationError), "{text}");
        }
    }

    #[test]
    fn timestamp_is_printed_as_rfc5322_date_time() {
        assert_eq!(
            Timestamp(1_795_510_800_000).rfc5322(3600),
            "Tue, 24 Nov 2026 10:00:00 +0100"
        );
    }
}
