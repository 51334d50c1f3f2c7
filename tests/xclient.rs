//! XCLIENT end to end: from swaks and by hand, from a host that may say it and from one that may not; whose session it is
//! afterwards, and what is forgotten.

mod common;
#[path = "common/name_server.rs"]
mod name_server;

use std::process::Command;

use common::client::{Client, Reply};
use common::sink::Sink;
use common::{Relay, wait_until};
use hickory_resolver::proto::op::ResponseCode;
use name_server::NameServer;

/// The campus is 192.0.2.0/24, which nobody on loopback is.
const CAMPUS: &str = "mynetworks = [\"192.0.2.0/24\", \"2001:db8::/32\"]\n\
     log_level = \"debug\"\n\
     smtpd_client_restrictions = [{ check_client_access = { \"mail.bad.example\" = \"REJECT by name\", \"unknown\" = \"DUNNO\" } }]\n\
     smtpd_helo_restrictions = [{ check_helo_access = { \"spammer.example\" = \"REJECT by greeting\" } }]\n\
     smtpd_relay_restrictions = [\"permit_mynetworks\", \"permit_sasl_authenticated\", \"permit_tls_all_clientcerts\", \"reject\"]\n";
const LISTED: &str = "smtpd_authorized_xclient_hosts = [\"127.0.0.1\"]\n";

fn relay(more: &str, sink: &Sink) -> Relay {
    let names = NameServer::start(|_, _| Err(ResponseCode::NXDomain));
    let resolver = format!("resolver_addresses = [\"{}\"]\n", names.address);
    Relay::start(&format!("{CAMPUS}{resolver}{more}"), sink.port)
}

fn greeted(relay: &Relay) -> (Client, Reply) {
    let mut client = Client::connect(relay.address()).expect("connected");
    let hello = client.say("EHLO proxy.example").expect("EHLO");
    (client, hello)
}

/// The reply to RCPT of a client that a proxy names.
fn recipient(client: &mut Client, hello: &str) -> Reply {
    if !hello.is_empty() {
        assert_eq!(client.say(&format!("EHLO {hello}")).expect("EHLO").code, 250);
    }
    assert_eq!(client.say("MAIL FROM:<a@example.org>").expect("MAIL").code, 250);
    client.say("RCPT TO:<b@example.net>").expect("RCPT")
}

fn swaks(relay: &Relay, attributes: &[&str]) -> (bool, String) {
    let output = Command::new("swaks")
        .args(["--server", "127.0.0.1", "--port", &relay.port.to_string()])
        .args([
            "--ehlo",
            "proxy.example",
            "--from",
            "a@example.org",
            "--to",
            "b@example.net",
            "--body",
            "x",
        ])
        .args(attributes)
        .args(["--timeout", "20"])
        .output()
        .expect("swaks: run tests/run");
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

#[test]
fn swaks_of_a_listed_host_speaks_for_a_client_and_of_another_is_refused() {
    let sink = Sink::start();
    let listed = relay(LISTED, &sink);
    let (done, text) = swaks(
        &listed,
        &[
            "--xclient-addr",
            "192.0.2.9",
            "--xclient-name",
            "printer.campus.example",
            "--xclient-port",
            "4711",
            "--xclient-proto",
            "ESMTP",
            "--xclient-helo",
            "printer.campus.example",
        ],
    );
    assert!(done, "{text}");
    assert!(
        text.contains("250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT REVERSE_NAME"),
        "{text}"
    );
    let (done, text) = swaks(&listed, &["--xclient", "ADDR=203.0.113.9 NAME=[UNAVAILABLE]"]);
    assert!(
        !done && text.contains("<** 554 5.7.1 <b@example.net>: Relay access denied"),
        "{text}"
    );
    wait_until("delivered", || sink.count() == 1);
    let data = String::from_utf8_lossy(&sink.messages()[0].data).into_owned();
    assert!(
        data.contains("printer.campus.example") && data.contains("[192.0.2.9]"),
        "{data}"
    );
    assert!(!data.contains("127.0.0.1"), "the proxy is nobody's business:\n{data}");

    let unlisted = relay("smtpd_authorized_xclient_hosts = [\"192.0.2.1\"]\n", &sink);
    let (done, text) = swaks(&unlisted, &["--xclient-addr", "192.0.2.9"]);
    assert!(!done && !text.contains("250-XCLIENT"), "{text}");
    let (mut client, hello) = greeted(&unlisted);
    assert!(!hello.text.contains("XCLIENT"), "{}", hello.text);
    let reply = client.say("XCLIENT ADDR=192.0.2.9").expect("a reply");
    assert!(reply.code >= 500, "{}", reply.text);
    assert_eq!(recipient(&mut client, "").code, 554, "nobody is named");
}

#[test]
fn every_attribute_counts_and_a_greeting_follows() {
    let sink = Sink::start();
    let relay = relay(LISTED, &sink);
    for (attributes, hello, expected) in [
        ("ADDR=192.0.2.9", "a.example", "250 2.1.5 Ok"),
        ("addr=192.0.2.9", "a.example", "250 2.1.5 Ok"),
        ("ADDR=IPV6:2001:db8::9", "a.example", "250 2.1.5 Ok"),
        (
            "ADDR=203.0.113.9",
            "a.example",
            "554 5.7.1 <b@example.net>: Relay access denied",
        ),
        (
            "ADDR=[UNAVAILABLE]",
            "a.example",
            "554 5.7.1 <b@example.net>: Relay access denied",
        ),
        ("ADDR=203.0.113.9 LOGIN=tim", "a.example", "250 2.1.5 Ok"),
        (
            "ADDR=203.0.113.9 LOGIN=[UNAVAILABLE]",
            "a.example",
            "554 5.7.1 <b@example.net>: Relay access denied",
        ),
        (
            "ADDR=192.0.2.9 NAME=mail.bad.example",
            "a.example",
            "554 5.7.1 <mail.bad.example[192.0.2.9]>: Client host rejected: by name",
        ),
        (
            "ADDR=192.0.2.9 NAME=[TEMPUNAVAIL]",
            "a.example",
            "450 4.4.3 <unknown[192.0.2.9]>: Client host rejected: DNS lookup of 192.0.2.9 failed",
        ),
        (
            "ADDR=192.0.2.9 NAME=[UNAVAILABLE] REVERSE_NAME=mail.bad.example",
            "a.example",
            "250 2.1.5 Ok",
        ),
        (
            "ADDR=192.0.2.9 HELO=spammer.example PROTO=ESMTP",
            "",
            "554 5.7.1 <spammer.example>: Helo command rejected: by greeting",
        ),
        ("ADDR=192.0.2.9 HELO=good.example PROTO=SMTP", "", "250 2.1.5 Ok"),
        (
            "ADDR=192.0.2.9 PORT=4711 DESTADDR=198.51.100.25 DESTPORT=25",
            "a.example",
            "250 2.1.5 Ok",
        ),
        (
            "ADDR=192.0.2.9 HELO=sp+61mmer.example",
            "",
            "554 5.7.1 <spammer.example>: Helo command rejected: by greeting",
        ),
    ] {
        let (mut client, _) = greeted(&relay);
        let named = client.say(&format!("XCLIENT {attributes}")).expect("a reply");
        assert!(
            named.code == 220 && named.text.starts_with("220 relay.example.org "),
            "{attributes}: {}",
            named.text
        );
        let reply = recipient(&mut client, hello);
        assert!(reply.text.starts_with(expected), "{attributes}: {}", reply.text);
    }
    for attributes in [
        "ADDR=nonsense",
        "PORT=70000",
        "COLOUR=red",
        "ADDR",
        "PROTO=UUCP",
        "HELO=+0A",
    ] {
        let (mut client, _) = greeted(&relay);
        let reply = client.say(&format!("XCLIENT {attributes}")).expect("a reply");
        assert!(reply.code == 501, "{attributes}: {}", reply.text);
        assert_eq!(recipient(&mut client, "").code, 554, "{attributes}: nobody is named");
    }
    wait_until("the log names the client and the proxy", || {
        let log = relay.log_text();
        log.contains("192.0.2.9:4711") && log.contains("127.0.0.1")
    });
}

#[test]
fn certificate_of_the_proxy_and_a_transaction_are_not_the_client_s() {
    let sink = Sink::start();
    let relay = relay(LISTED, &sink);
    let (client, _) = greeted(&relay);
    let mut client = client.start_tls(relay.directory.path(), Some("alice")).expect("TLS");
    assert_eq!(recipient(&mut client, "a.example").code, 250, "Alice's own");
    let reply = client.say("XCLIENT ADDR=203.0.113.9").expect("a reply");
    assert_eq!(reply.code, 503, "within a transaction: {}", reply.text);
    client.say("RSET").expect("RSET");
    assert_eq!(client.say("XCLIENT ADDR=203.0.113.9").expect("a reply").code, 220);
    let reply = recipient(&mut client, "a.example");
    assert_eq!(reply.code, 554, "the certificate is the proxy's: {}", reply.text);
    client.say("RSET").expect("RSET");
    // It may say so again, and speak for itself.
    assert_eq!(client.say("XCLIENT ADDR=127.0.0.1").expect("a reply").code, 220);
    assert_eq!(recipient(&mut client, "a.example").code, 250, "Alice's own again");
}

#[test]
fn limits_count_for_the_client_that_is_named() {
    let sink = Sink::start();
    let relay = relay(
        "smtpd_authorized_xclient_hosts = [\"127.0.0.1\"]\nsmtpd_client_recipient_rate_limit = 2\nanvil_rate_time_unit = \"1h\"\n\
         smtpd_client_event_limit_exceptions = []\n",
        &sink,
    );
    let codes = |address: &str, count: usize| {
        let (mut client, _) = greeted(&relay);
        assert_eq!(
            client.say(&format!("XCLIENT ADDR={address}")).expect("a reply").code,
            220
        );
        client.say("EHLO a.example").expect("EHLO");
        client.say("MAIL FROM:<a@example.org>").expect("MAIL");
        let say = |_| client.say("RCPT TO:<b@example.net>").expect("RCPT").code;
        (0..count).map(say).collect::<Vec<u16>>()
    };
    assert_eq!(codes("192.0.2.9", 2), [250, 250]);
    assert_eq!(
        codes("192.0.2.9", 1),
        [450],
        "its own limit, in another session of the proxy"
    );
    assert_eq!(codes("192.0.2.10", 2), [250, 250], "another client's is untouched");
}
