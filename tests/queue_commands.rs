//! The operator's hand on the queue: every `estafette queue` command with the real binary, on a running and on a stopped relay.

mod common;
#[path = "queue_commands/mail.rs"]
mod mail;
#[path = "queue_commands/memory.rs"]
mod memory;
#[path = "queue_commands/verify.rs"]
mod verify;

use std::fs;

use common::sink::Sink;
use common::{LOOPBACK, Relay, free_port, wait_until};
use mail::{HOUR, Mail, fill, ids, json, queue, stopped_queue};

/// Three people's mail, of different ages and sizes, on hold so that nobody delivers it.
fn three_people() -> Vec<Mail> {
    let mail = |from: &'static str, unit: &'static str, hours: i64, octets: usize| Mail {
        from,
        to: vec!["bob@example.net", "carol@mail.example.com"],
        subject: Some(unit),
        age_millis: hours * HOUR,
        octets,
        hold: Some("who is this?"),
    };
    vec![
        mail("alice@lab.example.org", "/C=FR/O=CNRS/OU=UMR5168/CN=Alice", 5, 100),
        mail("dora@lab.example.org", "/C=FR/O=CNRS/OU=UMR1/CN=Dora", 3, 40_000),
        Mail {
            subject: None,
            hold: None,
            ..mail("", "", 1, 200)
        },
    ]
}

fn check_filters(relay: &Relay, all: &[String]) {
    for (words, found) in [
        (&["--sender", "alice@lab.example.org"][..], &[0][..]),
        (&["--sender", "lab.example.org"], &[0, 1]),
        (&["--sender", "*@*.example.org"], &[0, 1]),
        (&["--sender", "<>"], &[2]),
        (&["--recipient", "bob@*"], &[0, 1, 2]),
        (&["--recipient", "example.org"], &[]),
        (&["--destination", "mail.*"], &[0, 1, 2]),
        (&["--subject", "OU=UMR5168"], &[0]),
        (&["--subject", "*OU=UMR*"], &[0, 1]),
        (&["--subject", "OU=UMR"], &[]),
        (&["--issuer", "CNRS-Standard"], &[0, 1]),
        (&["--fingerprint", "AB:cd"], &[0, 1]),
        (&["--state", "hold"], &[0, 1]),
        (&["--older-than", "2h"], &[0, 1]),
        (&["--newer-than", "4h", "--state", "hold"], &[1]),
        (&["--larger-than", "10k"], &[1]),
        (&["--smaller-than", "150"], &[0]),
        (&["--sender", "lab.example.org", "--limit", "1"], &[0]),
    ] {
        let (code, text) = queue(relay, &[&["list", "--json"], words].concat());
        let found: Vec<&str> = found.iter().map(|n: &usize| all[*n].as_str()).collect();
        let listed = json(&text);
        let listed: Vec<&str> = listed.iter().filter_map(|entry| entry["queue_id"].as_str()).collect();
        assert_eq!((code, listed), (0, found), "{words:?}");
    }
}

#[test]
fn listing_is_filtered_by_everything_a_message_has_running_or_stopped() {
    let mut relay = Relay::prepare(LOOPBACK, free_port());
    fill(&relay, &three_people());
    let all = ids(&relay);
    check_filters(&relay, &all);
    let (_, text) = queue(&relay, &["list"]);
    assert!(
        text.ends_with("-- 3 messages\n") && text.contains(&format!("{}! ", all[0])),
        "{text}"
    );
    relay.spawn();
    wait_until("tried", || {
        queue(&relay, &["list", "--state", "deferred"])
            .1
            .contains("-- 1 message\n")
    });
    check_filters(&relay, &all);
    let (code, text) = queue(&relay, &["list", "--older-than", "yesterday"]);
    assert!(code == 2 && text.contains("--older-than: yesterday"), "{text}");
}

#[test]
fn message_is_shown_with_its_history_header_and_body() {
    let mut relay = Relay::prepare(LOOPBACK, free_port());
    fill(&relay, &three_people()[2..]);
    relay.spawn();
    let id = ids(&relay).remove(0);
    wait_until("tried", || {
        json(&queue(&relay, &["show", &id, "--json"]).1)[0]["history"][0].is_object()
    });
    let (code, text) = queue(&relay, &["show", &id]);
    assert_eq!(code, 0, "{text}");
    for expected in [
        "state        deferred",
        "sender       <>",
        "recipient    <bob@example.net>",
        "destination  example.net",
        "attempts     1\n  20",
        "Connection refused",
        "\nSubject: mail\\u{1b}\n",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains("xxxx"), "no body: {text}");
    let shown = &json(&queue(&relay, &["show", &id, "--json"]).1)[0];
    assert_eq!(shown["recipients"][0]["attempts"], 1, "{shown}");
    let output = relay.command(&["queue", "show", &id, "--body"], &[]);
    assert_eq!(output.stdout, mail::data(200));
    let (code, text) = queue(&relay, &["show", "0DPFbTGXVTbDQ"]);
    assert!(
        code == 1 && text.contains("no message 0DPFbTGXVTbDQ is queued"),
        "{text}"
    );
}

#[test]
fn change_of_more_than_one_message_needs_its_count() {
    let mut relay = Relay::prepare(LOOPBACK, free_port());
    fill(&relay, &three_people());
    for is_running in [false, true] {
        let (code, text) = queue(&relay, &["delete", "--sender", "lab.example.org"]);
        assert!(
            code == 2 && text.contains("2 messages would be deleted: give --confirm 2"),
            "{text}"
        );
        let (code, text) = queue(&relay, &["delete", "--sender", "lab.example.org", "--dry-run"]);
        assert!(
            code == 0 && text.contains("-- 2 messages would be deleted; --confirm 2"),
            "{text}"
        );
        let (code, text) = queue(&relay, &["delete", "--all", "--dry-run", "--json"]);
        let last = json(&text).pop().expect("the counts");
        assert_eq!(
            (code, &last["messages"], json(&text).len()),
            (0, &3.into(), 4),
            "{text}"
        );
        let (code, text) = queue(&relay, &["delete", "--sender", "lab.example.org", "--confirm", "3"]);
        assert!(
            code == 1 && text.contains("2 messages meant now, not 3: nothing was done"),
            "{text}"
        );
        assert_eq!(ids(&relay).len(), 3);
        if !is_running {
            relay.spawn();
        }
    }
    let (code, text) = queue(
        &relay,
        &["delete", "--sender", "lab.example.org", "--confirm", "2", "--json"],
    );
    let told = json(&text);
    assert_eq!((code, told.len()), (0, 3), "{text}");
    assert_eq!(
        told[2],
        serde_json::json!({"action": "deleted", "done": 2, "refused": 0, "failure": null})
    );
    assert_eq!(ids(&relay).len(), 1);
    let log = relay.log_text();
    let line = log
        .lines()
        .find(|line| line.contains("message.deleted"))
        .expect("logged");
    for expected in [
        "alice@lab.example.org",
        "bob@example.net, carol@mail.example.com",
        "OU=UMR5168",
    ] {
        assert!(line.contains(expected), "{expected}: {line}");
    }
    assert_eq!(queue(&relay, &["verify"]).0, 0);
}

#[test]
fn hold_release_flush_and_delete_tell_of_each_message_running_or_stopped() {
    let mut relay = Relay::prepare(LOOPBACK, free_port());
    fill(&relay, &three_people());
    let all = ids(&relay);
    for is_running in [false, true] {
        let (code, text) = queue(&relay, &["release", "--all", "--yes"]);
        assert!(code == 0 && text.ends_with("2 messages released\n"), "{text}");
        // What is tried at this moment is refused; that ends.
        wait_until("held", || {
            queue(&relay, &["hold", &all[0], &all[1], "--reason", "stolen"]).0 == 0 || {
                let held = json(&queue(&relay, &["list", "--state", "hold", "--json"]).1);
                held.len() == 2
            }
        });
        let (code, text) = queue(&relay, &["hold", "--all", "--confirm", "0"]);
        assert!(
            is_running || code == 1 && text.contains("1 message meant now, not 0"),
            "{text}"
        );
        let (code, text) = queue(&relay, &["hold", &all[0], "0DPFbTGXVTbDQ"]);
        assert!(code == 1 && text.contains("is on hold already: stolen"), "{text}");
        assert!(
            text.contains("no message 0DPFbTGXVTbDQ is queued") && text.contains("0 messages held, 2 not"),
            "{text}"
        );
        let (code, text) = queue(&relay, &["flush", "--recipient", "bob@example.net"]);
        assert!(code == 0 && text.ends_with("1 message due now\n"), "{text}");
        let (code, text) = queue(&relay, &["flush"]);
        assert!(code == 0 && text.contains("recipients are due now"), "{text}");
        if !is_running {
            relay.spawn();
        }
    }
    let (code, text) = queue(&relay, &["delete", &all[0]]);
    let told = format!(
        "message {} is deleted: <alice@lab.example.org> to <bob@example.net>",
        all[0]
    );
    assert!(
        code == 0 && text.contains(&told) && text.ends_with("1 message deleted\n"),
        "{text}"
    );
    assert!(relay.terminate().success());
    let (code, text) = queue(&relay, &["delete", "--all", "--yes"]);
    // The warning of the delay may be among them.
    assert!(code == 0 && text.ends_with(" messages deleted\n"), "{text}");
    assert!(
        queue(&relay, &["verify"])
            .1
            .starts_with("clean: 0 messages, 0 recipients, 0 files")
    );
}

#[test]
fn requeued_mail_goes_the_way_of_the_present_configuration() {
    let mut relay = stopped_queue(&[Mail::default(), Mail::default()]);
    let all = ids(&relay);
    let sink = Sink::start();
    relay.write_config(&format!("{LOOPBACK}{}", common::base_config(relay.port, sink.port)));
    let (code, text) = queue(&relay, &["requeue", &all[0]]);
    assert!(
        code == 0 && text.contains("is requeued, its recipients are due now"),
        "{text}"
    );
    let destination = |number: usize| {
        let listed = json(&queue(&relay, &["list", "--json"]).1);
        listed[number]["recipients"][0]["destination"]
            .as_str()
            .map(str::to_owned)
    };
    let relayhost = format!("[127.0.0.1]:{}", sink.port);
    assert_eq!(destination(0), Some(relayhost.clone()));
    assert_eq!(destination(1).as_deref(), Some("example.net"));
    assert!(queue(&relay, &["hold", &all[1]]).0 == 0);
    relay.spawn();
    wait_until("delivered", || sink.count() == 1);
    wait_until("settled", || json(&queue(&relay, &["list", "--json"]).1).len() == 1);
    let (code, text) = queue(&relay, &["requeue", "--all"]);
    assert!(
        code == 0 && text.contains("and still on hold: by the operator"),
        "{text}"
    );
    assert_eq!(
        json(&queue(&relay, &["list", "--json"]).1)[0]["recipients"][0]["destination"],
        relayhost.as_str()
    );
    assert_eq!(queue(&relay, &["verify"]).0, 0);
}

#[test]
fn bounced_mail_comes_back_to_its_sender_with_the_reason_and_is_gone() {
    let sink = Sink::start();
    let mut relay = Relay::prepare(LOOPBACK, sink.port);
    let mut mail = three_people();
    mail[2].hold = Some("nobody's");
    fill(&relay, &mail);
    let all = ids(&relay);
    let (code, text) = queue(&relay, &["bounce", &all[0], "--reason", "the list is closed"]);
    assert!(
        code == 0 && text.contains("is returned to <alice@lab.example.org>"),
        "{text}"
    );
    let left = ids(&relay);
    assert!(
        left.len() == 3 && !left.contains(&all[0]),
        "the bounce itself is queued: {left:?}"
    );
    relay.spawn();
    wait_until("returned", || sink.count() == 1);
    let (code, text) = queue(&relay, &["bounce", "--state", "hold", "--yes"]);
    assert!(
        code == 0 && text.contains("its reverse-path is null, nobody is told"),
        "{text}"
    );
    assert!(text.ends_with("2 messages bounced\n"), "{text}");
    wait_until("all is gone", || ids(&relay).is_empty());
    let returned = sink.messages();
    assert_eq!(returned.len(), 2);
    let first = String::from_utf8_lossy(&returned[0].data).into_owned();
    for expected in [
        "returned by the postmaster: the list is closed",
        "Status: 5.3.0",
        "bob@example.net",
        "carol@",
    ] {
        assert!(first.contains(expected), "{expected}: {first}");
    }
    wait_until("message.bounced", || relay.log_text().contains("message.bounced"));
    assert_eq!(queue(&relay, &["verify"]).0, 0);
}

#[test]
fn damaged_mail_is_returned_without_its_data_or_deleted() {
    let sink = Sink::start();
    let mut relay = Relay::prepare(LOOPBACK, sink.port);
    fill(&relay, &three_people()[1..2]);
    fill(&relay, &three_people()[1..2]);
    for file in mail::data_files(&relay) {
        fs::write(file, b"other").expect("written");
    }
    let all = ids(&relay);
    let (code, text) = queue(&relay, &["release", &all[0]]);
    assert!(code == 0, "whether data is whole is asked when it is sent: {text}");
    relay.spawn();
    wait_until("damaged", || {
        queue(&relay, &["list", "--state", "damaged"])
            .1
            .contains("-- 1 message\n")
    });
    let (code, text) = queue(&relay, &["bounce", &all[0]]);
    assert!(code == 0 && text.contains("is returned to <dora@"), "{text}");
    wait_until("returned", || sink.count() == 1);
    assert_eq!(queue(&relay, &["delete", &all[1]]).0, 0);
    wait_until("empty", || ids(&relay).is_empty());
    assert!(mail::data_files(&relay).is_empty());
}

#[test]
fn stats_count_by_group_and_age_as_qshape_does() {
    let relay = Relay::prepare(LOOPBACK, free_port());
    fill(&relay, &three_people());
    let (code, text) = queue(&relay, &["stats"]);
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(code, 0);
    assert_eq!(
        rows[0],
        ["T", "5", "10", "20", "40", "80", "160", "320", "640", "1280", "1280+"]
    );
    assert_eq!(
        rows[1],
        ["TOTAL", "6", "0", "0", "0", "0", "2", "0", "4", "0", "0", "0"],
        "{text}"
    );
    assert_eq!(rows[2][..2], ["example.net", "3"], "{text}");
    let (_, text) = queue(&relay, &["stats", "--by", "subject-OU", "--json"]);
    let rows = json(&text);
    let groups: Vec<&str> = rows.iter().filter_map(|row| row["group"].as_str()).collect();
    assert_eq!(groups, ["(no certificate)", "UMR1", "UMR5168"], "{text}");
    assert_eq!(rows[3]["total"], 3, "{text}");
    let (_, text) = queue(
        &relay,
        &["stats", "--by", "sender-domain", "--state", "hold", "--top", "1"],
    );
    assert!(text.contains("lab.example.org       2"), "{text}");
    let (code, text) = queue(&relay, &["stats", "--by", "colour"]);
    assert!(
        code == 2 && text.contains("--by colour: expected destination"),
        "{text}"
    );
}

#[test]
fn admin_socket_serves_others_while_one_says_nothing() {
    let relay = Relay::start(LOOPBACK, free_port());
    let socket = relay.queue().join("admin.sock");
    wait_until("the socket", || socket.exists());
    let silent: Vec<_> = (0..3)
        .map(|_| std::os::unix::net::UnixStream::connect(&socket).expect("connects"))
        .collect();
    let begun = std::time::Instant::now();
    assert_eq!(queue(&relay, &["flush"]).0, 0);
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    drop(silent);
}
