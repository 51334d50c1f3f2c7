//! `estafette why` and the decision journal of a real daemon: what its clients were told is found again.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use common::client::Client;
use common::sink::Sink;
use common::{CERTIFICATES_ONLY, Relay, wait_until};

/// Runs `estafette why` on a relay that runs or has run.
fn why(relay: &Relay, arguments: &[&str]) -> (i32, String, String) {
    let output = relay.command(&["why"], arguments);
    (
        output.status.code().expect("no signal"),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// What is found, once it is written.
fn found(relay: &Relay, arguments: &[&str]) -> String {
    let mut text = String::new();
    wait_until("the record is written", || {
        let (code, out, _) = why(relay, arguments);
        text = out;
        code == 0
    });
    text
}

fn objects(relay: &Relay, arguments: &[&str]) -> Vec<serde_json::Value> {
    let (_, out, _) = why(relay, &[arguments, &["--json"]].concat());
    let lines = out.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    lines.collect()
}

fn session(relay: &Relay, certificate: Option<&str>) -> Client {
    let mut client = Client::connect(relay.address()).expect("connects");
    client.say("EHLO laptop.example.org").expect("EHLO");
    let mut client = client.start_tls(relay.directory.path(), certificate).expect("TLS");
    client.say("EHLO laptop.example.org").expect("EHLO");
    client
}

/// Sends as the holder of this certificate; the last reply.
fn send(relay: &Relay, certificate: Option<&str>, from: &str, to: &[&str]) -> String {
    let reply = session(relay, certificate).send(from, to, "Subject: x\r\n\r\nhello");
    reply.expect("answered").text.trim_end().to_owned()
}

#[test]
fn refusal_is_found_by_the_reference_in_any_form_also_when_the_relay_is_stopped() {
    let sink = Sink::start();
    let mut relay = Relay::start(CERTIFICATES_ONLY, sink.port);
    let reply = send(&relay, Some("expired"), "edith@example.org", &["bob@example.net"]);
    let reference = reply.rsplit_once("[ref ").expect("a reference").1.trim_end_matches(']');
    let text = found(&relay, &[reference]);
    for part in [
        &format!("reference    {reference}\n"),
        "decision     on a recipient\n",
        "listener     smtp\n",
        "client       127.0.0.1:",
        "identity     unverified: certificate has expired\n",
        "  subject    /C=FR/O=CNRS/OU=UMR5168/CN=Edith Ancien\n",
        "  mail       edith@example.org\n",
        "mail from    <edith@example.org>\nrcpt to      <bob@example.net>\n",
        "  smtpd_recipient_restrictions: permit_tls_all_clientcerts\n    pass: certificate has expired\n",
        "verdict      reject by reject: unconditional\n",
        &format!("reply        {reply}\n"),
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(relay.terminate().code(), Some(0));
    for form in [
        vec![format!("[ref {reference}]")],
        vec![format!("ref {reference}")],
        vec!["[ref".to_owned(), format!("{reference}]")],
        vec![reply.clone()],
    ] {
        let form: Vec<&str> = form.iter().map(String::as_str).collect();
        assert_eq!(why(&relay, &form).1, text, "{form:?}");
    }
    let object = &objects(&relay, &[reference])[0];
    assert_eq!(object["reply"], reply);
    assert_eq!(object["certificate"]["subject_attributes"][2]["value"], "UMR5168");
    assert_eq!(object["trace"][1]["restriction"], "permit_tls_all_clientcerts");
    let file = fs::read_dir(relay.queue().join("journal"))
        .expect("a journal")
        .flatten();
    let modes: Vec<u32> = file
        .map(|f| f.metadata().expect("a file").permissions().mode())
        .collect();
    assert_eq!(modes.iter().map(|mode| mode & 0o777).collect::<Vec<_>>(), [0o600]);
}

#[test]
fn queue_id_tells_who_sent_it_and_by_which_rule_for_every_recipient() {
    let sink = Sink::start();
    let relay = Relay::start(CERTIFICATES_ONLY, sink.port);
    let reply = send(
        &relay,
        Some("alice"),
        "alice@example.org",
        &["b@example.net", "c@example.net"],
    );
    let id = reply.rsplit_once("queued as ").expect("an id").1;
    let text = found(&relay, &[id]);
    for part in [
        &format!("queue id     {id}\n"),
        "  subject    /C=FR/O=CNRS/OU=UMR5168/CN=Alice Martin\n",
        "verdict      permit by permit_tls_all_clientcerts\n",
        "rcpt to      <b@example.net>\n  smtpd_recipient_restrictions: permit_mynetworks\n",
        "rcpt to      <c@example.net>\n  smtpd_recipient_restrictions: permit_mynetworks\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let all = objects(&relay, &[id]);
    assert_eq!(all.len(), 3, "{all:?}");
    for decision in &all[1..] {
        assert_eq!(decision["kind"], "recipient");
        assert_eq!(decision["certificate"]["mail_addresses"][0], "alice@example.org");
    }
}

#[test]
fn filters_find_what_they_name_newest_first() {
    let sink = Sink::start();
    let mut relay = Relay::start(CERTIFICATES_ONLY, sink.port);
    send(&relay, Some("alice"), "alice@example.org", &["one@example.net"]);
    send(&relay, Some("bob"), "bob@example.org", &["two@example.net"]);
    send(&relay, Some("rogue"), "alice@example.org", &["three@example.net"]);
    send(&relay, None, "", &["four@example.net"]);
    assert_eq!(relay.terminate().code(), Some(0));
    let recipients = |arguments: &[&str]| {
        let all = objects(&relay, arguments);
        let recipient = all.iter().filter(|object| object["kind"] == "recipient");
        let paths = recipient.map(|object| object["forward_paths"][0].as_str().expect("a path"));
        let names: Vec<&str> = paths.map(|path| path.split_once('@').expect("an address").0).collect();
        names.join(" ")
    };
    for (arguments, names) in [
        (&[][..], "four three two one"),
        (&["--subject", "OU=UMR5168"], "three one"),
        (
            &["--subject", "OU=UMR5168", "--subject", "CN=Alice Martin"],
            "three one",
        ),
        (&["--subject", "OU=UMR516"], ""),
        (&["--subject", "Durand"], "two"),
        (&["--issuer", "CN=CNRS-Standard"], "one"),
        (&["--issuer", "/C=FR/O=Rogue"], "three"),
        (&["--address", "ALICE@example.org"], "three one"),
        (&["--address", "@example.net"], "four three two one"),
        (&["--address", "<>"], "four"),
        (&["--address", "127.0.0.0/8"], "four three two one"),
        (&["--address", "192.0.2.1"], ""),
        (&["--verdict", "reject"], "four three"),
        (&["--verdict", "permit"], "two one"),
        (&["--verdict", "hold"], ""),
        (&["--since", "1h"], "four three two one"),
        (&["--until", "1h"], ""),
        (
            &["--since", "2020-01-01", "--until", "2099-01-01T00:00:00Z"],
            "four three two one",
        ),
        (&["--verdict", "reject", "--subject", "OU=UMR5168"], "three"),
    ] {
        assert_eq!(recipients(arguments), names, "{arguments:?}");
    }
    let (code, out, errors) = why(&relay, &["--limit", "1"]);
    assert!(code == 0 && out.contains("<four@example.net>"), "{out}");
    assert!(
        out.lines().count() == 1 && errors.contains("there is more"),
        "{out}{errors}"
    );
}

#[test]
fn nothing_found_exits_1_and_says_how_far_the_journal_reaches_and_wrong_usage_exits_2() {
    let sink = Sink::start();
    let mut relay = Relay::prepare(CERTIFICATES_ONLY, sink.port);
    let (code, _, errors) = why(&relay, &["6b0538a3.5-1"]);
    assert!(code == 1 && errors.contains("there is no journal in"), "{errors}");
    relay.spawn();
    send(&relay, None, "a@example.org", &["b@example.net"]);
    found(&relay, &[]);
    for arguments in [&["6b0538a3.5-1"][..], &["0DPFbTGXVTbDQ"], &["--verdict", "hold"]] {
        let (code, out, errors) = why(&relay, arguments);
        assert_eq!((code, out.as_str()), (1, ""), "{arguments:?}");
        assert!(errors.contains("reaches back to 20"), "{errors}");
    }
    for (arguments, words) in [
        (&["--address", "192.0.2.1/24"][..], "192.0.2.0/24"),
        (&["--address", "alice"], "expected a mail address"),
        (&["--since", "yesterday"], "--since: yesterday"),
        (&["--verdict", "maybe"], "possible values"),
        (&["one", "two"], "expected a reference"),
        (&["6b0538a3.5-1", "--verdict", "hold"], "cannot be used with"),
    ] {
        let (code, _, errors) = why(&relay, arguments);
        assert!(code == 2 && errors.contains(words), "{arguments:?}: {errors}");
    }
}

#[test]
fn journal_survives_a_killed_daemon_and_a_torn_line_and_needs_no_certificates_to_be_read() {
    let sink = Sink::start();
    let mut relay = Relay::start(CERTIFICATES_ONLY, sink.port);
    let reply = send(&relay, None, "a@example.org", &["b@example.net"]);
    let first = reply
        .rsplit_once("[ref ")
        .expect("a reference")
        .1
        .trim_end_matches(']')
        .to_owned();
    found(&relay, &[&first]);
    relay.kill();
    let file = relay.queue().join("journal").join("0000000001.jsonl");
    let mut text = fs::read_to_string(&file).expect("a journal");
    text.push_str("{\"kind\":\"recipient\",\"time\":\"2026");
    fs::write(&file, text).expect("torn");
    relay.spawn();
    let reply = send(&relay, None, "a@example.org", &["c@example.net"]);
    let second = reply
        .rsplit_once("[ref ")
        .expect("a reference")
        .1
        .trim_end_matches(']')
        .to_owned();
    found(&relay, &[&second]);
    relay.kill();
    fs::remove_file(relay.file("server.crt")).expect("removed");
    found(&relay, &[&first]);
    found(&relay, &[&second]);
}

#[test]
fn journal_that_cannot_be_written_does_not_stop_mail_and_says_so() {
    let sink = Sink::start();
    let mut relay = Relay::prepare(CERTIFICATES_ONLY, sink.port);
    let journal = relay.queue().join("journal");
    fs::create_dir_all(&journal).expect("a directory");
    fs::set_permissions(relay.queue(), fs::Permissions::from_mode(0o700)).expect("chmod");
    // Every write to it fails for lack of space.
    std::os::unix::fs::symlink("/dev/full", journal.join("0000000001.jsonl")).expect("a link");
    relay.spawn();
    for _ in 0..3 {
        let reply = send(&relay, Some("alice"), "alice@example.org", &["b@example.net"]);
        assert!(reply.starts_with("250"), "{reply}");
    }
    wait_until("the losses are told", || {
        relay.log_text().contains("journal.overflowed")
    });
    let log = relay.log_text();
    assert_eq!(log.matches("\"journal.failed\"").count(), 1, "once per burst: {log}");
    assert!(log.contains("No space left on device"), "{log}");
    assert_eq!(relay.terminate().code(), Some(0));
}

#[test]
fn size_limit_of_zero_keeps_no_journal() {
    let sink = Sink::start();
    let mut relay = Relay::start(CERTIFICATES_ONLY, sink.port);
    send(&relay, None, "a@example.org", &["b@example.net"]);
    found(&relay, &[]);
    assert_eq!(relay.terminate().code(), Some(0));
    let text = fs::read_to_string(relay.config()).expect("a file");
    relay.write_config(&format!("decision_journal_size_limit = 0\n{text}"));
    relay.spawn();
    send(&relay, None, "a@example.org", &["b@example.net"]);
    assert!(!relay.queue().join("journal").exists(), "what was kept is gone too");
    relay.write_config(&text);
    let output = relay.command(&["reload"], &[]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("decision_journal_size_limit changed, which needs a restart"),
        "{said}"
    );
}

#[test]
fn decision_on_a_client_that_is_not_ours_is_found() {
    let sink = Sink::start();
    let relay = Relay::start(CERTIFICATES_ONLY, sink.port);
    let output = Command::new("swaks")
        .args(["--server", "127.0.0.1", "--port", &relay.port.to_string(), "--tls"])
        .args(["--tls-cert", "bob.pem", "--tls-key", "bob.key"])
        .args(["--from", "bob@example.org", "--to", "swaks@example.net"])
        .current_dir(relay.directory.path())
        .output()
        .expect("swaks: run tests/run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let text = found(&relay, &["--address", "swaks@example.net", "--verdict", "permit"]);
    assert!(
        text.contains("/C=FR/O=CNRS/OU=UMR7638/CN=Bob Durand, from 127.0.0.1:"),
        "{text}"
    );
}
