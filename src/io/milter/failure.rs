//! Why a filter counts as failed.

use std::time::Duration;

use crate::io::milter::spool::SpoolError;
use crate::mail::header_edit::EditError;
use crate::wire::milter::options::VERSION_MIN;
use crate::wire::milter::packet::CodecError;

/// How much of what a filter said is recorded, characters.
const RECORDED_CHARACTERS_MAX: usize = 200;

fn recorded(text: &str) -> String {
    text.chars().take(RECORDED_CHARACTERS_MAX).collect()
}

/// What went wrong; the operator's or the filter's fault, but for [`Failure::Spool`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It cannot be reached.
    #[error("cannot be reached: {0}")]
    Connect(String),
    /// No connection in time.
    #[error("cannot be reached within {} s", .0.as_secs())]
    ConnectTimeout(Duration),
    /// No answer in time, PROGRESS or not.
    #[error("no verdict within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The connection ended.
    #[error("closed the connection")]
    Closed,
    /// The connection broke.
    #[error("connection broken: {0}")]
    Broken(String),
    /// It makes no sense.
    #[error("sent {0}")]
    Codec(#[from] CodecError),
    /// It says what it may not say then.
    #[error("says {0} out of place")]
    OutOfPlace(&'static str),
    /// It speaks another version.
    #[error("speaks protocol version {0}, not {VERSION_MIN} to {1}")]
    Version(u32, u32),
    /// It wants to change what nobody offered.
    #[error("wants actions 0x{0:x} that are not offered")]
    Actions(u32),
    /// It wants events left out that the protocol has no word for.
    #[error("wants protocol steps 0x{0:x} that are not offered")]
    Steps(u32),
    /// It changes what it did not say it would.
    #[error("asks for {0}, which it did not negotiate")]
    NotNegotiated(&'static str),
    /// Its reply is none.
    #[error("gives a malformed reply {:?}", recorded(.0))]
    Reply(String),
    /// An address that it names is none.
    #[error("names a malformed address {:?}", recorded(.0))]
    Address(String),
    /// A parameter that it names is none.
    #[error("names a malformed parameter {:?}", recorded(.0))]
    Parameter(String),
    /// A header field that cannot be written.
    #[error("asks for {0}")]
    Edit(#[from] EditError),
    /// Its body is larger than `message_size_limit`.
    #[error("asks for a body larger than message_size_limit")]
    BodyTooLarge,
    /// More changes than are kept.
    #[error("asks for more than {0} changes")]
    TooManyChanges(usize),
    /// The spool cannot be read or written: the environment's fault.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_is_recorded_on_one_line_of_bounded_length() {
        let said = "a\n".repeat(100_000);
        for failure in [
            Failure::Reply(said.clone()),
            Failure::Address(said.clone()),
            Failure::Parameter(said),
        ] {
            let text = failure.to_string();
            assert!(text.len() < 400 && !text.contains('\n'), "{text}");
        }
    }
}
