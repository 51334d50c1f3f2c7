//! Settlements that come while the store looks for due mail: no message may fall between the two.

use std::collections::BTreeSet;
use std::sync::Arc;

use estafette::queue::Store;

use super::common::{self, ARRIVED, enqueue, retry};

const MESSAGES: usize = 300;
const ROUNDS: u64 = 10;
const RETRY_SECONDS: u64 = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn deferred_mail_settled_during_look_ups_is_due_again() {
    let directory = common::directory();
    let store = Arc::new(common::open(directory.path()));
    let mut all = BTreeSet::new();
    for n in 0..MESSAGES {
        all.insert(enqueue(&*store, b"x", &[&format!("a@d{n}.example")]).await);
    }
    for round in 0..ROUNDS {
        let now = ARRIVED.plus(common::seconds(round * RETRY_SECONDS));
        let mut settling = Vec::new();
        let mut idle = 0;
        // As the scheduler does: small takes, each followed by next_due; settlements come from tasks of their own.
        while idle < 20 {
            let leases = store.due(now, 10).await.unwrap();
            idle += usize::from(leases.is_empty());
            for lease in leases {
                let store = Arc::clone(&store);
                let later = vec![retry(0, (round + 1) * RETRY_SECONDS)];
                settling.push(tokio::spawn(async move { store.settle(lease, later).await.unwrap() }));
            }
            store.next_due().await.unwrap();
            tokio::task::yield_now().await;
        }
        for settled in settling {
            settled.await.unwrap();
        }
    }
    let far = ARRIVED.plus(common::seconds(10_000_000));
    let mut seen = BTreeSet::new();
    for _ in 0..MESSAGES {
        seen.extend(store.due(far, 1_000).await.unwrap().iter().map(|lease| lease.id));
    }
    assert_eq!(all, seen, "every queued message is given out again");
}
