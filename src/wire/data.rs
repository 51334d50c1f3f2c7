//! Mail data: dot transparency and bare newlines.

/// `smtpd_forbid_bare_newline`: what a bare CR or LF in commands or mail data leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BareNewline {
    /// `no`, `yes`, `normalize`: a line may end in LF and leaves as CRLF; the end of data may not.
    Normalize,
    /// `note`: the same, and an event is recorded.
    Note,
    /// `reject`: 550 5.5.2 and the session ends.
    Reject,
}

/// Doubles the dots at the start of lines and ends the data (RFC 5321 section 4.5.2).
#[derive(Debug)]
pub struct DotStuffer {
    line_start: bool,
    previous: u8,
}

impl Default for DotStuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl DotStuffer {
    /// At the start of the data.
    pub const fn new() -> Self {
        Self {
            line_start: true,
            previous: 0,
        }
    }

    /// Adds a piece of the data to `out`.
    pub fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        for &octet in octets {
            if self.line_start && octet == b'.' {
                out.push(b'.');
            }
            self.line_start = self.previous == b'\r' && octet == b'\n';
            self.previous = octet;
            out.push(octet);
        }
    }

    /// Adds the end of data, on a line of its own.
    pub fn finish(self, out: &mut Vec<u8>) {
        if !self.line_start {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}
