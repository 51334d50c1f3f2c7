//! What the embedded store promises beyond one run: reopening, groups, one daemon, what a crash left.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use estafette::io::store::{OpenError, SqliteStore, list_directory};
use estafette::queue::{Draft, Store, StoreError};

use super::common::{self, ARRIVED, done, enqueue, pattern, read_all, retry};

pub(crate) fn data_files(directory: &Path) -> Vec<PathBuf> {
    let shelves = fs::read_dir(directory.join("data")).unwrap();
    let files = shelves.flat_map(|shelf| fs::read_dir(shelf.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

#[tokio::test]
async fn store_opened_again_finds_everything() {
    let directory = common::directory();
    let (small, large) = (pattern(100, 1), pattern(100_000, 2));
    let store = common::open(directory.path());
    let first = enqueue(&store, &small, &["a@x.example", "b@x.example"]).await;
    let second = enqueue(&store, &large, &["c@y.example"]).await;
    for lease in store.due(ARRIVED, 10).await.unwrap() {
        if lease.id == first {
            store.settle(lease, vec![done(0), retry(1, 300)]).await.unwrap();
        }
    }
    let listed = store.list(None, 10).await.unwrap();
    drop(store);
    assert_eq!(list_directory(directory.path(), None, 10).unwrap(), listed);

    let store = common::open(directory.path());
    assert_eq!(store.list(None, 10).await.unwrap(), listed);
    assert_eq!(list_directory(directory.path(), Some(first), 10).unwrap(), listed[1..]);
    let leases = store.due(ARRIVED, 10).await.unwrap();
    assert_eq!(
        leases.iter().map(|lease| lease.id).collect::<Vec<_>>(),
        [second],
        "leases end with the process"
    );
    assert_eq!(read_all(&store, first).await.unwrap(), small);
    assert!(read_all(&store, second).await.unwrap() == large);
    assert!(enqueue(&store, b"x", &["a@x.example"]).await > second);
}

#[tokio::test]
async fn file_goes_with_its_message() {
    let directory = common::directory();
    let store = common::open(directory.path());
    enqueue(&store, &pattern(100_000, 2), &["c@y.example"]).await;
    assert_eq!(data_files(directory.path()).len(), 1);
    let lease = store.due(ARRIVED, 10).await.unwrap().pop().unwrap();
    store.settle(lease, vec![done(0)]).await.unwrap();
    // Whoever settles is told first.
    for _ in 0..500 {
        if data_files(directory.path()).is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(data_files(directory.path()).len(), 0);
    let mut draft = store.begin().await.unwrap();
    draft.append(&pattern(100_000, 2)).await.unwrap();
    assert_eq!(data_files(directory.path()).len(), 1);
    drop(draft);
    assert_eq!(data_files(directory.path()).len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_commits_share_groups() {
    let directory = common::directory();
    let store = common::open(directory.path());
    let before = store.groups_committed();
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..10 {
                    enqueue(&store, b"x", &["a@x.example"]).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let groups = store.groups_committed() - before;
    assert!((1..640).contains(&groups), "640 commits in {groups} groups");
    let ids: BTreeSet<_> = store
        .list(None, 1000)
        .await
        .unwrap()
        .into_iter()
        .map(|entry| entry.id)
        .collect();
    assert_eq!(ids.len(), 640);
}

#[tokio::test]
async fn second_daemon_is_refused_with_the_pid_of_the_first() {
    let directory = common::directory();
    let store = common::open(directory.path());
    let second = SqliteStore::open_with(&common::settings(directory.path()), common::clock, common::options());
    let Err(OpenError::Locked { pid, .. }) = second else {
        panic!("opened twice");
    };
    assert_eq!(pid, std::process::id().to_string());
    store.close();
    assert_eq!(store.begin().await.err(), Some(StoreError::Closed));
    drop(store);
    common::open(directory.path());
}

#[tokio::test]
async fn directory_that_others_can_write_is_refused_and_files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("queue");
    drop(common::open(&directory));
    assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    drop(common::open(&directory));
    for entry in fs::read_dir(&directory).unwrap().flatten() {
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{entry:?}");
    }
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o775)).unwrap();
    let refused = SqliteStore::open_with(&common::settings(&directory), common::clock, common::options());
    assert!(refused.unwrap_err().to_string().contains("chmod 700"));
}

#[tokio::test]
async fn orphan_files_are_removed_at_start() {
    let directory = common::directory();
    let store = common::open(directory.path());
    let id = enqueue(&store, &pattern(100_000, 2), &["c@y.example"]).await;
    drop(store);
    let kept = data_files(directory.path());
    fs::copy(&kept[0], directory.path().join("data/incoming/0000000000000")).unwrap();
    fs::copy(&kept[0], directory.path().join("data/07/0000000000007")).unwrap();
    let store = common::open(directory.path());
    assert_eq!(data_files(directory.path()), kept);
    assert!(read_all(&store, id).await.is_ok());
}

#[tokio::test]
async fn message_without_its_file_is_held_and_the_rest_goes_on() {
    let directory = common::directory();
    let store = common::open(directory.path());
    let lost = enqueue(&store, &pattern(100_000, 2), &["c@y.example"]).await;
    let kept = enqueue(&store, b"x", &["c@y.example"]).await;
    drop(store);
    fs::remove_file(&data_files(directory.path())[0]).unwrap();
    let store = common::open(directory.path());
    assert!(
        store
            .warnings()
            .iter()
            .any(|warning| warning.contains(&lost.to_string()))
    );
    let leases = store.due(ARRIVED, 10).await.unwrap();
    assert_eq!(leases.iter().map(|lease| lease.id).collect::<Vec<_>>(), [kept]);
    let entry = store.list(None, 1).await.unwrap().pop().unwrap();
    assert_eq!(entry.hold.as_deref(), Some("damaged: its data file is missing"));
    assert_eq!(store.flush(ARRIVED).await, Ok(0), "a flush does not wake what is held");
}

#[tokio::test]
async fn damaged_data_is_never_handed_out_and_held() {
    let directory = common::directory();
    let store = common::open(directory.path());
    let id = enqueue(&store, &pattern(100_000, 2), &["c@y.example"]).await;
    let file = data_files(directory.path()).remove(0);
    let mut octets = fs::read(&file).unwrap();
    octets[99_999] ^= 1;
    fs::write(&file, octets).unwrap();
    let lease = store.due(ARRIVED, 10).await.unwrap().pop().unwrap();
    assert_eq!(store.data(id, 0, 10).await, Err(StoreError::Damaged(id.to_string())));
    store.settle(lease, vec![retry(0, 0)]).await.unwrap();
    assert_eq!(store.due(ARRIVED, 10).await, Ok(Vec::new()));
    assert_eq!(store.next_due().await, Ok(None));
    assert_eq!(store.list(None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn damaged_or_newer_database_is_refused_in_words() {
    let directory = common::directory();
    drop(common::open(directory.path()));
    let open = || SqliteStore::open_with(&common::settings(directory.path()), common::clock, common::options());
    let database = directory.path().join("queue.db");
    let connection = rusqlite::Connection::open(&database).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    assert!(matches!(open(), Err(OpenError::NewerSchema { found: 99, .. })));
    assert!(matches!(
        list_directory(directory.path(), None, 1),
        Err(OpenError::NewerSchema { found: 99, .. })
    ));
    fs::write(&database, vec![b'x'; 8192]).unwrap();
    assert!(matches!(open(), Err(OpenError::Corrupted { .. })));
}

#[tokio::test]
async fn done_log_left_by_a_crash_is_replayed() {
    let directory = common::directory();
    let store = common::open(directory.path());
    let id = enqueue(&store, b"x", &["a@x.example", "b@x.example"]).await;
    drop(store);
    fs::write(directory.path().join("done.log"), format!("{id} 0\n{id} 7\ntorn")).unwrap();
    let store = common::open(directory.path());
    let entry = store.list(None, 1).await.unwrap().pop().unwrap();
    assert_eq!(entry.recipients.len(), 1);
    assert_eq!(entry.recipients[0].forward_path.to_string(), "b@x.example");
    assert_eq!(fs::read(directory.path().join("done.log")).unwrap(), b"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wal_stays_short_under_load() {
    let directory = common::directory();
    let store = common::open(directory.path());
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..130 {
                    enqueue(&store, &vec![b'x'; 32_000], &["a@x.example"]).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let database = fs::metadata(directory.path().join("queue.db")).unwrap().len();
    let wal = fs::metadata(directory.path().join("queue.db-wal")).unwrap().len();
    assert!(wal < 32 << 20, "66 MB were written, the WAL has {wal} octets");
    assert!(database > 32 << 20, "checkpoints moved {database} octets");
    store.close();
    let wal = fs::metadata(directory.path().join("queue.db-wal")).map_or(0, |wal| wal.len());
    assert_eq!(wal, 0, "closing empties the WAL");
}

#[tokio::test]
async fn look_given_up_by_its_caller_leaves_nothing_leased() {
    let directory = common::directory();
    let store = common::open(directory.path());
    enqueue(&store, b"x", &["a@x.example"]).await;
    // Polled once, so that the look is under way, and dropped.
    let mut look = Box::pin(store.due(ARRIVED, 10));
    let first = std::future::poll_fn(|context| std::task::Poll::Ready(look.as_mut().poll(context))).await;
    drop(look);
    if let std::task::Poll::Ready(leases) = first {
        assert_eq!(leases.unwrap().len(), 1);
        return;
    }
    for _ in 0..200 {
        if !store.due(ARRIVED, 10).await.unwrap().is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the lease was lost");
}
