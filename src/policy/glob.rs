//! Globs over alternative names.
//!
//! **Implements** the patterns of `mail_address`, `dns_name` and `user_principal_name`: `*` is any run of characters,
//! also none, that does not cross a separator; everything else stands for itself, the case of the letters A to Z ignored.
//! **Does not** know `?` or `[..]`; and a `*` in the certificate is an ordinary character.

/// Whether the pattern covers the whole value. Both have the same number of separators then, since `*` crosses none: with
/// `@` the pattern `*@example.org` covers no value with two of them, with `.` the pattern `*.example.org` covers
/// `mail.example.org` and neither `example.org` nor `a.b.example.org`.
pub fn matches(pattern: &str, value: &str, separator: char) -> bool {
    let (pattern, value) = (pattern.to_ascii_lowercase(), value.to_ascii_lowercase());
    let (patterns, values) = (pattern.split(separator), value.split(separator));
    patterns.clone().count() == values.clone().count() && patterns.zip(values).all(|(p, v)| matches_part(p, v))
}

/// Each piece between two stars is taken where it comes first: what is left for the stars behind it is longest then.
fn matches_part(pattern: &str, value: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == value;
    };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    let inside = value.strip_prefix(head).and_then(|value| value.strip_suffix(tail));
    let Some(mut inside) = inside else {
        return false;
    };
    middle.split('*').all(|piece| match inside.split_once(piece) {
        Some((_, behind)) => {
            inside = behind;
            true
        }
        None => piece.is_empty(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_takes_any_run_and_letter_case_is_ignored() {
        for (pattern, value) in [
            ("*@example.org", "Alice.Martin@EXAMPLE.org"),
            ("alice@*.example.org", "alice@a.b.example.org"),
            ("*.martin@example.*", "alice.martin@example.org"),
            ("a*b*c@x", "abc@x"),
            ("a*b*c@x", "aXbXbXc@x"),
            ("**@x", "a@x"),
            ("*aab*@x", "aaab@x"),
            ("*@x", "@x"),
            ("*@x", "*@x"),
            ("é@x", "é@x"),
        ] {
            assert!(matches(pattern, value, '@'), "{pattern} {value}");
        }
    }

    #[test]
    fn star_never_crosses_the_at_sign() {
        for (pattern, value) in [
            ("*@example.org", "a@evil.example,b@example.org"),
            ("*@example.org", "\"a@example.org\"@evil.example"),
            ("*", "a@example.org"),
            ("*example.org", "a@example.org"),
            ("*@example.org", "example.org"),
            ("*@example.org", "a@example.org.evil.example"),
            ("*@example.org", "a@xexample.org"),
            ("*@example.org", "a@example.org."),
            ("*@example.org", "a@example.org "),
            ("alice@example.org", "*@example.org"),
            ("a*a@x", "a@x"),
            ("é@x", "É@x"),
            ("k@x", "\u{212a}@x"),
            ("", "a"),
        ] {
            assert!(!matches(pattern, value, '@'), "{pattern} {value}");
        }
    }

    #[test]
    fn star_in_a_host_name_stands_for_one_label_at_most() {
        assert!(matches("*.example.org", "Mail.example.org", '.'));
        assert!(matches("mx*.example.org", "mx1.example.org", '.'));
        for value in [
            "example.org",
            "a.b.example.org",
            "a.example.org.evil.example",
            "aexample.org",
        ] {
            assert!(!matches("*.example.org", value, '.'), "{value}");
        }
        assert!(!matches("mail.example.org", "*.example.org", '.'));
    }

    #[test]
    fn star_agrees_with_a_regular_expression() {
        let pieces = ["", "*", "a", "b", "*a", "ab", "a*b", "**"];
        let values = ["", "a", "b", "ab", "ba", "aab", "abab", "bbaabb"];
        for first in pieces {
            for second in pieces {
                let pattern = format!("{first}{second}");
                let regex = regex::Regex::new(&format!("^{}$", pattern.replace('*', ".*"))).unwrap();
                for value in values {
                    assert_eq!(
                        matches(&pattern, value, '@'),
                        regex.is_match(value),
                        "{pattern} {value}"
                    );
                }
            }
        }
    }
}
