//! The admin socket: a Unix socket in the queue directory that only its owner can open.

use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::admin::request::{Answer, REQUEST_OCTETS_MAX, Request, to_line};

/// How long a peer may take for its request or to read its answer.
const EXCHANGE: Duration = Duration::from_secs(30);

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

/// Answers one request after the other until `stopping` is cancelled.
pub async fn serve<F, A>(listener: UnixListener, stopping: CancellationToken, mut answer: F)
where
    F: FnMut(Request) -> A,
    A: Future<Output = Answer>,
{
    loop {
        let accepted = tokio::select! {
            () = stopping.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        let mut stream = BufReader::new(stream);
        let Ok(Ok(line)) = tokio::time::timeout(EXCHANGE, read_line(&mut stream)).await else {
            continue;
        };
        let answered = match Request::parse(&line) {
            Ok(request) => answer(request).await,
            Err(answer) => answer,
        };
        let _ = tokio::time::timeout(EXCHANGE, stream.get_mut().write_all(to_line(&answered).as_bytes())).await;
    }
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
    let mut stream = BufReader::new(UnixStream::connect(path(queue_directory)).await?);
    stream.get_mut().write_all(to_line(&request).as_bytes()).await?;
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    serde_json::from_str(&line).map_err(io::Error::other)
}
