//! Real handshakes over loopback: each version, fresh and resumed, against the relay's own TLS.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use estafette::cert::examination::Examination;
use estafette::io::tls::server::ServerTls;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::cases::{Case, Client};
use super::pki::now;

/// How one handshake went.
pub(crate) struct Met {
    /// `TLSv1.3 resumed`.
    pub(crate) what: String,
    /// What the server says when it did not complete.
    pub(crate) outcome: Result<Seen, String>,
}

/// What the server saw.
pub(crate) struct Seen {
    /// With which signature the client proved its key; a resumed session proves nothing anew.
    pub(crate) signature: Option<String>,
    pub(crate) resumed: bool,
    pub(crate) presented: usize,
    pub(crate) examination: Examination,
}

/// A listener that serves one connection at a time.
pub(crate) struct Server {
    tls: ServerTls,
    listener: TcpListener,
}

impl Server {
    pub(crate) async fn start(files: &estafette::io::tls::settings::ServerTlsFiles) -> Self {
        Self {
            tls: ServerTls::load(files, now()).unwrap_or_else(|errors| panic!("{errors:?}")),
            listener: TcpListener::bind("127.0.0.1:0").await.expect("a port"),
        }
    }

    async fn serve_one(&self) -> Result<Seen, String> {
        let (stream, _) = self.listener.accept().await.expect("a connection");
        let accepted = self.tls.handshake(stream, std::future::ready(())).await;
        let accepted = accepted.map_err(|(error, _)| error);
        let mut stream = accepted.map_err(|error| error.to_string())?;
        let connection = stream.get_ref().1;
        let presented: Vec<CertificateDer<'_>> = connection.peer_certificates().unwrap_or_default().to_vec();
        let description = self.tls.describe(connection);
        let seen = Seen {
            signature: description.client_signature,
            resumed: description.resumed,
            presented: presented.len(),
            examination: self.tls.authorities().examine(Some(&presented), now()),
        };
        stream.write_all(b"220 hello\r\n").await.expect("written");
        stream.shutdown().await.expect("closed");
        Ok(seen)
    }

    /// TLS 1.2 and 1.3, fresh and resumed.
    pub(crate) async fn meet(&self, case: &Case, directory: &Path) -> Vec<Met> {
        let mut all = Vec::new();
        for (name, option, version) in [
            ("TLSv1.2", "-tls1_2", &rustls::version::TLS12),
            ("TLSv1.3", "-tls1_3", &rustls::version::TLS13),
        ] {
            match case.client {
                Client::OpenSsl(key) => {
                    let outcome = self.meet_openssl(case, key, option, directory).await;
                    let what = format!("{name} fresh");
                    all.push(Met { what, outcome });
                }
                Client::Rustls => {
                    let config = Arc::new(client_config(case, version, directory));
                    for state in ["fresh", "resumed"] {
                        let (outcome, ()) = tokio::join!(self.serve_one(), self.connect(Arc::clone(&config)));
                        if let Ok(seen) = &outcome {
                            assert_eq!(seen.resumed, state == "resumed", "{}: {name} {state}", case.name);
                        }
                        let what = format!("{name} {state}");
                        all.push(Met { what, outcome });
                    }
                }
            }
        }
        all
    }

    /// Reads to the end, so that tickets are taken.
    async fn connect(&self, config: Arc<rustls::ClientConfig>) {
        let address = self.listener.local_addr().expect("an address");
        let stream = TcpStream::connect(address).await.expect("a connection");
        let name = ServerName::try_from("localhost").expect("a name");
        // What is refused, the server tells.
        if let Ok(mut stream) = TlsConnector::from(config).connect(name, stream).await {
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    }

    async fn meet_openssl(&self, case: &Case, key: &str, version: &str, directory: &Path) -> Result<Seen, String> {
        let address = self.listener.local_addr().expect("an address").to_string();
        let mut client = tokio::process::Command::new("openssl")
            .args([
                "s_client",
                "-connect",
                &address,
                version,
                "-cipher",
                "DEFAULT@SECLEVEL=0",
            ])
            .args(["-cert", &format!("{}.pem", case.name), "-key", &format!("{key}.key")])
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the openssl program");
        let (seen, ended) = tokio::join!(self.serve_one(), client.wait());
        ended.expect("it ends");
        seen
    }
}

fn client_config(
    case: &Case,
    version: &'static rustls::SupportedProtocolVersion,
    directory: &Path,
) -> rustls::ClientConfig {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = provider
        .key_provider
        .load_private_key(case.key.clone_key())
        .expect("a usable key");
    let shown = rustls::sign::CertifiedKey::new(case.chain.clone(), key);
    let mut roots = rustls::RootCertStore::empty();
    let authorities = estafette::io::tls::pem::certificates(&directory.join("CAcert.pem")).expect("the relay's root");
    roots.add_parsable_certificates(authorities);
    rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(shown)))
}
