//! Whose connection it is, when a load balancer stands in front of the listener.
//!
//! **Implements** `smtpd_upstream_proxy_protocol`, `smtpd_upstream_proxy_timeout`, `smtpd_upstream_proxy_hosts`: the header is
//! taken from these hosts only, and whoever else connects is turned away without a word.
//! **Does not** read beyond the header: what follows is the client's, TLS or not.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::wire::has_octets;
use crate::io::introductions::Introductions;
use crate::observe::log;
use crate::session::settings::{SessionSettings, UpstreamProxy};
use crate::wire::proxy_header::{Progress, ProxyHeader, ProxyHeaderError, parse};

/// How long a header that has begun may still take when its connection has to make room.
const DISPLACED_TIME_MAX: Duration = Duration::from_millis(500);

/// Why a connection ends before its greeting.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unintroduced {
    #[error("the peer is not in smtpd_upstream_proxy_hosts")]
    Stranger,
    #[error("no whole PROXY header within smtpd_upstream_proxy_timeout")]
    TooSlow,
    #[error("the connection was closed within the PROXY header")]
    Closed,
    #[error("too many connections wait for their PROXY header")]
    Displaced,
    #[error("{0}")]
    Header(#[from] ProxyHeaderError),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Whether a peer can be closed at once, unheard: it may not send the header that its listener wants.
pub fn is_unlisted(peer: SocketAddr, session_id: &str, settings: &SessionSettings) -> bool {
    let proxy = settings.upstream_proxy.as_ref();
    let is_unlisted = proxy.is_some_and(|proxy| !proxy.hosts.contains(peer.ip()));
    if is_unlisted {
        let why = Unintroduced::Stranger.to_string();
        log::proxy_refused(session_id, &settings.listener, peer, &why);
    }
    is_unlisted
}

/// The client that a balancer names, and where it wanted to go; the peer itself for a connection of the balancer's own.
///
/// # Errors
/// [`Unintroduced`]: the connection is to be closed.
pub(super) async fn client_of(
    stream: &mut TcpStream,
    peer: SocketAddr,
    proxy: &UpstreamProxy,
    introductions: &Introductions,
) -> Result<(SocketAddr, Option<SocketAddr>), Unintroduced> {
    // A reload may have come in between.
    if !proxy.hosts.contains(peer.ip()) {
        return Err(Unintroduced::Stranger);
    }
    let waiting = introductions.begin();
    let mut octets = Vec::new();
    let header = tokio::select! {
        header = tokio::time::timeout(proxy.timeout, read_header(stream, &mut octets)) => header,
        () = waiting.displaced.cancelled() => {
            // In a burst of connections a header may be here and unread.
            if octets.is_empty() && !has_octets(stream) {
                return Err(Unintroduced::Displaced);
            }
            tokio::time::timeout(DISPLACED_TIME_MAX, read_header(stream, &mut octets)).await
        }
    };
    Ok(match header.map_err(|_elapsed| Unintroduced::TooSlow)?? {
        ProxyHeader::Own => (peer, None),
        ProxyHeader::Client { source, destination } => (source, Some(destination)),
    })
}

/// Reads what the header lacks and not an octet more, so that nothing of the client's has to be put back. Cancel-safe.
async fn read_header(stream: &mut TcpStream, octets: &mut Vec<u8>) -> Result<ProxyHeader, Unintroduced> {
    loop {
        match parse(octets)? {
            Progress::Whole(header, _) => return Ok(header),
            Progress::Lacks(count) => {
                let read = stream.take(count as u64).read_buf(octets).await?;
                if read == 0 {
                    return Err(Unintroduced::Closed);
                }
            }
        }
    }
}
