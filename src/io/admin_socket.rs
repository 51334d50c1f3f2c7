//! The admin socket: a Unix socket in the queue directory that only its owner can open.
//!
//! One line of request, then lines of what becomes of messages where there are such, then one line of answer. Several peers
//! are served at once, [`PEERS_MAX`] at most; more wait for their turn.

use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::order::Progress;
use crate::admin::request::{Answer, REQUEST_OCTETS_MAX, Request, to_line};

/// How long a peer may take for its request or to read a piece of its answer.
const EXCHANGE: Duration = Duration::from_secs(30);
/// Peers served at once.
pub const PEERS_MAX: usize = 8;
/// What became of messages and waits to be read by the peer; more is not begun before it reads.
const UNREAD_MAX: usize = 256;

/// Where the socket of a queue directory is.
pub fn path(queue_directory: &Path) -> PathBuf {
    queue_directory.join("admin.sock")
}

/// Binds the socket, replacing one that a dead daemon left; the lock on the queue says that it is dead.
///
/// # Errors
/// The system's.
pub fn bind(queue_directory: &Path) -> io::Result<UnixListener> {
    let path = path(queue_directory);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers requests until `stopping` is cancelled; what is being answered then is given up. `answer` tells of messages by
/// the sender, which is closed when the peer has gone.
pub async fn serve<F, A>(listener: UnixListener, stopping: CancellationToken, answer: F)
where
    F: Fn(Request, mpsc::Sender<Progress>) -> A + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    let answer = Arc::new(answer);
    let places = Arc::new(Semaphore::new(PEERS_MAX));
    let mut peers = JoinSet::new();
    loop {
        let accept = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            () = stopping.cancelled() => return,
            accepted = accept => accepted,
        };
        while peers.try_join_next().is_some() {}
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        let answer = Arc::clone(&answer);
        peers.spawn(async move {
            serve_one(stream, &*answer).await;
            drop(place);
        });
    }
}

async fn serve_one<F, A>(stream: UnixStream, answer: &F)
where
    F: Fn(Request, mpsc::Sender<Progress>) -> A,
    A: Future<Output = Answer>,
{
    let mut stream = BufReader::new(stream);
    let Ok(Ok(line)) = tokio::time::timeout(EXCHANGE, read_line(&mut stream)).await else {
        return;
    };
    let mut stream = stream.into_inner();
    let answered = match Request::parse(&line) {
        Ok(request) => {
            let (told, mut telling) = mpsc::channel(UNREAD_MAX);
            let pass_on = async {
                let mut batch = Vec::new();
                while telling.recv_many(&mut batch, UNREAD_MAX).await > 0 {
                    let lines: String = batch.drain(..).map(|progress| to_line(&progress)).collect();
                    if !write(&mut stream, &lines).await {
                        // Closed, so that nothing is done that nobody is told of.
                        telling.close();
                        return;
                    }
                }
            };
            tokio::join!(answer(request, told), pass_on).0
        }
        Err(answer) => answer,
    };
    write(&mut stream, &to_line(&answered)).await;
}

async fn write(stream: &mut UnixStream, text: &str) -> bool {
    let written = tokio::time::timeout(EXCHANGE, stream.write_all(text.as_bytes())).await;
    matches!(written, Ok(Ok(())))
}

async fn read_line(stream: &mut BufReader<UnixStream>) -> io::Result<String> {
    let mut line = String::new();
    stream.take(REQUEST_OCTETS_MAX as u64).read_line(&mut line).await?;
    Ok(line)
}

/// Asks the daemon that holds this queue directory.
///
/// # Errors
/// When no daemon listens there, or its answer cannot be read.
pub async fn ask(queue_directory: &Path, request: Request) -> io::Result<Answer> {
    ask_each(queue_directory, request, |_| true).await
}

/// As [`ask`], with `tell` called for each message that the daemon tells of before its answer; when it says no, the daemon
/// is left alone and does no more.
///
/// # Errors
/// As for [`ask`]; [`io::ErrorKind::BrokenPipe`] when `tell` said no.
pub async fn ask_each(
    queue_directory: &Path,
    request: Request,
    mut tell: impl FnMut(Progress) -> bool,
) -> io::Result<Answer> {
    let mut stream = BufReader::new(UnixStream::connect(path(queue_directory)).await?);
    stream.get_mut().write_all(to_line(&request).as_bytes()).await?;
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match serde_json::from_str::<Progress>(&line) {
            Ok(progress) => {
                if !tell(progress) {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
            }
            Err(_) => return serde_json::from_str(&line).map_err(io::Error::other),
        }
    }
}
