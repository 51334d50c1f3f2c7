//! What the mail server says.

use std::net::SocketAddr;

use super::fields::{Fields, put};
use super::options::Negotiation;
use super::packet::{CodecError, Packet, frame};

/// The most octets of body in one packet (`MILTER_CHUNK_SIZE`).
pub const BODY_CHUNK_OCTETS: usize = 65_535;

/// The letters of the events.
pub mod letter {
    /// `SMFIC_CONNECT`.
    pub const CONNECT: u8 = b'C';
    /// `SMFIC_HELO`.
    pub const HELLO: u8 = b'H';
    /// `SMFIC_MAIL`.
    pub const MAIL: u8 = b'M';
    /// `SMFIC_RCPT`.
    pub const RECIPIENT: u8 = b'R';
    /// `SMFIC_DATA`.
    pub const DATA: u8 = b'T';
    /// `SMFIC_EOH`.
    pub const END_OF_HEADER: u8 = b'N';
    /// `SMFIC_BODYEOB`.
    pub const END_OF_BODY: u8 = b'E';
}

/// A packet to a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// OPTNEG: the first one.
    Negotiate(Negotiation),
    /// MACRO: what is known at the event that follows.
    Macros {
        /// The event's letter.
        event: u8,
        /// Names and values.
        pairs: Vec<(String, String)>,
    },
    /// CONNECT.
    Connect {
        /// The client's name, or its address in brackets.
        hostname: String,
        /// Its address; `None` when unknown.
        address: Option<SocketAddr>,
    },
    /// HELO.
    Hello(String),
    /// MAIL: the reverse-path in brackets, and its parameters.
    Mail(Vec<String>),
    /// RCPT: the forward-path in brackets, and its parameters.
    Recipient(Vec<String>),
    /// DATA.
    Data,
    /// HEADER.
    Header {
        /// Without the colon.
        name: Vec<u8>,
        /// Lines that continue it are separated by LF.
        value: Vec<u8>,
    },
    /// EOH.
    EndOfHeader,
    /// BODY: at most [`BODY_CHUNK_OCTETS`].
    Body(Vec<u8>),
    /// BODYEOB, with the last of the body or nothing.
    EndOfBody(Vec<u8>),
    /// ABORT: the message is no more.
    Abort,
    /// QUIT: the connection ends.
    Quit,
    /// `QUIT_NC`: another client follows on this connection.
    QuitForNext,
    /// UNKNOWN: a command that is none.
    Unknown(String),
}

impl Command {
    /// The octets of the packet.
    pub fn encode(&self) -> Vec<u8> {
        let mut data = Vec::new();
        let letter = match self {
            Self::Negotiate(negotiation) => {
                data = negotiation.write();
                b'O'
            }
            Self::Macros { event, pairs } => {
                data.push(*event);
                for (name, value) in pairs {
                    put(&mut data, name.as_bytes());
                    put(&mut data, value.as_bytes());
                }
                b'D'
            }
            Self::Connect { hostname, address } => {
                put_peer(&mut data, hostname, *address);
                letter::CONNECT
            }
            Self::Hello(name) => text(&mut data, name, letter::HELLO),
            Self::Mail(words) => texts(&mut data, words, letter::MAIL),
            Self::Recipient(words) => texts(&mut data, words, letter::RECIPIENT),
            Self::Data => letter::DATA,
            Self::Header { name, value } => {
                put(&mut data, name);
                put(&mut data, value);
                b'L'
            }
            Self::EndOfHeader => letter::END_OF_HEADER,
            Self::Body(octets) => return frame(b'B', octets),
            Self::EndOfBody(octets) => return frame(letter::END_OF_BODY, octets),
            Self::Abort => b'A',
            Self::Quit => b'Q',
            Self::QuitForNext => b'K',
            Self::Unknown(line) => text(&mut data, line, b'U'),
        };
        frame(letter, &data)
    }

    /// Reads a packet.
    ///
    /// # Errors
    /// [`CodecError`] says what is wrong.
    pub fn decode(packet: Packet<'_>) -> Result<Self, CodecError> {
        let mut fields = Fields::of(packet);
        match packet.command {
            b'O' => Negotiation::read(fields).map(Self::Negotiate),
            b'D' => read_macros(fields),
            letter::CONNECT => read_peer(fields),
            letter::HELLO => Self::Hello(fields.text()?).ended(fields),
            letter::MAIL => fields.texts().map(Self::Mail),
            letter::RECIPIENT => fields.texts().map(Self::Recipient),
            letter::DATA => Self::Data.ended(fields),
            b'L' => {
                let (name, value) = (fields.octets()?, fields.octets()?);
                Self::Header { name, value }.ended(fields)
            }
            letter::END_OF_HEADER => Self::EndOfHeader.ended(fields),
            b'B' => Ok(Self::Body(fields.raw())),
            letter::END_OF_BODY => Ok(Self::EndOfBody(fields.raw())),
            b'A' => Self::Abort.ended(fields),
            b'Q' => Self::Quit.ended(fields),
            b'K' => Self::QuitForNext.ended(fields),
            b'U' => Self::Unknown(fields.text()?).ended(fields),
            unknown => Err(CodecError::Unknown(unknown)),
        }
    }

    fn ended(self, fields: Fields<'_>) -> Result<Self, CodecError> {
        fields.end(self)
    }
}

fn text(data: &mut Vec<u8>, text: &str, letter: u8) -> u8 {
    put(data, text.as_bytes());
    letter
}

fn texts(data: &mut Vec<u8>, words: &[String], letter: u8) -> u8 {
    for word in words {
        put(data, word.as_bytes());
    }
    letter
}

fn put_peer(data: &mut Vec<u8>, hostname: &str, address: Option<SocketAddr>) {
    put(data, hostname.as_bytes());
    let Some(address) = address else {
        data.push(b'U');
        return;
    };
    data.push(if address.is_ipv4() { b'4' } else { b'6' });
    data.extend_from_slice(&address.port().to_be_bytes());
    put(data, address.ip().to_string().as_bytes());
}

fn read_peer(mut fields: Fields<'_>) -> Result<Command, CodecError> {
    let malformed = CodecError::Malformed(letter::CONNECT);
    let hostname = fields.text()?;
    let address = match fields.octet()? {
        b'U' => None,
        b'4' | b'6' => {
            let port = fields.port()?;
            let address = fields.text()?;
            // Sendmail writes the prefix that its own address literals have.
            let address = address.strip_prefix("IPv6:").unwrap_or(&address);
            let address = address.parse().map_err(|_| malformed)?;
            Some(SocketAddr::new(address, port))
        }
        _ => return Err(malformed),
    };
    fields.end(Command::Connect { hostname, address })
}

fn read_macros(mut fields: Fields<'_>) -> Result<Command, CodecError> {
    let event = fields.octet()?;
    let mut pairs = Vec::new();
    while !fields.is_empty() {
        pairs.push((fields.text()?, fields.text()?));
    }
    Ok(Command::Macros { event, pairs })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::options::{Actions, MacroStage, Steps};
    use super::super::packet::{PACKET_OCTETS_MAX, split};
    use super::*;

    fn a_text() -> impl Strategy<Value = String> {
        "[^\\x00]{0,40}"
    }

    fn octets() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(1_u8..=255, 0..80)
    }

    fn a_command() -> impl Strategy<Value = Command> {
        let words = || proptest::collection::vec(a_text(), 1..4);
        let pairs = proptest::collection::vec((a_text(), a_text()), 0..4);
        let address = (any::<std::net::IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port));
        let stage = prop::sample::select(MacroStage::ALL.to_vec());
        let named = proptest::collection::vec((stage, proptest::collection::vec("[a-z{}_]{1,8}", 0..3)), 0..3);
        let negotiation =
            (any::<u32>(), any::<u32>(), any::<u32>(), named).prop_map(|(version, a, s, macros)| Negotiation {
                version,
                actions: Actions(a),
                steps: Steps(s),
                macros,
            });
        prop_oneof![
            negotiation.prop_map(Command::Negotiate),
            (any::<u8>(), pairs).prop_map(|(event, pairs)| Command::Macros { event, pairs }),
            (a_text(), proptest::option::of(address))
                .prop_map(|(hostname, address)| Command::Connect { hostname, address }),
            a_text().prop_map(Command::Hello),
            words().prop_map(Command::Mail),
            words().prop_map(Command::Recipient),
            (octets(), octets()).prop_map(|(name, value)| Command::Header { name, value }),
            octets().prop_map(Command::Body),
            octets().prop_map(Command::EndOfBody),
            a_text().prop_map(Command::Unknown),
            prop::sample::select(vec![
                Command::Data,
                Command::EndOfHeader,
                Command::Abort,
                Command::Quit,
                Command::QuitForNext
            ]),
        ]
    }

    proptest! {
        #[test]
        fn command_written_and_read_is_the_same(command in a_command(), tail in octets()) {
            let mut wire = command.encode();
            let length = wire.len();
            wire.extend(tail);
            let (packet, taken) = split(&wire).unwrap().unwrap();
            prop_assert_eq!(taken, length);
            prop_assert_eq!(Command::decode(packet), Ok(command));
            for cut in 0..length {
                prop_assert_eq!(split(&wire[..cut]), Ok(None));
            }
        }

        #[test]
        fn octets_of_any_kind_are_read_without_panic(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = super::super::decode(&octets);
            let _ = super::super::decode(&frame(octets.first().copied().unwrap_or(b'O'), &octets));
        }
    }

    #[test]
    fn length_past_the_bound_is_an_error_before_the_octets_come() {
        assert_eq!(split(&[0, 0, 0, 0, b'c']), Err(CodecError::Empty));
        assert_eq!(split(&[255, 255, 255, 255]), Err(CodecError::TooLong(u32::MAX)));
        let most = u32::try_from(PACKET_OCTETS_MAX).unwrap().to_be_bytes();
        assert_eq!(split(&most), Ok(None));
    }

    #[test]
    fn nul_in_a_text_does_not_begin_another() {
        let wire = Command::Hello("a\0b".into()).encode();
        let (packet, _) = split(&wire).unwrap().unwrap();
        assert_eq!(Command::decode(packet), Ok(Command::Hello("ab".into())));
    }
}
