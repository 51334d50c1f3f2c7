//! What is said for a content filter that leaves the words to us, in Postfix's.

use crate::wire::reply::Reply;

/// A filter says REJECT.
pub fn filter_rejects() -> Reply {
    Reply::new(550, (5, 7, 1), "Command rejected")
}

/// A filter says TEMPFAIL, or fails under `milter_default_action = tempfail`.
pub fn filter_defers() -> Reply {
    Reply::new(451, (4, 7, 1), "Service unavailable - try again later")
}

/// A filter fails under `milter_default_action = reject`.
pub fn filter_unavailable() -> Reply {
    Reply::new(550, (5, 5, 0), "Service unavailable")
}

/// A filter says SHUTDOWN, or fails under `milter_default_action = shutdown`.
pub fn filter_shuts_down(myhostname: &str) -> Reply {
    Reply::new(421, (4, 7, 0), format!("{myhostname} Server closing connection"))
}

/// The header does not fit into what is kept for filters.
pub fn header_too_long() -> Reply {
    Reply::new(552, (5, 3, 4), "Error: message header size exceeds fixed limit")
}
