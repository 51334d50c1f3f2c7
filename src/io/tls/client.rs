//! The client side: TLS towards next hops.
//!
//! **Implements** STARTTLS of RFC 3207 as client for `smtp_tls_security_level` may, encrypt, verify and secure,
//! with `smtp_tls_cert_file` and `smtp_tls_key_file` as our own certificate.
//! **Does not** choose the level or the names, nor bound the time of a handshake: the outbound driver does.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::ResolvesClientCert;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::authorities::{Authorities, Purpose, Sources};
use super::error::TlsFileError;
use super::provider::{certified_key, provider, versions};
use super::server_check::{Demand, ServerVerifier, Trust, describe};
use super::settings::ClientTlsFiles;

/// What is asked of a server's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerCheck {
    /// Neither chain nor name is looked at (`may`, `encrypt`).
    Any,
    /// The chain must verify and one name must match (`verify`, `secure`); a name that starts with `.` matches any
    /// sub-domain.
    Names(Vec<String>),
}

/// What connections of one demand share.
#[derive(Clone)]
struct Config {
    rustls: Arc<ClientConfig>,
    verifier: Arc<ServerVerifier>,
}

/// Demands whose configuration is remembered. Each holds what rustls keeps of sessions to be resumed.
const DEMANDS_MAX: usize = 256;

/// Everything the outbound side needs for TLS; one for all connections until a reload.
pub struct ClientTls {
    provider: Arc<CryptoProvider>,
    own_certificate: Option<Arc<SingleCertAndKey>>,
    trust: Arc<Trust>,
    tls12: bool,
    /// One per demand, so that sessions can be resumed. rustls resumes a session only under the verifier it was made with.
    configs: Mutex<HashMap<ServerCheck, Config>>,
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
        let client = Self {
            provider: provider(),
            own_certificate,
            trust: Arc::new(trust),
            tls12: files.tls12,
            configs: Mutex::default(),
            certificate_fault,
        };
        // A certificate that rustls cannot use is told now, not at the first delivery.
        client.config(&ServerCheck::Any).map_err(|error| {
            let certificate = files
                .certificate_and_key
                .as_ref()
                .map(|(certificate, _)| certificate.clone());
            vec![TlsFileError::Unusable {
                path: certificate.unwrap_or_default(),
                reason: error.to_string(),
            }]
        })?;
        Ok(client)
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
    /// A session may be resumed under the check it was made with; what its certificate showed then is checked again.
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
        let Config { rustls, verifier } = self.config(check).map_err(io::Error::other)?;
        let connected = TlsConnector::from(rustls).connect(name.clone(), stream).await;
        let stream = connected.map_err(|error| in_words(error, &verifier.demand))?;
        if let Err(error) = recheck(stream.get_ref().1, &name, &verifier) {
            // The next connection is not to resume it again.
            self.lock().remove(check);
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                describe(&error, &verifier.demand),
            ));
        }
        Ok(stream)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ServerCheck, Config>> {
        self.configs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn config(&self, check: &ServerCheck) -> Result<Config, rustls::Error> {
        let mut configs = self.lock();
        if let Some(known) = configs.get(check) {
            return Ok(known.clone());
        }
        let demand = match check {
            ServerCheck::Any => Demand::Nothing,
            ServerCheck::Names(names) => Demand::ChainAndName(Arc::clone(&self.trust), names.clone()),
        };
        let algorithms = self.provider.signature_verification_algorithms;
        let verifier = Arc::new(ServerVerifier { demand, algorithms });
        let own = self.own_certificate.as_ref();
        let made = Config {
            rustls: Arc::new(config(&self.provider, self.tls12, own, Arc::clone(&verifier))?),
            verifier,
        };
        if configs.len() >= DEMANDS_MAX {
            configs.clear();
        }
        configs.insert(check.clone(), made.clone());
        Ok(made)
    }
}

/// A resumed session has skipped the verifier, so its certificate is looked at here: it may have expired meanwhile.
fn recheck(
    connection: &ClientConnection,
    name: &ServerName<'_>,
    verifier: &ServerVerifier,
) -> Result<(), rustls::Error> {
    if connection.handshake_kind() != Some(HandshakeKind::Resumed) {
        return Ok(());
    }
    let Some((leaf, intermediates)) = connection.peer_certificates().and_then(<[_]>::split_first) else {
        return Err(rustls::Error::NoCertificatesPresented);
    };
    verifier.verify_server_cert(leaf, intermediates, name, &[], UnixTime::now())?;
    Ok(())
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
