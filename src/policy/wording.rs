//! Short texts for findings: values quoted and escaped, lengths bounded.
//!
//! **Implements** one reading for every text: values stand in double quotes and hold none, so that a value can forge
//! neither a second value nor the words around it.

use crate::cert::name::quoted;

/// The longest text of a finding, in characters; what is cut off is told.
const TEXT_CHARS_MAX: usize = 600;
/// The longest value or name that is shown whole, in characters after escaping.
const VALUE_CHARS_MAX: usize = 300;

/// Cuts a text that is too long; an ellipsis stands for the rest.
pub fn bounded(mut text: String) -> String {
    if let Some((at, _)) = text.char_indices().nth(TEXT_CHARS_MAX) {
        text.truncate(at);
        text.push('…');
    }
    text
}

/// One value, quoted; an ellipsis behind the quotes stands for what is cut off.
pub fn value(text: &str) -> String {
    let whole = quoted(text);
    // Asked for every value of every recipient: a text of so few octets need not be measured character by character.
    if whole.len() <= VALUE_CHARS_MAX {
        return whole;
    }
    let mut chars = 0_usize;
    let fits = |c: &char| {
        chars = chars.saturating_add(quoted(c.encode_utf8(&mut [0; 4])).chars().count().saturating_sub(2));
        chars <= VALUE_CHARS_MAX
    };
    let shown: String = text.chars().take_while(fits).collect();
    let ellipsis = if shown.len() < text.len() { "…" } else { "" };
    format!("{}{ellipsis}", quoted(&shown))
}

/// The text of a distinguished name that is escaped already, quoted and cut like a value.
pub fn escaped_name(one_line: &str) -> String {
    match one_line.char_indices().nth(VALUE_CHARS_MAX) {
        Some((at, _)) => format!("\"{}\"…", escape_quotes(one_line.get(..at).unwrap_or_default())),
        None => format!("\"{}\"", escape_quotes(one_line)),
    }
}

fn escape_quotes(one_line: &str) -> String {
    one_line.replace('"', "\\22")
}

/// Values in a row, or `none`.
pub fn listed<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    joined(values.into_iter().map(value))
}

/// What one of them must agree with.
pub fn one_of(wanted: &[String]) -> String {
    let values = listed(wanted.iter().map(String::as_str));
    match wanted.len() {
        0 | 1 => values,
        _ => format!("one of {values}"),
    }
}

/// Texts in a row with commas, or `none`; the number of those that find no place.
pub fn joined(texts: impl IntoIterator<Item = String>) -> String {
    let (mut out, mut chars, mut left_out) = (String::new(), 0_usize, 0_usize);
    for text in texts {
        chars = chars.saturating_add(text.chars().count()).saturating_add(2);
        if out.is_empty() {
            out = bounded(text);
        } else if chars <= TEXT_CHARS_MAX {
            out.push_str(", ");
            out.push_str(&text);
        } else {
            left_out = left_out.saturating_add(1);
        }
    }
    match (out.is_empty(), left_out) {
        (true, _) => "none".into(),
        (false, 0) => out,
        (false, more) => format!("{out} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_forge_the_words_around_them() {
        let values = ["a", "b\", \"c", "d/OU=e\n", "x; subject.OU: found \"y"];
        assert_eq!(
            listed(values),
            r#""a", "b\22, \22c", "d\2FOU\3De\0A", "x; subject.OU: found \22y""#
        );
        assert_eq!(listed([]), "none");
        assert_eq!(listed(["none"]), "\"none\"");
        assert_eq!(escaped_name("/CN=a\", \"b"), r#""/CN=a\22, \22b""#);
    }

    #[test]
    fn texts_are_bounded_and_tell_what_is_left_out() {
        let many = vec!["0123456789"; 1000];
        let text = listed(many);
        assert!(text.chars().count() < 700, "{text}");
        assert!(text.ends_with(" and 958 more"), "{text}");
        let long = "é".repeat(10_000);
        assert_eq!(value(&long), format!("\"{}\"…", "é".repeat(300)));
        assert!(listed([long.as_str(), "b"]).ends_with("…, \"b\""));
        assert!(escaped_name(&long).ends_with("é\"…"));
        let unprintable = "\u{10ffff}".repeat(10_000);
        assert_eq!(value(&unprintable), format!("\"{}\"…", "\\F4\\8F\\BF\\BF".repeat(25)));
        assert!(listed([unprintable.as_str(); 100]).chars().count() < 700);
    }
}
