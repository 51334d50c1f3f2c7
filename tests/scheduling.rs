//! Retries, rests, warnings and jumps of the clock: the scheduler over the model of the queue in paused time, and the real
//! binary with a next hop that is down or says no.

mod common;
#[path = "dialogues/moody_store.rs"]
mod moody_store;
#[path = "scheduling/world.rs"]
mod world;

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::client::Client;
use common::sink::Sink;
use common::{LOOPBACK, Relay, wait_until};
use estafette::queue::Store;
use tokio::time::sleep;
use world::{DAY, HOUR, World, jump, wall};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn dead_destination_costs_a_few_probes_and_touches_no_other_message() {
    let world = World::start(|_| ());
    for _ in 0..500 {
        world.queue("a@hangs.test", "b@dead.test").await;
    }
    sleep(DAY).await;
    let probes = world.names.times("dead.test").len();
    // The first find it dead together; then 300, 600, 1200, 2400 and 4000 seconds.
    let rests = 4 + 24 * 3600 / 3400 + 1;
    assert!(probes <= 5 + rests, "{probes} probes in a day");
    assert!(probes >= 15, "it is probed: {probes}");
    let entries = world.entries().await;
    assert_eq!(entries.len(), 500);
    let touched = entries.iter().filter(|entry| entry.recipients[0].attempts > 0).count();
    assert!(touched <= probes, "{touched} messages touched");
}

#[tokio::test(start_paused = true)]
async fn destination_that_hangs_has_its_first_places_and_hides_no_other() {
    let world = World::start(|_| ());
    for _ in 0..600 {
        world.queue("", "b@hangs.test").await;
    }
    let last = world.queue("", "b@gone.test").await;
    sleep(SECOND).await;
    assert!(
        world.entry(last).await.is_none(),
        "it was tried, failed and was dropped"
    );
    assert_eq!(
        world.names.at_once_max("hangs.test"),
        5,
        "initial_destination_concurrency"
    );
}

#[tokio::test(start_paused = true)]
async fn window_grows_while_a_destination_answers_and_everything_is_delivered_in_time() {
    let world = World::start(|_| ());
    let begun = wall();
    for _ in 0..2_000 {
        world.queue("", "b@gone.test").await;
    }
    while !world.entries().await.is_empty() {
        assert!(
            wall().since(begun) < 10 * SECOND,
            "2,000 deliveries of 10 ms, 20 at once"
        );
        sleep(SECOND / 10).await;
    }
    assert_eq!(world.names.at_once_max("gone.test"), 20, "grown to the limit");
}

#[tokio::test(start_paused = true)]
async fn expired_mail_of_a_resting_destination_is_returned_without_an_attempt_of_its_own() {
    let world = World::start(|_| ());
    // Somebody who keeps the destination probed.
    for _ in 0..20 {
        world.queue("a@hangs.test", "b@dead.test").await;
    }
    sleep(HOUR).await;
    let ids = [
        world.queue_for("a@hangs.test", "late@dead.test", HOUR, None).await,
        world.queue_for("", "null@dead.test", HOUR, None).await,
    ];
    let attempts = |entry: Option<estafette::queue::entry::Entry>| entry.map(|entry| entry.recipients[0].attempts);
    sleep(Duration::from_secs(3599)).await;
    assert_eq!(attempts(world.entry(ids[0]).await), Some(0));
    sleep(Duration::from_secs(4000)).await;
    for id in ids {
        assert_eq!(world.entry(id).await, None, "gone after one more probe");
    }
    let notices = world.notices().await;
    let [bounce] = notices.as_slice() else {
        panic!("the null reverse-path gets none: {notices:?}");
    };
    assert!(
        bounce.contains("Final-Recipient: rfc822; late@dead.test\r\nAction: failed\r\nStatus: 5.4.7"),
        "{bounce}"
    );
    let words = bounce.replace("\r\n    ", " ");
    assert!(
        words.contains("delivery time expired; the last attempt said:"),
        "{bounce}"
    );
    assert!(words.contains("Name service error"), "{bounce}");
}

#[tokio::test(start_paused = true)]
async fn sender_is_warned_once_though_nobody_attempts_the_message() {
    let world = World::start(|queue| queue.delay_warning = 4 * HOUR);
    for _ in 0..20 {
        world.queue("", "b@dead.test").await;
    }
    sleep(HOUR).await;
    world.queue("a@hangs.test", "b@dead.test").await;
    world.queue_for("a@hangs.test", "c@dead.test", DAY, Some("kept")).await;
    sleep(Duration::from_secs(4 * 3600 - 1)).await;
    assert!(world.notices().await.is_empty(), "not before its time");
    sleep(Duration::from_secs(4600)).await;
    sleep(DAY).await;
    let notices = world.notices().await;
    let [warning] = notices.as_slice() else {
        panic!("one warning, for one message: {notices:?}");
    };
    for line in [
        "To: a@hangs.test\r\n",
        "Subject: Delayed Mail (still being retried)\r\n",
        "# THIS IS A WARNING ONLY.  YOU DO NOT NEED TO RESEND YOUR MESSAGE. #\r\n",
        "Your message could not be delivered for more than 4 hour(s).\r\n",
        "It will be retried until it is 5 day(s) old,\r\n",
        "Final-Recipient: rfc822; b@dead.test\r\nAction: delayed\r\nStatus: 4.4.",
        "\r\nWill-Retry-Until: ",
        "Content-Type: text/rfc822-headers\r\n",
        "Subject: hello\r\n",
    ] {
        assert!(warning.contains(line), "{line:?} is missing: {warning}");
    }
    assert!(!warning.contains("the body"), "{warning}");
}

#[tokio::test(start_paused = true)]
async fn delay_warning_time_of_zero_warns_nobody() {
    let world = World::start(|_| ());
    for _ in 0..20 {
        world.queue("a@hangs.test", "b@dead.test").await;
    }
    sleep(2 * DAY).await;
    assert!(world.notices().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn delivery_that_panics_gives_its_place_back_and_its_lease_later() {
    let world = World::start(|_| ());
    for _ in 0..30 {
        world.queue("a@hangs.test", "b@panics.test").await;
    }
    sleep(SECOND).await;
    assert_eq!(world.names.times("panics.test").len(), 30, "each place was given back");
    sleep(Duration::from_secs(290)).await;
    assert_eq!(world.names.times("panics.test").len(), 30, "but no lease");
    sleep(Duration::from_secs(20)).await;
    assert_eq!(
        world.names.times("panics.test").len(),
        60,
        "minimal_backoff_time later they are tried again"
    );
    let gone = world.queue("", "b@gone.test").await;
    sleep(SECOND).await;
    assert!(world.entry(gone).await.is_none(), "others are served");
}

#[tokio::test(start_paused = true)]
async fn bounce_is_queued_with_the_removal_though_no_new_mail_is_taken() {
    let world = World::start(|_| ());
    let id = world.queue("a@hangs.test", "b@gone.test").await;
    world.store.set_mode("draft-full");
    sleep(SECOND).await;
    assert!(world.entry(id).await.is_none(), "it takes the room of the message");
    assert_eq!(world.notices().await.len(), 1);
    assert!(!world.store.has_had_its_way(), "a bounce is no new mail");
    assert_eq!(world.store.open_drafts(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_former_process_saw_relayed_is_reported_and_not_attempted() {
    let world = World::start(|_| ());
    let success = "SUCCESS,FAILURE";
    let id = world
        .queue_asking("a@hangs.test", &["b@gone.test", "c@gone.test"], success)
        .await;
    // Taken before the scheduler wakes up.
    let lease = world.store.due(wall(), 1).await.expect("leases").remove(0);
    assert_eq!(lease.id, id);
    world.store.relayed_unreported(&lease, &[0]).expect("noted");
    world.store.relayed(&lease, &[1]).expect("noted");
    world.store.abandon(lease.id, &lease.destination);
    world.notify();
    sleep(SECOND).await;
    assert!(world.entry(id).await.is_none());
    assert_eq!(world.names.times("gone.test").len(), 0, "nobody was looked for");
    let notices = world.notices().await;
    assert_eq!(notices.len(), 1, "{notices:?}");
    for text in [
        "Action: relayed",
        "Final-Recipient: rfc822; b@gone.test",
        "handed on before this relay was restarted",
    ] {
        assert!(
            notices[0].replace("\r\n    ", " ").contains(text),
            "{text}: {}",
            notices[0]
        );
    }
    assert!(!notices[0].contains("c@gone.test"), "{}", notices[0]);
}

#[tokio::test(start_paused = true)]
async fn probe_that_succeeds_opens_its_destination_to_everything() {
    let world = World::start(|_| ());
    for _ in 0..100 {
        world.queue("", "b@dead.test").await;
    }
    sleep(HOUR).await;
    let probes = world.names.times("dead.test").len();
    world.names.have_no("dead.test");
    sleep(Duration::from_secs(4000)).await;
    assert!(
        world.entries().await.len() <= probes,
        "only what was attempted has to wait for its own time"
    );
    sleep(Duration::from_secs(4000)).await;
    assert!(world.entries().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn clock_set_forward_tries_everything_once_more_before_it_expires() {
    let world = World::start(|_| ());
    let id = world.queue("a@hangs.test", "b@dead.test").await;
    sleep(SECOND).await;
    let tried = world.names.times("dead.test").len();
    jump(6 * 24 * 3600);
    sleep(Duration::from_secs(301)).await;
    assert!(
        world.names.times("dead.test").len() > tried,
        "an attempt after the jump"
    );
    assert!(
        world.entry(id).await.is_none(),
        "the wall clock says that its time is over"
    );
    assert_eq!(world.notices().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn clock_set_forward_by_a_day_retries_early_and_expires_nothing() {
    let world = World::start(|_| ());
    let id = world.queue("a@hangs.test", "b@dead.test").await;
    sleep(SECOND).await;
    let tried = world.names.times("dead.test").len();
    jump(24 * 3600);
    sleep(Duration::from_secs(301)).await;
    let entry = world.entry(id).await.expect("still queued");
    assert!(world.names.times("dead.test").len() > tried);
    let wait = entry.recipients[0].due.since(wall());
    assert!(
        wait <= Duration::from_secs(4000),
        "its age counts, within the bounds: {wait:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn clock_set_back_by_a_day_delays_retries_but_no_new_mail_and_a_flush_ends_it() {
    let world = World::start(|_| ());
    let old = world.queue("a@hangs.test", "b@dead.test").await;
    sleep(SECOND).await;
    let tried = world.names.times("dead.test").len();
    jump(-24 * 3600);
    let new = world.queue("", "b@gone.test").await;
    assert!(new > old, "ids go on rising");
    sleep(SECOND).await;
    assert!(world.entry(new).await.is_none(), "new mail is tried at once");
    sleep(HOUR).await;
    assert_eq!(
        world.names.times("dead.test").len(),
        tried,
        "what was to be retried waits for its time"
    );
    assert!(world.entry(old).await.is_some(), "nothing expires");
    world.store.flush(wall()).await.expect("flushed");
    world.notify();
    sleep(SECOND).await;
    assert!(world.names.times("dead.test").len() > tried, "a flush tries it at once");
}

const MESSAGE: &str = "From: a@example.org\r\nTo: b@example.net\r\nSubject: x\r\n\r\nHello";

/// Retries after a second or two.
const QUICK: &str = "minimal_backoff_time = \"1s\"\nmaximal_backoff_time = \"2s\"\nqueue_run_delay = \"1s\"\n";

fn send(relay: &Relay, to: &str, count: usize) {
    let mut client = Client::connect(relay.address()).expect("connects");
    client.say("EHLO printer.example.org").expect("EHLO");
    for _ in 0..count {
        let reply = client.send("sender@example.org", &[to], MESSAGE).expect("answered");
        assert_eq!(reply.code, 250, "{}", reply.text);
    }
}

#[test]
fn next_hop_that_comes_back_is_found_by_a_probe_and_gets_everything_with_one_warning_each() {
    let port = common::free_port();
    let policy = format!("{LOOPBACK}{QUICK}delay_warning_time = \"3s\"\n");
    let relay = Relay::start(&policy, port);
    send(&relay, "b@example.net", 30);
    let told = || relay.log_text().matches("delay.told").count();
    wait_until("warned", || told() == 30);
    std::thread::sleep(5 * SECOND);
    assert_eq!(told(), 30, "once each, and no warning of a warning");
    let untouched = relay
        .queued()
        .iter()
        .filter(|entry| entry["recipients"][0]["attempts"] == 0)
        .count();
    assert!(untouched > 0, "not every message was attempted");
    let sink = Sink::start_on(port);
    wait_until("delivered without a flush", || sink.count() == 60);
    wait_until("settled", || relay.queued().is_empty());
    let messages = sink.messages();
    let warnings: Vec<_> = messages
        .iter()
        .filter(|message| message.reverse_path.is_empty())
        .collect();
    assert_eq!(warnings.len(), 30);
    let text = String::from_utf8_lossy(&warnings[0].data).into_owned();
    assert!(
        text.contains("Action: delayed") && text.contains("Will-Retry-Until: "),
        "{text}"
    );
}

#[test]
fn recipient_that_is_deferred_is_warned_of_once_and_returned_in_the_end() {
    let sink = Sink::start();
    let policy = format!("{LOOPBACK}{QUICK}delay_warning_time = \"2s\"\nmaximal_queue_lifetime = \"7s\"\n");
    let relay = Relay::start(&policy, sink.port);
    send(&relay, "defer@example.net", 1);
    wait_until("warned and bounced", || sink.count() == 2);
    wait_until("settled", || relay.queued().is_empty());
    let messages = sink.messages();
    let texts: Vec<_> = messages
        .iter()
        .map(|message| String::from_utf8_lossy(&message.data))
        .collect();
    assert!(
        texts[0].contains("Action: delayed") && texts[0].contains("Status: 4.7.1"),
        "{}",
        texts[0]
    );
    assert!(
        texts[1].contains("Action: failed") && texts[1].contains("Status: 5.4.7"),
        "{}",
        texts[1]
    );
    let attempts = relay.log_text().matches("delivery.deferred").count();
    assert!(
        (3..=8).contains(&attempts),
        "{attempts} attempts in seven seconds, a second or two between them"
    );
}

/// How many connections a relay with these directives opens to a next hop that never says a word.
fn connections_at_once(directives: &str) -> usize {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let relay = Relay::start(
        &format!("{LOOPBACK}{directives}"),
        listener.local_addr().expect("bound").port(),
    );
    send(&relay, "b@example.net", 10);
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&accepted);
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming().flatten() {
            open.push(stream);
            counter.store(open.len(), Ordering::Relaxed);
        }
    });
    wait_until("connected", || accepted.load(Ordering::Relaxed) > 0);
    std::thread::sleep(SECOND);
    accepted.load(Ordering::Relaxed)
}

#[test]
fn deliveries_at_once_are_those_of_the_directives() {
    let limit = "smtp_destination_concurrency_limit = 2\n";
    assert_eq!(connections_at_once(limit), 2);
    assert_eq!(connections_at_once("default_destination_concurrency_limit = 3\n"), 3);
    assert_eq!(connections_at_once("initial_destination_concurrency = 1\n"), 1);
}

/// How long a message takes once 700 others wait for their first delivery, or rest.
fn time_of_one_more(directives: &str, next_hop: u16) -> Duration {
    let relay = Relay::start(&format!("{LOOPBACK}{directives}"), next_hop);
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| send(&relay, "b@example.net", 70));
        }
    });
    let mut client = Client::connect(relay.address()).expect("connects");
    client.say("EHLO printer.example.org").expect("EHLO");
    let begun = Instant::now();
    let reply = client.send("sender@example.org", &["b@example.net"], MESSAGE);
    assert_eq!(reply.expect("answered").code, 250);
    begun.elapsed()
}

#[test]
fn message_waits_for_deliveries_that_lag_but_not_for_a_dead_destination() {
    // Connections are made and nobody says a word.
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let silent = listener.local_addr().expect("bound").port();
    let delay = 2 * SECOND;
    let slow = "in_flow_delay = \"2s\"\n";
    let waited = time_of_one_more(slow, silent);
    assert!(waited >= delay, "{waited:?}");
    let waited = time_of_one_more("in_flow_delay = 0\n", silent);
    assert!(waited < delay, "switched off: {waited:?}");
    let waited = time_of_one_more(slow, common::free_port());
    assert!(waited < delay, "its destination is dead: {waited:?}");
}

/// A next hop that takes connections, says this, if anything, and closes; returns its port.
fn turns_all_away(greeting: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(greeting.as_bytes());
        }
    });
    port
}

#[test]
fn dead_next_hop_costs_one_attempt_per_rest_however_much_waits() {
    let dead = common::free_port();
    for next_hop in [
        dead,
        turns_all_away(""),
        turns_all_away("421 4.3.2 come back later\r\n"),
    ] {
        costs_one_attempt_per_rest(next_hop);
    }
}

fn costs_one_attempt_per_rest(next_hop: u16) {
    let relay = Relay::start(&format!("{LOOPBACK}{QUICK}"), next_hop);
    send(&relay, "b@example.net", 300);
    let rests = || relay.log_text().matches("destination.suspended").count();
    wait_until("a few rests", || rests() >= 5);
    let log = relay.log_text();
    let (attempts, rests) = (
        log.matches("delivery.deferred").count(),
        log.matches("destination.suspended").count(),
    );
    // Those under way together at first, and one that has begun and is not yet told.
    assert!(attempts <= rests + 5, "{attempts} attempts, {rests} rests");
    assert_eq!(relay.queued().len(), 300);
}
