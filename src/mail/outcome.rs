//! What became of one recipient in one delivery attempt.
//!
//! **Implements** the action field of RFC 3464 section 2.3.3 as far as a relay meets it.

/// The outcome of an attempt for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// The next hop took responsibility.
    Relayed(Report),
    /// Try again later.
    Deferred(Report),
    /// Will not succeed; a bounce is due.
    Failed(Report),
}

/// What was said, by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The next hop as `host[address]:port`, or empty when none was reached.
    pub remote: String,
    /// RFC 3463 code, from the reply or made here: `5.1.1`.
    pub status: String,
    /// The reply in one line, or our own words.
    pub text: String,
    /// Whether `text` is a reply of the next hop (Diagnostic-Code: smtp) or our own words (x-estafette).
    pub from_remote: bool,
}

impl Outcome {
    /// What was said.
    pub const fn report(&self) -> &Report {
        match self {
            Self::Relayed(report) | Self::Deferred(report) | Self::Failed(report) => report,
        }
    }

    /// Whether the recipient is settled for good.
    pub const fn is_final(&self) -> bool {
        !matches!(self, Self::Deferred(_))
    }
}
