//! AUTH with a password: what the directives say about it, and what a password service answers.
//!
//! **Implements** `smtpd_sasl_auth_enable`, `smtpd_tls_auth_only`, `smtpd_sasl_security_options`,
//! `smtpd_sasl_tls_security_options`, `smtpd_sasl_exceptions_networks`, `smtpd_sasl_local_domain`,
//! `smtpd_sasl_authenticated_header`, as far as a session follows them.
//! **Does not** know a password: the driver asks whoever does.

use crate::net::CidrSet;
use crate::wire::sasl::{PasswordMechanism, PasswordMechanisms};

/// What a listener's sessions do about passwords; by default nothing.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a directive of its own, named in the configuration"
)]
pub struct SaslSettings {
    /// `smtpd_sasl_auth_enable`.
    pub is_enabled: bool,
    /// `smtpd_tls_auth_only = false`, and no `noplaintext` in `smtpd_sasl_security_options`.
    pub without_tls: bool,
    /// No `noplaintext` in `smtpd_sasl_tls_security_options`.
    pub in_tls: bool,
    /// `smtpd_sasl_exceptions_networks`: who is not offered AUTH at all.
    pub exceptions: CidrSet,
    /// `smtpd_sasl_local_domain`; empty: none.
    pub realm: String,
    /// `smtpd_sasl_authenticated_header`.
    pub authenticated_header: bool,
    /// What the password service takes; `None` as long as it has not been heard.
    pub mechanisms: Option<PasswordMechanisms>,
}

impl SaslSettings {
    /// Whether passwords are taken in such a session.
    pub const fn takes_passwords(&self, is_encrypted: bool) -> bool {
        self.is_enabled && if is_encrypted { self.in_tls } else { self.without_tls }
    }
}

/// What the password service says of an [`Action::Authenticate`](super::Action::Authenticate).
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verification {
    /// The password is right; the login as the service spells it.
    Right(String),
    /// No.
    Wrong(PasswordFault),
}

/// Why a password did not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordFault {
    /// Nobody has this login with this password; perhaps with the service's own text for the client.
    #[error("{}", .0.as_deref().unwrap_or("login or password is wrong"))]
    Credentials(Option<String>),
    /// The account is locked.
    #[error("the account is disabled")]
    Disabled,
    /// The password has to be changed.
    #[error("the password has expired")]
    Expired,
    /// PLAIN asked to act as somebody else.
    #[error("may not act as {0:?}")]
    NotAuthorized(String),
    /// The service could not find out: 454.
    #[error("{0}")]
    Unavailable(String),
    /// `smtpd_sasl_failure_limit_login`: 454.
    #[error("smtpd_sasl_failure_limit_login: too many failures for this login")]
    LoginExceeded,
    /// `smtpd_sasl_failure_limit_address`: 421, and the session ends.
    #[error("smtpd_sasl_failure_limit_address: too many failures from this address")]
    AddressExceeded,
}

/// A login that is being verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) mechanism: PasswordMechanism,
    pub(super) login: String,
}
