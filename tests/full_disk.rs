//! A disk that is really full: 452 4.3.1 instead of a crash, and what is queued stays.
//!
//! The queue lies on a small tmpfs in a mount namespace of the relay's own, which ends with it.

mod common;

use std::process::{Command, Stdio};

use common::client::Client;
use common::sink::Sink;
use common::{BINARY, LOOPBACK, PATIENCE, Relay, wait_until};

const SCRIPT: &str = r#"mount -t tmpfs -o size=40m,mode=0700 tmpfs "$1" && exec "$2" run --config "$3""#;

#[test]
fn full_disk_answers_452_and_what_is_queued_stays() {
    let sink = Sink::start();
    // A mark of its own would refuse long before the disk is full.
    let policy = format!("{LOOPBACK}message_size_limit = 1000000\nsmtp_tls_security_level = \"none\"\n");
    let mut relay = Relay::prepare(&policy, sink.port);
    std::fs::create_dir(relay.queue()).expect("queue directory");
    let mut command = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command
        .args(["--mount", "sh", "-c", SCRIPT, "sh"])
        .arg(relay.queue())
        .arg(BINARY)
        .arg(relay.config());
    relay.spawn_command(command.stdout(Stdio::null()).stderr(Stdio::piped()));

    let body = format!(
        "Subject: filler\r\n\r\n{}end",
        format!("{}\r\n", "x".repeat(70)).repeat(4_000)
    );
    let mut client = Client::connect(relay.address()).expect("connects");
    client.say("EHLO printer.example.org").expect("EHLO");
    let mut accepted = 0;
    let refusal = loop {
        let reply = client
            .send("a@example.org", &["defer@example.net"], &body)
            .expect("answered");
        if reply.code != 250 {
            break reply;
        }
        accepted += 1;
        assert!(accepted < 400, "40 MiB hold fewer messages than that");
    };
    assert!(refusal.text.starts_with("452 4.3.1"), "{}", refusal.text);
    assert!(accepted > 20, "the disk was not full from the start: {accepted}");
    assert_eq!(client.say("RSET").expect("alive").code, 250);
    let listed = || {
        let pid = relay.pid().to_string();
        let mut command = Command::new("nsenter");
        if !nix::unistd::geteuid().is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command
            .args(["--target", &pid, "--mount", BINARY, "queue", "--config"])
            .arg(relay.config())
            .args(["list", "--json"]);
        let output = command.output().expect("nsenter runs");
        String::from_utf8_lossy(&output.stdout).lines().count()
    };
    assert_eq!(
        listed(),
        accepted,
        "all that was acknowledged is there, within {PATIENCE:?}"
    );
    wait_until("every message was tried and kept", || {
        relay.log_text().matches("delivery.deferred").count() >= accepted
    });
    assert_eq!(listed(), accepted);
}
