//! The demonstration's next hop: a receiving SMTP server with STARTTLS that writes each message to a file.
//!
//! **Does not** relay, queue or check anything; it stands for the campus mail server behind the relay.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::files::{FILES, make_directory, write_private};
use crate::io::tls::pem;

/// The longest line it reads, octets.
const LINE_OCTETS_MAX: u64 = 64 * 1024;

/// A receiving server that runs until the process ends.
pub(super) struct NextHop {
    pub(super) address: SocketAddr,
    /// The file of each message, as it is complete.
    pub(super) delivered: mpsc::UnboundedReceiver<PathBuf>,
}

struct Server {
    acceptor: TlsAcceptor,
    folder: PathBuf,
    count: AtomicUsize,
    delivered: mpsc::UnboundedSender<PathBuf>,
}

/// Listens on a free port and keeps messages in `directory/delivered`.
pub(super) async fn start(directory: &Path) -> io::Result<NextHop> {
    make_directory(directory)?;
    let folder = directory.join("delivered");
    make_directory(&folder)?;
    for (name, contents) in FILES.iter().filter(|(name, _)| name.starts_with("nexthop")) {
        write_private(&directory.join(name), contents)?;
    }
    let chain = pem::certificates(&directory.join("nexthop.crt")).map_err(io::Error::other)?;
    let key = pem::private_key(&directory.join("nexthop.key")).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(io::Error::other)?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let (sender, delivered) = mpsc::unbounded_channel();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let server = Arc::new(Server {
        acceptor,
        folder,
        count: AtomicUsize::new(0),
        delivered: sender,
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let server = Arc::clone(&server);
            // A next hop that fails one session is what the relay must live with.
            tokio::spawn(async move { server.serve(stream).await.ok() });
        }
    });
    Ok(NextHop { address, delivered })
}

impl Server {
    async fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut plain = BufReader::new(stream);
        plain.write_all(b"220 nexthop.example.net ESMTP\r\n").await?;
        if self.talk(&mut plain, false).await? {
            let mut tls = BufReader::new(self.acceptor.accept(plain.into_inner()).await?);
            self.talk(&mut tls, true).await?;
            let _ = tls.get_mut().shutdown().await;
        }
        Ok(())
    }

    /// Talks until QUIT or the end; returns whether TLS is to begin.
    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut BufReader<S>,
        in_tls: bool,
    ) -> io::Result<bool> {
        loop {
            let line = read_line(stream).await?;
            let verb = String::from_utf8_lossy(&line)
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .to_ascii_uppercase();
            let reply: &[u8] = match verb.as_str() {
                "" => return Ok(false),
                "EHLO" if in_tls => b"250-nexthop.example.net\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
                "EHLO" => b"250-nexthop.example.net\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 8BITMIME\r\n",
                "STARTTLS" if !in_tls => {
                    stream.write_all(b"220 2.0.0 Ready to start TLS\r\n").await?;
                    return Ok(true);
                }
                "DATA" => {
                    stream.write_all(b"354 End data with <CR><LF>.<CR><LF>\r\n").await?;
                    self.receive(stream).await?;
                    b"250 2.0.0 Ok\r\n"
                }
                "QUIT" => {
                    stream.write_all(b"221 2.0.0 Bye\r\n").await?;
                    stream.flush().await?;
                    return Ok(false);
                }
                _ => b"250 2.0.0 Ok\r\n",
            };
            stream.write_all(reply).await?;
            stream.flush().await?;
        }
    }

    async fn receive<S: AsyncRead + Unpin>(&self, stream: &mut BufReader<S>) -> io::Result<()> {
        let mut message = Vec::new();
        loop {
            let line = read_line(stream).await?;
            match line.as_slice() {
                b"" => return Err(io::ErrorKind::UnexpectedEof.into()),
                b".\r\n" => break,
                [b'.', rest @ ..] => message.extend_from_slice(rest),
                line => message.extend_from_slice(line),
            }
        }
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let path = self.folder.join(format!("{number}.eml"));
        write_private(&path, &message)?;
        // Nobody waits for it once the dialogues are over.
        let _ = self.delivered.send(path);
        Ok(())
    }
}

async fn read_line<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> io::Result<Vec<u8>> {
    use tokio::io::AsyncReadExt;
    let mut line = Vec::new();
    stream.take(LINE_OCTETS_MAX).read_until(b'\n', &mut line).await?;
    Ok(line)
}
