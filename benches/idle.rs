//! What an idle session costs in memory: `cargo bench --bench idle`, or with another number of sessions behind `--`.
//! docs/performance.md says what the figures mean.

#[path = "../tests/common/mod.rs"]
mod common;

use std::fs;

use common::client::Client;
use common::{CERTIFICATES_ONLY, Relay, free_port};

const SESSIONS: usize = 2_000;

/// Sessions opened and closed before anything is measured, so that what is made once is made.
const WARM_UP: usize = 200;

/// How far the idle sessions have come.
#[derive(Clone, Copy)]
enum Stage {
    Greeted,
    Hello,
    Tls(Option<&'static str>),
}

const STAGES: [(&str, Stage); 4] = [
    ("plaintext, greeted, silent since", Stage::Greeted),
    ("plaintext, after EHLO", Stage::Hello),
    ("TLS 1.3 without a certificate, after EHLO", Stage::Tls(None)),
    (
        "TLS 1.3 with a client certificate, after EHLO",
        Stage::Tls(Some("alice")),
    ),
];

fn main() {
    // `cargo test --all-targets` starts this too; it is for those who ask for it.
    if !std::env::args().any(|argument| argument == "--bench") {
        eprintln!("idle: started by cargo bench --bench idle");
        return;
    }
    let number = std::env::args().find_map(|argument| argument.parse().ok());
    let sessions: usize = number.unwrap_or(SESSIONS);
    println!("{sessions} idle sessions; private memory of the daemon, /proc/PID/smaps_rollup\n");
    println!("| | before, KiB | with them, KiB | a session, octets |\n|---|---|---|---|");
    for (words, stage) in STAGES {
        let (before, after) = measure(sessions, stage);
        let each = after.saturating_sub(before) * 1024 / sessions.max(1) as u64;
        println!("| {words} | {before} | {after} | {each} |");
    }
}

/// The daemon's private memory without and with the sessions, KiB. Each stage has a daemon of its own: an allocator does not
/// give everything back.
fn measure(sessions: usize, stage: Stage) -> (u64, u64) {
    let policy = format!(
        "default_process_limit = {}\nsmtpd_stranger_session_share = 99\nsmtpd_timeout = \"3600s\"\n\
         smtpd_client_event_limit_exceptions = [\"127.0.0.0/8\"]\n{CERTIFICATES_ONLY}",
        (sessions * 2).max(1_000)
    );
    let relay = Relay::start(&policy, free_port());
    drop(open(WARM_UP, stage, &relay));
    let before = private_kib(&relay);
    let held = open(sessions, stage, &relay);
    let after = private_kib(&relay);
    drop(held);
    (before, after)
}

fn open(sessions: usize, stage: Stage, relay: &Relay) -> Vec<Client> {
    (0..sessions).map(|_| session(stage, relay)).collect()
}

fn session(stage: Stage, relay: &Relay) -> Client {
    let client = Client::connect(relay.address()).expect("a greeting");
    match stage {
        Stage::Greeted => client,
        Stage::Hello => hello(client),
        Stage::Tls(certificate) => {
            let client = hello(client).start_tls(relay.directory.path(), certificate);
            hello(client.expect("TLS"))
        }
    }
}

fn hello(mut client: Client) -> Client {
    assert_eq!(client.say("EHLO idle.example.org").expect("EHLO").code, 250);
    client
}

fn private_kib(relay: &Relay) -> u64 {
    // What is freed in the background is not the sessions'.
    std::thread::sleep(std::time::Duration::from_secs(1));
    let path = format!("/proc/{}/smaps_rollup", relay.pid());
    let text = fs::read_to_string(path).expect("the daemon runs");
    let of = |line: &str| line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
    let private = text.lines().filter(|line| line.starts_with("Private_"));
    private.filter_map(of).sum()
}
