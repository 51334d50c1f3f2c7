//! What a message holds, before it is converted.

use super::entity::Kind;
use super::fault::Fault;
use super::walker::{Part, Visitor, Walker};

/// RFC 5322 section 2.1.1: the longest line, octets without its end.
const LINE_OCTETS_MAX: usize = 998;

/// Which parts are to be encoded, by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan(Vec<bool>);

impl Plan {
    /// Whether this part is.
    pub fn encodes(&self, part: usize) -> bool {
        self.0.get(part).copied().unwrap_or_default()
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Whether no header, of the message or of a part, has an octet above 127.
    pub is_header_ascii: bool,
    /// Whether nothing at all has.
    pub is_ascii: bool,
    /// How it can be converted, or why it cannot.
    pub plan: Result<Plan, Fault>,
}

/// Reads a message.
#[derive(Debug, Default)]
pub struct Surveyor {
    walker: Walker,
    found: Found,
    is_ascii: Option<bool>,
    broken: Option<Fault>,
}

impl Surveyor {
    /// Reads on.
    pub fn push(&mut self, octets: &[u8]) {
        self.is_ascii = Some(self.is_ascii.unwrap_or(true) && octets.is_ascii());
        if self.broken.is_none() {
            self.broken = self.walker.push(octets, &mut self.found).err();
        }
    }

    /// What was found.
    pub fn finish(mut self) -> Survey {
        if self.broken.is_none() {
            self.broken = self.walker.finish(&mut self.found).err();
        }
        let is_ascii = self.is_ascii.unwrap_or(true);
        let fault = self.found.fault.or(self.broken);
        Survey {
            // Of a message that could not be read to its end the worst is thought.
            is_header_ascii: self.found.fault != Some(Fault::Header) && (self.broken.is_none() || is_ascii),
            is_ascii,
            plan: fault.map_or(Ok(Plan(self.found.encode)), Err),
        }
    }
}

#[derive(Debug, Default)]
struct Found {
    encode: Vec<bool>,
    fault: Option<Fault>,
    line: usize,
    /// What an octet above 127 in the leaf that is read would mean.
    obstacle: Option<Fault>,
    /// Whether the leaf may be encoded.
    is_free: bool,
}

impl Found {
    /// A header in UTF-8 outweighs anything else: it needs SMTPUTF8.
    fn note(&mut self, fault: Fault) {
        if self.fault.is_none() || fault == Fault::Header {
            self.fault = Some(fault);
        }
    }
}

impl Visitor for Found {
    fn header(&mut self, part: &Part<'_>) -> Result<(), Fault> {
        self.encode.push(false);
        self.line = 0;
        if !part.raw.is_ascii() {
            self.note(Fault::Header);
        }
        self.obstacle = match part.entity.kind {
            _ if part.is_sealed => Some(Fault::Sealed),
            Kind::Rigid => Some(Fault::Rigid),
            _ if part.entity.is_encoded => Some(Fault::Mislabelled),
            _ => None,
        };
        self.is_free = self.obstacle.is_none();
        Ok(())
    }

    fn body(&mut self, octets: &[u8]) -> Result<(), Fault> {
        if octets == b"\r\n" {
            self.line = 0;
            return Ok(());
        }
        self.line = self.line.saturating_add(octets.len());
        let has_high = !octets.is_ascii();
        if let Some(fault) = self.obstacle.filter(|_| has_high) {
            self.note(fault);
        }
        let has_to = has_high || self.line > LINE_OCTETS_MAX || memchr::memchr3(0, b'\r', b'\n', octets).is_some();
        if let Some(encode) = self.encode.last_mut().filter(|_| self.is_free && has_to) {
            *encode = true;
        }
        Ok(())
    }

    fn end(&mut self) {}

    fn edge(&mut self, _: &[u8]) {}
}
