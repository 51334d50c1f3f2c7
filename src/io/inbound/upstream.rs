//! Whose connection it is, when a load balancer stands in front of the listener.
//!
//! **Implements** `smtpd_upstream_proxy_protocol`, `smtpd_upstream_proxy_timeout`, `smtpd_upstream_proxy_hosts`: the header is
//! taken from these hosts only, and whoever else connects is turned away without a word.
//! **Does not** read beyond the header: what follows is the client's, TLS or not.

use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::session::settings::UpstreamProxy;
use crate::wire::proxy_header::{Progress, ProxyHeader, ProxyHeaderError, parse};

/// Why a connection ends before its greeting.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unintroduced {
    #[error("the peer is not in smtpd_upstream_proxy_hosts")]
    Stranger,
    #[error("no whole PROXY header within smtpd_upstream_proxy_timeout")]
    TooSlow,
    #[error("the connection was closed within the PROXY header")]
    Closed,
    #[error("{0}")]
    Header(#[from] ProxyHeaderError),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// The client that a balancer names, and where it wanted to go; the peer itself for a connection of the balancer's own.
///
/// # Errors
/// [`Unintroduced`]: the connection is to be closed.
pub(super) async fn client_of(
    stream: &mut TcpStream,
    peer: SocketAddr,
    proxy: &UpstreamProxy,
) -> Result<(SocketAddr, Option<SocketAddr>), Unintroduced> {
    if !proxy.hosts.contains(peer.ip()) {
        return Err(Unintroduced::Stranger);
    }
    let header = tokio::time::timeout(proxy.timeout, read_header(stream)).await;
    Ok(match header.map_err(|_elapsed| Unintroduced::TooSlow)?? {
        ProxyHeader::Own => (peer, None),
        ProxyHeader::Client { source, destination } => (source, Some(destination)),
    })
}

/// Reads what the header lacks and not an octet more, so that nothing of the client's has to be put back.
async fn read_header(stream: &mut TcpStream) -> Result<ProxyHeader, Unintroduced> {
    let mut octets = Vec::new();
    loop {
        match parse(&octets)? {
            Progress::Whole(header, _) => return Ok(header),
            Progress::Lacks(count) => {
                let read = stream.take(count as u64).read_buf(&mut octets).await?;
                if read == 0 {
                    return Err(Unintroduced::Closed);
                }
            }
        }
    }
}
