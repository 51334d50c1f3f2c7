//! The restrictions that are one word and look at nothing but the session and the lists.
//!
//! **Implements** their names in postconf(5).

/// A restriction without an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// `defer_if_permit`.
    DeferIfPermit,
    /// `defer_if_reject`.
    DeferIfReject,
    /// `permit_inet_interfaces`.
    PermitInetInterfaces,
    /// `permit_sasl_authenticated`.
    PermitSaslAuthenticated,
    /// `reject_authenticated_sender_login_mismatch`.
    RejectAuthenticatedLoginMismatch,
    /// `reject_invalid_helo_hostname`.
    RejectInvalidHello,
    /// `reject_known_sender_login_mismatch`.
    RejectKnownLoginMismatch,
    /// `reject_multi_recipient_bounce`.
    RejectMultiRecipientBounce,
    /// `reject_non_fqdn_helo_hostname`.
    RejectNonFqdnHello,
    /// `reject_non_fqdn_recipient`.
    RejectNonFqdnRecipient,
    /// `reject_non_fqdn_sender`.
    RejectNonFqdnSender,
    /// `reject_plaintext_session`.
    RejectPlaintextSession,
    /// `reject_sender_login_mismatch`.
    RejectLoginMismatch,
    /// `reject_unauth_pipelining`.
    RejectUnauthPipelining,
    /// `reject_unauthenticated_sender_login_mismatch`.
    RejectUnauthenticatedLoginMismatch,
    /// `reject_unknown_client_hostname`.
    RejectUnknownClient,
    /// `reject_unknown_helo_hostname`.
    RejectUnknownHello,
    /// `reject_unknown_recipient_domain`.
    RejectUnknownRecipientDomain,
    /// `reject_unknown_reverse_client_hostname`.
    RejectUnknownReverseClient,
    /// `reject_unknown_sender_domain`.
    RejectUnknownSenderDomain,
    /// `reject_unlisted_recipient`.
    RejectUnlistedRecipient,
    /// `reject_unlisted_sender`.
    RejectUnlistedSender,
}

impl Word {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::DeferIfPermit,
        Self::DeferIfReject,
        Self::PermitInetInterfaces,
        Self::PermitSaslAuthenticated,
        Self::RejectAuthenticatedLoginMismatch,
        Self::RejectInvalidHello,
        Self::RejectKnownLoginMismatch,
        Self::RejectMultiRecipientBounce,
        Self::RejectNonFqdnHello,
        Self::RejectNonFqdnRecipient,
        Self::RejectNonFqdnSender,
        Self::RejectPlaintextSession,
        Self::RejectLoginMismatch,
        Self::RejectUnauthPipelining,
        Self::RejectUnauthenticatedLoginMismatch,
        Self::RejectUnknownClient,
        Self::RejectUnknownHello,
        Self::RejectUnknownRecipientDomain,
        Self::RejectUnknownReverseClient,
        Self::RejectUnknownSenderDomain,
        Self::RejectUnlistedRecipient,
        Self::RejectUnlistedSender,
    ];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DeferIfPermit => "defer_if_permit",
            Self::DeferIfReject => "defer_if_reject",
            Self::PermitInetInterfaces => "permit_inet_interfaces",
            Self::PermitSaslAuthenticated => "permit_sasl_authenticated",
            Self::RejectAuthenticatedLoginMismatch => "reject_authenticated_sender_login_mismatch",
            Self::RejectInvalidHello => "reject_invalid_helo_hostname",
            Self::RejectKnownLoginMismatch => "reject_known_sender_login_mismatch",
            Self::RejectMultiRecipientBounce => "reject_multi_recipient_bounce",
            Self::RejectNonFqdnHello => "reject_non_fqdn_helo_hostname",
            Self::RejectNonFqdnRecipient => "reject_non_fqdn_recipient",
            Self::RejectNonFqdnSender => "reject_non_fqdn_sender",
            Self::RejectPlaintextSession => "reject_plaintext_session",
            Self::RejectLoginMismatch => "reject_sender_login_mismatch",
            Self::RejectUnauthPipelining => "reject_unauth_pipelining",
            Self::RejectUnauthenticatedLoginMismatch => "reject_unauthenticated_sender_login_mismatch",
            Self::RejectUnknownClient => "reject_unknown_client_hostname",
            Self::RejectUnknownHello => "reject_unknown_helo_hostname",
            Self::RejectUnknownRecipientDomain => "reject_unknown_recipient_domain",
            Self::RejectUnknownReverseClient => "reject_unknown_reverse_client_hostname",
            Self::RejectUnknownSenderDomain => "reject_unknown_sender_domain",
            Self::RejectUnlistedRecipient => "reject_unlisted_recipient",
            Self::RejectUnlistedSender => "reject_unlisted_sender",
        }
    }

    /// The restriction of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|word| word.name().eq_ignore_ascii_case(name))
    }
}
