//! The relay end to end: the real binary, real TCP and TLS, a receiving server behind it.

mod common;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use common::client::Client;
use common::sink::Sink;
use common::{BINARY, CERTIFICATES_ONLY, LOOPBACK, Relay, base_config, wait_until};

const MESSAGE: &str = "From: a@example.org\r\nTo: b@example.net\r\nSubject: x\r\n\r\nHello";

fn session(relay: &Relay, certificate: Option<&str>) -> Client {
    let mut client = Client::connect(relay.address()).expect("connects");
    client.say("EHLO laptop.example.org").expect("EHLO");
    let mut client = client.start_tls(relay.directory.path(), certificate).expect("TLS");
    client.say("EHLO laptop.example.org").expect("EHLO");
    client
}

#[test]
fn certificate_holder_is_relayed_and_named_in_the_trace_header() {
    let sink = Sink::start();
    let relay = Relay::start(CERTIFICATES_ONLY, sink.port);
    let mut client = session(&relay, Some("alice"));
    let reply = client
        .send("alice@example.org", &["bob@example.net"], MESSAGE)
        .expect("sent");
    assert_eq!(reply.code, 250, "{}", reply.text);
    let id = reply.text.split_whitespace().last().expect("an id").to_owned();
    wait_until("delivered", || sink.count() == 1);
    let message = sink.messages().remove(0);
    let text = String::from_utf8(message.data).expect("ASCII");
    assert_eq!(message.reverse_path, "alice@example.org");
    assert_eq!(message.forward_paths, ["bob@example.net"]);
    assert!(
        text.starts_with("Received: from laptop.example.org (localhost [127.0.0.1])\r\n"),
        "{text}"
    );
    assert!(
        text.contains("(Client CN \"Alice Martin\", Issuer \"CNRS-Standard\" (verified OK))"),
        "{text}"
    );
    assert!(
        text.contains(&format!("with ESMTPS id {id}\r\n\tfor <bob@example.net>; ")),
        "{text}"
    );
    assert!(text.ends_with("\r\n\r\nHello\r\n"), "{text}");
    wait_until("settled", || relay.queued().is_empty());
    let log = relay.log_text();
    assert!(
        log.contains("message.queued") && log.contains("CN=Alice Martin"),
        "{log}"
    );
}

#[test]
fn outsiders_are_refused_with_a_reference_that_is_in_the_log() {
    let sink = Sink::start();
    let relay = Relay::start(CERTIFICATES_ONLY, sink.port);
    for (certificate, reason) in [
        (None, ""),
        (Some("rogue"), "certificate issuer is not trusted here"),
        (Some("expired"), "certificate has expired"),
    ] {
        let mut client = session(&relay, certificate);
        let reply = client
            .send("a@example.org", &["bob@example.net"], MESSAGE)
            .expect("answered");
        assert_eq!(reply.code, 554, "{certificate:?}: {}", reply.text);
        assert!(
            reply
                .text
                .starts_with("554 5.7.1 <bob@example.net>: Relay access denied"),
            "{}",
            reply.text
        );
        assert!(reply.text.contains(reason), "{}", reply.text);
        let reference = reply
            .text
            .rsplit_once("[ref ")
            .expect("a reference")
            .1
            .trim_end()
            .trim_end_matches(']')
            .to_owned();
        wait_until("logged", || relay.log_text().contains(&reference));
    }
    assert_eq!(sink.count(), 0);
    assert!(relay.queued().is_empty());
}

#[test]
fn recipients_settle_one_by_one_and_a_failure_bounces() {
    let sink = Sink::start();
    let relay = Relay::start(LOOPBACK, sink.port);
    let mut client = Client::connect(relay.address()).expect("connects");
    client.say("EHLO printer.example.org").expect("EHLO");
    let recipients = [
        "good@example.net",
        "defer@example.net",
        "fail@example.net",
        "good@example.com",
    ];
    let reply = client.send("sender@example.org", &recipients, MESSAGE).expect("sent");
    assert_eq!(reply.code, 250, "{}", reply.text);
    wait_until("message and bounce", || sink.count() == 2);
    let messages = sink.messages();
    let original = messages
        .iter()
        .find(|m| m.reverse_path == "sender@example.org")
        .expect("the message");
    assert_eq!(
        original.forward_paths,
        ["good@example.net", "good@example.com"],
        "one transaction for one next hop"
    );
    let bounce = messages.iter().find(|m| m.reverse_path.is_empty()).expect("the bounce");
    assert_eq!(bounce.forward_paths, ["sender@example.org"]);
    let text = String::from_utf8_lossy(&bounce.data).into_owned();
    assert!(text.contains("Final-Recipient: rfc822; fail@example.net"), "{text}");
    assert!(
        text.contains("Action: failed") && text.contains("Status: 5.1.1"),
        "{text}"
    );
    assert!(!text.contains("Final-Recipient: rfc822; defer"), "{text}");
    wait_until("one recipient left", || {
        let queued = relay.queued();
        queued.len() == 1 && queued[0]["recipients"].as_array().is_some_and(|all| all.len() == 1)
    });
    let queued = relay.queued();
    assert_eq!(queued[0]["recipients"][0]["forward_path"], "defer@example.net");
    assert_eq!(queued[0]["recipients"][0]["attempts"], 1);
    let listing = relay.command(&["queue", "list"], &[]);
    assert!(
        String::from_utf8_lossy(&listing.stdout).contains("defer@example.net"),
        "{listing:?}"
    );
    assert!(
        queued[0]["recipients"][0]["last_reply"]
            .as_str()
            .is_some_and(|reply| reply.contains("Come back later"))
    );
}

#[test]
fn bounce_of_a_long_message_returns_its_header_only() {
    let sink = Sink::start();
    let relay = Relay::start(&format!("{LOOPBACK}bounce_size_limit = 2000\n"), sink.port);
    let mut client = Client::connect(relay.address()).expect("connects");
    client.say("EHLO printer.example.org").expect("EHLO");
    let message = format!("Subject: long\r\n\r\n{}", "line of the body\r\n".repeat(500));
    let reply = client.send("sender@example.org", &["fail@example.net"], message.trim_end());
    assert_eq!(reply.expect("sent").code, 250);
    wait_until("bounced", || sink.count() == 1);
    let text = String::from_utf8_lossy(&sink.messages()[0].data).into_owned();
    assert!(text.contains("Content-Type: text/rfc822-headers"), "{text}");
    assert!(
        text.contains("Subject: long") && !text.contains("line of the body"),
        "{text}"
    );
}

#[test]
fn failed_mail_with_the_null_reverse_path_is_not_bounced() {
    let sink = Sink::start();
    let relay = Relay::start(LOOPBACK, sink.port);
    let mut client = Client::connect(relay.address()).expect("connects");
    client.say("EHLO printer.example.org").expect("EHLO");
    assert_eq!(client.send("", &["fail@example.net"], MESSAGE).expect("sent").code, 250);
    wait_until("dropped", || relay.log_text().contains("bounce.dropped"));
    wait_until("settled", || relay.queued().is_empty());
    assert_eq!(sink.count(), 0);
}

#[test]
fn expired_mail_is_bounced() {
    let sink = Sink::start();
    let policy = format!("{LOOPBACK}maximal_queue_lifetime = \"0s\"\n");
    let relay = Relay::start(&policy, sink.port);
    let mut client = Client::connect(relay.address()).expect("connects");
    client.say("EHLO printer.example.org").expect("EHLO");
    assert_eq!(
        client
            .send("sender@example.org", &["defer@example.net"], MESSAGE)
            .expect("sent")
            .code,
        250
    );
    wait_until("bounced", || sink.count() == 1);
    let text = String::from_utf8_lossy(&sink.messages()[0].data).into_owned();
    assert!(
        text.contains("Status: 5.4.7") || text.contains("Status: 4.4.7"),
        "{text}"
    );
}

#[test]
fn reload_with_a_wrong_file_keeps_the_old_settings_and_with_a_right_one_swaps_them() {
    let sink = Sink::start();
    let relay = Relay::start(CERTIFICATES_ONLY, sink.port);
    let mut in_flight = Client::connect(relay.address()).expect("connects");
    in_flight.say("EHLO laptop.example.org").expect("EHLO");
    in_flight.say("MAIL FROM:<a@example.org>").expect("MAIL");

    let good = fs::read_to_string(relay.config()).expect("configuration");
    relay.write_config(&good.replace("smtpd_tls_ask_ccert", "smtpd_tls_ask_cert"));
    relay.signal("HUP");
    wait_until("refused", || relay.log_text().contains("configuration.reload_refused"));
    let output = relay.command(&["reload"], &[]);
    assert!(!output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        errors.contains("smtpd_tls_ask_ccert"),
        "the nearest name is given: {errors}"
    );

    relay.write_config(&format!("{LOOPBACK}{}", base_config(relay.port, sink.port)));
    let output = relay.command(&["reload"], &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut fresh = Client::connect(relay.address()).expect("connects");
    fresh.say("EHLO printer.example.org").expect("EHLO");
    assert_eq!(
        fresh
            .send("a@example.org", &["b@example.net"], MESSAGE)
            .expect("sent")
            .code,
        250
    );
    let reply = in_flight.say("RCPT TO:<b@example.net>").expect("RCPT");
    assert_eq!(
        reply.code, 554,
        "a transaction keeps the lists it began with: {}",
        reply.text
    );
    in_flight.say("RSET").expect("RSET");
    let reply = in_flight
        .send("a@example.org", &["b@example.net"], MESSAGE)
        .expect("the session goes on");
    assert_eq!(reply.code, 250, "the next MAIL has the new ones: {}", reply.text);
}

#[test]
fn sigterm_finishes_what_is_being_said_and_stops() {
    let sink = Sink::start();
    let mut relay = Relay::start(LOOPBACK, sink.port);
    let mut client = Client::connect(relay.address()).expect("connects");
    client.say("EHLO printer.example.org").expect("EHLO");
    client.say("MAIL FROM:<a@example.org>").expect("MAIL");
    client.say("RCPT TO:<b@example.net>").expect("RCPT");
    assert_eq!(client.say("DATA").expect("DATA").code, 354);
    client.write(b"Subject: x\r\n\r\n").expect("written");
    relay.signal("TERM");
    std::thread::sleep(std::time::Duration::from_millis(200));
    client.write(b"the end\r\n.\r\n").expect("written");
    assert_eq!(
        client.read_reply().expect("answered").code,
        250,
        "the message in progress is finished"
    );
    assert!(relay.terminate_after_signal().success());
    relay.spawn();
    wait_until("delivered", || sink.count() == 1);
}

#[test]
fn queue_under_its_free_space_mark_answers_452_and_goes_on() {
    let sink = Sink::start();
    let policy = format!("{LOOPBACK}queue_minfree = 1000000000000000\n");
    let relay = Relay::start(&policy, sink.port);
    let mut client = Client::connect(relay.address()).expect("connects");
    client.say("EHLO printer.example.org").expect("EHLO");
    let reply = client
        .send("a@example.org", &["b@example.net"], MESSAGE)
        .expect("answered");
    assert!(reply.text.starts_with("452 4.3.1"), "{}", reply.text);
    assert_eq!(client.say("NOOP").expect("alive").code, 250);
}

#[test]
fn starttls_with_pipelined_plaintext_discards_it() {
    let sink = Sink::start();
    let relay = Relay::start(CERTIFICATES_ONLY, sink.port);
    let mut client = Client::connect(relay.address()).expect("connects");
    client.say("EHLO laptop.example.org").expect("EHLO");
    client
        .write(b"STARTTLS\r\nMAIL FROM:<injected@example.org>\r\n")
        .expect("written");
    assert_eq!(client.read_reply().expect("220").code, 220);
    let mut client = client.handshake(relay.directory.path(), Some("alice")).expect("TLS");
    assert_eq!(client.say("RCPT TO:<b@example.net>").expect("answered").code, 503);
}

#[test]
fn large_message_is_delivered_byte_exact() {
    let sink = Sink::start();
    let relay = Relay::start(LOOPBACK, sink.port);
    let mut client = Client::connect(relay.address()).expect("connects");
    client.say("EHLO printer.example.org").expect("EHLO");
    let body: String = (0..60_000)
        .map(|n| format!("..line {n} of a large message, dots first\r\n"))
        .collect();
    let data = format!("Subject: large\r\n\r\n{body}");
    let reply = client
        .send("a@example.org", &["b@example.net"], data.trim_end())
        .expect("sent");
    assert_eq!(reply.code, 250, "{}", reply.text);
    wait_until("delivered", || sink.count() == 1);
    let received = String::from_utf8(sink.messages().remove(0).data).expect("ASCII");
    let (_, body_received) = received.split_once("\r\n\r\n").expect("a body");
    assert_eq!(
        body_received,
        body.replace("..line", ".line"),
        "one dot is taken off each line and no octet more"
    );
}

#[test]
fn next_hop_that_is_down_is_probed_once_and_a_flush_delivers_when_it_is_up() {
    let port = common::free_port();
    let relay = Relay::start(LOOPBACK, port);
    let mut client = Client::connect(relay.address()).expect("connects");
    client.say("EHLO printer.example.org").expect("EHLO");
    for _ in 0..50 {
        let reply = client
            .send("a@example.org", &["b@example.net"], MESSAGE)
            .expect("answered");
        assert_eq!(reply.code, 250, "{}", reply.text);
    }
    wait_until("suspended", || relay.log_text().contains("destination.suspended"));
    std::thread::sleep(std::time::Duration::from_millis(500));
    let probes = relay.log_text().matches("delivery.deferred").count();
    assert!(probes < 50, "one probe speaks for all, not {probes}");
    assert_eq!(relay.queued().len(), 50, "nothing is lost");
    let sink = Sink::start_on(port);
    let flushed = relay.command(&["queue"], &["flush"]);
    assert!(flushed.status.success(), "{}", String::from_utf8_lossy(&flushed.stderr));
    wait_until("all delivered", || sink.count() == 50);
    wait_until("settled", || relay.queued().is_empty());
}

/// Runs `queue` with these words and returns whether it was done, and what it said.
fn queue(relay: &Relay, words: &[&str]) -> (bool, String) {
    let output = relay.command(&["queue"], words);
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn message_on_hold_stays_until_it_is_released_with_or_without_a_running_relay() {
    let port = common::free_port();
    let mut relay = Relay::start(LOOPBACK, port);
    let mut client = Client::connect(relay.address()).expect("connects");
    client.say("EHLO printer.example.org").expect("EHLO");
    for _ in 0..2 {
        let sent = client.send("a@example.org", &["b@example.net"], MESSAGE);
        assert_eq!(sent.expect("answered").code, 250);
    }
    let entries = relay.queued();
    let id = |number: usize| entries[number]["queue_id"].as_str().expect("an id");
    let (first, second) = (id(0), id(1));
    let hold = ["hold", first, second, "--reason", "who is this?"];
    // Refused while an attempt is under way; that ends.
    wait_until("on hold", || {
        queue(&relay, &hold);
        relay.queued().iter().all(|entry| entry["hold"] == "who is this?")
    });
    wait_until("message.held", || relay.log_text().contains("message.held"));
    let (done, text) = queue(&relay, &hold);
    assert!(!done && text.contains("is on hold already: who is this?"), "{text}");
    let (_, listed) = queue(&relay, &["list"]);
    assert!(
        listed.contains("    on hold: who is this?\n    <b@example.net> not due"),
        "{listed}"
    );

    let sink = Sink::start_on(port);
    assert_eq!(
        queue(&relay, &["flush"]),
        (
            true,
            "0 recipients are due now that waited for a retry; no destination rests any more\n".into()
        )
    );
    let (done, text) = queue(&relay, &["release", first]);
    assert!(done && text.contains("its recipients are due now"), "{text}");
    wait_until("the first is gone", || relay.queued().len() == 1);
    assert_eq!(sink.count(), 1);
    let (done, text) = queue(&relay, &["release", first]);
    assert!(
        !done && text.contains(&format!("no message {first} is queued")),
        "{text}"
    );

    assert!(relay.terminate().success());
    let (done, text) = queue(&relay, &["release", "--all"]);
    assert!(done && text.ends_with("\n1 message released\n"), "{text}");
    assert!(queue(&relay, &["hold", second]).0, "on a stopped queue");
    relay.spawn();
    assert_eq!(relay.queued()[0]["hold"], "by the operator");
    assert!(relay.queued()[0]["recipients"][0]["due"].is_null());
    assert!(queue(&relay, &["release", "--all"]).0);
    wait_until("the second is gone", || relay.queued().is_empty());
    assert_eq!(sink.count(), 2);
    wait_until("message.released", || relay.log_text().contains("message.released"));
}

#[test]
fn demonstration_relays_one_message_and_refuses_the_other() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let output = Command::new(BINARY)
        .args(["demo", "--once", "--directory"])
        .arg(directory.path().join("demo"))
        .output()
        .expect("the demonstration runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("S: 250 2.0.0 Ok: queued as"), "{text}");
    assert!(
        text.contains("S: 554 5.7.1 <bob@example.net>: Relay access denied"),
        "{text}"
    );
    assert!(
        text.contains("verdict    permit by permit_tls_all_clientcerts"),
        "{text}"
    );
    assert!(text.contains("verdict    reject by reject"), "{text}");
    let message = fs::read_to_string(directory.path().join("demo/delivered/1.eml")).expect("delivered");
    assert!(message.contains("Client CN \"Alice Martin\""), "{message}");
}

#[test]
fn stalled_handshake_does_not_hold_up_the_stop() {
    let sink = Sink::start();
    let mut relay = Relay::start(LOOPBACK, sink.port);
    let mut client = Client::connect(relay.address()).expect("connects");
    client.say("EHLO printer.example.org").expect("EHLO");
    assert_eq!(client.say("STARTTLS").expect("STARTTLS").code, 220);
    client.write(b"\x16\x03\x01").expect("half a record header");
    let begun = Instant::now();
    assert!(relay.terminate().success());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn address_with_spaces_cannot_pose_as_fields_of_a_log_line() {
    let sink = Sink::start();
    let mut relay = Relay::start(LOOPBACK, sink.port);
    relay.kill();
    let config = fs::read_to_string(relay.config()).expect("the configuration");
    relay.write_config(&config.replace("\"json\"", "\"text\""));
    relay.spawn();
    let mut client = Client::connect(relay.address()).expect("connects");
    client.say("EHLO printer.example.org").expect("EHLO");
    let reply = client.send("\"x decided_by=reject\"@example.org", &["bob@example.net"], MESSAGE);
    assert_eq!(reply.expect("sent").code, 250);
    wait_until("relayed", || relay.log_text().contains("delivery.relayed"));
    for line in relay.log_text().lines().filter(|line| line.contains("reverse_path")) {
        assert!(
            line.contains(r#"reverse_path="\"x decided_by=reject\"@example.org""#),
            "{line}"
        );
    }
}
