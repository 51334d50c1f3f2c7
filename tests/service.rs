//! The daemon as systemd sees it: sockets handed over, readiness, reload with other listeners and certificates.

mod common;

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::client::Client;
use common::sink::Sink;
use common::{
    BINARY, CERTIFICATES_ONLY, LOOPBACK, PATIENCE, Relay, base_config, copy_certificates, free_port, wait_until,
};

fn say_hello(address: SocketAddr) -> std::io::Result<u16> {
    let mut client = Client::connect(address)?;
    Ok(client.say("EHLO laptop.example.org")?.code)
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn is_open(port: u16) -> bool {
    TcpStream::connect(loopback(port)).is_ok()
}

fn reload(relay: &Relay) -> (bool, String) {
    let output = relay.command(&["reload"], &[]);
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn listener(name: &str, port: u16) -> String {
    format!("[[listener]]\nname = \"{name}\"\naddress = \"127.0.0.1:{port}\"\n")
}

#[test]
fn reload_opens_new_listeners_and_closes_removed_ones_without_ending_their_sessions() {
    let sink = Sink::start();
    let relay = Relay::start(LOOPBACK, sink.port);
    let (second, third) = (free_port(), free_port());
    let base = format!("{LOOPBACK}{}", base_config(relay.port, sink.port));
    relay.write_config(&format!("{base}{}", listener("second", second)));
    assert!(reload(&relay).0);
    let mut client = Client::connect(loopback(second)).expect("the second listener");
    client.say("EHLO laptop.example.org").expect("EHLO");

    relay.write_config(&format!("{base}{}", listener("third", third)));
    let (done, text) = reload(&relay);
    assert!(done && text.contains("2 listeners"), "{text}");
    assert!(is_open(third));
    wait_until("closed", || !is_open(second));
    assert_eq!(client.say("NOOP").expect("the session goes on").code, 250);
}

#[test]
fn reload_that_cannot_bind_one_listener_opens_none() {
    let sink = Sink::start();
    let relay = Relay::start(LOOPBACK, sink.port);
    let fine = free_port();
    let taken = sink.port;
    let base = format!("{LOOPBACK}{}", base_config(relay.port, sink.port));
    relay.write_config(&format!("{base}{}{}", listener("fine", fine), listener("taken", taken)));
    let (done, text) = reload(&relay);
    assert!(!done && text.contains("the old settings stay in force"), "{text}");
    assert!(!is_open(fine));
    assert_eq!(say_hello(relay.address()).expect("answered"), 250);
}

#[test]
fn reload_to_an_address_in_the_way_of_an_open_one_says_that_it_needs_a_restart() {
    let sink = Sink::start();
    let relay = Relay::start(LOOPBACK, sink.port);
    let text = format!("{LOOPBACK}{}", base_config(relay.port, sink.port));
    relay.write_config(&text.replace(&format!("127.0.0.1:{}", relay.port), &format!("0.0.0.0:{}", relay.port)));
    let (done, text) = reload(&relay);
    assert!(!done && text.contains("needs a restart"), "{text}");
    assert_eq!(say_hello(relay.address()).expect("answered"), 250);
}

#[test]
fn reload_of_what_is_read_at_start_only_says_so() {
    let sink = Sink::start();
    let relay = Relay::start(LOOPBACK, sink.port);
    let text = format!("{LOOPBACK}{}", base_config(relay.port, sink.port)).replace("\"json\"", "\"text\"");
    relay.write_config(&format!("shutdown_timeout = \"5s\"\n{text}"));
    let (done, text) = reload(&relay);
    assert!(
        done && text.contains("log_format, shutdown_timeout changed, which needs a restart"),
        "{text}"
    );
}

#[test]
fn reload_swaps_a_certificate_and_refuses_a_key_that_does_not_fit() {
    let sink = Sink::start();
    let relay = Relay::start(CERTIFICATES_ONLY, sink.port);
    let key = fs::read(relay.file("server.key")).expect("key");
    fs::copy(relay.file("alice.key"), relay.file("server.key")).expect("copied");
    relay.signal("HUP");
    wait_until("refused", || relay.log_text().contains("configuration.reload_refused"));
    assert!(relay.log_text().contains("does not belong to the certificate"));
    let mut client = Client::connect(relay.address()).expect("connects");
    client.say("EHLO laptop.example.org").expect("EHLO");
    client
        .start_tls(relay.directory.path(), Some("alice"))
        .expect("TLS with the old key");

    fs::write(relay.file("server.key"), key).expect("written");
    fs::copy(relay.file("nexthop.crt"), relay.file("server.crt")).expect("copied");
    fs::copy(relay.file("nexthop.key"), relay.file("server.key")).expect("copied");
    let (done, text) = reload(&relay);
    assert!(done, "{text}");
    let mut shown = Command::new("openssl");
    shown.args([
        "s_client",
        "-starttls",
        "smtp",
        "-connect",
        &relay.address().to_string(),
    ]);
    let shown = shown.stdin(Stdio::null()).output().expect("openssl: run tests/run");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.replace(' ', "").contains("CN=localhost"), "{shown}");
}

#[test]
fn readiness_reload_and_stop_are_told_to_the_supervisor() {
    let directory = tempfile::tempdir().expect("temporary directory");
    copy_certificates(directory.path());
    let told = UnixDatagram::bind(directory.path().join("notify")).expect("bound");
    told.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let receive = || {
        let mut buffer = [0_u8; 4096];
        let count = told.recv(&mut buffer).expect("told");
        String::from_utf8_lossy(buffer.get(..count).unwrap_or_default()).into_owned()
    };
    let config = directory.path().join("estafette.toml");
    fs::write(&config, format!("{LOOPBACK}{}", base_config(free_port(), 9))).expect("written");
    let mut child = Command::new(BINARY)
        .args(["run", "--config"])
        .arg(&config)
        .env("NOTIFY_SOCKET", directory.path().join("notify"))
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let ready = receive();
    assert!(
        ready.contains("READY=1") && ready.contains("STATUS=listening on smtp 127.0.0.1:"),
        "{ready}"
    );
    signal(&child, "HUP");
    let reloading = receive();
    assert!(
        reloading.contains("RELOADING=1") && reloading.contains("MONOTONIC_USEC="),
        "{reloading}"
    );
    assert!(receive().contains("READY=1"));
    fs::write(&config, "foo = 1\n").expect("written");
    signal(&child, "HUP");
    assert!(receive().contains("RELOADING=1"));
    let refused = receive();
    assert!(refused.contains("READY=1") && refused.contains("refused"), "{refused}");
    signal(&child, "TERM");
    assert!(receive().contains("STOPPING=1"));
    assert!(child.wait().expect("waited").success());
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args(["-s", name, &child.id().to_string()])
        .status();
    assert!(status.expect("kill").success());
}

/// A relay that gets its sockets from `systemd-socket-activate`, which starts it at the first connection.
struct Activated {
    child: Child,
    directory: tempfile::TempDir,
}

impl Activated {
    fn start(sockets: &[(u16, &str)], listeners: &str) -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        copy_certificates(directory.path());
        let base = base_config(1, 9);
        let head = base.split("[[listener]]").next().expect("a head");
        let config = directory.path().join("estafette.toml");
        fs::write(&config, format!("{LOOPBACK}{head}{listeners}")).expect("written");
        let mut command = Command::new("systemd-socket-activate");
        let names: Vec<&str> = sockets.iter().map(|(_, name)| *name).collect();
        for (port, _) in sockets {
            command.args(["-l", &format!("127.0.0.1:{port}")]);
        }
        command
            .args(["--fdname", &names.join(":"), BINARY, "run", "--config"])
            .arg(&config);
        let log = fs::File::create(directory.path().join("log")).expect("a log");
        let child = command
            .stderr(OwnedFd::from(log))
            .spawn()
            .expect("systemd-socket-activate: run tests/run");
        Self { child, directory }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).expect("a log")
    }

    fn reload(&self, change: impl Fn(&str) -> String) -> String {
        let config = self.directory.path().join("estafette.toml");
        let text = fs::read_to_string(&config).expect("configuration");
        fs::write(&config, change(&text)).expect("written");
        let output = Command::new(BINARY)
            .args(["reload", "--config"])
            .arg(&config)
            .output()
            .expect("runs");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first connection may come before the sockets exist.
fn greet(port: u16) {
    wait_until("the socket", || is_open(port));
    wait_until("greeted", || say_hello(loopback(port)).is_ok_and(|code| code == 250));
}

#[test]
fn sockets_handed_over_go_to_the_listener_of_their_address_whatever_their_names() {
    let (first, second) = (free_port(), free_port());
    // Names crossed on purpose: the address counts.
    let listeners = format!("{}{}", listener("one", first), listener("two", second));
    let relay = Activated::start(&[(first, "two"), (second, "one")], &listeners);
    greet(first);
    greet(second);
    let started = format!("one 127.0.0.1:{first}, two 127.0.0.1:{second}");
    wait_until("started", || relay.log().contains(&started));
    assert!(!relay.log().contains("socket.unused"), "{}", relay.log());
}

#[test]
fn socket_handed_over_by_name_is_used_and_one_for_nobody_is_warned_about() {
    let (named, stray) = (free_port(), free_port());
    let listeners = "[[listener]]\nname = \"x\"\naddress = \"127.0.0.1:1\"\nsocket_name = \"mail\"\n";
    let relay = Activated::start(&[(named, "mail"), (stray, "stray")], listeners);
    greet(named);
    wait_until("warned", || {
        let log = relay.log();
        log.lines()
            .any(|line| line.contains("socket.unused") && line.contains(&format!("127.0.0.1:{stray}")))
    });
}

#[test]
fn listener_on_a_socket_handed_over_comes_back_after_a_reload_without_it() {
    let (kept, gone) = (free_port(), free_port());
    let both = format!("{}{}", listener("kept", kept), listener("gone", gone));
    let relay = Activated::start(&[(kept, "mail"), (gone, "mail")], &both);
    greet(kept);
    greet(gone);
    let text = relay.reload(|text| text.replace(&listener("gone", gone), ""));
    assert!(text.contains("1 listener"), "{text}");
    let text = relay.reload(|text| format!("{text}{}", listener("gone", gone)));
    assert!(text.contains("2 listeners"), "{text}");
    greet(gone);
    std::thread::sleep(Duration::from_millis(50));
    assert!(!relay.log().contains("accept_failed"), "{}", relay.log());
}

#[test]
fn names_that_a_peer_chose_cannot_pass_for_fields_of_a_text_log_line() {
    let sink = Sink::start();
    let mut relay = Relay::start(LOOPBACK, sink.port);
    relay.kill();
    let text = format!("{LOOPBACK}{}", base_config(relay.port, sink.port)).replace("\"json\"", "\"text\"");
    relay.write_config(&text);
    relay.spawn();
    let mut client = Client::connect(relay.address()).expect("connects");
    client.say("EHLO laptop.example.org").expect("EHLO");
    client
        .say("MAIL FROM:<\"x identity=verified\"@example.org>")
        .expect("MAIL");
    client
        .say("RCPT TO:<\"y decided_by=permit\"@example.net>")
        .expect("RCPT");
    wait_until("logged", || relay.log_text().contains("recipient.permitted"));
    let log = relay.log_text();
    assert!(
        log.contains(r#"reverse_path="\"x identity=verified\"@example.org""#),
        "{log}"
    );
    assert!(
        log.contains(r#"forward_path="\"y decided_by=permit\"@example.net""#),
        "{log}"
    );
}

#[test]
fn every_stage_of_a_message_is_a_line_that_names_the_holder_of_the_certificate() {
    let sink = Sink::start();
    let relay = Relay::start(CERTIFICATES_ONLY, sink.port);
    let mut client = Client::connect(relay.address()).expect("connects");
    client.say("EHLO laptop.example.org").expect("EHLO");
    let mut client = client.start_tls(relay.directory.path(), Some("alice")).expect("TLS");
    client.say("EHLO laptop.example.org").expect("EHLO");
    let reply = client
        .send("a@example.org", &["b@example.net"], "Subject: x\r\n\r\nHello")
        .expect("sent");
    let id = reply.text.split_whitespace().last().expect("an id").to_owned();
    wait_until("relayed", || relay.log_text().contains("delivery.relayed"));
    let log = relay.log_text();
    let lines: Vec<serde_json::Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for stage in [
        "tls.started",
        "recipient.permitted",
        "message.queued",
        "delivery.relayed",
    ] {
        let line = lines.iter().find(|line| line["message"] == stage);
        let line = line.unwrap_or_else(|| panic!("{stage}: {log}"));
        assert_eq!(line["issuer"], "/C=FR/O=CNRS/CN=CNRS-Standard", "{line}");
        assert_eq!(line["subject"], "/C=FR/O=CNRS/OU=UMR5168/CN=Alice Martin", "{line}");
        assert!(line["session_id"].as_str().is_some_and(|id| !id.is_empty()), "{line}");
        if stage != "tls.started" {
            assert_eq!(line["decided_by"], "permit_tls_all_clientcerts", "{line}");
        }
        if stage == "message.queued" || stage == "delivery.relayed" {
            assert_eq!(line["queue_id"], id.as_str(), "{line}");
        }
    }
}

#[test]
fn handshake_that_fails_is_logged_with_the_peer() {
    let sink = Sink::start();
    let relay = Relay::start(CERTIFICATES_ONLY, sink.port);
    let mut client = Client::connect(relay.address()).expect("connects");
    client.say("EHLO laptop.example.org").expect("EHLO");
    assert_eq!(client.say("STARTTLS").expect("STARTTLS").code, 220);
    client.write(b"this is no handshake\r\n").expect("written");
    wait_until("logged", || relay.log_text().contains("tls.failed"));
    let log = relay.log_text();
    let line = log.lines().find(|line| line.contains("tls.failed")).expect("a line");
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(line["listener"], "smtp", "{line}");
    assert!(
        line["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")),
        "{line}"
    );
}
