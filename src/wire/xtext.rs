//! xtext: any printable text where a parameter takes no `+`, `=` or blank.
//!
//! **Implements** RFC 3461 section 4, and the `utf-8` address type of RFC 6533 section 3.

/// Whether a value is xtext: printable octets, of which `+` begins two upper-case hexadecimal digits. `<>` is such a text.
pub fn is_xtext(value: &str) -> bool {
    !value.is_empty() && decode(value).is_some()
}

/// The octets that xtext stands for; `None` when it is none.
pub fn decode(value: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(octet) = rest.next() {
        match octet {
            b'+' => octets.push(upper_hexadecimal(rest.next()?)? << 4 | upper_hexadecimal(rest.next()?)?),
            b'=' => return None,
            octet if octet.is_ascii_graphic() => octets.push(octet),
            _ => return None,
        }
    }
    Some(octets)
}

/// A text as xtext.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for octet in text.bytes() {
        if octet.is_ascii_graphic() && !matches!(octet, b'+' | b'=') {
            out.push(char::from(octet));
        } else {
            out.push_str(&format!("+{octet:02X}"));
        }
    }
    out
}

fn upper_hexadecimal(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// The address behind `utf-8;`: characters as they are, where UTF-8 may stand, and `\x{HEX}` for any other. `None` when it
/// is no such address, or holds a control character.
pub fn decode_utf8_address(value: &str, may_hold_utf8: bool) -> Option<String> {
    let mut address = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\\' => {
                let (digits, _) = rest.strip_prefix("\\x{")?.split_once('}')?;
                address.push(character(digits)?);
                digits.len() + "\\x{}".len()
            }
            '+' | '=' => return None,
            '!'..='~' => {
                address.push(first);
                1
            }
            _ if first.is_ascii() || first.is_control() || !may_hold_utf8 => return None,
            _ => {
                address.push(first);
                first.len_utf8()
            }
        };
        rest = rest.get(length..)?;
    }
    Some(address)
}

/// A `utf-8` address without octets above 127: such characters stand as `\x{HEX}`. Both spellings are one address.
pub fn in_ascii(address: &str) -> String {
    let mut out = String::with_capacity(address.len());
    for c in address.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            out.push_str(&format!("\\x{{{:X}}}", u32::from(c)));
        }
    }
    out
}

/// Two to six upper-case hexadecimal digits that stand for a character one can see, or a blank.
fn character(digits: &str) -> Option<char> {
    let is_hexadecimal = digits.bytes().all(|digit| upper_hexadecimal(digit).is_some());
    let number = u32::from_str_radix(digits, 16)
        .ok()
        .filter(|_| is_hexadecimal && (2..=6).contains(&digits.len()))?;
    char::from_u32(number).filter(|c| !c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_xtext_and_comes_back() {
        for (text, expected) in [
            ("Wietse Venema", "Wietse+20Venema"),
            ("a+b=é", "a+2Bb+3D+C3+A9"),
            ("", ""),
        ] {
            assert_eq!(encode(text), expected);
            assert_eq!(decode(expected).as_deref(), Some(text.as_bytes()));
        }
    }

    #[test]
    fn xtext_is_decoded_and_anything_else_refused() {
        for (value, octets) in [
            ("<>", "<>"),
            ("e+3Dmc2@example.com", "e=mc2@example.com"),
            ("+2B+20", "+ "),
        ] {
            assert_eq!(decode(value), Some(octets.as_bytes().to_vec()), "{value}");
        }
        for value in ["a=b", "a+3d", "a+", "a+4", "a b", "a+é", "é"] {
            assert_eq!(decode(value), None, "{value}");
        }
        assert!(!is_xtext(""));
    }

    #[test]
    fn utf8_address_is_decoded() {
        for (value, address) in [
            ("\\x{E9}@example.org", "é@example.org"),
            ("a\\x{2B}b\\x{3D}\\x{5C}@example.org", "a+b=\\@example.org"),
            ("\\x{10FFFD}", "\u{10FFFD}"),
        ] {
            assert_eq!(decode_utf8_address(value, false).as_deref(), Some(address), "{value}");
        }
        assert_eq!(decode_utf8_address("é@x", true).as_deref(), Some("é@x"));
        assert_eq!(in_ascii("é@\u{4F8B}"), "\\x{E9}@\\x{4F8B}");
        for value in [
            "é@x",
            "a+b",
            "a=b",
            "\\x{e9}",
            "\\x{D800}",
            "\\x{0A}",
            "\\x{}",
            "\\x{110000}",
            "\\y",
            "a b",
        ] {
            assert_eq!(decode_utf8_address(value, false), None, "{value}");
        }
    }
}
