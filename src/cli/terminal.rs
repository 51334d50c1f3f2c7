//! Text for a terminal or a pipe.

use std::io::Write as _;

use crate::cert::name::is_printable;

/// A text that somebody else chose: what could move the cursor or reorder the line is escaped.
pub(super) fn printable(text: &str) -> String {
    let escaped = |c: char| {
        if is_printable(c) {
            c.to_string()
        } else {
            c.escape_default().to_string()
        }
    };
    text.chars().map(escaped).collect()
}

/// Prints; a reader that goes away ends it quietly.
pub(super) fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}
