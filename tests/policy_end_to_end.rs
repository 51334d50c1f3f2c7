//! `check_policy_service` from the message to the reply: Debian's postgrey and policyd-spf, services that are down, slow or left
//! waiting, and what a service is told beside what a real Postfix tells it.

#[path = "policy_end_to_end/attributes.rs"]
mod attributes;
mod common;
#[path = "common/name_server.rs"]
mod name_server;
#[path = "common/postfix.rs"]
mod postfix;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::client::Client;
use common::sink::Sink;
use common::{Relay, free_port, wait_until};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::{A, PTR, TXT};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use name_server::NameServer;

/// Mail for the campus from anywhere; swaks on loopback speaks for others.
const CAMPUS: &str = "mynetworks = [\"192.0.2.0/24\"]\n\
     relay_domains = [\"campus.example\"]\n\
     smtpd_authorized_xclient_hosts = [\"127.0.0.1\"]\n\
     smtpd_relay_restrictions = [\"permit_mynetworks\", \"permit_auth_destination\", \"reject\"]\n";

/// sender.example sends from 198.51.100.9 and from nowhere else.
fn zone(name: &str, kind: RecordType) -> Result<Vec<RData>, ResponseCode> {
    let text = |text: &str| RData::TXT(TXT::new(vec![text.to_owned()]));
    match (name, kind) {
        ("sender.example.", RecordType::TXT) => Ok(vec![text("v=spf1 ip4:198.51.100.9 -all")]),
        ("mail.sender.example.", RecordType::A) => Ok(vec![RData::A(A::new(198, 51, 100, 9))]),
        ("9.100.51.198.in-addr.arpa.", RecordType::PTR) => Ok(vec![RData::PTR(PTR(Name::from_ascii(
            "mail.sender.example.",
        )
        .expect("a name")))]),
        ("sender.example." | "mail.sender.example.", _) => Ok(Vec::new()),
        _ => Err(ResponseCode::NXDomain),
    }
}

fn relay(service: &str, more: &str, sink: &Sink) -> Relay {
    let server = NameServer::start(zone);
    Relay::start(
        &format!(
            "{CAMPUS}resolver_addresses = [\"{}\"]\nsmtpd_policy_service_retry_delay = \"0s\"\n{more}\
             smtpd_recipient_restrictions = [\"check_policy_service {service}\", \"permit_auth_destination\", \"reject\"]\n",
            server.address
        ),
        sink.port,
    )
}

/// A message by swaks, which says that it comes from another client.
fn swaks(relay: &Relay, client: &str) -> Output {
    let output = Command::new("swaks")
        .args(["--server", "127.0.0.1", "--port", &relay.port.to_string()])
        .args(["--xclient-addr", client, "--xclient-name", "mail.sender.example"])
        .args([
            "--ehlo",
            "mail.sender.example",
            "--from",
            "a@sender.example",
            "--to",
            "b@campus.example",
        ])
        .args([
            "--header",
            "Subject: through a policy service",
            "--body",
            "x",
            "--timeout",
            "20",
        ])
        .output();
    output.expect("swaks: run tests/run")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The first message that came through.
fn delivered(sink: &Sink) -> String {
    String::from_utf8_lossy(&sink.messages()[0].data).into_owned()
}

/// Killed when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn own_name(flag: &str) -> String {
    let output = Command::new("id").arg(flag).output().expect("id");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn postgrey_defers_a_message_and_takes_it_after_its_delay() {
    let sink = Sink::start();
    let (directory, port) = (tempfile::tempdir().expect("a directory"), free_port());
    let postgrey = Command::new("/usr/sbin/postgrey")
        .args([
            &format!("--inet={port}"),
            "--delay=1",
            "--greylist-text=Greylisted by postgrey",
        ])
        .arg(format!("--dbdir={}", directory.path().display()))
        .args([
            format!("--user={}", own_name("-un")),
            format!("--group={}", own_name("-gn")),
        ])
        .arg(format!("--pidfile={}", directory.path().join("pid").display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _postgrey = Running(postgrey.expect("postgrey: run tests/run"));
    wait_until("postgrey listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let relay = relay(&format!("inet:127.0.0.1:{port}"), "", &sink);
    let first = swaks(&relay, "198.51.100.9");
    let text = said(&first);
    assert!(!first.status.success() && text.contains("<** 450 4."), "{text}");
    assert!(
        text.contains("<b@campus.example>: Recipient address rejected: Greylisted by postgrey"),
        "{text}"
    );
    wait_until("it is taken", || swaks(&relay, "198.51.100.9").status.success());
    wait_until("delivered", || sink.count() == 1);
    assert!(delivered(&sink).contains("through a policy service"));
}

/// What Postfix's spawn(8) does, for a policyd-spf that asks this name server.
fn policyd_spf(socket: &std::path::Path, server: SocketAddr) {
    let script = format!(
        "import DNS, spf, sys\n\
         DNS.defaults['server'], DNS.defaults['port'] = ['127.0.0.1'], {}\n\
         from spf_engine.policyd_spf import main\n\
         sys.argv = ['policyd-spf']\n\
         main()\n",
        server.port()
    );
    let listener = UnixListener::bind(socket).expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let output = stream.try_clone().expect("a socket");
            let child = Command::new("/usr/bin/python3")
                .args(["-c", &script])
                .stdin(Stdio::from(std::os::fd::OwnedFd::from(stream)))
                .stdout(Stdio::from(std::os::fd::OwnedFd::from(output)))
                .stderr(Stdio::null())
                .spawn();
            let mut child = child.expect("policyd-spf: run tests/run");
            std::thread::spawn(move || child.wait());
        }
    });
}

#[test]
fn policyd_spf_marks_mail_of_the_domain_s_own_hosts_and_refuses_that_of_others() {
    let sink = Sink::start();
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("spf");
    let server = NameServer::start(zone);
    policyd_spf(&socket, server.address);
    let relay = relay(&format!("unix:{}", socket.display()), "", &sink);
    let forged = said(&swaks(&relay, "203.0.113.77"));
    assert!(forged.contains("<** 550 5.7."), "{forged}");
    assert!(
        forged.contains("<b@campus.example>: Recipient address rejected: Message rejected due to: SPF fail"),
        "{forged}"
    );
    let own = swaks(&relay, "198.51.100.9");
    assert!(own.status.success(), "{}", said(&own));
    wait_until("delivered", || sink.count() == 1);
    let data = delivered(&sink);
    let header = data
        .find("Received-SPF: Pass")
        .unwrap_or_else(|| panic!("no header:\n{data}"));
    assert!(
        header < data.find("Subject:").expect("a subject"),
        "PREPEND stands in front:\n{data}"
    );
    assert!(server.asked("sender.example.", RecordType::TXT) > 0);
}

/// EHLO, MAIL, and RCPT without waiting for its reply.
fn asking(relay: &Relay) -> Client {
    let mut client = Client::connect(relay.address()).expect("connected");
    client.say("EHLO mail.sender.example").expect("EHLO");
    client.say("MAIL FROM:<a@sender.example>").expect("MAIL");
    client.write(b"RCPT TO:<b@campus.example>\r\n").expect("RCPT");
    client
}

#[test]
fn service_that_is_down_or_slow_is_451_named_in_the_log_and_its_default_action_counts() {
    let sink = Sink::start();
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let silent = format!("inet:{}", listener.local_addr().expect("bound"));
    let down = format!("inet:127.0.0.1:{}", free_port());
    for (service, why) in [(&down, "cannot connect"), (&silent, "no reply within 1 s")] {
        let relay = relay(
            service,
            "smtpd_policy_service_timeout = \"1s\"\nsmtpd_policy_service_try_limit = 1\n",
            &sink,
        );
        let reply = asking(&relay).read_reply().expect("a reply");
        let expected = "451 4.3.5 <b@campus.example>: Recipient address rejected: Server configuration problem [ref ";
        assert!(reply.text.starts_with(expected), "{}", reply.text);
        wait_until("the log names it", || {
            let log = relay.log_text();
            log.contains(service.as_str()) && log.contains(why)
        });
        drop(relay);
    }
    let more = "smtpd_policy_service_default_action = \"DUNNO\"\nsmtpd_policy_service_try_limit = 1\n";
    let relay = relay(&down, more, &sink);
    assert_eq!(asking(&relay).read_reply().expect("a reply").code, 250);
}

#[test]
fn client_that_goes_away_and_a_stop_do_not_wait_for_an_open_question() {
    let sink = Sink::start();
    let silent = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let service = format!("inet:{}", silent.local_addr().expect("bound"));
    let mut relay = relay(&service, "shutdown_timeout = \"3s\"\nlog_level = \"debug\"\n", &sink);
    let gone = asking(&relay);
    let (_asked, _) = silent.accept().expect("asked");
    drop(gone);
    wait_until("the session ends", || relay.log_text().contains("session.closed"));
    let mut left = asking(&relay);
    let (_asked_too, _) = silent.accept().expect("asked");
    let begun = Instant::now();
    relay.terminate();
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    let reply = left.read_reply();
    assert!(
        reply
            .as_ref()
            .map_or(true, |reply| reply.code == 421 || reply.code / 100 == 4),
        "{reply:?}"
    );
    assert_eq!(sink.count(), 0);
}
