//! Mail data: dot transparency and bare newlines.

/// `smtpd_forbid_bare_newline`: what a bare CR or LF in commands or mail data leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BareNewline {
    /// `no`, `yes`, `normalize`: a line may end in LF and leaves as CRLF; the end of data may not.
    Normalize,
    /// `note`: the same, and an event is recorded.
    Note,
    /// `reject`: 550 5.5.2 and the session ends.
    Reject,
}
