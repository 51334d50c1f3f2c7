//! What the queue is told by the configuration, checked already.

use std::path::PathBuf;
use std::time::Duration;

use super::backoff::Bounds;
use crate::time::Timestamp;

/// The queue's directives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// `queue_directory`.
    pub directory: PathBuf,
    /// `queue_inline_limit`, octets: larger mail data gets a file of its own.
    pub inline_octets_max: u64,
    /// `queue_minfree`, octets of free space to keep; 0 means 1.5 times `message_size_limit`.
    pub minfree_octets: u64,
    /// `message_size_limit`, octets.
    pub message_size_octets_max: u64,
    /// `minimal_backoff_time`: the first retry.
    pub minimal_backoff: Duration,
    /// `maximal_backoff_time`: the retry cap.
    pub maximal_backoff: Duration,
    /// `maximal_queue_lifetime`.
    pub lifetime: Duration,
    /// `bounce_queue_lifetime`: for mail with the null reverse-path.
    pub bounce_lifetime: Duration,
    /// `queue_run_delay`: the longest sleep between looks at the queue.
    pub run_delay: Duration,
    /// `delay_warning_time`: the age at which the sender is told that mail still waits; zero means never.
    pub delay_warning: Duration,
    /// `in_flow_delay`: how long a new message waits at most while deliveries lag behind.
    pub in_flow_delay: Duration,
}

impl QueueSettings {
    /// Who waits since then or longer at `now` is to be told of the delay; absent when nobody is.
    pub fn told_if_arrived_by(&self, now: Timestamp) -> Option<Timestamp> {
        let millis = i64::try_from(self.delay_warning.as_millis()).unwrap_or(i64::MAX);
        (millis > 0).then(|| Timestamp(now.0.saturating_sub(millis)))
    }

    /// Between which retries and rests lie.
    pub const fn backoff(&self) -> Bounds {
        Bounds {
            minimal: self.minimal_backoff,
            maximal: self.maximal_backoff,
        }
    }
}
