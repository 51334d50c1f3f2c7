//! What a sender is told is queued with what it tells of: both or none, whatever step a crash comes at.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use estafette::io::store::{FileCalls, SqliteStore};
use estafette::mail::queue_id::QueueId;
use estafette::queue::Store;
use estafette::queue::entry::{Lease, Settlement};

use super::common::{self, ARRIVED, NEWS, done, enqueue, notification, read_all, retry, seconds};

const TO: [&str; 3] = ["a@x.example", "b@x.example", "c@x.example"];

async fn leased<S: Store>(store: &S) -> Lease {
    let mut leases = store.due(ARRIVED.plus(seconds(100_000)), 10).await.unwrap();
    let place = leases.iter().position(|lease| lease.destination == "x.example");
    leases.remove(place.expect("the message waits"))
}

fn unreported(lease: &Lease) -> Vec<u32> {
    let marked = lease.recipients.iter().filter(|recipient| recipient.unreported);
    marked.map(|recipient| recipient.number).collect()
}

pub(crate) async fn contract<S: Store>(make: &impl Fn() -> S) {
    report_queues_notification_and_removes_recipient(&make()).await;
    unreported_recipient_is_leased_again_marked(&make()).await;
    report_of_whole_message_leaves_the_notification_only(&make()).await;
}

async fn report_queues_notification_and_removes_recipient<S: Store>(store: &S) {
    let id = enqueue(store, b"x", &TO).await;
    let lease = leased(store).await;
    let news = notification(store.new_id());
    assert!(news.id > id, "ids are never used twice");
    let settlements = vec![Settlement::Reported { number: 0 }, retry(1, 60), done(2)];
    let told = news.id;
    store.report(lease, settlements, vec![news]).await.unwrap();
    let entries = store.list(None, 10).await.unwrap();
    let [message, report] = entries.as_slice() else {
        panic!("{entries:?}")
    };
    assert_eq!((message.id, report.id), (id, told));
    let numbers: Vec<u32> = message.recipients.iter().map(|recipient| recipient.number).collect();
    assert_eq!(numbers, [1]);
    assert_eq!(read_all(store, told).await.unwrap(), NEWS.as_bytes());
    let lease = store.due(ARRIVED, 10).await.unwrap().pop().unwrap();
    assert_eq!(
        (lease.id, lease.destination.as_str()),
        (told, "from.example"),
        "due at once"
    );
    let again = store.report(lease.clone(), vec![done(0)], Vec::new()).await;
    assert_eq!(again, Ok(()));
    let ended = store
        .report(lease, vec![done(0)], vec![notification(store.new_id())])
        .await;
    assert!(ended.is_err(), "a lease that has ended reports nothing");
    assert_eq!(store.list(None, 10).await.unwrap().len(), 1);
}

async fn unreported_recipient_is_leased_again_marked<S: Store>(store: &S) {
    enqueue(store, b"x", &TO).await;
    let lease = leased(store).await;
    assert_eq!(unreported(&lease), [0_u32; 0]);
    store.relayed_unreported(&lease, &[1]).unwrap();
    store.relayed(&lease, &[2]).unwrap();
    store.abandon(lease.id, &lease.destination);
    let lease = leased_soon(store).await;
    assert_eq!(unreported(&lease), [1]);
    assert_eq!(lease.recipients.len(), 2, "what needs no report is done");
    store.settle(lease, vec![retry(0, 60)]).await.unwrap();
    let lease = leased(store).await;
    assert_eq!(unreported(&lease), [1], "it waits until it is reported");
    let settlements = vec![done(0), Settlement::Reported { number: 1 }];
    store
        .report(lease, settlements, vec![notification(store.new_id())])
        .await
        .unwrap();
    assert_eq!(store.list(None, 10).await.unwrap().len(), 1);
}

/// What was noted is committed behind the abandoned lease's back.
async fn leased_soon<S: Store>(store: &S) -> Lease {
    for _ in 0..500 {
        if let Some(lease) = store.due(ARRIVED, 10).await.unwrap().pop() {
            return lease;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the message is never due again");
}

async fn report_of_whole_message_leaves_the_notification_only<S: Store>(store: &S) {
    enqueue(store, b"x", &TO[..1]).await;
    let lease = leased(store).await;
    let news = notification(store.new_id());
    let told = news.id;
    let reported = vec![Settlement::Reported { number: 0 }];
    store.report(lease, reported, vec![news]).await.unwrap();
    let ids: Vec<QueueId> = store.list(None, 10).await.unwrap().iter().map(|e| e.id).collect();
    assert_eq!(ids, [told]);
}

/// Keeps what a process that ends here would leave.
#[derive(Debug)]
struct Snapshots {
    queue: PathBuf,
    under: PathBuf,
    taken: AtomicUsize,
    names: Mutex<Vec<String>>,
}

impl Snapshots {
    fn take(&self, when: &str) {
        let number = self.taken.fetch_add(1, Ordering::SeqCst);
        let directory = self.under.join(number.to_string());
        copy(&self.queue, &directory);
        self.names.lock().unwrap().push(format!("{number}, {when}"));
    }
}

fn copy(from: &Path, to: &Path) {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::create_dir(to).unwrap();
    std::fs::set_permissions(to, mode).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        let is_directory = entry.file_type().unwrap().is_dir();
        // SQLite makes the index of its log anew when it is missing.
        match entry.file_name().to_str().unwrap() {
            _ if is_directory => copy(&entry.path(), &target),
            "queue.db-shm" | "lock" | "reserve" => {}
            _ => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

impl FileCalls for Snapshots {
    fn before_commit(&self) -> io::Result<()> {
        self.take("before a commit");
        Ok(())
    }
}

/// A message to one recipient that is relayed, one that has failed, and one that waits: from the lease to the end of its report
/// the process ends at every step, and another one carries on.
#[tokio::test]
async fn crash_at_every_step_of_a_report_neither_loses_nor_doubles_it() {
    let (directory, under) = (common::directory(), common::directory());
    let snapshots = Arc::new(Snapshots {
        queue: directory.path().to_owned(),
        under: under.path().to_owned(),
        taken: AtomicUsize::new(0),
        names: Mutex::default(),
    });
    let calls = Arc::clone(&snapshots) as Arc<dyn FileCalls>;
    let store = common::open_with_calls(directory.path(), calls);
    let id = enqueue(&store, b"x", &TO).await;
    let lease = leased(&store).await;
    let first = snapshots.taken.load(Ordering::SeqCst);
    store.relayed_unreported(&lease, &[0]).unwrap();
    snapshots.take("the next hop has said 250");
    let news = vec![notification(store.new_id()), notification(store.new_id())];
    let told: Vec<QueueId> = news.iter().map(|news| news.id).collect();
    let settlements = vec![
        Settlement::Reported { number: 0 },
        Settlement::Reported { number: 1 },
        retry(2, 300),
    ];
    store.report(lease, settlements, news).await.unwrap();
    snapshots.take("the report is queued");
    drop(store);
    snapshots.take("the end");
    let names = snapshots.names.lock().unwrap().clone();
    assert!(names.len() >= first + 4, "{names:?}");
    for (number, what) in names.iter().enumerate().skip(first) {
        let path = under.path().join(number.to_string());
        let mut recovered = told_or_waiting(&path, id, &told, what).await;
        // Another process carries on, and the next one has nothing to do.
        if let Some(lease) = recovered.take() {
            let store = common::open(&path);
            finish(&store, lease.recipients.len()).await;
        }
        let store = common::open(&path);
        let entries = store.list(None, 10).await.unwrap();
        let reports = entries.iter().filter(|entry| entry.id != id).count();
        assert_eq!(reports, 2, "{what}: each is told once: {entries:?}");
    }
}

/// Reads what a crash has left, and returns the lease if there is something left to report.
async fn told_or_waiting(path: &Path, id: QueueId, told: &[QueueId], what: &str) -> Option<Lease> {
    let store = common::open(path);
    let entries = store.list(None, 10).await.unwrap();
    let message = entries
        .iter()
        .find(|entry| entry.id == id)
        .expect("one recipient waits");
    let are_told = told.iter().filter(|id| entries.iter().any(|e| e.id == **id)).count();
    if are_told > 0 {
        assert_eq!((are_told, message.recipients.len()), (2, 1), "{what}");
        return None;
    }
    assert_eq!(
        message.recipients.len(),
        3,
        "{what}: nothing is told, so nobody is gone"
    );
    let lease = leased(&store).await;
    assert_eq!(
        unreported(&lease),
        [0],
        "{what}: the next hop has it and is not to get it again"
    );
    Some(lease)
}

async fn finish(store: &SqliteStore, recipients: usize) {
    let lease = leased(store).await;
    assert_eq!(lease.recipients.len(), recipients);
    let news = vec![notification(store.new_id()), notification(store.new_id())];
    let settlements = vec![
        Settlement::Reported { number: 0 },
        Settlement::Reported { number: 1 },
        retry(2, 300),
    ];
    store.report(lease, settlements, news).await.unwrap();
}
