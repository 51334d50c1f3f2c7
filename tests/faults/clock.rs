//! A wall clock that jumps a day either way while the daemon runs, and between two runs.

use crate::common::wait_until;
use crate::world::{LARGE, World};

const DAY: i64 = 86_400;

fn ids(world: &World) -> Vec<String> {
    let id = |entry: &serde_json::Value| entry["queue_id"].as_str().expect("an id").to_owned();
    let queued = world.relay.queued();
    // A warning of a delay may be on its way.
    let mail = queued.iter().filter(|entry| entry["reverse_path"] == "a@example.org");
    mail.map(id).collect()
}

/// Ids stay unique and in order, what is queued stays, and new mail is delivered at once.
fn jumps(first: i64) {
    // A day later its sender would be told of the delay.
    let mut world = World::prepare("delay_warning_time = \"0h\"\n");
    world.spawn();
    assert_eq!(world.send("defer@example.net", 10).code, 250);
    world.expect_deferred();
    let mut known = ids(&world);
    for offset in [first, 0, -first, 0] {
        world.faults(&format!("clock {offset}"));
        for octets in [10, LARGE] {
            assert_eq!(world.send("defer@example.net", octets).code, 250);
            let delivered = world.delivered().len();
            assert_eq!(world.send("b@example.net", octets).code, 250);
            wait_until("new mail is delivered at once", || world.delivered().len() > delivered);
        }
        let now = ids(&world);
        assert_eq!(now.len(), known.len() + 2, "nothing was returned or lost at {offset}");
        assert!(
            now.starts_with(&known),
            "the newer have the greater ids: {known:?} {now:?}"
        );
        known = now;
    }
    world.relay.kill();
    world.faults(&format!("clock {}", -first));
    world.spawn();
    assert_eq!(ids(&world), known);
    assert_eq!(world.send("defer@example.net", 10).code, 250);
    let now = ids(&world);
    assert!(now.len() == known.len() + 1 && now.starts_with(&known), "{now:?}");
    // Whatever the clock had said, a flush makes everything due.
    let tried = world.relay.log_text().matches("delivery.deferred").count();
    let flushed = world.relay.command(&["queue"], &["flush"]);
    assert!(flushed.status.success(), "{}", String::from_utf8_lossy(&flushed.stderr));
    wait_until("everything was tried again", || {
        world.relay.log_text().matches("delivery.deferred").count() >= tried + known.len()
    });
    assert!(
        world.delivered().values().all(|times| *times == 1),
        "nothing is sent twice"
    );
}

#[test]
fn clock_that_jumps_a_day_ahead_and_back_keeps_ids_in_order_and_mail_moving() {
    jumps(DAY);
}

#[test]
fn clock_that_jumps_a_day_back_and_ahead_keeps_ids_in_order_and_mail_moving() {
    jumps(-DAY);
}
