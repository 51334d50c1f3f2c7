//! Attacks on TLS: renegotiation, other application protocols, a message cut short.

use std::io::Write;
use std::net::Shutdown;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::client::Client;
use crate::common::{CERTIFICATES_ONLY, Relay, free_port, wait_until};

/// What `openssl s_client` says with these arguments and this input.
fn s_client(relay: &Relay, arguments: &[&str], input: &[&str]) -> String {
    let mut child = Command::new("openssl")
        .args(["s_client", "-starttls", "smtp", "-connect"])
        .arg(relay.address().to_string())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl");
    let mut stdin = child.stdin.take().expect("piped");
    for line in input {
        // s_client takes a letter for an order only when it reads nothing else with it.
        std::thread::sleep(Duration::from_millis(300));
        // It may have ended.
        let _ = stdin.write_all(line.as_bytes());
    }
    std::thread::sleep(Duration::from_millis(300));
    drop(stdin);
    // Left without a new handshake, s_client waits for one for ever.
    let deadline = Instant::now() + Duration::from_secs(3);
    while Instant::now() < deadline && child.try_wait().expect("a child").is_none() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = child.kill();
    let output = child.wait_with_output().expect("openssl ends");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn renegotiation_is_refused() {
    let relay = Relay::start(CERTIFICATES_ONLY, free_port());
    let said = s_client(&relay, &["-tls1_2"], &["EHLO a\r\n", "R\n", "NOOP\r\n"]);
    assert!(said.contains("RENEGOTIATING"), "{said}");
    let (_, after) = said.split_once("RENEGOTIATING").expect("it asks");
    assert!(!after.contains("verify return:1"), "no second handshake: {said}");
    assert!(!after.contains("250 2.0.0 Ok"), "nothing is said in one: {said}");
    let client = Client::connect(relay.address()).expect("the relay goes on");
    drop(client);
}

#[test]
fn handshake_for_another_application_protocol_is_refused() {
    let relay = Relay::start(CERTIFICATES_ONLY, free_port());
    let refused = s_client(&relay, &["-alpn", "h2,http/1.1"], &[]);
    assert!(refused.contains("no application protocol"), "{refused}");
    let taken = s_client(&relay, &["-alpn", "smtp"], &["QUIT\r\n"]);
    assert!(taken.contains("ALPN protocol: smtp"), "{taken}");
    let unnamed = s_client(&relay, &[], &["QUIT\r\n"]);
    assert!(unnamed.contains("No ALPN negotiated"), "{unnamed}");
}

#[test]
fn message_cut_short_in_tls_is_none() {
    let relay = Relay::start(&format!("log_level = \"debug\"\n{CERTIFICATES_ONLY}"), free_port());
    let client = Client::connect(relay.address()).expect("a greeting");
    let mut client = client.start_tls(relay.directory.path(), Some("alice")).expect("TLS");
    client.say("EHLO laptop.example").expect("EHLO");
    client.say("MAIL FROM:<alice@example.org>").expect("MAIL");
    client.say("RCPT TO:<b@example.net>").expect("RCPT");
    assert_eq!(client.say("DATA").expect("DATA").code, 354);
    client
        .write(b"Subject: pay 100 to Bob\r\n\r\npay 100")
        .expect("written");
    // No close_notify: somebody between has ended the connection.
    client.tcp().shutdown(Shutdown::Both).expect("a socket");
    wait_until("the session ends", || relay.log_text().contains("connection lost"));
    assert!(relay.queued().is_empty());
}
