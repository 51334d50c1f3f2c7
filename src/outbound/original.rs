//! As much of an undelivered message as goes back with its bounce.
//!
//! **Implements** `bounce_size_limit`, RFC 3462 section 2, RFC 6533 section 5. A message that cannot be converted to seven bits goes
//! back as its header: its bounce may have to be converted, and would be lost.

use crate::mail::downgrade::survey::Surveyor;

/// As much of the undelivered message as is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Original<'a> {
    /// Its header only (text/rfc822-headers).
    Headers(&'a [u8]),
    /// All of it (message/rfc822).
    Full(&'a [u8]),
}

impl<'a> Original<'a> {
    /// What fits into `octets_max` of a message whose first octets, at least that many if it has them, are `start` and
    /// which is `size_octets` long: all of it, or whole lines of its header. The second value tells whether anything
    /// of it is left out.
    pub fn of(start: &'a [u8], size_octets: u64, octets_max: usize) -> (Self, bool) {
        let is_whole = usize::try_from(size_octets).is_ok_and(|size| size == start.len() && size <= octets_max);
        if is_whole && is_convertible(start) {
            return (Self::Full(start), false);
        }
        (Self::header_of(start, octets_max), true)
    }

    /// The whole lines of its header that fit into `octets_max`, of a message that begins like this.
    pub fn header_of(start: &'a [u8], octets_max: usize) -> Self {
        let header_end = memchr::memmem::find(start, b"\r\n\r\n").map_or(start.len(), |at| at.saturating_add(2));
        let header = start.get(..header_end.min(octets_max)).unwrap_or(start);
        let line_end = memchr::memrchr(b'\n', header).map_or(0, |at| at.saturating_add(1));
        Self::Headers(header.get(..line_end).unwrap_or_default())
    }

    pub(super) const fn octets(&self) -> &'a [u8] {
        match self {
            Self::Headers(octets) | Self::Full(octets) => octets,
        }
    }

    /// RFC 6533 section 5: with UTF-8 in its header it is a message/global.
    pub(super) fn media_type(&self) -> &'static str {
        match (self, self.has_utf8_header()) {
            (Self::Headers(_), false) => "text/rfc822-headers",
            (Self::Full(_), false) => "message/rfc822",
            (Self::Headers(_), true) => "message/global-headers",
            (Self::Full(_), true) => "message/global",
        }
    }

    /// Whether its header has octets above 127.
    pub(super) fn has_utf8_header(&self) -> bool {
        match Self::header_of(self.octets(), usize::MAX) {
            Self::Headers(header) | Self::Full(header) => !header.is_ascii(),
        }
    }
}

/// Whether a message is seven-bit, or is packed up for its header, or can be made seven-bit.
fn is_convertible(message: &[u8]) -> bool {
    if message.is_ascii() || Original::Full(message).has_utf8_header() {
        return true;
    }
    let mut surveyor = Surveyor::default();
    surveyor.push(message);
    surveyor.finish().plan.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"From: a@example.org\r\nSubject: x\r\n\r\nbody\r\n";

    #[test]
    fn original_that_fits_is_whole_and_one_that_does_not_is_its_header() {
        let size = HEADER.len();
        let octets = u64::try_from(size).unwrap();
        assert_eq!(Original::of(HEADER, octets, size), (Original::Full(HEADER), false));
        let header = &HEADER[..size - 8];
        assert_eq!(Original::of(HEADER, 10_000, size), (Original::Headers(header), true));
        assert_eq!(
            Original::of(HEADER, octets, 25),
            (Original::Headers(&HEADER[..21]), true)
        );
        assert_eq!(Original::of(HEADER, octets, 5), (Original::Headers(b""), true));
    }

    #[test]
    fn original_that_cannot_be_converted_to_seven_bits_is_its_header() {
        let of = |text: &str| {
            let (original, _) = Original::of(text.as_bytes(), text.len() as u64, 10_000);
            matches!(original, Original::Full(_))
        };
        assert!(of("Subject: x\r\n\r\ncaf\u{e9}\r\n"));
        assert!(of("Subject: caf\u{e9}\r\n\r\nx\r\n"));
        let signed = "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n";
        assert!(of(&format!("{signed}x\r\n--b--\r\n")));
        assert!(!of(&format!("{signed}\u{e9}\r\n--b--\r\n")));
        assert!(!of("Content-Transfer-Encoding: base64\r\n\r\n\u{e9}\r\n"));
        assert!(!of("Content-Type: message/rfc822\r\n\r\nSubject: \u{e9}\r\n\r\nx\r\n"));
    }
}
