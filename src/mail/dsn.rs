//! What a sender asks about delivery status notifications.
//!
//! **Implements** the parameters of RFC 3461 section 4 as values: RET and ENVID of MAIL, NOTIFY and ORCPT of RCPT.
//! **Does not** read or print them: `wire::parameters` reads, the outbound client and the bounce print.

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

/// What RCPT asked, for one recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecipientRequest {
    /// NOTIFY; `None` when it was not given, which means failure and delay.
    pub notify: Option<Notify>,
    /// ORCPT as it was given: `rfc822;` or `utf-8;` and the address in xtext.
    pub original_recipient: Option<String>,
}

impl RecipientRequest {
    /// Whether nothing was asked.
    pub fn is_empty(&self) -> bool {
        self.notify.is_none() && self.original_recipient.is_none()
    }
}
