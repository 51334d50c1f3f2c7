//! A stopped queue looked at from outside: every row has its data, every file its row.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::Relay;

/// What is wrong with the queue of a stopped relay; empty when nothing is. Names the number of messages looked at.
pub fn problems(queue: &Path) -> (usize, Vec<String>) {
    let database = rusqlite::Connection::open(queue.join("queue.db")).expect("the database opens");
    let check: String = database
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("checked");
    let mut problems = Vec::new();
    if check != "ok" {
        problems.push(check);
    }
    let sql = "SELECT message.id, size, crc32c, inline, octets,
            (SELECT count(*) FROM recipient WHERE recipient.message = message.id)
        FROM message LEFT JOIN data ON data.message = message.id";
    let mut statement = database.prepare(sql).expect("prepared");
    let mut rows = statement.query([]).expect("rows");
    let (mut files, mut count) = (data_files(queue), 0);
    while let Some(row) = rows.next().expect("a row") {
        count += 1;
        let id: i64 = row.get(0).expect("id");
        let (size, crc32c): (i64, u32) = (row.get(1).expect("size"), row.get(2).expect("crc32c"));
        let name = estafette::mail::queue_id::QueueId::from_number(id)
            .expect("an id")
            .to_string();
        let path = queue.join(format!("data/{:02x}/{name}", id & 0xFF));
        let is_inline: bool = row.get(3).expect("inline");
        let octets: Option<Vec<u8>> = if is_inline {
            row.get(4).expect("octets")
        } else {
            fs::read(&path).ok()
        };
        files.remove(&path);
        let wrong = match octets {
            None => Some("has no data"),
            Some(octets) if i64::try_from(octets.len()) != Ok(size) => Some("has data of another size"),
            Some(octets) if crc32c::crc32c(&octets) != crc32c => Some("has data of another checksum"),
            Some(_) => None,
        };
        problems.extend(wrong.map(|wrong| format!("{name} {wrong}")));
        if row.get::<_, i64>(5).expect("count") == 0 {
            problems.push(format!("{name} has no recipient"));
        }
    }
    problems.extend(files.iter().map(|orphan| format!("{} has no row", orphan.display())));
    (count, problems)
}

fn data_files(queue: &Path) -> BTreeSet<PathBuf> {
    let shelves = fs::read_dir(queue.join("data")).expect("data");
    shelves
        .flatten()
        .flat_map(|shelf| fs::read_dir(shelf.path()).expect("a shelf").flatten())
        .map(|file| file.path())
        .collect()
}

/// `estafette queue verify`, on a stopped or running queue.
///
/// # Panics
/// When it finds anything.
pub fn assert_verified(relay: &Relay) {
    let output = relay.command(&["queue"], &["verify"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("clean"),
        "queue verify: {text}"
    );
    eprintln!("queue verify: {}", text.trim());
}
