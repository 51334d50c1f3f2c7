//! A connection to Dovecot's password service, shared by all sessions.
//!
//! **Implements** `smtpd_sasl_type = "dovecot"`: a unix socket or TCP, handshake and answers in bounded time, many requests
//! on one connection, a new connection when the old one is gone.
//! **Does not** trust what it hears: a line that is none of the protocol ends the connection, an answer that nobody waits
//! for is dropped.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex as BlockingMutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::timeout;

use crate::wire::dovecot_auth::{Answer, Fault, Handshake, LINE_OCTETS_MAX, Request, ServerLine, hello, read_line};
use crate::wire::sasl::{Credentials, PasswordMechanisms, Secret};

/// How long connecting and the handshake may take together.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(5);
/// How long one answer may take. Dovecot itself holds the answer to a wrong password back for seconds.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
/// How long sessions wait to hear what the service takes, while it has never been reached.
const FIRST_TIME_MAX: Duration = Duration::from_secs(1);
/// How long nobody connects after that has failed.
const REST: Duration = Duration::from_secs(1);
/// Logins under way at a time; the next one hears that passwords cannot be checked now.
const REQUESTS_MAX: usize = 256;

/// Where the service listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A unix socket.
    Unix(PathBuf),
    /// `inet:host:port`.
    Tcp(String),
}

/// Why nobody could say whether the password is right; for the log.
#[derive(Debug, thiserror::Error)]
pub enum DovecotError {
    /// It does not listen, or not in time.
    #[error("the password service cannot be reached: {0}")]
    Unreachable(io::Error),
    /// It speaks something else.
    #[error("the password service cannot be used: {0}")]
    Protocol(#[from] Fault),
    /// The connection ended while we waited.
    #[error("the connection to the password service was lost")]
    Lost,
    /// No answer.
    #[error("the password service does not answer")]
    Silent,
    /// `REQUESTS_MAX`.
    #[error("too many logins wait for the password service")]
    Busy,
    /// The last attempt to connect has just failed.
    #[error("the password service could not be reached a moment ago")]
    Resting,
}

/// What a login is verified with.
#[derive(Clone, Debug)]
pub struct Question {
    /// The client's address.
    pub remote: SocketAddr,
    /// Our address.
    pub local: Option<SocketAddr>,
    /// Whether the session is in TLS.
    pub is_secured: bool,
    /// Who the client says it is.
    pub credentials: Credentials,
}

/// The service, as sessions see it.
#[derive(Debug)]
pub struct DovecotAuth {
    endpoint: Endpoint,
    link: Mutex<Option<Link>>,
    failed_at: BlockingMutex<Option<Instant>>,
    mechanisms: BlockingMutex<Option<PasswordMechanisms>>,
    /// Whether the first attempt to reach it is over.
    is_tried: AtomicBool,
    answer_time_max: Duration,
}

/// Every service that a listener names: one connection for all of them, through every reload. A service that no listener
/// names any more is forgotten with its last session.
#[derive(Debug, Default)]
pub struct Dovecots(BlockingMutex<Vec<Weak<DovecotAuth>>>);

impl Dovecots {
    /// The service at that place.
    pub fn at(&self, endpoint: &Endpoint) -> Arc<DovecotAuth> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|service| service.strong_count() > 0);
        let mut known = all.iter().filter_map(Weak::upgrade);
        if let Some(known) = known.find(|service| service.endpoint == *endpoint) {
            return known;
        }
        let service = Arc::new(DovecotAuth::new(endpoint.clone()));
        all.push(Arc::downgrade(&service));
        service
    }
}

/// An open connection.
#[derive(Debug, Clone)]
struct Link {
    jobs: mpsc::Sender<Job>,
}

/// A line to write, and who waits for what comes of it.
struct Job {
    request: Request,
    answer: oneshot::Sender<Result<Answer, DovecotError>>,
}

impl DovecotAuth {
    /// The service at that place; nothing is connected yet.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            link: Mutex::new(None),
            failed_at: BlockingMutex::new(None),
            mechanisms: BlockingMutex::new(None),
            is_tried: AtomicBool::new(false),
            answer_time_max: ANSWER_TIME_MAX,
        }
    }

    /// What it takes, as it said when it was last heard. One that has never been heard is tried beside the sessions, which
    /// wait a moment for the first attempt only: what passwords need must not hold up whoever needs none.
    pub async fn mechanisms(self: &Arc<Self>) -> Option<PasswordMechanisms> {
        let known = || *self.mechanisms.lock().unwrap_or_else(PoisonError::into_inner);
        if known().is_some() {
            return known();
        }
        let is_under_way = self.link.try_lock().is_err();
        if !is_under_way {
            let service = Arc::clone(self);
            tokio::spawn(async move { service.link().await.is_ok() });
        }
        if !self.is_tried.load(Ordering::Relaxed) {
            let tried = async {
                while !self.is_tried.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let _ = timeout(FIRST_TIME_MAX, tried).await;
            self.is_tried.store(true, Ordering::Relaxed);
        }
        known()
    }

    /// Asks about one login. Cancel-safe: the answer to one that is dropped goes nowhere.
    ///
    /// # Errors
    /// [`DovecotError`]: nobody knows.
    pub async fn ask(&self, question: Question) -> Result<Answer, DovecotError> {
        // A connection that the service has closed meanwhile is told from a failure by trying once more.
        match self.ask_once(question.clone()).await {
            Err(DovecotError::Lost) => self.ask_once(question).await,
            other => other,
        }
    }

    async fn ask_once(&self, question: Question) -> Result<Answer, DovecotError> {
        let link = self.link().await?;
        let (answer, answered) = oneshot::channel();
        let request = Request {
            id: 0,
            remote: question.remote,
            local: question.local,
            is_secured: question.is_secured,
            credentials: question.credentials,
        };
        let job = Job { request, answer };
        link.jobs.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => DovecotError::Busy,
            mpsc::error::TrySendError::Closed(_) => DovecotError::Lost,
        })?;
        match timeout(self.answer_time_max, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_dropped)) => Err(DovecotError::Lost),
            Err(_elapsed) => {
                self.leave(&link).await;
                Err(DovecotError::Silent)
            }
        }
    }

    /// A connection on which no answer came gets no further request: the service may hang on this one only. Whoever waits on
    /// it keeps it until then.
    async fn leave(&self, silent: &Link) {
        let mut link = self.link.lock().await;
        if link.as_ref().is_some_and(|open| open.jobs.same_channel(&silent.jobs)) {
            *link = None;
        }
    }

    /// The open connection, or a new one.
    async fn link(&self) -> Result<Link, DovecotError> {
        let mut link = self.link.lock().await;
        if let Some(open) = link.as_ref().filter(|open| !open.jobs.is_closed()) {
            return Ok(open.clone());
        }
        *link = None;
        let failed_at = || self.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        if failed_at().is_some_and(|at| at.elapsed() < REST) {
            return Err(DovecotError::Resting);
        }
        let opened = match timeout(HANDSHAKE_TIME_MAX, open(&self.endpoint)).await {
            Ok(opened) => opened,
            Err(_elapsed) => Err(DovecotError::Unreachable(io::ErrorKind::TimedOut.into())),
        };
        let opened = match opened {
            Ok((open, mechanisms)) => {
                *self.mechanisms.lock().unwrap_or_else(PoisonError::into_inner) = Some(mechanisms);
                *failed_at() = None;
                Ok(link.insert(open).clone())
            }
            Err(error) => {
                *failed_at() = Some(Instant::now());
                Err(error)
            }
        };
        self.is_tried.store(true, Ordering::Relaxed);
        opened
    }
}

/// Connects, shakes hands and starts the task that keeps the connection.
async fn open(endpoint: &Endpoint) -> Result<(Link, PasswordMechanisms), DovecotError> {
    match endpoint {
        Endpoint::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(DovecotError::Unreachable)?;
            let (reader, writer) = stream.into_split();
            shake_hands(reader, writer).await
        }
        Endpoint::Tcp(address) => {
            let stream = TcpStream::connect(address).await.map_err(DovecotError::Unreachable)?;
            let _ = stream.set_nodelay(true);
            let (reader, writer) = stream.into_split();
            shake_hands(reader, writer).await
        }
    }
}

async fn shake_hands<R, W>(reader: R, mut writer: W) -> Result<(Link, PasswordMechanisms), DovecotError>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    // The service wants a number for each connection of its own, by which it is asked for later; it is our process id,
    // with a count above the bits that Linux uses for one.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id() ^ (COUNT.fetch_add(1, Ordering::Relaxed) << 22);
    let hello = hello(number.max(1));
    writer
        .write_all(hello.as_bytes())
        .await
        .map_err(DovecotError::Unreachable)?;
    let mut lines = Lines(BufReader::new(reader));
    let mut handshake = Handshake::default();
    let mechanisms = loop {
        if let Some(mechanisms) = handshake.take(&lines.next().await?)? {
            break mechanisms;
        }
    };
    let (jobs, taken) = mpsc::channel(REQUESTS_MAX);
    tokio::spawn(keep(lines, writer, taken));
    Ok((Link { jobs }, mechanisms))
}

/// Lines of bounded length.
struct Lines<R>(BufReader<R>);

impl<R: AsyncRead + Unpin> Lines<R> {
    async fn next(&mut self) -> Result<ServerLine, DovecotError> {
        let mut line = Vec::new();
        let mut limited = (&mut self.0).take(LINE_OCTETS_MAX as u64);
        let read = limited.read_until(b'\n', &mut line).await;
        match read {
            Ok(_) if line.ends_with(b"\n") => {
                line.pop();
                Ok(read_line(&line)?)
            }
            Ok(_) if line.len() >= LINE_OCTETS_MAX => Err(Fault::Line.into()),
            Ok(_) | Err(_) => Err(DovecotError::Lost),
        }
    }
}

/// A request whose answer has not come.
struct Waiting {
    request: Request,
    challenges: usize,
    answer: oneshot::Sender<Result<Answer, DovecotError>>,
}

/// Writes requests and hands out answers until the connection or the service is of no use; whoever still waits then hears
/// that the connection was lost.
async fn keep<R, W>(mut lines: Lines<R>, mut writer: W, mut jobs: mpsc::Receiver<Job>)
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin,
{
    // Reading in a task of its own: a line half read must not be lost when a job comes.
    let (read, mut heard) = mpsc::channel(REQUESTS_MAX);
    let reading = tokio::spawn(async move {
        loop {
            let line = lines.next().await;
            let is_end = line.is_err();
            if read.send(line).await.is_err() || is_end {
                return;
            }
        }
    });
    let mut waiting: HashMap<u32, Waiting> = HashMap::new();
    let mut last_id = 0_u32;
    loop {
        let line = tokio::select! {
            job = jobs.recv() => match job {
                None => break,
                Some(job) => {
                    waiting.retain(|_, waiting| !waiting.answer.is_closed());
                    if waiting.len() >= REQUESTS_MAX {
                        let _ = job.answer.send(Err(DovecotError::Busy));
                        continue;
                    }
                    last_id = last_id.checked_add(1).unwrap_or(1);
                    let request = Request { id: last_id, ..job.request };
                    let line = request.to_line();
                    waiting.insert(last_id, Waiting { request, challenges: 0, answer: job.answer });
                    Some(line)
                }
            },
            line = heard.recv() => match line {
                Some(Ok(ServerLine::Answer(id, answer))) => match take(&mut waiting, id, answer) {
                    Ok(line) => line,
                    Err(_fault) => break,
                },
                // Mechanisms and the like, after a reload of the service.
                Some(Ok(_)) => None,
                Some(Err(_)) | None => break,
            },
        };
        if let Some(line) = line {
            let written = timeout(ANSWER_TIME_MAX, writer.write_all(line.octets())).await;
            if !matches!(written, Ok(Ok(()))) {
                break;
            }
        }
    }
    jobs.close();
    reading.abort();
}

/// Takes an answer: hands it to whoever waits for it, or answers a challenge. One that nobody waits for is dropped.
fn take(waiting: &mut HashMap<u32, Waiting>, id: u32, answer: Answer) -> Result<Option<Secret>, Fault> {
    if answer == Answer::Challenge {
        let Some(asked) = waiting.get_mut(&id) else {
            return Ok(None);
        };
        let response = asked.request.response(asked.challenges)?;
        asked.challenges = asked.challenges.saturating_add(1);
        return Ok(Some(response));
    }
    if let Some(asked) = waiting.remove(&id) {
        let _ = asked.answer.send(Ok(answer));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    /// A service whose first connection hangs after the handshake; later ones know every password.
    async fn serve(listener: UnixListener) {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (reader, mut writer) = stream.into_split();
                let handshake = b"VERSION\t1\t2\nMECH\tPLAIN\nDONE\n";
                writer.write_all(handshake).await.unwrap();
                let mut lines = BufReader::new(reader).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    let id = line.strip_prefix("AUTH\t").and_then(|rest| rest.split('\t').next());
                    if let Some(id) = id.filter(|_| number > 0) {
                        let answer = format!("OK\t{id}\tuser=tim\n");
                        writer.write_all(answer.as_bytes()).await.unwrap();
                    }
                }
            });
        }
    }

    #[tokio::test]
    async fn connection_that_hangs_is_given_up_after_the_first_silence() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("auth");
        let serving = tokio::spawn(serve(UnixListener::bind(&path).unwrap()));
        let service = DovecotAuth {
            answer_time_max: Duration::from_millis(300),
            ..DovecotAuth::new(Endpoint::Unix(path))
        };
        let question = || Question {
            remote: ([192, 0, 2, 1], 40000).into(),
            local: None,
            is_secured: true,
            credentials: Credentials::of_plain(b"\0tim\0secret").unwrap(),
        };
        assert!(matches!(service.ask(question()).await, Err(DovecotError::Silent)));
        let answer = service.ask(question()).await;
        assert!(
            matches!(&answer, Ok(Answer::Right(Some(user))) if user == "tim"),
            "{answer:?}"
        );
        serving.abort();
    }
}
