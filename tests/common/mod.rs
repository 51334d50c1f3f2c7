//! What the end-to-end tests share: the real binary on loopback, a receiving server, a blocking SMTP client.

#![allow(dead_code, reason = "every test binary uses a part of it")]

pub mod client;
pub mod sink;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long anything may take before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_estafette");

/// A port that is this test's own until its process ends: below the range from which the system takes the source ports of
/// outgoing connections, so that no other client can sit on it between two starts of a relay, and locked against the
/// other tests.
pub fn free_port() -> u16 {
    const RANGE: std::ops::Range<u32> = 12_000..30_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let locks = std::env::temp_dir().join("estafette-test-ports");
    fs::create_dir_all(&locks).expect("a directory for the locks");
    let width = RANGE.end - RANGE.start;
    for _ in 0..width {
        let nth = std::process::id()
            .wrapping_mul(97)
            .wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(RANGE.start + nth % width).expect("a port");
        let lock = fs::File::create(locks.join(port.to_string())).expect("a lock");
        if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            // Kept open, and so locked, to the end of the process.
            std::mem::forget(lock);
            return port;
        }
    }
    panic!("no port is free");
}

/// Waits until a condition holds.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Copies certs-example to a directory; keys become readable by their owner only.
pub fn copy_certificates(to: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("certs-example");
    for entry in fs::read_dir(from).expect("certs-example").flatten() {
        let path = entry.path();
        if path.is_file() {
            let target = to.join(entry.file_name());
            fs::copy(&path, &target).expect("copied");
            fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).expect("chmod");
        }
    }
}

/// A relay that runs, with everything it has in one temporary directory.
pub struct Relay {
    pub directory: tempfile::TempDir,
    pub port: u16,
    pub log: Arc<Mutex<String>>,
    child: Option<Child>,
}

/// The head of every test's configuration.
pub fn base_config(port: u16, next_hop: u16) -> String {
    format!(
        "myhostname = \"relay.example.org\"\n\
         queue_directory = \"queue\"\n\
         smtpd_tls_security_level = \"may\"\n\
         smtpd_tls_cert_file = \"server.crt\"\n\
         smtpd_tls_key_file = \"server.key\"\n\
         smtpd_tls_CAfile = \"CAcert.pem\"\n\
         smtpd_tls_ask_ccert = true\n\
         relayhost = \"[127.0.0.1]:{next_hop}\"\n\
         log_format = \"json\"\n\
         [[listener]]\n\
         name = \"smtp\"\n\
         address = \"127.0.0.1:{port}\"\n"
    )
}

/// Lets certificate holders through and nobody else: loopback is no trusted network.
pub const CERTIFICATES_ONLY: &str = "mynetworks = [\"192.0.2.0/24\"]\n\
     smtpd_recipient_restrictions = [\"permit_mynetworks\", \"permit_tls_all_clientcerts\", \"reject\"]\n";

/// Lets loopback through.
pub const LOOPBACK: &str = "mynetworks = [\"127.0.0.0/8\"]\n\
     smtpd_recipient_restrictions = [\"permit_mynetworks\", \"permit_tls_all_clientcerts\", \"reject\"]\n";

impl Relay {
    /// Starts a relay whose next hop listens on a loopback port; `policy` comes before the listener table.
    pub fn start(policy: &str, next_hop: u16) -> Self {
        let mut relay = Self::prepare(policy, next_hop);
        relay.spawn();
        relay
    }

    /// Everything but the process.
    pub fn prepare(policy: &str, next_hop: u16) -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        copy_certificates(directory.path());
        let port = free_port();
        let relay = Self {
            directory,
            port,
            log: Arc::default(),
            child: None,
        };
        relay.write_config(&format!("{policy}{}", base_config(port, next_hop)));
        relay
    }

    pub fn config(&self) -> PathBuf {
        self.directory.path().join("estafette.toml")
    }

    pub fn queue(&self) -> PathBuf {
        self.directory.path().join("queue")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write_config(&self, text: &str) {
        fs::write(self.config(), text).expect("configuration written");
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Starts the process and waits until it listens.
    pub fn spawn(&mut self) {
        let mut command = Command::new(BINARY);
        command.args(["run", "--config"]).arg(self.config());
        self.spawn_command(command.stdout(Stdio::null()).stderr(Stdio::piped()));
    }

    /// Starts a command that ends in the relay, and waits until that listens.
    pub fn spawn_command(&mut self, command: &mut Command) {
        let mut child = command.spawn().expect("the relay starts");
        let stderr = child.stderr.take().expect("piped");
        let log = Arc::clone(&self.log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = log.lock().expect("log");
                log.push_str(&line);
                log.push('\n');
            }
        });
        self.child = Some(child);
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address()).is_err() {
            assert!(
                Instant::now() < deadline,
                "the relay does not listen:\n{}",
                self.log_text()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("running").id()
    }

    pub fn log_text(&self) -> String {
        self.log.lock().expect("log").clone()
    }

    /// SIGKILL: nothing is finished, nothing is flushed.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.pid().to_string()])
            .status()
            .expect("kill");
        assert!(status.success());
    }

    /// SIGTERM, and the exit status.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.terminate_after_signal()
    }

    /// The exit status of a relay that was told to stop.
    pub fn terminate_after_signal(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("running");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait().expect("wait") {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "the relay does not stop:\n{}",
                self.log_text()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Runs a command of the binary with `--config` of this relay behind the first words.
    pub fn command(&self, before: &[&str], after: &[&str]) -> Output {
        if before.first() == Some(&"why") {
            // A decision is in the journal some 5 ms after its reply.
            std::thread::sleep(Duration::from_millis(60));
        }
        Command::new(BINARY)
            .args(before)
            .arg("--config")
            .arg(self.config())
            .args(after)
            .output()
            .expect("the command runs")
    }

    /// The queue as `queue list --json` tells it.
    pub fn queued(&self) -> Vec<serde_json::Value> {
        let output = self.command(&["queue"], &["list", "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A CA of its own, `lab-ca.crt` and `lab-ca.key`, that has issued `dora.pem` and `dora.key` of OU UMR5168.
pub fn make_authority(directory: &Path) {
    let script = r#"set -e
        cd "$1"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout lab-ca.key -out lab-ca.crt \
            -days 30 -subj /C=FR/O=Lab/CN=Lab-CA -addext keyUsage=critical,keyCertSign,cRLSign
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout dora.key -out dora.csr \
            -subj "/C=FR/O=Lab/OU=UMR5168/CN=Dora Noir"
        printf 'basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\nsubjectAltName=email:dora@example.org\n' > dora.ext
        openssl x509 -req -in dora.csr -CA lab-ca.crt -CAkey lab-ca.key -CAcreateserial -days 20 \
            -extfile dora.ext -out dora.pem
        chmod 600 dora.key"#;
    let output = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(directory)
        .output()
        .expect("a shell");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
