//! The socket of a session, in plaintext or in TLS.

use std::future::pending;
use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// How long a peer is silent at the end of a session until nothing of it is taken to be under way any more.
const CLOSE_SILENCE: Duration = Duration::from_secs(1);

/// The socket.
pub(super) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// While a handshake takes the stream, and after it failed.
    Gone,
}

/// Whether octets are there to be read, of which the runtime may not have been told yet.
pub(super) fn has_octets(stream: &TcpStream) -> bool {
    matches!(SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]), Ok(1..))
}

impl Wire {
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer).await,
            Self::Tls(stream) => stream.read(buffer).await,
            Self::Gone => Ok(0),
        }
    }

    /// Whether octets are there to be read already.
    pub(super) fn has_octets(&self) -> bool {
        matches!(self, Self::Plain(stream) if has_octets(stream))
    }

    /// Returns when the peer has gone without a word. What it has sent before is not looked past.
    pub(super) async fn gone(&self) {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
            Self::Gone => return,
        };
        if let Ok(1..) = stream.peek(&mut [0]).await {
            pending::<()>().await;
        }
    }

    pub(super) async fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(octets).await,
            Self::Tls(stream) => {
                stream.write_all(octets).await?;
                stream.flush().await
            }
            Self::Gone => Ok(()),
        }
    }

    /// Ends our side, then reads and throws away what the peer still sends. A socket closed with octets unread resets
    /// the connection, and a reset can destroy our last reply before the peer has read it.
    pub(super) async fn close(&mut self, buffer: &mut [u8]) {
        let ended = match self {
            Self::Plain(stream) => stream.shutdown().await,
            Self::Tls(stream) => stream.shutdown().await,
            Self::Gone => return,
        };
        let stream = match self {
            Self::Plain(stream) if ended.is_ok() => stream,
            Self::Tls(stream) if ended.is_ok() => stream.get_mut().0,
            _ => return,
        };
        while let Ok(Ok(1..)) = tokio::time::timeout(CLOSE_SILENCE, stream.read(buffer)).await {}
    }
}
