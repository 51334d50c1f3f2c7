//! What refusals of restriction lists say.
//!
//! **Implements** the wording of Postfix's smtpd_check.

use crate::policy::refusal::{Denied, Subject, Why};

/// The text behind the codes.
pub(super) fn text(denied: &Denied) -> String {
    let (name, what) = (&denied.name, rejected(denied.subject));
    // Postfix names the address alone here, in brackets.
    let address = name.rsplit_once('[').map_or(name.as_str(), |(_, address)| address);
    let address = address.trim_end_matches(']');
    let why = match &denied.why {
        Why::NoClientName => return format!("Client host rejected: cannot find your hostname, [{address}]"),
        Why::NoReverseName => return format!("Client host rejected: cannot find your reverse hostname, [{address}]"),
        Why::Listed { list, reason } => {
            let reason = reason
                .as_ref()
                .map(|text| format!("; {}", printable(text)))
                .unwrap_or_default();
            return format!("Service unavailable; {what} [{name}] blocked using {list}{reason}");
        }
        Why::RelayDenied => return format!("<{name}>: Relay access denied"),
        Why::Misconfigured => return "Server configuration error".into(),
        why => why_in_words(why),
    };
    format!("<{name}>: {what} rejected: {why}")
}

fn why_in_words(why: &Why) -> String {
    match why {
        Why::AccessDenied => "Access denied".into(),
        Why::TryAgainLater => "Try again later".into(),
        Why::Own(text) => printable(text),
        Why::ServiceUnavailable => "Service unavailable".into(),
        Why::Requested(word) => format!("{word} requested"),
        Why::InvalidName => "Invalid name".into(),
        Why::HostNotFullyQualified => "need fully-qualified hostname".into(),
        Why::AddressNotFullyQualified => "need fully-qualified address".into(),
        Why::HostNotFound => "Host not found".into(),
        Why::DomainNotFound => "Domain not found".into(),
        Why::NullMx(domain) => format!("Domain {domain} does not accept mail (nullMX)"),
        Why::LookupFailed(name) => format!("DNS lookup of {name} failed, try again later"),
        Why::Unlisted => "User unknown in relay recipient table".into(),
        Why::MultiRecipientBounce => "Multi-recipient bounce".into(),
        Why::Pipelining => "Improper use of SMTP command pipelining".into(),
        Why::NotOwnedBy(login) => format!("not owned by user {}", printable(login)),
        Why::NotLoggedIn => "not logged in".into(),
        Why::PlaintextSession => "Session encryption is required".into(),
        Why::RelayDenied | Why::NoClientName | Why::NoReverseName | Why::Listed { .. } | Why::Misconfigured => {
            String::new()
        }
    }
}

const fn rejected(subject: Subject) -> &'static str {
    match subject {
        Subject::Client => "Client host",
        Subject::ReverseClient => "Unverified Client host",
        Subject::Hello => "Helo command",
        Subject::Sender => "Sender address",
        Subject::Recipient => "Recipient address",
        Subject::Data => "Data command",
        Subject::EndOfData => "End-of-data",
        Subject::Certificate => "Client certificate",
        Subject::Login => "SASL login name",
    }
}

/// What others wrote, such as the TXT record of a DNS list: nothing that ends a line or is not ASCII.
fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    text.chars().map(shown).collect()
}
