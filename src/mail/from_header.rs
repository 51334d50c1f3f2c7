//! The From header field of a message as it streams through, and the addresses in it.
//!
//! **Implements** RFC 5322 sections 2.2.3 (folding), 3.6.2 and `From :` of section 4.5. Two readers of one header can find two
//! addresses in it, and only one was checked: what can be read in two ways is refused.

use super::address_list;
use crate::wire::path::Mailbox;

/// The longest From header field that is looked at, octets.
pub const FROM_OCTETS_MAX: usize = 16 * 1024;

/// Why the addresses cannot be told; the author's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FromFault {
    /// No such field.
    #[error("the message has no From header field")]
    Missing,
    /// More than one.
    #[error("the message has more than one From header field")]
    Repeated,
    /// Beyond [`FROM_OCTETS_MAX`].
    #[error("the From header field is too long")]
    TooLong,
    /// No address in it.
    #[error("the From header field names no address")]
    Empty,
    /// It can be read in more than one way, or in none.
    #[error("the From header field cannot be understood")]
    Malformed,
    /// A line of the header that is no field: some readers end the header there.
    #[error("the header contains a line that is no header field")]
    NoField,
    /// A NUL, which some readers skip and some stop at.
    #[error("the header contains a NUL octet")]
    Nul,
}

/// Picks the From header field out of content whose lines end in CRLF, up to the empty line.
#[derive(Clone, Debug, Default)]
pub struct FromCollector {
    place: Place,
    name: FieldName,
    value: Vec<u8>,
    has_field: bool,
    fault: Option<FromFault>,
}

/// Where in the header the collector stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// At the first octet.
    #[default]
    Start,
    /// Behind a line end.
    LineStart,
    /// Behind the end of a line of From.
    LineStartInFrom,
    /// Behind a CR that begins a line.
    EmptyLine,
    Name,
    From,
    OtherValue,
    Body,
}

/// How much of a field name is `From`. Octets that a reader may overlook (blanks, controls, those above 127) are skipped,
/// and with one of them the name is no honest one.
#[derive(Clone, Copy, Debug, Default)]
struct FieldName {
    matched: usize,
    differs: bool,
    is_odd: bool,
    blank: Blank,
}

/// RFC 5322 section 3.6.8 has no blank within a name, and section 4.5 one behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Blank {
    #[default]
    None,
    Behind,
    Within,
}

impl FieldName {
    const FROM: &'static [u8] = b"from";

    fn push(&mut self, octet: u8) {
        self.blank = match (self.blank, octet) {
            (Blank::None, b' ' | b'\t') => Blank::Behind,
            (Blank::Behind, octet) if octet.is_ascii_graphic() => Blank::Within,
            (blank, _) => blank,
        };
        if octet.is_ascii_graphic() {
            let expected = Self::FROM.get(self.matched);
            self.differs = self.differs || expected.is_none_or(|expected| !octet.eq_ignore_ascii_case(expected));
            self.matched = self.matched.saturating_add(1);
        } else if !(matches!(octet, b' ' | b'\t') && self.is_from()) {
            self.is_odd = true;
        }
    }

    fn is_from(self) -> bool {
        !self.differs && self.matched == Self::FROM.len()
    }
}

impl FromCollector {
    /// Takes content. The result does not depend on how it was cut.
    pub fn take(&mut self, content: &[u8]) {
        for octet in content {
            if self.place == Place::Body || self.fault.is_some() {
                return;
            }
            self.step(*octet);
        }
    }

    /// The addresses of the field, at the end of data.
    ///
    /// # Errors
    /// [`FromFault`] says why they cannot be told.
    pub fn addresses(&self) -> Result<Vec<Mailbox>, FromFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if !self.has_field {
            return Err(FromFault::Missing);
        }
        let text = std::str::from_utf8(&self.value).map_err(|_| FromFault::Malformed)?;
        if text.chars().any(|c| c.is_control() && c != '\t') {
            return Err(FromFault::Malformed);
        }
        let found = address_list::parse(text).ok_or(FromFault::Malformed)?;
        if found.is_empty() {
            return Err(FromFault::Empty);
        }
        Ok(found)
    }

    fn step(&mut self, octet: u8) {
        if octet == 0 {
            self.fault = Some(FromFault::Nul);
            return;
        }
        match (self.place, octet) {
            (Place::EmptyLine, b'\n') => self.place = Place::Body,
            // A lone CR at the beginning of a line: no reader agrees with another on it.
            (Place::EmptyLine, _) => self.fault = Some(FromFault::Malformed),
            (Place::Start | Place::LineStart | Place::LineStartInFrom, b'\r') => self.place = Place::EmptyLine,
            (Place::LineStartInFrom, b' ' | b'\t') => {
                self.place = Place::From;
                self.keep(octet);
            }
            (Place::LineStart, b' ' | b'\t') => self.place = Place::OtherValue,
            // A line that goes on, and none before it.
            (Place::Start, b' ' | b'\t') => self.fault = Some(FromFault::NoField),
            (Place::Start | Place::LineStart | Place::LineStartInFrom, _) => {
                self.name = FieldName::default();
                self.place = Place::Name;
                self.in_name(octet);
            }
            (Place::Name, _) => self.in_name(octet),
            (Place::From, b'\n') => {
                // Unfolding takes the line end out, RFC 5322 section 2.2.3.
                if self.value.last() == Some(&b'\r') {
                    self.value.pop();
                }
                self.place = Place::LineStartInFrom;
            }
            (Place::From, _) => self.keep(octet),
            (Place::OtherValue, b'\n') => self.place = Place::LineStart,
            (Place::OtherValue | Place::Body, _) => {}
        }
    }

    fn in_name(&mut self, octet: u8) {
        match octet {
            b':' if self.name.is_from() => self.begin_field(),
            b':' if self.name.blank == Blank::Within || self.name.matched == 0 => self.fault = Some(FromFault::NoField),
            b':' => self.place = Place::OtherValue,
            // A line that says no more than `From`: a reader that unfolds finds the colon on the next one.
            b'\n' if self.name.is_from() => self.fault = Some(FromFault::Malformed),
            b'\n' => self.fault = Some(FromFault::NoField),
            other => self.name.push(other),
        }
    }

    fn begin_field(&mut self) {
        if self.has_field {
            self.fault = Some(FromFault::Repeated);
        } else if self.name.is_odd {
            self.fault = Some(FromFault::Malformed);
        }
        self.has_field = true;
        self.place = Place::From;
    }

    fn keep(&mut self, octet: u8) {
        if self.value.len() >= FROM_OCTETS_MAX {
            self.fault = Some(FromFault::TooLong);
        } else {
            self.value.push(octet);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(header: &str) -> Result<Vec<String>, FromFault> {
        let mut collector = FromCollector::default();
        collector.take(header.as_bytes());
        let addresses = collector.addresses()?;
        Ok(addresses.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn addresses_are_found_however_the_field_is_written() {
        for (field, addresses) in [
            ("From: a@example.org", "a@example.org"),
            ("fRoM \t: <a@EXAMPLE.org>", "a@example.org"),
            ("From:a@example.org (A. \\) (nested) Person)", "a@example.org"),
            ("From: (b@example.net) a@example.org", "a@example.org"),
            ("From: \"b@example.net\" <a@example.org>", "a@example.org"),
            ("From: \"A \\\" <b@example.net>\" <a@example.org>", "a@example.org"),
            ("From: John Q. Public\r\n\t<a@example.org>", "a@example.org"),
            ("From: =?utf-8?q?J=C3=A9?= <a@example.org>", "a@example.org"),
            ("From: José <a@example.org>", "a@example.org"),
            ("From: José <josé@bücher.example>", "josé@xn--bcher-kva.example"),
            ("From: <\"a b\"@example.org>", "\"a b\"@example.org"),
            ("From: a@[IPv6:2001:db8::1]", "a@[IPv6:2001:db8::1]"),
            ("From: a@example.org, B <b@example.net>", "a@example.org, b@example.net"),
            (
                "From: Team: a@example.org, <b@example.net>;, c@example.org",
                "a@example.org, b@example.net, c@example.org",
            ),
            (
                "Subject: x\r\n From: b@example.net\r\nFrom: a@example.org\r\nX-From: c@example.net",
                "a@example.org",
            ),
            ("From:\r\n a@example.org\r\n ", "a@example.org"),
        ] {
            let expected: Vec<String> = addresses.split(", ").map(str::to_owned).collect();
            for end in ["", "\r\n", "\r\n\r\nFrom: d@example.net\r\n"] {
                assert_eq!(read(&format!("{field}{end}")), Ok(expected.clone()), "{field}{end}");
            }
        }
    }

    #[test]
    fn header_with_a_line_that_is_no_field_is_refused() {
        for line in [
            "garbage",
            "From b@example.net Tue 10:00",
            " From: b@example.net",
            "Sub ject: x",
            ": x",
            "\tx",
        ] {
            let header = format!("{line}\r\nFrom: a@example.org\r\n\r\nx");
            assert_eq!(read(&header), Err(FromFault::NoField), "{line}");
        }
        assert!(read("X-Note \t: x\r\nFrom: a@example.org\r\n\r\ngarbage\r\n").is_ok());
    }

    #[test]
    fn fields_that_can_be_read_in_two_ways_are_refused() {
        for field in [
            "From: a@example.org <b@example.net>",
            "From: <a@example.org> b@example.net",
            "From: <a@example.org> <b@example.net>",
            "From: <<a@example.org>>",
            "From: a@example.org b@example.net",
            "From: a@example.org; b@example.net",
            "From: a@example.org,",
            "From: , a@example.org",
            "From: a@example.org,,b@example.net",
            "From: <@example.net:a@example.org>",
            "From: <a @example.org>",
            "From: a(x)@example.org",
            "From: a@example.org(",
            "From: a@example.org)",
            "From: \"a@example.org",
            "From: A\\ <a@example.org>",
            "From: <a@example.org",
            "From: a",
            "From: <>",
            "From: Group: a@example.org",
            "From: Group: Inner: a@example.org;;",
            "From: : a@example.org;",
            "From: a@b: c@example.org;",
            "From: Group: a@example.org; b@example.net",
            "From: \"b@example.net,\"@example.org",
            "From: =?utf-8?q?b=40example.net?=@example.org",
            "From: a\u{FF20}b@example.org",
            "From: a\u{A0}@example.org",
            "From: a@example.org\x07",
            "From: A\u{85}<a@example.org>",
            "From: a\r@example.org",
            "F rom: a@example.org",
            "\u{feff}From: a@example.org",
            "From\x0b: a@example.org",
            "From\r\n : a@example.org",
            "\rFrom: a@example.org",
        ] {
            assert_eq!(
                read(&format!("{field}\r\n\r\n")),
                Err(FromFault::Malformed),
                "{field:?}"
            );
        }
        let nested = format!("From: {}{} a@example.org", "(".repeat(17), ")".repeat(17));
        assert_eq!(read(&nested), Err(FromFault::Malformed));
    }

    #[test]
    fn field_that_is_missing_empty_repeated_or_too_long_is_told() {
        let long = format!("From: \"{}\" <a@example.org>", "x".repeat(FROM_OCTETS_MAX));
        for (header, fault) in [
            ("", FromFault::Missing),
            ("\r\nFrom: a@example.org", FromFault::Missing),
            ("From\0: a@example.org", FromFault::Nul),
            ("Sender: a@example.org\r\n", FromFault::Missing),
            ("From: \r\n", FromFault::Empty),
            ("From: (nobody)", FromFault::Empty),
            ("From: undisclosed:;", FromFault::Empty),
            (
                "From: a@example.org\r\nX: y\r\nFROM : a@example.org\r\n",
                FromFault::Repeated,
            ),
            (&long, FromFault::TooLong),
        ] {
            assert_eq!(read(header), Err(fault), "{header:?}");
        }
        let mut latin = FromCollector::default();
        latin.take(b"From: Jos\xe9 <a@example.org>");
        assert_eq!(latin.addresses(), Err(FromFault::Malformed));
    }

    proptest! {
        #[test]
        fn result_does_not_depend_on_how_octets_are_cut(
            header in "((From|X|F)?[ :]{0,2}[a@.<>,;()\"\\\\é\x00]{0,8}(\r\n ?|\r)?){0,8}", piece in 1..7_usize
        ) {
            let mut whole = FromCollector::default();
            whole.take(header.as_bytes());
            let mut cut = FromCollector::default();
            header.as_bytes().chunks(piece).for_each(|piece| cut.take(piece));
            prop_assert_eq!(whole.addresses(), cut.addresses());
        }

        #[test]
        fn arbitrary_octets_never_break_it(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut collector = FromCollector::default();
            collector.take(b"From:");
            collector.take(&octets);
            let _ = collector.addresses();
        }

        /// What was found can be written as a field and is found again.
        #[test]
        fn addresses_found_are_found_again(text in "[a-c@.<>,;:() \"\\\\]{0,40}") {
            if let Ok(found) = read(&format!("From: {text}\r\n")) {
                let again = read(&format!("From: {}\r\n", found.join(", ")));
                prop_assert_eq!(again, Ok(found));
            }
        }
    }
}
