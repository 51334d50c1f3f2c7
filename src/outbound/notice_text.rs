//! The texts of notifications: folded lines that nothing from outside can leave, and addresses in their types.
//!
//! **Implements** RFC 3461 section 4 (xtext), RFC 6533 section 3 (the address type utf-8).

use std::time::Duration;

use crate::wire::path::ForwardPath;

/// Where a line of our own is folded, octets.
const FOLD_OCTETS: usize = 76;
/// The most characters of one reply that are quoted.
const DIAGNOSTIC_CHARACTERS_MAX: usize = 2000;

/// A time in its largest whole unit, rounded down: `5 day(s)`, as Postfix writes it.
pub(super) fn in_words(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(86_400, "day(s)"), (3600, "hour(s)"), (60, "minute(s)")];
    let unit = units.into_iter().find(|(length, _)| seconds >= *length);
    let (length, name) = unit.unwrap_or((1, "second(s)"));
    format!("{} {name}", seconds / length)
}

/// Printable ASCII as it is, everything else as `?`: a reply can neither end a line nor leave ASCII.
pub(super) fn printable(text: &str) -> String {
    shown(text, Letters::Ascii)
}

/// Which letters a text may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Letters {
    Ascii,
    Utf8,
}

fn shown(text: &str, letters: Letters) -> String {
    let is_fine = |c: char| matches!(c, ' '..='~') || (letters == Letters::Utf8 && !c.is_ascii() && !c.is_control());
    text.chars().map(|c| if is_fine(c) { c } else { '?' }).collect()
}

/// Adds a text in lines of about [`FOLD_OCTETS`], broken at spaces, or anywhere in a word longer than a line may be; lines
/// after the first begin with `indent`.
pub(super) fn push_folded(out: &mut String, text: &str, indent: &str, letters: Letters) {
    let text: String = shown(text, letters).chars().take(DIAGNOSTIC_CHARACTERS_MAX).collect();
    let mut column = 0_usize;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if column > 0 && column.saturating_add(word.len()) >= FOLD_OCTETS {
            out.push_str("\r\n");
            out.push_str(indent);
            column = indent.len();
        } else if column > 0 {
            out.push(' ');
            column = column.saturating_add(1);
        }
        for letter in word.chars() {
            // RFC 5322 section 2.1.1: a line must be no more than 998 characters.
            if column >= 900 {
                out.push_str("\r\n");
                out.push_str(indent);
                column = indent.len();
            }
            out.push(letter);
            column = column.saturating_add(letter.len_utf8());
        }
    }
    out.push_str("\r\n");
}

/// The longest line of a report that is not folded, octets (RFC 5322 section 2.1.1).
const LINE_OCTETS_MAX: usize = 998;

/// Adds a field of the report: in one line, if it may be so long.
pub(super) fn push_field(out: &mut String, field: &str, letters: Letters) {
    if field.len() > LINE_OCTETS_MAX {
        return push_folded(out, field, "    ", letters);
    }
    out.push_str(field);
    out.push_str("\r\n");
}

/// What xtext stands for; a `+` without two hexadecimal digits stands for itself.
pub(super) fn xtext_decoded(text: &str) -> String {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let digits = others.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits
            .filter(|_| *first == b'+')
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        octets.push(escaped.unwrap_or(*first));
        rest = others.get(if escaped.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    String::from_utf8_lossy(&octets).into_owned()
}

/// `rfc822; a@example.org`; an address that is not ASCII is of the type utf-8.
pub(super) fn recipient_address(path: &ForwardPath, myhostname: &str, letters: Letters) -> String {
    let address = match path {
        ForwardPath::Postmaster => format!("postmaster@{myhostname}"),
        ForwardPath::Mailbox(mailbox) => mailbox.to_string(),
    };
    if address.is_ascii() {
        return format!("rfc822; {address}");
    }
    format!("utf-8; {}", utf8_address(&address, letters))
}

/// What ORCPT gave, as the report has it.
pub(super) fn original_recipient(orcpt: &str, letters: Letters) -> String {
    let (kind, address) = orcpt.split_once(';').unwrap_or(("rfc822", orcpt));
    let address = xtext_decoded(address);
    if !kind.eq_ignore_ascii_case("utf-8") {
        return printable(&format!("{kind}; {address}"));
    }
    format!("utf-8; {}", utf8_address(&embedded_decoded(&address), letters))
}

/// RFC 6533 section 3: as it is, or with every other letter than ASCII as `\\x{E9}`.
fn utf8_address(address: &str, letters: Letters) -> String {
    if letters == Letters::Utf8 {
        return shown(address, letters);
    }
    let mut out = String::with_capacity(address.len());
    for letter in address.chars() {
        match letter {
            '\\' | '+' | '=' => out.push_str(&format!("\\x{{{:02X}}}", u32::from(letter))),
            '!'..='~' => out.push(letter),
            _ => out.push_str(&format!("\\x{{{:02X}}}", u32::from(letter))),
        }
    }
    out
}

/// What `\\x{E9}` stands for; anything else stands for itself.
fn embedded_decoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x{") {
        out.push_str(before);
        let letter = after.split_once('}').and_then(|(digits, left)| {
            let letter = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
            Some((letter, left))
        });
        if let Some((letter, left)) = letter {
            out.push(letter);
            rest = left;
        } else {
            out.push_str("\\x{");
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_reply_cannot_leave_its_field() {
        let mut out = String::new();
        push_folded(
            &mut out,
            &format!("X: 550 a\r\n\r\n--b \u{e9} {}", "y".repeat(1500)),
            "    ",
            Letters::Ascii,
        );
        let lines: Vec<&str> = out.trim_end().split("\r\n").collect();
        assert_eq!(lines[0], "X: 550 a????--b ?");
        assert!(
            lines[1..]
                .iter()
                .all(|line| line.starts_with("    y") && line.len() <= 998)
        );
    }

    #[test]
    fn long_address_is_folded_and_a_short_one_is_not() {
        let mut out = String::new();
        push_field(&mut out, "Final-Recipient: rfc822; a@example.org", Letters::Ascii);
        assert_eq!(out, "Final-Recipient: rfc822; a@example.org\r\n");
        let mut out = String::new();
        let orcpt = format!("utf-8;{}@example.org", "\\x{E9}".repeat(240));
        let address = original_recipient(&orcpt, Letters::Ascii);
        push_field(&mut out, &format!("Original-Recipient: {address}"), Letters::Ascii);
        assert!(out.split("\r\n").all(|line| line.len() <= 998), "{out}");
        assert_eq!(
            out.replace("\r\n    ", ""),
            format!("Original-Recipient: {address}\r\n").replace("; ", ";")
        );
    }

    #[test]
    fn addresses_are_decoded_and_typed() {
        assert_eq!(xtext_decoded("QQ+2B3+zz+"), "QQ+3+zz+");
        assert_eq!(
            original_recipient("rfc822;a+2Bb@x.example", Letters::Ascii),
            "rfc822; a+b@x.example"
        );
        assert_eq!(
            original_recipient("rfc822;a+0D+0AX: y", Letters::Ascii),
            "rfc822; a??X: y"
        );
        let escaped = "utf-8;\\x{E9}@x.example";
        assert_eq!(original_recipient(escaped, Letters::Utf8), "utf-8; \u{e9}@x.example");
        assert_eq!(original_recipient(escaped, Letters::Ascii), "utf-8; \\x{E9}@x.example");
    }
}
