//! What filters are told of the client: of the connection as it is, of whom a proxy names, in their version of the protocol.

use std::io::Write as _;
use std::process::{Command, Stdio};

use estafette::wire::milter::command::Command as Told;
use estafette::wire::milter::options::{MacroStage, Negotiation, Steps};
use estafette::wire::milter::response::{Change, Response};

use crate::common::client::Client;
use crate::common::{BINARY, CERTIFICATES_ONLY, LOOPBACK, Relay, base_config, wait_until};
use crate::fake::{FakeMilter, agreement, say};
use crate::verdicts::{STAGES, macros, value, words};
use crate::{delivered, relay_with};

#[test]
fn names_of_a_certificate_nobody_verified_are_not_told() {
    let milter = FakeMilter::start();
    let sink = crate::common::sink::Sink::start();
    let directives = format!("{CERTIFICATES_ONLY}smtpd_milters = [\"{}\"]\n", milter.directive());
    let relay = Relay::start(&directives, sink.port);
    milter.answer(|_| None);
    let mut client = Client::connect(relay.address()).expect("connected");
    client.say("EHLO client.example.org").expect("EHLO");
    let mut client = client.start_tls(relay.directory.path(), Some("rogue")).expect("TLS");
    client.say("EHLO client.example.org").expect("EHLO");
    let seen = milter.seen();
    assert_eq!(
        macros(&seen, b'H')
            .last()
            .map(|(name, value)| (name.as_str(), value.as_str())),
        Some(("{verify}", "FAIL"))
    );
    for name in ["{cert_subject}", "{cert_issuer}", "{cn_subject}", "{cn_issuer}"] {
        assert_eq!(value(&seen, b'H', name), None, "{name}");
    }
}

#[test]
fn filter_that_asks_for_them_is_told_of_the_connection_as_it_is() {
    let milter = FakeMilter::start();
    // The listener listens at every address: what counts is the one that the client has found.
    let sink = crate::common::sink::Sink::start();
    let directives = format!("{LOOPBACK}smtpd_milters = [\"{}\"]\n", milter.directive());
    let mut relay = Relay::prepare(&directives, sink.port);
    let config = base_config(relay.port, sink.port).replace("127.0.0.1:", "0.0.0.0:");
    relay.write_config(&format!("{directives}{}", config.replace("[0.0.0.0]", "[127.0.0.1]")));
    relay.spawn();
    milter.settle();
    let wanted = [
        "{client_ptr}",
        "{client_resolve}",
        "{client_connections}",
        "_",
        "{if_addr}",
    ];
    let negotiation = Negotiation {
        version: 6,
        macros: vec![(MacroStage::Connect, wanted.map(str::to_owned).into())],
        ..Negotiation::default()
    };
    milter.answer(move |command| match command {
        Told::Negotiate(_) => Some(say(&[Response::Negotiate(negotiation.clone())])),
        _ => None,
    });
    let _client = Client::connect(relay.address()).expect("connected");
    let told = macros(&milter.seen(), b'C');
    let told: Vec<(&str, &str)> = told
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let expected = [
        ("{client_ptr}", "localhost"),
        ("{client_resolve}", "OK"),
        ("{client_connections}", "0"),
        ("_", "localhost [127.0.0.1]"),
        ("{if_addr}", "127.0.0.1"),
    ];
    assert_eq!(told, expected, "of mynetworks nobody is counted");
}

#[test]
fn filter_of_an_old_version_is_not_told_what_that_does_not_have() {
    let milter = FakeMilter::start();
    let (relay, _sink) = relay_with(&format!("smtpd_milters = [\"{}\"]\n", milter.directive()));
    milter.settle();
    for (version, unknown, data) in [(2, false, false), (3, true, false), (4, true, true), (6, true, true)] {
        milter.answer(move |command| match command {
            Told::Negotiate(_) => Some(say(&[Response::Negotiate(Negotiation {
                version,
                ..Negotiation::default()
            })])),
            _ => None,
        });
        let mut client = Client::connect(relay.address()).expect("connected");
        client.say("EHLO client.example.org").expect("EHLO");
        client.say("FROBNICATE").expect("an answer");
        let reply = client.send("a@example.org", &["b@example.net"], "A: 1\r\n\r\nx");
        assert_eq!(reply.expect("a reply").code, 250, "version {version}");
        let told = words(&milter);
        assert_eq!(
            told.contains(&"UNKNOWN FROBNICATE".to_owned()),
            unknown,
            "version {version}"
        );
        assert_eq!(told.contains(&"DATA".to_owned()), data, "version {version}");
        let of_data = macros(&milter.seen(), b'T');
        assert!(data || of_data.is_empty(), "version {version}");
    }
}

#[test]
fn message_that_one_filter_throws_away_is_not_told_to_the_others_in_part() {
    let (first, second) = (FakeMilter::start(), FakeMilter::start());
    let (relay, sink) = relay_with(&format!(
        "smtpd_milters = [\"{}\", \"{}\"]\n",
        first.directive(),
        second.directive()
    ));
    second.settle();
    for (stage, is_stage) in [STAGES[2], STAGES[3], STAGES[4]] {
        second.answer(|_| None);
        first.answer(move |command| is_stage(command).then(|| say(&[Response::Discard])));
        let mut client = Client::connect(relay.address()).expect("connected");
        client.say("EHLO client.example.org").expect("EHLO");
        for number in 0..2 {
            let reply = client.send("a@example.org", &["b@example.net"], "A: 1\r\n\r\nx");
            assert_eq!(reply.expect("a reply").code, 250, "{stage} {number}");
        }
        client.say("QUIT").expect("QUIT");
        wait_until("QUIT is told", || {
            words(&second).last().is_some_and(|word| word == "QUIT")
        });
        let message: &[&str] = match stage {
            "mail" => &[],
            "rcpt" => &["MAIL <a@example.org>", "ABORT"],
            _ => &["MAIL <a@example.org>", "RCPT <b@example.net>", "ABORT"],
        };
        let told = words(&second);
        assert_eq!(told[3..told.len() - 1], [message, message].concat(), "{stage}");
    }
    assert_eq!(sink.count(), 0);
}

#[test]
fn client_that_a_proxy_names_is_told_with_its_own_name() {
    let milter = FakeMilter::start();
    let (relay, _sink) = relay_with(&format!(
        "smtpd_authorized_xclient_hosts = [\"127.0.0.1\"]\nsmtpd_milters = [\"{}\"]\n",
        milter.directive()
    ));
    milter.settle();
    milter.answer(|_| None);
    let mut client = Client::connect(relay.address()).expect("connected");
    client.say("EHLO proxy.example.org").expect("EHLO");
    assert_eq!(client.say("XCLIENT ADDR=127.0.0.9").expect("XCLIENT").code, 220);
    let told = words(&milter);
    assert_eq!(
        told.last().map(String::as_str),
        Some("CONNECT localhost 127.0.0.9"),
        "{told:?}"
    );
    // A proxy that has looked for a name knows what there is to know.
    let unnamed = "XCLIENT ADDR=127.0.0.9 NAME=[UNAVAILABLE]";
    assert_eq!(client.say(unnamed).expect("XCLIENT").code, 220);
    let told = words(&milter);
    assert_eq!(
        told.last().map(String::as_str),
        Some("CONNECT [127.0.0.9] 127.0.0.9"),
        "{told:?}"
    );
}

#[test]
fn field_that_a_table_prepends_is_told_and_can_be_changed() {
    let milter = FakeMilter::start();
    let (relay, sink) = relay_with(&format!(
        "smtpd_sender_restrictions = [{{ check_sender_access = {{ \"a@example.org\" = \"PREPEND Received-SPF: pass\" }} }}]\n\
         smtpd_milters = [\"{}\"]\n",
        milter.directive()
    ));
    milter.answer(|command| {
        let change = Change::ChangeHeader {
            index: 1,
            name: b"Received-SPF".to_vec(),
            value: b"none".to_vec(),
        };
        let is_end = matches!(command, Told::EndOfBody(_));
        is_end.then(|| say(&[Response::Change(change), Response::Continue]))
    });
    let mut client = Client::connect(relay.address()).expect("connected");
    client.say("EHLO c.example.org").expect("EHLO");
    let reply = client.send("a@example.org", &["b@example.net"], "A: 1\r\n\r\nx");
    assert_eq!(reply.expect("a reply").code, 250);
    let told = words(&milter);
    assert!(told.contains(&"HEADER Received-SPF|pass".to_owned()), "{told:?}");
    let text = delivered(&sink, 0);
    assert!(text.starts_with("Received-SPF: none\r\nReceived: "), "{text}");
}

#[test]
fn word_to_what_is_only_told_says_nothing_of_the_message() {
    let milter = FakeMilter::start();
    let directives = format!(
        "mynetworks = [\"192.0.2.0/24\"]\nrelay_domains = [\"example.net\"]\n\
         smtpd_recipient_restrictions = [\"permit_auth_destination\", \"reject\"]\nsmtpd_milters = [\"{}\"]\n",
        milter.directive()
    );
    let relay = Relay::start(&directives, 9);
    milter.settle();
    for word in [Response::Accept, Response::Discard, Response::Reject] {
        milter.answer(move |command| match command {
            Told::Negotiate(_) => Some(say(&[agreement(Steps::REFUSED_RECIPIENTS)])),
            Told::Unknown(_) => Some(say(std::slice::from_ref(&word))),
            Told::Recipient(words) if words[0].contains("elsewhere") => Some(say(std::slice::from_ref(&word))),
            Told::EndOfBody(_) => Some(say(&[Response::ReplyCode(b"550 5.7.1 weighed".to_vec())])),
            _ => None,
        });
        let mut client = Client::connect(relay.address()).expect("connected");
        client.say("EHLO c.example.org").expect("EHLO");
        client.say("FROBNICATE").expect("an answer");
        let paths = ["x@elsewhere.example", "b@example.net"];
        let lines = ["MAIL FROM:<a@example.org>".to_owned()].into_iter();
        let lines = lines.chain(paths.map(|path| format!("RCPT TO:<{path}>")));
        let codes: Vec<u16> = lines.map(|line| client.say(&line).expect("a reply").code).collect();
        assert_eq!(codes, [250, 554, 250]);
        client.say("DATA").expect("354");
        let reply = client.say("A: 1\r\n\r\nx\r\n.").expect("a reply");
        assert_eq!(reply.text.trim(), "550 5.7.1 weighed", "{:?}", words(&milter));
    }
}

#[test]
fn mechanism_and_author_of_a_login_are_told() {
    let milter = FakeMilter::start();
    let sink = crate::common::sink::Sink::start();
    let directives = format!(
        "{CERTIFICATES_ONLY}smtpd_relay_restrictions = [\"permit_sasl_authenticated\", \"reject\"]\n\
         smtpd_sasl_auth_enable = true\nsmtpd_sasl_type = \"file\"\nsmtpd_sasl_path = \"passwords\"\n\
         smtpd_milters = [\"{}\"]\n",
        milter.directive()
    );
    let mut relay = Relay::prepare(&directives, sink.port);
    let mut passwd = Command::new(BINARY)
        .args(["passwd", "tim", "--stdin", "--file"])
        .arg(relay.file("passwords"))
        .stdin(Stdio::piped())
        .spawn()
        .expect("passwd");
    let mut stdin = passwd.stdin.take().expect("piped");
    stdin.write_all(b"secret\n").expect("written");
    drop(stdin);
    assert!(passwd.wait().expect("passwd ends").success());
    relay.spawn();
    for (auth, mechanism) in [
        (&["AUTH LOGIN", "dGlt", "c2VjcmV0"][..], "LOGIN"),
        (&["AUTH PLAIN AHRpbQBzZWNyZXQ="], "PLAIN"),
    ] {
        milter.answer(|_| None);
        let mut client = Client::connect(relay.address()).expect("connected");
        client.say("EHLO client.example.org").expect("EHLO");
        let mut client = client.start_tls(relay.directory.path(), None).expect("TLS");
        client.say("EHLO client.example.org").expect("EHLO");
        let codes: Vec<u16> = auth
            .iter()
            .map(|line| client.say(line).expect("a reply").code)
            .collect();
        assert_eq!(codes.last(), Some(&235), "{mechanism}: {codes:?}");
        let reply = client
            .say("MAIL FROM:<tim@example.org> AUTH=e+3Dmc2@example.org")
            .expect("MAIL");
        assert_eq!(reply.code, 250, "{}", reply.text);
        let seen = milter.seen();
        for (name, wanted) in [
            ("{auth_type}", mechanism),
            ("{auth_authen}", "tim"),
            ("{auth_author}", "e=mc2@example.org"),
        ] {
            assert_eq!(value(&seen, b'M', name).as_deref(), Some(wanted), "{mechanism} {name}");
        }
    }
}
