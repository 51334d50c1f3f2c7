//! Full disks and failing disks.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use estafette::io::store::{FileCalls, OpenOptions, SqliteStore};
use estafette::queue::{Store, StoreError};

use super::common::{self, ARRIVED, done, enqueue, pattern, try_enqueue};

/// A disk on which each operation can be made to fail.
#[derive(Debug, Default)]
struct FailingDisk {
    write: AtomicBool,
    sync: AtomicBool,
    rename: AtomicBool,
    directory: AtomicBool,
    commit: AtomicBool,
}

fn unless(failing: &AtomicBool) -> io::Result<()> {
    if failing.load(Ordering::SeqCst) {
        Err(io::Error::other("injected"))
    } else {
        Ok(())
    }
}

impl FileCalls for FailingDisk {
    fn write(&self, file: &mut File, octets: &[u8]) -> io::Result<()> {
        unless(&self.write)?;
        io::Write::write_all(file, octets)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        unless(&self.sync)?;
        file.sync_data()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        unless(&self.rename)?;
        std::fs::rename(from, to)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        unless(&self.directory)?;
        File::open(directory)?.sync_all()
    }

    fn before_commit(&self) -> io::Result<()> {
        unless(&self.commit)
    }
}

fn files_under(directory: &Path) -> usize {
    let count = |shelf: io::Result<std::fs::DirEntry>| std::fs::read_dir(shelf.unwrap().path()).unwrap().count();
    std::fs::read_dir(directory.join("data")).unwrap().map(count).sum()
}

#[tokio::test]
async fn failing_data_file_refuses_its_message_and_queues_nothing() {
    let directory = common::directory();
    let disk = Arc::new(FailingDisk::default());
    let data = pattern(100_000, 3);
    // An fsync that fails is final: the store is opened anew after each.
    for (failing, is_final) in [
        (&disk.write, false),
        (&disk.rename, false),
        (&disk.sync, true),
        (&disk.directory, true),
    ] {
        let store = common::open_with_calls(directory.path(), Arc::clone(&disk) as Arc<dyn FileCalls>);
        failing.store(true, Ordering::SeqCst);
        let refused = try_enqueue(&store, &data, &["a@x.example"]).await;
        assert!(matches!(refused, Err(StoreError::Io(_))), "{refused:?}");
        failing.store(false, Ordering::SeqCst);
        assert_eq!(store.list(None, 10).await, Ok(Vec::new()));
        assert_eq!(files_under(directory.path()), 0);
        assert_eq!(store.refusal().is_some(), is_final);
        assert_eq!(
            store.begin().await.err(),
            is_final.then_some(StoreError::Closed),
            "no new mail after an fsync error"
        );
        assert_eq!(store.fault(), None, "what is queued is delivered");
    }
    let store = common::open(directory.path());
    enqueue(&store, &data, &["a@x.example"]).await;
}

#[tokio::test]
async fn full_database_refuses_new_mail_and_still_settles() {
    let directory = common::directory();
    let options = OpenOptions {
        page_count_max: Some(64),
        ..common::options()
    };
    let store = SqliteStore::open_with(&common::settings(directory.path()), common::clock, options).unwrap();
    let data = pattern(20_000, 4);
    let mut queued = Vec::new();
    let refused = loop {
        match try_enqueue(&store, &data, &["a@x.example"]).await {
            Ok(id) => queued.push(id),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, StoreError::NoSpace);
    assert!(queued.len() > 3);
    assert!(!directory.path().join("reserve").exists(), "the ballast was freed");
    let listed: Vec<_> = store
        .list(None, 1000)
        .await
        .unwrap()
        .into_iter()
        .map(|entry| entry.id)
        .collect();
    assert_eq!(listed, queued);
    for lease in store.due(ARRIVED, 1000).await.unwrap() {
        store.settle(lease, vec![done(0)]).await.unwrap();
    }
    assert_eq!(store.list(None, 10).await, Ok(Vec::new()));
    assert_eq!(store.fault(), None);
    enqueue(&store, &data, &["a@x.example"]).await;
}

#[tokio::test]
async fn failed_commit_refuses_new_mail_and_settles_what_was_asked() {
    let directory = common::directory();
    let disk = Arc::new(FailingDisk::default());
    let store = common::open_with_calls(directory.path(), Arc::clone(&disk) as Arc<dyn FileCalls>);
    enqueue(&store, b"x", &["a@x.example"]).await;
    let kept = enqueue(&store, b"x", &["b@x.example"]).await;
    let mut leases = store.due(ARRIVED, 10).await.unwrap();
    disk.commit.store(true, Ordering::SeqCst);
    let refused = store.settle(leases.remove(0), vec![done(0)]).await;
    assert!(matches!(refused, Err(StoreError::Io(_))), "{refused:?}");
    assert_eq!(store.begin().await.err(), Some(StoreError::Closed));
    assert_eq!(store.due(ARRIVED, 10).await, Ok(Vec::new()), "its lease stays");
    store.close();
    assert!(store.fault().is_some(), "the second failure is a fault");
    drop(store);

    let store = common::open(directory.path());
    let listed: Vec<_> = store
        .list(None, 10)
        .await
        .unwrap()
        .into_iter()
        .map(|entry| entry.id)
        .collect();
    assert_eq!(listed, [kept], "done.log was replayed: nothing is sent twice");
}

/// A disk whose n-th commit fails, and no other.
#[derive(Debug, Default)]
struct FailsOnce(AtomicBool);

impl FileCalls for FailsOnce {
    fn before_commit(&self) -> io::Result<()> {
        if self.0.swap(false, Ordering::SeqCst) {
            Err(io::Error::other("injected"))
        } else {
            Ok(())
        }
    }
}

#[tokio::test]
async fn store_that_failed_once_goes_on_settling() {
    let directory = common::directory();
    let disk = Arc::new(FailsOnce::default());
    let store = common::open_with_calls(directory.path(), Arc::clone(&disk) as Arc<dyn FileCalls>);
    for to in ["a@x.example", "b@x.example"] {
        enqueue(&store, b"x", &[to]).await;
    }
    let mut leases = store.due(ARRIVED, 10).await.unwrap();
    let late = store.begin().await.unwrap();
    disk.0.store(true, Ordering::SeqCst);
    let refused = common::commit(late, &["c@x.example"]).await;
    assert!(matches!(refused, Err(StoreError::Io(_))), "{refused:?}");
    assert_eq!(store.begin().await.err(), Some(StoreError::Closed));
    for lease in leases.drain(..) {
        store.settle(lease, vec![done(0)]).await.unwrap();
    }
    assert_eq!(store.list(None, 10).await, Ok(Vec::new()));
    assert_eq!(store.fault(), None);
}

/// A disk that is full for every commit while it is set.
#[derive(Debug, Default)]
struct FullDisk(AtomicBool);

impl FileCalls for FullDisk {
    fn before_commit(&self) -> io::Result<()> {
        if self.0.load(Ordering::SeqCst) {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }
}

#[tokio::test]
async fn nothing_more_is_given_out_while_completions_cannot_be_committed() {
    let directory = common::directory();
    let disk = Arc::new(FullDisk::default());
    let store = common::open_with_calls(directory.path(), Arc::clone(&disk) as Arc<dyn FileCalls>);
    let taken = enqueue(&store, b"x", &["a@x.example"]).await;
    let other = enqueue(&store, b"x", &["b@x.example"]).await;
    let lease = store.due(ARRIVED, 1).await.unwrap().remove(0);
    assert_eq!(lease.id, taken);
    store.relayed(&lease, &[0]).unwrap();
    disk.0.store(true, Ordering::SeqCst);
    let refused = store.settle(lease, vec![done(0)]).await;
    assert_eq!(refused, Err(StoreError::NoSpace));
    for _ in 0..5 {
        assert_eq!(
            store.due(ARRIVED, 10).await,
            Ok(Vec::new()),
            "it could not be recorded either"
        );
    }
    disk.0.store(false, Ordering::SeqCst);
    let mut leases = Vec::new();
    for _ in 0..500 {
        leases = store.due(ARRIVED, 10).await.unwrap();
        if !leases.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(leases.iter().map(|lease| lease.id).collect::<Vec<_>>(), [other]);
    let left = store.list(None, 10).await.unwrap();
    let left: Vec<_> = left.iter().map(|entry| entry.id).collect();
    assert_eq!(left, [other], "what was owed is committed");
    assert_eq!(store.fault(), None);
}

#[tokio::test]
async fn what_the_next_hop_took_is_in_the_log_before_it_is_settled() {
    let directory = common::directory();
    let store = common::open(directory.path());
    let id = enqueue(&store, b"x", &["a@x.example", "b@x.example"]).await;
    let lease = store.due(ARRIVED, 1).await.unwrap().remove(0);
    store.relayed(&lease, &[1]).unwrap();
    let log = directory.path().join("done.log");
    // What a process that is killed now leaves.
    let left = std::fs::read_to_string(&log).unwrap();
    assert_eq!(left.trim(), format!("{id} 1"));
    store.settle(lease, vec![done(0), done(1)]).await.unwrap();
    store.close();
    assert_eq!(std::fs::read(&log).unwrap(), b"", "nothing in it is open");
}

#[tokio::test]
async fn what_a_former_process_relayed_is_not_given_out_while_the_disk_is_full() {
    let directory = common::directory();
    let store = common::open(directory.path());
    let taken = enqueue(&store, b"x", &["a@x.example"]).await;
    let other = enqueue(&store, b"x", &["b@x.example"]).await;
    drop(store);
    std::fs::write(directory.path().join("done.log"), format!("{taken} 0\n")).unwrap();
    let disk = Arc::new(FullDisk(AtomicBool::new(true)));
    let store = common::open_with_calls(directory.path(), Arc::clone(&disk) as Arc<dyn FileCalls>);
    for _ in 0..5 {
        assert_eq!(store.due(ARRIVED, 10).await, Ok(Vec::new()), "it would be sent again");
    }
    disk.0.store(false, Ordering::SeqCst);
    let mut leases = Vec::new();
    for _ in 0..500 {
        leases = store.due(ARRIVED, 10).await.unwrap();
        if !leases.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(leases.iter().map(|lease| lease.id).collect::<Vec<_>>(), [other]);
}
