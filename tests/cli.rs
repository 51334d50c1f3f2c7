//! The commands as a postmaster types them: exit statuses, words, and what they do with the worst of files.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use common::{BINARY, copy_certificates};

/// A directory with the example certificates and a file to check.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        copy_certificates(directory.path());
        Self(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, text: impl AsRef<[u8]>) -> &Self {
        fs::write(self.path().join("e.toml"), text).expect("written");
        self
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = Command::new(BINARY)
            .args(arguments)
            .current_dir(self.path())
            .output()
            .expect("runs");
        told(&output)
    }

    fn check(&self) -> (i32, String, String) {
        self.run(&["check", "--config", "e.toml"])
    }

    fn explain(&self, more: &[&str]) -> (i32, String, String) {
        let mut arguments = vec!["explain", "--config", "e.toml", "--client-address", "198.51.100.7"];
        arguments.extend(["--mail-from", "alice@example.org", "--rcpt-to", "bob@example.net"]);
        arguments.extend(more);
        self.run(&arguments)
    }
}

fn told(output: &Output) -> (i32, String, String) {
    (
        output.status.code().expect("no signal"),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// Where the server's files are, for any listener.
const SERVER: &str = "myhostname = \"relay.example.org\"\nqueue_directory = \"queue\"\n\
    smtpd_tls_cert_file = \"server.crt\"\nsmtpd_tls_key_file = \"server.key\"\n\
    smtpd_tls_CAfile = \"CAcert.pem\"\nsmtpd_tls_ask_ccert = true\nmynetworks = [\"192.0.2.0/24\"]\n\
    smtpd_recipient_restrictions = [\"permit_mynetworks\", \"permit_tls_all_clientcerts\", \"reject\"]\n";

fn with_listener(directives: &str) -> String {
    format!("{SERVER}[[listener]]\nname = \"l\"\naddress = \"127.0.0.1:2525\"\n{directives}")
}

#[test]
fn check_of_unreadable_files_says_why_and_exits_2() {
    let desk = Desk::new();
    for (text, why) in [
        (b"a = 1\n\xff\xfe".to_vec(), "is not UTF-8: octet 7 on line 2"),
        (vec![b'#'; 5 * 1024 * 1024], "is larger than 4194304 octets"),
        (
            b"myhostname = relay.example.org\n".to_vec(),
            "unlike in main.cf, texts are quoted",
        ),
        (
            b"smtpd_recipient_limit = 99999999999999999999\n".to_vec(),
            "expected an integer",
        ),
        (b"smtpd_timeout = 1979-05-27\n".to_vec(), "smtpd_timeout"),
    ] {
        let (code, _, errors) = desk.write(text).check();
        assert_eq!(code, 2, "{errors}");
        assert!(errors.contains(why), "{why}: {errors}");
    }
    let (code, _, errors) = desk.run(&["check", "--config", "."]);
    assert!(code == 2 && errors.contains("Is a directory"), "{errors}");
    let (code, _, errors) = desk.run(&["check", "--config", "none.toml"]);
    assert!(code == 2 && errors.contains("No such file"), "{errors}");
}

#[test]
fn check_of_byte_order_mark_and_crlf_is_good() {
    let desk = Desk::new();
    let text = "\u{feff}myhostname = \"relay.example.org\"\r\nmynetworks = [\"127.0.0.0/8\"]\r\n";
    let (code, out, errors) = desk.write(text).check();
    assert_eq!((code, errors.as_str()), (0, ""), "{out}");
    assert!(out.starts_with("e.toml: good (0 warnings)"), "{out}");
}

#[test]
fn check_of_many_errors_prints_a_hundred_and_counts_the_others() {
    let desk = Desk::new();
    let text: String = (0..1_000).map(|n| format!("foo{n} = 1\n")).collect();
    let (code, _, errors) = desk.write(text).check();
    assert_eq!(code, 2);
    assert_eq!(errors.matches("not a directive").count(), 100);
    assert!(errors.contains("\nand 9"), "{errors}");
}

#[test]
fn check_of_a_very_long_value_quotes_its_ends_only() {
    let desk = Desk::new();
    let text = format!(
        "myhostname = \"relay.example.org\"\nmynetworks = [\"{}\"]\n",
        "a".repeat(100_000)
    );
    let (_, _, errors) = desk.write(text).check();
    assert!(errors.len() < 3_000, "{} octets", errors.len());
    assert!(errors.contains("expected an address or a network"), "{errors}");
}

#[test]
fn check_into_a_pipe_has_no_colours() {
    let desk = Desk::new();
    let (_, _, errors) = desk.write("foo = 1\n").check();
    assert!(!errors.contains('\u{1b}'), "{errors}");
}

#[test]
fn explain_exits_0_for_permitted_and_1_for_refused() {
    let desk = Desk::new();
    desk.write(with_listener("smtpd_tls_security_level = \"may\"\n"));
    for (more, code, words) in [
        (
            &["--client-cert", "alice.pem"][..],
            0,
            "verdict    permit by permit_tls_all_clientcerts",
        ),
        (&[], 1, "no client certificate was shown"),
        (&["--plaintext"], 1, "the session is not encrypted"),
        (&["--client-cert", "expired.pem"], 1, "(your certificate has expired)"),
        (
            &["--client-cert", "rogue.pem"],
            1,
            "certificate issuer is not trusted here",
        ),
        (
            &["--client-cert", "CAcert.pem"],
            1,
            "certificate is that of a certification authority",
        ),
    ] {
        let (found, out, errors) = desk.explain(more);
        assert_eq!(found, code, "{more:?}: {out}{errors}");
        assert!(out.contains(words), "{more:?}: {out}");
    }
    for (more, words) in [
        (
            &["--client-cert", "alice.key"][..],
            "no CERTIFICATE in PEM form; found PRIVATE KEY",
        ),
        (&["--client-cert", "none.pem"], "No such file"),
        (&["--listener", "other"], "there is no listener other; there are: l"),
        (&["--rcpt-to", "a b"], "bad address syntax"),
    ] {
        let (found, _, errors) = desk.explain(more);
        assert!(found == 2 && errors.contains(words), "{more:?}: {errors}");
    }
}

#[test]
fn explain_in_plaintext_where_tls_is_required_gives_the_530_of_the_daemon() {
    let desk = Desk::new();
    desk.write(with_listener("smtpd_tls_security_level = \"encrypt\"\n"));
    // A trusted network, which the chain would permit: the daemon never gets that far.
    let mut arguments = vec![
        "explain",
        "--config",
        "e.toml",
        "--client-address",
        "192.0.2.1",
        "--plaintext",
    ];
    arguments.extend(["--mail-from", "a@example.org", "--rcpt-to", "b@example.net"]);
    let (code, out, _) = desk.run(&arguments);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("530 5.7.0 Must issue a STARTTLS command first"), "{out}");
    arguments.push("--json");
    let (code, out, _) = desk.run(&arguments);
    let object: serde_json::Value = serde_json::from_str(&out).expect("one object");
    assert_eq!((code, &object["permitted"]), (1, &serde_json::json!(false)));
    assert_eq!(object["reply"], "530 5.7.0 Must issue a STARTTLS command first");
}

#[test]
fn explain_where_a_certificate_is_required_gives_the_421_of_the_daemon() {
    let desk = Desk::new();
    desk.write(with_listener(
        "smtpd_tls_security_level = \"encrypt\"\nsmtpd_tls_req_ccert = true\n",
    ));
    let (code, out, _) = desk.explain(&[]);
    assert!(code == 1 && out.contains("421 4.7.1"), "{out}");
    let (code, out, _) = desk.explain(&["--client-cert", "alice.pem"]);
    assert_eq!(code, 0, "{out}");
}

#[test]
fn explain_in_plaintext_on_an_implicit_tls_listener_is_no_question() {
    let desk = Desk::new();
    desk.write(with_listener("smtpd_tls_wrappermode = true\n"));
    let (code, _, errors) = desk.explain(&["--plaintext"]);
    assert!(
        code == 2 && errors.contains("takes TLS from the first octet"),
        "{errors}"
    );
}

#[test]
fn explain_as_json_is_one_object_with_the_trace() {
    let desk = Desk::new();
    desk.write(with_listener("smtpd_tls_security_level = \"may\"\n"));
    let (code, out, _) = desk.explain(&["--client-cert", "alice.pem", "--json"]);
    let object: serde_json::Value = serde_json::from_str(&out).expect("one object");
    assert_eq!(code, 0);
    assert_eq!(object["identity"], "verified");
    assert_eq!(object["recipients"][0]["decided_by"], "permit_tls_all_clientcerts");
    assert_eq!(object["recipients"][0]["trace"][0]["opinion"], "pass");
}

#[test]
fn configuration_printed_in_the_readme_loads_and_decides_as_it_says() {
    let readme = include_str!("../README.md");
    let example = readme.split("`master.cf`:\n\n").nth(1).expect("the example");
    let example: String = example
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with("    "))
        .map(|line| format!("{}\n", line.trim_start()))
        .collect();
    let desk = Desk::new();
    let example = example.replace("/etc/estafette/", "");
    desk.write(format!("myhostname = \"relay.example.org\"\n{example}"));
    let (code, out, errors) = desk.check();
    assert_eq!((code, errors.as_str()), (0, ""), "{out}");
    for (name, code) in [("alice", 0), ("bob", 1), ("carol", 0), ("expired", 1)] {
        let (found, out, _) = desk.explain(&["--client-cert", &format!("{name}.pem")]);
        assert_eq!(found, code, "{name}: {out}");
    }
}

#[test]
fn combined_pem_and_lines_of_sendmail_work_for_both() {
    let desk = Desk::new();
    let text = with_listener("smtpd_tls_security_level = \"may\"\n")
        .replace("server.crt", "sendmail.pem")
        .replace("server.key", "sendmail.pem")
        .replace(
            "\"permit_tls_all_clientcerts\"",
            "\"CERTISSUER:/C=FR/O=CNRS/CN=CNRS-Plus$ RELAY\"",
        );
    desk.write(text);
    for (name, code) in [("bob", 0), ("alice", 1)] {
        let (found, out, errors) = desk.explain(&["--client-cert", &format!("{name}.pem")]);
        assert_eq!(found, code, "{name}: {out}{errors}");
    }
}

#[test]
fn key_that_others_can_read_is_an_error_that_says_chmod() {
    let desk = Desk::new();
    let key = desk.path().join("server.key");
    fs::set_permissions(key, fs::Permissions::from_mode(0o644)).expect("chmod");
    let (code, _, errors) = desk
        .write(with_listener("smtpd_tls_security_level = \"may\"\n"))
        .check();
    assert!(code == 2 && errors.contains("chmod 600"), "{errors}");
}

#[test]
fn queue_of_a_stopped_relay_is_listed_even_when_its_certificate_is_gone() {
    let desk = Desk::new();
    desk.write(with_listener("smtpd_tls_security_level = \"may\"\n"));
    fs::create_dir(desk.path().join("queue")).expect("a queue directory");
    fs::remove_file(desk.path().join("server.crt")).expect("removed");
    for arguments in [
        ["queue", "--config", "e.toml", "list"],
        ["queue", "list", "--config", "e.toml"],
    ] {
        let (code, out, errors) = desk.run(&arguments);
        assert_eq!((code, out.as_str()), (0, "-- 0 messages\n"), "{errors}");
    }
    let (code, _, errors) = desk.run(&["queue", "flush", "--config", "e.toml"]);
    assert!(code == 1 && errors.contains("there is no queue in "), "{errors}");
}

#[test]
fn hold_and_release_of_nothing_say_what_is_wrong() {
    let desk = Desk::new();
    desk.write(with_listener("smtpd_tls_security_level = \"may\"\n"));
    let config = ["--config", "e.toml"];
    for (words, code, expected) in [
        (
            &["hold", "AEIOU"][..],
            2,
            "\"AEIOU\" is not a queue id: `estafette queue list` shows them",
        ),
        (&["hold"], 2, "are required"),
        (&["release"], 2, "are required"),
        (&["release", "--all", "0DPFbTGXVTbDQ"], 2, "cannot be used with"),
        (&["delete", "--all", "--sender", "<>"], 2, "cannot be used with --all"),
        (
            &["delete", "--larger-than", "big"],
            2,
            "--larger-than: big: expected a number of octets",
        ),
        (
            &["hold", "0DPFbTGXVTbDQ", "--reason", " "],
            2,
            "a reason has 1 to 200 octets",
        ),
        (&["hold", "0DPFbTGXVTbDQ"], 1, "there is no queue in "),
        (&["release", "--all"], 1, "there is no queue in "),
    ] {
        let words = [&["queue"], words, &config].concat();
        let (found, _, errors) = desk.run(&words);
        assert!(
            found == code && errors.contains(expected),
            "{words:?}: {found} {errors}"
        );
    }
    assert!(!desk.path().join("queue").exists(), "nothing was made");
}

#[test]
fn queue_directory_that_is_not_there_is_not_an_empty_queue() {
    let desk = Desk::new();
    desk.write(with_listener("smtpd_tls_security_level = \"may\"\n"));
    let (code, out, errors) = desk.run(&["queue", "list", "--config", "e.toml"]);
    assert_eq!((code, out.as_str()), (1, ""), "{errors}");
    assert!(errors.contains("No such file or directory"), "{errors}");
    let (code, _, errors) = desk
        .write("queue_directory = 5\n")
        .run(&["queue", "list", "--config", "e.toml"]);
    assert!(code == 2 && errors.contains("queue_directory"), "{errors}");
}

#[test]
fn reload_without_a_daemon_exits_1_and_with_a_wrong_file_2() {
    let desk = Desk::new();
    desk.write(with_listener("smtpd_tls_security_level = \"may\"\n"));
    let (code, _, errors) = desk.run(&["reload", "--config", "e.toml"]);
    assert!(code == 1 && errors.contains("no relay answers"), "{errors}");
    let (code, _, errors) = desk.write("foo = 1\n").run(&["reload", "--config", "e.toml"]);
    assert!(
        code == 2 && errors.contains("the running relay keeps its settings"),
        "{errors}"
    );
}

#[test]
fn run_that_cannot_start_says_it_once_and_exits_2() {
    let desk = Desk::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = taken.local_addr().expect("bound").to_string();
    desk.write(with_listener("smtpd_tls_security_level = \"may\"\n").replace("127.0.0.1:2525", &address));
    let (code, _, errors) = desk.run(&["run", "--config", "e.toml"]);
    assert_eq!(code, 2, "{errors}");
    assert_eq!(errors.matches("cannot listen on").count(), 1, "{errors}");
    assert!(errors.contains("daemon.start_failed"), "{errors}");
}

#[test]
fn demonstration_runs_twice_in_one_directory_and_names_what_it_cannot_write() {
    let desk = Desk::new();
    for _ in 0..2 {
        let (code, out, errors) = desk.run(&["demo", "--once", "--directory", "demo"]);
        assert_eq!(code, 0, "{out}{errors}");
    }
    fs::write(desk.path().join("file"), "").expect("written");
    let (code, _, errors) = desk.run(&["demo", "--once", "--directory", "file"]);
    assert!(code == 1 && errors.contains("file"), "{errors}");
}

/// What `cert show` prints for a file that never changes.
const ALICE_SHOWN: &str = include_str!("cli/alice.txt");

#[test]
fn cert_show_prints_what_rules_can_see_and_a_rule_to_paste() {
    let desk = Desk::new();
    let (code, out, errors) = desk.run(&["cert", "show", "alice.pem"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert_eq!(out, ALICE_SHOWN);
    // The rule with every condition it could have is TOML still.
    let rule = out.split_once("[[certificate_rule]]").expect("a rule").1;
    let key_value = regex::Regex::new("(?m)^# ([a-z_]+ = )").expect("a regex");
    let whole = format!("[[certificate_rule]]{}", key_value.replace_all(rule, "$1"));
    let table: toml::Table = whole.parse().expect("TOML");
    let rule = &table["certificate_rule"][0];
    assert_eq!(rule["subject"]["OU"].as_str(), Some("UMR5168"));
    assert_eq!(rule["mail_address"].as_str(), Some("alice@example.org"));
    assert_eq!(rule["extended_key_usage"][1].as_str(), Some("1.3.6.1.5.5.7.3.4"));
    assert_eq!(rule["key_bits_min"].as_integer(), Some(256));
}

#[test]
fn cert_show_in_json_has_one_object_per_certificate() {
    let desk = Desk::new();
    let (code, out, errors) = desk.run(&["cert", "show", "CAcert.pem", "--json"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    let objects: Vec<serde_json::Value> = out.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let subjects: Vec<_> = objects.iter().map(|o| o["subject"].as_str().expect("a text")).collect();
    assert_eq!(
        subjects,
        [
            "/C=FR/O=CNRS/CN=CNRS2",
            "/C=FR/O=CNRS/CN=CNRS-Standard",
            "/C=FR/O=CNRS/CN=CNRS-Plus"
        ]
    );
    assert!(objects.iter().all(|o| o["is_ca"] == true), "{out}");
    // A rule for an authority is about those whom it issues certificates to.
    let rule = objects[2]["rule"].as_str().expect("a text");
    let table: toml::Table = rule.parse().expect("TOML");
    assert_eq!(table["certificate_rule"][0]["issuer"]["CN"].as_str(), Some("CNRS-Plus"));
    assert!(rule.contains("CERTISSUER:^/C=FR/O=CNRS/CN=CNRS-Plus$"), "{rule}");
}

#[test]
fn cert_show_takes_der_and_says_what_it_cannot_take() {
    let desk = Desk::new();
    let openssl = |arguments: &[&str]| {
        let status = Command::new("openssl")
            .args(arguments)
            .current_dir(desk.path())
            .status();
        assert!(status.expect("openssl runs").success(), "{arguments:?}");
    };
    openssl(&["x509", "-in", "expired.pem", "-outform", "DER", "-out", "expired.der"]);
    let (code, out, _) = desk.run(&["cert", "show", "expired.der"]);
    assert!(code == 0 && out.contains("2002-01-01T00:00:00Z (expired)"), "{out}");
    openssl(&[
        "pkcs12", "-export", "-inkey", "bob.key", "-in", "bob.pem", "-passout", "pass:x", "-out", "bob.p12",
    ]);
    for (file, words) in [
        (
            "bob.p12",
            "found DER that is no certificate; take it out of PKCS #12 with",
        ),
        ("bob.key", "no CERTIFICATE in PEM form; found PRIVATE KEY"),
        ("none.pem", "No such file"),
    ] {
        let (code, _, errors) = desk.run(&["cert", "show", file]);
        assert!(code == 2 && errors.contains(words), "{file}: {errors}");
    }
}
