//! What a table or a policy service may say.
//!
//! **Implements** the actions of access(5). **Does not** know FILTER: there is no content filter behind the queue.

use crate::wire::path::Mailbox;

/// One action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableAction {
    /// `OK`, `RELAY`, a number.
    Permit,
    /// `DUNNO`.
    Pass,
    /// `REJECT`, `4xx`, `5xx`, `DEFER`; `None` leaves the code to a directive.
    Refuse {
        /// The code that is written; `None` for REJECT and DEFER.
        code: Option<u16>,
        /// Whether the refusal without a code is for now.
        is_transient: bool,
        /// The enhanced code in front of the text.
        status: Option<(u8, u16, u16)>,
        /// The text.
        text: Option<String>,
    },
    /// `DEFER_IF_PERMIT`.
    DeferIfPermit(Deferral),
    /// `DEFER_IF_REJECT`.
    DeferIfReject(Deferral),
    /// `HOLD`.
    Hold(String),
    /// `DISCARD`.
    Discard(String),
    /// `WARN`.
    Warn(String),
    /// `INFO`.
    Info(String),
    /// `PREPEND`: one header field.
    Prepend(String),
    /// `REDIRECT`.
    Redirect(Mailbox),
    /// `BCC`.
    Bcc(Mailbox),
    /// Names of restrictions and classes.
    Restrictions(Vec<String>),
}

/// What a refusal for now says that is put off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deferral {
    /// The enhanced code in front of the text.
    pub status: Option<(u8, u16, u16)>,
    /// The text.
    pub text: Option<String>,
}

impl TableAction {
    /// Reads an action.
    ///
    /// # Errors
    /// In words: what is wrong with it.
    // tidy: table
    pub fn parse(value: &str) -> Result<Self, String> {
        let value = value.trim();
        let (word, text) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
        let text = text.trim();
        if let Some(code) = reply_code(word) {
            return refusal(Some(code), code < 500, text);
        }
        if !word.is_empty() && value.bytes().all(|octet| octet.is_ascii_digit()) {
            return Ok(Self::Permit);
        }
        Ok(match word.to_ascii_uppercase().as_str() {
            "" => return Err("there is no action".into()),
            "OK" | "RELAY" => Self::Permit,
            "DUNNO" => Self::Pass,
            "REJECT" => return refusal(None, false, text),
            "DEFER" => return refusal(None, true, text),
            "DEFER_IF_PERMIT" => Self::DeferIfPermit(deferral(text)?),
            "DEFER_IF_REJECT" => Self::DeferIfReject(deferral(text)?),
            "HOLD" => Self::Hold(text.to_owned()),
            "DISCARD" => Self::Discard(text.to_owned()),
            "WARN" => Self::Warn(text.to_owned()),
            "INFO" => Self::Info(text.to_owned()),
            "PREPEND" if is_header(text) => Self::Prepend(text.to_owned()),
            "PREPEND" => return Err(format!("\"{text}\" is not a header field such as \"X-Filtered: yes\"")),
            "REDIRECT" => Self::Redirect(mailbox(text)?),
            "BCC" => Self::Bcc(mailbox(text)?),
            "FILTER" => {
                return Err(
                    "FILTER is not supported: there is no content filter behind the queue; use smtpd_milters".into(),
                );
            }
            _ => {
                let words = value.split(|c: char| c == ',' || c.is_whitespace());
                Self::Restrictions(words.filter(|word| !word.is_empty()).map(str::to_owned).collect())
            }
        })
    }

    /// The mark that a regular expression's group is put in later.
    pub fn is_template(value: &str) -> bool {
        value.contains('$')
    }
}

fn reply_code(word: &str) -> Option<u16> {
    let is_code = word.len() == 3 && word.starts_with(['4', '5']) && word.bytes().all(|octet| octet.is_ascii_digit());
    is_code.then(|| word.parse().ok())?
}

fn refusal(code: Option<u16>, is_transient: bool, text: &str) -> Result<TableAction, String> {
    let Deferral { status, text } = status_and_text(is_transient, text)?;
    Ok(TableAction::Refuse {
        code,
        is_transient,
        status,
        text,
    })
}

fn deferral(text: &str) -> Result<Deferral, String> {
    status_and_text(true, text)
}

fn status_and_text(is_transient: bool, text: &str) -> Result<Deferral, String> {
    let (first, behind) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let (status, text) = match enhanced(first) {
        Some(status) => (Some(status), behind.trim()),
        None => (None, text),
    };
    let class = if is_transient { 4 } else { 5 };
    if status.is_some_and(|(first, ..)| first != class) {
        return Err(format!(
            "the enhanced code {first} does not begin with {class}, as the refusal does"
        ));
    }
    let is_plain = |c: char| !c.is_control() && c.is_ascii();
    if !text.chars().all(is_plain) {
        return Err("the text of a refusal is printable ASCII".into());
    }
    Ok(Deferral {
        status,
        text: (!text.is_empty()).then(|| text.to_owned()),
    })
}

/// `5.7.1`.
fn enhanced(text: &str) -> Option<(u8, u16, u16)> {
    let mut parts = text.split('.');
    let class = parts.next()?.parse().ok().filter(|class| matches!(class, 4 | 5))?;
    let (subject, detail) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some((class, subject, detail))
}

/// Octets of a header line at most (RFC 5322 section 2.1.1).
const HEADER_OCTETS_MAX: usize = 998;

fn is_header(text: &str) -> bool {
    let Some((name, _)) = text.split_once(':') else {
        return false;
    };
    let is_name = !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_graphic());
    is_name && text.len() <= HEADER_OCTETS_MAX && text.bytes().all(|octet| (32..127).contains(&octet) || octet == b'\t')
}

fn mailbox(text: &str) -> Result<Mailbox, String> {
    let plain = text
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'))
        .unwrap_or(text);
    Mailbox::parse(plain).map_err(|why| format!("\"{text}\" is not an address: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_read_as_in_access() {
        let refuse = |code, is_transient, status, text: &str| TableAction::Refuse {
            code,
            is_transient,
            status,
            text: (!text.is_empty()).then(|| text.to_owned()),
        };
        for (text, expected) in [
            ("OK", TableAction::Permit),
            ("ok", TableAction::Permit),
            ("1234567", TableAction::Permit),
            ("DUNNO", TableAction::Pass),
            ("REJECT", refuse(None, false, None, "")),
            ("REJECT 5.7.9 go away", refuse(None, false, Some((5, 7, 9)), "go away")),
            ("550 5.1.1 nobody", refuse(Some(550), false, Some((5, 1, 1)), "nobody")),
            ("554", refuse(Some(554), false, None, "")),
            ("451 later", refuse(Some(451), true, None, "later")),
            ("DEFER", refuse(None, true, None, "")),
            ("defer deferred for now", refuse(None, true, None, "deferred for now")),
            (
                "defer_if_permit Greylisted",
                TableAction::DeferIfPermit(Deferral {
                    status: None,
                    text: Some("Greylisted".into()),
                }),
            ),
            (
                "DEFER_IF_REJECT 4.2.0 Later",
                TableAction::DeferIfReject(Deferral {
                    status: Some((4, 2, 0)),
                    text: Some("Later".into()),
                }),
            ),
            ("HOLD look", TableAction::Hold("look".into())),
            ("PREPEND X-A: b", TableAction::Prepend("X-A: b".into())),
            (
                "permit_mynetworks, reject",
                TableAction::Restrictions(vec!["permit_mynetworks".into(), "reject".into()]),
            ),
        ] {
            assert_eq!(TableAction::parse(text), Ok(expected), "{text}");
        }
        for bad in [
            "",
            "FILTER smtp:x",
            "PREPEND no header",
            "PREPEND X: a\r\nY: b",
            "REDIRECT nobody",
            "550 4.1.1 x",
            "REJECT é",
            "DEFER_IF_PERMIT 5.7.1 x",
        ] {
            assert!(TableAction::parse(bad).is_err(), "{bad}");
        }
    }
}
