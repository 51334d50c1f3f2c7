//! Sessions that wait for somebody else than their peer, or are at their end, and have to make room all the same; and whose
//! turn it is.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use estafette::policy::session_places::LEAVING_MAX;

use crate::balanced::{balanced_relay, connect_as};
use crate::common::{CERTIFICATES_ONLY, Relay, free_port, wait_until};
use crate::{connect_from, read_line, say};

/// A filter that takes every connection and never says a word.
fn silent_filter() -> u16 {
    let port = free_port();
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("loopback");
    std::thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    port
}

/// A relay whose name server never answers; the clients `198.51.100.x` meet no filter.
fn relay_with_filter(port: u16, name_server: &UdpSocket) -> Relay {
    let name_server = name_server.local_addr().expect("bound");
    balanced_relay(&format!(
        "default_process_limit = 10\nsmtpd_client_event_limit_exceptions = [\"0.0.0.0/0\"]\n\
         resolver_addresses = [\"{name_server}\"]\nsmtpd_milters = [\"inet:127.0.0.1:{port}\"]\n\
         milter_default_action = \"accept\"\nsmtpd_milter_maps = {{ \"198.51.100.0/24\" = \"DISABLE\" }}\n"
    ))
}

/// Sessions that have made room.
fn shed(relay: &Relay) -> usize {
    let metrics = relay.command(&["metrics"], &[]);
    let metrics = String::from_utf8_lossy(&metrics.stdout).into_owned();
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("estafette_sessions_shed_total "));
    line.map_or(0, |count| count.parse().expect("a number"))
}

#[test]
fn sessions_that_wait_for_a_name_or_a_filter_make_room_at_once() {
    let dns = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let relay = relay_with_filter(silent_filter(), &dns);
    let mut crowd = Vec::new();
    // The names of one half are never told; the other half, on loopback, waits for the filter.
    wait_until("more have made room than may be leaving", || {
        for number in crowd.len()..crowd.len() + 40 {
            let [.., high, low] = number.to_be_bytes();
            let network = if number % 2 == 0 { "203.0" } else { "127.9" };
            crowd.push(connect_as(&format!("{network}.{high}.{low}"), &relay));
        }
        shed(&relay) > LEAVING_MAX
    });
    let begun = Instant::now();
    let mut newcomer = connect_as("198.51.100.7", &relay);
    let greeting = read_line(&mut newcomer);
    assert!(greeting.starts_with("220 "), "{greeting}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn name_that_the_dns_does_not_tell_delays_a_filter_by_a_few_seconds_at_most() {
    let dns = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let relay = relay_with_filter(free_port(), &dns);
    let begun = Instant::now();
    let mut client = connect_as("203.0.113.7", &relay);
    assert!(read_line(&mut client).starts_with("220 "));
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn peer_that_lingers_behind_its_quit_makes_room_at_once() {
    let policy = format!(
        "default_process_limit = 10\nsmtpd_client_event_limit_exceptions = [\"127.0.0.0/8\"]\n{CERTIFICATES_ONLY}"
    );
    let relay = Relay::start(&policy, free_port());
    let connect = |address| {
        let (stream, greeting) = connect_from(address, &relay);
        assert!(greeting.starts_with("220 "), "{greeting}");
        stream
    };
    let mut lingering: Vec<_> = (1..=8).map(|host| connect([127, 6, 0, host])).collect();
    for stream in &mut lingering {
        assert!(say(stream, "QUIT").starts_with("221 "));
    }
    let begun = Instant::now();
    let _newcomers: Vec<_> = (1..=8).map(|network| connect([127, 7, network, 1])).collect();
    wait_until("those that linger are gone", || {
        lingering.retain_mut(|stream| stream.write_all(b"NOOP\r\n").is_ok());
        lingering.is_empty()
    });
    assert!(begun.elapsed() < Duration::from_millis(2_500), "{:?}", begun.elapsed());
}

#[test]
fn stranger_that_sends_its_mail_data_is_not_the_idlest() {
    let policy = "default_process_limit = 10\nmynetworks = [\"192.0.2.0/24\"]\nrelay_domains = [\"campus.example\"]\n\
         smtpd_recipient_restrictions = [\"permit_auth_destination\", \"reject\"]\n\
         smtpd_client_event_limit_exceptions = [\"127.0.0.0/8\"]\n";
    let relay = Relay::start(policy, free_port());
    let (mut sender, _) = connect_from([127, 6, 0, 1], &relay);
    for line in ["HELO a", "MAIL FROM:<a@example.org>", "RCPT TO:<b@campus.example>"] {
        assert!(say(&mut sender, line).starts_with("250 "));
    }
    assert!(say(&mut sender, "DATA").starts_with("354 "));
    let _idle: Vec<_> = (1..=7)
        .map(|network| connect_from([127, 7, network, 1], &relay))
        .collect();
    let data = "a line of 32 octets with its end\r\n".repeat(100);
    sender.write_all(data.as_bytes()).expect("written");
    std::thread::sleep(Duration::from_millis(300));
    let (_newcomer, greeting) = connect_from([127, 8, 0, 1], &relay);
    assert!(greeting.starts_with("220 "), "{greeting}");
    wait_until("one has made room", || shed(&relay) == 1);
    sender.write_all(b".\r\nQUIT\r\n").expect("written");
    let mut said = Vec::new();
    let _ = sender.read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.starts_with("250 2.0.0 "), "{said}");
}
