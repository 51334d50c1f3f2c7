//! `queue verify` finds each kind of damage, on a running and on a stopped queue, and repairs orphans only.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};

use crate::common::{LOOPBACK, Relay, free_port};
use crate::mail::{Mail, data_files, fill, ids, json, queue, stopped_queue};

fn mail() -> Vec<Mail> {
    let hold = Some("not now");
    vec![
        Mail {
            hold,
            ..Mail::default()
        },
        Mail {
            hold,
            octets: 40_000,
            ..Mail::default()
        },
    ]
}

fn sql(relay: &Relay, text: &str) {
    let connection = rusqlite::Connection::open(relay.queue().join("queue.db")).expect("opened");
    connection.busy_timeout(std::time::Duration::from_secs(5)).expect("set");
    connection.execute_batch(text).expect("written");
}

/// What verify says of a queue with this damage; it is told of on a running queue as well where `damage` may be done to one.
fn found(damage: impl Fn(&Relay)) -> String {
    let relay = stopped_queue(&mail());
    damage(&relay);
    let (code, text) = queue(&relay, &["verify"]);
    assert_eq!(code, 1, "{text}");
    text
}

#[test]
fn whole_queue_is_clean_running_or_stopped() {
    let mut relay = stopped_queue(&mail());
    let clean = "clean: 2 messages, 2 recipients, 1 files, 0.0 MiB checked";
    let clean = clean.replace("0.0 MiB", "40200 octets");
    assert_eq!(
        queue(&relay, &["verify"]),
        (0, format!("{clean}; the relay is stopped\n"))
    );
    relay.spawn();
    assert_eq!(
        queue(&relay, &["verify"]),
        (0, format!("{clean}; the relay is running\n"))
    );
    let (code, text) = queue(&relay, &["verify", "--json"]);
    let told = json(&text).pop().expect("sums");
    assert_eq!(
        (code, &told["clean"], &told["messages"], &told["queue"]),
        (0, &true.into(), &2.into(), &"running".into())
    );
    let (code, text) = queue(&relay, &["verify", "--repair"]);
    assert!(
        code == 1 && text.contains("nothing was removed") && text.contains("stop the relay first"),
        "{text}"
    );
    assert!(relay.terminate().success());
    let empty = Relay::prepare(LOOPBACK, free_port());
    assert_eq!(
        queue(&empty, &["verify"]).0,
        1,
        "a directory that is not there proves nothing"
    );
}

#[test]
fn damaged_rows_are_named_with_what_to_do() {
    for (damage, expected) in [
        ("DELETE FROM data", "its row in the table data is missing; restore it"),
        (
            "UPDATE data SET octets = zeroblob(200)",
            "its row in the table data has checksum",
        ),
        (
            "UPDATE data SET octets = x'00'",
            "its row in the table data has 1 octets, not 200",
        ),
        (
            "DELETE FROM recipient WHERE rowid IS NULL OR message = (SELECT min(id) FROM message)",
            "it has no recipient",
        ),
        ("DELETE FROM message WHERE inline = 1", "its recipient 0 has no message"),
        (
            "DELETE FROM message WHERE inline = 1",
            "there is mail data in the table data, but no message",
        ),
        (
            "INSERT INTO attempt VALUES (77, 0, 1, 1, 'x')",
            "there is an attempt on record, but no message",
        ),
        (
            "DELETE FROM destination",
            "its recipient 0 is for no destination; estafette queue requeue",
        ),
        (
            "UPDATE message SET hold = NULL",
            "do not agree whether they are on hold",
        ),
        (
            "UPDATE recipient SET forward_path = 'a b'",
            "has an address that cannot be read",
        ),
        (
            "UPDATE message SET reverse_path = 'a b'",
            "its reverse-path cannot be read",
        ),
        ("PRAGMA user_version = 99", "has schema 99, this program knows up to"),
        (
            "UPDATE message SET inline = 1 WHERE inline = 0",
            "has no row; the next start removes it",
        ),
    ] {
        let damage = damage.replace("rowid IS NULL OR ", "");
        let text = found(|relay| sql(relay, &damage));
        assert!(text.contains(expected), "{damage}: {text}");
    }
}

/// A damage, and what is said of it.
type Case<'a> = (&'a dyn Fn(&Relay), &'a str);

#[test]
fn damaged_files_are_named_with_what_to_do() {
    let file = |relay: &Relay| data_files(relay).remove(0);
    let cases: [Case<'_>; 10] = [
        (
            &|relay| fs::remove_file(file(relay)).expect("removed"),
            "its data file is missing",
        ),
        (
            &|relay| fs::write(file(relay), b"x").expect("written"),
            "its data file has 1 octets, not 40000",
        ),
        (
            &|relay| {
                let file = OpenOptions::new().write(true).open(file(relay)).expect("opened");
                file.write_at(b"Y", 30_000).map(drop).expect("written");
            },
            "its data file has checksum",
        ),
        (
            &|relay| fs::set_permissions(file(relay), Permissions::from_mode(0o644)).expect("chmod"),
            "has mode 644, others could read or change mail; chmod 600",
        ),
        (
            &|relay| std::os::unix::fs::chown(file(relay), Some(4711), None).expect("chown, as root"),
            "belongs to uid 4711, the directory to uid",
        ),
        (
            &|relay| fs::write(relay.queue().join("data/incoming/0DPFbTGXVTbDQ"), b"x").expect("written"),
            "it was arriving when the relay ended",
        ),
        (
            &|relay| fs::remove_file(relay.queue().join("reserve")).expect("removed"),
            "the ballast is missing",
        ),
        (
            &|relay| fs::write(relay.queue().join("done.log"), b"nonsense\n").expect("written"),
            "done.log has 1 lines that cannot be read",
        ),
        (
            &|relay| fs::set_permissions(relay.queue(), Permissions::from_mode(0o777)).expect("chmod"),
            "has mode 777, others could change mail",
        ),
        (
            &|relay| {
                let path = relay.queue().join("queue.db");
                let file = OpenOptions::new().write(true).open(path).expect("opened");
                file.write_at(&[0xff; 4096], 2 * 4096).map(drop).expect("written");
            },
            "the database: ",
        ),
    ];
    for (number, (damage, expected)) in cases.into_iter().enumerate() {
        let text = found(damage);
        assert!(text.contains(expected), "{number} {expected}: {text}");
    }
}

#[test]
fn running_queue_is_looked_at_again_before_an_orphan_is_named() {
    let mut relay = stopped_queue(&mail());
    relay.spawn();
    let file = data_files(&relay).remove(0);
    let stray = estafette::mail::queue_id::QueueId::from_parts(1_800_000_000_000, 7);
    let path = relay
        .queue()
        .join(format!("data/{:02x}/{stray}", stray.number() & 0xff));
    fs::copy(&file, &path).expect("copied");
    // About to be removed, as far as anybody can tell: gone before the last look.
    let removed = path.clone();
    let remover = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(1_000));
        fs::remove_file(removed).expect("removed");
    });
    let (code, text) = queue(&relay, &["verify"]);
    assert!(code == 0 && text.starts_with("clean: "), "{text}");
    remover.join().expect("joined");
    fs::copy(&file, &path).expect("copied");
    let (code, text) = queue(&relay, &["verify"]);
    assert!(
        code == 1 && text.contains(&format!("message {stray}: ")) && text.contains("has no row"),
        "{text}"
    );
    sql(&relay, "UPDATE data SET octets = zeroblob(200)");
    let (code, text) = queue(&relay, &["verify", "--json"]);
    let kinds: Vec<_> = json(&text)
        .iter()
        .filter_map(|told| told["finding"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(
        (code, kinds),
        (1, vec!["data".to_owned(), "orphan".to_owned()]),
        "{text}"
    );
}

#[test]
fn repair_removes_orphans_of_a_stopped_queue_and_nothing_else() {
    let relay = stopped_queue(&mail());
    fill(&relay, &mail());
    let all = ids(&relay);
    sql(
        &relay,
        "DELETE FROM message WHERE id = (SELECT min(id) FROM message);
         UPDATE data SET octets = zeroblob(200) WHERE message = (SELECT max(message) FROM data);
         INSERT INTO attempt VALUES (77, 0, 1, 1, 'x')",
    );
    fs::write(relay.queue().join("data/incoming/0DPFbTGXVTbDQ"), b"x").expect("written");
    let (code, text) = queue(&relay, &["verify", "--repair"]);
    assert!(text.starts_with("removed: 3 rows, 1 files\n"), "{text}");
    assert!(
        code == 1 && text.contains("has checksum") && text.contains("\n1 finding: 3 messages"),
        "{text}"
    );
    assert_eq!(ids(&relay), all[1..]);
}
