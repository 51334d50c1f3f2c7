//! The contract of the queue's stores: one suite, run against the model and the embedded store.

#[path = "store_contract/common.rs"]
mod common;
#[path = "store_contract/demands.rs"]
mod demands;
#[path = "store_contract/faults.rs"]
mod faults;
#[path = "store_contract/forgotten.rs"]
mod forgotten;
#[path = "store_contract/fresh.rs"]
mod fresh;
#[path = "store_contract/hold.rs"]
mod hold;
#[path = "store_contract/kill.rs"]
mod kill;
#[path = "store_contract/long.rs"]
mod long;
#[path = "store_contract/migration.rs"]
mod migration;
#[path = "store_contract/nth_fault.rs"]
mod nth_fault;
#[path = "store_contract/operator.rs"]
mod operator;
#[path = "store_contract/overdue.rs"]
mod overdue;
#[path = "store_contract/random.rs"]
mod random;
#[path = "store_contract/reports.rs"]
mod reports;
#[path = "faults/shim.rs"]
mod shim;
#[path = "store_contract/sqlite.rs"]
mod sqlite;
#[path = "store_contract/states.rs"]
mod states;

use std::collections::BTreeMap;

use common::{ARRIVED, done, enqueue, read_all, retry};
use estafette::queue::entry::Settlement;
use estafette::queue::memory::MemoryStore;
use estafette::queue::schedule::LEASES_PER_DESTINATION_MAX;
use estafette::queue::{Draft, Store, StoreError};
use estafette::time::Timestamp;

/// Everything a store promises while it runs; `make` gives an empty one.
async fn contract<S: Store>(make: impl Fn() -> S) {
    committed_message_is_due_read_and_settled(&make()).await;
    recipients_settle_one_by_one(&make()).await;
    recipient_not_named_is_due_again(&make()).await;
    recipient_left_out_of_a_lease_is_due_when_it_has_ended(&make()).await;
    dropped_draft_never_existed(&make()).await;
    message_without_recipient_is_refused(&make()).await;
    retry_is_due_at_its_time(&make()).await;
    flush_makes_all_due(&make()).await;
    listing_is_paged_in_order_of_id(&make()).await;
    destinations_are_served_fairly(&make()).await;
    concurrent_looks_never_lease_twice(&make()).await;
    large_data_is_byte_exact(&make()).await;
    destination_backed_off_is_not_due_before_its_time(&make()).await;
    slow_destination_leaves_leases_for_others(&make()).await;
    overdue::contract(&make).await;
    hold::contract(&make).await;
    fresh::contract(&make).await;
    states::contract(&make).await;
    demands::contract(&make).await;
    reports::contract(&make).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn model_keeps_the_contract() {
    contract(|| MemoryStore::new(common::clock)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_store_keeps_the_contract() {
    let root = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    contract(|| {
        count.set(count.get() + 1);
        common::open(&root.path().join(count.get().to_string()))
    })
    .await;
}

async fn committed_message_is_due_read_and_settled<S: Store>(store: &S) {
    assert_eq!(store.next_due().await, Ok(None));
    let id = enqueue(store, b"one\r\n", &["a@x.example"]).await;
    assert_eq!(store.next_due().await, Ok(Some(ARRIVED)));
    assert_eq!(store.due(Timestamp(ARRIVED.0 - 1), 10).await, Ok(Vec::new()));
    let mut leases = store.due(ARRIVED, 10).await.unwrap();
    assert_eq!(store.due(ARRIVED, 10).await, Ok(Vec::new()), "a lease is exclusive");
    assert_eq!(store.next_due().await, Ok(None), "what is leased is not due");
    let lease = leases.pop().unwrap();
    assert_eq!((lease.id, lease.size_octets, lease.arrived), (id, 5, ARRIVED));
    assert_eq!(lease.destination, "x.example");
    assert_eq!(lease.submitter, common::envelope().submitter);
    assert_eq!(lease.reverse_path, common::envelope().reverse_path);
    assert_eq!(store.data(id, 0, 3).await.unwrap(), &b"one"[..]);
    assert_eq!(store.data(id, 3, 100).await.unwrap(), &b"\r\n"[..]);
    assert_eq!(store.data(id, 5, 100).await.unwrap(), &b""[..]);
    store.settle(lease, vec![done(0)]).await.unwrap();
    assert_eq!(store.list(None, 10).await, Ok(Vec::new()));
    assert!(matches!(store.data(id, 0, 3).await, Err(StoreError::Damaged(_))));
    assert_eq!(store.due(ARRIVED, 10).await, Ok(Vec::new()));
    assert_eq!(store.next_due().await, Ok(None));
}

async fn recipients_settle_one_by_one<S: Store>(store: &S) {
    let to = ["a@x.example", "b@x.example", "c@y.example"];
    enqueue(store, b"x", &to).await;
    let leases = store.due(ARRIVED, 10).await.unwrap();
    let mut leases: BTreeMap<String, _> = leases.into_iter().map(|l| (l.destination.clone(), l)).collect();
    let (x, y) = (leases.remove("x.example").unwrap(), leases.remove("y.example").unwrap());
    assert_eq!(x.recipients.iter().map(|r| r.number).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(y.recipients[0].forward_path.to_string(), "c@y.example");
    store.settle(x, vec![done(0), retry(1, 50)]).await.unwrap();
    let entry = store.list(None, 10).await.unwrap().pop().unwrap();
    let left: Vec<String> = entry.recipients.iter().map(|r| r.forward_path.to_string()).collect();
    assert_eq!(left, ["b@x.example", "c@y.example"]);
    let last = (entry.recipients[0].attempts, entry.recipients[0].last_reply.as_str());
    assert_eq!(last, (1, "451 later"));
    store.settle(y, vec![done(2)]).await.unwrap();
    let lease = store
        .due(ARRIVED.plus(common::seconds(50)), 10)
        .await
        .unwrap()
        .pop()
        .unwrap();
    assert_eq!((lease.recipients[0].number, lease.recipients[0].attempts), (1, 1));
    store.settle(lease, vec![done(1)]).await.unwrap();
    assert_eq!(store.list(None, 10).await, Ok(Vec::new()));
}

async fn recipient_not_named_is_due_again<S: Store>(store: &S) {
    enqueue(store, b"x", &["a@x.example", "b@x.example"]).await;
    let lease = store.due(ARRIVED, 1).await.unwrap().pop().unwrap();
    store.settle(lease, vec![done(0)]).await.unwrap();
    assert_eq!(store.next_due().await, Ok(Some(ARRIVED)));
    let lease = store.due(ARRIVED, 1).await.unwrap().pop().unwrap();
    assert_eq!(lease.recipients.len(), 1);
    assert_eq!((lease.recipients[0].number, lease.recipients[0].attempts), (1, 0));
}

/// Two recipients at one destination that are due at different times: the second one is passed over while the first is leased.
async fn recipient_left_out_of_a_lease_is_due_when_it_has_ended<S: Store>(store: &S) {
    enqueue(store, b"x", &["a@x.example", "b@x.example"]).await;
    let lease = store.due(ARRIVED, 10).await.unwrap().pop().unwrap();
    store.settle(lease, vec![retry(0, 50), retry(1, 60)]).await.unwrap();
    let (first, second) = (ARRIVED.plus(common::seconds(50)), ARRIVED.plus(common::seconds(60)));
    let lease = store.due(first, 10).await.unwrap().pop().unwrap();
    assert_eq!(lease.recipients.len(), 1);
    assert_eq!(store.due(second, 10).await, Ok(Vec::new()), "the message is leased");
    store.settle(lease, vec![done(0)]).await.unwrap();
    assert_eq!(store.next_due().await, Ok(Some(second)));
    let lease = store.due(second, 10).await.unwrap().pop().unwrap();
    assert_eq!(lease.recipients[0].number, 1);
}

async fn dropped_draft_never_existed<S: Store>(store: &S) {
    let mut draft = store.begin().await.unwrap();
    draft.append(&vec![b'x'; 300_000]).await.unwrap();
    let id = draft.id();
    drop(draft);
    assert_eq!(store.list(None, 10).await, Ok(Vec::new()));
    assert!(store.data(id, 0, 1).await.is_err());
    let next = store.begin().await.unwrap().id();
    assert!(next > id);
}

async fn message_without_recipient_is_refused<S: Store>(store: &S) {
    let draft = store.begin().await.unwrap();
    let committed = draft.commit(common::envelope(), Vec::new(), ARRIVED, ARRIVED).await;
    assert!(matches!(committed, Err(StoreError::Io(_))));
    assert_eq!(store.list(None, 10).await, Ok(Vec::new()));
}

async fn retry_is_due_at_its_time<S: Store>(store: &S) {
    enqueue(store, b"x", &["a@x.example"]).await;
    let lease = store.due(ARRIVED, 10).await.unwrap().pop().unwrap();
    store.settle(lease, vec![retry(0, 300)]).await.unwrap();
    let at = ARRIVED.plus(common::seconds(300));
    assert_eq!(store.next_due().await, Ok(Some(at)));
    assert_eq!(store.due(Timestamp(at.0 - 1), 10).await, Ok(Vec::new()));
    assert_eq!(store.due(at, 10).await.unwrap().len(), 1);
}

async fn flush_makes_all_due<S: Store>(store: &S) {
    for to in ["a@x.example", "b@x.example", "c@y.example"] {
        enqueue(store, b"x", &[to]).await;
    }
    for lease in store.due(ARRIVED, 10).await.unwrap() {
        let number = lease.recipients[0].number;
        store.settle(lease, vec![retry(number, 3000)]).await.unwrap();
    }
    assert_eq!(store.due(ARRIVED, 10).await, Ok(Vec::new()));
    assert_eq!(store.flush(ARRIVED).await, Ok(3));
    assert_eq!(store.due(ARRIVED, 10).await.unwrap().len(), 3);
}

async fn listing_is_paged_in_order_of_id<S: Store>(store: &S) {
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(enqueue(store, b"x", &["a@x.example"]).await);
    }
    let mut listed = Vec::new();
    let mut after = None;
    loop {
        let page = store.list(after, 3).await.unwrap();
        assert!(page.len() <= 3);
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        listed.extend(page.iter().map(|entry| entry.id));
    }
    assert_eq!(listed, ids);
}

async fn destinations_are_served_fairly<S: Store>(store: &S) {
    for _ in 0..20 {
        enqueue(store, b"x", &["a@full.example"]).await;
    }
    enqueue(store, b"x", &["a@x.example"]).await;
    enqueue(store, b"x", &["a@y.example"]).await;
    let mut served = Vec::new();
    for _ in 0..3 {
        let lease = store.due(ARRIVED, 1).await.unwrap().pop().unwrap();
        served.push(lease.destination);
    }
    served.sort_unstable();
    assert_eq!(served, ["full.example", "x.example", "y.example"]);
    assert_eq!(store.due(ARRIVED, 100).await.unwrap().len(), 19);
}

async fn concurrent_looks_never_lease_twice<S: Store>(store: &S) {
    for number in 0..40 {
        enqueue(store, b"x", &[&format!("a@d{}.example", number % 4)]).await;
    }
    let looks = (store.due(ARRIVED, 15), store.due(ARRIVED, 15), store.due(ARRIVED, 15));
    let (one, two, three) = tokio::join!(looks.0, looks.1, looks.2);
    let leases = [one.unwrap(), two.unwrap(), three.unwrap()].concat();
    let mut ids: Vec<_> = leases.iter().map(|lease| lease.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((leases.len(), ids.len()), (40, 40));
}

async fn large_data_is_byte_exact<S: Store>(store: &S) {
    for octets in [32_768, 32_769, 65_536, 1_000_003] {
        let data = common::pattern(octets, 7);
        let mut draft = store.begin().await.unwrap();
        for piece in data.chunks(9_001) {
            draft.append(piece).await.unwrap();
        }
        let id = common::commit(draft, &["a@x.example"]).await.unwrap();
        assert!(read_all(store, id).await.unwrap() == data, "{octets} octets differ");
    }
}

async fn destination_backed_off_is_not_due_before_its_time<S: Store>(store: &S) {
    enqueue(store, b"x", &["a@dead.example", "a@alive.example"]).await;
    let until = ARRIVED.plus(common::seconds(60));
    store.back_off("dead.example", until, "no route").await.unwrap();
    let leases = store.due(ARRIVED, 10).await.unwrap();
    let names: Vec<_> = leases.iter().map(|lease| lease.destination.as_str()).collect();
    assert_eq!(names, ["alive.example"]);
    assert_eq!(store.next_due().await, Ok(Some(until)));
    // Mail that comes meanwhile rests with the others, and a flush ends it for all.
    enqueue(store, b"y", &["b@dead.example"]).await;
    assert_eq!(store.due(ARRIVED, 10).await, Ok(Vec::new()));
    store.flush(ARRIVED).await.unwrap();
    assert_eq!(store.due(ARRIVED, 10).await.unwrap().len(), 2);
}

async fn slow_destination_leaves_leases_for_others<S: Store>(store: &S) {
    for _ in 0..LEASES_PER_DESTINATION_MAX + 10 {
        enqueue(store, b"x", &["a@slow.example"]).await;
    }
    let mut held = store.due(ARRIVED, 1_000).await.unwrap();
    assert_eq!(held.len(), LEASES_PER_DESTINATION_MAX);
    assert_eq!(store.due(ARRIVED, 1_000).await, Ok(Vec::new()));
    enqueue(store, b"y", &["a@other.example"]).await;
    let other = store.due(ARRIVED, 1_000).await.unwrap();
    assert_eq!(other.len(), 1, "the other destination has its turn");
    // What ends makes room for what waits.
    store
        .settle(held.remove(0), vec![Settlement::Done { number: 0 }])
        .await
        .unwrap();
    assert_eq!(store.due(ARRIVED, 1_000).await.unwrap().len(), 1);
}
