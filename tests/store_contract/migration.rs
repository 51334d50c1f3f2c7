//! A queue of schema 4 is brought to schema 5 whole, whichever call fails on the way, and a process that ends in the midst of it
//! has changed nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use estafette::io::store::{SqliteStore, list_directory};
use estafette::mail::queue_id::QueueId;
use estafette::queue::Store;
use estafette::queue::entry::{Entry, PastAttempt};
use rusqlite::Connection;

use super::common::{self, ARRIVED, done, enqueue, pattern, read_all, retry, seconds};
use super::nth_fault::under_faults;
use super::shim;

const DIRECTORY: &str = "ESTAFETTE_TEST_MIGRATION_DIRECTORY";
/// A migration makes fewer calls of a kind than this.
const CALLS_MAX: usize = 300;

const TO_VERSION_4: &str = "
    ALTER TABLE recipient DROP COLUMN dsn_notify; ALTER TABLE recipient DROP COLUMN dsn_orcpt;
    ALTER TABLE message DROP COLUMN login; ALTER TABLE message DROP COLUMN smtputf8;
    ALTER TABLE message DROP COLUMN require_tls; ALTER TABLE message DROP COLUMN dsn_ret;
    ALTER TABLE message DROP COLUMN dsn_envid; PRAGMA user_version = 4;";

/// Everything that a queue can hold: small and large mail, retried with its history, on hold, at a destination that rests.
async fn make(directory: &Path) {
    let store = common::open(directory);
    enqueue(&store, b"small", &["a@x.example", "b@x.example"]).await;
    enqueue(&store, &pattern(70_000, 1), &["a@y.example"]).await;
    let held = enqueue(&store, b"held", &["a@z.example"]).await;
    store.hold(held, "a human said so").await.unwrap();
    for lease in store.due(ARRIVED, 10).await.unwrap() {
        let settlements = lease.recipients.iter().map(|r| retry(r.number, 300)).collect();
        store.settle(lease, settlements).await.unwrap();
    }
    store
        .back_off("x.example", ARRIVED.plus(seconds(60)), "connection refused")
        .await
        .unwrap();
    drop(store);
    Connection::open(directory.join("queue.db"))
        .unwrap()
        .execute_batch(TO_VERSION_4)
        .unwrap();
}

/// All of it.
type Contents = (Vec<Entry>, Vec<(QueueId, Vec<PastAttempt>, usize)>);

async fn contents(store: &SqliteStore) -> Contents {
    let entries = store.list(None, 100).await.unwrap();
    let mut rest = Vec::new();
    for entry in &entries {
        let octets = read_all(store, entry.id).await.unwrap().len();
        rest.push((entry.id, store.history(entry.id).await.unwrap(), octets));
    }
    (entries, rest)
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

fn version(directory: &Path) -> i64 {
    let connection = Connection::open(directory.join("queue.db")).unwrap();
    connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap()
}

#[tokio::test]
#[ignore = "the child of whichever_call_fails_in_a_migration, which starts it under the library of faults"]
async fn child_migrates_whichever_call_fails() {
    let base = PathBuf::from(std::env::var(DIRECTORY).expect("started by the other test"));
    let (control, old) = (base.join("faults"), base.join("old"));
    shim::set(&control, "");
    make(&old).await;
    copy(&old, &base.join("queue"));
    let expected = contents(&common::open(&base.join("queue"))).await;
    assert_eq!((expected.0.len(), version(&base.join("queue"))), (3, 5));
    for fault in [
        "sync * % 1 error 5",
        "write * % 1 error 5",
        "write * % 1 tear 5",
        "write * % 1 error 28",
        "write * % 1 short 0",
        "create * % 1 error 5",
        "rename * % 1 error 5",
        "allocate * % 1 error 5",
        "unlink * % 1 error 5",
    ] {
        for nth in 1.. {
            let rule = fault.replace('%', &nth.to_string());
            let queue = base.join("queue");
            std::fs::remove_dir_all(&queue).unwrap();
            copy(&old, &queue);
            shim::set(&control, &rule);
            drop(SqliteStore::open_with(
                &common::settings(&queue),
                common::clock,
                common::options(),
            ));
            let struck = shim::struck(&control);
            shim::set(&control, "");
            let store = common::open(&queue);
            assert!(contents(&store).await == expected, "{rule}");
            drop(store);
            assert_eq!(version(&queue), 5, "{rule}");
            if struck.is_empty() {
                println!("{fault}: {} calls", nth - 1);
                break;
            }
            assert!(nth < CALLS_MAX, "a migration has an end");
        }
    }
}

#[test]
fn whichever_call_fails_in_a_migration_everything_is_there() {
    under_faults("migration::child_migrates_whichever_call_fails", DIRECTORY);
}

#[tokio::test]
async fn process_that_ends_within_the_migration_has_changed_nothing() {
    let directory = common::directory();
    let (old, crashed) = (directory.path().join("old"), directory.path().join("crashed"));
    make(&old).await;
    let before = list_directory(&old, None, 10).unwrap();
    // Half of the migration, with its pages in the log and no commit behind them.
    let connection = Connection::open(old.join("queue.db")).unwrap();
    connection
        .execute_batch(
            "PRAGMA cache_size = 0; PRAGMA cache_spill = 1; BEGIN IMMEDIATE; ALTER TABLE message ADD COLUMN login TEXT;
             UPDATE message SET login = 'nobody'; PRAGMA user_version = 5;",
        )
        .unwrap();
    copy(&old, &crashed);
    drop(connection);
    assert_eq!(list_directory(&crashed, None, 10).unwrap(), before);
    let store = common::open(&crashed);
    assert_eq!(store.list(None, 10).await.unwrap(), before);
    assert!(before.iter().all(|entry| entry.submitter.login.is_none()));
    let late = ARRIVED.plus(seconds(100_000));
    for lease in store.due(late, 10).await.unwrap() {
        let all = lease.recipients.iter().map(|r| done(r.number)).collect();
        store.settle(lease, all).await.unwrap();
    }
    let left = store.list(None, 10).await.unwrap();
    assert!(
        left.iter()
            .all(|entry| entry.hold.is_some() || entry.recipients.iter().all(|r| r.destination == "x.example"))
    );
}
