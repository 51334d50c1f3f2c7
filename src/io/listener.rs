//! Listening sockets: bound here or handed over by systemd, and the loop that accepts from them.
//!
//! **Implements** socket activation (`LISTEN_FDS`, `LISTEN_FDNAMES` of sd_listen_fds(3)).
//! Accepting has a thread of its own: as one task among thousands of sessions it would have its turn after all of theirs, the
//! kernel's queue of connections would overflow meanwhile, and whoever is dropped there comes back only after 1, 3 and 7 s.
//! **Does not** hold a dialogue: [`super::inbound`] does.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use nix::errno::Errno;
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{self, Handle};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admission::Admission;
use super::dovecot_auth::Dovecots;
use super::inbound::{self, Inbound};
use super::journal::Journal;
use super::permits::Permits;
use crate::observe::log;
use crate::policy::limits::Counters;
use crate::policy::login_failures::LoginFailures;
use crate::queue::Store;
use crate::time::Timestamp;

/// Connections the kernel holds for us before they are accepted; it takes no more than `net.core.somaxconn`, since Linux 5.4
/// 4,096.
const BACKLOG: i32 = 16 * 1024;
/// Permits for connections where there may be so many sessions.
pub const fn connections_max(sessions_max: usize) -> usize {
    sessions_max.saturating_add(DOOR_MAX)
}

/// Connections beyond the sessions that there may be: sessions that were told to end, and peers that are told why they
/// are refused. Past it the next one waits in the backlog.
pub const DOOR_MAX: usize = 512;
/// How long accepting rests after an error such as too many open files.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(200);

/// A listening socket that systemd handed over.
#[derive(Debug)]
pub struct Activated {
    /// `FileDescriptorName=` of the socket unit; empty when it has none.
    pub name: String,
    /// The socket.
    pub socket: std::net::TcpListener,
}

/// The listening TCP sockets that systemd handed over, in its order. To be called once.
///
/// # Errors
/// When the environment names sockets that are not there.
pub fn activated() -> io::Result<Vec<Activated>> {
    let names: Vec<String> = std::env::var("LISTEN_FDNAMES")
        .map(|all| all.split(':').map(str::to_owned).collect())
        .unwrap_or_default();
    let mut handed = listenfd::ListenFd::from_env();
    let mut sockets = Vec::new();
    for n in 0..handed.len() {
        if let Some(socket) = handed.take_tcp_listener(n)? {
            let name = names.get(n).cloned().unwrap_or_default();
            sockets.push(Activated { name, socket });
        }
    }
    Ok(sockets)
}

/// Binds an address; an IPv6 one takes IPv6 only, so that `0.0.0.0` and `[::]` can stand side by side.
///
/// # Errors
/// The system's: address in use, no permission for a port below 1024.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Numbers sessions and spells their ids.
#[derive(Debug)]
pub struct SessionIds {
    prefix: String,
    next: AtomicU64,
}

impl SessionIds {
    /// Ids that differ from those of every other run: the start's time is part of them, to the millisecond, since a
    /// supervisor starts a daemon that was killed again within the same second, and the journal knows both runs.
    pub fn new(started: Timestamp) -> Self {
        Self {
            prefix: format!("{:x}", started.0),
            next: AtomicU64::new(1),
        }
    }

    fn next(&self) -> String {
        format!("{}.{:x}", self.prefix, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// What the accept loops of a daemon share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Spells session ids.
    pub ids: Arc<SessionIds>,
    /// A permit per connection.
    pub permits: Arc<Permits>,
    /// The session tasks.
    pub sessions: TaskTracker,
    /// Cancelled when the daemon stops.
    pub stopping: CancellationToken,
    /// Where decisions are recorded; `None` without a journal.
    pub journal: Option<Arc<Journal>>,
    /// What holders have sent.
    pub counters: Arc<Mutex<Counters>>,
    /// Who is let in.
    pub admission: Arc<Admission>,
    /// Wrong passwords, on every listener.
    pub login_failures: Arc<Mutex<LoginFailures>>,
    /// The connections to Dovecot.
    pub dovecots: Arc<Dovecots>,
}

/// Accepts in a thread of its own until `closing` is cancelled. Every session takes the settings of the moment it was accepted,
/// and runs where this was called.
///
/// # Errors
/// When the socket cannot be waited for, or no thread is to be had.
pub fn accept<S: Store>(
    socket: std::net::TcpListener,
    inbound: Arc<ArcSwap<Inbound<S>>>,
    shared: Shared,
    closing: CancellationToken,
) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let sessions = Handle::current();
    let here = runtime::Builder::new_current_thread().enable_all().build()?;
    let socket = {
        let _here = here.enter();
        TcpListener::from_std(socket)?
    };
    let accepting = move || here.block_on(accept_all(&socket, &inbound, &shared, &closing, &sessions));
    std::thread::Builder::new()
        .name(String::from("accept"))
        .spawn(accepting)
        .map(drop)
}

async fn accept_all<S: Store>(
    socket: &TcpListener,
    inbound: &Arc<ArcSwap<Inbound<S>>>,
    shared: &Shared,
    closing: &CancellationToken,
    sessions: &Handle,
) {
    loop {
        let permit = tokio::select! {
            () = closing.cancelled() => return,
            permit = shared.permits.acquire() => permit,
        };
        let accepted = tokio::select! {
            () = closing.cancelled() => return,
            accepted = socket.accept() => accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))),
        };
        match accepted {
            Ok((stream, peer)) => {
                let (listener, id, stopping) = (Arc::clone(inbound), shared.ids.next(), shared.stopping.clone());
                if inbound::is_unlisted(peer, &id, &listener.load().session) {
                    continue;
                }
                let session = async move {
                    // From here on the runtime of the sessions waits for it.
                    if let Ok(stream) = TcpStream::from_std(stream) {
                        inbound::serve(stream, peer, id, &listener, &stopping).await;
                    }
                    drop(permit);
                };
                shared.sessions.spawn_on(session, sessions);
            }
            Err(error) => {
                log::accept_failed(&error.to_string());
                if is_want(&error) {
                    tokio::time::sleep(ACCEPT_BACK_OFF).await;
                }
            }
        }
    }
}

/// Whether the relay lacks something, which does not change at once. Anything else that Linux says, accept(2), is about the one
/// connection, and the next one must not wait for it.
fn is_want(error: &io::Error) -> bool {
    let wants = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM];
    let code = error.raw_os_error().map(Errno::from_raw);
    code.is_none_or(|code| wants.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ids_of_runs_within_one_second_differ() {
        let started = 1_795_510_800_007;
        let first = SessionIds::new(Timestamp(started));
        let again = SessionIds::new(Timestamp(started + 1));
        let (ids, others) = ([first.next(), first.next()], [again.next(), again.next()]);
        assert!(ids.iter().all(|id| !others.contains(id)), "{ids:?} {others:?}");
        assert_ne!(ids[0], ids[1]);
    }
}
