//! What filters change: header, body, envelope, and whether the message is delivered at all.

use estafette::wire::milter::command::Command;
use estafette::wire::milter::response::{Change, Response};

use crate::common::client::Client;
use crate::common::wait_until;
use crate::fake::{Answer, FakeMilter, say};
use crate::{delivered, relay_with, send};

fn at_end(changes: Vec<Change>) -> impl Fn(&Command) -> Option<Answer> {
    move |command| {
        let mut responses: Vec<Response> = changes.iter().cloned().map(Response::Change).collect();
        responses.push(Response::Continue);
        matches!(command, Command::EndOfBody(_)).then(|| say(&responses))
    }
}

fn add(name: &str, value: &str) -> Change {
    Change::AddHeader {
        name: name.into(),
        value: value.into(),
    }
}

fn insert(index: u32, name: &str, value: &str) -> Change {
    Change::InsertHeader {
        index,
        name: name.into(),
        value: value.into(),
    }
}

fn change(index: u32, name: &str, value: &str) -> Change {
    Change::ChangeHeader {
        index,
        name: name.into(),
        value: value.into(),
    }
}

#[test]
fn header_fields_go_where_postfix_puts_them_and_cannot_smuggle() {
    let milter = FakeMilter::start();
    let (relay, sink) = relay_with(&format!("smtpd_milters = [\"{}\"]\n", milter.directive()));
    milter.answer(at_end(vec![
        insert(0, "X-Top", "t"),
        insert(2, "X-Below-Received", "b"),
        add("X-Last", "a\nX-Smuggled: yes\r\n\r\nbody"),
        change(2, "Subject", "second"),
        change(1, "Old", ""),
    ]));
    let data = "Subject: 1\r\nOld: x\r\nSubject: 2\r\n\r\nbody";
    assert_eq!(send(&relay, data).code, 250);
    let text = delivered(&sink, 0);
    let (header, body) = text.split_once("\r\n\r\n").expect("a header");
    assert_eq!(body, "body\r\n");
    let names: Vec<&str> = header
        .lines()
        .filter(|line| !line.starts_with([' ', '\t']))
        .map(|line| line.split(':').next().expect("a name"))
        .collect();
    assert_eq!(
        names,
        ["X-Top", "Received", "X-Below-Received", "Subject", "Subject", "X-Last"]
    );
    assert!(header.contains("X-Last: a\r\n\tX-Smuggled: yes\r\n\tbody"), "{header}");
    assert!(header.contains("Subject: second"), "{header}");
    wait_until("logged", || relay.log_text().contains("\"milter.changed\""));
}

#[test]
fn body_is_replaced_line_by_line() {
    let milter = FakeMilter::start();
    let (relay, sink) = relay_with(&format!("smtpd_milters = [\"{}\"]\n", milter.directive()));
    milter.answer(at_end(vec![
        Change::ReplaceBody(b"one\n.\nMAIL FROM:<x@y>\r".to_vec()),
        Change::ReplaceBody(b"\ntwo".to_vec()),
    ]));
    assert_eq!(send(&relay, "Subject: 1\r\n\r\nold").code, 250);
    let text = delivered(&sink, 0);
    let (_, body) = text.split_once("\r\n\r\n").expect("a header");
    assert_eq!(
        body.replace("\r\n..\r\n", "\r\n.\r\n"),
        "one\r\n.\r\nMAIL FROM:<x@y>\r\ntwo\r\n"
    );
}

#[test]
fn envelope_is_changed_and_a_message_for_nobody_is_thrown_away() {
    let milter = FakeMilter::start();
    let (relay, sink) = relay_with(&format!("smtpd_milters = [\"{}\"]\n", milter.directive()));
    let added = |path: &str, parameters: Option<&str>| Change::AddRecipient {
        path: path.into(),
        parameters: parameters.map(str::to_owned),
    };
    milter.answer(at_end(vec![
        Change::ReversePath {
            path: "<new@example.org>".into(),
            parameters: None,
        },
        added("carol@example.net", None),
        added("<dave@example.net>", Some("NOTIFY=NEVER")),
        Change::DeleteRecipient("<bob@example.net>".into()),
    ]));
    assert_eq!(send(&relay, "Subject: 1\r\n\r\nx").code, 250);
    wait_until("delivered", || sink.count() > 0);
    let message = sink.messages().remove(0);
    assert!(message.reverse_path.contains("new@example.org"), "{message:?}");
    let all = message.forward_paths.join(" ");
    assert!(
        all.contains("carol@") && all.contains("dave@") && !all.contains("bob@"),
        "{all}"
    );

    milter.answer(at_end(vec![Change::DeleteRecipient("bob@example.net".into())]));
    assert_eq!(send(&relay, "Subject: 1\r\n\r\nx").code, 250);
    wait_until("recorded", || relay.log_text().contains("\"message.discarded\""));
    assert_eq!(relay.queued().len(), 0);
}

#[test]
fn quarantined_message_waits_on_hold_with_the_reason() {
    let milter = FakeMilter::start();
    let (relay, sink) = relay_with(&format!("smtpd_milters = [\"{}\"]\n", milter.directive()));
    milter.answer(at_end(vec![Change::Quarantine("looks odd".into())]));
    assert_eq!(send(&relay, "Subject: 1\r\n\r\nx").code, 250);
    let queued = relay.queued();
    assert_eq!(queued.len(), 1);
    let text = queued[0].to_string();
    assert!(
        text.contains(&format!("milter {}: looks odd", milter.directive())),
        "{text}"
    );
    assert_eq!(sink.count(), 0);
}

#[test]
fn second_filter_sees_what_the_first_changed() {
    let (first, second) = (FakeMilter::start(), FakeMilter::start());
    let (relay, sink) = relay_with(&format!(
        "smtpd_milters = [\"{}\", \"{}\"]\n",
        first.directive(),
        second.directive()
    ));
    first.answer(at_end(vec![
        insert(1, "X-First", "1"),
        Change::ReplaceBody(b"new\r\n".to_vec()),
    ]));
    second.answer(at_end(vec![change(1, "X-First", "seen")]));
    assert_eq!(send(&relay, "Subject: 1\r\n\r\nold").code, 250);
    let told: Vec<String> = second.seen().iter().filter_map(crate::verdicts::word).collect();
    assert!(told.contains(&"HEADER X-First|1".to_owned()), "{told:?}");
    assert!(told.contains(&"BODY new\r\n".to_owned()), "{told:?}");
    let text = delivered(&sink, 0);
    assert!(
        text.contains("X-First: seen\r\n") && text.ends_with("\r\n\r\nnew\r\n"),
        "{text}"
    );
}

#[test]
fn large_message_passes_without_being_kept_in_memory() {
    let milter = FakeMilter::start();
    let (relay, sink) = relay_with(&format!(
        "smtpd_milters = [\"{}\"]\nmessage_size_limit = \"60 MiB\"\n",
        milter.directive()
    ));
    milter.answer(at_end(vec![add("X-Seen", "yes")]));
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", relay.pid())).expect("/proc");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("VmHWM");
        line.split_whitespace()
            .nth(1)
            .expect("a number")
            .parse::<u64>()
            .expect("KiB")
    };
    let line = format!("{}\r\n", "x".repeat(76));
    let lines = 40 * 1024 * 1024 / line.len();
    let mut client = Client::connect(relay.address()).expect("connected");
    client.say("EHLO c.example.org").expect("EHLO");
    let data = format!("Subject: large\r\n\r\n{}", line.repeat(lines));
    // The allocator takes memory in pieces of 32 MiB for each thread; a message that is kept would come on top, twice over
    // while its buffer grows.
    let mut peaks = Vec::new();
    for _ in 0..2 {
        let reply = client.send("a@example.org", &["b@example.net"], data.trim_end());
        assert_eq!(reply.expect("a reply").code, 250);
        peaks.push(resident());
    }
    assert!(peaks.iter().all(|peak| *peak < 144 * 1024), "{peaks:?} KiB");
    let bodies: usize = milter
        .seen()
        .iter()
        .map(|command| match command {
            Command::Body(body) | Command::EndOfBody(body) => {
                assert!(body.len() <= 65_535);
                body.len()
            }
            _ => 0,
        })
        .sum();
    assert_eq!(bodies, 2 * lines * line.len());
    wait_until("delivered", || sink.count() == 2);
    let data = sink.messages().remove(0).data;
    assert!(data.len() > bodies / 2 && String::from_utf8_lossy(&data[..2000]).contains("X-Seen: yes"));
}

#[test]
fn message_too_large_for_its_header_or_the_limit_is_refused_and_the_filter_told() {
    let milter = FakeMilter::start();
    let (relay, _sink) = relay_with(&format!(
        "smtpd_milters = [\"{}\"]\nmessage_size_limit = \"2 MiB\"\n",
        milter.directive()
    ));
    milter.answer(|_| None);
    let header = "X-Long: y\r\n".repeat(110_000);
    let reply = send(&relay, &format!("{header}\r\nx"));
    assert!(
        reply.text.starts_with("552 5.3.4 Error: message header size exceeds"),
        "{}",
        reply.text
    );
    let reply = send(&relay, &format!("A: 1\r\n\r\n{}", "x\r\n".repeat(800_000)));
    assert!(reply.text.starts_with("552 5.3.4 "), "{}", reply.text);
    let aborted = || {
        milter
            .seen()
            .iter()
            .filter(|command| **command == Command::Abort)
            .count()
            == 2
    };
    wait_until("told", aborted);
}
