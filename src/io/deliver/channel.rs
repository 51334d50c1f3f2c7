//! A connection to a next hop, in plaintext or under TLS.
//!
//! **Implements** `smtp_bind_address`, `smtp_bind_address6` and `smtp_connect_timeout` of postconf(5).
//! **Does not** speak SMTP.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;

/// Either kind of connection, or what is left of one.
pub enum Channel {
    /// As TCP gives it.
    Plain(TcpStream),
    /// Behind a handshake.
    Tls(Box<TlsStream<TcpStream>>),
    /// A handshake failed: nothing.
    Closed,
}

impl Channel {
    /// Reads what there is; 0 at the end. A TLS connection cut off without close_notify is an end as well, as SMTP
    /// marks its ends itself.
    ///
    /// # Errors
    /// The system's or the TLS library's.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = match self {
            Self::Plain(stream) => stream.read(buffer).await,
            Self::Tls(stream) => stream.read(buffer).await,
            Self::Closed => Ok(0),
        };
        match result {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            other => other,
        }
    }

    /// Writes all of it and flushes. Not cancel-safe: a part may be written.
    ///
    /// # Errors
    /// The system's or the TLS library's.
    pub async fn write_all(&mut self, octets: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(octets).await,
            Self::Tls(stream) => {
                stream.write_all(octets).await?;
                stream.flush().await
            }
            Self::Closed => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Whether the peer has neither closed nor said anything. What it said is lost: the connection is of no more use then.
    pub fn is_quiet(&mut self) -> bool {
        self.read_now(&mut [0; 1]).is_none()
    }

    /// What [`Channel::read`] returns at once; `None` when it would wait.
    pub fn read_now(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        // Nobody is woken: whoever asks asks again.
        let context = &mut Context::from_waker(Waker::noop());
        let polled = match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, &mut buffer),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, &mut buffer),
            Self::Closed => return Some(Ok(0)),
        };
        match polled {
            Poll::Pending => None,
            Poll::Ready(result) => Some(result.map(|()| buffer.filled().len())),
        }
    }

    /// Says the end (close_notify, FIN). Errors do not matter any more.
    pub async fn shutdown(&mut self) {
        let _ = match self {
            Self::Plain(stream) => stream.shutdown().await,
            Self::Tls(stream) => stream.shutdown().await,
            Self::Closed => Ok(()),
        };
    }

    /// Protocol and cipher in words, when under TLS: `TLSv1.3 with cipher TLS_AES_256_GCM_SHA384`.
    pub fn tls_description(&self) -> Option<String> {
        let Self::Tls(stream) = self else { return None };
        let (_, connection) = stream.get_ref();
        let protocol = match connection.protocol_version()? {
            rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2".to_owned(),
            rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3".to_owned(),
            other => format!("{other:?}"),
        };
        let cipher = format!("{:?}", connection.negotiated_cipher_suite()?.suite()).replace("TLS13_", "TLS_");
        Some(format!("{protocol} with cipher {cipher}"))
    }
}

/// Connects, from the first bind address of the family if there is one. Cancel-safe.
///
/// # Errors
/// The system's; `TimedOut` after `timeout`.
pub async fn connect(to: SocketAddr, bind_addresses: &[IpAddr], timeout: Duration) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    if let Some(from) = bind_addresses.iter().find(|from| from.is_ipv4() == to.is_ipv4()) {
        socket.bind(SocketAddr::new(*from, 0))?;
    }
    let stream = tokio::time::timeout(timeout, socket.connect(to))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "Connection timed out"))??;
    // Small commands wait for replies; Nagle's algorithm would only add delay.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whether the address is one of this machine: only such a one can be bound.
pub fn is_local(address: IpAddr) -> bool {
    std::net::UdpSocket::bind(SocketAddr::new(address, 0)).is_ok()
}
