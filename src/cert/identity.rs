//! Who the peer is, in four states.
//!
//! **Implements** the identity of a session as every restriction sees it; Postfix's "Trusted"/"Untrusted" with
//! the reason kept. Only [`Identity::Verified`] satisfies a rule on issuer or subject.

use std::sync::Arc;

use super::certificate::Certificate;

/// What TLS told us of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// No TLS.
    Plaintext,
    /// TLS, and no certificate was shown (or none was asked for).
    NoCertificate,
    /// A certificate was shown and its key proved, but its chain does not verify.
    Unverified {
        /// Why it does not.
        why: Why,
        /// The leaf; absent when it cannot be decoded.
        certificate: Option<Arc<Certificate>>,
    },
    /// The chain leads to a trust anchor.
    Verified {
        /// The leaf.
        certificate: Arc<Certificate>,
        /// The issuers, from the leaf's own to the trust anchor.
        chain: Vec<Arc<Certificate>>,
    },
}

impl Identity {
    /// The leaf, verified or not.
    pub fn certificate(&self) -> Option<&Certificate> {
        match self {
            Self::Verified { certificate, .. } => Some(certificate),
            Self::Unverified { certificate, .. } => certificate.as_deref(),
            Self::Plaintext | Self::NoCertificate => None,
        }
    }

    /// The leaf, verified or not, to be kept.
    pub fn shared_certificate(&self) -> Option<Arc<Certificate>> {
        match self {
            Self::Verified { certificate, .. } => Some(Arc::clone(certificate)),
            Self::Unverified { certificate, .. } => certificate.clone(),
            Self::Plaintext | Self::NoCertificate => None,
        }
    }

    /// The issuers of a verified leaf, its own first; empty otherwise.
    pub fn issuers(&self) -> &[Arc<Certificate>] {
        match self {
            Self::Verified { chain, .. } => chain,
            _ => &[],
        }
    }

    /// The leaf, if its chain verified.
    pub fn verified(&self) -> Option<&Certificate> {
        match self {
            Self::Verified { certificate, .. } => Some(certificate),
            _ => None,
        }
    }

    /// `plaintext`, `no_certificate`, `unverified`, `verified`: for logs.
    pub const fn state(&self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::NoCertificate => "no_certificate",
            Self::Unverified { .. } => "unverified",
            Self::Verified { .. } => "verified",
        }
    }
}

/// Why a certificate that was shown does not verify; the text is fit for a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Why {
    /// No path to a trust anchor.
    #[error("certificate issuer is not trusted here")]
    UnknownIssuer,
    /// Past its notAfter, or an intermediate's.
    #[error("certificate has expired")]
    Expired,
    /// Before its notBefore.
    #[error("certificate is not yet valid")]
    NotYetValid,
    /// On a CRL.
    #[error("certificate has been revoked")]
    Revoked,
    /// On the relay's own deny-list (`estafette cert revoke`).
    #[error("certificate has been blocked by the postmaster of this relay")]
    Denied,
    /// No CRL of its issuer, or of an intermediate's, is at hand and `smtpd_tls_crl_policy` is fail-closed.
    #[error("certificate cannot be checked: there is no revocation list of its issuer")]
    CrlMissing,
    /// The CRL is past nextUpdate and the grace time, and `smtpd_tls_crl_policy` is fail-closed.
    #[error("certificate cannot be checked: the revocation list of its issuer is out of date")]
    CrlStale,
    /// `smtpd_tls_ocsp = require`, and no responder has vouched for it.
    #[error("certificate cannot be checked: its OCSP responder has not vouched for it")]
    OcspUnknown,
    /// An extended key usage without clientAuth.
    #[error("certificate is not for client authentication")]
    WrongExtendedKeyUsage,
    /// A signature in the chain does not verify.
    #[error("certificate signature is not valid")]
    BadSignature,
    /// Too many intermediates, or a path length constraint.
    #[error("certificate chain is too long")]
    PathLength,
    /// A name constraint forbids it.
    #[error("certificate violates a name constraint of its issuer")]
    NameConstraint,
    /// SHA-1, MD5, RSA under 2048 bits.
    #[error("certificate uses a weak or unsupported algorithm")]
    WeakAlgorithm,
    /// X.509 version 1 or 2.
    #[error("certificate is not X.509 version 3")]
    OldVersion,
    /// A CA certificate used as a person's.
    #[error("certificate is that of a certification authority")]
    CaAsEndEntity,
    /// Cannot be decoded, or holds what we must not ignore.
    #[error("certificate is malformed")]
    Malformed,
}
