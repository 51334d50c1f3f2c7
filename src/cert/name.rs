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

/// The OID of a short name (letter case is ignored), or of a dotted OID itself.
pub fn oid_of(name: &str) -> Option<&str> {
    let known = SHORT_NAMES
        .iter()
        .find(|(short, _)| short.eq_ignore_ascii_case(name))
        .map(|(_, oid)| *oid);
    let is_dotted = name.contains('.')
        && name
            .split('.')
            .all(|arc| !arc.is_empty() && arc.bytes().all(|b| b.is_ascii_digit()));
    known.or(is_dotted.then_some(name))
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
                attribute.value.chars().for_each(|c| push_one_line(&mut out, c));
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

/// Printable characters stand for themselves; separators and the rest become `\HH` per UTF-8 octet.
fn push_one_line(out: &mut String, c: char) {
    let is_plain = !matches!(c, '/' | '+' | '=' | '\\') && is_printable(c);
    if is_plain {
        out.push(c);
    } else {
        push_hex(out, c);
    }
}

/// Controls, format characters that reorder or hide text, and private or unassigned marks are not printable.
fn is_printable(c: char) -> bool {
    !(c.is_control()
        || matches!(c, '\u{a0}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{e000}'..='\u{f8ff}' | '\u{feff}' | '\u{fff0}'..='\u{fffd}' | '\u{e0000}'..))
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
        assert_eq!(oid_of("nonsense"), None);
    }
}
