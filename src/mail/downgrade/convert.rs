//! A message made seven-bit.

use std::sync::Arc;

use super::encoder::Encoder;
use super::entity::{Kind, fields};
use super::fault::Fault;
use super::survey::Plan;
use super::walker::{Part, Visitor, Walker};

/// Converts a message that was surveyed.
#[derive(Debug)]
pub struct Converter {
    walker: Walker,
    plan: Arc<Plan>,
    encoder: Option<Encoder>,
    /// Whether what came out last is a line end.
    is_at_line_end: bool,
}

impl Converter {
    /// By this plan.
    pub fn new(plan: Arc<Plan>) -> Self {
        Self {
            walker: Walker::default(),
            plan,
            encoder: None,
            is_at_line_end: true,
        }
    }

    /// Takes a piece of the message and adds what comes of it to `out`.
    ///
    /// # Errors
    /// None for a message whose survey gave the plan.
    pub fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut writer = Writer {
            plan: &self.plan,
            encoder: &mut self.encoder,
            out,
        };
        self.walker.push(octets, &mut writer)?;
        if !out.is_empty() {
            self.is_at_line_end = out.ends_with(b"\r\n");
        }
        Ok(())
    }

    /// The message has ended; so does its last line.
    ///
    /// # Errors
    /// As for [`Converter::push`].
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut writer = Writer {
            plan: &self.plan,
            encoder: &mut self.encoder,
            out,
        };
        self.walker.finish(&mut writer)?;
        if !out.is_empty() {
            self.is_at_line_end = out.ends_with(b"\r\n");
        }
        if !self.is_at_line_end {
            out.extend_from_slice(b"\r\n");
        }
        Ok(())
    }
}

struct Writer<'a> {
    plan: &'a Plan,
    encoder: &'a mut Option<Encoder>,
    out: &'a mut Vec<u8>,
}

impl Writer<'_> {
    /// The header, but for its label and with this one.
    fn relabel(&mut self, part: &Part<'_>, label: &str) {
        for field in fields(part.raw) {
            if !field.is("content-transfer-encoding") {
                self.out.extend_from_slice(field.raw);
            }
        }
        self.out.extend_from_slice(b"Content-Transfer-Encoding: ");
        self.out.extend_from_slice(label.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    /// RFC 1428 section 2: what was sent as eight bits without a label is text in an unknown character set.
    fn make_mime(&mut self, part: &Part<'_>) {
        if part.number == 0 && !part.entity.has_version {
            self.out.extend_from_slice(b"MIME-Version: 1.0\r\n");
        }
        if part.number == 0 && !part.entity.has_type {
            self.out
                .extend_from_slice(b"Content-Type: text/plain; charset=unknown-8bit\r\n");
        }
    }
}

impl Visitor for Writer<'_> {
    fn header(&mut self, part: &Part<'_>) -> Result<(), Fault> {
        *self.encoder = None;
        if self.plan.encodes(part.number) {
            let is_text = !matches!(part.entity.kind, Kind::Leaf { is_text: false });
            let encoder = Encoder::new(is_text);
            self.relabel(part, encoder.name());
            self.make_mime(part);
            *self.encoder = Some(encoder);
            return Ok(());
        }
        let has_label = fields(part.raw).any(|field| field.is("content-transfer-encoding"));
        if has_label && !part.is_sealed && !part.entity.is_encoded {
            self.relabel(part, "7bit");
        } else {
            self.out.extend_from_slice(part.raw);
        }
        Ok(())
    }

    fn body(&mut self, octets: &[u8]) -> Result<(), Fault> {
        match self.encoder {
            Some(encoder) => encoder.push(octets, self.out),
            None => self.out.extend_from_slice(octets),
        }
        Ok(())
    }

    fn end(&mut self) {
        if let Some(encoder) = self.encoder.take() {
            encoder.finish(self.out);
        }
    }

    /// RFC 2046 section 5.1.1: what stands around the parts is to be ignored; it cannot be encoded.
    fn edge(&mut self, octets: &[u8]) {
        let seven_bit = |octet: &u8| if octet.is_ascii() { *octet } else { b'?' };
        self.out.extend(octets.iter().map(seven_bit));
    }
}
