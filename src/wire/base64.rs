//! Base64, one text for one sequence of octets.
//!
//! **Implements** RFC 4648 section 4, strictly (section 3.5): padding is there, unused bits are zero, nothing else stands in
//! between.

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The text that stands for these octets.
pub fn encode(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len().div_ceil(3).saturating_mul(4));
    for group in octets.chunks(3) {
        let octet = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = (octet(0) << 16) | (octet(1) << 8) | octet(2);
        for (place, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let letter = LETTERS.get((bits >> shift) as usize & 63).copied().unwrap_or(b'=');
            text.push(if place <= group.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

/// The octets that a text stands for; `None` when it is not Base64.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len() / 4 * 3);
    let (groups, rest) = text.as_chunks::<4>();
    if !rest.is_empty() {
        return None;
    }
    let Some((last, before)) = groups.split_last() else {
        return Some(octets);
    };
    for group in before {
        octets.extend(group_octets(*group, 0)?);
    }
    let padding = last.iter().rev().take_while(|octet| **octet == b'=').count();
    let end = group_octets(*last, padding)?;
    let (kept, unused) = end.split_at_checked(3_usize.checked_sub(padding)?)?;
    octets.extend_from_slice(kept);
    unused.iter().all(|octet| *octet == 0).then_some(octets)
}

/// The three octets of a group of four letters, of which the last may be padding, up to two.
fn group_octets(group: [u8; 4], padding: usize) -> Option<[u8; 3]> {
    let mut bits = 0_u32;
    for (place, letter) in group.into_iter().enumerate() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' if padding <= 2 && place + padding >= 4 => 0,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
    }
    let [_, octets @ ..] = bits.to_be_bytes();
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648 section 10.
    #[test]
    fn test_vectors_of_the_standard_hold_both_ways() {
        for (text, octets) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(octets.as_bytes()), "{text}");
            assert_eq!(encode(octets.as_bytes()), text);
        }
        assert_eq!(decode(b"+/+/"), Some(vec![0xfb, 0xff, 0xbf]));
        assert_eq!(encode(&[0xfb, 0xff, 0xbf]), "+/+/");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "Z", "Zg", "Zg=", "Zh==", "Zm9=", "=", "====", "Z===", "Zg==Zg==", "Zm 9", "Zm9v\n", "Zm=v", "-_-_",
            "Zg==\0",
        ] {
            assert_eq!(decode(text.as_bytes()), None, "{text:?}");
        }
    }
}
