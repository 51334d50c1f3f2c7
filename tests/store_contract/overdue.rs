//! Overdue mail of a destination that rests: what every store finds of it, and how it walks.

use estafette::mail::queue_id::QueueId;
use estafette::queue::entry::{Lease, Settlement};
use estafette::queue::{Draft, Store};
use estafette::time::Timestamp;
use estafette::wire::path::ReversePath;

use super::common::{self, ARRIVED, done, enqueue, retry, seconds};

/// Nobody is to be warned.
const NOBODY: Timestamp = Timestamp(i64::MIN);

/// The part of the contract that is about overdue mail; `make` gives an empty store.
pub(super) async fn contract<S: Store>(make: impl Fn() -> S) {
    destination_that_does_not_rest_has_nothing_overdue(&make()).await;
    expired_message_is_leased_while_its_destination_rests(&make()).await;
    sender_is_to_be_told_once_and_nothing_else_changes(&make()).await;
    null_reverse_path_and_holds_are_left_alone(&make()).await;
    walk_in_pieces_finds_everything_once(&make()).await;
}

fn at(after_seconds: u64) -> Timestamp {
    ARRIVED.plus(seconds(after_seconds))
}

/// Lets the destination rest until 1,000,000 seconds after the arrival.
async fn rest<S: Store>(store: &S) {
    store.back_off("x.example", at(1_000_000), "no route").await.unwrap();
}

/// Everything overdue at that time, in pieces of `limit`.
async fn walk<S: Store>(store: &S, now: Timestamp, arrived_by: Timestamp, limit: usize) -> Vec<Lease> {
    let (mut leases, mut after) = (Vec::new(), None);
    for _ in 0..100 {
        let piece = store.overdue("x.example", now, arrived_by, after, limit).await.unwrap();
        assert!(piece.leases.len() <= limit);
        leases.extend(piece.leases);
        after = piece.next;
        if after.is_none() {
            return leases;
        }
    }
    panic!("the walk has no end");
}

async fn destination_that_does_not_rest_has_nothing_overdue<S: Store>(store: &S) {
    enqueue(store, b"x", &["a@x.example"]).await;
    assert_eq!(walk(store, at(500_000), at(500_000), 10).await, []);
    rest(store).await;
    assert_eq!(
        walk(store, at(1_000_000), at(1_000_000), 10).await,
        [],
        "its rest is over"
    );
}

async fn expired_message_is_leased_while_its_destination_rests<S: Store>(store: &S) {
    let id = enqueue(store, b"x", &["a@x.example", "b@y.example"]).await;
    rest(store).await;
    assert_eq!(walk(store, at(431_999), NOBODY, 10).await, [], "its time is not over");
    let lease = walk(store, at(432_000), NOBODY, 10).await.pop().unwrap();
    assert_eq!((lease.id, lease.recipients.len()), (id, 1), "the other is not here");
    assert_eq!(walk(store, at(432_000), NOBODY, 10).await, [], "a lease is exclusive");
    store.settle(lease, vec![done(0)]).await.unwrap();
    let entry = store.list(None, 10).await.unwrap().pop().unwrap();
    assert_eq!(entry.recipients[0].forward_path.to_string(), "b@y.example");
}

async fn sender_is_to_be_told_once_and_nothing_else_changes<S: Store>(store: &S) {
    let id = enqueue(store, b"x", &["a@x.example"]).await;
    rest(store).await;
    let late = at(100);
    assert_eq!(walk(store, late, Timestamp(ARRIVED.0 - 1), 10).await, []);
    let lease = walk(store, late, ARRIVED, 10).await.pop().unwrap();
    assert!(!lease.recipients[0].warned);
    let before = store.list(None, 10).await.unwrap();
    store
        .settle(lease, vec![Settlement::Warned { number: 0 }])
        .await
        .unwrap();
    assert_eq!(store.list(None, 10).await.unwrap(), before, "no attempt, no other time");
    assert_eq!(store.history(id).await.unwrap(), []);
    assert_eq!(walk(store, late, ARRIVED, 10).await, [], "told once");
    let lease = walk(store, at(432_000), ARRIVED, 10).await.pop().unwrap();
    assert!(lease.recipients[0].warned);
    store.settle(lease, vec![retry(0, 500_000)]).await.unwrap();
    assert_eq!(
        walk(store, at(499_999), NOBODY, 10).await,
        [],
        "what is not due is left alone"
    );
}

async fn null_reverse_path_and_holds_are_left_alone<S: Store>(store: &S) {
    let mut ids: Vec<QueueId> = Vec::new();
    for (reverse_path, hold) in [
        (ReversePath::Null, None),
        (common::envelope().reverse_path, Some("kept")),
    ] {
        let mut envelope = common::envelope();
        envelope.reverse_path = reverse_path;
        envelope.hold = hold.map(Into::into);
        let draft = store.begin().await.unwrap();
        let recipients = common::recipients(&["a@x.example"]);
        ids.push(draft.commit(envelope, recipients, ARRIVED, at(432_000)).await.unwrap());
    }
    rest(store).await;
    assert_eq!(walk(store, at(100), ARRIVED, 10).await, []);
    let expired: Vec<QueueId> = walk(store, at(432_000), ARRIVED, 10)
        .await
        .iter()
        .map(|l| l.id)
        .collect();
    assert_eq!(expired, ids[..1]);
}

async fn walk_in_pieces_finds_everything_once<S: Store>(store: &S) {
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(enqueue(store, b"x", &["a@x.example", "b@x.example"]).await);
    }
    rest(store).await;
    let mut found: Vec<QueueId> = walk(store, at(432_000), NOBODY, 2).await.iter().map(|l| l.id).collect();
    found.sort();
    assert_eq!(found, ids);
}
