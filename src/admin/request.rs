//! Requests and answers of the admin socket.
//!
//! **Does not** touch the socket: `io::admin_socket` does.

use serde::{Deserialize, Serialize};

use super::order::Order;

/// What the command line asks a running daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
#[expect(clippy::large_enum_variant, reason = "there is one for each peer, and few peers")]
pub enum Request {
    /// Check the configuration and swap it in.
    Reload,
    /// Make every queued recipient due now.
    Flush,
    /// Tell which messages a delivery has at this moment: one [`super::order::Progress`] for each.
    Delivering,
    /// Change queued messages: one [`super::order::Progress`] for each, then the answer.
    Queue(Order),
    /// Tell counters and gauges in the OpenMetrics text format.
    Metrics,
}

/// The daemon's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether it was done.
    pub done: bool,
    /// In words; what is wrong when it was not done.
    pub message: String,
}

/// The longest request line, octets.
pub const REQUEST_OCTETS_MAX: usize = 4_096;

impl Request {
    /// Reads one line.
    ///
    /// # Errors
    /// An [`Answer`] that says what is wrong.
    pub fn parse(line: &str) -> Result<Self, Answer> {
        serde_json::from_str(line).map_err(|error| Answer {
            done: false,
            message: format!("bad request: {error}"),
        })
    }
}

/// One line with its end.
pub fn to_line<T: Serialize>(value: &T) -> String {
    let mut line = serde_json::to_string(value).unwrap_or_default();
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_reads_back_what_was_written() {
        for request in [Request::Reload, Request::Flush, Request::Metrics, Request::Delivering] {
            assert_eq!(Request::parse(to_line(&request).trim()), Ok(request));
        }
        assert!(!Request::parse("{\"request\":\"stop\"}").unwrap_err().done);
    }
}
