//! Replies: a code, an optional enhanced status code, lines of text.
//!
//! **Implements** RFC 5321 section 4.2 and RFC 2034 section 4.

use std::fmt;

use super::status::EnhancedStatus;

/// A reply as one side says it and the other reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Reply {
    /// 200 to 599.
    pub code: u16,
    /// Repeated on every line when printed.
    pub status: Option<EnhancedStatus>,
    /// One text per line, without line ends.
    pub lines: Vec<String>,
}

/// The longest reply line we print, octets with the line end (RFC 5321 section 4.5.3.1.5).
pub const REPLY_LINE_OCTETS_MAX: usize = 512;

impl Reply {
    /// A reply of one line.
    pub fn new(code: u16, status: (u8, u16, u16), text: impl Into<String>) -> Self {
        let status = Some(EnhancedStatus::new(status.0, status.1, status.2));
        Self {
            code,
            status,
            lines: vec![text.into()],
        }
    }

    /// A reply without an enhanced status code: greeting, EHLO, 354.
    pub fn bare(code: u16, lines: Vec<String>) -> Self {
        Self {
            code,
            status: None,
            lines,
        }
    }

    /// 4yz: may succeed later.
    pub const fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5yz: will not succeed as it stands.
    pub const fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// 2yz.
    pub const fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// The octets on the wire, every line ended by CRLF, in ASCII.
    pub fn to_wire(&self) -> Vec<u8> {
        self.wire_with(printable)
    }

    /// The same in UTF-8, for a client that declared SMTPUTF8 (RFC 6531 section 3.7.4).
    pub fn to_utf8_wire(&self) -> Vec<u8> {
        self.wire_with(printable_utf8)
    }

    fn wire_with(&self, printable: impl Fn(&str) -> String) -> Vec<u8> {
        let mut out = String::new();
        let last = self.lines.len().saturating_sub(1);
        for (n, line) in self.lines.iter().enumerate() {
            let separator = if n == last { ' ' } else { '-' };
            let text = match self.status {
                Some(status) => format!("{}{separator}{status} {}", self.code, printable(line)),
                None => format!("{}{separator}{}", self.code, printable(line)),
            };
            let end = text.floor_char_boundary(REPLY_LINE_OCTETS_MAX - 2);
            out.push_str(text.get(..end).unwrap_or(&text));
            out.push_str("\r\n");
        }
        out.into_bytes()
    }
}

/// The text with everything that could end or hide a line replaced by `?`.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' })
        .collect()
}

/// The same, with letters of any script.
fn printable_utf8(text: &str) -> String {
    let is_seen = |c: char| {
        if c.is_ascii() {
            c == ' ' || c.is_ascii_graphic()
        } else {
            c.is_alphanumeric()
        }
    };
    text.chars().map(|c| if is_seen(c) { c } else { '?' }).collect()
}

impl fmt::Display for Reply {
    /// On one line, as logs and status notifications quote it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(status) = self.status {
            write!(f, " {status}")?;
        }
        for line in &self.lines {
            write!(f, " {}", printable(line))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_lines_carry_code_and_status() {
        let reply = Reply {
            lines: vec!["a".into(), "b\r\nc".into()],
            ..Reply::new(550, (5, 7, 1), "")
        };
        assert_eq!(reply.to_wire(), b"550-5.7.1 a\r\n550 5.7.1 b??c\r\n");
        assert_eq!(reply.to_string(), "550 5.7.1 a b??c");
    }

    #[test]
    fn reply_is_ascii_unless_utf8_was_declared() {
        let reply = Reply::new(550, (5, 1, 1), "<é\u{85}\u{202E}\r@x>");
        assert_eq!(reply.to_wire(), b"550 5.1.1 <????@x>\r\n");
        assert_eq!(reply.to_utf8_wire(), "550 5.1.1 <é???@x>\r\n".as_bytes());
    }

    #[test]
    fn reply_line_is_cut_at_the_limit() {
        assert_eq!(
            Reply::new(250, (2, 0, 0), "x".repeat(2000)).to_wire().len(),
            REPLY_LINE_OCTETS_MAX
        );
    }
}
