//! The rustls verifiers of server certificates: one that takes all, one that wants a chain and a name.
//!
//! **Implements** the two ends of `smtp_tls_security_level`: nothing is looked at (`may`, `encrypt`), or the chain
//! must verify and one name must match (`verify`, `secure`; RFC 6125 with dNSName only, as rustls has it).

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::{possession, presented};
use crate::cert::decode;

/// Roots of the outbound side, and intermediates that complete what a server sends.
#[derive(Debug)]
pub(super) struct Trust {
    pub(super) roots: RootCertStore,
    pub(super) pool: Vec<CertificateDer<'static>>,
}

/// What is asked of a certificate beyond possession of its key.
#[derive(Debug)]
pub(super) enum Demand {
    /// Nothing.
    Nothing,
    /// A chain to one of the roots, and one of the names.
    ChainAndName(Arc<Trust>, Vec<String>),
}

/// The verifier of one connection, or of all that demand nothing.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    pub(super) demand: Demand,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Demand::ChainAndName(trust, names) = &self.demand {
            let parsed = ParsedCertificate::try_from(leaf)?;
            let pool = trust.pool.iter().map(|der| CertificateDer::from(der.as_ref()));
            let candidates: Vec<CertificateDer<'_>> = pool.chain(presented::leading_on(intermediates)).collect();
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&parsed, &trust.roots, &candidates, now, algorithms)?;
            if !names.iter().any(|name| matches_name(&parsed, leaf, name)) {
                return Err(CertificateError::NotValidForName.into());
            }
        }
        Ok(ServerCertVerified::assertion())
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

/// A name that starts with a dot matches every sub-domain, and a wildcard of that domain, but not the domain itself.
fn matches_name(parsed: &ParsedCertificate<'_>, leaf: &CertificateDer<'_>, name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    if !name.starts_with('.') {
        return ServerName::try_from(name.as_str()).is_ok_and(|name| verify_server_name(parsed, &name).is_ok());
    }
    decode::decode(leaf).is_ok_and(|certificate| {
        certificate.dns_names.iter().any(|host| {
            let host = host.trim_end_matches('.').to_ascii_lowercase();
            host.len() > name.len() && host.ends_with(&name)
        })
    })
}

/// A handshake failure in a few words; rustls itself would print a page of algorithm numbers.
pub(super) fn describe(error: &Error, demand: &Demand) -> String {
    let Error::InvalidCertificate(reason) = error else {
        let text: String = error.to_string().chars().take(120).collect();
        return format!("TLS handshake failed: {text}");
    };
    let words = match reason {
        CertificateError::UnknownIssuer => "certificate issuer is not trusted here",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "certificate is not yet valid",
        CertificateError::Revoked => "certificate has been revoked",
        CertificateError::BadSignature => "a signature is not valid",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "certificate is not for server authentication"
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "certificate uses a weak or unsupported algorithm"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            let wanted = match demand {
                Demand::ChainAndName(_, names) => names.join(" or "),
                Demand::Nothing => String::new(),
            };
            return format!("server certificate not verified: name mismatch: wanted {wanted}");
        }
        _ => "certificate is malformed or not acceptable",
    };
    format!("server certificate not verified: {words}")
}
