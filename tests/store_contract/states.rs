//! The truth table of `src/queue/mod.rs`: every legal move from every state, and that every other one is refused and
//! changes nothing.

use estafette::mail::queue_id::QueueId;
use estafette::queue::entry::Lease;
use estafette::queue::{HoldError, Store, StoreError};
use estafette::time::Timestamp;

use super::common::{self, ARRIVED, done, enqueue, retry};

const TO: &str = "a@x.example";
const DESTINATION: &str = "x.example";
/// When a retry of these tests is due, seconds after the arrival.
const LATER: u64 = 300;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fresh,
    Waiting,
    Leased,
    Relayed,
    Retried,
    OnHold,
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    Due,
    Note,
    Done,
    Retry,
    Abandon,
    Hold,
    Release,
    Flush,
}

use Move::{Abandon, Done, Due, Flush, Hold, Note, Release, Retry};
use State::{Fresh, Gone, Leased, OnHold, Relayed, Retried, Waiting};

const MOVES: [Move; 8] = [Due, Note, Done, Retry, Abandon, Hold, Release, Flush];

/// What each state allows and where it leads; what is not named is refused and changes nothing.
const TABLE: [(State, &[(Move, State)]); 7] = [
    (Fresh, &[(Due, Leased), (Hold, OnHold), (Flush, Fresh)]),
    (Waiting, &[(Due, Leased), (Hold, OnHold), (Flush, Waiting)]),
    (
        Leased,
        &[
            (Note, Relayed),
            (Done, Gone),
            (Retry, Retried),
            (Abandon, Waiting),
            (Flush, Leased),
        ],
    ),
    (
        Relayed,
        &[
            (Note, Relayed),
            (Done, Gone),
            (Retry, Gone),
            (Abandon, Gone),
            (Flush, Relayed),
        ],
    ),
    (Retried, &[(Hold, OnHold), (Flush, Waiting)]),
    (OnHold, &[(Release, Waiting), (Flush, OnHold)]),
    (Gone, &[(Flush, Gone)]),
];

/// The part of the contract that is about states; `make` gives an empty store.
pub(super) async fn contract<S: Store>(make: impl Fn() -> S) {
    for (state, allowed) in TABLE {
        for wanted in MOVES {
            let store = make();
            let (id, lease) = reach(&store, state).await;
            let outcome = attempt(&store, wanted, id, lease.clone()).await;
            let leads_to = allowed
                .iter()
                .find(|(allowed, _)| *allowed == wanted)
                .map(|(_, to)| *to);
            assert_eq!(outcome, leads_to.is_some(), "{wanted:?} of what is {state:?}");
            assert_is(
                &store,
                id,
                leads_to.unwrap_or(state),
                &format!("{wanted:?} of what is {state:?}"),
            )
            .await;
        }
    }
}

async fn lease_all<S: Store>(store: &S) -> Vec<Lease> {
    store.due(ARRIVED, 10).await.unwrap()
}

/// A message in the state, and its lease when it has one.
async fn reach<S: Store>(store: &S, state: State) -> (QueueId, Option<Lease>) {
    let id = enqueue(store, b"x", &[TO]).await;
    match state {
        Fresh => assert_eq!(store.fresh_waiting(), 1),
        Waiting => {
            let lease = lease_all(store).await.remove(0);
            store.abandon(id, &lease.destination);
            assert_eq!(store.fresh_waiting(), 0);
        }
        OnHold => store.hold(id, "a look first").await.unwrap(),
        Leased | Relayed | Retried | Gone => {
            let lease = lease_all(store).await.remove(0);
            match state {
                Retried => store.settle(lease, vec![retry(0, LATER)]).await.unwrap(),
                Gone => store.settle(lease, vec![done(0)]).await.unwrap(),
                Relayed => {
                    store.relayed(&lease, &[0]).unwrap();
                    return (id, Some(lease));
                }
                _ => return (id, Some(lease)),
            }
        }
    }
    (id, None)
}

/// The lease that a delivery of the message would have.
async fn stranger<S: Store>(store: &S, id: QueueId) -> Lease {
    let other = enqueue(store, b"x", &["b@other.example"]).await;
    let leases = store.due(ARRIVED, 10).await.unwrap();
    let mut lease = None;
    for found in leases {
        if found.id == other {
            lease = Some(found.clone());
            store.settle(found, vec![done(0)]).await.unwrap();
        } else {
            store.abandon(found.id, &found.destination);
        }
    }
    Lease {
        id,
        destination: DESTINATION.into(),
        ..lease.unwrap()
    }
}

/// Tries the move; says whether it was taken.
async fn attempt<S: Store>(store: &S, wanted: Move, id: QueueId, lease: Option<Lease>) -> bool {
    let needs_lease = matches!(wanted, Note | Done | Retry | Abandon);
    let held = lease.is_some();
    let lease = match lease {
        Some(lease) => lease,
        None if needs_lease => stranger(store, id).await,
        None => {
            return match wanted {
                Due => lease_all(store).await.iter().any(|lease| lease.id == id),
                _ => attempt_without_lease(store, wanted, id).await,
            };
        }
    };
    let refused = |result: Result<(), StoreError>| {
        assert!(matches!(result, Ok(()) | Err(StoreError::NotLeased(_))), "{result:?}");
        result.is_ok()
    };
    match wanted {
        Due => lease_all(store).await.iter().any(|lease| lease.id == id),
        Note => refused(store.relayed(&lease, &[0])),
        Done => refused(store.settle(lease, vec![done(0)]).await),
        Retry => refused(store.settle(lease, vec![retry(0, LATER)]).await),
        Abandon => {
            store.abandon(id, DESTINATION);
            held
        }
        Hold | Release | Flush => attempt_without_lease(store, wanted, id).await,
    }
}

async fn attempt_without_lease<S: Store>(store: &S, wanted: Move, id: QueueId) -> bool {
    let result = match wanted {
        Hold => store.hold(id, "a look first").await,
        Release => store.release(id, ARRIVED).await,
        _ => store.flush(ARRIVED).await.map(drop).map_err(HoldError::from),
    };
    assert!(!matches!(result, Err(HoldError::Store(_))), "{result:?}");
    result.is_ok()
}

/// Looks at the message from all sides. What was abandoned may take a commit until it is there.
async fn assert_is<S: Store>(store: &S, id: QueueId, expected: State, what: &str) {
    for _ in 0..500 {
        if expected != Gone || store.list(None, 10).await.unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let entry = store
        .list(None, 10)
        .await
        .unwrap()
        .into_iter()
        .find(|entry| entry.id == id);
    assert_eq!(entry.is_none(), expected == Gone, "{what}");
    let Some(entry) = entry else {
        assert!(!is_due(store, id, LATER).await, "{what}");
        return;
    };
    assert_eq!(entry.hold.is_some(), expected == OnHold, "{what}");
    let recipient = &entry.recipients[0];
    let later = ARRIVED.plus(common::seconds(LATER));
    let due = match expected {
        OnHold => Timestamp(i64::MAX),
        Retried => later,
        _ => ARRIVED,
    };
    assert!(
        recipient.due == due || (expected == Waiting && recipient.due <= ARRIVED),
        "{what}"
    );
    let may_be_given_out = matches!(expected, Fresh | Waiting);
    assert_eq!(is_due(store, id, 0).await, may_be_given_out, "{what}");
    if expected == Retried {
        assert!(is_due(store, id, LATER).await, "{what}");
    }
}

async fn is_due<S: Store>(store: &S, id: QueueId, after: u64) -> bool {
    let leases = store.due(ARRIVED.plus(common::seconds(after)), 10).await.unwrap();
    leases.iter().any(|lease| lease.id == id)
}
