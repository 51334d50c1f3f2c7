//! The values of RET, ENVID, NOTIFY and ORCPT.
//!
//! **Implements** RFC 3461 section 4 and the `utf-8` address type of RFC 6533 section 3. What the values decode to is
//! looked at, so that nothing but printable text can get into a notification; they are kept as they were given.

use super::dsn::{Notify, RecipientRequest, Return};
use crate::wire::xtext;

/// The longest ENVID, characters (RFC 3461 section 4.4).
pub const ENVELOPE_ID_CHARACTERS_MAX: usize = 100;
/// The longest ORCPT, octets with its type (RFC 3461 section 4.2).
pub const ORIGINAL_RECIPIENT_OCTETS_MAX: usize = 500;

/// Reads the value of RET.
pub fn return_of(value: &str) -> Option<Return> {
    if value.eq_ignore_ascii_case("FULL") {
        Some(Return::Full)
    } else if value.eq_ignore_ascii_case("HDRS") {
        Some(Return::Headers)
    } else {
        None
    }
}

/// Reads the value of NOTIFY: `NEVER` alone, or any of the other three, each once.
pub fn notify_of(value: &str) -> Option<Notify> {
    if value.eq_ignore_ascii_case("NEVER") {
        return Some(Notify::Never);
    }
    let (mut success, mut failure, mut delay) = (false, false, false);
    for word in value.split(',') {
        let wish = match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => &mut success,
            "FAILURE" => &mut failure,
            "DELAY" => &mut delay,
            _ => return None,
        };
        if std::mem::replace(wish, true) {
            return None;
        }
    }
    Some(Notify::On {
        success,
        failure,
        delay,
    })
}

impl Notify {
    /// What two RCPT of the same recipient ask together: whatever one of them asks. NEVER asks nothing.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        match (self, other) {
            (Self::Never, other) => other,
            (some, Self::Never) => some,
            (
                Self::On {
                    success,
                    failure,
                    delay,
                },
                Self::On {
                    success: other_success,
                    failure: other_failure,
                    delay: other_delay,
                },
            ) => Self::On {
                success: success || other_success,
                failure: failure || other_failure,
                delay: delay || other_delay,
            },
        }
    }
}

impl RecipientRequest {
    /// The same recipient was named again: it is delivered to once, and whoever asked to be told is told. The first ORCPT
    /// stays. No NOTIFY means failure and delay (RFC 3461 section 4.1).
    pub fn add(&mut self, again: Self) {
        const IMPLIED: Notify = Notify::On {
            success: false,
            failure: true,
            delay: true,
        };
        self.notify = match (self.notify, again.notify) {
            (None, None) => None,
            (one, other) => Some(one.unwrap_or(IMPLIED).union(other.unwrap_or(IMPLIED))),
        };
        if self.original_recipient.is_none() {
            self.original_recipient = again.original_recipient;
        }
    }
}

/// Whether a text may be an ENVID.
pub fn is_envelope_id(value: &str) -> bool {
    let is_short = value.len() <= ENVELOPE_ID_CHARACTERS_MAX;
    is_short && !value.is_empty() && xtext::decode(value).is_some_and(|octets| is_printable(&octets))
}

/// Reads the value of ORCPT: a type, `;` and an address. The types are a registry that grows, so that any atom is one. What
/// came in UTF-8 is written in ASCII, so that any next hop can be told it.
pub fn original_recipient_of(value: &str, may_hold_utf8: bool) -> Option<String> {
    let (kind, address) = value.split_once(';')?;
    let is_atom = |octet: u8| octet.is_ascii_alphanumeric() || b"!#$%&'*-/?^_`{|}~".contains(&octet);
    if kind.is_empty()
        || !kind.bytes().all(is_atom)
        || address.is_empty()
        || value.len() > ORIGINAL_RECIPIENT_OCTETS_MAX
    {
        return None;
    }
    let octets = xtext::decode(address).filter(|octets| is_printable(octets));
    // RFC 6533 section 3 gives this type an encoding of its own; xtext is taken too, where it does not read like that one.
    let is_good = if kind.eq_ignore_ascii_case("utf-8") {
        octets.is_some_and(|octets| !octets.contains(&b'\\'))
            || xtext::decode_utf8_address(address, may_hold_utf8).is_some()
    } else {
        octets.is_some()
    };
    is_good.then(|| xtext::in_ascii(value))
}

fn is_printable(octets: &[u8]) -> bool {
    octets.iter().all(|octet| matches!(octet, b' '..=b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn on(success: bool, failure: bool, delay: bool) -> Notify {
        Notify::On {
            success,
            failure,
            delay,
        }
    }

    #[test]
    fn notify_is_read() {
        for (value, notify) in [
            ("never", Notify::Never),
            ("SUCCESS", on(true, false, false)),
            ("failure,Delay", on(false, true, true)),
        ] {
            assert_eq!(notify_of(value), Some(notify), "{value}");
        }
        for value in [
            "",
            "NEVER,SUCCESS",
            "SUCCESS,NEVER",
            "SUCCESS,",
            "SUCCESS,SUCCESS",
            "ALWAYS",
            "SUCCESS;DELAY",
        ] {
            assert_eq!(notify_of(value), None, "{value}");
        }
    }

    #[test]
    fn recipient_named_twice_asks_for_both() {
        let request = |notify, original: Option<&str>| RecipientRequest {
            notify,
            original_recipient: original.map(str::to_owned),
        };
        let mut first = request(Some(Notify::Never), None);
        first.add(request(Some(on(true, false, false)), Some("rfc822;a")));
        assert_eq!(first, request(Some(on(true, false, false)), Some("rfc822;a")));
        first.add(request(None, Some("rfc822;b")));
        assert_eq!(first, request(Some(on(true, true, true)), Some("rfc822;a")));
        let mut silent = request(None, None);
        silent.add(request(None, None));
        assert!(silent.is_empty());
    }

    #[test]
    fn envelope_id_and_original_recipient_hold_printable_text_only() {
        assert!(is_envelope_id("QQ314159+20x") && is_envelope_id(&"x".repeat(100)));
        for value in ["", "a+0D+0A", "a+7F", "a+C3+A9", "a b", &"x".repeat(101)] {
            assert!(!is_envelope_id(value), "{value}");
        }
        for value in [
            "rfc822;a+2Bb@example.org",
            "RFC822;a",
            "x400;/C+3DFR",
            "utf-8;\\x{E9}@x",
            "utf-8;a+2Bb@x",
        ] {
            assert_eq!(original_recipient_of(value, false).as_deref(), Some(value));
        }
        assert_eq!(
            original_recipient_of("utf-8;é@x", true).as_deref(),
            Some("utf-8;\\x{E9}@x")
        );
        assert_eq!(original_recipient_of("utf-8;é@x", false), None);
        for value in [
            "a@example.org",
            ";a",
            "rfc822;",
            "rfc 822;a",
            "rfc822;a+0D+0A",
            "rfc822;é",
            "x;a=b",
            "rfc822;+C3+A9",
            "utf-8;\\x{0A}",
            "utf-8;+5Cx{0A}",
        ] {
            assert_eq!(original_recipient_of(value, true), None, "{value}");
        }
        assert_eq!(
            original_recipient_of(&format!("rfc822;{}", "a".repeat(494)), false),
            None
        );
    }
}
