//! The stages of a session at which restriction lists are asked.
//!
//! **Implements** `protocol_state` of Postfix's policy delegation as names.

/// When a list is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Before the greeting.
    Connect,
    /// At HELO and EHLO.
    Hello,
    /// At MAIL.
    Mail,
    /// At RCPT.
    Recipient,
    /// At DATA, or the first BDAT.
    Data,
    /// At the end of the mail data.
    EndOfData,
}

impl Stage {
    /// Postfix's `protocol_state`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::Hello => "HELO",
            Self::Mail => "MAIL",
            Self::Recipient => "RCPT",
            Self::Data => "DATA",
            Self::EndOfData => "END-OF-MESSAGE",
        }
    }
}
