//! Requests and answers of the admin socket.
//!
//! **Does not** touch the socket: `io::admin_socket` does.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::mail::queue_id::QueueId;

/// What the command line asks a running daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Check the configuration and swap it in.
    Reload,
    /// Make every queued recipient due now.
    Flush,
    /// Tell counters and gauges in the OpenMetrics text format.
    Metrics,
    /// Put a message on hold.
    Hold {
        /// The message.
        #[serde(serialize_with = "write_id", deserialize_with = "read_id")]
        id: QueueId,
        /// Why, for the postmaster; see [`check_reason`].
        reason: String,
    },
    /// Release a message on hold.
    Release {
        /// The message.
        #[serde(serialize_with = "write_id", deserialize_with = "read_id")]
        id: QueueId,
    },
    /// Release every message on hold.
    ReleaseAll,
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

/// The longest reason for a hold, octets.
pub const REASON_OCTETS_MAX: usize = 200;

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

/// Reads a queue id as an operator types it.
///
/// # Errors
/// What a queue id looks like.
pub fn parse_id(text: &str) -> Result<QueueId, String> {
    QueueId::parse(text).ok_or_else(|| {
        format!(
            "\"{}\" is not a queue id: `estafette queue list` shows them",
            text.escape_debug()
        )
    })
}

/// A reason that fits into one line of a listing and of the log.
///
/// # Errors
/// What is wrong with it.
pub fn check_reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.len() > REASON_OCTETS_MAX {
        return Err(format!("a reason has 1 to {REASON_OCTETS_MAX} octets"));
    }
    if text.chars().any(char::is_control) {
        return Err("a reason is one line without control characters".into());
    }
    Ok(text.to_owned())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn write_id<S: Serializer>(id: &QueueId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

fn read_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<QueueId, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_id(&text).map_err(serde::de::Error::custom)
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
        let id = QueueId::from_parts(1_800_000_000_000, 7);
        let reason = String::from("ask \"Alice\"");
        let hold = Request::Hold { id, reason };
        for request in [
            Request::Reload,
            Request::Flush,
            Request::Metrics,
            hold,
            Request::Release { id },
            Request::ReleaseAll,
        ] {
            assert_eq!(Request::parse(to_line(&request).trim()), Ok(request));
        }
        assert!(!Request::parse("{\"request\":\"stop\"}").unwrap_err().done);
    }

    #[test]
    fn malformed_queue_id_is_refused_in_words() {
        let refused = Request::parse("{\"request\":\"release\",\"id\":\"AEIOU\"}").unwrap_err();
        assert!(
            refused.message.contains("\"AEIOU\" is not a queue id"),
            "{}",
            refused.message
        );
    }

    #[test]
    fn reason_is_one_line_of_bounded_length() {
        assert_eq!(check_reason(" stolen laptop "), Ok(String::from("stolen laptop")));
        for wrong in ["", " ", "two\nlines", &"x".repeat(201)] {
            assert!(check_reason(wrong).is_err(), "{wrong:?}");
        }
    }
}
