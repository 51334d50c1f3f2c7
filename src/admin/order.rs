//! What an operator wants done to queued messages, and what is told of each.
//!
//! **Does not** do it: `daemon::queue_commands` does, in the running relay and in the command on a stopped queue.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::mail::queue_id::QueueId;
use crate::queue::filter::{Filter, State};

/// An order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// What is to be done.
    pub action: Action,
    /// To which messages.
    pub selection: Selection,
    /// How many messages the operator expects to be meant; another number does nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Due now, `postqueue -i` and `postqueue -s`.
    Flush,
    /// On hold, `postsuper -h`.
    Hold {
        /// Why; see [`check_reason`].
        reason: String,
    },
    /// Off hold and due now, `postsuper -H`.
    Release,
    /// Routed anew and due now, `postsuper -r`.
    Requeue,
    /// Gone without a bounce, `postsuper -d`.
    Delete,
    /// Returned to the sender now.
    Bounce {
        /// Why, for the sender; see [`check_reason`].
        reason: String,
    },
}

impl Action {
    /// What becomes of a message, for counts: "3 messages held".
    pub const fn done(&self) -> &'static str {
        match self {
            Self::Flush => "due now",
            Self::Hold { .. } => "held",
            Self::Release => "released",
            Self::Requeue => "requeued",
            Self::Delete => "deleted",
            Self::Bounce { .. } => "bounced",
        }
    }
}

/// Which messages are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum Selection {
    /// These.
    Ids(
        /// One or more; at most [`IDS_MAX`] fit into a request.
        #[serde(serialize_with = "write_ids", deserialize_with = "read_ids")]
        Vec<QueueId>,
    ),
    /// Those that match, or all of them when it is empty. Only what is held is released, and only what is not is held.
    Filter(Filter),
}

/// Ids in one request.
pub const IDS_MAX: usize = 200;

/// What became of one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Its id.
    #[serde(serialize_with = "write_id", deserialize_with = "read_id")]
    pub queue_id: QueueId,
    /// Whether it was done.
    pub done: bool,
    /// In words; what is wrong when it was not done.
    pub message: String,
}

impl Selection {
    /// Whether an order about a message makes sense when it is chosen by a filter: nobody means to hold what is on hold.
    pub const fn is_for(action: &Action, state: State) -> bool {
        match action {
            Action::Hold { .. } => !matches!(state, State::Hold | State::Damaged),
            Action::Release => matches!(state, State::Hold),
            Action::Flush => !matches!(state, State::Hold | State::Damaged),
            Action::Requeue | Action::Delete | Action::Bounce { .. } => true,
        }
    }
}

/// The longest reason, octets.
pub const REASON_OCTETS_MAX: usize = 200;

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

fn write_ids<S: Serializer>(ids: &[QueueId], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ids.iter().map(ToString::to_string))
}

fn read_ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<QueueId>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let ids = texts.iter().map(|text| parse_id(text)).collect::<Result<_, _>>();
    ids.map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::super::request::{REQUEST_OCTETS_MAX, Request, to_line};
    use super::*;

    #[test]
    fn order_reads_back_what_was_written_and_fits_into_a_request() {
        let id = QueueId::from_parts(1_800_000_000_000, 7);
        let reason = "ask \"Alice\"".repeat(10);
        let filter = Filter {
            subject: vec!["OU=UMR5168".into()],
            states: vec![State::Deferred],
            ..Filter::default()
        };
        for (action, selection) in [
            (
                Action::Hold { reason: reason.clone() },
                Selection::Ids(vec![id; IDS_MAX]),
            ),
            (Action::Bounce { reason }, Selection::Filter(filter)),
            (Action::Flush, Selection::Filter(Filter::default())),
        ] {
            let expected = Some(12);
            let request = Request::Queue(Order {
                action,
                selection,
                expected,
            });
            let line = to_line(&request);
            assert!(line.len() <= REQUEST_OCTETS_MAX, "{}", line.len());
            assert_eq!(Request::parse(line.trim()), Ok(request));
        }
    }

    #[test]
    fn malformed_queue_id_is_refused_in_words() {
        let order = "{\"request\":\"queue\",\"action\":\"release\",\"selection\":{\"ids\":[\"AEIOU\"]}}";
        let refused = Request::parse(order).unwrap_err();
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
