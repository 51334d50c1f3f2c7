//! Fields added to, changed in and taken out of a header, as a content filter asks.
//!
//! **Implements** what Postfix makes of ADDHEADER, INSHEADER and CHGHEADER: a place to insert counts our own trace header,
//! a field to change is counted without it; a change of a field that is not there adds it.
//! **Does not** let a value end the header or begin a field: what follows a line end is folded.

use super::header_fields::{Field, HEADER_OCTETS_MAX, Header, is_name};

/// The longest line of a message without its end, octets (RFC 5322 section 2.1.1).
pub const LINE_OCTETS_MAX: usize = 998;

/// Why a field is not written; the filter's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The name is empty, or holds what no name does.
    #[error("a header field without a name that can be one")]
    Name,
    /// The header would be longer than [`HEADER_OCTETS_MAX`].
    #[error("a header of more than {HEADER_OCTETS_MAX} octets")]
    TooLong,
}

/// Whether a blank is written between the colon and a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lead {
    /// One, as in Sendmail.
    Blank,
    /// None: the value brings its own (`SMFIP_HDR_LEADSPC`).
    Given,
}

impl Header {
    /// Adds a field at the end.
    ///
    /// # Errors
    /// [`EditError`].
    pub fn add(&mut self, name: &[u8], value: &[u8], lead: Lead) -> Result<(), EditError> {
        self.insert(usize::MAX, name, value, lead)
    }

    /// Inserts a field below so many others, our trace header counted; at the end when there are fewer.
    ///
    /// # Errors
    /// [`EditError`].
    pub fn insert(&mut self, above: usize, name: &[u8], value: &[u8], lead: Lead) -> Result<(), EditError> {
        let field = field(name, value, lead)?;
        let place = above.min(self.fields.len());
        self.fields.insert(place, field);
        self.check_length()
    }

    /// Changes the `number`th field of that name, counted from 1; an empty value deletes it.
    ///
    /// # Errors
    /// [`EditError`].
    pub fn change(&mut self, number: usize, name: &[u8], value: &[u8], lead: Lead) -> Result<(), EditError> {
        let is_named = |field: &Field| !field.is_ours && field.name().eq_ignore_ascii_case(name);
        let places = self.fields.iter().enumerate().filter(|(_, field)| is_named(field));
        let place = places.map(|(place, _)| place).nth(number.saturating_sub(1));
        match place {
            Some(place) if value.is_empty() => {
                self.fields.remove(place);
            }
            None if value.is_empty() => {}
            Some(place) => {
                let field = field(name, value, lead)?;
                if let Some(old) = self.fields.get_mut(place) {
                    *old = field;
                }
            }
            None => return self.add(name, value, lead),
        }
        self.check_length()
    }

    fn check_length(&self) -> Result<(), EditError> {
        if self.len_octets() > HEADER_OCTETS_MAX {
            return Err(EditError::TooLong);
        }
        Ok(())
    }
}

fn field(name: &[u8], value: &[u8], lead: Lead) -> Result<Field, EditError> {
    if !is_name(name) || name.len() > LINE_OCTETS_MAX / 2 {
        return Err(EditError::Name);
    }
    let mut first = name.to_vec();
    first.push(b':');
    if lead == Lead::Blank {
        first.push(b' ');
    }
    let mut octets = Vec::new();
    for (number, line) in value.split(|octet| *octet == b'\n').enumerate() {
        let line: Vec<u8> = line
            .iter()
            .copied()
            .filter(|octet| !matches!(octet, b'\r' | 0))
            .collect();
        if number == 0 {
            first.extend_from_slice(&line);
            fold(&first, &mut octets);
        } else if !line.trim_ascii().is_empty() {
            // A line without a blank before it would be a field of its own.
            let blank: &[u8] = if matches!(line.first(), Some(b' ' | b'\t')) {
                b""
            } else {
                b"\t"
            };
            fold(&[blank, &line].concat(), &mut octets);
        }
    }
    Ok(Field { octets, is_ours: false })
}

/// Blanks that a line may begin with; more become one.
const INDENT_OCTETS_MAX: usize = 100;

/// Writes a line, in several where it is too long: at its last blank that fits, or else in the midst of a word.
fn fold(line: &[u8], out: &mut Vec<u8>) {
    let trimmed = line.trim_ascii_start();
    let indent = line.len().saturating_sub(trimmed.len());
    let (mut prefix, mut line): (&[u8], _) = if indent > INDENT_OCTETS_MAX {
        (b" ", trimmed)
    } else {
        (b"", line)
    };
    loop {
        let room = LINE_OCTETS_MAX.saturating_sub(prefix.len());
        let Some(fitting) = line.get(..room).filter(|_| line.len() > room) else {
            break;
        };
        let is_break = |at: &usize| {
            let head = fitting.get(..*at).unwrap_or_default();
            matches!(fitting.get(*at), Some(b' ' | b'\t')) && !head.trim_ascii().is_empty()
        };
        let at = (INDENT_OCTETS_MAX..room).rev().find(is_break).unwrap_or(room);
        let (head, rest) = line.split_at(at);
        out.extend_from_slice(prefix);
        out.extend_from_slice(head);
        out.extend_from_slice(b"\r\n");
        // A line of blanks alone could be taken for the end of the header.
        line = rest.trim_ascii_start();
        prefix = b" ";
        if line.is_empty() {
            return;
        }
    }
    out.extend_from_slice(prefix);
    out.extend_from_slice(line);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mail::header_fields::HeaderReader;

    fn header(text: &str) -> Header {
        let mut reader = HeaderReader::beginning_with(b"Received: ours\r\n".to_vec());
        reader.take(text.as_bytes()).unwrap();
        reader.finish()
    }

    fn text(header: &Header) -> String {
        String::from_utf8(header.to_octets()).unwrap()
    }

    #[test]
    fn fields_go_where_postfix_puts_them() {
        let mut edited = header("Received: theirs\r\nA: 1\r\na: 2\r\n");
        edited.add(b"Last", b"x", Lead::Blank).unwrap();
        edited.insert(0, b"Top", b"x", Lead::Blank).unwrap();
        edited.insert(2, b"Below-Ours", b"x", Lead::Given).unwrap();
        edited.change(2, b"A", b"two", Lead::Blank).unwrap();
        edited.change(1, b"received", b"", Lead::Blank).unwrap();
        edited.change(1, b"New", b"y", Lead::Blank).unwrap();
        edited.change(9, b"New", b"", Lead::Blank).unwrap();
        let expected = "Top: x\r\nReceived: ours\r\nBelow-Ours:x\r\nA: 1\r\nA: two\r\nLast: x\r\nNew: y\r\n";
        assert_eq!(text(&edited), expected);
    }

    #[test]
    fn value_cannot_begin_a_field_or_end_the_header() {
        for (value, written) in [
            ("a\nB: c", "X: a\r\n\tB: c\r\n"),
            ("a\r\n\r\nbody", "X: a\r\n\tbody\r\n"),
            ("a\r\n b\r\n", "X: a\r\n b\r\n"),
            ("a\rB: c", "X: aB: c\r\n"),
            ("a\n \n \t\nb", "X: a\r\n\tb\r\n"),
        ] {
            let mut edited = Header::default();
            edited.add(b"X", value.as_bytes(), Lead::Blank).unwrap();
            assert_eq!(text(&edited), written);
        }
        for name in ["", "a b", "a:b", "a\r\nB", "é"] {
            assert_eq!(
                Header::default().add(name.as_bytes(), b"x", Lead::Blank),
                Err(EditError::Name)
            );
        }
    }

    proptest! {
        #[test]
        fn written_field_is_one_field_of_short_lines(
            value in proptest::collection::vec(prop_oneof![Just(b' '), Just(b'\n'), Just(b'\r'), any::<u8>()], 0..4000)
        ) {
            let mut edited = Header::default();
            edited.add(b"X-Name", &value, Lead::Blank).unwrap();
            let octets = edited.to_octets();
            let mut reader = HeaderReader::default();
            prop_assert_eq!(reader.take(&octets).unwrap(), None);
            prop_assert_eq!(reader.finish().fields.len(), 1);
            for line in octets.split_inclusive(|octet| *octet == b'\n') {
                prop_assert!(line.ends_with(b"\r\n") && line.len() <= LINE_OCTETS_MAX + 2);
            }
        }

        #[test]
        fn word_of_any_length_is_folded(length in 900_usize..5000) {
            let mut edited = Header::default();
            edited.add(b"X", &vec![b'w'; length], Lead::Blank).unwrap();
            let octets = edited.to_octets();
            prop_assert_eq!(octets.iter().filter(|octet| **octet == b'w').count(), length);
            for line in octets.split_inclusive(|octet| *octet == b'\n') {
                prop_assert!(line.len() <= LINE_OCTETS_MAX + 2);
            }
        }
    }
}
