//! What a peer announces behind EHLO.
//!
//! **Implements** RFC 5321 section 4.1.1.1 (client side), RFC 9422 section 3 (LIMITS), `smtp_discard_ehlo_keywords`.
//! **Does not** know RCPTDOMAINMAX of LIMITS: a delivery goes to one destination.

use crate::wire::reply::Reply;

/// An extension of SMTP that is of use here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// RFC 2920.
    Pipelining,
    /// RFC 6152.
    EightBitMime,
    /// RFC 3207.
    StartTls,
    /// RFC 3461.
    Dsn,
    /// RFC 6531.
    SmtpUtf8,
    /// RFC 8689.
    RequireTls,
}

const EXTENSIONS: [(&str, Extension); 6] = [
    ("PIPELINING", Extension::Pipelining),
    ("8BITMIME", Extension::EightBitMime),
    ("STARTTLS", Extension::StartTls),
    ("DSN", Extension::Dsn),
    ("SMTPUTF8", Extension::SmtpUtf8),
    ("REQUIRETLS", Extension::RequireTls),
];

/// Keywords that are not believed, in upper case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EhloKeywords(Vec<String>);

impl EhloKeywords {
    /// These, in any case.
    pub fn new<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        Self(words.into_iter().map(str::to_ascii_uppercase).collect())
    }

    fn contains(&self, keyword: &str) -> bool {
        self.0.iter().any(|known| known == keyword)
    }
}

/// What the peer announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    announced: [bool; EXTENSIONS.len()],
    /// RFC 1870; the limit in octets, 0 for none.
    pub size: Option<u64>,
    /// RCPTMAX: recipients of one transaction.
    pub recipients_max: Option<usize>,
    /// MAILMAX: transactions of one session.
    pub transactions_max: Option<usize>,
}

impl Capabilities {
    /// Reads the reply to EHLO; the first line is the greeting.
    pub fn of(reply: &Reply, discarded: &EhloKeywords) -> Self {
        let mut found = Self::default();
        for line in reply.lines.iter().skip(1) {
            let mut words = line.split_ascii_whitespace();
            let Some(keyword) = words.next().map(str::to_ascii_uppercase) else {
                continue;
            };
            if discarded.contains(&keyword) {
                continue;
            }
            match keyword.as_str() {
                "SIZE" => found.size = Some(words.next().and_then(|n| n.parse().ok()).unwrap_or(0)),
                "LIMITS" => words.for_each(|word| found.limit(word)),
                _ => {
                    for (slot, (name, _)) in found.announced.iter_mut().zip(EXTENSIONS) {
                        *slot |= name == keyword;
                    }
                }
            }
        }
        found
    }

    /// Whether the peer has it.
    pub fn has(&self, wanted: Extension) -> bool {
        let known = self.announced.iter().zip(EXTENSIONS);
        known
            .into_iter()
            .any(|(is_there, (_, extension))| *is_there && extension == wanted)
    }

    /// RFC 9422 section 4: a limit that cannot be read is none; one of 0 has no meaning.
    fn limit(&mut self, word: &str) {
        let Some((name, value)) = word.split_once('=') else {
            return;
        };
        let value = value.parse().ok().filter(|value| *value > 0);
        match name.to_ascii_uppercase().as_str() {
            "RCPTMAX" => self.recipients_max = value,
            "MAILMAX" => self.transactions_max = value,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(lines: &[&str]) -> Reply {
        Reply::bare(250, lines.iter().map(|line| (*line).to_owned()).collect())
    }

    #[test]
    fn keywords_and_limits_are_read() {
        let said = reply(&[
            "mx",
            "dsn",
            "SMTPUTF8",
            "SIZE 100",
            "LIMITS RCPTMAX=20 mailmax=3 X=1 RCPTDOMAINMAX",
        ]);
        let found = Capabilities::of(&said, &EhloKeywords::default());
        assert!(found.has(Extension::Dsn) && found.has(Extension::SmtpUtf8) && !found.has(Extension::RequireTls));
        assert_eq!(
            (found.size, found.recipients_max, found.transactions_max),
            (Some(100), Some(20), Some(3))
        );
        let odd = Capabilities::of(
            &reply(&["mx DSN", "LIMITS RCPTMAX=0 MAILMAX=x"]),
            &EhloKeywords::default(),
        );
        assert_eq!(odd, Capabilities::default());
    }

    #[test]
    fn discarded_keywords_are_not_believed() {
        let discarded = EhloKeywords::new(["Dsn", "size"]);
        let found = Capabilities::of(&reply(&["mx", "DSN", "SIZE 1", "PIPELINING"]), &discarded);
        assert!(!found.has(Extension::Dsn) && found.size.is_none() && found.has(Extension::Pipelining));
    }
}
