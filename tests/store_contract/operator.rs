//! What an operator does to queued messages: the same of every store.

use estafette::mail::queue_id::QueueId;
use estafette::queue::HoldError;
use estafette::queue::entry::{Entry, NEVER, Settlement};
use estafette::queue::memory::MemoryStore;
use estafette::queue::operator::{Change, Operator};

use super::common::{self, ARRIVED, done, enqueue, notification, pattern, retry};

/// `make` gives an empty store.
async fn contract<S: Operator>(make: impl Fn() -> S) {
    deleted_message_is_gone_with_its_data(&make()).await;
    requeued_recipients_are_due_where_they_are_sent_now(&make()).await;
    requeued_message_on_hold_stays_on_hold(&make()).await;
    flushed_message_is_due_although_its_destination_backs_off(&make()).await;
    message_under_delivery_is_left_alone(&make()).await;
    claimed_message_is_nobody_elses(&make()).await;
    message_for_two_destinations_is_bounced_in_one_report(&make()).await;
    changes_are_told_one_by_one(&make()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn model_lets_an_operator_change_messages() {
    contract(|| MemoryStore::new(common::clock)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_store_lets_an_operator_change_messages() {
    let root = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    contract(|| {
        count.set(count.get() + 1);
        common::open(&root.path().join(count.get().to_string()))
    })
    .await;
}

async fn change<S: Operator>(store: &S, id: QueueId, change: Change) -> Result<(), HoldError> {
    store.change(vec![(id, change)], ARRIVED).await.remove(0)
}

async fn deleted_message_is_gone_with_its_data<S: Operator>(store: &S) {
    for data in [pattern(100, 1), pattern(50_000, 2)] {
        let id = enqueue(store, &data, &["a@x.example", "b@y.example"]).await;
        change(store, id, Change::Delete).await.unwrap();
        assert_eq!(store.list(None, 10).await, Ok(Vec::new()));
        assert!(store.data(id, 0, 10).await.is_err());
        assert_eq!(store.due(ARRIVED, 10).await, Ok(Vec::new()));
        assert_eq!(change(store, id, Change::Delete).await, Err(HoldError::Unknown(id)));
    }
}

async fn requeued_recipients_are_due_where_they_are_sent_now<S: Operator>(store: &S) {
    let id = enqueue(store, b"x", &["a@x.example", "b@y.example"]).await;
    for lease in store.due(ARRIVED, 10).await.unwrap() {
        let number = lease.recipients[0].number;
        store.settle(lease, vec![retry(number, 5_000)]).await.unwrap();
    }
    assert_eq!(store.due(ARRIVED, 10).await, Ok(Vec::new()));
    let until = ARRIVED.plus(common::seconds(9_000));
    store.back_off("z.example", until, "down").await.unwrap();
    let routed = vec![(0, "z.example".into()), (1, "z.example".into())];
    change(store, id, Change::Requeue(routed)).await.unwrap();
    let lease = store.due(ARRIVED, 10).await.unwrap().pop().unwrap();
    assert_eq!((lease.destination.as_str(), lease.recipients.len()), ("z.example", 2));
    assert_eq!(lease.recipients[0].attempts, 1, "attempts are kept");
    assert_eq!(store.history(id).await.unwrap().len(), 2, "and so is their history");
    store.settle(lease, vec![done(0), done(1)]).await.unwrap();
}

async fn requeued_message_on_hold_stays_on_hold<S: Operator>(store: &S) {
    let id = enqueue(store, b"x", &["a@x.example"]).await;
    change(store, id, Change::Hold("why".into())).await.unwrap();
    change(store, id, Change::Requeue(vec![(0, "z.example".into())]))
        .await
        .unwrap();
    change(store, id, Change::Flush).await.unwrap();
    assert_eq!(store.due(ARRIVED, 10).await, Ok(Vec::new()));
    let entry = store.list(None, 10).await.unwrap().pop().unwrap();
    assert_eq!(
        (entry.recipients[0].destination.as_str(), entry.recipients[0].due),
        ("z.example", NEVER)
    );
    change(store, id, Change::Release).await.unwrap();
    assert_eq!(store.due(ARRIVED, 10).await.unwrap()[0].destination, "z.example");
}

async fn flushed_message_is_due_although_its_destination_backs_off<S: Operator>(store: &S) {
    let id = enqueue(store, b"x", &["a@x.example"]).await;
    let until = ARRIVED.plus(common::seconds(9_000));
    store.back_off("x.example", until, "down").await.unwrap();
    assert_eq!(store.due(ARRIVED, 10).await, Ok(Vec::new()));
    change(store, id, Change::Flush).await.unwrap();
    assert_eq!(store.due(ARRIVED, 10).await.unwrap().len(), 1);
}

async fn message_under_delivery_is_left_alone<S: Operator>(store: &S) {
    let id = enqueue(store, b"x", &["a@x.example"]).await;
    let lease = store.due(ARRIVED, 10).await.unwrap().pop().unwrap();
    assert_eq!(store.leased(), [id]);
    for refused in [Change::Delete, Change::Requeue(Vec::new()), Change::Hold("why".into())] {
        assert_eq!(change(store, id, refused).await, Err(HoldError::Leased(id)));
    }
    assert_eq!(store.claim(id).await, Err(HoldError::Leased(id)));
    store.settle(lease, vec![done(0)]).await.unwrap();
    assert!(store.leased().is_empty());
    assert_eq!(store.claim(id).await, Err(HoldError::Unknown(id)));
}

async fn claimed_message_is_nobody_elses<S: Operator>(store: &S) {
    let id = enqueue(store, b"x", &["a@x.example", "b@y.example", "c@x.example"]).await;
    change(store, id, Change::Hold("why".into())).await.unwrap();
    let leases = store.claim(id).await.unwrap();
    let counts: Vec<usize> = leases.iter().map(|lease| lease.recipients.len()).collect();
    assert_eq!(counts, [2, 1]);
    assert_eq!(change(store, id, Change::Delete).await, Err(HoldError::Leased(id)));
    for lease in leases {
        let settled = lease
            .recipients
            .iter()
            .map(|recipient| done(recipient.number))
            .collect();
        store.settle(lease, settled).await.unwrap();
    }
    assert_eq!(store.list(None, 10).await, Ok(Vec::new()));
}

async fn message_for_two_destinations_is_bounced_in_one_report<S: Operator>(store: &S) {
    let id = enqueue(store, b"x", &["a@x.example", "b@y.example", "c@x.example"]).await;
    let mut leases = store.claim(id).await.unwrap();
    let bounce = notification(store.new_id());
    let told = bounce.id;
    let reported = (0..3).map(|number| Settlement::Reported { number }).collect();
    store.report(leases.remove(0), reported, vec![bounce]).await.unwrap();
    let queued = |entries: Vec<Entry>| entries.iter().map(|entry| entry.id).collect::<Vec<_>>();
    assert_eq!(queued(store.list(None, 10).await.unwrap()), [told]);
    assert_eq!(store.leased(), [], "the other lease has ended too");
    let due = store.due(ARRIVED, 10).await.unwrap();
    assert_eq!(due.iter().map(|lease| lease.id).collect::<Vec<_>>(), [told]);
    assert_eq!(store.leased(), [told]);
}

async fn changes_are_told_one_by_one<S: Operator>(store: &S) {
    let first = enqueue(store, b"x", &["a@x.example"]).await;
    let second = enqueue(store, b"x", &["a@x.example"]).await;
    change(store, first, Change::Delete).await.unwrap();
    let changes = [first, second].map(|id| (id, Change::Hold("why".into())));
    let told = store.change(changes.to_vec(), ARRIVED).await;
    assert_eq!(told, [Err(HoldError::Unknown(first)), Ok(())]);
    assert_eq!(change(store, second, Change::Release).await, Ok(()));
    assert_eq!(
        change(store, second, Change::Release).await,
        Err(HoldError::NotOnHold(second))
    );
}
