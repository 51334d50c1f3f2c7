//! `estafette explain`: other times, resumed sessions, chains, and the fields of its JSON as docs/explain.md lists them.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use common::client::Client;
use common::sink::Sink;
use common::{BINARY, CERTIFICATES_ONLY, Relay, base_config, copy_certificates};

fn desk() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("temporary directory");
    copy_certificates(directory.path());
    let text = format!("{CERTIFICATES_ONLY}{}", base_config(2525, 2526));
    fs::write(directory.path().join("e.toml"), text).expect("written");
    directory
}

fn explain(directory: &Path, more: &[&str]) -> (i32, String, String) {
    let output = Command::new(BINARY)
        .args(["explain", "--config", "e.toml", "--client-address", "198.51.100.7"])
        .args(["--mail-from", "alice@example.org", "--rcpt-to", "bob@example.net"])
        .args(more)
        .current_dir(directory)
        .output()
        .expect("runs");
    (
        output.status.code().expect("no signal"),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn object(directory: &Path, more: &[&str]) -> serde_json::Value {
    let (_, out, errors) = explain(directory, &[more, &["--json"]].concat());
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{errors}"))
}

#[test]
fn certificate_is_judged_at_the_time_asked_for() {
    let desk = desk();
    for (certificate, at, code, words) in [
        (
            "alice.pem",
            "2026-11-24T10:00:00+02:00",
            0,
            "at           2026-11-24T08:00:00Z\n",
        ),
        ("expired.pem", "2026-11-24", 1, "(your certificate has expired)"),
        ("alice.pem", "2025-01-01", 1, "(your certificate is not yet valid)"),
        // Its own time, but not that of its authorities, which are of 2026.
        ("expired.pem", "2001-06-01", 1, "(your certificate is not yet valid)"),
        ("alice.pem", "2047-01-01", 1, "(your certificate has expired)"),
    ] {
        let (found, out, errors) = explain(desk.path(), &["--client-cert", certificate, "--at", at]);
        assert_eq!(found, code, "{certificate} {at}: {out}{errors}");
        assert!(out.contains(words), "{certificate} {at}: {out}");
    }
    let (code, _, errors) = explain(desk.path(), &["--at", "2026-11-24T10:00:00"]);
    assert!(
        code == 2 && errors.contains("--at 2026-11-24T10:00:00: expected a date"),
        "{errors}"
    );
}

#[test]
fn resumed_session_is_judged_anew_with_the_same_verdict() {
    let desk = desk();
    for (certificate, code) in [("alice.pem", 0), ("expired.pem", 1)] {
        let (found, out, _) = explain(desk.path(), &["--client-cert", certificate, "--resumed"]);
        assert!(
            found == code && out.contains("is judged anew: the verdict is the same"),
            "{out}"
        );
        let fresh = object(desk.path(), &["--client-cert", certificate]);
        let mut resumed = object(desk.path(), &["--client-cert", certificate, "--resumed"]);
        assert_eq!(resumed["resumed"], true);
        resumed["resumed"] = false.into();
        resumed["at"] = fresh["at"].clone();
        assert_eq!(resumed, fresh);
    }
    let (code, _, errors) = explain(desk.path(), &["--plaintext", "--resumed"]);
    assert!(code == 2 && errors.contains("cannot be used with"), "{errors}");
}

#[test]
fn chain_file_with_its_intermediate_completes_what_the_relay_does_not_have() {
    let desk = desk();
    fs::copy(desk.path().join("CNRS2.crt"), desk.path().join("CAcert.pem")).expect("copied");
    let (code, out, _) = explain(desk.path(), &["--client-cert", "alice.pem"]);
    assert!(code == 1 && out.contains("issuer is not trusted"), "{out}");
    let read = |name: &str| fs::read_to_string(desk.path().join(name)).expect("read");
    fs::write(
        desk.path().join("chain.pem"),
        read("alice.pem") + &read("CNRS-Standard.crt"),
    )
    .expect("written");
    let (code, out, _) = explain(desk.path(), &["--client-cert", "chain.pem"]);
    assert_eq!(code, 0, "{out}");
    let object = object(desk.path(), &["--client-cert", "chain.pem"]);
    let chain = serde_json::json!(["/C=FR/O=CNRS/CN=CNRS-Standard", "/C=FR/O=CNRS/CN=CNRS2"]);
    assert_eq!(object["chain"], chain);
}

#[test]
fn explanation_gives_the_reply_that_the_daemon_gives() {
    let sink = Sink::start();
    let relay = Relay::start(CERTIFICATES_ONLY, sink.port);
    for certificate in ["alice", "expired", "rogue"] {
        let mut client = Client::connect(relay.address()).expect("connects");
        client.say("EHLO laptop.example.org").expect("EHLO");
        let mut client = client
            .start_tls(relay.directory.path(), Some(certificate))
            .expect("TLS");
        client.say("EHLO laptop.example.org").expect("EHLO");
        client.say("MAIL FROM:<alice@example.org>").expect("MAIL");
        let reply = client.say("RCPT TO:<bob@example.net>").expect("RCPT").text;
        let told = reply.trim_end().split("[ref ").next().expect("a text").to_owned();
        let file = format!("{certificate}.pem");
        let arguments = ["--client-address", "127.0.0.1", "--client-cert", &file, "--json"];
        let output = Command::new(BINARY)
            .args(["explain", "--config", "estafette.toml"])
            .args(arguments)
            .args(["--mail-from", "alice@example.org", "--rcpt-to", "bob@example.net"])
            .current_dir(relay.directory.path())
            .output()
            .expect("runs");
        let object: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let explained = object["recipients"][0]["reply"].as_str().expect("a reply");
        assert_eq!(explained.split("[ref ").next(), Some(told.as_str()));
    }
}

/// Every key of an object and of the objects inside, each once.
fn keys(value: &serde_json::Value, found: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (key, inside) in fields {
                found.insert(key.clone());
                keys(inside, found);
            }
        }
        serde_json::Value::Array(all) => all.iter().for_each(|inside| keys(inside, found)),
        _ => {}
    }
}

#[test]
fn every_field_of_the_json_stands_in_the_page_and_strangers_are_told_all_fields() {
    let desk = desk();
    let page = include_str!("../docs/explain.md");
    let known = object(desk.path(), &["--client-cert", "alice.pem"]);
    let mut found = BTreeSet::new();
    keys(&known, &mut found);
    assert!(found.len() > 30, "{found:?}");
    let missing: Vec<_> = found.iter().filter(|key| !page.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "not in docs/explain.md: {missing:?}");
    let fields = |object: &serde_json::Value| {
        object
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(fields(&object(desk.path(), &["--plaintext"])), fields(&known));
}
