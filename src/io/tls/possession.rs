//! Proof that a peer holds the key of the certificate it shows.
//!
//! **Implements** CertificateVerify of RFC 8446 section 4.4.3 and RFC 5246 section 7.4.8, also for certificates that
//! webpki cannot parse (version 1, odd extensions): these are checked by their bare key.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::{CertificateError, DigitallySignedStruct, Error};

use crate::cert::decode;

/// The signature in a TLS 1.2 handshake.
pub(super) fn verify_tls12(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    if webpki::EndEntityCert::try_from(certificate).is_ok() {
        return rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms);
    }
    let key = bare_key(certificate)?;
    let key = webpki::RawPublicKeyEntity::try_from(&key).map_err(|_| CertificateError::BadEncoding)?;
    let known = algorithms.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme);
    let is_valid = known
        .map_or(&[][..], |(_, algorithms)| algorithms)
        .iter()
        .any(|algorithm| key.verify_signature(*algorithm, message, signed.signature()).is_ok());
    if is_valid {
        return Ok(HandshakeSignatureValid::assertion());
    }
    Err(CertificateError::BadSignature.into())
}

/// The signature in a TLS 1.3 handshake.
pub(super) fn verify_tls13(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    if webpki::EndEntityCert::try_from(certificate).is_ok() {
        return rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms);
    }
    rustls::crypto::verify_tls13_signature_with_raw_key(message, &bare_key(certificate)?, signed, algorithms)
}

fn bare_key(certificate: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, Error> {
    decode::subject_public_key_info(certificate)
        .map(SubjectPublicKeyInfoDer::from)
        .map_err(|_| CertificateError::BadEncoding.into())
}
