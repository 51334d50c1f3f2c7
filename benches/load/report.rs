//! What one run of the generator found, as it goes from process to process: one line of JSON.

use serde::{Deserialize, Serialize};

/// The figures of one run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Messages answered 250 after the final dot.
    pub accepted: u64,
    /// Messages refused by a reply, at whatever step.
    pub refused: u64,
    /// Connections that broke or timed out; their message in flight counts as neither of the above.
    pub broken: u64,
    /// The last refusal or failure, in words.
    pub trouble: Option<String>,
    /// System clock when the first session started, in nanoseconds.
    pub started: u64,
    /// System clock when the last session had its last reply, in nanoseconds.
    pub finished: u64,
    /// From the end of the final dot's write to the whole reply, in microseconds.
    pub latency: Latency,
    /// How far behind its schedule the last message of an open loop began, in microseconds; 0 in a closed loop.
    pub behind: u64,
}

/// Quantiles of a latency, in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Latency {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub max: u64,
}

impl Latency {
    /// The quantiles of single measurements.
    pub fn of(mut measured: Vec<u32>) -> Self {
        measured.sort_unstable();
        let at = |permille: usize| -> u64 {
            let last = measured.len().saturating_sub(1);
            measured
                .get((measured.len() * permille / 1000).min(last))
                .map_or(0, |value| u64::from(*value))
        };
        Self {
            p50: at(500),
            p90: at(900),
            p99: at(990),
            max: at(1000),
        }
    }
}

impl Report {
    /// Seconds that the generator took.
    pub fn seconds(&self) -> f64 {
        seconds_between(self.started, self.finished)
    }

    /// Messages acknowledged in a second.
    pub fn rate(&self) -> f64 {
        per_second(self.accepted, self.seconds())
    }
}

/// Seconds between two times of the system's clock in nanoseconds.
pub fn seconds_between(start: u64, end: u64) -> f64 {
    std::time::Duration::from_nanos(end.saturating_sub(start)).as_secs_f64()
}

/// Events in a second.
#[expect(clippy::cast_precision_loss, reason = "counts of messages are far below 2^52")]
pub fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds.max(1e-9)
}
