//! Octets of a peer into replies.
//!
//! **Implements** RFC 5321 section 4.2 (multiline replies), RFC 2034 (the enhanced code in the text), with Postfix's
//! tolerance: a line may end in LF, and may be up to 2048 octets long.
//! **Does not** judge a reply.

use crate::wire::reply::Reply;
use crate::wire::status::EnhancedStatus;

/// The longest line taken, octets with its end: four times what RFC 5321 section 4.5.3.1.5 allows.
pub const LINE_OCTETS_MAX: usize = 2048;
/// The most lines taken in one reply.
pub const LINES_MAX: usize = 128;

/// Why octets are not a reply; always the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// Longer than [`LINE_OCTETS_MAX`].
    #[error("reply line too long")]
    LineTooLong,
    /// More lines than [`LINES_MAX`].
    #[error("too many reply lines")]
    TooManyLines,
    /// Not three digits, from 200 to 599, and a separator.
    #[error("not an SMTP reply")]
    Syntax,
    /// RFC 5321 section 4.2.1: "all lines [..] must begin with the same code".
    #[error("the reply code changes within a reply")]
    CodeChanged,
}

/// Collects octets until they make a reply; how they are cut up does not matter.
#[derive(Debug, Default)]
pub struct ReplyReader {
    pending: Vec<u8>,
    /// Octets of `pending` that are done with.
    read: usize,
    begun: Option<Reply>,
}

impl ReplyReader {
    /// A reader with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds octets; ask for [`ReplyReader::next_reply`] until it has none.
    pub fn push(&mut self, octets: &[u8]) {
        self.pending.drain(..self.read.min(self.pending.len()));
        self.read = 0;
        self.pending.extend_from_slice(octets);
    }

    /// Whether nothing is left over: no octet behind the last reply and no reply begun.
    pub const fn is_empty(&self) -> bool {
        self.pending.len() == self.read && self.begun.is_none()
    }

    /// The next whole reply, if there is one.
    ///
    /// # Errors
    /// [`ReplyError`]; the dialogue is out of step then, and the reader is of no more use.
    pub fn next_reply(&mut self) -> Result<Option<Reply>, ReplyError> {
        loop {
            let rest = self.pending.get(self.read..).unwrap_or_default();
            let end = memchr::memchr(b'\n', rest);
            if end.unwrap_or(rest.len()) >= LINE_OCTETS_MAX {
                return Err(ReplyError::LineTooLong);
            }
            let Some(end) = end else { return Ok(None) };
            self.read = self.read.saturating_add(end).saturating_add(1);
            let line = rest.get(..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if let Some(reply) = take_line(&mut self.begun, &String::from_utf8_lossy(line))? {
                return Ok(Some(reply));
            }
        }
    }
}

/// Adds a line to the reply begun and returns the reply when it was the last.
fn take_line(begun: &mut Option<Reply>, line: &str) -> Result<Option<Reply>, ReplyError> {
    let code = code_of(line).ok_or(ReplyError::Syntax)?;
    let (is_last, text) = match line.as_bytes().get(3) {
        None | Some(b' ') => (true, line.get(4..).unwrap_or_default()),
        Some(b'-') => (false, line.get(4..).unwrap_or_default()),
        Some(_) => return Err(ReplyError::Syntax),
    };
    let (status, text) = match EnhancedStatus::split_from(text) {
        Some((status, rest)) if u16::from(status.class) == code / 100 => (Some(status), rest),
        _ => (None, text),
    };
    let mut reply = begun.take().unwrap_or_else(|| Reply {
        status,
        ..Reply::bare(code, Vec::new())
    });
    if reply.code != code {
        return Err(ReplyError::CodeChanged);
    }
    if reply.lines.len() >= LINES_MAX {
        return Err(ReplyError::TooManyLines);
    }
    reply.lines.push(text.to_owned());
    if is_last {
        return Ok(Some(reply));
    }
    *begun = Some(reply);
    Ok(None)
}

fn code_of(line: &str) -> Option<u16> {
    let digits = line.get(..3)?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|code| (200..600).contains(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> Result<Vec<Reply>, ReplyError> {
        let mut reader = ReplyReader::new();
        let mut replies = Vec::new();
        for piece in pieces {
            reader.push(piece);
            while let Some(reply) = reader.next_reply()? {
                replies.push(reply);
            }
        }
        Ok(replies)
    }

    #[test]
    fn replies_in_any_segmentation_are_the_same() {
        let wire = b"250-mx.example.org\r\n250-SIZE 100\r\n250 PIPELINING\r\n550-5.1.1 no\n550 5.1.1 user\r\n354\r\n";
        let whole = read(&[wire]).unwrap();
        let bytes: Vec<&[u8]> = wire.chunks(1).collect();
        assert_eq!(read(&bytes).unwrap(), whole);
        for at in 0..wire.len() {
            assert_eq!(read(&[&wire[..at], &wire[at..]]).unwrap(), whole, "{at}");
        }
        let printed: Vec<String> = whole.iter().map(ToString::to_string).collect();
        assert_eq!(
            printed,
            ["250 mx.example.org SIZE 100 PIPELINING", "550 5.1.1 no user", "354 "]
        );
    }

    #[test]
    fn status_of_another_class_stays_text() {
        let replies = read(&[b"450 5.1.1 odd\r\n"]).unwrap();
        assert_eq!(replies[0].status, None);
        assert_eq!(replies[0].lines, ["5.1.1 odd"]);
    }

    #[test]
    fn bad_replies_are_refused() {
        let long = [b'2'; LINE_OCTETS_MAX];
        let many = b"250-x\r\n".repeat(LINES_MAX + 1);
        for (wire, why) in [
            (b"hello\r\n".as_slice(), ReplyError::Syntax),
            (b"\r\n", ReplyError::Syntax),
            (b"250_x\r\n", ReplyError::Syntax),
            (b"600 x\r\n", ReplyError::Syntax),
            (b"2\xc3\xa90 x\r\n", ReplyError::Syntax),
            (b"250-x\r\n251 x\r\n", ReplyError::CodeChanged),
            (&long, ReplyError::LineTooLong),
            (&many, ReplyError::TooManyLines),
        ] {
            assert_eq!(read(&[wire]), Err(why));
        }
    }

    #[test]
    fn leftover_octets_are_seen() {
        let mut reader = ReplyReader::new();
        reader.push(b"220 go\r\n250");
        assert!(matches!(reader.next_reply(), Ok(Some(_))));
        assert!(!reader.is_empty());
    }
}
