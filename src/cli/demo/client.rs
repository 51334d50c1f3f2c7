//! The demonstration's mail client: one message over STARTTLS, every line of the dialogue kept.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::io::tls::error::TlsFileError;
use crate::io::tls::pem;

/// MAIL FROM of the demonstration.
pub(super) const REVERSE_PATH: &str = "alice@example.org";
/// RCPT TO of the demonstration.
pub(super) const FORWARD_PATH: &str = "bob@example.net";
/// How long one reply may take.
const REPLY: Duration = Duration::from_secs(20);

const MESSAGE: &str = "From: Alice Martin <alice@example.org>\r\nTo: bob@example.net\r\nSubject: From the train\r\n\r\n\
                       Sent with nothing but my certificate.\r\n.\r\n";

/// A certificate with its key, as a mail client holds it.
pub(super) struct Certificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Certificate {
    pub(super) fn load(certificate: &Path, key: &Path) -> Result<Self, TlsFileError> {
        Ok(Self {
            chain: pem::certificates(certificate)?,
            key: pem::private_key(key)?,
        })
    }
}

/// What was said, and the code of the last reply before QUIT.
pub(super) struct Dialogue {
    pub(super) lines: Vec<String>,
    pub(super) last_code: u16,
}

/// Sends one message; a refusal is part of the dialogue, not an error.
pub(super) async fn send(relay: SocketAddr, ca_file: &Path, certificate: Option<Certificate>) -> io::Result<Dialogue> {
    let mut dialogue = Dialogue {
        lines: Vec::new(),
        last_code: 0,
    };
    let shown = if certificate.is_some() {
        "showing a certificate"
    } else {
        "showing no certificate"
    };
    let tls = tls_configuration(ca_file, certificate)?;
    let mut plain = BufReader::new(TcpStream::connect(relay).await?);
    dialogue.read_reply(&mut plain).await?;
    dialogue.say(&mut plain, "EHLO laptop.example.org").await?;
    if dialogue.say(&mut plain, "STARTTLS").await? != 220 {
        return Ok(dialogue);
    }
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let stream = tokio_rustls::TlsConnector::from(tls)
        .connect(name, plain.into_inner())
        .await?;
    let connection = stream.get_ref().1;
    let (version, group) = (
        connection.protocol_version(),
        connection.negotiated_key_exchange_group(),
    );
    let group = group.map(|group| format!("{:?}", group.name())).unwrap_or_default();
    dialogue.lines.push(format!(
        "-- {} {group}, {shown}",
        version.map(|v| format!("{v:?}")).unwrap_or_default()
    ));
    let mut stream = BufReader::new(stream);
    dialogue.say(&mut stream, "EHLO laptop.example.org").await?;
    dialogue
        .say(&mut stream, &format!("MAIL FROM:<{REVERSE_PATH}>"))
        .await?;
    dialogue.last_code = dialogue.say(&mut stream, &format!("RCPT TO:<{FORWARD_PATH}>")).await?;
    if dialogue.last_code == 250 && dialogue.say(&mut stream, "DATA").await? == 354 {
        dialogue.last_code = dialogue.say(&mut stream, MESSAGE.trim_end()).await?;
    }
    dialogue.say(&mut stream, "QUIT").await?;
    let _ = stream.get_mut().shutdown().await;
    Ok(dialogue)
}

fn tls_configuration(ca_file: &Path, certificate: Option<Certificate>) -> io::Result<Arc<rustls::ClientConfig>> {
    let mut roots = rustls::RootCertStore::empty();
    for ca in pem::certificates(ca_file).map_err(io::Error::other)? {
        roots.add(ca).map_err(io::Error::other)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots);
    let config = match certificate {
        Some(own) => builder
            .with_client_auth_cert(own.chain, own.key)
            .map_err(io::Error::other)?,
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

impl Dialogue {
    async fn say<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        stream: &mut BufReader<S>,
        text: &str,
    ) -> io::Result<u16> {
        self.lines.extend(text.lines().map(|line| format!("C: {line}")));
        stream.get_mut().write_all(format!("{text}\r\n").as_bytes()).await?;
        stream.get_mut().flush().await?;
        self.read_reply(stream).await
    }

    async fn read_reply<S: AsyncRead + Unpin>(&mut self, stream: &mut BufReader<S>) -> io::Result<u16> {
        loop {
            let mut line = String::new();
            let read = tokio::time::timeout(REPLY, stream.read_line(&mut line)).await?;
            if read? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.lines.push(format!("S: {}", line.trim_end()));
            if line.as_bytes().get(3) != Some(&b'-') {
                return line
                    .get(..3)
                    .and_then(|code| code.parse().ok())
                    .ok_or_else(|| io::Error::other("not a reply"));
            }
        }
    }
}
