//! A long queue is listed and counted in flat memory.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::common::BINARY;
use crate::mail::{Mail, queue, stopped_queue};

/// The most memory that a listing had when `lines` of its lines were read, KiB; more are still to come.
fn peak_after(config: &std::path::Path, lines: usize) -> u64 {
    let mut child = Command::new(BINARY)
        .args(["queue", "list", "--json", "--config"])
        .arg(config)
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut out = BufReader::new(child.stdout.take().expect("piped")).lines();
    for _ in 0..lines {
        out.next().expect("a line").expect("text");
    }
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it runs still");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok());
    let rest = out.count();
    assert_eq!(lines + rest, 10_000);
    assert!(child.wait().expect("waited").success());
    peak.expect("VmHWM")
}

#[test]
fn ten_thousand_messages_are_listed_and_counted_in_the_memory_of_a_thousand() {
    let relay = stopped_queue(&vec![
        Mail {
            octets: 20,
            ..Mail::default()
        };
        10_000
    ]);
    let (early, late) = (peak_after(&relay.config(), 1_000), peak_after(&relay.config(), 9_500));
    assert!(
        late < early + 4 * 1024,
        "{early} KiB after 1,000 messages, {late} KiB after 9,500"
    );
    assert!(late < 64 * 1024, "{late} KiB");
    let (code, text) = queue(&relay, &["stats"]);
    assert!(code == 0 && text.contains("TOTAL   10000"), "{text}");
    let (code, text) = queue(&relay, &["delete", "--all", "--confirm", "10000", "--json"]);
    assert!(
        code == 0 && text.contains("\"done\":10000"),
        "{}",
        text.lines().last().unwrap_or_default()
    );
    assert_eq!(queue(&relay, &["list"]).1, "-- 0 messages\n");
}
