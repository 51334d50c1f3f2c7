//! Short texts for findings: values quoted and escaped, lengths bounded.
//!
//! **Implements** one reading for every text: values stand in double quotes and hold none, so that a value can forge
//! neither a second value nor the words around it.

use crate::cert::name::quoted;

/// The longest text of a finding, in characters; what is cut off is told.
const TEXT_CHARS_MAX: usize = 600;
/// The longest value that is shown whole, in characters before escaping.
const VALUE_CHARS_MAX: usize = 150;

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
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((at, _)) => format!("{}…", quoted(text.get(..at).unwrap_or_default())),
        None => quoted(text),
    }
}

/// The text of a distinguished name that is escaped already, quoted.
pub fn escaped_name(one_line: &str) -> String {
    bounded(format!("\"{}\"", one_line.replace('"', "\\22")))
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
        assert!(text.ends_with(" and 957 more"), "{text}");
        let long = "é".repeat(10_000);
        assert_eq!(value(&long).chars().count(), 150 + 3);
        assert!(listed([long.as_str(), "b"]).ends_with("…, \"b\""));
        let unprintable = "\u{10ffff}".repeat(10_000);
        assert!(listed([unprintable.as_str(); 100]).chars().count() < 700);
    }
}
