//! Who is told what of a message whose recipients asked differently, by the running relay.

mod common;

use common::client::Client;
use common::sink::Sink;
use common::{LOOPBACK, Relay, wait_until};

const DATA: &str = "Subject: hello\r\n\r\nthe body\r\n.";

fn send(relay: &Relay, from: &str, to: &[&str]) {
    let mut client = Client::connect(relay.address()).expect("connected");
    client.say("EHLO client.example").expect("EHLO");
    for command in std::iter::once(format!("MAIL FROM:{from}")).chain(to.iter().map(|to| format!("RCPT TO:{to}"))) {
        let reply = client.say(&command).expect("a reply");
        assert_eq!(reply.code, 250, "{command}: {}", reply.text);
    }
    assert_eq!(client.say("DATA").expect("DATA").code, 354);
    assert_eq!(client.say(DATA).expect("the end").code, 250);
}

/// The reports that came, and the recipients that each is about.
fn reports(sink: &Sink) -> Vec<(String, Vec<String>)> {
    let messages = sink.messages();
    let reports = messages.iter().filter(|message| message.reverse_path.is_empty());
    let mut about: Vec<(String, Vec<String>)> = reports
        .map(|report| {
            let text = String::from_utf8(report.data.clone()).expect("ASCII");
            let field = |name: &str| {
                let lines = text.lines().filter_map(|line| line.strip_prefix(name));
                lines.map(str::to_owned).collect::<Vec<_>>()
            };
            (field("Action: ")[0].clone(), field("Final-Recipient: rfc822; "))
        })
        .collect();
    about.sort();
    about
}

fn owned(about: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
    let names = |names: &&[&str]| names.iter().map(|name| format!("{name}@example.net")).collect();
    about
        .iter()
        .map(|(action, of)| ((*action).to_owned(), names(of)))
        .collect()
}

#[test]
fn recipients_of_one_message_are_reported_as_each_asked() {
    let sink = Sink::start();
    let relay = Relay::start(LOOPBACK, sink.port);
    send(
        &relay,
        "<a@example.org> ENVID=mixed",
        &[
            "<ok1@example.net> NOTIFY=SUCCESS",
            "<ok2@example.net> NOTIFY=SUCCESS,FAILURE",
            "<ok3@example.net>",
            "<ok4@example.net> NOTIFY=NEVER",
            "<ok5@example.net> NOTIFY=FAILURE,DELAY",
            "<fail1@example.net>",
            "<fail2@example.net> NOTIFY=FAILURE",
            "<fail3@example.net> NOTIFY=SUCCESS,DELAY",
            "<fail4@example.net> NOTIFY=NEVER",
        ],
    );
    wait_until("settled", || relay.queued().is_empty());
    wait_until("reported", || reports(&sink).len() >= 2);
    let expected = owned(&[("failed", &["fail1", "fail2"]), ("relayed", &["ok1", "ok2"])]);
    assert_eq!(reports(&sink), expected);
    let log = relay.log_text();
    let unwanted: Vec<&str> = log.lines().filter(|line| line.contains("bounce.unwanted")).collect();
    assert_eq!(unwanted.len(), 2, "{unwanted:?}");
    for recipient in ["fail3@example.net", "fail4@example.net"] {
        assert!(unwanted.iter().any(|line| line.contains(recipient)), "{unwanted:?}");
    }
}

#[test]
fn null_sender_is_told_nothing_whatever_is_asked() {
    let sink = Sink::start();
    let relay = Relay::start(LOOPBACK, sink.port);
    let asked = "NOTIFY=SUCCESS,FAILURE,DELAY";
    let to = [
        format!("<ok@example.net> {asked}"),
        format!("<fail@example.net> {asked}"),
    ];
    send(&relay, "<>", &[&to[0], &to[1]]);
    wait_until("delivered", || sink.count() == 1);
    wait_until("settled", || relay.queued().is_empty());
    // What comes behind it comes alone.
    send(&relay, "<z@example.org>", &["<last@example.net>"]);
    wait_until("the last one", || sink.count() == 2);
    let paths: Vec<_> = sink.messages().into_iter().flat_map(|one| one.forward_paths).collect();
    assert_eq!(paths, ["ok@example.net", "last@example.net"]);
    assert!(relay.log_text().contains("bounce.dropped"), "{}", relay.log_text());
    assert!(!relay.log_text().contains("success.told"), "{}", relay.log_text());
}

#[test]
fn delay_is_told_to_those_who_asked_and_expiry_to_those_who_asked_for_failure() {
    let sink = Sink::start();
    let directives = "minimal_backoff_time = \"1s\"\nmaximal_backoff_time = \"1s\"\nqueue_run_delay = \"1s\"\n\
                      delay_warning_time = \"1s\"\nmaximal_queue_lifetime = \"4s\"\n";
    let relay = Relay::start(&format!("{LOOPBACK}{directives}"), sink.port);
    send(
        &relay,
        "<a@example.org>",
        &[
            "<defer1@example.net> NOTIFY=DELAY",
            "<defer2@example.net> NOTIFY=FAILURE",
            "<defer3@example.net> NOTIFY=NEVER",
            "<defer4@example.net>",
            "<defer5@example.net> NOTIFY=SUCCESS",
        ],
    );
    wait_until("settled", || relay.queued().is_empty());
    let expected = owned(&[("delayed", &["defer1", "defer4"]), ("failed", &["defer2", "defer4"])]);
    wait_until("told", || reports(&sink).len() >= 2);
    assert_eq!(reports(&sink), expected);
}
