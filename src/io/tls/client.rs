//! The client side: TLS towards next hops.
//!
//! **Implements** STARTTLS of RFC 3207 as client for `smtp_tls_security_level` may, encrypt, verify and secure,
//! with `smtp_tls_cert_file` and `smtp_tls_key_file` as our own certificate.
//! **Does not** choose the level or the names, nor bound the time of a handshake: the outbound driver does.

use std::io;
use std::sync::Arc;

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::authorities::{Authorities, Purpose, Sources};
use super::error::TlsFileError;
use super::provider::{algorithms, certified_key, provider, versions};
use super::server_check::{Demand, ServerVerifier, Trust, describe};
use super::settings::ClientTlsFiles;

/// What is asked of a server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerCheck {
    /// Neither chain nor name is looked at (`may`, `encrypt`).
    Any,
    /// The chain must verify and one name must match (`verify`, `secure`); a name that starts with `.` matches any
    /// sub-domain.
    Names(Vec<String>),
}

/// Everything the outbound side needs for TLS; one for all connections until a reload.
pub struct ClientTls {
    provider: Arc<CryptoProvider>,
    own_certificate: Option<Arc<SingleCertAndKey>>,
    trust: Arc<Trust>,
    tls12: bool,
    /// Demands nothing and keeps sessions.
    unchecked: Arc<ClientConfig>,
    certificate_fault: Option<TlsFileError>,
}

impl ClientTls {
    /// Reads the files.
    ///
    /// # Errors
    /// Everything that is wrong with them, all at once.
    pub fn load(files: &ClientTlsFiles, now_unix_seconds: i64) -> Result<Self, Vec<TlsFileError>> {
        let own = files
            .certificate_and_key
            .as_ref()
            .map(|(certificate, key)| certified_key(certificate, key, now_unix_seconds))
            .transpose();
        let sources = Sources {
            ca_file: files.ca_file.as_deref(),
            ca_path: files.ca_path.as_deref(),
            append_default_ca: files.append_default_ca,
        };
        let authorities = Authorities::load(sources, Purpose::Servers, now_unix_seconds);
        let (own, authorities) = match (own, authorities) {
            (Ok(own), Ok(authorities)) => (own, authorities),
            (own, authorities) => return Err([own.err(), authorities.err()].into_iter().flatten().flatten().collect()),
        };
        let (own_certificate, certificate_fault) = match own {
            Some(own) => (Some(Arc::new(SingleCertAndKey::from(own.pair))), own.fault),
            None => (None, None),
        };
        let trust = Trust {
            roots: RootCertStore {
                roots: authorities.anchors,
            },
            pool: authorities.pool,
        };
        let provider = provider();
        let verifier = Arc::new(ServerVerifier {
            demand: Demand::Nothing,
            algorithms: algorithms(),
        });
        let unchecked = config(&provider, files.tls12, own_certificate.as_ref(), verifier).map_err(|error| {
            let certificate = files
                .certificate_and_key
                .as_ref()
                .map(|(certificate, _)| certificate.clone());
            vec![TlsFileError::Unusable {
                path: certificate.unwrap_or_default(),
                reason: error.to_string(),
            }]
        })?;
        Ok(Self {
            provider,
            own_certificate,
            trust: Arc::new(trust),
            tls12: files.tls12,
            unchecked: Arc::new(unchecked),
            certificate_fault,
        })
    }

    /// Whether our certificate was expired or not yet valid when it was read. It is shown all the same.
    pub fn certificate_fault(&self) -> Option<&TlsFileError> {
        self.certificate_fault.as_ref()
    }

    /// Whether any certificate can verify at all; without, `verify` and `secure` are configuration errors.
    pub fn has_anchors(&self) -> bool {
        !self.trust.roots.is_empty()
    }

    /// Takes a connection to TLS. `server_name` is the host or address for SNI (RFC 6066 section 3: an address is not
    /// sent); a trailing dot is dropped, and a text that is no name means no SNI.
    ///
    /// A resumed session skips the verifier, so checked connections never resume.
    ///
    /// Not cancel-safe: dropped halfway, the connection is of no further use.
    ///
    /// # Errors
    /// The peer's or the network's failure; a certificate that does not verify is `InvalidData` with the reason in
    /// words.
    pub async fn connect(
        &self,
        stream: TcpStream,
        server_name: &str,
        check: &ServerCheck,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = match ServerName::try_from(server_name.trim_end_matches('.').to_owned()) {
            Ok(name) => name,
            Err(_) => ServerName::from(stream.peer_addr()?.ip()),
        };
        let demand = |check: &ServerCheck| match check {
            ServerCheck::Any => Demand::Nothing,
            ServerCheck::Names(names) => Demand::ChainAndName(Arc::clone(&self.trust), names.clone()),
        };
        let config = match check {
            ServerCheck::Any => Arc::clone(&self.unchecked),
            ServerCheck::Names(_) => {
                let verifier = Arc::new(ServerVerifier {
                    demand: demand(check),
                    algorithms: self.provider.signature_verification_algorithms,
                });
                let own = self.own_certificate.as_ref();
                let mut config = config(&self.provider, self.tls12, own, verifier).map_err(io::Error::other)?;
                config.resumption = Resumption::disabled();
                Arc::new(config)
            }
        };
        let connected = TlsConnector::from(config).connect(name, stream).await;
        connected.map_err(|error| in_words(error, &demand(check)))
    }
}

fn config(
    provider: &Arc<CryptoProvider>,
    tls12: bool,
    own_certificate: Option<&Arc<SingleCertAndKey>>,
    verifier: Arc<ServerVerifier>,
) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions(tls12))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    Ok(match own_certificate {
        Some(own) => builder.with_client_cert_resolver(Arc::clone(own) as Arc<dyn ResolvesClientCert>),
        None => builder.with_no_client_auth(),
    })
}

fn in_words(error: io::Error, demand: &Demand) -> io::Error {
    let kind = error.kind();
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause.map(|cause| describe(cause, demand)) {
        Some(words) => io::Error::new(kind, words),
        None => error,
    }
}
