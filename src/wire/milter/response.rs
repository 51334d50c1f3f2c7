//! What a filter says.

use super::fields::{Fields, put};
use super::options::Negotiation;
use super::packet::{CodecError, Packet, frame};

/// A packet from a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// OPTNEG.
    Negotiate(Negotiation),
    /// CONTINUE.
    Continue,
    /// ACCEPT: nothing more of this message, or of this connection, is asked.
    Accept,
    /// REJECT.
    Reject,
    /// TEMPFAIL.
    TemporaryFailure,
    /// DISCARD: taken, and thrown away.
    Discard,
    /// REPLYCODE: a reply in the form of SMTP.
    ReplyCode(Vec<u8>),
    /// SKIP: no more of the body is wanted.
    Skip,
    /// PROGRESS: it takes longer.
    Progress,
    /// `CONN_FAIL`.
    ConnectionFailed,
    /// SHUTDOWN: 421, and the client's connection ends.
    Shutdown,
    /// A change, at the end of the message.
    Change(Change),
}

/// What a filter changes at the end of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// ADDRCPT and `ADDRCPT_PAR`.
    AddRecipient {
        /// With or without brackets.
        path: String,
        /// Parameters of RCPT, `ADDRCPT_PAR` only.
        parameters: Option<String>,
    },
    /// DELRCPT.
    DeleteRecipient(String),
    /// CHGFROM.
    ReversePath {
        /// With or without brackets.
        path: String,
        /// Parameters of MAIL.
        parameters: Option<String>,
    },
    /// ADDHEADER: at the end of the header.
    AddHeader {
        /// Without the colon.
        name: Vec<u8>,
        /// Empty or any.
        value: Vec<u8>,
    },
    /// INSHEADER: 0 is above everything.
    InsertHeader {
        /// Fields above it.
        index: u32,
        /// Without the colon.
        name: Vec<u8>,
        /// Empty or any.
        value: Vec<u8>,
    },
    /// CHGHEADER: an empty value deletes.
    ChangeHeader {
        /// Which of the fields of that name, from 1.
        index: u32,
        /// Without the colon.
        name: Vec<u8>,
        /// The new value.
        value: Vec<u8>,
    },
    /// REPLBODY: the first one begins a new body, others continue it.
    ReplaceBody(Vec<u8>),
    /// QUARANTINE, and why.
    Quarantine(String),
}

impl Response {
    /// The octets of the packet.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Negotiate(negotiation) => frame(b'O', &negotiation.write()),
            Self::Continue => frame(b'c', &[]),
            Self::Accept => frame(b'a', &[]),
            Self::Reject => frame(b'r', &[]),
            Self::TemporaryFailure => frame(b't', &[]),
            Self::Discard => frame(b'd', &[]),
            Self::ReplyCode(text) => {
                let mut data = Vec::new();
                put(&mut data, text);
                frame(b'y', &data)
            }
            Self::Skip => frame(b's', &[]),
            Self::Progress => frame(b'p', &[]),
            Self::ConnectionFailed => frame(b'f', &[]),
            Self::Shutdown => frame(b'4', &[]),
            Self::Change(change) => change.encode(),
        }
    }

    /// Reads a packet.
    ///
    /// # Errors
    /// [`CodecError`] says what is wrong.
    pub fn decode(packet: Packet<'_>) -> Result<Self, CodecError> {
        let fields = Fields::of(packet);
        match packet.command {
            b'O' => Negotiation::read(fields).map(Self::Negotiate),
            b'c' => fields.end(Self::Continue),
            b'a' => fields.end(Self::Accept),
            b'r' => fields.end(Self::Reject),
            b't' => fields.end(Self::TemporaryFailure),
            b'd' => fields.end(Self::Discard),
            b'y' => Ok(Self::ReplyCode(fields.last_octets())),
            b's' => fields.end(Self::Skip),
            b'p' => fields.end(Self::Progress),
            b'f' => fields.end(Self::ConnectionFailed),
            b'4' => fields.end(Self::Shutdown),
            _ => Change::decode(packet).map(Self::Change),
        }
    }
}

impl Change {
    fn encode(&self) -> Vec<u8> {
        let mut data = Vec::new();
        let letter = match self {
            Self::AddRecipient { path, parameters } => {
                put_path(&mut data, path, parameters.as_deref());
                if parameters.is_some() { b'2' } else { b'+' }
            }
            Self::DeleteRecipient(path) => {
                put_path(&mut data, path, None);
                b'-'
            }
            Self::ReversePath { path, parameters } => {
                put_path(&mut data, path, parameters.as_deref());
                b'e'
            }
            Self::AddHeader { name, value } => {
                put(&mut data, name);
                put(&mut data, value);
                b'h'
            }
            Self::InsertHeader { index, name, value } => put_indexed(&mut data, *index, (name, value), b'i'),
            Self::ChangeHeader { index, name, value } => put_indexed(&mut data, *index, (name, value), b'm'),
            Self::ReplaceBody(octets) => return frame(b'b', octets),
            Self::Quarantine(reason) => {
                put(&mut data, reason.as_bytes());
                b'q'
            }
        };
        frame(letter, &data)
    }

    fn decode(packet: Packet<'_>) -> Result<Self, CodecError> {
        let mut fields = Fields::of(packet);
        let change = match packet.command {
            b'+' => Self::AddRecipient {
                path: fields.text()?,
                parameters: None,
            },
            b'2' => Self::AddRecipient {
                path: fields.text()?,
                parameters: Some(optional(&mut fields)?.unwrap_or_default()),
            },
            b'-' => Self::DeleteRecipient(fields.text()?),
            b'e' => Self::ReversePath {
                path: fields.text()?,
                parameters: optional(&mut fields)?,
            },
            b'h' => Self::AddHeader {
                name: fields.octets()?,
                value: fields.octets()?,
            },
            b'i' => Self::InsertHeader {
                index: fields.number()?,
                name: fields.octets()?,
                value: fields.octets()?,
            },
            b'm' => Self::ChangeHeader {
                index: fields.number()?,
                name: fields.octets()?,
                value: fields.octets()?,
            },
            b'b' => return Ok(Self::ReplaceBody(fields.raw())),
            b'q' => Self::Quarantine(String::from_utf8_lossy(&fields.octets()?).into_owned()),
            unknown => return Err(CodecError::Unknown(unknown)),
        };
        fields.end(change)
    }
}

fn optional(fields: &mut Fields<'_>) -> Result<Option<String>, CodecError> {
    if fields.is_empty() {
        return Ok(None);
    }
    fields.text().map(Some)
}

fn put_path(data: &mut Vec<u8>, path: &str, parameters: Option<&str>) {
    put(data, path.as_bytes());
    if let Some(parameters) = parameters {
        put(data, parameters.as_bytes());
    }
}

fn put_indexed(data: &mut Vec<u8>, index: u32, (name, value): (&[u8], &[u8]), letter: u8) -> u8 {
    data.extend_from_slice(&index.to_be_bytes());
    put(data, name);
    put(data, value);
    letter
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::packet::split;
    use super::*;

    fn a_text() -> impl Strategy<Value = String> {
        "[^\\x00]{0,40}"
    }

    fn octets() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(1_u8..=255, 0..80)
    }

    fn a_change() -> impl Strategy<Value = Change> {
        let optional = || proptest::option::of(a_text());
        prop_oneof![
            (a_text(), optional()).prop_map(|(path, parameters)| Change::AddRecipient { path, parameters }),
            a_text().prop_map(Change::DeleteRecipient),
            (a_text(), optional()).prop_map(|(path, parameters)| Change::ReversePath { path, parameters }),
            (octets(), octets()).prop_map(|(name, value)| Change::AddHeader { name, value }),
            (any::<u32>(), octets(), octets()).prop_map(|(index, name, value)| Change::InsertHeader {
                index,
                name,
                value
            }),
            (any::<u32>(), octets(), octets()).prop_map(|(index, name, value)| Change::ChangeHeader {
                index,
                name,
                value
            }),
            octets().prop_map(Change::ReplaceBody),
            a_text().prop_map(Change::Quarantine),
        ]
    }

    fn a_response() -> impl Strategy<Value = Response> {
        prop_oneof![
            a_change().prop_map(Response::Change),
            octets().prop_map(Response::ReplyCode),
            prop::sample::select(vec![
                Response::Continue,
                Response::Accept,
                Response::Reject,
                Response::TemporaryFailure,
                Response::Discard,
                Response::Skip,
                Response::Progress,
                Response::ConnectionFailed,
                Response::Shutdown,
            ]),
        ]
    }

    proptest! {
        #[test]
        fn response_written_and_read_is_the_same(response in a_response()) {
            let wire = response.encode();
            let (packet, taken) = split(&wire).unwrap().unwrap();
            prop_assert_eq!(taken, wire.len());
            prop_assert_eq!(Response::decode(packet), Ok(response));
        }
    }

    #[test]
    fn data_behind_a_plain_verdict_is_malformed() {
        for letter in *b"cartdspf4" {
            let wire = frame(letter, b"x");
            let (packet, _) = split(&wire).unwrap().unwrap();
            assert_eq!(Response::decode(packet), Err(CodecError::Malformed(letter)));
        }
    }
}
