//! The milter protocol: what a mail server and a content filter say to each other.
//!
//! **Implements** the packets of version 6 and what versions 2 to 5 left out of them: four octets of length, a command, its
//! data. Both directions are read and written, so that a filter can be played in tests.
//! **Does not** hold a conversation: `io::milter` does.

pub mod command;
pub mod fields;
pub mod options;
pub mod packet;
pub mod reply_code;
pub mod response;

use command::Command;
use packet::CodecError;
use response::Response;

/// Reads the first packet of these octets as either side would: for fuzzing.
///
/// # Errors
/// What is wrong with the frame; a frame that is not whole is `Ok(None)`.
#[expect(clippy::type_complexity, reason = "both readings of one packet")]
pub fn decode(
    octets: &[u8],
) -> Result<Option<(Result<Command, CodecError>, Result<Response, CodecError>)>, CodecError> {
    let packet = packet::split(octets)?;
    Ok(packet.map(|(packet, _)| (Command::decode(packet), Response::decode(packet))))
}
