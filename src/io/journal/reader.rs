//! Reading the journal, of a running daemon or a stopped one: newest record first, one file in memory at a time.
//!
//! **Implements** that a line without its end, which is still being written or was cut by a crash, is passed over, and a
//! file that is deleted meanwhile too.

use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;

use super::segments::{SEGMENT_OCTETS_MAX, numbers, path};
use crate::observe::decision::Decision;

/// Hands over every record, newest first, until told to stop. Returns whether the journal was read to its oldest record.
///
/// # Errors
/// The directory or a file cannot be read; [`io::ErrorKind::NotFound`] when there is no journal.
pub fn newest_first(
    directory: &Path,
    mut take: impl FnMut(Decision, &str) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    for number in numbers(directory)?.into_iter().rev() {
        let text = match read(&path(directory, number)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            text => text?,
        };
        for line in text.rsplit('\n').skip(1) {
            let Ok(decision) = serde_json::from_str::<Decision>(line) else {
                continue;
            };
            if take(decision, line).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// The oldest record; `None` when there is none.
///
/// # Errors
/// As [`newest_first`].
pub fn oldest(directory: &Path) -> io::Result<Option<Decision>> {
    for number in numbers(directory)? {
        let text = read(&path(directory, number)).unwrap_or_default();
        if let Some(decision) = text.lines().find_map(|line| serde_json::from_str(line).ok()) {
            return Ok(Some(decision));
        }
    }
    Ok(None)
}

/// A whole file; what is larger than any that is written is not ours, and cut.
fn read(path: &Path) -> io::Result<String> {
    let mut octets = Vec::new();
    File::open(path)?
        .take(2 * SEGMENT_OCTETS_MAX)
        .read_to_end(&mut octets)?;
    Ok(String::from_utf8_lossy(&octets).into_owned())
}
