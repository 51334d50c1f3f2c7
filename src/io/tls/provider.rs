//! The one crypto provider, and what server and client share when they build a configuration.
//!
//! **Implements** aws-lc-rs passed explicitly: with two providers in the tree an implicit default would panic.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::UnixTime;
use rustls::sign::CertifiedKey;
use rustls::{SupportedProtocolVersion, version};

use super::error::TlsFileError;
use super::pem;
use crate::cert::certificate::Certificate;
use crate::cert::decode;

static TLS13_ONLY: [&SupportedProtocolVersion; 1] = [&version::TLS13];
static TLS12_AND_13: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];

/// aws-lc-rs; X25519MLKEM768 stands first in its key exchanges.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The signature algorithms of the provider, for chains and for handshakes.
pub(super) fn algorithms() -> WebPkiSupportedAlgorithms {
    rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms
}

/// TLS 1.3, and 1.2 where the directive allows it.
pub(super) fn versions(tls12: bool) -> &'static [&'static SupportedProtocolVersion] {
    if tls12 { &TLS12_AND_13 } else { &TLS13_ONLY }
}

/// Seconds since the epoch as rustls wants them; before 1970 counts as 1970.
pub(super) fn unix_time(now_unix_seconds: i64) -> UnixTime {
    let seconds = u64::try_from(now_unix_seconds).unwrap_or(0);
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
}

/// Our own key and chain, decodable and belonging together.
pub(super) struct Own {
    pub(super) pair: CertifiedKey,
    pub(super) leaf: Certificate,
    /// Expired or not yet valid: no reason to stop mail, since most peers do not look, but somebody must be told.
    pub(super) fault: Option<TlsFileError>,
}

/// Reads our own key and chain.
///
/// # Errors
/// Everything that is wrong with the two files.
pub(super) fn certified_key(certificate: &Path, key: &Path, now_unix_seconds: i64) -> Result<Own, Vec<TlsFileError>> {
    let (chain, private_key) = match (pem::certificates(certificate), pem::private_key(key)) {
        (Ok(chain), Ok(private_key)) => (chain, private_key),
        (chain, private_key) => return Err([chain.err(), private_key.err()].into_iter().flatten().collect()),
    };
    let malformed = || {
        vec![TlsFileError::Malformed {
            path: certificate.to_owned(),
            position: 1,
        }]
    };
    let leaf = chain.first().ok_or_else(malformed)?;
    let leaf = decode::decode(leaf).map_err(|_| malformed())?;
    let fault = check_validity(certificate, &leaf, now_unix_seconds).err();
    let pair = CertifiedKey::from_der(chain, private_key, &provider());
    let pair = pair.map_err(|e| vec![unusable(certificate, key, &e)])?;
    Ok(Own { pair, leaf, fault })
}

/// Refuses a certificate that is expired or not yet valid.
pub(super) fn check_validity(
    path: &Path,
    certificate: &Certificate,
    now_unix_seconds: i64,
) -> Result<(), TlsFileError> {
    if now_unix_seconds > certificate.not_after_seconds {
        return Err(TlsFileError::Expired {
            path: path.to_owned(),
            name: certificate.subject.one_line(),
            not_after_seconds: certificate.not_after_seconds,
        });
    }
    if now_unix_seconds < certificate.not_before_seconds {
        return Err(TlsFileError::NotYetValid {
            path: path.to_owned(),
            name: certificate.subject.one_line(),
            not_before_seconds: certificate.not_before_seconds,
        });
    }
    Ok(())
}

fn unusable(certificate: &Path, key: &Path, error: &rustls::Error) -> TlsFileError {
    match error {
        rustls::Error::InconsistentKeys(_) => TlsFileError::KeyMismatch {
            path: key.to_owned(),
            certificate: certificate.to_owned(),
        },
        other => TlsFileError::Unusable {
            path: key.to_owned(),
            reason: other.to_string().chars().take(120).collect(),
        },
    }
}
