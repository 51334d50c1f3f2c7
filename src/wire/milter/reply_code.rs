//! The reply that a filter words itself.
//!
//! **Implements** REPLYCODE: SMTP's own form, of one line or several, with `%%` for a per cent sign.

use crate::wire::reply::Reply;
use crate::wire::status::EnhancedStatus;

/// Lines of one reply, at most.
const LINES_MAX: usize = 64;

/// Reads a reply of 4yz or 5yz; `None` when it is anything else, or its lines or its two codes disagree.
pub fn parse(text: &[u8]) -> Option<Reply> {
    let text = String::from_utf8_lossy(text);
    let text = without_format(text.trim_end_matches(['\r', '\n']));
    let mut reply: Option<Reply> = None;
    let mut lines = text.split('\n').map(|line| line.trim_end_matches('\r')).peekable();
    let mut count = 0_usize;
    while let Some(line) = lines.next() {
        count = count.saturating_add(1);
        let (code, separator, rest) = (
            line.get(..3)?,
            line.get(3..4).unwrap_or(" "),
            line.get(4..).unwrap_or_default(),
        );
        let is_last = lines.peek().is_none();
        let is_code = code.bytes().all(|octet| octet.is_ascii_digit()) && code.starts_with(['4', '5']);
        if !is_code || count > LINES_MAX || !matches!((separator, is_last), (" ", true) | ("-", false)) {
            return None;
        }
        let code: u16 = code.parse().ok()?;
        let (status, words) = status_of(code, rest)?;
        match &mut reply {
            None => {
                reply = Some(Reply {
                    status: Some(status),
                    ..Reply::bare(code, vec![words.to_owned()])
                });
            }
            Some(reply) if reply.code == code => reply.lines.push(words.to_owned()),
            Some(_) => return None,
        }
    }
    reply
}

/// The enhanced status code before the words, or the most general one of the class; one of another class is wrong.
fn status_of(code: u16, rest: &str) -> Option<(EnhancedStatus, &str)> {
    let class = u8::try_from(code / 100).ok()?;
    match EnhancedStatus::split_from(rest) {
        Some((status, words)) => (status.class == class).then_some((status, words)),
        None => Some((EnhancedStatus::new(class, 0, 0), rest)),
    }
}

/// Sendmail takes the text for a format: filters double the per cent sign, and a single one is nothing.
fn without_format(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == '%' {
            out.extend(characters.next());
        } else {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_is_read() {
        for (text, printed) in [
            ("550 5.7.1 no %%spam", "550 5.7.1 no %spam"),
            ("451 4.3.2 a\r\n", "451 4.3.2 a"),
            ("550-5.7.1 a\r\n550 5.7.1 b", "550 5.7.1 a b"),
            ("550 no code", "550 5.0.0 no code"),
            ("421 4.7.0", "421 4.7.0 "),
            ("550", "550 5.0.0 "),
        ] {
            assert_eq!(
                parse(text.as_bytes()).map(|reply| reply.to_string()).as_deref(),
                Some(printed)
            );
        }
    }

    #[test]
    fn reply_that_is_none_is_refused() {
        for text in [
            "",
            "250 2.0.0 ok",
            "55x 5.7.1 a",
            "550 4.7.1 a",
            "550-5.7.1 a",
            "550-5.7.1 a\r\n551 5.7.1 b",
            "550 5.7.1 a\r\n550 5.7.1 b",
            "5505.7.1",
            "éé0 a",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
    }
}
