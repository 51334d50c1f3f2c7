//! The socket of a session, in plaintext or in TLS.

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// How long a peer is silent at the end of a session until nothing of it is taken to be under way any more.
const CLOSE_SILENCE: Duration = Duration::from_secs(1);

/// Octets read at once.
const READ_OCTETS: usize = 32 * 1024;

/// The socket.
pub(super) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// While a handshake takes the stream, and after it failed.
    Gone,
}

thread_local! {
    /// Where every session of a thread reads, one at a time.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_OCTETS].into());
}

/// Reads once, and takes what is wanted of what has come.
async fn read_once<T>(stream: &mut (impl AsyncRead + Unpin), take: impl Fn(&[u8]) -> T) -> io::Result<T> {
    poll_fn(|context| {
        READ.with_borrow_mut(|octets| {
            let mut buffer = ReadBuf::new(octets);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
            Poll::Ready(Ok(take(buffer.filled())))
        })
    })
    .await
}

/// Whether octets are there to be read, of which the runtime may not have been told yet.
pub(super) fn has_octets(stream: &TcpStream) -> bool {
    matches!(SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]), Ok(1..))
}

impl Wire {
    /// What has come, none at the end. A session that waits for octets holds no buffer. Cancel-safe.
    pub(super) async fn read(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Plain(stream) => read_once(stream, <[u8]>::to_vec).await,
            Self::Tls(stream) => read_once(stream, <[u8]>::to_vec).await,
            Self::Gone => Ok(Vec::new()),
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
    pub(super) async fn close(&mut self) {
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
        while let Ok(Ok(1..)) = tokio::time::timeout(CLOSE_SILENCE, read_once(stream, <[u8]>::len)).await {}
    }
}
