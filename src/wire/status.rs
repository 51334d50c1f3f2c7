//! Enhanced status codes.
//!
//! **Implements** RFC 3463 section 2 and the text form of RFC 2034.

use std::fmt;

/// An enhanced status code: class 2, 4 or 5, subject, detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EnhancedStatus {
    /// 2 success, 4 persistent transient failure, 5 permanent failure.
    pub class: u8,
    /// What the status speaks of, 0 to 999.
    pub subject: u16,
    /// The precise condition, 0 to 999.
    pub detail: u16,
}

impl EnhancedStatus {
    /// The code of these three parts.
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        Self { class, subject, detail }
    }

    /// Reads `5.7.1` from the start of a text and returns it with the rest behind the space.
    pub fn split_from(text: &str) -> Option<(Self, &str)> {
        let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut parts = first.split('.');
        let class: u8 = parts.next()?.parse().ok()?;
        let number = |part: &str| part.parse::<u16>().ok().filter(|n| *n <= 999 && part.len() <= 3);
        let subject = number(parts.next()?)?;
        let detail = number(parts.next()?)?;
        if parts.next().is_some() || !matches!(class, 2 | 4 | 5) {
            return None;
        }
        Some((Self { class, subject, detail }, rest))
    }
}

impl fmt::Display for EnhancedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_split_from_reply_text() {
        assert_eq!(
            EnhancedStatus::split_from("5.7.1 no"),
            Some((EnhancedStatus::new(5, 7, 1), "no"))
        );
        assert_eq!(EnhancedStatus::split_from("3.7.1 no"), None);
        assert_eq!(EnhancedStatus::split_from("5.7 no"), None);
        assert_eq!(EnhancedStatus::split_from("5.1000.1 no"), None);
    }
}
