//! A long queue: what is in memory does not grow with it, and others do not wait behind it.

use std::collections::BTreeSet;

use estafette::queue::Store;

use super::common::{self, ARRIVED, enqueue};

const MESSAGES: i64 = 100_000;
const DESTINATIONS: i64 = 1_000;
/// Resident memory may grow by this much, octets.
const GROWTH_MAX: u64 = 48 << 20;

fn resident_octets() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Copies the one message that is queued: all but one in a hundred go to the first destination.
fn multiply(database: &std::path::Path) {
    let connection = rusqlite::Connection::open(database).unwrap();
    let envelope = "arrived, expires, reverse_path, body, size, crc32c, inline, session_id, identity, decided_by";
    connection
        .execute_batch(&format!(
            "BEGIN;
             CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MESSAGES})
                 SELECT i FROM n;
             INSERT INTO destination (name) SELECT 'd' || i || '.example' FROM n WHERE i < {DESTINATIONS};
             INSERT INTO message (id, {envelope}) SELECT id + i, {envelope} FROM message CROSS JOIN n;
             INSERT INTO recipient (destination, due, message, n, forward_path)
                 SELECT CASE i % 100 WHEN 0 THEN 2 + i / 100 % {} ELSE destination END, due, message + i, 0, forward_path
                 FROM recipient CROSS JOIN n;
             COMMIT;",
            DESTINATIONS - 1
        ))
        .unwrap();
}

#[tokio::test]
async fn dead_destination_with_many_messages_costs_one_probe_and_no_memory() {
    let directory = common::directory();
    let store = common::open(directory.path());
    let first = enqueue(&store, b"x", &["a@dead.example"]).await;
    let until = ARRIVED.plus(common::seconds(600));
    store.back_off("dead.example", until, "no route").await.unwrap();
    drop(store);
    multiply(&directory.path().join("queue.db"));
    let before = resident_octets();
    let store = common::open(directory.path());
    let leases = store.due(ARRIVED, 1_000).await.unwrap();
    let served: BTreeSet<&str> = leases.iter().map(|lease| lease.destination.as_str()).collect();
    assert!(
        leases.len() >= 900 && !served.contains("dead.example"),
        "{}",
        leases.len()
    );
    assert_eq!(store.next_due().await, Ok(Some(until)));
    let probe = store.due(until, 1_000).await.unwrap();
    assert_eq!(
        probe.iter().map(|lease| (lease.id, lease.is_probe)).collect::<Vec<_>>(),
        [(first, true)]
    );
    assert_eq!(store.due(until, 1_000).await, Ok(Vec::new()));
    let growth = resident_octets().saturating_sub(before);
    assert!(growth < GROWTH_MAX, "{growth} octets more in memory");
}
