//! What can be wrong with the files TLS is made of.
//!
//! **Implements** messages an operator can act on: the file, what is wrong with it, what to do.

use std::path::{Path, PathBuf};

use crate::cert::revocation_list::ListError;
use crate::time::Timestamp;

/// A file TLS cannot be built from. Always the operator's to repair.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileError {
    /// The file or directory cannot be read.
    #[error("{}: {source}; check the path and that the relay may read it", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// PEM armour is broken.
    #[error("{}: broken PEM ({reason}); write the file anew from its source", path.display())]
    BrokenPem {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        reason: String,
    },
    /// No certificate in the file.
    #[error("{}: no CERTIFICATE in PEM form; {found}", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
        /// The labels found and what to do about them.
        found: String,
    },
    /// No usable private key in the file.
    #[error("{}: no private key in PEM form; {found}", path.display())]
    NoPrivateKey {
        /// The file.
        path: PathBuf,
        /// The labels found and what to do about them.
        found: String,
    },
    /// Others may read or change the private key.
    #[error("{}: the private key has mode {mode:04o}; run `chmod 600 {}` (0400 and 0640 are good too)", path.display(), path.display())]
    KeyExposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A certificate cannot be decoded.
    #[error("{}: certificate number {position} is malformed; remove it or get it anew from its issuer", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        position: usize,
    },
    /// notAfter is past.
    #[error("{}: the certificate of {name} expired on {}; renew it", path.display(), Timestamp::from_seconds(*not_after_seconds))]
    Expired {
        /// The file.
        path: PathBuf,
        /// The subject, one-line.
        name: String,
        /// notAfter, seconds since the epoch.
        not_after_seconds: i64,
    },
    /// notBefore is to come.
    #[error("{}: the certificate of {name} is not valid before {}; check the clock or the certificate", path.display(), Timestamp::from_seconds(*not_before_seconds))]
    NotYetValid {
        /// The file.
        path: PathBuf,
        /// The subject, one-line.
        name: String,
        /// notBefore, seconds since the epoch.
        not_before_seconds: i64,
    },
    /// Key and certificate belong to different people.
    #[error("{}: the private key does not belong to the certificate in {}; give the key the certificate was issued for", path.display(), certificate.display())]
    KeyMismatch {
        /// The key file.
        path: PathBuf,
        /// The certificate file.
        certificate: PathBuf,
    },
    /// The TLS library refuses the pair.
    #[error("{}: the key or certificate cannot be used ({reason}); use RSA of 2048 bits or more, or ECDSA P-256 or P-384", path.display())]
    Unusable {
        /// The key file.
        path: PathBuf,
        /// What the library said, shortened.
        reason: String,
    },
    /// A self-signed certificate in a CA file is no CA's.
    #[error("{}: {name} is not a certification authority; remove it, or list its fingerprint in relay_clientcerts", path.display())]
    NotAnAuthority {
        /// The file.
        path: PathBuf,
        /// The subject, one-line.
        name: String,
    },
    /// Only intermediates: no chain can end here.
    #[error("{}: no self-signed root certificate; add the root that issued the certificates in it", path.display())]
    NoAnchor {
        /// The file or directory.
        path: PathBuf,
    },
    /// A device, or somebody's mistake.
    #[error("{}: larger than {} MiB; this is no file for TLS", path.display(), octets_max >> 20)]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read, octets.
        octets_max: u64,
    },
    /// No revocation list in the file.
    #[error("{}: no revocation list (X509 CRL) in PEM or DER form; {found}", path.display())]
    NoRevocationList {
        /// The file.
        path: PathBuf,
        /// The labels found and what to do about them.
        found: String,
    },
    /// A revocation list cannot be used.
    #[error("{}: revocation list number {position} {fault}", path.display())]
    RevocationList {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        position: usize,
        /// What is wrong with it.
        fault: ListFault,
    },
    /// The relay's own deny-list cannot be used.
    #[error("{}: {reason}", path.display())]
    DenyList {
        /// The file.
        path: PathBuf,
        /// In words.
        reason: String,
    },
}

/// What is wrong with a revocation list; the operator's to repair, or its issuer's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListFault {
    /// Its contents.
    #[error(transparent)]
    Contents(#[from] ListError),
    /// Nobody here can have signed it.
    #[error("is that of {issuer}, which is unknown here; add the certificate of that authority to smtpd_tls_CAfile")]
    UnknownIssuer {
        /// One-line.
        issuer: String,
    },
    /// Its issuer's key did not make the signature.
    #[error(
        "has a signature that is not that of {issuer}; get it anew, and see that smtpd_tls_CAfile has the authority's present certificate"
    )]
    BadSignature {
        /// One-line.
        issuer: String,
    },
    /// SHA-1 and other things of the past.
    #[error(
        "is signed by {issuer} with an algorithm that is too weak or not supported (SHA-1?); its issuer must use SHA-256"
    )]
    WeakAlgorithm {
        /// One-line.
        issuer: String,
    },
    /// The key usage of the issuer lacks cRLSign.
    #[error(
        "is signed by {issuer}, whose certificate does not let it sign revocation lists (key usage without cRLSign)"
    )]
    NotASigner {
        /// One-line.
        issuer: String,
    },
    /// thisUpdate is to come.
    #[error("is of the future: {issuer} issued it for {}; check the clock", Timestamp::from_seconds(*this_update_seconds))]
    NotYetValid {
        /// One-line.
        issuer: String,
        /// thisUpdate, seconds since 1970.
        this_update_seconds: i64,
    },
}

impl TlsFileError {
    /// The file or directory at fault.
    pub fn path(&self) -> &Path {
        match self {
            Self::Unreadable { path, .. }
            | Self::BrokenPem { path, .. }
            | Self::NoCertificate { path, .. }
            | Self::NoPrivateKey { path, .. }
            | Self::KeyExposed { path, .. }
            | Self::Malformed { path, .. }
            | Self::Expired { path, .. }
            | Self::NotYetValid { path, .. }
            | Self::KeyMismatch { path, .. }
            | Self::Unusable { path, .. }
            | Self::NotAnAuthority { path, .. }
            | Self::NoAnchor { path }
            | Self::TooLarge { path, .. }
            | Self::NoRevocationList { path, .. }
            | Self::RevocationList { path, .. }
            | Self::DenyList { path, .. } => path,
        }
    }
}
