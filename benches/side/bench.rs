//! The bench's own ground: a directory on the disk, generators and sinks as processes of their own.

use std::fs;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use super::machine;
use crate::load::generator::Plan;
use crate::load::report::Report;
use crate::load::sink::Counts;
use crate::load::tls::Files;

/// How long a server may take to start, to stop, or to deliver anything at all.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where everything of one bench lives.
pub struct Bench {
    pub directory: tempfile::TempDir,
    /// Alternations of each comparison.
    pub alternations: usize,
    /// Fewer messages, for a look in a minute.
    pub quick: bool,
}

impl Bench {
    /// Makes the directory with copies of the example PKI.
    ///
    /// # Errors
    /// The parent lies in memory, where a sync means nothing, or cannot be written.
    pub fn new(parent: &Path, quick: bool) -> io::Result<Self> {
        let kind = machine::file_system(parent);
        if matches!(kind.as_str(), "tmpfs" | "ramfs" | "overlay") {
            return Err(io::Error::other(format!(
                "{} is on {kind}, which keeps nothing: name a directory on a disk with --directory",
                parent.display()
            )));
        }
        let directory = tempfile::Builder::new().prefix("estafette-bench-").tempdir_in(parent)?;
        // Postfix's own user walks through it.
        set_mode(directory.path(), 0o755)?;
        let certificates = Path::new(env!("CARGO_MANIFEST_DIR")).join("certs-example");
        for entry in fs::read_dir(certificates)? {
            let entry = entry?;
            let target = directory.path().join(entry.file_name());
            fs::copy(entry.path(), &target)?;
            set_mode(&target, 0o600)?;
        }
        Ok(Self {
            directory,
            alternations: if quick { 2 } else { 5 },
            quick,
        })
    }

    /// A file of the bench's directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `full`, or a fraction of it in a quick run.
    pub fn scaled(&self, full: u64) -> u64 {
        if self.quick { (full / 5).max(1) } else { full }
    }

    /// The certificate of a client that the relay trusts.
    pub fn client_files(&self) -> Files {
        self.files("alice.pem", "alice.key")
    }

    /// The certificate of a receiving server that demands one of the client.
    pub fn server_files(&self) -> Files {
        self.files("nexthop.crt", "nexthop.key")
    }

    fn files(&self, cert: &str, key: &str) -> Files {
        Files {
            cert: Some(self.file(cert)),
            key: Some(self.file(key)),
            ca: Some(self.file("CAcert.pem")),
        }
    }

    /// Starts a sink on a port of its own.
    ///
    /// # Errors
    /// It does not listen.
    pub fn sink(&self, tls: Option<&Files>) -> io::Result<Sink> {
        self.sink_on(free_address()?, tls)
    }

    /// Starts a sink on a port that was reserved.
    ///
    /// # Errors
    /// It does not listen.
    pub fn sink_on(&self, address: SocketAddr, tls: Option<&Files>) -> io::Result<Sink> {
        let counts = free_address()?;
        let mut command = own_command("sink");
        command.args(["--listen", &address.to_string(), "--counts", &counts.to_string()]);
        command.arg("--while-exists").arg(self.directory.path());
        if let Some(files) = tls {
            command.args(files.words());
        }
        let sink = Sink {
            _child: Running(command.stdout(Stdio::null()).spawn()?),
            address,
            counts,
        };
        wait_until("the sink listens", || TcpStream::connect(counts).is_ok())?;
        Ok(sink)
    }
}

/// Runs the generator.
///
/// # Errors
/// It does not start, or says nothing that can be read.
pub fn send(plan: &Plan) -> io::Result<Report> {
    let output = own_command("load")
        .args(plan.words())
        .stderr(Stdio::inherit())
        .output()?;
    serde_json::from_slice(&output.stdout).map_err(io::Error::other)
}

/// A sink that runs.
pub struct Sink {
    _child: Running,
    pub address: SocketAddr,
    counts: SocketAddr,
}

impl Sink {
    /// What it has counted so far.
    ///
    /// # Errors
    /// It is gone.
    pub fn counts(&self) -> io::Result<Counts> {
        let mut text = String::new();
        TcpStream::connect(self.counts)?.read_to_string(&mut text)?;
        serde_json::from_str(&text).map_err(io::Error::other)
    }

    /// Waits until it has so many messages; gives up when none comes for a while.
    ///
    /// # Errors
    /// Nothing came for [`PATIENCE`].
    pub fn wait_for(&self, messages: u64) -> io::Result<Counts> {
        let mut seen = self.counts()?;
        let mut moved = Instant::now();
        while seen.messages < messages {
            if moved.elapsed() > PATIENCE {
                let text = format!("the sink waits for message {messages} and has {}", seen.messages);
                return Err(io::Error::other(text));
            }
            std::thread::sleep(Duration::from_millis(10));
            let now = self.counts()?;
            if now.messages > seen.messages {
                moved = Instant::now();
            }
            seen = now;
        }
        Ok(seen)
    }
}

/// A child that ends with its owner.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn own_command(word: &str) -> Command {
    let own = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
    let mut command = Command::new(own);
    command.arg(word);
    command
}

/// A loopback port that nobody listens on, below those that the system gives to outgoing connections.
///
/// # Errors
/// None is free.
pub fn free_address() -> io::Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % 8000).unwrap_or(0);
    for _ in 0..1000 {
        let port = 20_000 + (own + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(io::Error::other("no loopback port is free"))
}

/// Waits for something at most [`PATIENCE`].
///
/// # Errors
/// It did not come true.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        if Instant::now() > deadline {
            return Err(io::Error::other(format!("waited too long until {what}")));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Runs a command to its end; its output is told only when it fails.
///
/// # Errors
/// It cannot be started or fails.
pub fn check(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(format!("{command:?} failed: {said}")))
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}
