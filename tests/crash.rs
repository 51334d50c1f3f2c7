//! kill -9 in the middle of concurrent load: what was acknowledged is delivered.

mod common;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use common::client::Client;
use common::sink::Sink;
use common::{LOOPBACK, Relay, wait_until};

const ROUNDS: u64 = 25;
const SENDERS: usize = 8;

/// Sends until told to stop; remembers what was acknowledged.
fn send_until(
    stop: &AtomicBool,
    relay: std::net::SocketAddr,
    sender: usize,
    next: &AtomicUsize,
    acknowledged: &Mutex<HashSet<String>>,
) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut client) = Client::connect(relay) else {
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        if client.say("EHLO printer.example.org").is_err() {
            continue;
        }
        for _ in 0..20 {
            let token = format!("token-{sender}-{}", next.fetch_add(1, Ordering::Relaxed));
            // Some messages are above the inline limit, so that files of their own are cut off too.
            let filler = if token.ends_with('7') {
                "x".repeat(70).repeat(800)
            } else {
                "small".into()
            };
            let lines: String = filler
                .as_bytes()
                .chunks(70)
                .map(|c| format!("{}\r\n", String::from_utf8_lossy(c)))
                .collect();
            let data = format!("Subject: {token}\r\n\r\n{lines}end");
            match client.send("a@example.org", &["b@example.net"], &data) {
                Ok(reply) if reply.code == 250 => acknowledged.lock().expect("set").insert(token),
                _ => break,
            };
        }
    }
}

#[test]
fn acknowledged_messages_survive_kill_9_in_the_middle_of_load() {
    let sink = Sink::start();
    let mut relay = Relay::start(LOOPBACK, sink.port);
    let address = relay.address();
    let stop = Arc::new(AtomicBool::new(false));
    let (next, acknowledged) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(HashSet::new())));
    let senders: Vec<_> = (0..SENDERS)
        .map(|n| {
            let (stop, next, acknowledged) = (Arc::clone(&stop), Arc::clone(&next), Arc::clone(&acknowledged));
            thread::spawn(move || send_until(&stop, address, n, &next, &acknowledged))
        })
        .collect();
    for round in 0..ROUNDS {
        // Moments that differ from round to round, from the middle of start-up to the middle of full load.
        thread::sleep(Duration::from_millis(40 + (round * 37) % 260));
        relay.kill();
        relay.spawn();
    }
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.join().expect("sender");
    }
    let acknowledged = acknowledged.lock().expect("set").clone();
    assert!(acknowledged.len() > 100, "the load was real: {}", acknowledged.len());
    let delivered = || -> HashSet<String> {
        let subject = |data: &[u8]| {
            let text = String::from_utf8_lossy(data);
            text.lines()
                .find_map(|line| line.strip_prefix("Subject: ").map(str::to_owned))
        };
        sink.messages()
            .iter()
            .filter_map(|message| subject(&message.data))
            .collect()
    };
    wait_until("every acknowledged message", || {
        thread::sleep(Duration::from_millis(200));
        acknowledged.is_subset(&delivered())
    });
    wait_until("the queue is empty", || relay.queued().is_empty());
    let bodies_are_whole = sink.messages().iter().all(|message| message.data.ends_with(b"end\r\n"));
    assert!(bodies_are_whole, "no message was cut");
    let duplicates = sink.count() - delivered().len();
    // At a kill at most so many deliveries to one destination are between their final dot and its record.
    assert!(
        duplicates <= usize::try_from(ROUNDS).expect("small") * 20,
        "{duplicates} delivered twice"
    );
    eprintln!(
        "{} acknowledged, {} delivered, {duplicates} twice, {ROUNDS} kills",
        acknowledged.len(),
        sink.count()
    );
}
