//! The real daemon under load, killed with -9 at random moments.

use std::fmt;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::load::{Acknowledged, Delivered, Load, flush};
use super::message;
use super::queue_check::{assert_verified, problems};
use super::random::Random;
use crate::common::sink::Sink;
use crate::common::{BINARY, LOOPBACK, PATIENCE, Relay, base_config, wait_until};

const SENDERS: usize = 8;

/// What a run has shown.
#[derive(Debug)]
pub struct Outcome {
    pub kills: usize,
    pub acknowledged: usize,
    pub deliveries: usize,
    pub duplicates: usize,
    /// Connections to the next hops that the kills cut.
    pub connections_cut: usize,
    /// Messages in the queue when it was checked.
    pub checked: usize,
}

impl Outcome {
    /// # Panics
    /// When the run proved nothing, or when more was delivered twice than connections were cut.
    pub fn check(&self) {
        assert!(self.acknowledged > 4 * self.kills, "the load was real: {self:?}");
        assert!(
            self.checked > 0,
            "something was queued when the queue was checked: {self:?}"
        );
        assert!(
            self.duplicates <= self.connections_cut,
            "at most one delivery twice for each connection cut: {self:?}"
        );
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kills: {} messages acknowledged, none lost; {} deliveries, {} of them again, {} connections to the next \
             hop cut; {} queued messages checked, all whole",
            self.kills, self.acknowledged, self.deliveries, self.duplicates, self.connections_cut, self.checked
        )
    }
}

/// Where the load goes: a sink that takes everything, some of it slowly, and a second destination that is dead until the
/// kills are over. Two destinations are two address literals, so port 25, so root; for others the relayhost stands for
/// both, and what would be for the dead one is deferred.
struct NextHops {
    alive: Sink,
    dead: Option<Ipv4Addr>,
    recipients: Vec<String>,
    relayhost: Option<u16>,
}

impl NextHops {
    fn start() -> Self {
        let locals = ["b", "c", "d", "e", "f", "slow"];
        if !nix::unistd::geteuid().is_root() {
            eprintln!("not root, so without port 25: one next hop that defers stands for the dead one");
            let alive = Sink::start_keeping((Ipv4Addr::LOCALHOST, 0).into(), message::digest);
            alive.refuse_later(true);
            let recipients = locals
                .iter()
                .chain(&["later"])
                .map(|local| format!("{local}@example.net"));
            return Self {
                recipients: recipients.collect(),
                relayhost: Some(alive.port),
                alive,
                dead: None,
            };
        }
        // Addresses of this process's own keep other tests away.
        let [high, low] = u16::try_from(std::process::id() % 0xFFFF).expect("small").to_be_bytes();
        let (alive, dead) = (Ipv4Addr::new(127, 71, high, low), Ipv4Addr::new(127, 72, high, low));
        let recipients = locals.iter().map(|local| format!("{local}@[{alive}]"));
        Self {
            recipients: recipients.chain([format!("later@[{dead}]")]).collect(),
            relayhost: None,
            alive: Sink::start_keeping((alive, 25).into(), message::digest),
            dead: Some(dead),
        }
    }

    /// The second destination comes back; all sinks.
    fn revive(&self) -> Vec<Sink> {
        self.alive.refuse_later(false);
        let revived = self
            .dead
            .map(|dead| Sink::start_keeping((dead, 25).into(), message::digest));
        std::iter::once(self.alive.clone()).chain(revived).collect()
    }
}

/// Kills a relay that many times, lets it end its work, and returns what was seen.
///
/// # Panics
/// When acknowledged mail is lost, cut or changed, when the queue is damaged, or when more was delivered twice than
/// connections were cut.
pub fn run(kills: usize, seed: u64) -> Outcome {
    let mut random = Random::new(seed);
    let hops = NextHops::start();
    let alive = &hops.alive;
    let mut relay = start_relay(hops.relayhost);
    let recipients: Vec<&str> = hops.recipients.iter().map(String::as_str).collect();
    let load = Load::new(relay.address(), relay.directory.path().to_owned(), &recipients);
    let senders = load.start(SENDERS, &mut random);
    let mut connections_cut = 0;
    for _ in 0..kills {
        thread::sleep(Duration::from_millis(random.within(10..400)));
        let before = alive.cut();
        relay.kill();
        if random.within(0..4) == 0 {
            kill_at_start(&relay, &mut random);
        }
        wait_until("the sink has seen every end", || alive.open() == 0);
        connections_cut += alive.cut() - before;
        relay.spawn();
    }
    senders.stop();
    let acknowledged = load.acknowledged();
    // Those for the dead next hop are still queued: something to look at.
    relay.terminate();
    let (checked, wrong) = problems(&relay.queue());
    assert!(wrong.is_empty(), "after the kills: {wrong:?}");
    assert_verified(&relay);

    relay.spawn();
    let sinks = hops.revive();
    flush(&relay);
    let missing = drain(&sinks, &acknowledged);
    assert!(
        missing.is_empty(),
        "seed {seed}: {} of {} acknowledged messages do not arrive, {} are in the queue: {:?} ..",
        missing.len(),
        acknowledged.len(),
        relay.queued().len(),
        missing.iter().take(10).collect::<Vec<_>>(),
    );
    wait_until("the queue is empty", || relay.queued().is_empty());
    assert_verified(&relay);
    let delivered = Delivered::of(&sinks);
    Outcome {
        kills,
        acknowledged: acknowledged.len(),
        deliveries: delivered.transactions,
        duplicates: delivered.duplicates,
        connections_cut,
        checked,
    }
}

/// A relay that does not live to listen, or hardly: what a start repairs is cut off as well.
fn kill_at_start(relay: &Relay, random: &mut Random) {
    let mut child = Command::new(BINARY)
        .args(["run", "--config"])
        .arg(relay.config())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the relay starts");
    thread::sleep(Duration::from_millis(random.within(0..80)));
    child.kill().expect("killed");
    child.wait().expect("ended");
}

/// Waits as long as deliveries come in; returns what is missing then.
fn drain(sinks: &[Sink], acknowledged: &Acknowledged) -> Vec<(String, String)> {
    let (mut count, mut since) = (0, Instant::now());
    loop {
        let missing = Delivered::of(sinks).missing(acknowledged);
        let now = sinks.iter().map(Sink::count).sum();
        if now != count {
            (count, since) = (now, Instant::now());
        }
        if missing.is_empty() || since.elapsed() > PATIENCE {
            return missing;
        }
        thread::sleep(Duration::from_millis(500));
    }
}

fn start_relay(relayhost: Option<u16>) -> Relay {
    let mut relay = Relay::prepare(LOOPBACK, 0);
    let mut config = base_config(relay.port, relayhost.unwrap_or_default());
    if relayhost.is_none() {
        config = config.replace("relayhost = \"[127.0.0.1]:0\"\n", "");
    }
    relay.write_config(&format!(
        "{LOOPBACK}minimal_backoff_time = \"1s\"\nqueue_run_delay = \"1s\"\nlog_level = \"warn\"\n{config}"
    ));
    relay.spawn();
    relay
}
