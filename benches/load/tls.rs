//! The TLS of generator and sink: TLS 1.3, the example PKI, certificates on both sides when wished.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// The name that the server's certificate of the example PKI holds.
pub const SERVER_NAME: &str = "localhost";

/// The PEM files of one side.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Files {
    /// Certificate of this side, PEM, its issuers after it.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Private key of this side, PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Authorities that the other side's certificate is checked with, PEM.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
}

/// Whether a TLS session may be taken up again by the next connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshakes {
    /// Each connection makes a whole handshake.
    Full,
    /// Connections resume where the server lets them.
    Resumed,
}

impl Files {
    /// The same as arguments of a command line.
    pub fn words(&self) -> Vec<String> {
        let pairs = [("--cert", &self.cert), ("--key", &self.key), ("--ca", &self.ca)];
        let given = pairs
            .iter()
            .filter_map(|(option, path)| Some([(*option).to_owned(), path.as_ref()?.display().to_string()]));
        given.flatten().collect()
    }

    /// The generator's side.
    pub fn client(&self, handshakes: Handshakes) -> io::Result<Arc<ClientConfig>> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(self.roots()?);
        let mut config = match self.own()? {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(io::Error::other)?,
            None => builder.with_no_client_auth(),
        };
        if handshakes == Handshakes::Full {
            config.resumption = Resumption::disabled();
        }
        Ok(Arc::new(config))
    }

    /// The sink's side: with authorities it demands a certificate of the client.
    pub fn server(&self) -> io::Result<Option<Arc<ServerConfig>>> {
        let Some((chain, key)) = self.own()? else {
            return Ok(None);
        };
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let builder = if self.ca.is_some() {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()?), provider())
                .build()
                .map_err(io::Error::other)?;
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let config = builder.with_single_cert(chain, key).map_err(io::Error::other)?;
        Ok(Some(Arc::new(config)))
    }

    fn roots(&self) -> io::Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        if let Some(path) = &self.ca {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(io::Error::other)?;
            }
        }
        Ok(roots)
    }

    fn own(&self) -> io::Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>> {
        let (Some(certificate), Some(key)) = (&self.cert, &self.key) else {
            return Ok(None);
        };
        let key = rustls_pemfile::private_key(&mut BufReader::new(open(key)?))?
            .ok_or_else(|| io::Error::other(format!("{} holds no key", key.display())))?;
        Ok(Some((certificates(certificate)?, key)))
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    rustls_pemfile::certs(&mut BufReader::new(open(path)?)).collect()
}

fn open(path: &Path) -> io::Result<File> {
    File::open(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}
