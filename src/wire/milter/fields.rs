//! What packets are made of: integers and texts ended by NUL.

use super::packet::{CodecError, Packet};

/// Reads the data of a packet from its start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    command: u8,
}

impl<'a> Fields<'a> {
    pub(super) const fn of(packet: Packet<'a>) -> Self {
        Self {
            rest: packet.data,
            command: packet.command,
        }
    }

    fn malformed(self) -> CodecError {
        CodecError::Malformed(self.command)
    }

    pub(super) const fn is_empty(self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn octet(&mut self) -> Result<u8, CodecError> {
        let (octet, rest) = self.rest.split_first().ok_or(self.malformed())?;
        self.rest = rest;
        Ok(*octet)
    }

    pub(super) fn port(&mut self) -> Result<u16, CodecError> {
        let (octets, rest) = self.rest.split_first_chunk().ok_or(self.malformed())?;
        self.rest = rest;
        Ok(u16::from_be_bytes(*octets))
    }

    pub(super) fn number(&mut self) -> Result<u32, CodecError> {
        let (octets, rest) = self.rest.split_first_chunk().ok_or(self.malformed())?;
        self.rest = rest;
        Ok(u32::from_be_bytes(*octets))
    }

    /// Octets up to a NUL.
    pub(super) fn octets(&mut self) -> Result<Vec<u8>, CodecError> {
        let end = memchr::memchr(0, self.rest).ok_or(self.malformed())?;
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest.get(1..).unwrap_or_default();
        Ok(text.to_vec())
    }

    /// A text up to a NUL.
    pub(super) fn text(&mut self) -> Result<String, CodecError> {
        String::from_utf8(self.octets()?).map_err(|_| self.malformed())
    }

    /// Texts up to the end.
    pub(super) fn texts(mut self) -> Result<Vec<String>, CodecError> {
        let mut texts = Vec::new();
        while !self.is_empty() {
            texts.push(self.text()?);
        }
        Ok(texts)
    }

    /// A text that fills the rest, ended by a NUL or by the packet.
    pub(super) fn last_octets(self) -> Vec<u8> {
        let end = memchr::memchr(0, self.rest).unwrap_or(self.rest.len());
        self.rest.get(..end).unwrap_or_default().to_vec()
    }

    pub(super) fn raw(self) -> Vec<u8> {
        self.rest.to_vec()
    }

    /// Nothing may be left.
    pub(super) fn end<T>(self, value: T) -> Result<T, CodecError> {
        if self.is_empty() {
            Ok(value)
        } else {
            Err(self.malformed())
        }
    }
}

/// Adds a text and its NUL. A NUL inside would end it early, so that none is sent.
pub(super) fn put(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(text.iter().filter(|octet| **octet != 0));
    out.push(0);
}
