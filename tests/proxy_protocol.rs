//! The PROXY protocol in front of a listener: the header by hand, from swaks and from a real HAProxy.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::client::Client;
use common::sink::Sink;
use common::{BINARY, PATIENCE, Relay, base_config, free_port, wait_until};

/// Clients of the campus are those in 192.0.2.0/24, whom only the balancer on loopback can name.
const CAMPUS: &str = "mynetworks = [\"192.0.2.0/24\", \"2001:db8::/32\"]\n\
     log_level = \"debug\"\n\
     smtpd_recipient_restrictions = [\"permit_mynetworks\", \"permit_tls_all_clientcerts\", \"reject\"]\n";

const BEHIND_A_BALANCER: &str = "smtpd_upstream_proxy_protocol = \"haproxy\"\n\
     smtpd_upstream_proxy_hosts = [\"127.0.0.1\"]\n\
     smtpd_upstream_proxy_timeout = \"2s\"\n";

const V1: &[u8] = b"PROXY TCP4 192.0.2.9 198.51.100.1 49152 25\r\n";

/// A relay whose listener has these lines, too. What the clients here say stands right behind the header, where no client
/// of a balancer would begin to speak.
fn relay(lines: &str, next_hop: u16) -> Relay {
    let mut relay = Relay::prepare("", next_hop);
    let base = base_config(relay.port, next_hop);
    relay.write_config(&format!(
        "smtpd_forbid_unauth_pipelining = false\n{CAMPUS}{base}{lines}"
    ));
    relay.spawn();
    relay
}

fn v2(command: u8, body: &[u8]) -> Vec<u8> {
    let mut octets = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    octets.extend([0x20 | command, 0x11]);
    octets.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    octets.extend(body);
    octets
}

/// Sends octets, in pieces of so many, and reads everything that is said until the end.
fn exchange(address: SocketAddr, octets: &[u8], piece: usize) -> String {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.set_nodelay(true).expect("a socket");
    for part in octets.chunks(piece) {
        // The relay may have closed already: what it said is still there.
        if stream.write_all(part).is_err() {
            break;
        }
    }
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    String::from_utf8_lossy(&said).into_owned()
}

const DIALOGUE: &[u8] = b"EHLO a.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nRSET\r\nQUIT\r\n";

#[test]
fn header_of_either_version_names_the_client_whatever_the_segments() {
    let relay = relay(BEHIND_A_BALANCER, 9);
    let body = [192, 0, 2, 9, 198, 51, 100, 1, 0xc0, 0, 0, 25];
    let with_tlv = [&body[..], &[0x04, 0, 3, 1, 2, 3]].concat();
    let v6 = b"PROXY TCP6 2001:db8::9 2001:db8::1 49152 25\r\n".to_vec();
    for header in [V1.to_vec(), v6, v2(1, &body), v2(1, &with_tlv)] {
        let all = [&header[..], DIALOGUE].concat();
        for piece in [1, all.len()] {
            let said = exchange(relay.address(), &all, piece);
            assert!(said.starts_with("220 relay.example.org"), "{said}");
            assert!(said.contains("\r\n250 2.1.5 Ok"), "{said}");
            assert!(said.ends_with("221 2.0.0 Bye\r\n"), "{said}");
        }
    }
    for client in ["192.0.2.9:49152", "[2001:db8::9]:49152"] {
        wait_until(client, || relay.log_text().contains(client));
    }
}

#[test]
fn stranger_named_by_the_balancer_and_the_balancer_itself_are_not_the_campus() {
    let relay = relay(BEHIND_A_BALANCER, 9);
    let stranger = b"PROXY TCP4 203.0.113.9 198.51.100.1 49152 25\r\n".to_vec();
    for header in [
        stranger,
        b"PROXY UNKNOWN\r\n".to_vec(),
        v2(0, &[]),
        v2(0, &[192, 0, 2, 9, 1, 2, 3, 4, 0, 1, 0, 2]),
    ] {
        let said = exchange(relay.address(), &[&header[..], DIALOGUE].concat(), 4096);
        assert!(
            said.contains("554 5.7.1 <b@example.net>: Relay access denied"),
            "{said}"
        );
    }
}

#[test]
fn connection_without_the_header_or_from_a_stranger_is_closed_without_a_word() {
    let relay = relay(BEHIND_A_BALANCER, 9);
    for octets in [
        DIALOGUE.to_vec(),
        [b"PROXY TCP4 192.0.2.9 198.51.100.1 49152\r\n".as_slice(), DIALOGUE].concat(),
        [b"PROXY ".as_slice(), &[b'x'; 200]].concat(),
        [&v2(1, &[1, 2, 3])[..], DIALOGUE].concat(),
        // A ClientHello.
        vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc],
    ] {
        assert_eq!(exchange(relay.address(), &octets, 4096), "");
    }
    let begun = Instant::now();
    assert_eq!(exchange(relay.address(), b"PROXY TCP4 192", 4096), "");
    assert!(begun.elapsed() >= Duration::from_millis(1900), "{:?}", begun.elapsed());
    for why in [
        "no PROXY header",
        "malformed",
        "longer than 107",
        "too short",
        "smtpd_upstream_proxy_timeout",
    ] {
        wait_until(why, || relay.log_text().contains(why));
    }

    let elsewhere = BEHIND_A_BALANCER.replace("127.0.0.1", "192.0.2.7");
    let strict = relay_behind(&elsewhere);
    assert_eq!(exchange(strict.address(), &[V1, DIALOGUE].concat(), 4096), "");
    wait_until("smtpd_upstream_proxy_hosts in the log", || {
        strict.log_text().contains("smtpd_upstream_proxy_hosts")
    });
}

fn relay_behind(lines: &str) -> Relay {
    relay(lines, 9)
}

#[test]
fn header_without_the_directive_is_a_command_that_nobody_knows() {
    let relay = relay("", 9);
    let said = exchange(relay.address(), &[V1, b"QUIT\r\n"].concat(), 4096);
    assert!(said.contains("500 5.5.2 Error: command not recognized"), "{said}");
}

#[test]
fn certificate_and_trace_header_are_those_of_the_client_behind_the_balancer() {
    let sink = Sink::start();
    let relay = relay(BEHIND_A_BALANCER, sink.port);
    let mut client = Client::connect_silently(relay.address()).expect("connected");
    let stranger = "PROXY TCP4 203.0.113.9 198.51.100.1 49152 25\r\n";
    client.write(stranger.as_bytes()).expect("written");
    assert_eq!(client.read_reply().expect("a greeting").code, 220);
    client.say("EHLO a.example").expect("said");
    let mut client = client.start_tls(relay.directory.path(), Some("alice")).expect("TLS");
    client.say("EHLO a.example").expect("said");
    let reply = client.send("a@example.org", &["b@example.net"], "Subject: x\r\n\r\nx\r\n");
    assert_eq!(reply.expect("a reply").code, 250);
    wait_until("delivered", || sink.count() == 1);
    let message = sink.messages().remove(0);
    let text = String::from_utf8_lossy(&message.data).into_owned();
    assert!(text.contains("[203.0.113.9]"), "{text}");
}

#[test]
fn implicit_tls_begins_behind_the_header() {
    let relay = relay(&format!("{BEHIND_A_BALANCER}smtpd_tls_wrappermode = true\n"), 9);
    let mut client = Client::connect_silently(relay.address()).expect("connected");
    client.write(V1).expect("written");
    let mut client = client.handshake(relay.directory.path(), None).expect("TLS");
    assert_eq!(client.read_reply().expect("a greeting").code, 220);
    client.say("EHLO a.example").expect("said");
    client.say("MAIL FROM:<a@example.org>").expect("said");
    assert_eq!(client.say("RCPT TO:<b@example.net>").expect("said").code, 250);
}

#[test]
fn swaks_speaks_both_versions() {
    let sink = Sink::start();
    let relay = relay(BEHIND_A_BALANCER, sink.port);
    for (version, family) in [("1", "TCP4"), ("2", "AF_INET")] {
        let output = Command::new("swaks")
            .args(["--server", &relay.address().to_string(), "--proxy-version", version])
            .args(["--proxy-family", family, "--proxy-source", "192.0.2.9"])
            .args(["--proxy-source-port", "4000", "--proxy-dest", "198.51.100.1"])
            .args([
                "--proxy-dest-port",
                "25",
                "--proxy-protocol",
                "STREAM",
                "--proxy-command",
                "PROXY",
            ])
            .args(["--from", "alice@example.org", "--to", "bob@example.net"])
            .output()
            .expect("swaks: run tests/run");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{version}: {text}{}", relay.log_text());
    }
    wait_until("delivered", || sink.count() == 2);
}

/// Killed when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn haproxy_in_front_names_its_clients_with_either_version() {
    let sink = Sink::start();
    let relay = relay(BEHIND_A_BALANCER, sink.port);
    for (nth, word) in ["send-proxy", "send-proxy-v2"].into_iter().enumerate() {
        let port = free_port();
        let file = relay.file("haproxy.cfg");
        let text = format!(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
             listen smtp\n  bind 127.0.0.1:{port}\n  server relay 127.0.0.1:{} {word} check {}\n",
            relay.port, "check-send-proxy inter 200ms"
        );
        std::fs::write(&file, text).expect("written");
        let haproxy = Command::new("/usr/sbin/haproxy")
            .arg("-db")
            .arg("-f")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("haproxy: run tests/run");
        let _haproxy = Running(haproxy);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        wait_until("haproxy listens", || TcpStream::connect(address).is_ok());
        let mut client = Client::connect(address).expect("a greeting");
        client.say("EHLO a.example").expect("said");
        // The client sits on loopback, which is not the campus: its certificate counts, through the balancer.
        let mut client = client.start_tls(relay.directory.path(), Some("alice")).expect("TLS");
        client.say("EHLO a.example").expect("said");
        let from = client.tcp().local_addr().expect("a socket");
        let reply = client.send("a@example.org", &["b@example.net"], "Subject: x\r\n\r\nx\r\n");
        assert_eq!(reply.expect("a reply").code, 250);
        wait_until("delivered", || sink.count() == nth + 1);
        wait_until("the client itself is in the log", || {
            relay.log_text().contains(&format!("\"peer\":\"{from}\""))
        });
    }
}

#[test]
fn protocol_without_its_hosts_or_for_everybody_does_not_load() {
    for (lines, why) in [
        (
            "smtpd_upstream_proxy_protocol = \"haproxy\"\n",
            "needs smtpd_upstream_proxy_hosts",
        ),
        (
            "smtpd_upstream_proxy_protocol = \"haproxy\"\nsmtpd_upstream_proxy_hosts = [\"0.0.0.0/0\"]\n",
            "lets everybody pass for any client",
        ),
        ("smtpd_upstream_proxy_protocol = \"nginx\"\n", "haproxy"),
    ] {
        let relay = Relay::prepare("", 9);
        relay.write_config(&format!("{CAMPUS}{}{lines}", base_config(relay.port, 9)));
        let output = Command::new(BINARY)
            .args(["check", "--config"])
            .arg(relay.config())
            .output()
            .expect("the command runs");
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(!output.status.success() && text.contains(why), "{text}");
    }
}
