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

/// The restriction lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum List {
    /// `smtpd_client_restrictions`.
    Client,
    /// `smtpd_helo_restrictions`.
    Hello,
    /// `smtpd_sender_restrictions`.
    Sender,
    /// `smtpd_relay_restrictions`.
    Relay,
    /// `smtpd_recipient_restrictions`.
    Recipient,
    /// `smtpd_data_restrictions`.
    Data,
    /// `smtpd_end_of_data_restrictions`.
    EndOfData,
}

impl List {
    /// All of them, in the order of a dialogue.
    pub const ALL: [Self; 7] = [
        Self::Client,
        Self::Hello,
        Self::Sender,
        Self::Relay,
        Self::Recipient,
        Self::Data,
        Self::EndOfData,
    ];

    /// The directive.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "smtpd_client_restrictions",
            Self::Hello => "smtpd_helo_restrictions",
            Self::Sender => "smtpd_sender_restrictions",
            Self::Relay => "smtpd_relay_restrictions",
            Self::Recipient => "smtpd_recipient_restrictions",
            Self::Data => "smtpd_data_restrictions",
            Self::EndOfData => "smtpd_end_of_data_restrictions",
        }
    }

    /// Whether a permission of this list lets a recipient through; the others only end themselves.
    pub const fn permits_recipients(self) -> bool {
        matches!(self, Self::Relay | Self::Recipient)
    }
}
