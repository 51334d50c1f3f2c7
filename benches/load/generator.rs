//! The generator: so many sessions, each with so many messages, as fast as the server answers or at a fixed rate.
//!
//! Sessions are divided among one single-threaded runtime for each processor, so that no message changes threads.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use super::connection::{Connection, Letter, Sent};
use super::now_nanoseconds;
use super::report::{Latency, Report};
use super::tls::{Files, Handshakes};

/// What to send.
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    /// The server.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub to: SocketAddr,
    /// Sessions at once.
    #[arg(long, default_value_t = 50)]
    pub sessions: u64,
    /// Messages of each session; of all together with --rate.
    #[arg(long, default_value_t = 100)]
    pub messages: u64,
    /// Octets of mail data in each message.
    #[arg(long, default_value_t = 4096)]
    pub size: usize,
    /// Recipients of each message.
    #[arg(long, default_value_t = 1)]
    pub recipients: usize,
    /// Domain of the recipients, or an address literal.
    #[arg(long, default_value = "example.net")]
    pub domain: String,
    /// A new connection for each message.
    #[arg(long)]
    pub reconnect: bool,
    /// STARTTLS, with a client certificate where --cert and --key are given.
    #[arg(long, requires = "ca")]
    pub starttls: bool,
    /// Let connections resume TLS sessions.
    #[arg(long, requires = "starttls")]
    pub resume: bool,
    /// Open loop: messages begun in a second, whatever the server does.
    #[arg(long, value_name = "PER_SECOND")]
    pub rate: Option<f64>,
    #[command(flatten)]
    pub files: Files,
}

impl Plan {
    /// Messages of 4 KiB with one recipient over plain connections that are kept.
    pub fn new(to: SocketAddr, sessions: u64, messages: u64) -> Self {
        Self {
            to,
            sessions,
            messages,
            size: 4096,
            recipients: 1,
            domain: "example.net".to_owned(),
            reconnect: false,
            starttls: false,
            resume: false,
            rate: None,
            files: Files::default(),
        }
    }

    /// The same as arguments of a command line.
    pub fn words(&self) -> Vec<String> {
        let values = [
            ("--to", self.to.to_string()),
            ("--sessions", self.sessions.to_string()),
            ("--messages", self.messages.to_string()),
            ("--size", self.size.to_string()),
            ("--recipients", self.recipients.to_string()),
            ("--domain", self.domain.clone()),
        ];
        let flags = [
            ("--reconnect", self.reconnect),
            ("--starttls", self.starttls),
            ("--resume", self.resume),
        ];
        let mut words: Vec<String> = values
            .into_iter()
            .flat_map(|(option, value)| [option.to_owned(), value])
            .collect();
        words.extend(flags.iter().filter(|(_, set)| *set).map(|(flag, _)| (*flag).to_owned()));
        words.extend(
            self.rate
                .iter()
                .flat_map(|rate| ["--rate".to_owned(), rate.to_string()]),
        );
        words.extend(self.files.words());
        words
    }
}

/// When the messages of an open loop begin.
struct Schedule {
    start: Instant,
    interval: Duration,
    total: u64,
    next: AtomicU64,
}

struct Task {
    plan: Plan,
    letter: Letter,
    tls: Option<Arc<ClientConfig>>,
    schedule: Option<Schedule>,
}

#[derive(Default)]
struct Tally {
    report: Report,
    latencies: Vec<u32>,
}

/// Sends all of it.
///
/// # Errors
/// A file of the PKI cannot be read, or no runtime can be made. What the server does is in the report.
pub fn run(plan: &Plan) -> io::Result<Report> {
    let handshakes = if plan.resume {
        Handshakes::Resumed
    } else {
        Handshakes::Full
    };
    let schedule = plan.rate.map(|rate| Schedule {
        start: Instant::now(),
        interval: Duration::from_secs_f64(1.0 / rate),
        total: plan.messages,
        next: AtomicU64::new(0),
    });
    let task = Arc::new(Task {
        letter: Letter::new(plan.size, plan.recipients, &plan.domain),
        tls: plan.starttls.then(|| plan.files.client(handshakes)).transpose()?,
        schedule,
        plan: plan.clone(),
    });
    let started = now_nanoseconds();
    let threads = super::threads() as u64;
    let running: Vec<_> = (0..threads)
        .map(|n| {
            let task = Arc::clone(&task);
            let sessions = plan.sessions / threads + u64::from(n < plan.sessions % threads);
            std::thread::spawn(move || run_sessions(&task, sessions))
        })
        .collect();
    let mut total = Tally::default();
    for thread in running {
        let tally = thread
            .join()
            .map_err(|_| io::Error::other("a thread of the generator panicked"))??;
        total.add(tally);
    }
    total.report.latency = Latency::of(total.latencies);
    total.report.started = started;
    total.report.finished = now_nanoseconds();
    Ok(total.report)
}

fn run_sessions(task: &Arc<Task>, sessions: u64) -> io::Result<Tally> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let running: Vec<_> = (0..sessions)
            .map(|_| {
                let task = Arc::clone(task);
                tokio::spawn(async move {
                    let mut tally = Tally::default();
                    task.session(&mut tally).await;
                    tally
                })
            })
            .collect();
        let mut total = Tally::default();
        for session in running {
            total.add(session.await.map_err(io::Error::other)?);
        }
        Ok(total)
    })
}

impl Task {
    async fn session(&self, tally: &mut Tally) {
        let mut kept = None;
        let mut sent = 0;
        while self.wait_for_turn(sent, tally).await {
            sent += 1;
            if let Err(error) = self.message(&mut kept, tally).await {
                kept = None;
                tally.report.broken += 1;
                tally.report.trouble = Some(error.to_string());
            }
        }
        if let Some(connection) = kept {
            let _ = connection.quit().await;
        }
    }

    /// Whether this session has another message to send; in an open loop not before its time.
    async fn wait_for_turn(&self, sent: u64, tally: &mut Tally) -> bool {
        let Some(schedule) = &self.schedule else {
            return sent < self.plan.messages;
        };
        let turn = schedule.next.fetch_add(1, Ordering::Relaxed);
        if turn >= schedule.total {
            return false;
        }
        let offset = schedule
            .interval
            .mul_f64(f64::from(u32::try_from(turn).unwrap_or(u32::MAX)));
        let due = schedule.start + offset;
        tokio::time::sleep_until(due.into()).await;
        let behind = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
        tally.report.behind = behind;
        true
    }

    async fn message(&self, kept: &mut Option<Connection>, tally: &mut Tally) -> io::Result<()> {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => Connection::open(self.plan.to, self.tls.clone()).await?,
        };
        match connection.send(&self.letter).await? {
            Sent::Accepted(latency) => {
                tally.report.accepted += 1;
                tally
                    .latencies
                    .push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
            }
            Sent::Refused(text) => {
                tally.report.refused += 1;
                tally.report.trouble = Some(text.trim_end().to_owned());
                // The transaction may stand half open: the next message begins on a new connection.
                return connection.quit().await;
            }
        }
        if self.plan.reconnect {
            return connection.quit().await;
        }
        *kept = Some(connection);
        Ok(())
    }
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.report.accepted += other.report.accepted;
        self.report.refused += other.report.refused;
        self.report.broken += other.report.broken;
        self.report.behind = self.report.behind.max(other.report.behind);
        self.report.trouble = self.report.trouble.take().or(other.report.trouble);
        self.latencies.extend(other.latencies);
    }
}
