//! Mail data: dot transparency and bare newlines, both directions.
//!
//! **Implements** RFC 5321 sections 4.1.1.4 and 4.5.2; the end of data is CRLF.CRLF and nothing else, for every
//! peer, so that one DATA in is one message out. **Does not** limit line lengths: content passes as it is.

use memchr::memchr2;

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

/// Where in a line the decoder stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    LineStart(LastEnd),
    /// Behind a dot that began a line.
    Dot(LastEnd),
    /// Behind `.` CR at the beginning of a line.
    DotCr(LastEnd),
    Text,
    /// Behind a CR that may be half of a line end.
    Cr,
}

/// How the line before ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastEnd {
    CrLf,
    Lf,
}

/// The receiving side: takes the dots out and ends at CRLF.CRLF.
///
/// Every line of the content ends in CRLF: a bare LF becomes CRLF, a bare CR a space. The first dot of a line goes
/// however the line before ended, so that a lone dot that is not the end leaves an empty line. The content does not
/// depend on how the octets were cut.
#[derive(Clone, Debug)]
pub struct DataDecoder {
    place: Place,
    ended: bool,
    bare_cr: bool,
    bare_lf: bool,
}

impl Default for DataDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl DataDecoder {
    /// A decoder at the first octet behind the reply 354. The line end of the DATA command counts as the CRLF
    /// before the dot, so that `.` CRLF is an empty message.
    pub const fn new() -> Self {
        Self {
            place: Place::LineStart(LastEnd::CrLf),
            ended: false,
            bare_cr: false,
            bare_lf: false,
        }
    }

    /// Whether the end of data was seen.
    pub const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether a CR without LF was seen.
    pub const fn saw_bare_cr(&self) -> bool {
        self.bare_cr
    }

    /// Whether an LF without CR was seen.
    pub const fn saw_bare_lf(&self) -> bool {
        self.bare_lf
    }

    /// Decodes octets, appends the content to `out` and returns how many octets belong to the mail data: all, or
    /// those up to the end of data.
    pub fn decode(&mut self, octets: &[u8], out: &mut Vec<u8>) -> usize {
        let mut read = 0;
        while !self.ended {
            let Some(rest) = octets.get(read..).filter(|rest| !rest.is_empty()) else {
                break;
            };
            let run = match self.place {
                Place::Text => memchr2(b'\r', b'\n', rest).unwrap_or(rest.len()),
                _ => 0,
            };
            let (text, rest) = rest.split_at(run);
            out.extend_from_slice(text);
            read += run;
            if let Some(octet) = rest.first() {
                read += usize::from(self.step(*octet, out));
            }
        }
        read
    }

    /// Takes one octet; false when the octet is still to be looked at, in the new place.
    fn step(&mut self, octet: u8, out: &mut Vec<u8>) -> bool {
        match (self.place, octet) {
            (Place::LineStart(last), b'.') => self.place = Place::Dot(last),
            (Place::Dot(last), b'\r') => self.place = Place::DotCr(last),
            (Place::DotCr(LastEnd::CrLf), b'\n') => self.ended = true,
            (Place::DotCr(LastEnd::Lf) | Place::Cr, b'\n') => self.end_line(LastEnd::CrLf, out),
            (Place::DotCr(_) | Place::Cr, _) => {
                self.bare_cr = true;
                out.push(b' ');
                self.place = Place::Text;
                return false;
            }
            (_, b'\n') => {
                self.bare_lf = true;
                self.end_line(LastEnd::Lf, out);
            }
            (_, b'\r') => self.place = Place::Cr,
            (Place::Text, other) => out.push(other),
            (Place::LineStart(_) | Place::Dot(_), _) => {
                self.place = Place::Text;
                return false;
            }
        }
        true
    }

    fn end_line(&mut self, end: LastEnd, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n");
        self.place = Place::LineStart(end);
    }
}

/// The sending side: doubles leading dots and ends the data.
///
/// Content whose lines end in CRLF passes as it is but for the dots. Nothing else can be smuggled out: a bare LF
/// becomes CRLF, a bare CR a space.
#[derive(Clone, Debug)]
pub struct DotStuffer {
    at_line_start: bool,
    after_cr: bool,
}

impl Default for DotStuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl DotStuffer {
    /// A stuffer before the first octet of a message.
    pub const fn new() -> Self {
        Self {
            at_line_start: true,
            after_cr: false,
        }
    }

    /// Appends the octets to `out` in the form of the wire.
    pub fn push(&mut self, content: &[u8], out: &mut Vec<u8>) {
        let mut rest = content;
        while let Some(first) = rest.first().copied() {
            if self.after_cr {
                self.after_cr = false;
                if first != b'\n' {
                    out.push(b' ');
                    self.at_line_start = false;
                }
            }
            if first == b'.' && self.at_line_start {
                out.push(b'.');
            }
            let run = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            let (text, tail) = rest.split_at(run);
            out.extend_from_slice(text);
            self.at_line_start = self.at_line_start && text.is_empty();
            match tail.first() {
                Some(b'\n') => {
                    out.extend_from_slice(b"\r\n");
                    self.at_line_start = true;
                }
                Some(_) => self.after_cr = true,
                None => {}
            }
            rest = tail.get(1..).unwrap_or_default();
        }
    }

    /// Ends the last line when it is open, and appends the end of data.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.after_cr {
            out.push(b' ');
        }
        if self.after_cr || !self.at_line_start {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Content and number of octets read; the decoder for its flags.
    fn decode(wire: &[u8]) -> (Vec<u8>, usize, DataDecoder) {
        let mut decoder = DataDecoder::new();
        let mut out = Vec::new();
        let read = decoder.decode(wire, &mut out);
        (out, read, decoder)
    }

    fn stuff(content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut stuffer = DotStuffer::new();
        stuffer.push(content, &mut out);
        stuffer.finish(&mut out);
        out
    }

    #[test]
    fn dots_are_taken_out_and_the_end_found() {
        for (wire, content, rest) in [
            ("a\r\n.\r\nQUIT", "a\r\n", "QUIT"),
            (".\r\n", "", ""),
            ("..\r\n.\r\n", ".\r\n", ""),
            (".a\r\n...b\r\n.\r\n", "a\r\n..b\r\n", ""),
            ("a.\r\n.\r\n", "a.\r\n", ""),
        ] {
            let (out, read, decoder) = decode(wire.as_bytes());
            assert_eq!(out, content.as_bytes(), "{wire:?}");
            assert_eq!(&wire[read..], rest, "{wire:?}");
            assert!(decoder.has_ended() && !decoder.saw_bare_cr() && !decoder.saw_bare_lf());
        }
    }

    #[test]
    fn other_dots_do_not_end_the_data() {
        for (wire, content) in [
            ("a\n.\nb", "a\r\n\r\nb"),
            ("a\n.\r\nb", "a\r\n\r\nb"),
            ("a\r\n.\nb", "a\r\n\r\nb"),
            ("a\r.\rb", "a . b"),
            ("a\r\n.\rb", "a\r\n b"),
            ("a\r\n.\r\r\nb", "a\r\n \r\nb"),
            ("a\r\n\0.\r\nb", "a\r\n\0.\r\nb"),
            ("\n.\r\nb", "\r\n\r\nb"),
        ] {
            let (out, read, decoder) = decode(wire.as_bytes());
            assert_eq!(String::from_utf8_lossy(&out), content, "{wire:?}");
            assert!(!decoder.has_ended() && read == wire.len(), "{wire:?}");
        }
    }

    #[test]
    fn stuffer_lets_no_bare_newline_out() {
        assert_eq!(stuff(b""), b".\r\n");
        assert_eq!(stuff(b"."), b"..\r\n.\r\n");
        assert_eq!(stuff(b"a\n.\nb\r.\r"), b"a\r\n..\r\nb . \r\n.\r\n");
        assert_eq!(stuff(b"\r.\r\n"), b" .\r\n.\r\n");
    }

    /// Octets among which ends of data and near misses are frequent.
    fn tricky() -> impl Strategy<Value = Vec<u8>> {
        let octet = prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(b'a'), any::<u8>()];
        proptest::collection::vec(octet, 0..64)
    }

    /// The definition, word for word: the end is the first CRLF.CRLF, counted from the CRLF of DATA.
    fn end_of(wire: &[u8]) -> Option<usize> {
        let whole = [b"\r\n", wire].concat();
        let at = whole.windows(5).position(|five| five == b"\r\n.\r\n")?;
        Some(at + 3)
    }

    proptest! {
        #[test]
        fn end_of_data_is_the_first_crlf_dot_crlf(wire in tricky()) {
            let (out, read, decoder) = decode(&wire);
            prop_assert_eq!(decoder.has_ended().then_some(read), end_of(&wire));
            let text = String::from_utf8_lossy(&out).replace("\r\n", "");
            prop_assert!(!text.contains(['\r', '\n']));
        }

        #[test]
        fn content_does_not_depend_on_segmentation(wire in tricky(), cuts in proptest::collection::vec(1..9_usize, 1..20)) {
            let (whole, read, whole_decoder) = decode(&wire);
            let mut decoder = DataDecoder::new();
            let mut out = Vec::new();
            let mut total = 0;
            let mut rest = wire.as_slice();
            for cut in cuts.iter().cycle() {
                let (piece, tail) = rest.split_at((*cut).min(rest.len()));
                total += decoder.decode(piece, &mut out);
                rest = tail;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!((out, total), (whole, read));
            prop_assert_eq!(decoder.saw_bare_cr(), whole_decoder.saw_bare_cr());
            prop_assert_eq!(decoder.saw_bare_lf(), whole_decoder.saw_bare_lf());
        }

        #[test]
        fn one_data_in_is_one_message_out(content in tricky(), cut in 0..64_usize) {
            let (first, second) = content.split_at(cut.min(content.len()));
            let mut wire = Vec::new();
            let mut stuffer = DotStuffer::new();
            stuffer.push(first, &mut wire);
            stuffer.push(second, &mut wire);
            stuffer.finish(&mut wire);
            let (out, read, decoder) = decode(&wire);
            prop_assert!(decoder.has_ended() && read == wire.len());
            prop_assert!(!decoder.saw_bare_cr() && !decoder.saw_bare_lf());
            prop_assert_eq!(stuff(&out), wire);
        }

        #[test]
        fn decode_undoes_stuff(lines in proptest::collection::vec("[.a ]{0,4}", 0..12)) {
            let content = lines.join("\r\n") + "\r\n";
            let (out, _, decoder) = decode(&stuff(content.as_bytes()));
            prop_assert!(decoder.has_ended());
            prop_assert_eq!(out, content.into_bytes());
        }
    }
}
