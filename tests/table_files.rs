//! Look-up tables in files: what is wrong with one is told with its line, and a reload reads them again.

mod common;
#[path = "config/world.rs"]
mod world;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::client::Client;
use common::sink::Sink;
use common::{Relay, base_config, wait_until};
use estafette::config::load_text;

const LISTS: &str = "mynetworks = [\"127.0.0.0/8\"]\n\
    smtpd_relay_restrictions = [\"permit_mynetworks\", \"permit_auth_destination\", \"reject\"]\n";

/// What is said of a configuration beside which these files stand.
fn findings(text: &str, files: &[(&str, &str)]) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, content) in files {
        fs::write(directory.path().join(name), content).expect("written");
    }
    let path = directory.path().join("estafette.toml");
    let text = format!("{LISTS}{text}");
    let said = match load_text(&path, &text, &world::environment()) {
        Ok(loaded) => loaded.warnings.iter().map(|one| format!("{one}\n")).collect(),
        Err(found) => found.to_string(),
    };
    said.replace(&format!("{}/", directory.path().display()), "")
}

fn sender(table: &str) -> String {
    format!("smtpd_sender_restrictions = [\"check_sender_access {table}\"]\n")
}

#[test]
fn faults_of_a_file_are_told_all_at_once_each_with_its_line() {
    for (table, content, expected) in [
        (
            "texthash:access",
            "good.example OK\nalone\ntwice.example REJECT\nTWICE.example OK\n",
            vec![
                "access:2: \"alone\" has no value: expected a key, white space and a value",
                "access:4: \"TWICE.example\" stands twice",
                "expected lines such as \"example.org REJECT\"",
            ],
        ),
        (
            "texthash:access",
            "a.example REJCT go away\nb.example permt\nc.example FILTER smtp:x\nd.example REDIRECT nobody\ne.example 550 4.1.1 no\n",
            vec![
                "access:1: \"REJCT go away\": \"REJCT\" is neither an action nor a restriction without an argument; did you mean REJECT?",
                "access:2: \"permt\": \"permt\" is neither an action nor a restriction without an argument",
                "access:3: \"FILTER smtp:x\": FILTER is not supported",
                "access:4: \"REDIRECT nobody\": \"nobody\" is not an address",
                "access:5: \"550 4.1.1 no\": the enhanced code 4.1.1 does not begin with 5",
            ],
        ),
        (
            "cidr:access",
            "192.0.2.1/24 OK\n300.0.0.0/8 OK\n198.51.100.0/24\nif 10.0.0.0/8\n2001:db8::/129 OK\n",
            vec![
                "access:1: \"192.0.2.1/24\"",
                "access:2: \"300.0.0.0/8\"",
                "access:3: \"198.51.100.0/24\" has no value",
                "access:4: \"if\" is not supported in tables of networks",
                "access:5: \"2001:db8::/129\"",
                "expected lines such as \"192.0.2.0/24 REJECT\"",
            ],
        ),
        (
            "regexp:access",
            "/a(/ REJECT\n/a/q REJECT\n/open REJECT\nendif\nif /a/\nword OK\n/b/\n",
            vec![
                "access:1: /a(/ is no regular expression here",
                "access:2: \"q\" is not a flag of an expression: i, m, s, x are",
                "access:3: the expression does not end with /",
                "access:4: endif without if",
                "access:6: \"word OK\" does not begin with an expression such as /^a/",
                "access:7: the expression has no value",
                "if without endif",
            ],
        ),
        (
            "pcre:access",
            "/(a)\\1/ REJECT\n/(?<!x)a/ REJECT\n",
            vec!["access:1: /(a)\\1/ is no regular expression here", "access:2: "],
        ),
    ] {
        let said = findings(&sender(table), &[("access", content)]);
        for part in expected {
            assert!(said.contains(part), "{table}: {part:?} is not in\n{said}");
        }
        assert!(said.contains("smtpd_sender_restrictions"), "{said}");
    }
}

#[test]
fn tables_that_are_not_there_or_of_an_unknown_kind_are_told() {
    for (table, expected) in [
        ("texthash:nowhere", "nowhere: cannot be read: No such file"),
        ("texthash:latin1", "latin1: is not UTF-8"),
        ("texhash:access", "did you mean \"texthash:\"?"),
        ("access", "write \"texthash:access\" for a file of keys and values"),
        ("hash:access", "write \"texthash:access\""),
        ("mysql:access", "texthash:, cidr:, regexp: or pcre:"),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("latin1"), b"caf\xe9 OK\n").expect("written");
        fs::write(directory.path().join("access"), "a.example OK\n").expect("written");
        let text = format!("{LISTS}{}", sender(table));
        let said = match load_text(&directory.path().join("estafette.toml"), &text, &world::environment()) {
            Ok(loaded) => loaded.warnings.iter().map(|one| format!("{one}\n")).collect(),
            Err(found) => found.to_string(),
        };
        assert!(said.contains(expected), "{table}: {expected:?} is not in\n{said}");
    }
}

#[test]
fn classes_are_told_when_they_turn_in_a_circle_or_hold_unknown_words() {
    for (text, expected) in [
        (
            "smtpd_restriction_classes = { a = [\"b\"], b = [\"c\"], c = [\"a\"] }\nsmtpd_sender_restrictions = [\"a\"]\n".to_owned(),
            vec!["a -> b -> c -> a", "take one of the names out"],
        ),
        (
            format!("smtpd_restriction_classes = {{ a = [\"check_sender_access texthash:access\"] }}\n{}", "smtpd_sender_restrictions = [\"a\"]\n"),
            vec!["a -> a"],
        ),
        (
            "smtpd_restriction_classes = { a = [\"permit_mynetwork\", \"reject_unknwon_sender_domain\"] }\n".to_owned(),
            vec!["did you mean \"permit_mynetworks\"?", "did you mean \"reject_unknown_sender_domain\"?"],
        ),
        (
            "smtpd_restriction_classes = { reject = [\"permit\"] }\n".to_owned(),
            vec!["\"reject\" is a restriction already"],
        ),
        (
            "smtpd_restriction_classes = [\"lost\"]\n".to_owned(),
            vec!["the class \"lost\" has no list"],
        ),
    ] {
        let said = findings(&text, &[("access", "x.example a\n")]);
        for part in expected {
            assert!(said.contains(part), "{text}: {part:?} is not in\n{said}");
        }
    }
}

/// What opens the relay to strangers is an error where it decides, and none behind `reject_unauth_destination`.
#[test]
fn tables_that_let_strangers_relay_are_open_relays() {
    for (table, content) in [
        ("check_client_access cidr:access", "0.0.0.0/0 OK\n"),
        ("check_client_access cidr:access", "::/0 OK\n"),
        ("check_client_access cidr:access", "0.0.0.0/1 OK\n128.0.0.0/1 RELAY\n"),
        ("check_client_access cidr:access", "!10.0.0.0/8 OK\n"),
        ("check_client_access cidr:access", "0.0.0.0/0 permit\n"),
        ("check_client_access cidr:access", "0.0.0.0/0 everybody\n"),
        ("check_client_access texthash:access", "unknown OK\n"),
        ("check_client_access pcre:access", "/./ OK\n"),
        ("check_sender_access texthash:access", "boss@campus.example OK\n"),
        ("check_helo_access texthash:access", "boss.campus.example 1\n"),
        ("check_recipient_access pcre:access", "/./ OK\n"),
        ("check_sender_access texthash:access", "boss@campus.example everybody\n"),
        ("careless", "0.0.0.0/0 OK\n"),
    ] {
        let classes = if content.contains("everybody") {
            "smtpd_restriction_classes = { everybody = [\"permit\"] }\n"
        } else if table == "careless" {
            "smtpd_restriction_classes = { careless = [\"check_client_access cidr:access\"] }\n"
        } else {
            ""
        };
        let text = |list: &str| {
            format!(
                "mynetworks = [\"127.0.0.0/8\"]\nrelay_domains = [\"campus.example\"]\n{classes}smtpd_relay_restrictions = {list}\n"
            )
        };
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("access"), content).expect("written");
        let load = |list: &str| {
            load_text(
                &directory.path().join("estafette.toml"),
                &text(list),
                &world::environment(),
            )
        };
        let open = load(&format!("[\"{table}\", \"permit_auth_destination\", \"reject\"]"));
        let said = open.expect_err(table).to_string();
        assert!(said.contains("open relay: "), "{table}: {said}");
        let closed = load(&format!(
            "[\"reject_unauth_destination\", \"{table}\", \"permit_auth_destination\", \"reject\"]"
        ));
        closed.unwrap_or_else(|found| panic!("{table}: {found}"));
    }
}

#[test]
fn tables_for_ones_own_clients_and_destinations_are_none() {
    for (table, content) in [
        ("check_client_access cidr:access", "10.0.0.0/8 OK\n0.0.0.0/0 DUNNO\n"),
        (
            "check_client_access texthash:access",
            "192.0.2 OK\nprinter.campus.example OK\n",
        ),
        ("check_client_access cidr:access", "0.0.0.0/0 campus\n"),
        ("check_sender_access texthash:access", "boss@campus.example campus\n"),
        ("check_sender_access pcre:access", "/(.*)@spam/ REJECT not you, $1\n"),
        ("check_recipient_access texthash:access", "partner.example OK\n"),
    ] {
        let classes = "smtpd_restriction_classes = { campus = [\"permit_mynetworks\", \"reject\"] }\n";
        let text = format!(
            "mynetworks = [\"127.0.0.0/8\"]\n{classes}smtpd_relay_restrictions = [\"{table}\", \"permit_auth_destination\", \"reject\"]\n"
        );
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("access"), content).expect("written");
        let loaded = load_text(&directory.path().join("estafette.toml"), &text, &world::environment());
        loaded.unwrap_or_else(|found| panic!("{table} {content}: {found}"));
    }
}

#[test]
fn default_action_of_a_policy_service_is_an_action_and_no_open_relay() {
    let listed = |list: &str, more: &str| {
        format!(
            "mynetworks = [\"127.0.0.0/8\"]\n{more}smtpd_relay_restrictions = [{list}, \"permit_auth_destination\", \"reject\"]\n"
        )
    };
    for (list, more, expected) in [
        (
            "\"check_policy_service inet:127.0.0.1:10023\"",
            "smtpd_policy_service_default_action = \"DUNO\"\n",
            "did you mean DUNNO?",
        ),
        (
            "{ check_policy_service = \"inet:127.0.0.1:10023\", default_action = \"REJCT\" }",
            "",
            "did you mean REJECT?",
        ),
        (
            "\"check_policy_service inet:127.0.0.1:10023\"",
            "smtpd_policy_service_default_action = \"OK\"\n",
            "open relay: ",
        ),
        (
            "{ check_policy_service = \"inet:127.0.0.1:10023\", default_action = \"permit\" }",
            "",
            "lets everybody relay while the service is down",
        ),
    ] {
        let said = world::load(&listed(list, more)).expect_err(list).to_string();
        assert!(said.contains(expected), "{list}: {expected:?} is not in\n{said}");
    }
    let said = world::warnings(&listed("\"check_policy_service inet:127.0.0.1:10023\"", ""));
    assert!(said.contains("decides who may relay"), "{said}");
}

/// A certificate word that only a class, or a table through a class, reaches is looked at as if it stood in the list.
#[test]
fn certificate_words_that_tables_reach_are_checked() {
    let text = "mynetworks = [\"127.0.0.0/8\"]\nsmtpd_tls_security_level = \"may\"\nsmtpd_tls_cert_file = \"server.crt\"\n\
        smtpd_tls_ask_ccert = true\nsmtpd_tls_CAfile = \"/etc/ssl/certs/ca-certificates.crt\"\n\
        smtpd_restriction_classes = { holders = [\"permit_tls_all_clientcerts\"] }\n\
        smtpd_relay_restrictions = [\"check_client_access texthash:access\", \"permit_mynetworks\", \"reject\"]\n";
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("access"), "laptops.example holders\n").expect("written");
    let loaded = load_text(&directory.path().join("estafette.toml"), text, &world::environment());
    let said = loaded.expect_err("open to the world").to_string();
    assert!(said.contains("\"permit_tls_all_clientcerts\""), "{said}");

    let text = text
        .replace("smtpd_tls_ask_ccert = true\n", "")
        .replace("check_client_access texthash:access", "holders");
    let loaded = load_text(Path::new("/etc/estafette/estafette.toml"), &text, &world::environment());
    let said = loaded.expect_err("never applies").to_string();
    assert!(said.contains("clients are not asked for a certificate"), "{said}");
}

fn reload(relay: &Relay) -> (bool, String) {
    let output = relay.command(&["reload"], &[]);
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn reply_to_mail(relay: &Relay) -> u16 {
    let mut client = Client::connect(relay.address()).expect("connected");
    client.say("EHLO laptop.example.org").expect("EHLO");
    client.say("MAIL FROM:<a@sender.example>").expect("MAIL");
    client.say("RCPT TO:<b@example.net>").expect("RCPT").code
}

#[test]
fn file_is_read_again_on_reload_while_mail_flows_and_a_broken_one_changes_nothing() {
    let sink = Sink::start();
    let mut relay = Relay::prepare("", sink.port);
    fs::write(relay.file("access"), "other.example REJECT\n").expect("written");
    let base = base_config(relay.port, sink.port);
    relay.write_config(&format!("{LISTS}{}{base}", sender("texthash:access")));
    relay.spawn();
    let (stop, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let mut client = Client::connect(relay.address()).expect("connected");
                client.say("EHLO laptop.example.org").expect("EHLO");
                let reply = client.send("a@flowing.example", &["b@example.net"], "Subject: x\r\n\r\nx");
                assert_eq!(reply.expect("a reply").code, 250);
                sent.fetch_add(1, Ordering::Relaxed);
            }
        });
        let stopped = StopAtEnd(&stop);
        wait_until("mail flows", || sent.load(Ordering::Relaxed) > 2);
        assert_eq!(reply_to_mail(&relay), 250);

        fs::write(relay.file("access"), "sender.example 551 5.7.9 not you\n").expect("written");
        let (done, text) = reload(&relay);
        assert!(done, "{text}");
        assert_eq!(reply_to_mail(&relay), 551);

        fs::write(relay.file("access"), "sender.example OK\nbroken\nother.example REJCT\n").expect("written");
        let (done, text) = reload(&relay);
        assert!(!done && text.contains("access:2: \"broken\" has no value"), "{text}");
        assert_eq!(reply_to_mail(&relay), 551, "the old table stays in force");
        fs::remove_file(relay.file("access")).expect("removed");
        let (done, text) = reload(&relay);
        assert!(!done && text.contains("access: cannot be read"), "{text}");
        assert_eq!(reply_to_mail(&relay), 551, "the old table stays in force");

        fs::write(relay.file("access"), "sender.example OK\n").expect("written");
        assert!(reload(&relay).0);
        assert_eq!(reply_to_mail(&relay), 250);
        let before = sent.load(Ordering::Relaxed);
        wait_until("mail still flows", || sent.load(Ordering::Relaxed) > before);
        drop(stopped);
    });
    wait_until("all delivered", || sink.count() == sent.load(Ordering::Relaxed));
}

/// So that a failed assertion does not leave the other thread running.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
