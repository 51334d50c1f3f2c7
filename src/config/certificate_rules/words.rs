//! The words inside conditions: attribute types, object identifiers, key usages, serial numbers, globs.

use crate::cert::name::{oid_of, short_names};
use crate::cert::usage;
use crate::config::nearest::nearest;
use crate::config::reader::{Reader, Word};
use crate::config::value::colons;

/// RFC 5280 section 4.2.1.3.
const KEY_USAGES: [&str; 9] = [
    "digitalSignature",
    "nonRepudiation",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "keyCertSign",
    "cRLSign",
    "encipherOnly",
    "decipherOnly",
];

const KEY_ALGORITHMS: [&str; 3] = ["RSA", "ECDSA", "Ed25519"];

/// Most octets of a serial number: RFC 5280 section 4.1.2.2 allows 20, older CAs took more.
const SERIAL_OCTETS_MAX: usize = 40;

/// Longest value or glob, octets: no certificate holds a longer one that anybody meant.
const VALUE_OCTETS_MAX: usize = 512;

/// An attribute type, as written.
pub fn attribute_type(reader: &mut Reader<'_>, word: &Word) -> Option<String> {
    let is_known = if word.text.contains('.') {
        is_oid(&word.text)
    } else {
        oid_of(&word.text).is_some()
    };
    if is_known {
        return Some(word.text.clone());
    }
    let expected = "an attribute type: a short name such as OU, or a dotted OID";
    let hint = match nearest(&word.text, short_names()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("short names are {}", short_names().collect::<Vec<_>>().join(", ")),
    };
    reader.wrong(word.span.clone(), &word.text, expected, Some(hint))
}

/// The value of an attribute: as it is, white space and letter case included.
pub fn attribute_value(reader: &mut Reader<'_>, word: &Word) -> Option<String> {
    if word.text.len() <= VALUE_OCTETS_MAX {
        return Some(word.text.clone());
    }
    let expected = format!("a value of at most {VALUE_OCTETS_MAX} octets");
    reader.wrong(word.span.clone(), &word.text, &expected, None)
}

/// A dotted OID.
pub fn policy(reader: &mut Reader<'_>, word: &Word) -> Option<String> {
    if is_oid(&word.text) {
        return Some(word.text.clone());
    }
    let expected = "a dotted OID such as 1.3.6.1.4.1.7650.1";
    reader.wrong(word.span.clone(), &word.text, expected, None)
}

/// A name or a dotted OID, as its OID.
pub fn extended_key_usage(reader: &mut Reader<'_>, word: &Word) -> Option<String> {
    if let Some(oid) = usage::oid_of(&word.text) {
        return Some(oid.into());
    }
    if is_oid(&word.text) {
        return Some(word.text.clone());
    }
    let names: Vec<_> = usage::names().collect();
    one_of(reader, word, &names, "a dotted OID")
}

/// The name of an extended key usage, or its OID.
pub fn extended_key_usage_name(oid: &str) -> &str {
    usage::name_of(oid).unwrap_or(oid)
}

/// A bit of the key usage extension.
pub fn key_usage(reader: &mut Reader<'_>, word: &Word) -> Option<String> {
    if word.text == "contentCommitment" {
        // RFC 5280: the newer name of the same bit.
        return Some("nonRepudiation".into());
    }
    one_of(reader, word, &KEY_USAGES, "RFC 5280 has no other")
}

/// The type of a public key.
pub fn key_algorithm(reader: &mut Reader<'_>, word: &Word) -> Option<String> {
    one_of(reader, word, &KEY_ALGORITHMS, "other keys cannot complete a handshake")
}

/// One of these names, whatever its letter case.
fn one_of(reader: &mut Reader<'_>, word: &Word, names: &[&'static str], otherwise: &str) -> Option<String> {
    let found = names.iter().find(|name| name.eq_ignore_ascii_case(&word.text));
    if let Some(found) = found {
        return Some((*found).into());
    }
    let near = nearest(&word.text, names.iter().copied()).map(|near| format!("did you mean {near}?"));
    let expected = format!("one of {} ({otherwise})", names.join(", "));
    reader.wrong(word.span.clone(), &word.text, &expected, near)
}

/// A serial number as certificates are decoded to: upper-case hexadecimal with colons, no leading zero octets.
pub fn serial(reader: &mut Reader<'_>, word: &Word) -> Option<String> {
    let expected = "a serial number in hexadecimal, two digits an octet";
    let digits: String = word.text.trim().chars().filter(|c| *c != ':').collect();
    let is_hexadecimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let hint = match digits.strip_prefix("0x") {
        Some(rest) => Some(format!("write \"{rest}\"")),
        None if is_hexadecimal && digits.len() % 2 == 1 => Some(format!("write \"0{digits}\" if that is the number")),
        None if is_hexadecimal && digits.len() > 2 * SERIAL_OCTETS_MAX => {
            Some(format!("a serial number has at most {SERIAL_OCTETS_MAX} octets"))
        }
        None if is_hexadecimal => {
            let octets = colons(&digits);
            let number = octets.trim_start_matches("00:");
            return Some(number.into());
        }
        None => Some("openssl x509 -serial prints it".into()),
    };
    reader.wrong(word.span.clone(), &word.text, expected, hint)
}

/// A glob on a mail address: `*` does not cross the `@`, so that a glob without one would match nothing.
pub fn address_glob(reader: &mut Reader<'_>, word: &Word) -> Option<String> {
    let text = word.text.as_str();
    if is_glob(text) && text.contains('@') {
        return Some(text.to_owned());
    }
    let hint = match text {
        "*" => Some("write \"*@*\" for any address".to_owned()),
        _ => (!text.contains('@')).then(|| format!("write \"*@{text}\" if it is a domain")),
    };
    let expected = "an address, or a glob such as \"*@example.org\"";
    reader.wrong(word.span.clone(), text, expected, hint)
}

/// A glob on a User Principal Name.
pub fn principal_glob(reader: &mut Reader<'_>, word: &Word) -> Option<String> {
    if is_glob(&word.text) {
        return Some(word.text.clone());
    }
    let expected = "a User Principal Name, or a glob such as \"*@example.org\"";
    reader.wrong(word.span.clone(), &word.text, expected, None)
}

/// A glob on a host name.
pub fn host_glob(reader: &mut Reader<'_>, word: &Word) -> Option<String> {
    if is_glob(&word.text) && !word.text.contains(['@', '/', ':']) {
        return Some(word.text.clone());
    }
    let expected = "a host name, or a glob such as \"*.example.org\"";
    reader.wrong(word.span.clone(), &word.text, expected, None)
}

fn is_glob(text: &str) -> bool {
    text.len() <= VALUE_OCTETS_MAX && !text.chars().any(|c| c.is_control() || c.is_whitespace())
}

/// Two arcs at least, the first below 3, the second below 40 under 0 and 1, without leading zeros.
fn is_oid(text: &str) -> bool {
    let is_number = |arc: &str| {
        let is_canonical = arc == "0" || !arc.starts_with('0');
        is_canonical && (1..=39).contains(&arc.len()) && arc.bytes().all(|byte| byte.is_ascii_digit())
    };
    let arcs: Vec<&str> = text.split('.').collect();
    let second_is_small = arcs
        .get(1)
        .is_some_and(|arc| arc.parse::<u32>().is_ok_and(|arc| arc < 40));
    let first_is_good =
        matches!(arcs.first(), Some(&"2")) || (matches!(arcs.first(), Some(&("0" | "1"))) && second_is_small);
    arcs.len() >= 2 && first_is_good && arcs.iter().all(|arc| is_number(arc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_oids_are_told_from_other_numbers() {
        for text in ["2.5.4.11", "1.3.6.1.4.1.7650.1", "0.9.2342.19200300.100.1.1", "2.999"] {
            assert!(is_oid(text), "{text}");
        }
        for text in [
            "", "1", "1.", ".1", "3.1", "1.40", "1.02", "1.3.6.x", "1..3", "1.3.6.1 ",
        ] {
            assert!(!is_oid(text), "{text}");
        }
    }
}
