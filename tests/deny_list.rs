//! The deny-list: what `estafette cert revoke` and `restore` write, and how a running relay takes it up.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use common::{BINARY, copy_certificates};
use estafette::cert::certificate::Certificate;
use estafette::cert::decode::decode;
use estafette::io::tls::deny_list::DenyList;
use estafette::io::tls::pem;

const BY_HAND: &str = "# stolen in Lyon\n\
    serial=0A1B issuer=\"/C=FR/O=CNRS/CN=CNRS-Plus\"  # no date\n\n";

/// A directory with the example certificates, a configuration and its deny-list.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        copy_certificates(directory.path());
        // Nothing but the place of the list is right in it.
        let config = "queue_directory = \"queue\"\nsmtpd_tls_cert_file = \"none.pem\"\nnonsense = 1\n";
        fs::write(directory.path().join("e.toml"), config).expect("written");
        fs::create_dir(directory.path().join("queue")).expect("made");
        Self(directory)
    }

    fn list(&self) -> PathBuf {
        self.0.path().join("queue/denied-certificates")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.list()).expect("the list")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.arg("cert").args(arguments).args(["-c", "e.toml"]);
        command.current_dir(self.0.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let Output { status, stdout, stderr } = self.command(arguments).output().expect("runs");
        let text = String::from_utf8([stdout, stderr].concat()).expect("UTF-8");
        (status.code().expect("no signal"), text)
    }

    fn good(&self, arguments: &[&str]) -> String {
        let (code, text) = self.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {text}");
        text
    }

    fn certificate(&self, name: &str) -> Certificate {
        certificate(&self.0.path().join(name))
    }

    fn load(&self) -> DenyList {
        DenyList::load(&self.list()).expect("a good list")
    }

    /// The reason why a certificate is denied.
    fn reason(&self, name: &str) -> Option<String> {
        self.load().denial(&self.certificate(name)).map(|denial| denial.reason)
    }
}

fn certificate(path: &Path) -> Certificate {
    decode(&pem::certificates(path).expect("PEM")[0]).expect("a certificate")
}

#[test]
fn revoke_and_restore_of_a_file_deny_one_certificate_and_let_it_in_again() {
    let desk = Desk::new();
    assert!(desk.good(&["list"]).starts_with("-- 0 entries in "));
    let told = desk.good(&["revoke", "alice.pem", "--reason", "laptop \"lost\" # in Lyon"]);
    assert!(told.contains("/C=FR/O=CNRS/OU=UMR5168/CN=Alice Martin"), "{told}");
    assert!(told.contains("from the next MAIL on"), "{told}");
    assert_eq!(desk.reason("alice.pem").as_deref(), Some("laptop \"lost\" # in Lyon"));
    assert_eq!(desk.reason("carol.pem"), None);
    assert_eq!(desk.reason("CNRS-Standard.crt"), None);
    // Another Alice by another authority is somebody else.
    assert_eq!(desk.reason("rogue.pem"), None);

    let before = desk.text();
    let again = desk.good(&["revoke", "alice.pem", "--reason", "other"]);
    assert!(again.starts_with("denied already, nothing was written"), "{again}");
    assert_eq!(desk.text(), before);

    let json = desk.good(&["list", "--json"]);
    let entry: serde_json::Value = serde_json::from_str(&json).expect("one object");
    let alice = desk.certificate("alice.pem");
    assert_eq!(entry["sha256"], alice.fingerprint);
    assert_eq!(entry["serial"], alice.serial);
    assert_eq!(entry["issuer"], alice.issuer.one_line());
    assert!(
        entry["since"].as_str().is_some_and(|since| since.ends_with('Z')),
        "{entry}"
    );

    assert!(desk.good(&["restore", "alice.pem"]).starts_with("no longer denied"));
    assert_eq!(desk.reason("alice.pem"), None);
    let (code, told) = desk.run(&["restore", "alice.pem"]);
    assert!(code == 1 && told.contains("no entry of"), "{told}");
}

#[test]
fn either_form_of_an_entry_denies_by_itself() {
    let desk = Desk::new();
    let alice = desk.certificate("alice.pem");
    let plain = alice.fingerprint.replace(':', "").to_lowercase();
    desk.good(&["revoke", "--fingerprint", &plain]);
    let bob = desk.certificate("bob.pem");
    let serial = format!("0x{}", bob.serial.replace(':', ""));
    desk.good(&[
        "revoke",
        "--serial",
        &serial,
        "--issuer",
        &bob.issuer.one_line(),
        "--reason",
        "left",
    ]);
    assert_eq!(desk.reason("alice.pem").as_deref(), Some("revoked"));
    assert_eq!(desk.reason("bob.pem").as_deref(), Some("left"));
    // The same certificate encoded anew.
    let encoded_anew = Certificate {
        fingerprint: "00".into(),
        ..bob.clone()
    };
    assert!(desk.load().denial(&encoded_anew).is_some());
    let of_another_issuer = Certificate {
        issuer: alice.issuer.clone(),
        ..encoded_anew
    };
    assert!(desk.load().denial(&of_another_issuer).is_none());
    // The file has both forms, so the certificate gets an entry that names it whole.
    assert!(desk.good(&["revoke", "alice.pem"]).starts_with("denied:"));
    let told = desk.good(&["restore", "alice.pem"]);
    assert_eq!(told.matches("sha256").count(), 2, "{told}");
    desk.good(&["restore", "--serial", &serial, "--issuer", &bob.issuer.one_line()]);
    assert!(desk.good(&["list"]).starts_with("-- 0 entries"));
}

#[test]
fn edits_keep_comments_order_and_what_others_wrote() {
    let desk = Desk::new();
    fs::write(desk.list(), BY_HAND.trim_end()).expect("written");
    desk.good(&["revoke", "alice.pem"]);
    assert!(desk.text().starts_with(BY_HAND.trim_end()), "{}", desk.text());
    let listed = desk.good(&["list"]);
    assert!(listed.contains("serial 0A:1B of /C=FR/O=CNRS/CN=CNRS-Plus"), "{listed}");
    assert!(
        listed.contains("(no date)") && listed.ends_with("denied-certificates\n"),
        "{listed}"
    );
    desk.good(&["restore", "--serial", "a1b", "--issuer", "/C=FR/O=CNRS/CN=CNRS-Plus"]);
    assert!(desk.text().starts_with("# stolen in Lyon\nsha256="), "{}", desk.text());
}

#[test]
fn two_commands_at_once_lose_nothing() {
    let desk = Desk::new();
    for round in 0..10 {
        let _ = fs::remove_file(desk.list());
        let start = |name: &str| -> Child {
            let mut command = desk.command(&["revoke", name]);
            command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("starts")
        };
        let names = ["alice.pem", "bob.pem", "carol.pem", "expired.pem"];
        for mut child in names.map(start) {
            assert!(child.wait().expect("ends").success(), "round {round}");
        }
        for name in names {
            assert!(desk.reason(name).is_some(), "{name} in round {round}: {}", desk.text());
        }
    }
    let left: Vec<_> = fs::read_dir(desk.list().parent().expect("a directory"))
        .expect("readable")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(left, ["denied-certificates"]);
}

#[test]
fn authority_is_denied_with_the_flag_only() {
    let desk = Desk::new();
    let (code, told) = desk.run(&["revoke", "CNRS-Plus.crt"]);
    assert!(
        code == 2 && told.contains("everybody whose certificate it issued"),
        "{told}"
    );
    assert!(!desk.list().exists());
    let (code, told) = desk.run(&["revoke", "alice.pem", "--ca"]);
    assert!(code == 2 && told.contains("is not a certification authority"), "{told}");
    desk.good(&["revoke", "CNRS-Plus.crt", "--ca"]);
    assert!(desk.reason("CNRS-Plus.crt").is_some());
}

#[test]
fn wrong_arguments_say_what_is_expected_and_write_nothing() {
    let desk = Desk::new();
    for (arguments, words) in [
        (
            &["revoke", "alice.pem", "--reason", "a\nsha256=b"][..],
            "--reason: found the character '\\n'",
        ),
        (
            &["revoke", "alice.pem", "--reason", "\u{202e}tsol"],
            "--reason: found the character",
        ),
        (&["revoke", "--fingerprint", "00:11"], "64 hexadecimal digits"),
        (
            &["revoke", "--fingerprint", &"ab".repeat(20)],
            "found a SHA-1 fingerprint",
        ),
        (
            &["revoke", "--serial", "12 34", "--issuer", "/CN=a"],
            "--serial: found \"12 34\"",
        ),
        (
            &["revoke", "--serial", "12", "--issuer", "CN=a,O=b"],
            "--issuer: found \"CN=a,O=b\"",
        ),
        (&["revoke", "alice.key"], "found PRIVATE KEY"),
        (&["revoke"], "required"),
    ] {
        let (code, told) = desk.run(arguments);
        assert!(code == 2 && told.contains(words), "{arguments:?}: {told}");
        assert!(!desk.list().exists(), "{arguments:?}");
    }
}

#[test]
fn broken_list_is_not_written_to_and_names_its_line() {
    let desk = Desk::new();
    let broken = "# a\nserial=0A1B\n";
    fs::write(desk.list(), broken).expect("written");
    for command in [&["revoke", "alice.pem"][..], &["restore", "alice.pem"], &["list"]] {
        let (code, told) = desk.run(command);
        assert_eq!(code, 1, "{told}");
        assert!(
            told.contains("denied-certificates: line 2: found serial alone"),
            "{told}"
        );
    }
    assert_eq!(desk.text(), broken);
}

#[test]
fn missing_directory_is_named() {
    let desk = Desk::new();
    fs::remove_dir(desk.list().parent().expect("queue")).expect("removed");
    let (code, told) = desk.run(&["revoke", "alice.pem"]);
    assert!(
        code == 1 && told.contains("is smtpd_tls_deny_list_file right?"),
        "{told}"
    );
}

#[test]
fn wrong_place_of_the_list_does_not_look_like_an_empty_list() {
    let desk = Desk::new();
    let config = desk.0.path().join("e.toml");
    for (text, code, words) in [
        (
            "smtpd_tls_deny_list_file = \"\"",
            2,
            "smtpd_tls_deny_list_file: is empty",
        ),
        ("queue_directory = 5", 2, "queue_directory"),
        (
            "queue_directory = 5\nsmtpd_tls_deny_list_file = \"queue/x\"",
            0,
            "-- 0 entries in",
        ),
        ("queue_directory = \"none\"", 1, "none cannot be read: No such file"),
        ("smtpd_tls_deny_list_file = \"queue\"", 1, "queue is not a file"),
        ("smtpd_tls_deny_list_file =", 2, "e.toml"),
    ] {
        fs::write(&config, format!("{text}\n")).expect("written");
        let (found, told) = desk.run(&["list"]);
        assert!(found == code && told.contains(words), "{text}: {found} {told}");
    }
}

#[test]
fn named_pipe_in_the_place_of_the_list_is_refused_without_waiting() {
    let desk = Desk::new();
    let status = Command::new("mkfifo").arg(desk.list()).status().expect("mkfifo runs");
    assert!(status.success());
    let (code, told) = desk.run(&["revoke", "alice.pem"]);
    assert!(
        code == 1 && told.contains("denied-certificates is not a file"),
        "{told}"
    );
    assert!(DenyList::load(&desk.list()).is_err());
}

#[test]
fn list_belongs_to_the_owner_of_its_directory_and_keeps_its_mode() {
    let desk = Desk::new();
    let queue = desk.list().parent().expect("queue").to_owned();
    let is_root = nix::unistd::geteuid().is_root();
    if is_root {
        std::os::unix::fs::chown(&queue, Some(4711), Some(4712)).expect("chown");
    }
    desk.good(&["revoke", "alice.pem"]);
    let directory = fs::metadata(&queue).expect("queue");
    let list = fs::metadata(desk.list()).expect("list");
    assert_eq!((list.uid(), list.gid()), (directory.uid(), directory.gid()));
    assert_eq!(list.mode() & 0o777, 0o640);
    fs::set_permissions(desk.list(), fs::Permissions::from_mode(0o604)).expect("chmod");
    desk.good(&["revoke", "bob.pem"]);
    assert_eq!(fs::metadata(desk.list()).expect("list").mode() & 0o777, 0o604);
}

#[test]
fn list_behind_a_symbolic_link_is_changed_in_its_place() {
    let desk = Desk::new();
    let real = desk.0.path().join("real-list");
    fs::write(&real, BY_HAND).expect("written");
    std::os::unix::fs::symlink(&real, desk.list()).expect("linked");
    desk.good(&["revoke", "alice.pem"]);
    assert!(fs::symlink_metadata(desk.list()).expect("there").is_symlink());
    assert!(desk.reason("alice.pem").is_some());
}

#[test]
fn running_list_takes_up_changes_and_counts_them() {
    let desk = Desk::new();
    let alice = desk.certificate("alice.pem");
    let list = desk.load();
    assert_eq!((list.refresh(), list.generation()), (Ok(false), 0));
    desk.good(&["revoke", "alice.pem", "--reason", "lost"]);
    assert_eq!((list.refresh(), list.generation()), (Ok(true), 1));
    let denial = list.denial(&alice).expect("denied");
    assert!(
        denial.reason == "lost" && denial.since_unix_seconds > 1_700_000_000,
        "{denial:?}"
    );
    // A comment changes the file and nothing else.
    fs::write(desk.list(), format!("{}# by phone\n", desk.text())).expect("written");
    assert_eq!((list.refresh(), list.generation()), (Ok(false), 1));
    desk.good(&["restore", "alice.pem"]);
    assert_eq!((list.refresh(), list.generation()), (Ok(true), 2));
    assert_eq!(list.denial(&alice), None);
}

#[test]
fn running_list_survives_a_broken_and_a_vanished_file() {
    let desk = Desk::new();
    let alice = desk.certificate("alice.pem");
    desk.good(&["revoke", "alice.pem"]);
    let good = desk.text();
    let list = desk.load();

    fs::write(desk.list(), format!("{good}sha265=00\n")).expect("written");
    let error = list.refresh().expect_err("broken");
    assert!(
        error.contains("denied-certificates: line 4: found the field sha265"),
        "{error}"
    );
    assert_eq!(list.refresh(), Ok(false), "told once");
    assert!(list.denial(&alice).is_some());
    assert!(DenyList::load(&desk.list()).is_err(), "a relay does not start on it");

    fs::remove_file(desk.list()).expect("removed");
    let error = list.refresh().expect_err("vanished");
    assert!(error.contains("stays denied until the relay starts anew"), "{error}");
    assert_eq!((list.refresh(), list.generation()), (Ok(false), 0));
    assert!(list.denial(&alice).is_some());

    fs::write(desk.list(), "").expect("emptied");
    assert_eq!((list.refresh(), list.generation()), (Ok(true), 1));
    assert!(list.denial(&alice).is_none());
}
