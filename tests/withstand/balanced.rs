//! Listeners behind a balancer: who may speak there, how many may be silent, and for whom the limits count.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use estafette::io::listener::DOOR_MAX;

use crate::common::{CERTIFICATES_ONLY, Relay, base_config, free_port};
use crate::{plain_connection, read_line, say};

/// The connection of a client that a balancer on loopback names.
pub(crate) fn connect_as(client: &str, relay: &Relay) -> TcpStream {
    let family = if client.contains(':') { "TCP6 " } else { "TCP4 " };
    let to = if client.contains(':') {
        "2001:db8::25"
    } else {
        "198.51.100.1"
    };
    let mut stream = plain_connection([127, 0, 0, 1], relay);
    let header = format!("PROXY {family}{client} {to} 49152 25\r\n");
    std::io::Write::write_all(&mut stream, header.as_bytes()).expect("written");
    stream
}

/// Only 127.0.0.1 is a balancer; `directives` stand above the listener.
pub(crate) fn balanced_relay(directives: &str) -> Relay {
    let mut relay = Relay::prepare("", free_port());
    let base = base_config(relay.port, free_port());
    relay.write_config(&format!(
        "{directives}{CERTIFICATES_ONLY}{base}smtpd_upstream_proxy_protocol = \"haproxy\"\n\
         smtpd_upstream_proxy_hosts = [\"127.0.0.1\"]\nsmtpd_upstream_proxy_timeout = \"60s\"\n"
    ));
    relay.spawn();
    relay
}

fn greeting_of(client: &str, relay: &Relay) -> String {
    read_line(&mut connect_as(client, relay))
}

#[test]
fn connections_without_their_header_keep_nobody_out() {
    let relay = balanced_relay("default_process_limit = 10\nlog_level = \"error\"\n");
    // More than there are permits for: those of unlisted peers, and silent ones of the balancer.
    let unlisted: Vec<_> = (0..DOOR_MAX + 50)
        .map(|_| plain_connection([127, 0, 9, 1], &relay))
        .collect();
    let silent: Vec<_> = (0..DOOR_MAX + 50)
        .map(|_| plain_connection([127, 0, 0, 1], &relay))
        .collect();
    let begun = Instant::now();
    let greeting = greeting_of("203.0.113.9", &relay);
    assert!(greeting.starts_with("220 "), "{greeting}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    for mut stream in unlisted.into_iter().chain(silent.into_iter().take(DOOR_MAX / 2)) {
        assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)), "closed without a word");
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[test]
fn limits_count_the_client_that_the_balancer_names() {
    let relay = balanced_relay(
        "smtpd_client_connection_count_limit = 1\nsmtpd_client_message_rate_limit = 1\n\
         smtpd_client_event_limit_exceptions = []\n",
    );
    let mut first = connect_as("203.0.113.9", &relay);
    assert!(read_line(&mut first).starts_with("220 "));
    assert!(greeting_of("203.0.113.10", &relay).starts_with("220 "));
    let refusal = "421 4.7.0 relay.example.org Error: too many connections from 203.0.113.9\r\n";
    assert_eq!(greeting_of("203.0.113.9", &relay), refusal);
    say(&mut first, "HELO a");
    assert_eq!(say(&mut first, "MAIL FROM:<a@example.org>"), "250 2.1.0 Ok\r\n");
    say(&mut first, "RSET");
    let refusal = "450 4.7.1 Error: too much mail from 203.0.113.9\r\n";
    assert_eq!(say(&mut first, "MAIL FROM:<a@example.org>"), refusal);
}

#[test]
fn ipv6_addresses_of_one_64_are_one_client_and_ipv4_addresses_are_not() {
    let limits = "smtpd_client_connection_count_limit = 1\nsmtpd_client_event_limit_exceptions = []\n";
    let relay = balanced_relay(limits);
    let mut one = connect_as("2001:db8:0:1::1", &relay);
    assert!(read_line(&mut one).starts_with("220 "));
    let refusal = "421 4.7.0 relay.example.org Error: too many connections from 2001:db8:0:1:ffff::2\r\n";
    assert_eq!(greeting_of("2001:db8:0:1:ffff::2", &relay), refusal);
    assert!(greeting_of("2001:db8:0:2::1", &relay).starts_with("220 "));
    let mut mapped = connect_as("::ffff:203.0.113.9", &relay);
    assert!(read_line(&mut mapped).starts_with("220 "));
    assert!(greeting_of("203.0.113.9", &relay).starts_with("421 "), "mapped is IPv4");
    assert!(greeting_of("203.0.113.8", &relay).starts_with("220 "));
    let wider = "smtpd_client_ipv6_prefix_length = 48\nsmtpd_client_ipv4_prefix_length = 24\n";
    let relay = balanced_relay(&format!("{limits}{wider}"));
    let mut one = connect_as("2001:db8:0:1::1", &relay);
    let mut other = connect_as("203.0.113.9", &relay);
    assert!(read_line(&mut one).starts_with("220 ") && read_line(&mut other).starts_with("220 "));
    assert!(greeting_of("2001:db8:0:2::1", &relay).starts_with("421 "));
    assert!(greeting_of("203.0.113.8", &relay).starts_with("421 "));
    assert!(greeting_of("2001:db8:1::1", &relay).starts_with("220 "));
}

#[test]
fn rates_count_ipv6_by_64() {
    let limits = "smtpd_client_connection_rate_limit = 2\nsmtpd_client_event_limit_exceptions = []\n";
    let relay = balanced_relay(limits);
    let greetings: Vec<_> = (1..=3)
        .map(|host| greeting_of(&format!("2001:db8:0:1::{host}"), &relay))
        .collect();
    assert!(
        greetings[..2].iter().all(|greeting| greeting.starts_with("220 ")),
        "{greetings:?}"
    );
    assert!(greetings[2].starts_with("421 "), "{greetings:?}");
    assert!(greeting_of("2001:db8:0:2::1", &relay).starts_with("220 "));
}
