//! The n-th call on the queue's files fails, is torn or delayed, for each n until a sequence of operations passes untouched:
//! what was acknowledged is there and whole, nothing else is, and nothing comes out twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use estafette::io::store::{FileCalls, SqliteStore, SystemFiles};
use estafette::mail::queue_id::QueueId;
use estafette::queue::Store;
use estafette::queue::entry::{Entry, Notification, Settlement};
use estafette::queue::memory::MemoryStore;

use super::common::{self, ARRIVED, NEWS, done, notification, pattern, read_all, retry, seconds, try_enqueue};
use super::shim;

/// The sequence makes fewer calls of a kind than this.
const CALLS_MAX: usize = 600;
const DIRECTORY: &str = "ESTAFETTE_TEST_NTH_DIRECTORY";

/// What was promised to the outside.
#[derive(Default)]
struct Said {
    acknowledged: BTreeMap<QueueId, u64>,
    /// Recipients that the next hop has taken.
    relayed: BTreeSet<(QueueId, u32)>,
    /// Recipients that are reported, and by which notification.
    reported: BTreeMap<(QueueId, u32), QueueId>,
}

/// Small and large messages, one and two recipients, settled, retried, and left.
async fn sequence<S: Store>(store: &S, said: &mut Said) {
    enqueue(store, 1, 1_000, &["a@x.example"], said).await;
    enqueue(store, 2, 70_000, &["a@y.example"], said).await;
    enqueue(store, 3, 1_000, &["a@x.example", "b@x.example"], said).await;
    deliver(store, said).await;
    enqueue(store, 4, 70_000, &["a@x.example"], said).await;
    enqueue(store, 5, 1_000, &["a@z.example"], said).await;
    enqueue(store, 6, 1_000, &["a@w.example", "b@w.example", "c@w.example"], said).await;
    report(store, said).await;
}

/// Of the last message, the first recipient is relayed and the second has failed, which the sender is told; the third waits.
async fn report<S: Store>(store: &S, said: &mut Said) {
    let leases = store.due(ARRIVED, 100).await.unwrap_or_default();
    for lease in leases {
        if lease.destination != "w.example" {
            store.abandon(lease.id, &lease.destination);
            continue;
        }
        let id = lease.id;
        let _ = store.relayed_unreported(&lease, &[0]);
        let notifications: Vec<Notification> = (0..2).map(|_| notification(store.new_id())).collect();
        for (number, notification) in (0..).zip(&notifications) {
            said.reported.insert((id, number), notification.id);
        }
        let settlements = vec![
            Settlement::Reported { number: 0 },
            Settlement::Reported { number: 1 },
            retry(2, 300),
        ];
        let _ = store.report(lease, settlements, notifications).await;
    }
}

/// Each recipient is there still or its notification is, and never both; what the next hop has is not attempted again.
async fn check_reports<S: Store>(store: &S, said: &Said, what: &str) {
    let entries = store.list(None, 100).await.unwrap();
    for ((id, number), notification) in &said.reported {
        let waits = |entry: &Entry| entry.id == *id && entry.recipients.iter().any(|r| r.number == *number);
        let is_waiting = entries.iter().any(waits);
        let is_told = entries.iter().any(|entry| entry.id == *notification);
        assert!(
            is_waiting != is_told,
            "{what}: {number} waits {is_waiting}, is told {is_told}"
        );
        if is_told {
            let octets = read_all(store, *notification).await.unwrap();
            assert_eq!(octets, NEWS.as_bytes(), "{what}");
        }
    }
}

async fn enqueue<S: Store>(store: &S, seed: u64, octets: usize, to: &[&str], said: &mut Said) {
    if let Ok(id) = try_enqueue(store, &pattern(octets, seed), to).await {
        said.acknowledged.insert(id, seed);
    }
}

/// The first recipient of each lease is relayed, the others are to be tried again.
async fn deliver<S: Store>(store: &S, said: &mut Said) {
    for lease in store.due(ARRIVED, 100).await.unwrap_or_default() {
        let mut settlements = Vec::new();
        for recipient in &lease.recipients {
            if settlements.is_empty() {
                let is_new = said.relayed.insert((lease.id, recipient.number));
                assert!(is_new, "{} {} came out twice", lease.id, recipient.number);
                // A note that cannot be written leaves the commit.
                let _ = store.relayed(&lease, &[recipient.number]);
                settlements.push(done(recipient.number));
            } else {
                settlements.push(retry(recipient.number, 300));
            }
        }
        // Refused, it is tried again by the store.
        let _ = store.settle(lease, settlements).await;
    }
}

/// On a disk that is sound again: all that was acknowledged and not relayed, whole, and nothing else.
async fn check<S: Store>(store: &S, said: &Said, sizes: &[usize], what: &str) {
    check_reports(store, said, what).await;
    let entries = store.list(None, 100).await.unwrap();
    let notifications: BTreeSet<QueueId> = said.reported.values().copied().collect();
    let is_queued = |id: QueueId| entries.iter().any(|entry| entry.id == id);
    for (id, seed) in &said.acknowledged {
        let entry = entries.iter().find(|entry| entry.id == *id);
        let count = match *seed {
            3 => 2,
            6 => 3,
            _ => 1,
        };
        let is_told = |n: u32| said.reported.get(&(*id, n)).is_some_and(|id| is_queued(*id));
        let expected: Vec<u32> = (0..count)
            .filter(|n| !said.relayed.contains(&(*id, *n)) && !is_told(*n))
            .collect();
        let found: Vec<u32> = entry.map_or_else(Vec::new, |e| e.recipients.iter().map(|r| r.number).collect());
        assert_eq!(found, expected, "{what}: recipients of message {seed}");
        if entry.is_some() {
            let size = sizes[usize::try_from(*seed).unwrap() - 1];
            assert!(
                read_all(store, *id).await.unwrap() == pattern(size, *seed),
                "{what}: message {seed}"
            );
        }
    }
    let unknown = entries
        .iter()
        .filter(|entry| !said.acknowledged.contains_key(&entry.id) && !notifications.contains(&entry.id));
    assert_eq!(unknown.count(), 0, "{what}: something refused is queued");
    let later = ARRIVED.plus(seconds(100_000));
    for lease in store.due(later, 100).await.unwrap() {
        for recipient in &lease.recipients {
            assert!(
                !said.relayed.contains(&(lease.id, recipient.number)),
                "{what}: sent twice"
            );
            let is_reported = recipient.number == 0 && said.reported.contains_key(&(lease.id, 0));
            assert_eq!(recipient.unreported, is_reported, "{what}");
        }
        let numbers = lease.recipients.iter().map(|recipient| done(recipient.number));
        let settlements = numbers.collect();
        store.settle(lease, settlements).await.unwrap();
    }
    assert_eq!(
        store.list(None, 100).await,
        Ok(Vec::new()),
        "{what}: all can be settled"
    );
    let last = try_enqueue(store, b"x", &["a@x.example"])
        .await
        .expect("new mail is taken again");
    for lease in store.due(later, 100).await.unwrap() {
        assert_eq!(lease.id, last);
        store.settle(lease, vec![done(0)]).await.unwrap();
    }
}

/// Where hundreds of stores are opened one after the other; what a sync really does is not asked here.
pub(crate) fn quick_directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    tempfile::Builder::new().permissions(mode).tempdir_in(place).unwrap()
}

const SIZES: [usize; 6] = [1_000, 70_000, 1_000, 70_000, 1_000, 1_000];

#[tokio::test]
async fn model_keeps_what_it_acknowledged_in_the_same_sequence() {
    let (store, mut said) = (MemoryStore::new(common::clock), Said::default());
    sequence(&store, &mut said).await;
    assert_eq!(said.acknowledged.len(), 6);
    check(&store, &said, &SIZES, "no fault").await;
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    Create,
    Write,
    Sync,
    Rename,
    SyncDirectory,
    Commit,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Fails,
    /// A half is written.
    Torn,
    Delayed,
}

/// A disk whose n-th call of a kind goes wrong.
#[derive(Debug)]
struct NthFault {
    call: Call,
    fault: Fault,
    nth: usize,
    seen: AtomicUsize,
}

impl NthFault {
    /// Whether this call fails.
    fn strikes(&self, call: Call) -> bool {
        if call != self.call || self.seen.fetch_add(1, Ordering::SeqCst) + 1 != self.nth {
            return false;
        }
        if self.fault == Fault::Delayed {
            std::thread::sleep(Duration::from_millis(30));
        }
        self.fault != Fault::Delayed
    }

    fn strike(&self, call: Call) -> io::Result<()> {
        if self.strikes(call) {
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(())
    }

    fn is_untouched(&self) -> bool {
        self.seen.load(Ordering::SeqCst) < self.nth
    }
}

impl FileCalls for NthFault {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.strike(Call::Create)?;
        SystemFiles.create(path)
    }

    fn write(&self, file: &mut File, octets: &[u8]) -> io::Result<()> {
        if self.strikes(Call::Write) {
            if self.fault == Fault::Torn {
                file.write_all(&octets[..octets.len() / 2])?;
            }
            return Err(io::Error::from_raw_os_error(5));
        }
        SystemFiles.write(file, octets)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.strike(Call::Sync)?;
        SystemFiles.sync(file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.strike(Call::Rename)?;
        SystemFiles.rename(from, to)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.strike(Call::SyncDirectory)?;
        SystemFiles.sync_directory(directory)
    }

    fn before_commit(&self) -> io::Result<()> {
        self.strike(Call::Commit)
    }
}

/// The sequence on a faulty disk, the check on a sound one.
async fn run(directory: &Path, calls: Arc<dyn FileCalls>, sound: impl Fn(), what: &str) {
    let mut said = Said::default();
    let options = estafette::io::store::OpenOptions {
        calls,
        ..common::options()
    };
    // Refused in words, it can be opened when the fault is over.
    if let Ok(store) = SqliteStore::open_with(&common::settings(directory), common::clock, options) {
        sequence(&store, &mut said).await;
        store.close();
    }
    sound();
    check(&common::open(directory), &said, &SIZES, what).await;
}

#[tokio::test]
async fn whichever_own_call_fails_what_was_acknowledged_is_there_and_nothing_else() {
    let directory = quick_directory();
    for (call, fault) in [
        (Call::Create, Fault::Fails),
        (Call::Write, Fault::Fails),
        (Call::Write, Fault::Torn),
        (Call::Write, Fault::Delayed),
        (Call::Sync, Fault::Fails),
        (Call::Sync, Fault::Delayed),
        (Call::Rename, Fault::Fails),
        (Call::Rename, Fault::Delayed),
        (Call::SyncDirectory, Fault::Fails),
        (Call::Commit, Fault::Fails),
        (Call::Commit, Fault::Delayed),
    ] {
        for nth in 1.. {
            let seen = AtomicUsize::new(0);
            let disk = Arc::new(NthFault { call, fault, nth, seen });
            let calls = Arc::clone(&disk) as Arc<dyn FileCalls>;
            run(directory.path(), calls, || (), &format!("{call:?} {nth} {fault:?}")).await;
            if disk.is_untouched() {
                assert!(nth > 1, "{call:?} is called at all");
                break;
            }
            assert!(nth < CALLS_MAX, "the sequence has an end");
        }
    }
}

#[tokio::test]
#[ignore = "the child of whichever_call_of_sqlite_fails, which starts it under the library of faults"]
async fn child_runs_the_sequence_whichever_call_fails() {
    let base = PathBuf::from(std::env::var(DIRECTORY).expect("started by the other test"));
    let control = base.join("faults");
    for fault in [
        "sync * % 1 error 5",
        "write * % 1 error 5",
        "write * % 1 tear 5",
        "write -wal % 1 error 28",
        "write * % 1 short 0",
        "write * % 1 delay 5",
        "create * % 1 error 5",
        "rename * % 1 error 5",
        "allocate * % 1 error 5",
        "unlink * % 1 error 5",
    ] {
        for nth in 1.. {
            let directory = base.join("queue");
            let rule = fault.replace('%', &nth.to_string());
            shim::set(&control, &rule);
            let sound = || {
                std::fs::write(base.join("last"), shim::struck(&control)).unwrap();
                shim::set(&control, "");
            };
            run(&directory, Arc::new(SystemFiles), sound, &rule).await;
            if std::fs::read(base.join("last")).unwrap().is_empty() {
                assert!(nth > 1, "{rule} strikes at all");
                println!("{fault}: {} calls", nth - 1);
                break;
            }
            assert!(nth < CALLS_MAX, "the sequence has an end");
        }
    }
}

/// Runs a child of this test binary with the library of faults before everything else; what it said. `variable` tells it the
/// directory, whose `queue` the faults strike.
pub(crate) fn under_faults(child: &str, variable: &str) -> String {
    let directory = quick_directory();
    let library = shim::build(directory.path());
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", child])
        .args(["--ignored", "--nocapture"])
        .env("LD_PRELOAD", library)
        .env("ESTAFETTE_FAULTS", directory.path().join("faults"))
        .env("ESTAFETTE_FAULTS_UNDER", directory.path().join("queue"))
        .env(variable, directory.path())
        .output()
        .unwrap();
    let (out, said) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{said}");
    out.into_owned()
}

#[test]
fn whichever_call_of_sqlite_fails_what_was_acknowledged_is_there_and_nothing_else() {
    let out = under_faults("nth_fault::child_runs_the_sequence_whichever_call_fails", DIRECTORY);
    eprintln!("{out}");
}
