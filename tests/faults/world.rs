//! A relay on a faulty disk, and what its clients see.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::client::{Client, Reply};
use crate::common::sink::{Received, Sink};
use crate::common::{BINARY, LOOPBACK, PATIENCE, Relay, wait_until};
use crate::shim;

/// errno of Linux.
pub(crate) const EIO: i32 = 5;
pub(crate) const ENOSPC: i32 = 28;
pub(crate) const EROFS: i32 = 30;
pub(crate) const EDQUOT: i32 = 122;

/// Larger than `queue_inline_limit`: a message with a file of its own.
pub(crate) const LARGE: usize = 100_000;

/// A relay whose disk can fail, its next hop, and what was acknowledged.
pub(crate) struct World {
    pub(crate) relay: Relay,
    pub(crate) sink: Sink,
    library: PathBuf,
    told: UnixDatagram,
    acknowledged: BTreeSet<String>,
    sent: usize,
}

impl World {
    /// A relay that runs on a disk without a fault so far.
    pub(crate) fn start() -> Self {
        let mut world = Self::prepare("");
        world.spawn();
        world
    }

    /// Everything but the process.
    pub(crate) fn prepare(policy: &str) -> Self {
        let sink = Sink::start();
        let policy = format!("{LOOPBACK}smtp_tls_security_level = \"none\"\nmessage_size_limit = 1000000\n{policy}");
        let relay = Relay::prepare(&policy, sink.port);
        fs::create_dir(relay.queue()).expect("queue directory");
        fs::set_permissions(relay.queue(), fs::Permissions::from_mode(0o700)).expect("chmod");
        let library = shim::build(relay.directory.path());
        let told = UnixDatagram::bind(relay.file("notify")).expect("a socket");
        told.set_nonblocking(true).expect("set");
        let world = Self {
            relay,
            sink,
            library,
            told,
            acknowledged: BTreeSet::new(),
            sent: 0,
        };
        world.faults("");
        world
    }

    /// The daemon's command, with the faults under it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(BINARY);
        command.args(["run", "--config"]).arg(self.relay.config());
        for (name, value) in self.environment() {
            command.env(name, value);
        }
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn environment(&self) -> [(&'static str, PathBuf); 4] {
        [
            ("LD_PRELOAD", self.library.clone()),
            ("ESTAFETTE_FAULTS", self.control()),
            ("ESTAFETTE_FAULTS_UNDER", self.relay.queue()),
            ("NOTIFY_SOCKET", self.relay.file("notify")),
        ]
    }

    pub(crate) fn spawn(&mut self) {
        let mut command = self.command();
        self.relay.spawn_command(&mut command);
    }

    /// Starts the daemon in a mount namespace of its own, after a script that gets the queue directory as `$1`.
    pub(crate) fn spawn_mounted(&mut self, script: &str) {
        let mut command = Command::new("unshare");
        if !nix::unistd::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        let environment = self.environment();
        let exports = environment.map(|(name, value)| format!("{name}={}", value.display()));
        command
            .args(["--mount", "sh", "-c"])
            .arg(format!("set -e; {script}; shift; exec env \"$@\""))
            .arg("sh")
            .arg(self.relay.queue())
            .args(exports)
            .arg(BINARY)
            .args(["run", "--config"])
            .arg(self.relay.config())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        self.relay.spawn_command(&mut command);
    }

    /// Runs a script within the daemon's mount namespace, the queue directory as `$1`.
    pub(crate) fn inside(&self, script: &str) -> Output {
        let pid = self.relay.pid().to_string();
        let mut command = Command::new("nsenter");
        if !nix::unistd::geteuid().is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command
            .args(["--target", &pid, "--mount", "sh", "-c", script, "sh"])
            .arg(self.relay.queue());
        command.output().expect("nsenter runs")
    }

    /// A `queue` command within the daemon's mount namespace.
    pub(crate) fn command_inside(&self, words: &str) -> Output {
        let config = self.relay.config();
        self.inside(&format!("\"{BINARY}\" queue --config \"{}\" {words}", config.display()))
    }

    pub(crate) fn control(&self) -> PathBuf {
        self.relay.file("faults")
    }

    /// What fails from now on; see shim.c.
    pub(crate) fn faults(&self, rules: &str) {
        shim::set(&self.control(), rules);
    }

    /// The faults that have struck since the rules were set.
    pub(crate) fn struck(&self) -> String {
        shim::struck(&self.control())
    }

    /// Sends a message on a connection of its own; remembers it when it was acknowledged.
    pub(crate) fn send(&mut self, to: &str, octets: usize) -> Reply {
        let mut client = Client::connect(self.relay.address()).expect("connects");
        client.say("EHLO printer.example.org").expect("EHLO");
        self.send_on(&mut client, to, octets)
    }

    pub(crate) fn send_on(&mut self, client: &mut Client, to: &str, octets: usize) -> Reply {
        self.try_send_on(client, to, octets).expect("answered")
    }

    pub(crate) fn try_send_on(&mut self, client: &mut Client, to: &str, octets: usize) -> io::Result<Reply> {
        self.sent += 1;
        let token = format!("token-{}", self.sent);
        let line = format!("{}\r\n", "x".repeat(70));
        let data = format!("Subject: {token}\r\n\r\n{}end", line.repeat(octets / line.len()));
        let reply = client.send("a@example.org", &[to], &data)?;
        if reply.code == 250 {
            self.acknowledged.insert(token);
        }
        Ok(reply)
    }

    /// How often each message came out at the next hop, reports left out; a message that is not whole is a failure.
    pub(crate) fn delivered(&self) -> BTreeMap<String, usize> {
        let mut delivered = BTreeMap::new();
        let is_mail = |message: &Received| !message.reverse_path.is_empty();
        for message in self.sink.messages().into_iter().filter(is_mail) {
            let text = String::from_utf8_lossy(&message.data).into_owned();
            assert!(text.ends_with("end\r\n"), "a message was cut");
            if let Some(token) = text.lines().find_map(|line| line.strip_prefix("Subject: token-")) {
                *delivered.entry(format!("token-{token}")).or_default() += 1;
            }
        }
        delivered
    }

    /// All that was acknowledged comes out whole and once, and nothing else does.
    pub(crate) fn expect_all_delivered_once(&self) {
        wait_until("all acknowledged messages are delivered", || {
            let delivered = self.delivered();
            self.acknowledged.iter().all(|token| delivered.contains_key(token))
        });
        wait_until("the queue is empty", || self.relay.queued().is_empty());
        for (token, times) in self.delivered() {
            assert_eq!(times, 1, "{token} was delivered {times} times");
            assert!(
                self.acknowledged.contains(&token),
                "{token} was delivered and not acknowledged"
            );
        }
    }

    /// Waits for a line of the log.
    pub(crate) fn expect_logged(&self, what: &str) {
        wait_until(&format!("{what:?} in the log"), || self.relay.log_text().contains(what));
    }

    /// Waits until an attempt at the only message in the queue is committed: the log tells of it earlier.
    pub(crate) fn expect_deferred(&self) {
        wait_until("an attempt is committed", || {
            let queued = self.relay.queued();
            queued.iter().any(|message| message["recipients"][0]["attempts"] == 1)
        });
    }

    /// Waits until systemd is told something.
    pub(crate) fn expect_told(&self, what: &str) {
        let mut all = String::new();
        wait_until(&format!("{what:?} told to systemd"), || {
            let mut buffer = [0_u8; 4096];
            while let Ok(count) = self.told.recv(&mut buffer) {
                all.push_str(&String::from_utf8_lossy(buffer.get(..count).unwrap_or_default()));
                all.push('\n');
            }
            all.contains(what)
        });
    }

    /// The daemon ends by itself, with an error, within moments.
    pub(crate) fn expect_failure(&mut self) {
        let status = self.relay.terminate_after_signal();
        assert!(
            status.code().is_some_and(|code| code != 0),
            "{status:?}\n{}",
            self.relay.log_text()
        );
    }

    /// A start that must not succeed; what the daemon says about it.
    pub(crate) fn expect_refused_start(&self) -> String {
        let child = self.command().spawn().expect("starts");
        let output = wait_with_bound(child);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code().is_some_and(|code| code != 0), "{said}");
        said
    }
}

fn wait_with_bound(mut child: Child) -> Output {
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().expect("waited").is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            let output = child.wait_with_output().expect("waited");
            panic!("it started: {}", String::from_utf8_lossy(&output.stderr));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().expect("waited")
}
