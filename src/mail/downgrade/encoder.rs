//! Octets as seven-bit lines.
//!
//! **Implements** RFC 2045 sections 6.7 (quoted-printable) and 6.8 (base64), streaming: lines of at most 76 characters.

/// The most that goes into a line before the `=` of a soft line break.
const LINE_OCTETS_MAX: usize = 75;
/// RFC 4648 section 4.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Octets that make up a line of base64.
const GROUP_OCTETS: usize = 57;

/// Encodes one body.
#[derive(Debug)]
pub enum Encoder {
    /// For text.
    QuotedPrintable(QuotedPrintable),
    /// For anything else.
    Base64(Base64),
}

impl Encoder {
    /// For a body of this kind.
    pub fn new(is_text: bool) -> Self {
        if is_text {
            Self::QuotedPrintable(QuotedPrintable::default())
        } else {
            Self::Base64(Base64::default())
        }
    }

    /// As Content-Transfer-Encoding names it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::QuotedPrintable(_) => "quoted-printable",
            Self::Base64(_) => "base64",
        }
    }

    /// Adds what is complete to `out`.
    pub fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::QuotedPrintable(encoder) => octets.iter().for_each(|octet| encoder.push(*octet, out)),
            Self::Base64(encoder) => encoder.push(octets, out),
        }
    }

    /// Adds the rest, without a line end.
    pub fn finish(self, out: &mut Vec<u8>) {
        match self {
            Self::QuotedPrintable(encoder) => encoder.finish(out),
            Self::Base64(encoder) => encoder.finish(out),
        }
    }
}

/// The line that is being written.
#[derive(Debug, Default)]
pub struct QuotedPrintable {
    line: Vec<u8>,
    /// A space, tab or CR: what it becomes depends on what follows.
    waiting: Option<u8>,
    /// The line begins behind a soft line break.
    is_continued: bool,
}

impl QuotedPrintable {
    fn push(&mut self, octet: u8, out: &mut Vec<u8>) {
        match (self.waiting.take(), octet) {
            (Some(b'\r'), b'\n') => return self.end_line(out),
            (Some(b'\r'), _) => self.escape(b'\r', out),
            (Some(space), b'\r') => {
                // RFC 2045 section 6.7 (3): white space at the end of a line must be encoded. Before a lone CR it may.
                self.escape(space, out);
            }
            (Some(space), _) => self.put(&[space], out),
            (None, _) => {}
        }
        match octet {
            b' ' | b'\t' | b'\r' => self.waiting = Some(octet),
            // A soft line break must not make a delimiter of the enclosing multipart.
            b'-' if self.would_continue(1) => self.escape(octet, out),
            b'!'..=b'<' | b'>'..=b'~' => self.put(&[octet], out),
            _ => self.escape(octet, out),
        }
    }

    fn would_continue(&self, octets: usize) -> bool {
        (self.is_continued && self.line.is_empty()) || self.line.len().saturating_add(octets) > LINE_OCTETS_MAX
    }

    fn escape(&mut self, octet: u8, out: &mut Vec<u8>) {
        let digit = |value: u8| b"0123456789ABCDEF".get(usize::from(value)).copied().unwrap_or(b'0');
        self.put(&[b'=', digit(octet >> 4), digit(octet & 15)], out);
    }

    fn put(&mut self, token: &[u8], out: &mut Vec<u8>) {
        if self.line.len().saturating_add(token.len()) > LINE_OCTETS_MAX {
            out.append(&mut self.line);
            out.extend_from_slice(b"=\r\n");
            self.is_continued = true;
        }
        self.line.extend_from_slice(token);
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.line);
        out.extend_from_slice(b"\r\n");
        self.is_continued = false;
    }

    fn finish(mut self, out: &mut Vec<u8>) {
        if let Some(octet) = self.waiting.take() {
            self.escape(octet, out);
        }
        out.append(&mut self.line);
    }
}

/// The octets of the line that is being filled.
#[derive(Debug, Default)]
pub struct Base64 {
    group: Vec<u8>,
    has_lines: bool,
}

impl Base64 {
    fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        for octet in octets {
            if self.group.len() >= GROUP_OCTETS {
                self.put_line(out);
            }
            self.group.push(*octet);
        }
    }

    fn put_line(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.has_lines, true) {
            out.extend_from_slice(b"\r\n");
        }
        for triple in self.group.chunks(3) {
            let octet = |place: usize| u32::from(triple.get(place).copied().unwrap_or_default());
            let bits = octet(0) << 16 | octet(1) << 8 | octet(2);
            out.extend((0..4).map(|place| match bits >> (18 - 6 * place) & 63 {
                _ if place > triple.len() => b'=',
                value => LETTERS.get(value as usize).copied().unwrap_or(b'='),
            }));
        }
        self.group.clear();
    }

    fn finish(mut self, out: &mut Vec<u8>) {
        if !self.group.is_empty() {
            self.put_line(out);
        }
    }
}
