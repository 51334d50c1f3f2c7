//! The frame of every packet.

/// The most octets of one packet behind its length: a chunk of body is 65,535, a header field may be longer.
pub const PACKET_OCTETS_MAX: usize = 256 * 1024;

/// Octets of the length.
const LENGTH_OCTETS: usize = 4;

/// What is wrong with a packet; the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// A length of 0: there is no command.
    #[error("an empty packet")]
    Empty,
    /// Longer than [`PACKET_OCTETS_MAX`].
    #[error("a packet of {0} octets, of at most {PACKET_OCTETS_MAX}")]
    TooLong(u32),
    /// No such command in this direction.
    #[error("an unknown packet 0x{0:02x}")]
    Unknown(u8),
    /// Data that is missing, left over or not of its form.
    #[error("a malformed packet '{}'", char::from(*.0))]
    Malformed(u8),
}

/// One packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its command.
    pub command: u8,
    /// What follows it.
    pub data: &'a [u8],
}

/// The first packet of these octets and how many it takes; `None` while it is not whole.
///
/// # Errors
/// [`CodecError::Empty`], [`CodecError::TooLong`]: nothing behind it can be read.
pub fn split(octets: &[u8]) -> Result<Option<(Packet<'_>, usize)>, CodecError> {
    let Some((length, rest)) = octets.split_first_chunk::<LENGTH_OCTETS>() else {
        return Ok(None);
    };
    let stated = u32::from_be_bytes(*length);
    let length = usize::try_from(stated).unwrap_or(usize::MAX);
    if length == 0 {
        return Err(CodecError::Empty);
    }
    if length > PACKET_OCTETS_MAX {
        return Err(CodecError::TooLong(stated));
    }
    let body = rest.get(..length).and_then(<[u8]>::split_first);
    Ok(body.map(|(command, data)| {
        let packet = Packet {
            command: *command,
            data,
        };
        (packet, LENGTH_OCTETS + length)
    }))
}

/// The octets of a packet. Its data must stay below [`PACKET_OCTETS_MAX`], or no peer reads it.
pub fn frame(command: u8, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len().saturating_add(1)).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(data.len().saturating_add(LENGTH_OCTETS + 1));
    out.extend_from_slice(&length.to_be_bytes());
    out.push(command);
    out.extend_from_slice(data);
    out
}
