//! What a refusal says, as a value: whom it is about, and why.
//!
//! **Implements** the codes and enhanced codes of Postfix's smtpd_check.
//! **Does not** hold the texts: `session::replies` does.

use std::fmt;

/// What the reply to a refusal says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Refusal {
    /// `Relay access denied`.
    #[default]
    RelayDenied,
    /// The same with `relay_domains_reject_code`.
    RelayDeniedWith(u16),
    /// The own text of the rule that decided.
    Text(String),
    /// 553 5.7.1: the holder may not send with this reverse-path.
    SenderNotOwned,
    /// Everything else that a list refuses.
    Denied(Box<Denied>),
}

/// A refusal with its codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// 4xx or 5xx.
    pub code: u16,
    /// RFC 3463.
    pub status: (u8, u16, u16),
    /// What is rejected.
    pub subject: Subject,
    /// Its name: an address, a host, a command.
    pub name: String,
    /// The reason.
    pub why: Why,
}

impl Denied {
    /// With the enhanced code that somebody wrote in front of the text: one of the other class does not count, and one about
    /// an address is made one about the address that is refused, as Postfix does.
    #[must_use]
    pub const fn with_own_status(mut self, status: Option<(u8, u16, u16)>) -> Self {
        if let Some((class, subject, detail)) = status
            && class == self.status.0
        {
            let (subject, detail) = match (subject, self.subject) {
                (1, Subject::Sender) => (1, of_sender(detail)),
                (1, Subject::Recipient) => (1, of_recipient(detail)),
                (1, _) => (0, 0),
                other => (other.0, detail),
            };
            self.status = (class, subject, detail);
        }
        self
    }

    /// Whether it is a refusal for now.
    pub const fn is_transient(&self) -> bool {
        self.code < 500
    }
}

/// X.1.n of RFC 3463 as it is said of a sender.
const fn of_sender(detail: u16) -> u16 {
    match detail {
        2 | 8 => 8,
        3 | 7 => 7,
        _ => 0,
    }
}

/// X.1.n of RFC 3463 as it is said of a recipient.
const fn of_recipient(detail: u16) -> u16 {
    match detail {
        known @ 1..=6 => known,
        7 => 3,
        8 => 2,
        _ => 0,
    }
}

/// What is rejected: Postfix's `reply_class`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `Client host`.
    Client,
    /// `Unverified Client host`, by the name that its address has and that need not lead back.
    ReverseClient,
    /// `Helo command`.
    Hello,
    /// `Sender address`.
    Sender,
    /// `Recipient address`.
    Recipient,
    /// `Data command`.
    Data,
    /// `End-of-data`.
    EndOfData,
    /// `Client certificate`.
    Certificate,
    /// `Login name`.
    Login,
}

/// Why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// `reject_unauth_destination` and its kin behind RCPT.
    RelayDenied,
    /// `reject` and tables without a text of their own.
    AccessDenied,
    /// `defer`.
    TryAgainLater,
    /// The text of a table or a policy service.
    Own(String),
    /// `DEFER_IF_PERMIT` and `DEFER_IF_REJECT` without a text.
    ServiceUnavailable,
    /// `defer_if_permit` and `defer_if_reject` as words of a list.
    Requested(&'static str),
    /// A policy service that failed, or said what has no meaning.
    Misconfigured,
    /// `reject_invalid_helo_hostname`.
    InvalidName,
    /// `reject_non_fqdn_helo_hostname`.
    HostNotFullyQualified,
    /// `reject_non_fqdn_sender`, `reject_non_fqdn_recipient`.
    AddressNotFullyQualified,
    /// `reject_unknown_helo_hostname`.
    HostNotFound,
    /// `reject_unknown_sender_domain`, `reject_unknown_recipient_domain`.
    DomainNotFound,
    /// RFC 7505: this domain takes no mail.
    NullMx(String),
    /// Nobody knows now: the DNS said nothing of this name.
    LookupFailed(String),
    /// `reject_unknown_client_hostname`.
    NoClientName,
    /// `reject_unknown_reverse_client_hostname`.
    NoReverseName,
    /// `reject_unlisted_recipient`, `reject_unlisted_sender`.
    Unlisted,
    /// `reject_multi_recipient_bounce`.
    MultiRecipientBounce,
    /// `reject_unauth_pipelining`.
    Pipelining,
    /// The sender's address belongs to others than this login.
    NotOwnedBy(String),
    /// The sender's address belongs to logins, and there is none.
    NotLoggedIn,
    /// `reject_plaintext_session`.
    PlaintextSession,
    /// A DNS list names it; with the list's own reason.
    Listed {
        /// The list.
        list: String,
        /// Its TXT record.
        reason: Option<String>,
    },
}

impl fmt::Display for Why {
    /// For logs and `explain`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RelayDenied => "relay access denied",
            Self::AccessDenied => "access denied",
            Self::TryAgainLater => "deferred",
            Self::Own(text) => text,
            Self::ServiceUnavailable => "service unavailable",
            Self::Requested(word) => word,
            Self::Misconfigured => "the server is misconfigured",
            Self::InvalidName => "not a host name",
            Self::HostNotFullyQualified | Self::AddressNotFullyQualified => "not fully qualified",
            Self::HostNotFound => "neither an address nor a mail exchanger in the DNS",
            Self::DomainNotFound => "no mail exchanger and no address in the DNS",
            Self::NullMx(_) => "takes no mail (null MX)",
            Self::LookupFailed(_) => "could not be looked up",
            Self::NoClientName => "no name that leads back to the address",
            Self::NoReverseName => "no name in the DNS",
            Self::Unlisted => "not in relay_recipient_maps",
            Self::MultiRecipientBounce => "the null reverse-path with more than one recipient",
            Self::Pipelining => "sent more before it was answered",
            Self::NotOwnedBy(login) => return write!(f, "not owned by {login}"),
            Self::NotLoggedIn => "owned by a login, and nobody logged in",
            Self::PlaintextSession => "the session is not encrypted",
            Self::Listed { list, reason } => {
                return write!(
                    f,
                    "listed in {list} ({})",
                    reason.as_deref().unwrap_or("no reason given")
                );
            }
        })
    }
}
