//! `estafette check --open-relay`: the shipped campus is closed, and an open configuration is told, listener by listener.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{BINARY, base_config, copy_certificates};

fn check(directory: &Path, configuration: &str) -> (i32, String, String) {
    fs::write(directory.join("e.toml"), configuration).expect("written");
    let output = Command::new(BINARY)
        .args(["check", "--config", "e.toml", "--open-relay"])
        .current_dir(directory)
        .output()
        .expect("runs");
    (
        output.status.code().expect("no signal"),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn desk() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("temporary directory");
    copy_certificates(directory.path());
    directory
}

/// The number of outsiders in the last line.
fn tried(out: &str) -> usize {
    let word = out.lines().last().and_then(|last| last.split(' ').nth(4));
    word.and_then(|word| word.parse().ok()).expect("a number of outsiders")
}

/// The campus with its files beside it.
fn campus() -> String {
    include_str!("../config/campus.toml").replace("/etc/estafette/", "")
}

#[test]
fn shipped_campus_lets_nobody_outside_relay() {
    let desk = desk();
    let (code, out, errors) = check(desk.path(), &campus());
    assert_eq!(code, 0, "{out}{errors}");
    let last = out.lines().last().expect("a line");
    assert!(last.starts_with("nobody outside can relay: "), "{last}");
    assert!(last.ends_with(" outsiders × 3 listeners tried"), "{last}");
    assert!(tried(&out) > 70, "{last}");
}

#[test]
fn lists_that_name_issuers_and_laboratories_let_nobody_outside_relay() {
    let desk = desk();
    let policy = "mynetworks = [\"192.0.2.0/24\"]\nrelay_domains = [\"example.org\"]\nsmtpd_recipient_restrictions = [\"permit_mynetworks\", \
        \"CERTISSUER:^/C=FR/O=CNRS/CN=CNRS-Plus$\", \"CERTSUBJECT:^/C=FR/O=CNRS/OU=UMR5168/CN=[^/+]*$\", \
        \"permit_auth_destination\", \"reject\"]\n";
    let (code, out, errors) = check(desk.path(), &format!("{policy}{}", base_config(2525, 2526)));
    assert_eq!(code, 0, "{out}{errors}");
    assert!(tried(&out) > 1_000, "spoofed names are tried: {out}");
}

#[test]
fn registry_among_the_relay_domains_is_an_open_relay() {
    let desk = desk();
    let text = campus().replace("[\"example.org\"]", "[\"example.org\", \".com\"]");
    let (code, out, errors) = check(desk.path(), &text);
    assert_eq!(code, 1, "{out}{errors}");
    assert!(out.contains("to <someone@estafette-outside.com>\n"), "{out}");
}

#[test]
fn listener_with_networks_of_the_world_is_named_with_the_restriction_that_permits() {
    let desk = desk();
    let text = format!(
        "{}mynetworks = [\"8.0.0.0/8\", \"100.0.0.0/8\", \"192.0.0.0/8\", \"198.0.0.0/8\", \"203.0.0.0/8\"]\n",
        campus().replace(
            "[\"127.0.0.0/8\", \"[::1]/128\", \"192.0.2.0/24\"]",
            "[\"192.0.2.0/24\"]"
        )
    );
    let (code, out, errors) = check(desk.path(), &text);
    assert_eq!(code, 1, "{out}{errors}");
    assert!(
        out.contains("listener submissions: TLS without a certificate\n"),
        "{out}"
    );
    assert!(
        out.contains("permitted by permit_mynetworks: 198.51.100.77 is in 198.0.0.0/8"),
        "{out}"
    );
    assert!(out.contains("open relay: "), "{out}");
    for closed in ["listener smtp:", "listener submission:", "submissions: plaintext"] {
        assert!(!out.contains(closed), "{closed}: {out}");
    }
}

#[test]
fn broken_certificate_file_is_told_and_exits_2() {
    let desk = desk();
    fs::write(desk.path().join("CAcert.pem"), "nothing").expect("written");
    let (code, _, errors) = check(desk.path(), &campus());
    assert!(code == 2 && errors.contains("CAcert.pem"), "{errors}");
}
