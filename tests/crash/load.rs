//! Concurrent senders over real SMTP, and what the relay has acknowledged to them.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::message;
use super::random::Random;
use crate::common::client::Client;
use crate::common::sink::{Received, Sink};
use crate::common::{Relay, wait_until};

/// Messages on one connection at most.
const MESSAGES_PER_CONNECTION: u64 = 20;

/// Messages by token, each with its recipients.
pub type Acknowledged = BTreeMap<String, Vec<String>>;

/// Where the load goes and how.
#[derive(Clone)]
pub struct Load {
    /// The relay.
    pub relay: SocketAddr,
    /// Where alice's certificate lies; every second sender shows it.
    pub certificates: PathBuf,
    /// One to four of them are drawn for each message.
    pub recipients: Vec<String>,
    acknowledged: Arc<Mutex<Acknowledged>>,
    numbers: Arc<AtomicU64>,
}

impl Load {
    pub fn new(relay: SocketAddr, certificates: PathBuf, recipients: &[&str]) -> Self {
        Self {
            relay,
            certificates,
            recipients: recipients.iter().map(|&recipient| recipient.to_owned()).collect(),
            acknowledged: Arc::default(),
            numbers: Arc::default(),
        }
    }

    /// What was answered 250 until now.
    pub fn acknowledged(&self) -> Acknowledged {
        self.acknowledged.lock().expect("acknowledged").clone()
    }

    /// Starts senders.
    pub fn start(&self, senders: usize, random: &mut Random) -> Senders {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..senders)
            .map(|number| {
                let (load, stop, mut random) = (self.clone(), Arc::clone(&stop), Random::new(random.next()));
                thread::spawn(move || load.send_until(&stop, number, &mut random))
            })
            .collect();
        Senders { stop, threads }
    }

    fn send_until(&self, stop: &AtomicBool, sender: usize, random: &mut Random) {
        while !stop.load(Ordering::Relaxed) {
            let Some(mut client) = self.connect(sender) else {
                thread::sleep(Duration::from_millis(5));
                continue;
            };
            for _ in 0..MESSAGES_PER_CONNECTION {
                if stop.load(Ordering::Relaxed) || !self.send(&mut client, sender, random) {
                    break;
                }
            }
        }
    }

    fn connect(&self, sender: usize) -> Option<Client> {
        let mut client = Client::connect(self.relay).ok()?;
        client.say("EHLO printer.example.org").ok()?;
        if sender % 2 == 1 {
            client = client.start_tls(&self.certificates, Some("alice")).ok()?;
            client.say("EHLO printer.example.org").ok()?;
        }
        Some(client)
    }

    fn send(&self, client: &mut Client, sender: usize, random: &mut Random) -> bool {
        let token = message::token(sender, self.numbers.fetch_add(1, Ordering::Relaxed), random);
        let last = usize::try_from(random.next() % 4).expect("small");
        let offset = usize::try_from(random.next() % 1_000).expect("small");
        let mut recipients: Vec<_> = (0..=last)
            .map(|n| self.recipients[(offset + n) % self.recipients.len()].clone())
            .collect();
        recipients.dedup();
        let paths: Vec<&str> = recipients.iter().map(String::as_str).collect();
        match client.send("a@example.org", &paths, &message::text(&token)) {
            Ok(reply) if reply.code == 250 => {
                let mut acknowledged = self.acknowledged.lock().expect("acknowledged");
                acknowledged.insert(token, recipients);
                true
            }
            _ => false,
        }
    }
}

/// Senders at work.
pub struct Senders {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Senders {
    /// Lets each end its message, and waits for that.
    pub fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("a sender");
        }
    }
}

impl Drop for Senders {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Makes all queued mail due. The daemon listens for mail a moment before it does for commands.
pub fn flush(relay: &Relay) {
    wait_until("queue flush", || relay.command(&["queue"], &["flush"]).status.success());
}

/// What sinks got.
#[derive(Default)]
pub struct Delivered {
    /// Token and recipient.
    pub pairs: HashSet<(String, String)>,
    /// Transactions with a recipient that had the message already.
    pub duplicates: usize,
    /// Transactions.
    pub transactions: usize,
}

impl Delivered {
    /// # Panics
    /// When a message was not delivered as it was sent.
    pub fn of(sinks: &[Sink]) -> Self {
        let mut found = Self::default();
        for received in sinks.iter().flat_map(Sink::messages) {
            found.add(&received);
        }
        found
    }

    fn add(&mut self, received: &Received) {
        let token = String::from_utf8_lossy(&received.data).into_owned();
        assert!(token.starts_with("token-"), "a message was changed: {token}");
        let fresh = received
            .forward_paths
            .iter()
            .map(|path| self.pairs.insert((token.clone(), path.clone())));
        let fresh: Vec<bool> = fresh.collect();
        self.duplicates += usize::from(fresh.contains(&false));
        self.transactions += 1;
    }

    /// What of the acknowledged mail has not arrived, by token and recipient.
    pub fn missing(&self, acknowledged: &Acknowledged) -> Vec<(String, String)> {
        acknowledged
            .iter()
            .flat_map(|(token, recipients)| {
                recipients
                    .iter()
                    .map(move |recipient| (token.clone(), recipient.clone()))
            })
            .filter(|pair| !self.pairs.contains(pair))
            .collect()
    }
}
