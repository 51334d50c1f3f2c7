//! A receiving SMTP server that keeps counts only: nothing is stored, nothing is synced, replies go out in one write.
//!
//! **Does not** check sequence or addresses: it is a next hop for measuring, not a server. A second port tells the counts:
//! each connection to it gets one line of JSON and is closed.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::tls::Files;

/// What a sink listens on.
#[derive(Clone, Debug, clap::Args)]
pub struct SinkArguments {
    /// Where to take mail.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// Where to tell the counts.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub counts: SocketAddr,
    #[command(flatten)]
    pub tls: Files,
    /// Ends when this file is gone, so that no sink outlives a bench that was killed.
    #[arg(long, value_name = "FILE")]
    pub while_exists: Option<PathBuf>,
}

/// What a sink has counted since its start.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    pub messages: u64,
    /// RCPT commands.
    pub recipients: u64,
    /// Octets of whole messages and of commands.
    pub octets: u64,
    pub connections: u64,
    /// System clock at the first message, in nanoseconds; 0 before it.
    pub first: u64,
    /// System clock at the last message so far, in nanoseconds.
    pub last: u64,
}

#[derive(Default)]
struct Counters {
    messages: AtomicU64,
    recipients: AtomicU64,
    octets: AtomicU64,
    connections: AtomicU64,
    first: AtomicU64,
    last: AtomicU64,
}

impl Counters {
    fn message(&self) {
        let now = super::now_nanoseconds();
        self.last.fetch_max(now, Ordering::Relaxed);
        if self.messages.fetch_add(1, Ordering::Release) == 0 {
            self.first.store(now, Ordering::Relaxed);
        }
    }

    fn counts(&self) -> Counts {
        let messages = self.messages.load(Ordering::Acquire);
        Counts {
            messages,
            recipients: self.recipients.load(Ordering::Relaxed),
            octets: self.octets.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
            first: self.first.load(Ordering::Relaxed),
            last: self.last.load(Ordering::Relaxed),
        }
    }
}

/// Serves on one thread for each processor until the process ends.
///
/// # Errors
/// The port is taken, or a file of the PKI cannot be read.
pub fn run(arguments: &SinkArguments) -> io::Result<()> {
    let acceptor = arguments.tls.server()?.map(TlsAcceptor::from);
    let counters = Arc::new(Counters::default());
    let listener = TcpListener::bind(arguments.listen)?;
    listener.set_nonblocking(true)?;
    tell(TcpListener::bind(arguments.counts)?, Arc::clone(&counters));
    let mut serving = Vec::new();
    for _ in 0..super::threads() {
        let (listener, acceptor, counters) = (listener.try_clone()?, acceptor.clone(), Arc::clone(&counters));
        serving.push(std::thread::spawn(move || {
            serve(listener, acceptor.as_ref(), &counters)
        }));
    }
    while arguments.while_exists.as_ref().is_none_or(|path| path.exists()) {
        std::thread::sleep(std::time::Duration::from_millis(500));
        if serving.iter().any(std::thread::JoinHandle::is_finished) {
            return Err(io::Error::other("a thread of the sink has ended"));
        }
    }
    Ok(())
}

fn tell(listener: TcpListener, counters: Arc<Counters>) {
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = serde_json::to_writer(&mut stream, &counters.counts());
        }
    });
}

fn serve(listener: TcpListener, acceptor: Option<&TlsAcceptor>, counters: &Arc<Counters>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            counters.connections.fetch_add(1, Ordering::Relaxed);
            let (acceptor, counters) = (acceptor.cloned(), Arc::clone(counters));
            tokio::spawn(async move {
                // A client that goes away is none of the sink's business.
                let _ = converse(stream, acceptor, &counters).await;
            });
        }
    })
}

async fn converse(mut stream: TcpStream, acceptor: Option<TlsAcceptor>, counters: &Counters) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(b"220 sink.example.net ESMTP\r\n").await?;
    let offer = acceptor.is_some();
    if Dialogue::new(counters, offer).run(&mut stream).await? == End::StartTls
        && let Some(acceptor) = acceptor
    {
        let mut stream = acceptor.accept(stream).await?;
        Dialogue::new(counters, false).run(&mut stream).await?;
        stream.shutdown().await?;
    }
    Ok(())
}

#[derive(PartialEq, Eq)]
enum End {
    Quit,
    StartTls,
}

struct Dialogue<'a> {
    counters: &'a Counters,
    offers_tls: bool,
    unread: Vec<u8>,
    in_data: bool,
    out: Vec<u8>,
    end: Option<End>,
}

impl<'a> Dialogue<'a> {
    fn new(counters: &'a Counters, offers_tls: bool) -> Self {
        Self {
            counters,
            offers_tls,
            unread: Vec::with_capacity(64 * 1024),
            in_data: false,
            out: Vec::new(),
            end: None,
        }
    }

    async fn run<S: AsyncRead + AsyncWrite + Unpin>(mut self, stream: &mut S) -> io::Result<End> {
        loop {
            if stream.read_buf(&mut self.unread).await? == 0 {
                return Ok(End::Quit);
            }
            self.take();
            if !self.out.is_empty() {
                stream.write_all(&self.out).await?;
                stream.flush().await?;
                self.out.clear();
            }
            if let Some(end) = self.end {
                return Ok(end);
            }
        }
    }

    /// Everything whole that has come.
    fn take(&mut self) {
        let mut taken = 0;
        while self.end.is_none() {
            let rest = &self.unread[taken..];
            let used = if self.in_data {
                self.data(taken)
            } else {
                memchr::memchr(b'\n', rest).map(|at| at + 1)
            };
            let Some(used) = used else { break };
            if self.in_data {
                self.in_data = false;
                self.counters.message();
                self.out.extend_from_slice(b"250 2.0.0 Ok\r\n");
            } else {
                let verb: Vec<u8> = self.unread[taken..taken + used]
                    .iter()
                    .take(4)
                    .map(u8::to_ascii_uppercase)
                    .collect();
                self.command(&verb);
            }
            taken += used;
        }
        // The end of large mail data spans reads: only the last four octets of it are still needed.
        if self.in_data && self.unread.len() - taken > 4 {
            let keep = self.unread.len() - 4;
            taken = keep;
        }
        self.counters.octets.fetch_add(taken as u64, Ordering::Relaxed);
        self.unread.drain(..taken);
    }

    /// The length of the mail data that ends in what is unread.
    fn data(&self, taken: usize) -> Option<usize> {
        let rest = &self.unread[taken..];
        memchr::memmem::find(rest, b"\r\n.\r\n").map(|at| at + 5)
    }

    fn command(&mut self, verb: &[u8]) {
        let reply: &[u8] = match verb {
            b"EHLO" if self.offers_tls => {
                b"250-sink.example.net\r\n250-PIPELINING\r\n250-STARTTLS\r\n250-8BITMIME\r\n250 SIZE\r\n"
            }
            b"EHLO" => b"250-sink.example.net\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE\r\n",
            b"STAR" if self.offers_tls => {
                self.end = Some(End::StartTls);
                b"220 2.0.0 Go\r\n"
            }
            b"RCPT" => {
                self.counters.recipients.fetch_add(1, Ordering::Relaxed);
                b"250 2.1.5 Ok\r\n"
            }
            b"DATA" => {
                self.in_data = true;
                b"354 Go on\r\n"
            }
            b"QUIT" => {
                self.end = Some(End::Quit);
                b"221 2.0.0 Bye\r\n"
            }
            _ => b"250 2.0.0 Ok\r\n",
        };
        self.out.extend_from_slice(reply);
    }
}
