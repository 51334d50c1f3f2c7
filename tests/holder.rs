//! What follows from who holds the certificate, whole: the real daemon with rules, binding, limits, revocation, and the
//! commands a postmaster has for them.

mod common;

use std::fs;

use common::client::Client;
use common::sink::Sink;
use common::{Relay, base_config, wait_until};

/// The laboratory UMR5168 of the 2002 wish: every certificate of that OU, and nobody else.
const LABORATORY: &str = "mynetworks = [\"192.0.2.0/24\"]\n\
     smtpd_recipient_restrictions = [\"permit_mynetworks\", \"laboratory\", \"reject\"]\n";

/// The rule itself; a table, so it stands behind the directives.
const RULE: &str = "[[certificate_rule]]\n\
     name = \"laboratory\"\n\
     subject = { OU = \"UMR5168\" }\n\
     accepts = [\"alice.pem\"]\n\
     refuses = [\"bob.pem\"]\n";

fn configuration(relay_port: u16, next_hop: u16, policy: &str, rule: &str) -> String {
    format!("{policy}{}{rule}", base_config(relay_port, next_hop))
}

/// A relay of the laboratory, with more lines in its rule.
fn start(sink: &Sink, more: &str) -> Relay {
    let mut relay = Relay::prepare(LABORATORY, sink.port);
    relay.write_config(&configuration(
        relay.port,
        sink.port,
        LABORATORY,
        &format!("{RULE}{more}"),
    ));
    relay.spawn();
    relay
}

/// A session in TLS after its EHLO, with this certificate.
fn session(relay: &Relay, certificate: &str) -> Client {
    let mut client = Client::connect(relay.address()).expect("connects");
    client.say("EHLO train.example.net").expect("EHLO");
    let mut client = client
        .start_tls(relay.directory.path(), Some(certificate))
        .expect("a handshake");
    client.say("EHLO train.example.net").expect("EHLO");
    client
}

fn run(relay: &Relay, before: &[&str], after: &[&str]) -> (Option<i32>, String) {
    let output = relay.command(before, after);
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// The reference in a reply.
fn reference(reply: &str) -> String {
    let (_, behind) = reply.split_once("[ref ").expect("a reference");
    let (reference, _) = behind.split_once(']').expect("its end");
    reference.to_owned()
}

const OUTSIDE: &str = "someone@outside.example";

#[test]
fn laboratory_rule_permits_alice_and_refuses_bob_and_both_explanations_name_the_value() {
    let sink = Sink::start();
    let relay = start(&sink, "");
    let mut alice = session(&relay, "alice");
    let reply = alice
        .send("alice@example.org", &[OUTSIDE], "Subject: one\r\n\r\none")
        .expect("a reply");
    assert_eq!(reply.code, 250, "{}", reply.text);
    let mut bob = session(&relay, "bob");
    let refused = bob
        .send("bob@example.org", &[OUTSIDE], "Subject: two\r\n\r\ntwo")
        .expect("a reply");
    assert_eq!(refused.code, 554, "{}", refused.text);
    wait_until("delivered", || sink.count() == 1);

    let (code, why) = run(&relay, &["why"], &[&reference(&refused.text)]);
    assert_eq!(code, Some(0), "{why}");
    for word in ["laboratory", "UMR7638", "UMR5168", "Bob Durand", OUTSIDE] {
        assert!(why.contains(word), "{word} in {why}");
    }
    let queue_id = reply.text.rsplit(' ').next().expect("an id").trim();
    let (code, why) = run(&relay, &["why"], &[queue_id]);
    assert_eq!(code, Some(0), "{why}");
    for word in ["laboratory", "Alice Martin", OUTSIDE] {
        assert!(why.contains(word), "{word} in {why}");
    }
    let (code, text) = run(&relay, &["why"], &["--subject", "OU=UMR7638", "--since", "1h"]);
    assert!(
        code == Some(0) && text.contains("Bob Durand") && !text.contains("Alice Martin"),
        "{text}"
    );

    let explain = |name: &str| {
        let certificate = relay.file(&format!("{name}.pem"));
        let certificate = certificate.to_str().expect("UTF-8");
        let arguments = [
            "--client-address",
            "198.51.100.7",
            "--client-cert",
            certificate,
            "--mail-from",
            "x@example.org",
            "--rcpt-to",
            OUTSIDE,
        ];
        run(&relay, &["explain"], &arguments)
    };
    let (code, text) = explain("alice");
    assert!(code == Some(0) && text.contains("permit by laboratory"), "{text}");
    let (code, text) = explain("bob");
    assert!(
        code == Some(1) && text.contains("UMR7638") && text.contains("UMR5168"),
        "{text}"
    );
    let (code, text) = run(&relay, &["check", "--open-relay"], &[]);
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn certificate_revoked_by_the_postmaster_is_refused_at_the_next_mail_of_an_open_session() {
    let sink = Sink::start();
    let mut relay = start(&sink, "");
    let mut alice = session(&relay, "alice");
    let message = "Subject: x\r\n\r\nx";
    let reply = alice.send("alice@example.org", &[OUTSIDE], message).expect("a reply");
    assert_eq!(reply.code, 250, "{}", reply.text);

    let (code, text) = run(&relay, &["cert", "revoke", "alice.pem", "--reason", "lost"], &[]);
    assert_ne!(code, Some(0), "a name from elsewhere is no file here: {text}");
    let file = relay.file("alice.pem");
    let file = file.to_str().expect("UTF-8").to_owned();
    let (code, text) = run(&relay, &["cert", "revoke", &file, "--reason", "lost"], &[]);
    assert_eq!(code, Some(0), "{text}");
    let mut refused = None;
    wait_until("refused", || {
        let reply = alice.send("alice@example.org", &[OUTSIDE], message).expect("a reply");
        let is_refused = reply.code == 554;
        refused = Some(reply);
        is_refused
    });
    let refused = refused.expect("a reply").text;
    assert!(refused.contains("blocked by the postmaster"), "{refused}");
    let (code, why) = run(&relay, &["why"], &[&reference(&refused)]);
    assert!(code == Some(0) && why.contains("blocked by the postmaster"), "{why}");
    // Carol, of the same laboratory, is not concerned.
    let mut carol = session(&relay, "carol");
    assert_eq!(
        carol
            .send("carol@example.org", &[OUTSIDE], message)
            .expect("a reply")
            .code,
        250
    );

    relay.terminate();
    relay.spawn();
    let mut alice = session(&relay, "alice");
    let reply = alice.send("alice@example.org", &[OUTSIDE], message).expect("a reply");
    assert_eq!(reply.code, 554, "survives a restart: {}", reply.text);
    let (code, text) = run(&relay, &["cert", "restore", &file], &[]);
    assert_eq!(code, Some(0), "{text}");
    wait_until("noticed", || relay.log_text().matches("deny_list.changed").count() == 2);
    alice.say("RSET").expect("RSET");
    let reply = alice.send("alice@example.org", &[OUTSIDE], message).expect("a reply");
    assert_eq!(reply.code, 250, "the same session again: {}", reply.text);
}

#[test]
fn reloaded_rule_decides_on_the_next_mail_of_an_open_session() {
    let sink = Sink::start();
    let relay = start(&sink, "");
    let mut alice = session(&relay, "alice");
    let message = "Subject: x\r\n\r\nx";
    assert_eq!(
        alice
            .send("alice@example.org", &[OUTSIDE], message)
            .expect("a reply")
            .code,
        250
    );
    // A transaction under way goes on as it began.
    assert_eq!(alice.say("MAIL FROM:<alice@example.org>").expect("MAIL").code, 250);
    let other = RULE
        .replace("UMR5168", "UMR7638")
        .replace("alice.pem", "x")
        .replace("bob.pem", "alice.pem");
    let other = other.replace("\"x\"", "\"bob.pem\"");
    relay.write_config(&configuration(relay.port, sink.port, LABORATORY, &other));
    let (code, text) = run(&relay, &["reload"], &[]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(alice.say(&format!("RCPT TO:<{OUTSIDE}>")).expect("RCPT").code, 250);
    assert_eq!(alice.say("RSET").expect("RSET").code, 250);
    let refused = alice.send("alice@example.org", &[OUTSIDE], message).expect("a reply");
    assert_eq!(refused.code, 554, "{}", refused.text);
}

#[test]
fn campaign_of_a_stolen_laptop_waits_on_hold_and_the_limit_outlives_a_reload() {
    let sink = Sink::start();
    let limit = "[[certificate_rule.limit]]\nper = \"certificate\"\nmessages = 2\ntime = \"1h\"\nburst = 1.5\non_exceed = \"hold\"\n";
    let relay = start(&sink, limit);
    let mut alice = session(&relay, "alice");
    let mut send = |n: usize| {
        let reply = alice
            .send("alice@example.org", &[OUTSIDE], &format!("Subject: {n}\r\n\r\n{n}"))
            .expect("a reply");
        assert_eq!(reply.code, 250, "{}", reply.text);
        reply.text.rsplit(' ').next().expect("an id").trim().to_owned()
    };
    for n in 0..3 {
        send(n);
    }
    wait_until("delivered", || sink.count() == 3);
    let held = send(3);
    let (code, text) = run(&relay, &["reload"], &[]);
    assert_eq!(code, Some(0), "{text}");
    send(4);
    wait_until("both wait", || relay.queued().len() == 2);
    wait_until("limit.exceeded", || relay.log_text().contains("limit.exceeded"));
    let (_, text) = run(&relay, &["queue"], &["list"]);
    assert!(text.contains("hold") && text.contains(&held), "{text}");
    let (code, text) = run(&relay, &["queue"], &["flush"]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = run(&relay, &["queue", "release", &held], &[]);
    assert_eq!(code, Some(0), "{text}");
    wait_until("the released one is delivered", || sink.count() == 4);
    assert_eq!(relay.queued().len(), 1, "the other one still waits");
    // Others are not concerned.
    let mut carol = session(&relay, "carol");
    let reply = carol
        .send("carol@example.org", &[OUTSIDE], "Subject: c\r\n\r\nc")
        .expect("a reply");
    assert_eq!(reply.code, 250);
    wait_until("delivered", || sink.count() == 5);
}

#[test]
fn bound_holder_sends_with_its_own_addresses_only_in_the_envelope_and_in_from() {
    let sink = Sink::start();
    let relay = start(
        &sink,
        "sender = \"certificate\"\nsender_addresses = [\"lab@example.org\"]\nfrom_header = true\n",
    );
    let mut alice = session(&relay, "alice");
    let mut send = |sender: &str, from: &str| {
        let reply = alice
            .send(sender, &[OUTSIDE], &format!("From: {from}\r\nSubject: x\r\n\r\nx"))
            .expect("a reply");
        alice.say("RSET").expect("RSET");
        (reply.code, reply.text)
    };
    for (sender, from) in [
        ("alice@example.org", "Alice Martin <alice@example.org>"),
        ("lab@EXAMPLE.org", "\"The lab, all of it\" <lab@example.org>"),
        ("alice@example.org", "alice@example.org, lab@example.org"),
    ] {
        let (code, text) = send(sender, from);
        assert_eq!(code, 250, "{sender} {from}: {text}");
    }
    for (sender, from, expected) in [
        ("director@example.org", "alice@example.org", 553),
        ("", "alice@example.org", 553),
        ("alice@example.org", "director@example.org", 550),
        ("alice@example.org", "\"alice@example.org\" <director@example.org>", 550),
        ("alice@example.org", "director@example.org (alice@example.org)", 550),
        (
            "alice@example.org",
            "alice@example.org\r\nFrom: director@example.org",
            550,
        ),
    ] {
        let (code, text) = send(sender, from);
        assert_eq!(code, expected, "{sender} {from}: {text}");
        let (found, why) = run(&relay, &["why"], &[&reference(&text)]);
        assert_eq!(found, Some(0), "{why}");
    }
    wait_until("delivered", || sink.count() == 3);
}

#[test]
fn revocation_list_that_changes_refuses_the_next_mail_of_an_open_session() {
    let sink = Sink::start();
    let mut relay = Relay::prepare(LABORATORY, sink.port);
    let database = relay.file("index.txt");
    fs::write(&database, "").expect("a database");
    let directory = relay.directory.path().to_owned();
    let crl = |revoked: Option<&str>, issuer: &str, to: &str| {
        let configuration = format!(
            "[ca]\ndefault_ca = d\n[d]\ndatabase = {}\ndefault_md = sha256\ndefault_crl_days = 30\n",
            directory.join(format!("{issuer}.txt")).display()
        );
        fs::write(directory.join("ca.cnf"), configuration).expect("written");
        let index = directory.join(format!("{issuer}.txt"));
        if !index.exists() {
            fs::write(&index, "").expect("an index");
        }
        let openssl = |arguments: &[&str]| {
            let output = std::process::Command::new("openssl")
                .current_dir(&directory)
                .args(["ca", "-config", "ca.cnf", "-cert", &format!("{issuer}.crt")])
                .args(["-keyfile", &format!("{issuer}.key")])
                .args(arguments)
                .output()
                .expect("openssl");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        if let Some(revoked) = revoked {
            openssl(&["-revoke", revoked]);
        }
        openssl(&["-gencrl", "-out", "new.crl"]);
        fs::rename(directory.join("new.crl"), directory.join(to)).expect("renamed");
    };
    common::make_authority(&directory);
    crl(None, "lab-ca", "lab.crl");
    let text = configuration(relay.port, sink.port, LABORATORY, RULE)
        .replace("CAcert.pem", "lab-ca.crt")
        .replace("accepts = [\"alice.pem\"]\n", "accepts = [\"dora.pem\"]\n");
    relay.write_config(&format!("smtpd_tls_crl_files = [\"lab.crl\"]\n{text}"));
    relay.spawn();
    let mut dora = session(&relay, "dora");
    let message = "Subject: x\r\n\r\nx";
    let reply = dora.send("dora@example.org", &[OUTSIDE], message).expect("a reply");
    assert_eq!(reply.code, 250, "{}", reply.text);

    // A broken new list keeps the old one.
    fs::write(relay.file("lab.crl"), "not a list").expect("written");
    wait_until("warned", || relay.log_text().contains("crl.refused"));
    assert_eq!(
        dora.send("dora@example.org", &[OUTSIDE], message)
            .expect("a reply")
            .code,
        250
    );

    crl(Some("dora.pem"), "lab-ca", "lab.crl");
    let mut last = String::new();
    wait_until("revoked", || {
        let reply = dora.send("dora@example.org", &[OUTSIDE], message).expect("a reply");
        last = reply.text;
        reply.code == 554
    });
    assert!(last.contains("certificate has been revoked"), "{last}");
    let (code, text) = run(&relay, &["metrics"], &[]);
    assert!(code == Some(0) && text.contains("estafette_crl_age_seconds"), "{text}");
}
