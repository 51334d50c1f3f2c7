//! Sessions that wait for somebody else than their peer, and have to make room all the same.

use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use estafette::policy::session_places::LEAVING_MAX;

use crate::common::{CERTIFICATES_ONLY, Relay, base_config, free_port, wait_until};
use crate::read_line;

/// Behind a balancer on loopback that names the clients.
const BALANCED: &str = "smtpd_upstream_proxy_protocol = \"haproxy\"\nsmtpd_upstream_proxy_hosts = [\"127.0.0.1\"]\n";

/// A filter that takes every connection and never says a word.
fn silent_filter() -> u16 {
    let port = free_port();
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("loopback");
    std::thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    port
}

/// A connection of the client that the balancer names.
fn connect_as(client: [u8; 4], relay: &Relay) -> TcpStream {
    let mut stream = TcpStream::connect(relay.address()).expect("connected");
    let [a, b, c, d] = client;
    let header = format!("PROXY TCP4 {a}.{b}.{c}.{d} 198.51.100.1 49152 25\r\n");
    stream.write_all(header.as_bytes()).expect("written");
    let patience = Some(Duration::from_secs(20));
    stream.set_read_timeout(patience).expect("a socket");
    stream
}

/// A relay whose name server never answers; the clients `198.51.100.x` meet no filter.
fn relay_with_filter(port: u16, name_server: &UdpSocket) -> Relay {
    let name_server = name_server.local_addr().expect("bound");
    let mut relay = Relay::prepare("", free_port());
    let base = base_config(relay.port, free_port());
    relay.write_config(&format!(
        "default_process_limit = 10\nsmtpd_client_event_limit_exceptions = [\"0.0.0.0/0\"]\n\
         resolver_addresses = [\"{name_server}\"]\nsmtpd_milters = [\"inet:127.0.0.1:{port}\"]\n\
         milter_default_action = \"accept\"\n\
         smtpd_milter_maps = {{ \"198.51.100.0/24\" = \"DISABLE\" }}\n{CERTIFICATES_ONLY}{base}{BALANCED}"
    ));
    relay.spawn();
    relay
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
    for number in 0..LEAVING_MAX + 40 {
        let [.., high, low] = number.to_be_bytes();
        let network = if number % 2 == 0 { [203, 0] } else { [127, 9] };
        crowd.push(connect_as([network[0], network[1], high, low], &relay));
    }
    wait_until("more have made room than may be leaving", || shed(&relay) > LEAVING_MAX);
    let begun = Instant::now();
    let mut newcomer = connect_as([198, 51, 100, 7], &relay);
    let greeting = read_line(&mut newcomer);
    assert!(greeting.starts_with("220 "), "{greeting}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn name_that_the_dns_does_not_tell_delays_a_filter_by_a_few_seconds_at_most() {
    let dns = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let relay = relay_with_filter(free_port(), &dns);
    let begun = Instant::now();
    let mut client = connect_as([203, 0, 113, 7], &relay);
    assert!(read_line(&mut client).starts_with("220 "));
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}
