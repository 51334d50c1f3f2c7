//! What a sender asks about delivery status notifications.
//!
//! **Implements** the parameters of RFC 3461 section 4 as values: RET and ENVID of MAIL, NOTIFY and ORCPT of RCPT.
//! The words of RET and NOTIFY are printed and read as SMTP has them, for the next hop and for the queue.
//! **Does not** read what a client says: `wire::parameters` does.

use std::fmt;

/// RET: how much of the message a failure notification returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// `FULL`.
    Full,
    /// `HDRS`.
    Headers,
}

/// What MAIL asked, for the message as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageRequest {
    /// RET.
    pub ret: Option<Return>,
    /// ENVID in xtext as it was given, so that it goes on unchanged.
    pub envelope_id: Option<String>,
}

/// NOTIFY: when somebody wants to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notify {
    /// `NEVER`.
    Never,
    /// Any of `SUCCESS`, `FAILURE` and `DELAY`, at least one.
    On {
        /// `SUCCESS`.
        success: bool,
        /// `FAILURE`.
        failure: bool,
        /// `DELAY`.
        delay: bool,
    },
}

impl Return {
    /// Reads what `Display` prints.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "FULL" => Some(Self::Full),
            "HDRS" => Some(Self::Headers),
            _ => None,
        }
    }
}

impl fmt::Display for Return {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "FULL",
            Self::Headers => "HDRS",
        })
    }
}

impl Notify {
    /// Reads what `Display` prints.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "NEVER" {
            return Some(Self::Never);
        }
        let (mut success, mut failure, mut delay) = (false, false, false);
        for word in text.split(',') {
            match word {
                "SUCCESS" => success = true,
                "FAILURE" => failure = true,
                "DELAY" => delay = true,
                _ => return None,
            }
        }
        Some(Self::On {
            success,
            failure,
            delay,
        })
    }
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::On {
            success,
            failure,
            delay,
        } = *self
        else {
            return f.write_str("NEVER");
        };
        let words = [(success, "SUCCESS"), (failure, "FAILURE"), (delay, "DELAY")];
        let asked: Vec<&str> = words
            .into_iter()
            .filter(|(is_asked, _)| *is_asked)
            .map(|(_, word)| word)
            .collect();
        f.write_str(&asked.join(","))
    }
}

/// Something a sender may be told of a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was handed to a host that tells nothing of itself.
    Success,
    /// It will not get the message.
    Failure,
    /// It has not got the message yet.
    Delay,
}

/// What RCPT asked, for one recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecipientRequest {
    /// NOTIFY; `None` when it was not given, which means failure and delay.
    pub notify: Option<Notify>,
    /// ORCPT as it was given: `rfc822;` or `utf-8;` and the address in xtext.
    pub original_recipient: Option<String>,
}

impl RecipientRequest {
    /// Whether the sender is to be told of this. RFC 3461 section 4.1: without NOTIFY, of failures, and of delays as this
    /// relay chooses: it does.
    pub const fn wants(&self, event: Event) -> bool {
        match (self.notify, event) {
            (None, Event::Success) | (Some(Notify::Never), _) => false,
            (None, Event::Failure | Event::Delay) => true,
            (Some(Notify::On { success, .. }), Event::Success) => success,
            (Some(Notify::On { failure, .. }), Event::Failure) => failure,
            (Some(Notify::On { delay, .. }), Event::Delay) => delay,
        }
    }

    /// Whether nothing was asked.
    pub fn is_empty(&self) -> bool {
        self.notify.is_none() && self.original_recipient.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_printed() {
        for text in ["NEVER", "SUCCESS", "FAILURE,DELAY", "SUCCESS,FAILURE,DELAY"] {
            assert_eq!(Notify::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "never", "SUCCESS,NEVER", "SUCCESS,"] {
            assert_eq!(Notify::parse(text), None, "{text}");
        }
        for text in ["FULL", "HDRS"] {
            assert_eq!(Return::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn sender_who_asked_nothing_is_told_of_failures_and_delays() {
        let nothing = RecipientRequest::default();
        assert!(!nothing.wants(Event::Success) && nothing.wants(Event::Failure) && nothing.wants(Event::Delay));
        let notify = Some(Notify::Never);
        let never = RecipientRequest { notify, ..nothing };
        assert!(
            ![Event::Success, Event::Failure, Event::Delay]
                .map(|event| never.wants(event))
                .contains(&true)
        );
    }
}
