//! The protocol of policy services: one request of `name=value` lines, one reply that names an action.
//!
//! **Implements** Postfix's policy delegation protocol (SMTPD_POLICY_README).
//! **Does not** understand the action: the restriction lists do.

/// The longest reply, octets; an action with its text is far shorter.
pub const REPLY_OCTETS_MAX: usize = 4096;

/// Why octets are not a reply; the service's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyReplyError {
    /// No end within [`REPLY_OCTETS_MAX`].
    #[error("a reply of more than {REPLY_OCTETS_MAX} octets")]
    TooLong,
    /// A line that is no attribute, or not UTF-8, or holds a control character.
    #[error("a malformed reply")]
    Malformed,
    /// No `action=`, or an empty one.
    #[error("a reply without an action")]
    NoAction,
}

/// Writes a request. Line ends and other control characters in a value would begin another attribute: they become `?`, and
/// so does `=` in a name.
pub fn request(attributes: &[(&str, String)]) -> Vec<u8> {
    let mut text = String::new();
    for (name, value) in attributes {
        let name = name.replace(|c: char| c.is_control() || c == '=', "?");
        let value = value.replace(char::is_control, "?");
        text.push_str(&name);
        text.push('=');
        text.push_str(&value);
        text.push('\n');
    }
    text.push('\n');
    text.into_bytes()
}

/// Reads what has come of a reply: the action, once the empty line at its end is there. Other attributes are ignored; of
/// several actions the last counts, as in Postfix.
///
/// # Errors
/// [`PolicyReplyError`].
pub fn reply(octets: &[u8]) -> Result<Option<String>, PolicyReplyError> {
    let Some(end) = octets.windows(2).position(|two| two == b"\n\n") else {
        // An empty line first ends a reply without anything.
        return match octets {
            [b'\n', ..] => Err(PolicyReplyError::NoAction),
            _ if octets.len() >= REPLY_OCTETS_MAX => Err(PolicyReplyError::TooLong),
            _ => Ok(None),
        };
    };
    if end.saturating_add(2) > REPLY_OCTETS_MAX {
        return Err(PolicyReplyError::TooLong);
    }
    // More behind the end would be taken for the reply to the next request.
    if octets.len() > end.saturating_add(2) {
        return Err(PolicyReplyError::Malformed);
    }
    let text = octets.get(..end).unwrap_or_default();
    let text = std::str::from_utf8(text).map_err(|_| PolicyReplyError::Malformed)?;
    let mut action = None;
    for line in text.split('\n') {
        let (name, value) = line.split_once('=').ok_or(PolicyReplyError::Malformed)?;
        if value.contains(|c: char| c.is_control() && c != '\t') {
            return Err(PolicyReplyError::Malformed);
        }
        if name == "action" {
            action = Some(value.trim().to_owned());
        }
    }
    match action {
        Some(action) if !action.is_empty() => Ok(Some(action)),
        _ => Err(PolicyReplyError::NoAction),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn request_is_one_line_an_attribute_whatever_the_values() {
        let attributes = [
            ("request", "smtpd_access_policy".to_owned()),
            ("sender", "a\r\naction=ok@example.org".to_owned()),
            ("ccert_subject", "=é".to_owned()),
        ];
        let expected = "request=smtpd_access_policy\nsender=a??action=ok@example.org\nccert_subject==é\n\n";
        assert_eq!(request(&attributes), expected.as_bytes());
    }

    #[test]
    fn reply_is_read_once_it_is_whole() {
        let whole = b"action=451 4.7.1 Greylisted, try again\nother=x=y\n\n";
        for length in 0..whole.len() {
            assert_eq!(reply(&whole[..length]), Ok(None), "{length}");
        }
        assert_eq!(reply(whole), Ok(Some("451 4.7.1 Greylisted, try again".into())));
        for (octets, why) in [
            (b"\n".as_slice(), PolicyReplyError::NoAction),
            (b"other=x\n\n", PolicyReplyError::NoAction),
            (b"action=\n\n", PolicyReplyError::NoAction),
            (b"garbage\n\n", PolicyReplyError::Malformed),
            (b"action=\xff\n\n", PolicyReplyError::Malformed),
            (b"action=ok\0\n\n", PolicyReplyError::Malformed),
            (b"action=ok\r\n\r\n\n\n", PolicyReplyError::Malformed),
            (b"action=ok\n\naction=ok\n\n", PolicyReplyError::Malformed),
        ] {
            assert_eq!(reply(octets), Err(why), "{octets:?}");
        }
        assert_eq!(reply(&vec![b'x'; REPLY_OCTETS_MAX]), Err(PolicyReplyError::TooLong));
    }

    proptest! {
        #[test]
        fn arbitrary_octets_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = reply(&octets);
            let value = String::from_utf8_lossy(&octets).into_owned();
            let written = request(&[("name", value)]);
            prop_assert_eq!(written.split(|octet| *octet == b'\n').count(), 3);
        }
    }
}
