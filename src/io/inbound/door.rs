//! Peers that are refused before any session.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::io::admission::Refusal;
use crate::observe::log;
use crate::session::replies;
use crate::session::settings::{SessionSettings, TlsOffer};

/// Refused peers at a time that are given a moment to read why; past it the connection may be reset under the reply.
const LINGERING_MAX: usize = 64;

/// How long that moment is.
const LINGER: Duration = Duration::from_millis(500);

static LINGERING: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(LINGERING_MAX));

/// Says why and closes. A listener that begins in TLS says nothing: it would not be understood.
pub(super) async fn turn_away(mut stream: TcpStream, peer: SocketAddr, refusal: Refusal, settings: &SessionSettings) {
    log::connection_refused(&settings.listener, peer, refusal.directive(), numbers(refusal));
    if settings.tls == TlsOffer::Implicit {
        return;
    }
    let reply = match refusal {
        Refusal::Full => replies::busy_at_the_door(&settings.myhostname),
        Refusal::Sessions(..) | Refusal::Rate(_) => {
            replies::too_many_connections(&settings.myhostname, crate::net::canonical(peer.ip()))
        }
    };
    let said = async {
        stream.write_all(&reply.to_wire()).await?;
        stream.shutdown().await
    };
    if !matches!(tokio::time::timeout(LINGER, said).await, Ok(Ok(()))) {
        return;
    }
    // A socket closed with octets unread resets the connection, and that can destroy the reply.
    if let Ok(_permit) = LINGERING.try_acquire() {
        let mut octets = [0; 512];
        let gone = async { while let Ok(1..) = stream.read(&mut octets).await {} };
        let _ = tokio::time::timeout(LINGER, gone).await;
    }
}

const fn numbers(refusal: Refusal) -> (u64, u64) {
    match refusal {
        Refusal::Full => (0, 0),
        Refusal::Sessions(count, limit) => (count, limit),
        Refusal::Rate(exceeded) => (exceeded.count, exceeded.limit),
    }
}
