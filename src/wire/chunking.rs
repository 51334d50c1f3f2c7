//! BDAT: its argument, and mail data that comes in chunks of a length told beforehand.
//!
//! **Implements** RFC 3030 section 2. No dot has a meaning in a chunk. Lines are made to end in CRLF as in
//! [`super::data::DataDecoder`], and the last one is ended when it is open: nothing that a next hop could take for the end of data
//! leaves, whatever a chunk held.
//! **Does not** take BODY=BINARYMIME, so that the content may be handled as lines.

use memchr::memchr2;

/// One chunk as BDAT announces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// How many octets follow the command.
    pub size_octets: u64,
    /// Whether it is the last one of the message.
    pub is_last: bool,
}

impl Chunk {
    /// Reads the argument of BDAT; `None` when nobody can say how many octets follow.
    pub fn parse(argument: &str) -> Option<Self> {
        let mut words = argument.split_ascii_whitespace();
        let size = words
            .next()
            .filter(|size| size.bytes().all(|octet| octet.is_ascii_digit()))?;
        let is_last = match words.next() {
            None => false,
            Some(word) if word.eq_ignore_ascii_case("LAST") => true,
            Some(_) => return None,
        };
        let size_octets = size.parse().ok().filter(|_| words.next().is_none())?;
        Some(Self { size_octets, is_last })
    }
}

/// Where in a line the decoder stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    LineStart,
    Text,
    /// Behind a CR that may be half of a line end.
    Cr,
}

/// The receiving side. The content depends neither on how the octets were cut nor on how they were divided into chunks.
#[derive(Clone, Debug)]
pub struct ChunkDecoder {
    place: Place,
    chunk: Chunk,
    remaining: u64,
    ended: bool,
    bare_cr: bool,
    bare_lf: bool,
}

impl ChunkDecoder {
    /// A decoder at the first octet of the first chunk.
    pub const fn new(chunk: Chunk) -> Self {
        Self {
            place: Place::LineStart,
            chunk,
            remaining: chunk.size_octets,
            ended: false,
            bare_cr: false,
            bare_lf: false,
        }
    }

    /// The next chunk begins.
    pub const fn begin(&mut self, chunk: Chunk) {
        self.chunk = chunk;
        self.remaining = chunk.size_octets;
    }

    /// The chunk under way or just read.
    pub const fn chunk(&self) -> Chunk {
        self.chunk
    }

    /// Octets of the chunk that are still to come.
    pub const fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Whether the last chunk was read whole and its end decoded.
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

    /// Decodes octets, appends the content to `out` and returns how many octets belong to the chunk.
    pub fn decode(&mut self, octets: &[u8], out: &mut Vec<u8>) -> usize {
        let room = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        let mut rest = octets.get(..room).unwrap_or(octets);
        let read = rest.len();
        self.remaining = self.remaining.saturating_sub(read as u64);
        while let Some(first) = rest.first().copied() {
            if self.place == Place::Cr && first != b'\n' {
                self.bare_cr = true;
                out.push(b' ');
                self.place = Place::Text;
            }
            let run = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            let (text, tail) = rest.split_at(run);
            out.extend_from_slice(text);
            if !text.is_empty() {
                self.place = Place::Text;
            }
            match tail.first() {
                Some(b'\n') => self.end_line(out),
                Some(_) => self.place = Place::Cr,
                None => {}
            }
            rest = tail.get(1..).unwrap_or_default();
        }
        if self.chunk.is_last && self.remaining == 0 && !self.ended {
            self.end(out);
        }
        read
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        self.bare_lf = self.bare_lf || self.place != Place::Cr;
        out.extend_from_slice(b"\r\n");
        self.place = Place::LineStart;
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.ended = true;
        if self.place == Place::Cr {
            self.bare_cr = true;
            out.push(b' ');
        }
        if self.place != Place::LineStart {
            out.extend_from_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::data::DotStuffer;

    fn decode(chunks: &[&[u8]], piece: usize) -> (Vec<u8>, ChunkDecoder) {
        let chunk = |n: usize| Chunk {
            size_octets: chunks[n].len() as u64,
            is_last: n + 1 == chunks.len(),
        };
        let mut decoder = ChunkDecoder::new(chunk(0));
        let mut out = Vec::new();
        for (n, octets) in chunks.iter().enumerate() {
            decoder.begin(chunk(n));
            assert_eq!(decoder.decode(&[], &mut out), 0);
            let read: usize = octets.chunks(piece).map(|piece| decoder.decode(piece, &mut out)).sum();
            assert_eq!((read, decoder.remaining()), (octets.len(), 0));
        }
        (out, decoder)
    }

    #[test]
    fn argument_is_read() {
        for (argument, size_octets, is_last) in [
            ("0", 0, false),
            ("86  last", 86, true),
            ("18446744073709551615", u64::MAX, false),
        ] {
            assert_eq!(
                Chunk::parse(argument),
                Some(Chunk { size_octets, is_last }),
                "{argument}"
            );
        }
        for argument in [
            "",
            "LAST",
            "-1",
            "+1",
            "1.5",
            "0x10",
            "1 LAST x",
            "1 FIRST",
            "18446744073709551616",
            "1,LAST",
            "١",
        ] {
            assert_eq!(Chunk::parse(argument), None, "{argument}");
        }
    }

    #[test]
    fn every_line_ends_in_crlf_and_dots_stay() {
        for (chunks, content) in [
            (&["a\r\n.\r\nb"][..], "a\r\n.\r\nb\r\n"),
            (&["a\n.\nb\r.\r"], "a\r\n.\r\nb . \r\n"),
            (&["a\r", "\nb\r\n"], "a\r\nb\r\n"),
            (&["a\r", "b"], "a b\r\n"),
            (&["a\r\n", ""], "a\r\n"),
            (&["", ""], ""),
        ] {
            let chunks: Vec<&[u8]> = chunks.iter().map(|text| text.as_bytes()).collect();
            let (out, decoder) = decode(&chunks, 64);
            assert_eq!(String::from_utf8_lossy(&out), content, "{chunks:?}");
            assert!(decoder.has_ended());
        }
    }

    #[test]
    fn octets_behind_the_chunk_are_left() {
        let mut decoder = ChunkDecoder::new(Chunk {
            size_octets: 3,
            is_last: false,
        });
        let mut out = Vec::new();
        assert_eq!(decoder.decode(b"abcQUIT\r\n", &mut out), 3);
        assert_eq!((out.as_slice(), decoder.has_ended()), (&b"abc"[..], false));
    }

    /// Octets among which line ends and near misses are frequent.
    fn tricky() -> impl Strategy<Value = Vec<u8>> {
        let octet = prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(b'a'), any::<u8>()];
        proptest::collection::vec(octet, 0..64)
    }

    proptest! {
        #[test]
        fn content_depends_neither_on_segmentation_nor_on_chunks(
            content in tricky(), cut in 0..64_usize, piece in 1..9_usize
        ) {
            let (whole, decoder) = decode(&[&content], content.len().max(1));
            let (first, second) = content.split_at(cut.min(content.len()));
            let (out, chunked) = decode(&[first, second], piece);
            prop_assert_eq!(&out, &whole);
            prop_assert_eq!(chunked.saw_bare_cr(), decoder.saw_bare_cr());
            prop_assert_eq!(chunked.saw_bare_lf(), decoder.saw_bare_lf());
            prop_assert!(!String::from_utf8_lossy(&out).replace("\r\n", "").contains(['\r', '\n']));
            prop_assert!(out.is_empty() || out.ends_with(b"\r\n"));
        }

        #[test]
        fn nothing_is_changed_on_the_way_out(content in tricky()) {
            let (out, _) = decode(&[&content], 7);
            let mut stuffer = DotStuffer::new();
            let mut wire = Vec::new();
            stuffer.push(&out, &mut wire);
            stuffer.finish(&mut wire);
            let mut decoder = crate::wire::data::DataDecoder::new();
            let mut again = Vec::new();
            decoder.decode(&wire, &mut again);
            prop_assert_eq!(again, out);
        }
    }
}
