//! The relay under attack, end to end: limits, tarpits, early talkers, foreign protocols, and two thousand hostile sessions
//! beside one certificate holder.

#[path = "withstand/attackers.rs"]
mod attackers;
#[path = "withstand/balanced.rs"]
mod balanced;
mod common;
#[path = "withstand/memory.rs"]
mod memory;
#[path = "withstand/reload.rs"]
mod reload;
#[path = "withstand/tls.rs"]
mod tls;
#[path = "withstand/waits.rs"]
mod waits;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use common::client::Client;
use common::{CERTIFICATES_ONLY, LOOPBACK, Relay, free_port, wait_until};

/// From an address of loopback, without a word.
fn plain_connection(source: [u8; 4], relay: &Relay) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((source, 0)).into()).expect("loopback");
    socket.connect(&relay.address().into()).expect("connected");
    let stream = TcpStream::from(socket);
    let patience = Some(Duration::from_secs(20));
    stream.set_read_timeout(patience).expect("a socket");
    stream
}

/// From an address of loopback that nobody else uses, and the greeting.
fn connect_from(source: [u8; 4], relay: &Relay) -> (TcpStream, String) {
    let mut stream = plain_connection(source, relay);
    let greeting = read_line(&mut stream);
    (stream, greeting)
}

fn read_line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    let mut octet = [0];
    while !line.ends_with(b"\n") && matches!(stream.read(&mut octet), Ok(1)) {
        line.push(octet[0]);
    }
    String::from_utf8(line).expect("ASCII")
}

fn say(stream: &mut TcpStream, line: &str) -> String {
    stream.write_all(format!("{line}\r\n").as_bytes()).expect("written");
    read_line(stream)
}

#[test]
fn client_with_too_many_sessions_is_told_421_and_others_are_not() {
    let policy = format!("smtpd_client_connection_count_limit = 2\n{CERTIFICATES_ONLY}");
    let relay = Relay::start(&policy, free_port());
    let sessions: Vec<_> = (0..2).map(|_| connect_from([127, 0, 9, 1], &relay)).collect();
    assert!(
        sessions.iter().all(|(_, greeting)| greeting.starts_with("220 ")),
        "{sessions:?}"
    );
    let (_, refusal) = connect_from([127, 0, 9, 1], &relay);
    let expected = "421 4.7.0 relay.example.org Error: too many connections from 127.0.9.1\r\n";
    assert_eq!(refusal, expected);
    assert!(connect_from([127, 0, 9, 2], &relay).1.starts_with("220 "));
    drop(sessions);
    wait_until("a session of the client ends", || {
        connect_from([127, 0, 9, 1], &relay).1.starts_with("220 ")
    });
    wait_until("it is in the log", || {
        let log = relay.log_text();
        log.contains("\"connection.refused\"") && log.contains("\"smtpd_client_connection_count_limit\"")
    });
    let metrics = relay.command(&["metrics"], &[]);
    let metrics = String::from_utf8_lossy(&metrics.stdout).into_owned();
    let counted = "estafette_connections_refused_total{limit=\"smtpd_client_connection_count_limit\"}";
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn networks_of_one_prefix_count_together_and_exceptions_do_not() {
    let policy = format!(
        "smtpd_client_connection_rate_limit = 2\nsmtpd_client_ipv4_prefix_length = 24\n\
         smtpd_client_event_limit_exceptions = [\"127.0.0.0/16\"]\n{CERTIFICATES_ONLY}"
    );
    let relay = Relay::start(&policy, free_port());
    let mut greetings: Vec<String> = (1..=3).map(|host| connect_from([127, 1, 9, host], &relay).1).collect();
    let refusal = greetings.pop().expect("three");
    assert!(
        greetings.iter().all(|greeting| greeting.starts_with("220 ")),
        "{greetings:?}"
    );
    assert_eq!(
        refusal,
        "421 4.7.0 relay.example.org Error: too many connections from 127.1.9.3\r\n"
    );
    for _ in 0..5 {
        assert!(connect_from([127, 0, 9, 1], &relay).1.starts_with("220 "));
    }
}

#[test]
fn message_rate_is_counted_across_sessions_until_the_time_unit_has_passed() {
    let policy = format!(
        "smtpd_client_message_rate_limit = 2\nanvil_rate_time_unit = \"4s\"\n\
         smtpd_client_event_limit_exceptions = []\n{LOOPBACK}"
    );
    let relay = Relay::start(&policy, free_port());
    let mail = || {
        let (mut stream, _) = connect_from([127, 0, 9, 1], &relay);
        say(&mut stream, "HELO a");
        say(&mut stream, "MAIL FROM:<a@example.org>")
    };
    let begun = Instant::now();
    assert_eq!([mail(), mail()], ["250 2.1.0 Ok\r\n", "250 2.1.0 Ok\r\n"]);
    let third = mail();
    if begun.elapsed() < Duration::from_secs(4) {
        assert_eq!(third, "450 4.7.1 Error: too much mail from 127.0.9.1\r\n");
        wait_until("it is in the log", || {
            relay.log_text().contains("\"client_rate.exceeded\"")
        });
    }
    wait_until("the time unit passes", || mail().starts_with("250 "));
}

#[test]
fn tarpit_delays_its_own_session_only_and_ends_with_the_relay() {
    let policy = format!("smtpd_soft_error_limit = 1\nsmtpd_error_sleep_time = \"20s\"\n{CERTIFICATES_ONLY}");
    let mut relay = Relay::start(&policy, free_port());
    let (mut slow, _) = connect_from([127, 0, 9, 1], &relay);
    assert!(say(&mut slow, "FOO").starts_with("500 "));
    slow.write_all(b"NOOP\r\n").expect("written");
    let begun = Instant::now();
    let (mut other, _) = connect_from([127, 0, 9, 1], &relay);
    assert_eq!(say(&mut other, "NOOP"), "250 2.0.0 Ok\r\n");
    slow.set_read_timeout(Some(Duration::from_millis(700)))
        .expect("a socket");
    assert_eq!(read_line(&mut slow), "", "the reply comes late");
    assert!(relay.terminate().success());
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "the pause ends when the relay stops"
    );
}

#[test]
fn octets_before_the_greeting_end_the_session() {
    let relay = Relay::start(CERTIFICATES_ONLY, free_port());
    // Stopped, the relay cannot greet before the octets are there.
    relay.signal("STOP");
    let mut stream = TcpStream::connect(relay.address()).expect("the kernel accepts");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a socket");
    stream.write_all(b"EHLO a\r\n").expect("written");
    relay.signal("CONT");
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("a clean end");
    assert_eq!(said, "554 5.5.0 Error: SMTP protocol synchronization\r\n");
    wait_until("it is in the log", || {
        relay.log_text().contains("\"client.out_of_turn\"")
    });
}

#[test]
fn stranger_makes_room_for_a_stranger_and_is_told_so() {
    let policy = format!(
        "default_process_limit = 10\nsmtpd_stranger_session_share = 40\n\
         smtpd_client_event_limit_exceptions = []\n{CERTIFICATES_ONLY}"
    );
    let relay = Relay::start(&policy, free_port());
    let sessions: Vec<_> = (0..4)
        .map(|host| {
            // The kernel's order of readiness is no order of arrival.
            std::thread::sleep(Duration::from_millis(20));
            connect_from([127, 0, 9, host + 1], &relay)
        })
        .collect();
    let (_, greeting) = connect_from([127, 0, 10, 1], &relay);
    assert!(greeting.starts_with("220 "), "{greeting}");
    let mut ends = 0;
    for (mut stream, greeting) in sessions {
        assert!(greeting.starts_with("220 "), "{greeting}");
        stream
            .set_read_timeout(Some(Duration::from_millis(500)))
            .expect("a socket");
        let line = read_line(&mut stream);
        if line == "421 4.3.2 relay.example.org All server ports are busy\r\n" {
            ends += 1;
        } else {
            assert_eq!(line, "");
        }
    }
    assert_eq!(ends, 1);
}

#[test]
fn two_thousand_hostile_sessions_do_not_keep_a_holder_from_being_served_within_two_seconds() {
    const WITHIN: Duration = Duration::from_secs(2);
    let policy = "mynetworks = [\"192.0.2.0/24\"]\nrelay_domains = [\"campus.example\"]\n\
        smtpd_recipient_restrictions = [\"permit_tls_all_clientcerts\", \"permit_auth_destination\", \"reject\"]\n\
        smtpd_client_event_limit_exceptions = []\nlog_level = \"error\"\n";
    let relay = Relay::start(policy, free_port());
    let attack = attackers::Attack::begin(relay.address(), 2_000);
    wait_until("the attackers are there", || attack.connected() >= 2_000);
    let mut took = Vec::new();
    for number in 0..20 {
        // The attack goes on meanwhile: whoever was thrown out comes back.
        std::thread::sleep(Duration::from_millis(200));
        let begun = Instant::now();
        let client = Client::connect(relay.address()).expect("a greeting");
        let mut client = client.start_tls(relay.directory.path(), Some("alice")).expect("TLS");
        client.say("EHLO laptop.example").expect("EHLO");
        let reply = client.send("alice@example.org", &["b@example.net"], "Subject: x\r\n\r\nx");
        let reply = reply.expect("a reply");
        assert_eq!(reply.code, 250, "message {number}: {}", reply.text);
        took.push(begun.elapsed());
    }
    let connections = attack.end();
    assert!(took.iter().all(|time| *time < WITHIN), "{took:?}");
    assert!(connections >= 2_000);
}

#[test]
fn past_vulnerabilities_name_tests_and_dialogues_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/past-vulnerabilities.md")).expect("the page");
    let named = regex::Regex::new(r"`([a-z0-9_/]+\.(?:smtp|rs))`").expect("a regex");
    let names: Vec<&str> = named
        .captures_iter(&page)
        .map(|found| found.get(1).expect("a name").as_str())
        .collect();
    assert!(names.len() > 30, "{names:?}");
    for name in names {
        let folder = if Path::new(name).extension().is_some_and(|extension| extension == "smtp") {
            "tests/dialogues"
        } else {
            ""
        };
        assert!(
            root.join(folder).join(name).is_file(),
            "{name} is named and does not exist"
        );
    }
}
