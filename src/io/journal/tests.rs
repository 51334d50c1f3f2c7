//! The journal's promises: bounded, whole lines, private, readable while it is written.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use super::*;
use crate::cert::identity::Identity;
use crate::mail::queue_id::QueueId;
use crate::session::event::Origin;
use crate::wire::path::ReversePath;

/// A record of about `octets` octets.
fn event(number: u32, octets: usize) -> Event {
    let peer = "192.0.2.1:25".parse().unwrap();
    Event::MessageQueued {
        origin: Origin::new("s", "smtp", peer, &Identity::Plaintext).into(),
        id: QueueId::from_parts(1_795_510_800_000, number),
        size_octets: 1,
        reverse_path: ReversePath::Null,
        forward_paths: Vec::new(),
        decided_by: "x".repeat(octets),
        references: vec![number.to_string()],
        hold: None,
    }
}

fn numbers_of(queue: &Path) -> Vec<u32> {
    let mut found = Vec::new();
    let whole = reader::newest_first(&directory(queue), |decision, _| {
        found.push(decision.references[0].parse().unwrap());
        std::ops::ControlFlow::Continue(())
    });
    assert!(whole.unwrap().is_continue());
    found
}

fn octets(queue: &Path) -> u64 {
    let files = fs::read_dir(directory(queue)).unwrap().flatten();
    files.map(|file| file.metadata().unwrap().len()).sum()
}

fn record(queue: &Path, octets_max: u64, numbers: std::ops::Range<u32>, octets: usize) {
    let journal = Journal::open(queue, octets_max).unwrap();
    for number in numbers {
        journal.record(&event(number, octets), Timestamp(0));
    }
    journal.close();
}

#[test]
fn records_are_read_newest_first_across_a_restart_from_private_files() {
    let queue = tempfile::tempdir().unwrap();
    record(queue.path(), 1 << 20, 0..3, 10);
    record(queue.path(), 1 << 20, 3..5, 10);
    assert_eq!(numbers_of(queue.path()), [4, 3, 2, 1, 0]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory(queue.path())), 0o700);
    assert_eq!(mode(&segments::path(&directory(queue.path()), 1)), 0o600);
}

#[test]
fn journal_stays_within_its_bound_and_keeps_the_newest() {
    let queue = tempfile::tempdir().unwrap();
    let octets_max = 512 << 10;
    record(queue.path(), octets_max, 0..2_000, 1_000);
    let found = numbers_of(queue.path());
    assert!(octets(queue.path()) <= octets_max);
    assert!(found.len() > 200, "most of the room is used: {}", found.len());
    let last = u32::try_from(2_000 - found.len()).unwrap();
    assert_eq!(found, (last..2_000).rev().collect::<Vec<_>>());
    // The bound becomes smaller: it holds from the start on, before anything is recorded.
    let smaller = 100 << 10;
    record(queue.path(), smaller, 0..0, 0);
    assert!(octets(queue.path()) <= smaller);
}

#[test]
fn record_that_can_never_fit_is_lost_and_the_others_are_not() {
    let queue = tempfile::tempdir().unwrap();
    let journal = Journal::open(queue.path(), 300).unwrap();
    journal.record(&event(1, 10), Timestamp(0));
    journal.close();
    assert!(octets(queue.path()) <= 300);
    record(queue.path(), 1 << 20, 2..3, 200_000);
    assert_eq!(numbers_of(queue.path())[0], 2, "a long record is shortened, not lost");
}

#[test]
fn torn_last_line_is_passed_over_and_not_joined_with_the_next_record() {
    let queue = tempfile::tempdir().unwrap();
    record(queue.path(), 1 << 20, 0..2, 10);
    let file = segments::path(&directory(queue.path()), 1);
    let mut text = fs::read_to_string(&file).unwrap();
    text.truncate(text.len() - 7);
    fs::write(&file, &text).unwrap();
    assert_eq!(numbers_of(queue.path()), [0]);
    record(queue.path(), 1 << 20, 2..4, 10);
    assert_eq!(numbers_of(queue.path()), [3, 2, 0]);
}

#[test]
fn record_is_visible_while_the_daemon_runs_and_a_removed_journal_begins_anew() {
    let queue = tempfile::tempdir().unwrap();
    let journal = Journal::open(queue.path(), 1 << 20).unwrap();
    let appears = |number: u32| {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !numbers_of(queue.path()).contains(&number) {
            assert!(Instant::now() < deadline, "record {number} does not appear");
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    journal.record(&event(1, 10), Timestamp(0));
    appears(1);
    fs::remove_dir_all(directory(queue.path())).unwrap();
    fs::create_dir(directory(queue.path())).unwrap();
    journal.record(&event(2, 10), Timestamp(0));
    appears(2);
    journal.close();
    journal.record(&event(3, 10), Timestamp(0));
    assert_eq!(numbers_of(queue.path()), [2], "closed: nothing more is written");
    remove(queue.path()).unwrap();
    assert!(!directory(queue.path()).exists());
    remove(queue.path()).unwrap();
}
