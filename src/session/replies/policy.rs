//! What refusals for policy say: restriction lists and limits.
//!
//! **Implements** the wording of Postfix's smtpd_check where it has one; every refusal ends in its reference.

use super::restriction;
use crate::policy::limits::{Limit, OnExceed};
use crate::policy::stage::Stage;
use crate::policy::verdict::{Because, Opinion, Refusal, Verdict};
use crate::wire::path::ForwardPath;
use crate::wire::reply::{REPLY_LINE_OCTETS_MAX, Reply};

/// The answer to RCPT that follows from a verdict; `estafette explain` prints the same.
pub fn reply_for(verdict: &Verdict, forward_path: &ForwardPath, reference: &str) -> Reply {
    let (code, status) = match verdict.opinion {
        Opinion::Permit => return Reply::new(250, (2, 1, 5), "Ok"),
        Opinion::Defer => (450, (4, 7, 1)),
        _ => (554, (5, 7, 1)),
    };
    let fault = match verdict.certificate_fault {
        Some(why) => format!(" (your {why})"),
        None => String::new(),
    };
    let text = match &verdict.refusal {
        Refusal::RelayDenied => format!("<{forward_path}>: Relay access denied{fault}"),
        Refusal::RelayDeniedWith(code) => {
            let class = if *code < 500 { 4 } else { 5 };
            let text = format!("<{forward_path}>: Relay access denied{fault}");
            return policy(*code, (class, 7, 1), &text, reference);
        }
        Refusal::Denied(denied) => {
            return policy(denied.code, denied.status, &restriction::text(denied), reference);
        }
        Refusal::Text(own) => format!("<{forward_path}>: {own}{fault}"),
        Refusal::SenderNotOwned => return not_owned(verdict, (code, status), reference),
    };
    policy(code, status, &text, reference)
}

/// The refusal of a list at another stage than RCPT; `subject` is what it is about.
pub fn stage_refusal(stage: Stage, verdict: &Verdict, subject: &str, reference: &str) -> Reply {
    let (code, status) = match verdict.opinion {
        Opinion::Defer => (450, (4, 7, 1)),
        _ => (554, (5, 7, 1)),
    };
    let what = match stage {
        Stage::Connect => "Client host rejected",
        Stage::Hello => "Helo command rejected",
        Stage::Mail => "Sender address rejected",
        Stage::Recipient => "Recipient address rejected",
        Stage::Data => "Data command rejected",
        Stage::EndOfData => "End-of-data rejected",
    };
    let why = match &verdict.refusal {
        Refusal::Denied(denied) => {
            return policy(denied.code, denied.status, &restriction::text(denied), reference);
        }
        Refusal::Text(own) => own.as_str(),
        Refusal::SenderNotOwned => return not_owned(verdict, (code, status), reference),
        Refusal::RelayDenied | Refusal::RelayDeniedWith(_) => "Access denied",
    };
    policy(code, status, &format!("<{subject}>: {what}: {why}"), reference)
}

/// The holder of the certificate may not send with this reverse-path.
fn not_owned(verdict: &Verdict, (code, status): (u16, (u8, u16, u16)), reference: &str) -> Reply {
    let sender = match verdict.because() {
        Because::SenderNotOwned { sender, .. } => sender.as_str(),
        _ => "",
    };
    let text = format!("<{sender}>: Sender address rejected: not owned by the holder of the certificate");
    let code = if code == 554 { 553 } else { code };
    policy(code, status, &text, reference)
}

/// A refusal for policy. The reference stands at its end, whatever must be cut for it.
pub(super) fn policy(code: u16, status: (u8, u16, u16), text: &str, reference: &str) -> Reply {
    /// Octets of the code, the status, the brackets and the line end, at most.
    const AROUND: usize = 32;
    let room = REPLY_LINE_OCTETS_MAX.saturating_sub(AROUND + reference.len());
    let end = text.floor_char_boundary(room);
    let text = text.get(..end).unwrap_or(text);
    Reply::new(code, status, format!("{text} [ref {reference}]"))
}

/// `on_exceed` of a limit.
pub(super) fn limit_exceeded(limit: &Limit, reference: &str) -> Reply {
    let what = match (limit.messages, limit.recipients, limit.octets) {
        (Some(_), None, None) => "message",
        (None, Some(_), None) => "recipient",
        (None, None, Some(_)) => "octet",
        _ => "sending",
    };
    let text = format!("Error: {what} limit of your certificate exceeded");
    match limit.on_exceed {
        OnExceed::Defer => policy(450, (4, 7, 1), &format!("{text}, try again later"), reference),
        OnExceed::Reject | OnExceed::Hold => policy(554, (5, 7, 1), &text, reference),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::identity::Why;
    use crate::policy::verdict::{Obligations, Refusal};

    fn reply(opinion: Opinion, certificate_fault: Option<Why>, refusal: Refusal) -> String {
        let verdict = Verdict {
            opinion,
            trace: Vec::new(),
            certificate_fault,
            refusal,
            obligations: Obligations::default(),
        };
        reply_for(&verdict, &ForwardPath::Postmaster, "s-1").to_string()
    }

    #[test]
    fn refusal_names_the_fault_of_the_certificate_and_the_reference() {
        let own = || Refusal::Text("Ask the help desk".into());
        for (opinion, fault, refusal, text) in [
            (Opinion::Permit, None, Refusal::RelayDenied, "250 2.1.5 Ok"),
            (
                Opinion::Reject,
                None,
                Refusal::RelayDenied,
                "554 5.7.1 <postmaster>: Relay access denied [ref s-1]",
            ),
            (
                Opinion::Defer,
                Some(Why::Expired),
                Refusal::RelayDenied,
                "450 4.7.1 <postmaster>: Relay access denied (your certificate has expired) [ref s-1]",
            ),
            (
                Opinion::Reject,
                Some(Why::Revoked),
                own(),
                "554 5.7.1 <postmaster>: Ask the help desk (your certificate has been revoked) [ref s-1]",
            ),
            (
                Opinion::Reject,
                None,
                Refusal::SenderNotOwned,
                "553 5.7.1 <>: Sender address rejected: not owned by the holder of the certificate [ref s-1]",
            ),
        ] {
            assert_eq!(reply(opinion, fault, refusal), text);
        }
    }

    #[test]
    fn reference_is_never_cut_off() {
        let text = reply(Opinion::Reject, None, Refusal::Text("é".repeat(2000)));
        assert!(text.len() <= REPLY_LINE_OCTETS_MAX - 2, "{text}");
        assert!(text.ends_with("? [ref s-1]"), "{text}");
    }
}
