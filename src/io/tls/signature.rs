//! A signature of one authority's key over a certificate, a revocation list or anything else in three parts.
//!
//! **Implements** the algorithms of the provider, matched by their identifiers as RFC 5280 section 4.1.1.2 has them.

use rustls::pki_types::SubjectPublicKeyInfoDer;
use webpki::RawPublicKeyEntity;

use super::provider::algorithms;
use crate::cert::signed::Signed;

/// Why a signature does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignatureFault {
    /// No algorithm of the provider: SHA-1, MD5, or an unknown one.
    Unsupported,
    /// Another key made it, or nobody did.
    Bad,
}

/// Verifies with the key in a SubjectPublicKeyInfo (DER).
pub(super) fn verify(key: &[u8], signed: &Signed<'_>) -> Result<(), SignatureFault> {
    let supported = algorithms().all;
    let mut fitting = supported
        .iter()
        .filter(|algorithm| algorithm.signature_alg_id().as_ref() == signed.algorithm)
        .peekable();
    if fitting.peek().is_none() {
        return Err(SignatureFault::Unsupported);
    }
    let key = SubjectPublicKeyInfoDer::from(key);
    let key = RawPublicKeyEntity::try_from(&key).map_err(|_| SignatureFault::Bad)?;
    let is_good = fitting.any(|algorithm| {
        let verified = key.verify_signature(*algorithm, signed.message, signed.signature);
        verified.is_ok()
    });
    if is_good { Ok(()) } else { Err(SignatureFault::Bad) }
}
