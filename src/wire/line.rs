//! The unread octets of a connection, and the command lines in them.
//!
//! **Implements** RFC 5321 section 2.3.8 (lines end in CRLF; a bare LF is reported, not hidden) and a bound on the
//! length of a line. **Does not** judge a bare LF: the session's settings do.

/// The longest command line, octets with its end: Postfix's `line_length_limit`. It holds the longest MAIL and the longest
/// RCPT that the extensions make of a plain one.
pub const COMMAND_LINE_OCTETS_MAX: usize = 2048;

/// RFC 5321 section 4.5.3.1.4.
const PLAIN_COMMAND_OCTETS_MAX: usize = 512;
/// What SIZE (RFC 1870 section 3), BODY (RFC 6152 section 2), SMTPUTF8 (RFC 6531 section 3.1), REQUIRETLS with its blank (RFC 8689),
/// AUTH (RFC 4954 section 5), and RET with ENVID (RFC 3461 sections 4.3 and 4.4: ` RET=FULL`, ` ENVID=` and 100 characters) add to MAIL.
const MAIL_PARAMETERS_OCTETS_MAX: usize = 26 + 17 + 10 + 11 + 500 + (9 + 7 + 100);
/// What NOTIFY and ORCPT (RFC 3461 sections 4.1 and 4.2: ` NOTIFY=SUCCESS,FAILURE,DELAY`, ` ORCPT=` and 500 characters) add to RCPT.
const RCPT_PARAMETERS_OCTETS_MAX: usize = 29 + (7 + 500);

const _: () = assert!(PLAIN_COMMAND_OCTETS_MAX + MAIL_PARAMETERS_OCTETS_MAX <= COMMAND_LINE_OCTETS_MAX);
const _: () = assert!(PLAIN_COMMAND_OCTETS_MAX + RCPT_PARAMETERS_OCTETS_MAX <= COMMAND_LINE_OCTETS_MAX);

/// The longest line of an authentication exchange, octets with its end (RFC 4954 section 4).
pub const AUTHENTICATION_LINE_OCTETS_MAX: usize = 12_288;

/// Room that is kept while nothing is unread: a session that has sent a message does not hold the room of its mail data.
const KEPT_OCTETS_MAX: usize = COMMAND_LINE_OCTETS_MAX;

/// Octets received and not yet looked at.
#[derive(Debug, Default)]
pub struct Input {
    octets: Vec<u8>,
    start: usize,
    skips_line: bool,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// All of it, without its end.
    Complete {
        /// May hold any octet but LF.
        text: Vec<u8>,
        /// How it ended.
        end: LineEnd,
    },
    /// No end within the limit; the rest of the line will be skipped.
    TooLong,
}

/// How a line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEnd {
    /// CR LF.
    CrLf,
    /// LF without CR.
    Lf,
}

impl Input {
    /// Adds octets from the peer.
    pub fn push(&mut self, octets: &[u8]) {
        self.octets.drain(..self.start.min(self.octets.len()));
        self.start = 0;
        self.octets.extend_from_slice(octets);
    }

    /// Forgets everything unread, and the rest of a line that was being skipped.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether the next octet belongs to a line whose beginning was too long and is gone.
    pub const fn is_within_line(&self) -> bool {
        self.skips_line
    }

    /// What is unread.
    pub fn unread(&self) -> &[u8] {
        self.octets.get(self.start..).unwrap_or_default()
    }

    /// Marks octets as read.
    pub fn consume(&mut self, octets: usize) {
        self.start = self.start.saturating_add(octets).min(self.octets.len());
        if self.start == self.octets.len() && self.octets.capacity() > KEPT_OCTETS_MAX {
            (self.octets, self.start) = (Vec::new(), 0);
        }
    }

    /// The next line of at most `octets_max` with its end, if it is here. The lines do not depend on how the octets
    /// arrived.
    pub fn next_line(&mut self, octets_max: usize) -> Option<Line> {
        if self.skips_line {
            let end = memchr::memchr(b'\n', self.unread());
            self.consume(end.map_or(usize::MAX, |at| at + 1));
            end?;
            self.skips_line = false;
        }
        let unread = self.unread();
        let window = unread.get(..octets_max).unwrap_or(unread);
        match memchr::memchr(b'\n', window) {
            Some(at) => {
                let line = window.get(..at).unwrap_or_default();
                let (text, end) = match line.strip_suffix(b"\r") {
                    Some(text) => (text.to_vec(), LineEnd::CrLf),
                    None => (line.to_vec(), LineEnd::Lf),
                };
                self.consume(at + 1);
                Some(Line::Complete { text, end })
            }
            None if window.len() >= octets_max => {
                self.consume(octets_max);
                self.skips_line = true;
                Some(Line::TooLong)
            }
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(text: &str, end: LineEnd) -> Line {
        let text = text.as_bytes().to_vec();
        Line::Complete { text, end }
    }

    #[test]
    fn line_end_is_reported() {
        let mut input = Input::default();
        input.push(b"NOOP\r\nRSET\nQU");
        assert_eq!(
            input.next_line(COMMAND_LINE_OCTETS_MAX),
            Some(complete("NOOP", LineEnd::CrLf))
        );
        assert_eq!(
            input.next_line(COMMAND_LINE_OCTETS_MAX),
            Some(complete("RSET", LineEnd::Lf))
        );
        assert_eq!(input.next_line(COMMAND_LINE_OCTETS_MAX), None);
        input.push(b"IT\r\n");
        assert_eq!(
            input.next_line(COMMAND_LINE_OCTETS_MAX),
            Some(complete("QUIT", LineEnd::CrLf))
        );
        assert!(input.unread().is_empty());
    }

    #[test]
    fn line_over_the_limit_is_reported_once_and_skipped() {
        let mut input = Input::default();
        input.push(&[b'x'; COMMAND_LINE_OCTETS_MAX - 1]);
        assert_eq!(input.next_line(COMMAND_LINE_OCTETS_MAX), None);
        input.push(b"x");
        assert_eq!(input.next_line(COMMAND_LINE_OCTETS_MAX), Some(Line::TooLong));
        input.push(&[b'y'; 5000]);
        assert_eq!(input.next_line(COMMAND_LINE_OCTETS_MAX), None);
        assert!(input.unread().is_empty());
        input.push(b"y\r\nNOOP\r\n");
        assert_eq!(
            input.next_line(COMMAND_LINE_OCTETS_MAX),
            Some(complete("NOOP", LineEnd::CrLf))
        );
    }

    #[test]
    fn line_of_exactly_the_limit_is_complete() {
        let mut input = Input::default();
        let text = "x".repeat(COMMAND_LINE_OCTETS_MAX - 2);
        input.push(format!("{text}\r\n").as_bytes());
        assert_eq!(
            input.next_line(COMMAND_LINE_OCTETS_MAX),
            Some(complete(&text, LineEnd::CrLf))
        );
    }
}
