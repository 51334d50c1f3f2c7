//! Memory for mail data is short: strangers are refused, and make room, before anybody else.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::common::client::Client;
use crate::common::{Relay, free_port};
use crate::{connect_from, say};

/// Strangers have 480,000 octets of these.
const LIMITED: &str = "smtpd_mail_data_memory_limit = 600000\nqueue_inline_limit = 65536\n\
     mynetworks = [\"192.0.2.0/24\"]\nrelay_domains = [\"campus.example\"]\n\
     smtpd_recipient_restrictions = [\"permit_tls_all_clientcerts\", \"permit_auth_destination\", \"reject\"]\n\
     smtpd_client_event_limit_exceptions = [\"127.0.0.0/8\"]\n";

fn mail_data(octets: usize) -> String {
    "a line of 32 octets with its end\r\n".repeat(octets / 34)
}

/// A stranger in the midst of its mail data; `None` when DATA is refused.
fn stranger(host: u8, relay: &Relay) -> Option<TcpStream> {
    let (mut stream, _) = connect_from([127, 5, 0, host], relay);
    for line in ["HELO a", "MAIL FROM:<a@example.org>", "RCPT TO:<b@campus.example>"] {
        assert!(say(&mut stream, line).starts_with("250 "));
    }
    let reply = say(&mut stream, "DATA");
    if reply.starts_with("452 4.3.1 ") {
        return None;
    }
    assert!(reply.starts_with("354 "), "{reply}");
    stream.write_all(mail_data(60_000).as_bytes()).expect("written");
    Some(stream)
}

fn holder(relay: &Relay) -> Client {
    let client = Client::connect(relay.address()).expect("a greeting");
    let mut client = client.start_tls(relay.directory.path(), Some("alice")).expect("TLS");
    client.say("EHLO laptop.example").expect("EHLO");
    client
}

/// Everything that is said until the end, which is asked for.
fn rest(mut stream: TcpStream) -> String {
    let _ = stream.write_all(b".\r\nQUIT\r\n");
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn strangers_are_refused_and_make_room_before_a_holder_is() {
    let relay = Relay::start(LIMITED, free_port());
    let mut strangers = Vec::new();
    for host in 1..=12 {
        strangers.extend(stranger(host, &relay));
        // What it has sent has to be counted before the next one comes.
        std::thread::sleep(Duration::from_millis(30));
    }
    assert!(strangers.len() >= 7, "{}", strangers.len());
    let mut first = holder(&relay);
    for line in ["MAIL FROM:<alice@example.org>", "RCPT TO:<b@example.net>"] {
        assert_eq!(first.say(line).expect("a reply").code, 250);
    }
    assert_eq!(first.say("DATA").expect("a reply").code, 354);
    first.write(mail_data(130_000).as_bytes()).expect("written");
    let begun = Instant::now();
    let reply = holder(&relay).send("alice@example.org", &["b@example.net"], &mail_data(400_000));
    assert_eq!(reply.expect("a reply").code, 250);
    first.write(b".\r\n").expect("written");
    assert_eq!(first.read_reply().expect("a reply").code, 250);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let said: Vec<String> = strangers.into_iter().map(rest).collect();
    let count = |reply: &str| said.iter().filter(|said| said.starts_with(reply)).count();
    assert!(count("421 4.3.2 ") >= 1, "the stranger with most makes room: {said:?}");
    assert!(count("250 2.0.0 ") >= 1, "and no more of them than needed: {said:?}");
    assert_eq!(
        count("421 4.3.2 ") + count("452 4.3.1 ") + count("250 2.0.0 "),
        said.len(),
        "{said:?}"
    );
    let reply = stranger(99, &relay).map(rest).expect("room again");
    assert!(reply.starts_with("250 2.0.0 "), "{reply}");
}
