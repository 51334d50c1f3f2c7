//! The header of a message as a list of fields, read line by line as the message comes.
//!
//! **Implements** RFC 5322 section 2.2: names, folded values, the empty line that ends the header. A line that is neither
//! a field nor the continuation of one ends the header too, as in Postfix.
//! **Does not** change fields: `header_edit` does.

/// Octets of the header that are kept, at most.
pub const HEADER_OCTETS_MAX: usize = 1024 * 1024;

/// The header is longer than [`HEADER_OCTETS_MAX`]: the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header is longer than {HEADER_OCTETS_MAX} octets")]
pub struct HeaderTooLong;

/// One field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// All its lines with their ends.
    pub octets: Vec<u8>,
    /// Whether it is our own trace header, which filters do not see.
    pub is_ours: bool,
}

impl Field {
    /// Its name, without the colon and the blanks before that.
    pub fn name(&self) -> &[u8] {
        let end = memchr::memchr(b':', &self.octets).unwrap_or_default();
        self.octets.get(..end).unwrap_or_default().trim_ascii_end()
    }

    /// What follows the colon, its lines separated by LF, without the end of the last one.
    pub fn value(&self) -> Vec<u8> {
        let start = memchr::memchr(b':', &self.octets).map_or(0, |colon| colon.saturating_add(1));
        let value = self.octets.get(start..).unwrap_or_default();
        let value = value.strip_suffix(b"\r\n").unwrap_or(value);
        value.iter().copied().filter(|octet| *octet != b'\r').collect()
    }
}

/// The fields of a header, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The first one is at the top.
    pub fields: Vec<Field>,
}

impl Header {
    /// A header that begins with our trace header.
    pub fn beginning_with(trace: Vec<u8>) -> Self {
        let trace = Field {
            octets: trace,
            is_ours: true,
        };
        Self { fields: vec![trace] }
    }

    /// The fields that are not ours.
    pub fn received(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| !field.is_ours)
    }

    /// All fields, as they go on.
    pub fn to_octets(&self) -> Vec<u8> {
        self.fields
            .iter()
            .flat_map(|field| field.octets.iter().copied())
            .collect()
    }

    /// Octets in all.
    pub fn len_octets(&self) -> usize {
        self.fields.iter().map(|field| field.octets.len()).sum()
    }
}

/// Reads a header from pieces of a message whose lines end in CRLF.
#[derive(Clone, Debug, Default)]
pub struct HeaderReader {
    header: Header,
    octets: usize,
    line: Vec<u8>,
}

impl HeaderReader {
    /// A header that begins with what we put ahead of the message, and nothing read: fields that lists add, then our trace
    /// header. Filters see the former, as in Postfix: what a policy service found out of SPF is for them.
    pub fn beginning_with(ahead: Vec<u8>) -> Self {
        let mut reader = Self::default();
        let is_read = matches!(reader.take(&ahead), Ok(None)) && reader.line.is_empty();
        match reader.header.fields.last_mut() {
            Some(trace) if is_read => trace.is_ours = true,
            _ => reader.header = Header::beginning_with(ahead),
        }
        Self {
            header: reader.header,
            ..Self::default()
        }
    }

    /// Takes a piece. Once the header has ended, returns what of the piece is body.
    ///
    /// # Errors
    /// [`HeaderTooLong`].
    pub fn take(&mut self, mut piece: &[u8]) -> Result<Option<Vec<u8>>, HeaderTooLong> {
        while let Some(end) = memchr::memchr(b'\n', piece) {
            let (line, rest) = piece.split_at(end.saturating_add(1));
            self.keep(line)?;
            piece = rest;
            let line = std::mem::take(&mut self.line);
            if line == b"\r\n" {
                return Ok(Some(piece.to_vec()));
            }
            if let Some(mut body) = self.add(line) {
                body.extend_from_slice(piece);
                return Ok(Some(body));
            }
        }
        self.keep(piece)?;
        Ok(None)
    }

    fn keep(&mut self, octets: &[u8]) -> Result<(), HeaderTooLong> {
        self.octets = self.octets.saturating_add(octets.len());
        if self.octets > HEADER_OCTETS_MAX {
            return Err(HeaderTooLong);
        }
        self.line.extend_from_slice(octets);
        Ok(())
    }

    /// Adds a line; it comes back when it is none of the header.
    fn add(&mut self, line: Vec<u8>) -> Option<Vec<u8>> {
        let is_continuation = matches!(line.first(), Some(b' ' | b'\t'));
        match self.header.fields.last_mut() {
            Some(field) if is_continuation && !field.is_ours => field.octets.extend_from_slice(&line),
            _ if is_field(&line) => self.header.fields.push(Field {
                octets: line,
                is_ours: false,
            }),
            _ => return Some(line),
        }
        None
    }

    /// The header, when the message or its header has ended.
    pub fn finish(self) -> Header {
        self.header
    }
}

/// RFC 5322 section 2.2: printable octets without a colon; section 4.5 has blanks before it.
fn is_field(line: &[u8]) -> bool {
    let Some(colon) = memchr::memchr(b':', line) else {
        return false;
    };
    is_name(line.get(..colon).unwrap_or_default().trim_ascii_end())
}

/// Whether this is the name of a field.
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|octet| octet.is_ascii_graphic() && *octet != b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(message: &[u8], piece: usize) -> (Vec<(String, String)>, Option<Vec<u8>>) {
        let mut reader = HeaderReader::beginning_with(b"Received: x\r\n".to_vec());
        let mut body: Option<Vec<u8>> = None;
        for piece in message.chunks(piece) {
            match &mut body {
                Some(body) => body.extend_from_slice(piece),
                None => body = reader.take(piece).unwrap(),
            }
        }
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let header = reader.finish();
        let fields = header
            .received()
            .map(|field| (text(field.name()), text(&field.value())));
        (fields.collect(), body)
    }

    #[test]
    fn header_is_read_alike_in_pieces_of_any_size() {
        let message = b"A: 1\r\nB :2\r\n\t3\r\nC:\r\n\r\nD: body\r\n";
        for piece in 1..message.len() {
            let (fields, body) = read(message, piece);
            let expected = [("A", " 1"), ("B", "2\n\t3"), ("C", "")];
            let expected: Vec<_> = expected.map(|(n, v)| (n.to_owned(), v.to_owned())).into();
            assert_eq!(fields, expected, "{piece}");
            assert_eq!(body.as_deref(), Some(b"D: body\r\n".as_slice()), "{piece}");
        }
    }

    #[test]
    fn line_that_is_no_field_begins_the_body() {
        for (message, fields, body) in [
            (
                b"A: 1\r\nno field\r\n\r\nx\r\n".as_slice(),
                1,
                Some(b"no field\r\n\r\nx\r\n".as_slice()),
            ),
            (b" x: y\r\n", 0, Some(b" x: y\r\n")),
            (b"\r\n", 0, Some(b"")),
            (b"A: 1\r\n", 1, None),
        ] {
            let (read, found) = read(message, 1);
            assert_eq!((read.len(), found.as_deref()), (fields, body));
        }
    }

    #[test]
    fn fields_that_lists_add_are_seen_and_only_our_trace_header_is_not() {
        let ahead = b"Received-SPF: pass\r\n\tx\r\nReceived: from a\r\n\tby us\r\n".to_vec();
        let mut reader = HeaderReader::beginning_with(ahead.clone());
        assert_eq!(
            reader.take(b" x\r\n"),
            Ok(Some(b" x\r\n".to_vec())),
            "our field is not continued"
        );
        let header = reader.finish();
        let seen: Vec<&[u8]> = header.received().map(Field::name).collect();
        assert_eq!(seen, [b"Received-SPF".as_slice()]);
        assert_eq!(header.to_octets(), ahead);
        for odd in [b"no field\r\nReceived: x\r\n".as_slice(), b"Received: x"] {
            let header = HeaderReader::beginning_with(odd.to_vec()).finish();
            assert_eq!((header.received().count(), header.to_octets()), (0, odd.to_vec()));
        }
    }

    #[test]
    fn endless_header_is_refused() {
        let mut reader = HeaderReader::default();
        let piece = vec![b'a'; 64 * 1024];
        let taken = (0..64).take_while(|_| reader.take(&piece).is_ok()).count();
        assert_eq!(taken, HEADER_OCTETS_MAX / piece.len());
    }
}
