//! Mail that is delivered from memory, turns of senders, rests and probes: what every store promises of them.

use estafette::mail::queue_id::QueueId;
use estafette::queue::{Draft, Store, StoreError};
use estafette::time::Timestamp;
use estafette::wire::path::ReversePath;

use super::common::{self, ARRIVED, done, enqueue, retry};

/// The part of the contract; `make` gives an empty store.
pub(super) async fn contract<S: Store>(make: impl Fn() -> S) {
    new_mail_waits_in_memory_and_is_given_out_once(&make()).await;
    sender_of_one_message_is_not_delayed_by_a_sender_of_many(&make()).await;
    senders_take_turns_in_the_store_too(&make()).await;
    certificate_tells_senders_apart(&make()).await;
    fresh_mail_comes_first_and_retries_are_not_starved(&make()).await;
    rest_ends_with_one_probe(&make()).await;
    failures_that_come_together_count_once(&make()).await;
    probe_settled_without_a_rest_opens_its_destination(&make()).await;
    abandoned_lease_is_due_again_and_cannot_be_settled(&make()).await;
    abandoned_probe_is_followed_by_another(&make()).await;
    what_the_next_hop_took_is_not_given_out_again(&make()).await;
    relayed_outweighs_a_retry(&make()).await;
    message_that_waits_in_memory_can_be_put_on_hold(&make()).await;
}

async fn enqueue_from<S: Store>(store: &S, from: &str, fingerprint: Option<&str>, to: &str) -> QueueId {
    let mut draft = store.begin().await.unwrap();
    draft.append(b"x\r\n").await.unwrap();
    let mut envelope = common::envelope();
    envelope.reverse_path = ReversePath::parse(&format!("<{from}>")).unwrap();
    envelope.submitter.fingerprint = fingerprint.map(str::to_owned);
    let expires = ARRIVED.plus(common::seconds(432_000));
    let recipients = common::recipients(&[to]);
    draft.commit(envelope, recipients, ARRIVED, expires).await.unwrap()
}

/// The place of a message in the order in which single looks give them out.
async fn place_of<S: Store>(store: &S, id: QueueId) -> Option<usize> {
    for place in 0..20 {
        let lease = store.due(ARRIVED, 1).await.unwrap().pop()?;
        if lease.id == id {
            return Some(place);
        }
    }
    None
}

async fn new_mail_waits_in_memory_and_is_given_out_once<S: Store>(store: &S) {
    for to in ["a@x.example", "b@x.example", "c@y.example"] {
        enqueue(store, b"data\r\n", &[to]).await;
    }
    assert_eq!(store.fresh_waiting(), 3);
    assert_eq!(store.next_due().await, Ok(Some(ARRIVED)));
    let mut leases = store.due(ARRIVED, 2).await.unwrap();
    assert_eq!((leases.len(), store.fresh_waiting()), (2, 1));
    leases.extend(store.due(ARRIVED, 10).await.unwrap());
    assert_eq!((leases.len(), store.fresh_waiting()), (3, 0));
    assert_eq!(store.due(ARRIVED, 10).await, Ok(Vec::new()));
    for lease in leases {
        assert!(!lease.is_probe && lease.failures == 0);
        let id = lease.id;
        assert_eq!(store.data(id, 1, 3).await.unwrap(), &b"ata"[..]);
        assert_eq!(store.data(id, 6, 3).await.unwrap(), &b""[..]);
        store.settle(lease, vec![done(0)]).await.unwrap();
        assert!(store.data(id, 0, 3).await.is_err(), "it went with its lease");
    }
    // On hold from the start, nothing is fresh.
    assert_eq!(store.fresh_waiting(), 0);
}

async fn sender_of_one_message_is_not_delayed_by_a_sender_of_many<S: Store>(store: &S) {
    for _ in 0..300 {
        enqueue_from(store, "many@example.org", None, "a@x.example").await;
    }
    let one = enqueue_from(store, "one@example.org", None, "a@x.example").await;
    assert!(place_of(store, one).await.unwrap() <= 2);
}

async fn senders_take_turns_in_the_store_too<S: Store>(store: &S) {
    let until = ARRIVED.plus(common::seconds(600));
    store.back_off("x.example", until, "no route").await.unwrap();
    for _ in 0..300 {
        enqueue_from(store, "many@example.org", None, "a@x.example").await;
    }
    let one = enqueue_from(store, "one@example.org", None, "a@x.example").await;
    assert_eq!(store.fresh_waiting(), 0, "memory stays flat with a dead next hop");
    store.flush(ARRIVED).await.unwrap();
    assert!(place_of(store, one).await.unwrap() <= 2);
}

async fn certificate_tells_senders_apart<S: Store>(store: &S) {
    for number in 0..50 {
        enqueue_from(store, &format!("{number}@example.org"), Some("AA"), "a@x.example").await;
    }
    let one = enqueue_from(store, "0@example.org", Some("BB"), "a@x.example").await;
    assert!(place_of(store, one).await.unwrap() <= 2, "fifty addresses, one holder");
}

async fn fresh_mail_comes_first_and_retries_are_not_starved<S: Store>(store: &S) {
    for _ in 0..40 {
        enqueue(store, b"x", &["a@x.example"]).await;
    }
    for lease in store.due(ARRIVED, 100).await.unwrap() {
        store.settle(lease, vec![retry(0, 10)]).await.unwrap();
    }
    for _ in 0..40 {
        enqueue(store, b"x", &["a@x.example"]).await;
    }
    let now = ARRIVED.plus(common::seconds(10));
    let mut tried = Vec::new();
    for _ in 0..5 {
        tried.extend(
            store
                .due(now, 8)
                .await
                .unwrap()
                .iter()
                .map(|lease| lease.recipients[0].attempts),
        );
    }
    assert_eq!(tried.len(), 40);
    let retries = tried.iter().filter(|attempts| **attempts == 1).count();
    assert!((5..=20).contains(&retries), "{tried:?}");
    assert_eq!(tried[0], 0, "fresh mail comes first");
    // One at a time is no way to starve them either.
    let mut single = Vec::new();
    for _ in 0..8 {
        single.extend(
            store
                .due(now, 1)
                .await
                .unwrap()
                .iter()
                .map(|lease| lease.recipients[0].attempts),
        );
    }
    assert!(single.contains(&0) && single.contains(&1), "{single:?}");
}

fn after(seconds: u64) -> Timestamp {
    ARRIVED.plus(common::seconds(seconds))
}

async fn rest_ends_with_one_probe<S: Store>(store: &S) {
    for _ in 0..5 {
        enqueue(store, b"x", &["a@dead.example"]).await;
    }
    assert_eq!(store.fresh_waiting(), 5);
    store.back_off("dead.example", after(60), "no route").await.unwrap();
    assert_eq!(store.fresh_waiting(), 0, "what waited in memory rests with the others");
    assert_eq!(store.due(after(59), 10).await, Ok(Vec::new()));
    assert_eq!(store.next_due().await, Ok(Some(after(60))));
    let probe = store.due(after(60), 10).await.unwrap();
    assert_eq!(probe.len(), 1, "the probe");
    assert_eq!((probe[0].is_probe, probe[0].failures), (true, 1));
    enqueue(store, b"x", &["a@dead.example"]).await;
    assert_eq!(store.due(after(61), 10).await, Ok(Vec::new()));
    assert_eq!(store.next_due().await, Ok(None), "until it has told");
    store.back_off("dead.example", after(180), "no route").await.unwrap();
    for lease in probe {
        store.settle(lease, vec![retry(0, 100)]).await.unwrap();
    }
    assert_eq!(store.due(after(179), 10).await, Ok(Vec::new()));
    assert_eq!(store.next_due().await, Ok(Some(after(180))));
    let probe = store.due(after(180), 10).await.unwrap();
    assert_eq!(probe.len(), 1);
    assert_eq!((probe[0].is_probe, probe[0].failures), (true, 2));
    store.back_off("dead.example", Timestamp::default(), "").await.unwrap();
    for lease in probe {
        store.settle(lease, vec![done(0)]).await.unwrap();
    }
    let rest = store.due(after(180), 10).await.unwrap();
    assert_eq!(rest.len(), 5);
    assert!(rest.iter().all(|lease| !lease.is_probe && lease.failures == 0));
}

async fn failures_that_come_together_count_once<S: Store>(store: &S) {
    for _ in 0..5 {
        enqueue(store, b"x", &["a@dead.example"]).await;
    }
    for lease in store.due(ARRIVED, 10).await.unwrap() {
        store.back_off("dead.example", after(60), "no route").await.unwrap();
        store.settle(lease, vec![retry(0, 10)]).await.unwrap();
    }
    let probe = store.due(after(60), 10).await.unwrap();
    assert_eq!(probe.iter().map(|lease| lease.failures).collect::<Vec<_>>(), [1]);
}

async fn probe_settled_without_a_rest_opens_its_destination<S: Store>(store: &S) {
    for _ in 0..3 {
        enqueue(store, b"x", &["a@dead.example"]).await;
    }
    store.back_off("dead.example", after(60), "no route").await.unwrap();
    let probe = store.due(after(60), 10).await.unwrap().remove(0);
    store.settle(probe, vec![retry(0, 1_000)]).await.unwrap();
    assert_eq!(store.due(after(60), 10).await.unwrap().len(), 2);
}

async fn abandoned_lease_is_due_again_and_cannot_be_settled<S: Store>(store: &S) {
    let id = enqueue(store, b"x", &["a@x.example", "b@x.example"]).await;
    let lease = store.due(ARRIVED, 10).await.unwrap().remove(0);
    store.abandon(id, "y.example");
    assert_eq!(store.due(ARRIVED, 10).await, Ok(Vec::new()), "another destination's");
    store.abandon(id, "x.example");
    store.abandon(id, "x.example");
    let settled = store.settle(lease, vec![done(0), done(1)]).await;
    assert_eq!(settled, Err(StoreError::NotLeased(id)));
    let again = store.due(ARRIVED, 10).await.unwrap();
    assert_eq!(again[0].recipients.len(), 2, "nothing has changed");
    assert_eq!(again[0].recipients[0].attempts, 0);
}

async fn abandoned_probe_is_followed_by_another<S: Store>(store: &S) {
    for _ in 0..3 {
        enqueue(store, b"x", &["a@dead.example"]).await;
    }
    store.back_off("dead.example", after(60), "no route").await.unwrap();
    for _ in 0..2 {
        let probe = store.due(after(60), 10).await.unwrap();
        assert_eq!((probe.len(), probe[0].is_probe), (1, true));
        store.abandon(probe[0].id, "dead.example");
    }
    let probe = store.due(after(60), 10).await.unwrap();
    assert_eq!(probe.len(), 1);
}

/// What a commit without a caller changes is there after a while.
async fn lease_within_a_while<S: Store>(store: &S) -> Vec<u32> {
    for _ in 0..500 {
        if let Some(lease) = store.due(ARRIVED, 10).await.unwrap().pop() {
            return lease.recipients.iter().map(|recipient| recipient.number).collect();
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    Vec::new()
}

async fn what_the_next_hop_took_is_not_given_out_again<S: Store>(store: &S) {
    let id = enqueue(store, b"x", &["a@x.example", "b@x.example", "c@x.example"]).await;
    let lease = store.due(ARRIVED, 10).await.unwrap().remove(0);
    store.relayed(&lease, &[0]).unwrap();
    store.relayed(&lease, &[2]).unwrap();
    drop(lease);
    store.abandon(id, "x.example");
    assert_eq!(lease_within_a_while(store).await, [1]);
}

async fn relayed_outweighs_a_retry<S: Store>(store: &S) {
    enqueue(store, b"x", &["a@x.example", "b@x.example"]).await;
    let lease = store.due(ARRIVED, 10).await.unwrap().remove(0);
    store.relayed(&lease, &[0]).unwrap();
    store.settle(lease, vec![retry(0, 10), retry(1, 10)]).await.unwrap();
    let entry = store.list(None, 1).await.unwrap().remove(0);
    assert_eq!(entry.recipients.iter().map(|r| r.number).collect::<Vec<_>>(), [1]);
}

async fn message_that_waits_in_memory_can_be_put_on_hold<S: Store>(store: &S) {
    let id = enqueue(store, b"x\r\n", &["a@x.example", "b@y.example"]).await;
    let other = enqueue(store, b"x\r\n", &["a@x.example"]).await;
    assert_eq!(store.fresh_waiting(), 3);
    store.hold(id, "a look first").await.unwrap();
    assert_eq!(store.fresh_waiting(), 1);
    let leases = store.due(ARRIVED, 10).await.unwrap();
    assert_eq!(leases.iter().map(|lease| lease.id).collect::<Vec<_>>(), [other]);
    assert_eq!(store.data(id, 0, 10).await.unwrap(), &b"x\r\n"[..]);
}
