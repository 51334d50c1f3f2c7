//! Octets on the disk that are not what was written.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::common::client::Client;
use crate::common::sink::Sink;
use crate::common::{free_port, wait_until};
use crate::world::{LARGE, World};

/// What SQLite calls a page.
const PAGE: u64 = 4096;

/// A stopped relay with messages that wait, all of them in queue.db: the log is empty.
fn world_with_waiting_mail(messages: usize, octets: usize) -> World {
    let mut world = World::start();
    for _ in 0..messages {
        assert_eq!(world.send("defer@example.net", octets).code, 250);
    }
    wait_until("all were tried", || {
        world.relay.log_text().matches("delivery.deferred").count() >= messages
    });
    assert!(world.relay.terminate().success());
    world
}

fn overwrite(path: &Path, at: u64, octets: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).expect("opens");
    file.seek(SeekFrom::Start(at)).expect("seeks");
    file.write_all(octets).expect("written");
}

/// The first page of a table or an index, as `sqlite_schema` tells it.
fn root_page(database: &Path, name: &str) -> u64 {
    let connection = rusqlite::Connection::open(database).expect("opens");
    let page: i64 = connection
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = ?", [name], |row| {
            row.get(0)
        })
        .expect("known");
    u64::try_from(page).expect("positive")
}

fn data_files(queue: &Path) -> Vec<PathBuf> {
    let shelves = fs::read_dir(queue.join("data")).expect("data").flatten();
    let files = shelves.filter_map(|shelf| fs::read_dir(shelf.path()).ok());
    files
        .flat_map(|files| files.flatten().map(|file| file.path()))
        .collect()
}

#[test]
fn corrupted_page_of_a_stopped_queue_is_refused_naming_the_file_and_what_to_do() {
    let world = world_with_waiting_mail(20, 3_000);
    let database = world.relay.queue().join("queue.db");
    // A page that nothing else reads at the start.
    let page = root_page(&database, "recipient_message");
    let sound = fs::read(&database).expect("readable");
    overwrite(&database, (page - 1) * PAGE, &[0xFF; 64]);
    let said = world.expect_refused_start();
    assert!(said.contains("queue.db is damaged"), "{said}");
    assert!(said.contains("restore queue_directory from a backup"), "{said}");
    assert!(said.contains(".recover"), "{said}");
    overwrite(&database, 0, &[0xFF; 64]);
    let said = world.expect_refused_start();
    assert!(said.contains("queue.db is damaged"), "{said}");
    fs::write(&database, sound).expect("restored");
    let mut world = world;
    world.spawn();
    assert_eq!(world.relay.queued().len(), 20, "restored, it is as it was");
}

#[test]
fn page_corrupted_under_the_daemon_is_a_fault_that_the_next_start_refuses() {
    // More than the writer keeps in memory: what it has there, it would write again as it was.
    let mut world = world_with_waiting_mail(120, 30_000);
    let database = world.relay.queue().join("queue.db");
    let pages = fs::metadata(&database).expect("there").len() / PAGE;
    world.spawn();
    for page in 2..=pages {
        overwrite(&database, (page - 1) * PAGE, &[0xFF; 64]);
    }
    // The daemon may have met the damage itself before anybody comes.
    if let Ok(mut client) = Client::connect(world.relay.address()) {
        let said = client.say("EHLO printer.example.org");
        let reply = said.and_then(|_| world.try_send_on(&mut client, "b@example.net", 10));
        let code = reply.map(|reply| reply.code);
        assert!(matches!(code, Err(_) | Ok(421 | 451)), "{code:?}");
    }
    world.expect_failure();
    world.expect_logged("queue.failed");
    world.expect_logged("malformed");
    let said = world.expect_refused_start();
    assert!(said.contains("queue.db is damaged"), "{said}");
}

#[test]
fn page_corrupted_that_only_readers_meet_is_a_fault_as_well() {
    let mut world = world_with_waiting_mail(20, 3_000);
    let database = world.relay.queue().join("queue.db");
    let page = root_page(&database, "message");
    world.spawn();
    overwrite(&database, (page - 1) * PAGE, &[0xFF; 64]);
    // Nothing is written: the flush asks for reading only after its own commit.
    let _ = world.relay.command(&["queue"], &["flush"]);
    world.expect_failure();
    world.expect_logged("queue.failed");
    let said = world.expect_refused_start();
    assert!(said.contains("queue.db is damaged"), "{said}");
}

#[test]
fn mail_data_that_changed_is_held_and_the_rest_goes_on() {
    let mut world = World::prepare("");
    // The next hop is away at first, so that the data is read from the disk when it is back.
    let late = free_port();
    let text = fs::read_to_string(world.relay.config()).expect("readable");
    let away = text.replace(
        &format!("[127.0.0.1]:{}", world.sink.port),
        &format!("[127.0.0.1]:{late}"),
    );
    world.relay.write_config(&away);
    world.spawn();
    for _ in 0..2 {
        assert_eq!(world.send("b@example.net", LARGE).code, 250);
    }
    world.expect_logged("delivery.deferred");
    let files = data_files(&world.relay.queue());
    assert_eq!(files.len(), 2);
    overwrite(&files[0], 50_000, b"?");
    world.sink = Sink::start_on(late);
    let flushed = world.relay.command(&["queue"], &["flush"]);
    assert!(flushed.status.success());
    wait_until("one is held as damaged, the other delivered", || {
        let queued = world.relay.queued();
        let is_held = |entry: &serde_json::Value| entry.to_string().contains("damaged: its data");
        world.sink.count() == 1 && queued.len() == 1 && is_held(&queued[0])
    });
    assert!(world.delivered().len() == 1, "and whole");
}

#[test]
fn missing_database_with_mail_data_is_refused_and_no_data_removed() {
    let mut world = World::start();
    assert_eq!(world.send("defer@example.net", LARGE).code, 250);
    world.relay.kill();
    let database = world.relay.queue().join("queue.db");
    let kept = world.relay.file("kept.db");
    fs::rename(&database, &kept).expect("moved");
    let said = world.expect_refused_start();
    assert!(said.contains("queue.db is missing, but its log or 1 files"), "{said}");
    fs::write(&database, "").expect("emptied");
    let said = world.expect_refused_start();
    assert!(said.contains("queue.db is missing"), "{said}");
    assert_eq!(data_files(&world.relay.queue()).len(), 1);
    fs::rename(&kept, &database).expect("moved back");
    world.spawn();
    assert_eq!(world.relay.queued().len(), 1);
}

#[test]
fn torn_tail_of_the_log_costs_nothing_that_was_acknowledged() {
    let mut world = World::start();
    for _ in 0..5 {
        assert_eq!(world.send("defer@example.net", 2_000).code, 250);
    }
    wait_until("all were tried", || {
        world.relay.log_text().matches("delivery.deferred").count() == 5
    });
    world.relay.kill();
    let log = world.relay.queue().join("queue.db-wal");
    let mut octets = Vec::new();
    let mut file = OpenOptions::new().read(true).append(true).open(&log).expect("opens");
    file.read_to_end(&mut octets).expect("readable");
    assert!(octets.len() > 10_000, "what was queued is in the log");
    // The beginning of a commit that power cut off: a frame that looks right with a page that is not, and half a frame.
    let frame = &octets[32..32 + 24 + 4096];
    let torn = [&frame[..2_000], &[0; 2_120][..], &frame[..1_000]].concat();
    file.write_all(&torn).expect("written");
    drop(file);
    world.spawn();
    assert_eq!(world.relay.queued().len(), 5);
    assert_eq!(world.send("b@example.net", 10).code, 250);
    wait_until("it is delivered", || world.sink.count() == 1);
}
