//! Distinguished names: ordered RDNs with decoded values, and their two text forms.
//!
//! **Implements** RFC 4514 text, and the one-line text of OpenSSL made unambiguous: inside a value `/`, `+`, `=`,
//! `\` and everything not printable is written `\HH`, so `/OU=` can only be a real attribute.

use std::fmt::Write as _;

/// An ordered list of RDNs, as in the certificate (most significant first).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DistinguishedName(pub Vec<Rdn>);

/// A relative distinguished name: one attribute, rarely several.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rdn(pub Vec<Attribute>);

/// An attribute type and its value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attribute {
    /// Dotted OID.
    pub oid: String,
    /// The value as Unicode, whatever its string type was.
    pub value: String,
}

/// Short names and their OIDs; the first name of an OID is the one printed.
const SHORT_NAMES: [(&str, &str); 17] = [
    ("CN", "2.5.4.3"),
    ("SN", "2.5.4.4"),
    ("serialNumber", "2.5.4.5"),
    ("C", "2.5.4.6"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("street", "2.5.4.9"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("title", "2.5.4.12"),
    ("GN", "2.5.4.42"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("emailAddress", "1.2.840.113549.1.9.1"),
    ("Email", "1.2.840.113549.1.9.1"),
    ("E", "1.2.840.113549.1.9.1"),
    ("S", "2.5.4.8"),
];

/// All short names, aliases among them.
pub fn short_names() -> impl Iterator<Item = &'static str> {
    SHORT_NAMES.iter().map(|(name, _)| *name)
}

/// The short name of an attribute type, or its dotted OID.
pub fn short_name(oid: &str) -> &str {
    SHORT_NAMES
        .iter()
        .find(|(_, known)| *known == oid)
        .map_or(oid, |(name, _)| name)
}

/// The OID of a short name (letter case is ignored), or of a dotted OID itself. A number with a leading zero is
/// refused: no certificate is decoded to it, so that it would never be found.
pub fn oid_of(name: &str) -> Option<&str> {
    let known = SHORT_NAMES
        .iter()
        .find(|(short, _)| short.eq_ignore_ascii_case(name))
        .map(|(_, oid)| *oid);
    let is_dotted = name.contains('.') && name.split('.').all(is_number);
    known.or(is_dotted.then_some(name))
}

fn is_number(arc: &str) -> bool {
    let has_digits_only = !arc.is_empty() && arc.bytes().all(|b| b.is_ascii_digit());
    has_digits_only && (arc == "0" || !arc.starts_with('0'))
}

impl DistinguishedName {
    /// The values of an attribute type, in order; takes a short name or a dotted OID.
    pub fn values<'a>(&'a self, attribute_type: &'a str) -> impl Iterator<Item = &'a str> {
        let oid = oid_of(attribute_type).unwrap_or_default();
        self.0
            .iter()
            .flat_map(|rdn| &rdn.0)
            .filter(move |a| a.oid == oid)
            .map(|a| a.value.as_str())
    }

    /// The last common name, which is the most specific.
    pub fn common_name(&self) -> Option<&str> {
        self.values("CN").last()
    }

    /// The unambiguous one-line text: `/C=FR/O=CNRS/OU=UMR5168/CN=Alice Martin`.
    pub fn one_line(&self) -> String {
        let mut out = String::new();
        for rdn in &self.0 {
            for (n, attribute) in rdn.0.iter().enumerate() {
                out.push(if n == 0 { '/' } else { '+' });
                out.push_str(short_name(&attribute.oid));
                out.push('=');
                out.push_str(&escaped(&attribute.value));
            }
        }
        out
    }

    /// RFC 4514 text, most specific first: `CN=Alice Martin,OU=UMR5168,O=CNRS,C=FR`.
    pub fn rfc4514(&self) -> String {
        let mut out = String::new();
        for (n, rdn) in self.0.iter().rev().enumerate() {
            if n > 0 {
                out.push(',');
            }
            for (m, attribute) in rdn.0.iter().rev().enumerate() {
                if m > 0 {
                    out.push('+');
                }
                out.push_str(short_name(&attribute.oid));
                out.push('=');
                push_rfc4514(&mut out, &attribute.value);
            }
        }
        out
    }
}

/// A value as it stands in the one-line text: printable characters stand for themselves; `/`, `+`, `=`, `\` and the
/// rest become `\HH` per UTF-8 octet.
pub fn escaped(value: &str) -> String {
    escape_unless(value, |c| !matches!(c, '/' | '+' | '=' | '\\') && is_printable(c))
}

/// A value between double quotes, which are escaped inside, so that a text of several values has one reading.
pub fn quoted(value: &str) -> String {
    let is_plain = |c| !matches!(c, '/' | '+' | '=' | '\\' | '"') && is_printable(c);
    format!("\"{}\"", escape_unless(value, is_plain))
}

/// Text of the configuration for a line of a log or a report: what is not printable becomes `\HH` per UTF-8 octet.
pub fn printable(text: &str) -> String {
    escape_unless(text, is_printable)
}

fn escape_unless(text: &str, is_plain: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_plain(c) {
            out.push(c);
        } else {
            push_hex(&mut out, c);
        }
    }
    out
}

/// Controls, white space other than the plain space, characters that reorder or hide text or show nothing, and private or
/// unassigned marks are not printable.
pub fn is_printable(c: char) -> bool {
    let is_space = c.is_whitespace() && c != ' ';
    let is_hidden = matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{1d173}'..='\u{1d17a}');
    let is_unassigned = matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{fdd0}'..='\u{fdef}' | '\u{fff0}'..='\u{ffff}'
        | '\u{e0000}'..)
        || u32::from(c) & 0xfffe == 0xfffe;
    !(c.is_control() || is_space || is_hidden || is_unassigned)
}

fn push_hex(out: &mut String, c: char) {
    for octet in c.encode_utf8(&mut [0; 4]).bytes() {
        let _ = write!(out, "\\{octet:02X}");
    }
}

fn push_rfc4514(out: &mut String, value: &str) {
    let last = value.chars().count().saturating_sub(1);
    for (n, c) in value.chars().enumerate() {
        match c {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' => {
                out.push('\\');
                out.push(c);
            }
            '#' | ' ' if n == 0 => {
                out.push('\\');
                out.push(c);
            }
            ' ' if n == last => out.push_str("\\ "),
            c if is_printable(c) => out.push(c),
            c => push_hex(out, c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(rdns: &[&[(&str, &str)]]) -> DistinguishedName {
        let attribute = |(short, value): &(&str, &str)| Attribute {
            oid: oid_of(short).unwrap().to_owned(),
            value: (*value).to_owned(),
        };
        DistinguishedName(
            rdns.iter()
                .map(|rdn| Rdn(rdn.iter().map(attribute).collect()))
                .collect(),
        )
    }

    #[test]
    fn both_text_forms_are_printed() {
        let alice = name(&[
            &[("C", "FR")],
            &[("O", "CNRS")],
            &[("OU", "UMR5168")],
            &[("CN", "Alice Martin")],
        ]);
        assert_eq!(alice.one_line(), "/C=FR/O=CNRS/OU=UMR5168/CN=Alice Martin");
        assert_eq!(alice.rfc4514(), "CN=Alice Martin,OU=UMR5168,O=CNRS,C=FR");
    }

    #[test]
    fn separators_inside_a_value_cannot_forge_an_attribute() {
        let forged = name(&[&[("C", "FR")], &[("CN", "bob/OU=UMR5168"), ("UID", "a+b\\c,d\u{202e}")]]);
        assert_eq!(
            forged.one_line(),
            "/C=FR/CN=bob\\2FOU\\3DUMR5168+UID=a\\2Bb\\5Cc,d\\E2\\80\\AE"
        );
        assert_eq!(
            forged.rfc4514(),
            "UID=a\\+b\\\\c\\,d\\E2\\80\\AE+CN=bob/OU\\=UMR5168,C=FR"
        );
        assert_eq!(forged.values("OU").count(), 0);
    }

    #[test]
    fn accents_stand_for_themselves_and_short_names_have_aliases() {
        let name = name(&[&[("Email", "é@cnrs.fr")]]);
        assert_eq!(name.one_line(), "/emailAddress=é@cnrs.fr");
        assert_eq!(name.values("e").collect::<Vec<_>>(), ["é@cnrs.fr"]);
        assert_eq!(oid_of("1.2.3"), Some("1.2.3"));
        for text in ["nonsense", "", ".", "1", "1.", "2.5.4.011", "2.5.4.x"] {
            assert_eq!(oid_of(text), None, "{text}");
        }
        assert_eq!(oid_of("2.0.1"), Some("2.0.1"));
    }

    #[test]
    fn what_cannot_be_seen_is_written_in_hexadecimal() {
        for c in "\0\t\n\u{7f}\u{85}\u{a0}\u{ad}\u{1680}\u{2003}\u{200b}\u{2028}\u{202e}\u{2066}\u{2800}\u{3000}\u{fe0f}\u{feff}\u{ffff}\u{1fffe}\u{e0041}\u{10ffff}".chars() {
            let text = escaped(&c.to_string());
            assert!(text.starts_with('\\') && text.is_ascii(), "{text}");
            assert_eq!(printable(&c.to_string()), text);
        }
        assert_eq!(escaped("É l'œuvre, 东京 😀"), "É l'œuvre, 东京 😀");
        assert_eq!(printable("^/C=FR/O=a\\.b$\n"), "^/C=FR/O=a\\.b$\\0A");
    }
}
