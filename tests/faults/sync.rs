//! Writes and fsyncs that fail.

use crate::common::client::Client;
use crate::common::wait_until;
use crate::world::{EDQUOT, EIO, LARGE, World};

/// The first failure: 451 to the group, 421 to new mail, what is safe is delivered, and everybody is told.
fn expect_refusing_and_delivering(world: &mut World) {
    world.expect_logged("queue.refuses_mail");
    world.expect_told("no new mail is taken (421) until a restart");
    let refused = world.send("b@example.net", 10);
    assert!(refused.text.starts_with("421 4.3."), "{}", refused.text);
    world.expect_all_delivered_once();
}

/// A restart on a disk that is sound takes mail again.
fn expect_sound_after_restart(world: &mut World) {
    world.faults("");
    world.relay.kill();
    world.spawn();
    for octets in [10, LARGE] {
        assert_eq!(world.send("b@example.net", octets).code, 250);
    }
    world.expect_all_delivered_once();
    assert!(world.relay.terminate().success());
}

fn fails_once(rule: &str, octets: usize) {
    let mut world = World::start();
    assert_eq!(world.send("b@example.net", octets).code, 250);
    wait_until("the first message is delivered", || world.sink.count() == 1);
    wait_until("its completion is committed", || world.relay.queued().is_empty());
    world.faults(rule);
    let refused = world.send("b@example.net", octets);
    assert!(refused.text.starts_with("451 4.3.0"), "{}", refused.text);
    assert_eq!(world.struck().lines().count(), 1, "{}", world.struck());
    expect_refusing_and_delivering(&mut world);
    assert!(!world.relay.log_text().contains("queue.failed"));
    expect_sound_after_restart(&mut world);
}

#[test]
fn wal_fsync_that_fails_once_stops_new_mail_only() {
    fails_once(&format!("sync -wal 1 1 error {EIO}"), 10);
}

#[test]
fn wal_write_that_fails_once_stops_new_mail_only() {
    fails_once(&format!("write -wal 1 1 error {EIO}"), 10);
}

#[test]
fn wal_write_torn_once_stops_new_mail_only() {
    fails_once(&format!("write -wal 2 1 tear {EIO}"), 10);
}

#[test]
fn data_file_fsync_that_fails_once_stops_new_mail_only() {
    fails_once(&format!("sync data/ 1 1 error {EIO}"), LARGE);
}

#[test]
fn mail_queued_before_the_failure_is_delivered_after_it() {
    let mut world = World::start();
    assert_eq!(world.send("defer@example.net", 10).code, 250);
    world.expect_deferred();
    world.faults(&format!("sync -wal 1 1 error {EIO}"));
    let mut client = Client::connect(world.relay.address()).expect("connects");
    client.say("EHLO printer.example.org").expect("EHLO");
    let refused = world.send_on(&mut client, "b@example.net", 10);
    assert!(refused.text.starts_with("451"), "{}", refused.text);
    // The connection that saw the failure is told to come back as well.
    let refused = world.send_on(&mut client, "b@example.net", 10);
    assert!(refused.text.starts_with("421"), "{}", refused.text);
    let flushed = world.relay.command(&["queue"], &["flush"]);
    assert!(flushed.status.success(), "{}", String::from_utf8_lossy(&flushed.stderr));
    wait_until("it was tried again", || {
        world.relay.log_text().matches("delivery.deferred").count() == 2
    });
    assert_eq!(world.relay.queued().len(), 1);
    assert_eq!(world.sink.count(), 0, "nothing that got 451 was sent");
}

#[test]
fn disk_that_fails_for_ever_ends_the_daemon_with_an_error() {
    for call in ["sync", "write"] {
        let mut world = World::start();
        assert_eq!(world.send("defer@example.net", 10).code, 250);
        world.expect_deferred();
        world.faults(&format!("{call} -wal 1 0 error {EIO}"));
        let refused = world.send("b@example.net", 10);
        assert!(refused.text.starts_with("451 4.3.0"), "{}", refused.text);
        if call == "write" {
            // Opened anew there was nothing to write; the next delivery has something. The answer may be an error.
            world.expect_logged("queue.refuses_mail");
            let _ = world.relay.command(&["queue"], &["flush"]);
        }
        world.expect_failure();
        world.expect_logged("queue.failed");
        world.expect_told("the queue failed, the daemon ends");
        world.faults("");
        world.spawn();
        assert_eq!(world.send("b@example.net", LARGE).code, 250);
        wait_until("it is delivered", || world.sink.count() == 1);
        wait_until("what was refused is not queued, what was acknowledged is", || {
            world.relay.queued().len() == 1
        });
    }
}

#[test]
fn completion_that_cannot_be_committed_is_not_delivered_again_after_a_restart() {
    let mut world = World::start();
    assert_eq!(world.send("b@example.net", 10).code, 250);
    world.expect_all_delivered_once();
    // The first fsync is the message's own, the second that of its completion.
    world.faults(&format!("sync -wal 2 0 error {EIO}"));
    assert_eq!(world.send("b@example.net", 10).code, 250);
    world.expect_failure();
    assert!(!world.struck().is_empty());
    world.faults("");
    world.spawn();
    world.expect_all_delivered_once();
}

#[test]
fn bounce_waits_while_new_mail_is_refused() {
    let mut world = World::start();
    assert_eq!(world.send("defer@example.net", 10).code, 250);
    world.faults(&format!("sync -wal 1 1 error {EIO}"));
    assert_eq!(world.send("fail@example.net", 10).code, 451);
    world.expect_logged("queue.refuses_mail");
    assert_eq!(world.relay.queued().len(), 1);
    assert!(world.relay.terminate().success());
    world.faults("");
    world.spawn();
    assert_eq!(world.send("fail@example.net", 10).code, 250);
    world.expect_logged("bounce.queued");
}

#[test]
fn checkpoint_fsync_error_of_the_database_is_not_swallowed() {
    let mut world = World::start();
    world.faults(&format!("sync queue.db 1 1 error {EIO}"));
    let mut client = Client::connect(world.relay.address()).expect("connects");
    client.say("EHLO printer.example.org").expect("EHLO");
    // Enough for the log to be moved into the database file.
    let mut last = 250;
    for _ in 0..500 {
        last = world.send_on(&mut client, "b@example.net", 30_000).code;
        if last != 250 {
            break;
        }
    }
    assert_eq!(last, 421, "a checkpoint's error has no group of its own");
    assert!(world.struck().contains("sync queue.db"), "{}", world.struck());
    expect_refusing_and_delivering(&mut world);
    expect_sound_after_restart(&mut world);
}

#[test]
fn data_file_that_fails_otherwise_refuses_its_message_only() {
    let mut world = World::start();
    for (rule, code) in [
        (format!("write data/ 2 1 error {EIO}"), 451),
        (format!("write data/ 2 1 tear {EIO}"), 451),
        (format!("rename data/ 1 1 error {EIO}"), 451),
        (format!("create data/ 1 1 error {EIO}"), 451),
        (format!("create data/ 1 1 error {EDQUOT}"), 452),
        (String::from("write data/ 1 0 short 0"), 250),
        (String::from("sync data/ 1 0 delay 100"), 250),
        // A file that stays is an orphan and goes at the next start.
        (format!("unlink data/ 1 0 error {EIO}"), 250),
    ] {
        world.faults(&rule);
        let reply = world.send("b@example.net", LARGE);
        assert_eq!(reply.code, code, "{rule}: {}", reply.text);
        if code == 250 {
            world.expect_all_delivered_once();
        }
        assert!(!world.struck().is_empty(), "{rule} did not strike");
        world.faults("");
        assert_eq!(world.send("b@example.net", LARGE).code, 250, "{rule}");
    }
    world.expect_all_delivered_once();
    assert!(world.relay.terminate().success());
}
