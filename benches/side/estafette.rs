//! Estafette as a postmaster would run it: its log at the default level to a file, the decision journal on.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::bench::{Bench, Running, check, free_address, wait_until};
use super::cost;
use super::run::Side;

const BINARY: &str = env!("CARGO_BIN_EXE_estafette");

/// A relay that runs, or has run and may run again on the same queue.
pub struct Estafette {
    pub address: SocketAddr,
    directory: PathBuf,
    child: Option<Running>,
    /// The relay itself: the child, or the child's child behind a tracer.
    pid: u32,
}

impl Estafette {
    /// Writes the configuration of a relay with an empty queue; starts nothing. Without a next hop it routes by the
    /// recipients.
    ///
    /// # Errors
    /// The bench's directory cannot be written.
    pub fn prepare(bench: &Bench, name: &str, next_hop: Option<SocketAddr>) -> io::Result<Self> {
        let address = free_address()?;
        let directory = bench.file(name);
        fs::create_dir(&directory)?;
        let relayhost = next_hop.map_or_else(String::new, |next_hop| {
            format!("relayhost = \"[127.0.0.1]:{}\"\n", next_hop.port())
        });
        let text = format!(
            r#"myhostname = "relay.example.org"
queue_directory = "queue"
message_size_limit = 52428800
smtpd_tls_security_level = "may"
smtpd_tls_cert_file = "../server.crt"
smtpd_tls_key_file = "../server.key"
smtpd_tls_CAfile = "../CAcert.pem"
smtpd_tls_ask_ccert = true
mynetworks = ["127.0.0.0/8"]
smtpd_recipient_restrictions = ["permit_tls_all_clientcerts", "permit_mynetworks", "reject"]
{relayhost}
[[listener]]
name = "smtp"
address = "{address}"
"#
        );
        fs::write(directory.join("estafette.toml"), text)?;
        Ok(Self {
            address,
            directory,
            child: None,
            pid: 0,
        })
    }

    /// Prepares and starts a relay.
    ///
    /// # Errors
    /// As [`Estafette::prepare`] and [`Estafette::spawn`].
    pub fn start(bench: &Bench, name: &str, next_hop: Option<SocketAddr>) -> io::Result<Self> {
        let mut relay = Self::prepare(bench, name, next_hop)?;
        relay.spawn(&[])?;
        Ok(relay)
    }

    /// Starts the process, behind other words if given, and waits until it listens.
    ///
    /// # Errors
    /// It does not listen.
    pub fn spawn(&mut self, before: &[String]) -> io::Result<()> {
        let mut words = before.iter().map(String::as_str).chain([BINARY]);
        let mut command = Command::new(words.next().unwrap_or(BINARY));
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.directory.join("log"))?;
        command.args(words).args(["run", "--config"]).arg(self.config());
        let child = command.stdout(Stdio::null()).stderr(log).spawn()?;
        let own = child.id();
        self.child = Some(Running(child));
        let address = self.address;
        wait_until("Estafette listens (its log says why not)", || {
            TcpStream::connect(address).is_ok()
        })?;
        self.pid = if before.is_empty() {
            own
        } else {
            cost::child_of(own).unwrap_or(own)
        };
        Ok(())
    }

    /// The relay under load.
    pub fn side(&self) -> Side {
        Side {
            address: self.address,
            pid: self.pid,
        }
    }

    pub fn queue(&self) -> PathBuf {
        self.directory.join("queue")
    }

    fn config(&self) -> PathBuf {
        self.directory.join("estafette.toml")
    }

    /// `estafette queue flush`.
    ///
    /// # Errors
    /// The relay does not hear it.
    pub fn flush(&self) -> io::Result<String> {
        check(
            Command::new(BINARY)
                .args(["queue", "--config"])
                .arg(self.config())
                .arg("flush"),
        )
    }

    /// SIGTERM, and waits for the end; what it says about itself is in its log.
    ///
    /// # Errors
    /// It does not end in two minutes, and is killed.
    pub fn stop(&mut self) -> io::Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        check(Command::new("kill").arg(self.pid.to_string()))?;
        let deadline = Instant::now() + Duration::from_secs(120);
        while child.0.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return Err(io::Error::other("Estafette does not stop"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Resident memory now and at its peak, in MiB.
    pub fn memory_mib(&self) -> (u64, u64) {
        let mib = |line| cost::memory_kib(self.pid, line).div_ceil(1024);
        (mib("VmRSS"), mib("VmHWM"))
    }
}
