//! TLS towards next hops.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;

use super::settings::ClientTlsFiles;

/// What the certificate of a next hop must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerCheck {
    /// Nothing.
    Any,
    /// A chain to an anchor, and one of these names.
    Names(Vec<String>),
}

/// Why a TLS file is no good.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TlsFileError(String);

/// The client side of TLS.
pub struct ClientTls(Arc<rustls::ClientConfig>);

impl ClientTls {
    /// Reads the files.
    pub fn load(_files: &ClientTlsFiles, _now_unix_seconds: i64) -> Result<Self, Vec<TlsFileError>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| vec![TlsFileError(error.to_string())])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate))
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// The handshake.
    pub async fn connect(
        &self,
        stream: TcpStream,
        server_name: &str,
        check: &ServerCheck,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        if let ServerCheck::Names(names) = check {
            return Err(std::io::Error::other(format!("cannot check for {names:?}")));
        }
        let name = ServerName::try_from(server_name.to_owned()).map_err(std::io::Error::other)?;
        tokio_rustls::TlsConnector::from(self.0.clone())
            .connect(name, stream)
            .await
    }
}

#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
