//! The rustls verifier of client certificates that never says no.
//!
//! **Implements** `smtpd_tls_ask_ccert`: a certificate nobody here trusts must not break TLS, since other MTAs show
//! theirs unasked. Possession of the key is proved in earnest; the verdict is the judge's, after the handshake.
//! **Does not** judge: one verifier serves all connections and is not called on resumption at all.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::possession;
use super::provider::algorithms;

/// Accepts every client certificate whose key is proved.
#[derive(Debug)]
pub struct AcceptThenJudge {
    algorithms: WebPkiSupportedAlgorithms,
    hints: Vec<DistinguishedName>,
}

impl AcceptThenJudge {
    /// `hints` are the authorities named in the CertificateRequest.
    pub fn new(hints: Vec<DistinguishedName>) -> Self {
        Self {
            algorithms: algorithms(),
            hints,
        }
    }
}

impl ClientCertVerifier for AcceptThenJudge {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        possession::verify_tls12(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        possession::verify_tls13(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
