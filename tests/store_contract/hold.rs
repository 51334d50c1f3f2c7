//! Messages on hold: what every store promises of them, and what the embedded one keeps beyond one run.

use std::fs;

use estafette::io::store::list_directory;
use estafette::mail::queue_id::QueueId;
use estafette::queue::entry::NEVER;
use estafette::queue::{Draft, HoldError, Store};

use super::common::{self, ARRIVED, done, enqueue, pattern, retry};
use super::sqlite::data_files;

/// Far beyond the time at which every message of these tests expires.
const LATE: u64 = 10_000_000;

/// The part of the contract that is about holds; `make` gives an empty store.
pub(super) async fn contract<S: Store>(make: impl Fn() -> S) {
    message_on_hold_from_the_start_is_never_due(&make()).await;
    flush_leaves_what_is_on_hold(&make()).await;
    release_makes_every_recipient_due(&make()).await;
    leased_message_is_not_put_on_hold(&make()).await;
    hold_and_release_refuse_in_words(&make()).await;
    release_of_all_goes_on_until_none_is_left(&make()).await;
    hold_of_one_leaves_its_destination_to_others(&make()).await;
}

async fn enqueue_on_hold<S: Store>(store: &S, data: &[u8], to: &[&str]) -> QueueId {
    let mut draft = store.begin().await.unwrap();
    draft.append(data).await.unwrap();
    let mut envelope = common::envelope();
    envelope.hold = Some("UMR5168 is over its limit".into());
    let expires = ARRIVED.plus(common::seconds(432_000));
    draft
        .commit(envelope, common::recipients(to), ARRIVED, expires)
        .await
        .unwrap()
}

async fn assert_nothing_is_due<S: Store>(store: &S) {
    for after in [0, 432_000, LATE] {
        let now = ARRIVED.plus(common::seconds(after));
        assert_eq!(store.due(now, 10).await, Ok(Vec::new()));
        assert_eq!(store.next_due().await, Ok(None));
    }
}

async fn message_on_hold_from_the_start_is_never_due<S: Store>(store: &S) {
    let id = enqueue_on_hold(store, b"x\r\n", &["a@x.example", "b@y.example"]).await;
    assert_nothing_is_due(store).await;
    let entry = store.list(None, 10).await.unwrap().pop().unwrap();
    assert_eq!(
        (entry.id, entry.hold.as_deref()),
        (id, Some("UMR5168 is over its limit"))
    );
    assert!(entry.recipients.iter().all(|recipient| recipient.due == NEVER));
    assert_eq!(store.data(id, 0, 10).await.unwrap(), &b"x\r\n"[..], "its data is kept");
}

async fn flush_leaves_what_is_on_hold<S: Store>(store: &S) {
    let first = enqueue_on_hold(store, b"x", &["a@x.example"]).await;
    let second = enqueue(store, b"x", &["a@x.example"]).await;
    store.hold(second, "a look first").await.unwrap();
    assert_eq!(store.flush(ARRIVED).await, Ok(0));
    assert_nothing_is_due(store).await;
    let entries = store.list(None, 10).await.unwrap();
    let reasons: Vec<_> = entries.iter().map(|entry| (entry.id, entry.hold.as_deref())).collect();
    assert_eq!(
        reasons,
        [
            (first, Some("UMR5168 is over its limit")),
            (second, Some("a look first"))
        ]
    );
}

async fn release_makes_every_recipient_due<S: Store>(store: &S) {
    let id = enqueue(store, b"x", &["a@x.example", "b@y.example"]).await;
    for lease in store.due(ARRIVED, 10).await.unwrap() {
        let number = lease.recipients[0].number;
        store.settle(lease, vec![retry(number, 300)]).await.unwrap();
    }
    store.hold(id, "a look first").await.unwrap();
    let now = ARRIVED.plus(common::seconds(LATE));
    assert_nothing_is_due(store).await;
    store.release(id, now).await.unwrap();
    assert_eq!(store.next_due().await, Ok(Some(now)));
    assert_eq!(store.list(None, 1).await.unwrap()[0].hold, None);
    let leases = store.due(now, 10).await.unwrap();
    let attempts: Vec<u32> = leases.iter().map(|lease| lease.recipients[0].attempts).collect();
    assert_eq!(attempts, [1, 1], "both, and what was tried is remembered");
    for lease in leases {
        let number = lease.recipients[0].number;
        store.settle(lease, vec![done(number)]).await.unwrap();
    }
    assert_eq!(store.list(None, 10).await, Ok(Vec::new()));
}

async fn leased_message_is_not_put_on_hold<S: Store>(store: &S) {
    let id = enqueue(store, b"x", &["a@x.example", "b@y.example"]).await;
    let mut leases = store.due(ARRIVED, 10).await.unwrap();
    let last = leases.pop().unwrap();
    assert_eq!(store.hold(id, "too late").await, Err(HoldError::Leased(id)));
    for lease in leases {
        let number = lease.recipients[0].number;
        store.settle(lease, vec![done(number)]).await.unwrap();
    }
    assert_eq!(
        store.hold(id, "too late").await,
        Err(HoldError::Leased(id)),
        "one is enough"
    );
    let number = last.recipients[0].number;
    store.settle(last, vec![retry(number, 300)]).await.unwrap();
    assert_eq!(store.list(None, 1).await.unwrap()[0].hold, None, "nothing has changed");
    store.hold(id, "in time").await.unwrap();
    assert_nothing_is_due(store).await;
}

async fn hold_and_release_refuse_in_words<S: Store>(store: &S) {
    let id = enqueue(store, b"x", &["a@x.example"]).await;
    let unknown = id.next();
    assert_eq!(store.hold(unknown, "x").await, Err(HoldError::Unknown(unknown)));
    assert_eq!(store.release(unknown, ARRIVED).await, Err(HoldError::Unknown(unknown)));
    assert_eq!(store.release(id, ARRIVED).await, Err(HoldError::NotOnHold(id)));
    store.hold(id, "first").await.unwrap();
    let refused = store.hold(id, "second").await.unwrap_err();
    assert_eq!(refused.to_string(), format!("message {id} is on hold already: first"));
}

async fn release_of_all_goes_on_until_none_is_left<S: Store>(store: &S) {
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(enqueue_on_hold(store, b"x", &["a@x.example"]).await);
    }
    let other = enqueue(store, b"x", &["a@x.example"]).await;
    assert_eq!(store.release_some(ARRIVED, 3).await.unwrap(), ids[..3]);
    assert_eq!(store.release_some(ARRIVED, 3).await.unwrap(), ids[3..]);
    assert_eq!(store.release_some(ARRIVED, 3).await, Ok(Vec::new()));
    let mut due: Vec<_> = store
        .due(ARRIVED, 10)
        .await
        .unwrap()
        .iter()
        .map(|lease| lease.id)
        .collect();
    due.sort_unstable();
    ids.push(other);
    assert_eq!(due, ids);
}

async fn hold_of_one_leaves_its_destination_to_others<S: Store>(store: &S) {
    enqueue_on_hold(store, b"x", &["a@x.example"]).await;
    let other = enqueue(store, b"x", &["b@x.example"]).await;
    let leases = store.due(ARRIVED, 10).await.unwrap();
    assert_eq!(leases.iter().map(|lease| lease.id).collect::<Vec<_>>(), [other]);
}

#[tokio::test]
async fn restart_keeps_what_is_on_hold() {
    let directory = common::directory();
    let store = common::open(directory.path());
    let first = enqueue_on_hold(&store, &pattern(100_000, 1), &["a@x.example"]).await;
    let second = enqueue(&store, b"x", &["a@x.example"]).await;
    store.hold(second, "a look first").await.unwrap();
    let listed = store.list(None, 10).await.unwrap();
    drop(store);
    assert_eq!(list_directory(directory.path(), None, 10).unwrap(), listed);
    let store = common::open(directory.path());
    assert_eq!(store.list(None, 10).await.unwrap(), listed);
    assert_eq!(store.flush(ARRIVED).await, Ok(0));
    assert_nothing_is_due(&store).await;
    assert_eq!(store.release_some(ARRIVED, 10).await.unwrap(), [first, second]);
    drop(store);
    let store = common::open(directory.path());
    assert_eq!(store.due(ARRIVED, 10).await.unwrap().len(), 2, "a release is durable");
}

#[tokio::test]
async fn damaged_message_is_released_only_when_it_is_whole_again() {
    let directory = common::directory();
    let store = common::open(directory.path());
    let id = enqueue_on_hold(&store, &pattern(100_000, 2), &["c@y.example"]).await;
    drop(store);
    let file = data_files(directory.path()).remove(0);
    let octets = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let store = common::open(directory.path());
    let reason = String::from("damaged: its data file is missing");
    let damaged = HoldError::Damaged { id, reason };
    assert_eq!(store.hold(id, "x").await, Err(damaged.clone()));
    assert_eq!(store.release(id, ARRIVED).await, Err(damaged.clone()));
    assert_eq!(store.release_some(ARRIVED, 10).await, Ok(Vec::new()));
    let mut other = octets.clone();
    other[99_999] ^= 1;
    fs::write(&file, other).unwrap();
    assert_eq!(store.release(id, ARRIVED).await, Err(damaged));
    fs::write(&file, octets).unwrap();
    store.release(id, ARRIVED).await.unwrap();
    assert_eq!(store.due(ARRIVED, 10).await.unwrap().len(), 1);
}

/// Holds that compete with looks for due mail: whatever is said to be on hold is in no lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn message_put_on_hold_during_look_ups_is_in_no_lease() {
    let directory = common::directory();
    let store = common::open(directory.path());
    let mut ids = Vec::new();
    for number in 0..200 {
        ids.push(enqueue(&store, b"x", &[&format!("a@d{number}.example")]).await);
    }
    let looking = tokio::spawn({
        let store = store.clone();
        async move {
            let mut leased = Vec::new();
            for _ in 0..100 {
                leased.extend(store.due(ARRIVED, 2).await.unwrap().into_iter().map(|lease| lease.id));
            }
            leased
        }
    });
    let mut held = Vec::new();
    for id in ids.iter().rev() {
        match store.hold(*id, "a look first").await {
            Ok(()) => held.push(*id),
            Err(error) => assert_eq!(error, HoldError::Leased(*id)),
        }
    }
    let leased = looking.await.unwrap();
    assert!(leased.iter().all(|id| !held.contains(id)));
    assert_eq!(leased.len() + held.len(), ids.len(), "each is one or the other");
}

#[tokio::test]
async fn queue_of_the_version_before_is_read_and_migrated() {
    let directory = common::directory();
    let store = common::open(directory.path());
    let fine = enqueue(&store, b"x", &["a@x.example"]).await;
    let damaged = enqueue(&store, b"x", &["b@x.example"]).await;
    drop(store);
    let database = directory.path().join("queue.db");
    let connection = rusqlite::Connection::open(&database).unwrap();
    connection
        .execute_batch(&format!(
            "ALTER TABLE recipient DROP COLUMN dsn_notify; ALTER TABLE recipient DROP COLUMN dsn_orcpt;
             ALTER TABLE message DROP COLUMN login; ALTER TABLE message DROP COLUMN smtputf8;
             ALTER TABLE message DROP COLUMN require_tls; ALTER TABLE message DROP COLUMN dsn_ret;
             ALTER TABLE message DROP COLUMN dsn_envid; DROP INDEX message_in_file; DROP TABLE attempt; ALTER TABLE recipient DROP COLUMN warned;
             DROP INDEX message_held; ALTER TABLE message DROP COLUMN hold; ALTER TABLE message DROP COLUMN damaged;
             UPDATE recipient SET state = 1, due = {}, last_reply = 'held: its envelope cannot be read' WHERE message = {};
             PRAGMA user_version = 1;",
            i64::MAX,
            damaged.number(),
        ))
        .unwrap();
    drop(connection);
    let reasons = |entries: Vec<estafette::queue::entry::Entry>| {
        let pairs = entries.into_iter().map(|entry| (entry.id, entry.hold));
        pairs.collect::<Vec<_>>()
    };
    let expected = [
        (fine, None),
        (damaged, Some("damaged: its envelope cannot be read".to_owned())),
    ];
    assert_eq!(reasons(list_directory(directory.path(), None, 10).unwrap()), expected);
    let version = |connection: rusqlite::Connection| {
        connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))
    };
    assert_eq!(
        version(rusqlite::Connection::open(&database).unwrap()),
        Ok(1),
        "a listing changes nothing"
    );
    let store = common::open(directory.path());
    assert_eq!(reasons(store.list(None, 10).await.unwrap()), expected);
    assert_eq!(
        store.release_some(ARRIVED, 10).await,
        Ok(Vec::new()),
        "it was held as damaged"
    );
    assert_eq!(store.due(ARRIVED, 10).await.unwrap().len(), 1);
}
