//! What a filter is told, and what each of its verdicts leads to at each stage.

use estafette::wire::milter::command::Command;
use estafette::wire::milter::options::{MacroStage, Negotiation, Steps};
use estafette::wire::milter::response::Response;

use crate::common::client::Client;
use crate::common::{CERTIFICATES_ONLY, Relay, wait_until};
use crate::fake::{Answer, FakeMilter, agreement, say};
use crate::{delivered, relay_with};

/// One word for each command, as long as it is no MACRO.
pub fn word(command: &Command) -> Option<String> {
    Some(match command {
        Command::Macros { .. } => return None,
        Command::Negotiate(_) => "OPTNEG".into(),
        Command::Connect { hostname, address } => {
            format!(
                "CONNECT {hostname} {}",
                address.map(|a| a.ip().to_string()).unwrap_or_default()
            )
        }
        Command::Hello(name) => format!("HELO {name}"),
        Command::Mail(words) => format!("MAIL {}", words.join(" ")),
        Command::Recipient(words) => format!("RCPT {}", words.join(" ")),
        Command::Data => "DATA".into(),
        Command::Header { name, value } => format!(
            "HEADER {}|{}",
            String::from_utf8_lossy(name),
            String::from_utf8_lossy(value)
        ),
        Command::EndOfHeader => "EOH".into(),
        Command::Body(body) if body.len() < 100 => format!("BODY {}", String::from_utf8_lossy(body)),
        Command::Body(body) => format!("BODY {}", body.len()),
        Command::EndOfBody(body) => format!("BODYEOB {}", String::from_utf8_lossy(body)),
        Command::Abort => "ABORT".into(),
        Command::Quit => "QUIT".into(),
        Command::QuitForNext => "QUIT_NC".into(),
        Command::Unknown(line) => format!("UNKNOWN {line}"),
    })
}

pub fn words(milter: &FakeMilter) -> Vec<String> {
    milter.seen().iter().filter_map(word).collect()
}

/// The macros that came with an event.
pub fn macros(seen: &[Command], of: u8) -> Vec<(String, String)> {
    let of_event = seen.iter().filter_map(|command| match command {
        Command::Macros { event, pairs } if *event == of => Some(pairs.clone()),
        _ => None,
    });
    of_event.flatten().collect()
}

pub fn value(seen: &[Command], of: u8, name: &str) -> Option<String> {
    macros(seen, of)
        .into_iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value)
}

#[test]
fn filter_is_told_the_whole_dialogue_in_order() {
    let milter = FakeMilter::start();
    let (relay, sink) = relay_with(&format!("smtpd_milters = [\"{}\"]\n", milter.directive()));
    milter.settle();
    milter.answer(|_| None);
    let mut client = Client::connect(relay.address()).expect("connected");
    client.say("EHLO client.example.org").expect("EHLO");
    client.say("FROBNICATE now").expect("an answer");
    client.say("MAIL FROM:<alice@example.org> SIZE=100").expect("MAIL");
    client.say("RSET").expect("RSET");
    let data = "A:  1\r\nB: 2\r\n\t3\r\n\r\nbody\r\n..dot";
    let reply = client
        .send("alice@example.org", &["bob@example.net"], data)
        .expect("a reply");
    assert_eq!(reply.code, 250, "{}", reply.text);
    assert_eq!(client.say("QUIT").expect("QUIT").code, 221);
    wait_until("QUIT is told", || {
        words(&milter).last().is_some_and(|word| word == "QUIT")
    });
    let expected = [
        "OPTNEG",
        "CONNECT localhost 127.0.0.1",
        "HELO client.example.org",
        "UNKNOWN FROBNICATE now",
        "MAIL <alice@example.org> SIZE=100",
        "ABORT",
        "MAIL <alice@example.org>",
        "RCPT <bob@example.net>",
        "DATA",
        "HEADER A| 1",
        "HEADER B|2\n\t3",
        "EOH",
        "BODY body\r\n.dot\r\n",
        "BODYEOB ",
        "QUIT",
    ];
    assert_eq!(words(&milter), expected);
    let text = delivered(&sink, 0);
    assert!(text.contains("\r\nA:  1\r\nB: 2\r\n\t3\r\n\r\nbody\r\n"), "{text}");
}

#[test]
fn macros_tell_who_the_client_is_and_what_certificate_it_showed() {
    let milter = FakeMilter::start();
    let sink = crate::common::sink::Sink::start();
    let directives = format!("{CERTIFICATES_ONLY}smtpd_milters = [\"{}\"]\n", milter.directive());
    let relay = Relay::start(&directives, sink.port);
    milter.answer(|_| None);
    let mut client = Client::connect(relay.address()).expect("connected");
    client.say("EHLO client.example.org").expect("EHLO");
    let mut client = client.start_tls(relay.directory.path(), Some("alice")).expect("TLS");
    client.say("EHLO client.example.org").expect("EHLO");
    client.say("AUTH EXTERNAL =").expect("AUTH");
    let data = "Message-ID: <1@example.org>\r\n\r\nx";
    let reply = client
        .send("alice@example.org", &["bob@example.net"], data)
        .expect("a reply");
    assert_eq!(reply.code, 250, "{}", reply.text);
    let id = reply.text.trim().rsplit(' ').next().expect("an id").to_owned();
    let seen = milter.seen();
    let port = relay.port.to_string();
    let expected = [
        (b'C', "j", "relay.example.org"),
        (b'C', "{daemon_name}", "relay.example.org"),
        (b'C', "{daemon_addr}", "127.0.0.1"),
        (b'C', "{daemon_port}", port.as_str()),
        (b'C', "{if_addr}", "127.0.0.1"),
        (b'C', "{client_name}", "localhost"),
        (b'C', "{client_addr}", "127.0.0.1"),
        (b'C', "_", "localhost [127.0.0.1]"),
        (b'C', "v", "Estafette"),
        (b'H', "{tls_version}", "TLSv1.3"),
        (b'H', "{cipher_bits}", "256"),
        (b'H', "{cert_subject}", "/C=FR/O=CNRS/OU=UMR5168/CN=Alice Martin"),
        (b'H', "{cert_issuer}", "/C=FR/O=CNRS/CN=CNRS-Standard"),
        (b'H', "{cn_subject}", "Alice Martin"),
        (b'M', "{auth_type}", "EXTERNAL"),
        (b'M', "{mail_addr}", "alice@example.org"),
        (b'M', "{mail_mailer}", "smtp"),
        (b'R', "{rcpt_addr}", "bob@example.net"),
        (b'R', "{rcpt_mailer}", "smtp"),
        (b'N', "i", id.as_str()),
        (b'E', "i", id.as_str()),
        (b'E', "{msg_id}", "<1@example.org>"),
    ];
    for (event, name, wanted) in expected {
        let found = value(&seen, event, name);
        assert_eq!(found.as_deref(), Some(wanted), "{} {name}", char::from(event));
    }
    let verify: Vec<_> = macros(&seen, b'H')
        .into_iter()
        .filter(|(name, _)| name == "{verify}")
        .collect();
    let words: Vec<&str> = verify.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(words, ["NONE", "OK"], "before and in TLS");
}

#[test]
fn filter_chooses_its_macros_and_leaves_events_out() {
    let milter = FakeMilter::start();
    let (relay, _sink) = relay_with(&format!("smtpd_milters = [\"{}\"]\n", milter.directive()));
    milter.settle();
    let negotiation = Negotiation {
        version: 6,
        steps: Steps(
            Steps::NO_HELLO.0
                | Steps::SILENT_MAIL.0
                | Steps::SILENT_HEADERS.0
                | Steps::NO_BODY.0
                | Steps::LEADING_SPACE.0,
        ),
        macros: vec![
            (MacroStage::Mail, vec!["{client_port}".into(), "{no_such}".into()]),
            (MacroStage::Connect, Vec::new()),
        ],
        ..Negotiation::default()
    };
    milter.answer(move |command| match command {
        Command::Negotiate(_) => Some(say(&[Response::Negotiate(negotiation.clone())])),
        // An answer to what is not answered would be taken for that of the next event.
        Command::Mail(_) | Command::Header { .. } => Some(Answer::Silence),
        _ => None,
    });
    assert_eq!(crate::send(&relay, "A: 1\r\nB:2\r\n\r\nbody").code, 250);
    let told = words(&milter);
    let expected = [
        "OPTNEG",
        "CONNECT localhost 127.0.0.1",
        "MAIL <alice@example.org>",
        "RCPT <bob@example.net>",
        "DATA",
        "HEADER A| 1",
        "HEADER B|2",
        "EOH",
        "BODYEOB ",
    ];
    assert_eq!(told[..expected.len()], expected);
    let seen = milter.seen();
    let names: Vec<String> = macros(&seen, b'M').into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["{client_port}"]);
    assert_eq!(macros(&seen, b'C'), []);
}

pub type OfStage = (&'static str, fn(&Command) -> bool);

/// The stages, and which command of a filter's is theirs.
pub const STAGES: [OfStage; 9] = [
    ("connect", |command| matches!(command, Command::Connect { .. })),
    ("helo", |command| matches!(command, Command::Hello(_))),
    ("mail", |command| matches!(command, Command::Mail(_))),
    ("rcpt", |command| matches!(command, Command::Recipient(_))),
    ("data", |command| matches!(command, Command::Data)),
    ("header", |command| matches!(command, Command::Header { .. })),
    ("eoh", |command| matches!(command, Command::EndOfHeader)),
    ("body", |command| matches!(command, Command::Body(_))),
    ("eom", |command| matches!(command, Command::EndOfBody(_))),
];

/// The first reply that is no success on the way to the final dot, or the one to that.
fn outcome(relay: &Relay) -> (String, bool) {
    let mut client = Client::connect_silently(relay.address()).expect("connected");
    let mut said = client.read_reply().expect("a greeting");
    let body = "x".repeat(76).repeat(2);
    let data = format!("Subject: x\r\n\r\n{}\r\n.", format!("{body}\r\n").repeat(600));
    let lines = [
        "EHLO c.example.org",
        "MAIL FROM:<a@example.org>",
        "RCPT TO:<b@example.net>",
        "DATA",
        &data,
    ];
    for line in lines {
        if said.code >= 400 {
            break;
        }
        said = client.say(line).expect("a reply");
    }
    let text = said.text.lines().last().unwrap_or_default().to_owned();
    let closed = text.starts_with("421") && client.is_closed();
    (text, closed)
}

#[test]
fn every_verdict_at_every_stage_is_answered_as_it_says() {
    let milter = FakeMilter::start();
    let (relay, sink) = relay_with(&format!("smtpd_milters = [\"{}\"]\n", milter.directive()));
    let code = |text: &str| Response::ReplyCode(text.as_bytes().to_vec());
    let verdicts = [
        (Response::Reject, "550 5.7.1 Command rejected"),
        (
            Response::TemporaryFailure,
            "451 4.7.1 Service unavailable - try again later",
        ),
        (code("554-5.7.9 two\r\n554 5.7.9 lines, 100%%"), "554 5.7.9 lines, 100%"),
        (code("451 4.3.3 later"), "451 4.3.3 later"),
        (code("421 4.3.9 go away"), "421 4.3.9 go away"),
        (
            Response::Shutdown,
            "421 4.7.0 relay.example.org Server closing connection",
        ),
        (
            Response::ConnectionFailed,
            "421 4.7.0 relay.example.org Server closing connection",
        ),
        (Response::Accept, "250 2.0.0 Ok: queued as *"),
        (Response::Discard, "250 2.0.0 Ok: queued as *"),
    ];
    let mut queued = 0;
    for (stage, is_stage) in STAGES {
        for (verdict, reply) in &verdicts {
            let said = verdict.clone();
            milter.answer(move |command| is_stage(command).then(|| say(std::slice::from_ref(&said))));
            let (text, closed) = outcome(&relay);
            let misplaced = *verdict == Response::Discard && matches!(stage, "connect" | "helo");
            // DISCARD has no meaning there: the filter has failed.
            let reply = if misplaced { verdicts[1].1 } else { reply };
            let good = reply
                .strip_suffix('*')
                .map_or(text == reply, |start| text.starts_with(start));
            assert!(good, "{stage} {verdict:?}: {text}");
            assert_eq!(closed, reply.starts_with("421"), "{stage} {verdict:?}");
            queued += usize::from(*verdict == Response::Accept);
        }
    }
    wait_until("accepted ones are delivered", || sink.count() == queued);
    let log = relay.log_text();
    for event in [
        "filter.rejected",
        "message.rejected",
        "message.discarded",
        "milter.failed",
    ] {
        assert!(log.contains(&format!("\"{event}\"")), "{event}");
    }
    let discarded = relay.command(&["why"], &["--verdict", "discard", "--json"]);
    let text = String::from_utf8_lossy(&discarded.stdout).into_owned();
    assert!(
        text.contains("discarded") && text.contains("smtpd_milters") && text.contains(&milter.directive()),
        "{text}"
    );
    let rejected = relay.command(&["why"], &["--verdict", "reject"]);
    assert!(String::from_utf8_lossy(&rejected.stdout).contains("smtpd_milters"));
}

#[test]
fn accept_lets_the_rest_pass_unasked_and_skip_ends_the_body() {
    let milter = FakeMilter::start();
    let (relay, _sink) = relay_with(&format!("smtpd_milters = [\"{}\"]\n", milter.directive()));
    milter.settle();
    milter.answer(|command| matches!(command, Command::Hello(_)).then(|| say(&[Response::Accept])));
    assert_eq!(crate::send(&relay, "A: 1\r\n\r\nx").code, 250);
    assert_eq!(words(&milter).len(), 3, "{:?}", words(&milter));

    milter.answer(|command| matches!(command, Command::Mail(_)).then(|| say(&[Response::Accept])));
    let mut client = Client::connect(relay.address()).expect("connected");
    client.say("EHLO c.example.org").expect("EHLO");
    for _ in 0..2 {
        let reply = client
            .send("a@example.org", &["b@example.net"], "A: 1\r\n\r\nx")
            .expect("a reply");
        assert_eq!(reply.code, 250);
    }
    // The last ABORT is written behind the reply.
    wait_until("both transactions are over", || {
        let told = words(&milter).join(",");
        told.ends_with("MAIL <a@example.org>,ABORT,MAIL <a@example.org>,ABORT")
    });

    milter.answer(|command| match command {
        Command::Negotiate(_) => Some(say(&[agreement(Steps::SKIP)])),
        Command::Body(_) => Some(say(&[Response::Skip])),
        _ => None,
    });
    let (text, _) = outcome(&relay);
    assert!(text.starts_with("250"), "{text}");
    let told = words(&milter);
    assert_eq!(told.iter().filter(|word| word.starts_with("BODY ")).count(), 1);
    assert!(
        told.contains(&"BODYEOB ".to_owned()),
        "nothing of the body goes with its end"
    );
}

#[test]
fn filter_that_wants_to_is_told_of_refused_recipients() {
    let milter = FakeMilter::start();
    let directives = format!(
        "mynetworks = [\"192.0.2.0/24\"]\nrelay_domains = [\"example.net\"]\n\
         smtpd_recipient_restrictions = [\"permit_auth_destination\", \"reject\"]\nsmtpd_milters = [\"{}\"]\n",
        milter.directive()
    );
    let relay = Relay::start(&directives, 9);
    milter.answer(|command| match command {
        Command::Negotiate(_) => Some(say(&[agreement(Steps::REFUSED_RECIPIENTS)])),
        _ => None,
    });
    let mut client = Client::connect(relay.address()).expect("connected");
    client.say("EHLO c.example.org").expect("EHLO");
    let reply = client
        .send("a@example.org", &["b@elsewhere.example"], "x")
        .expect("a reply");
    assert_eq!(reply.code, 554, "{}", reply.text);
    wait_until("told", || {
        words(&milter).contains(&"RCPT <b@elsewhere.example>".to_owned())
    });
    let seen = milter.seen();
    assert_eq!(value(&seen, b'R', "{rcpt_mailer}").as_deref(), Some("error"));
    assert_eq!(value(&seen, b'R', "{rcpt_host}").as_deref(), Some("5.7.1"));
    let words = value(&seen, b'R', "{rcpt_addr}").expect("what was answered");
    assert!(words.contains("Relay access denied"), "{words}");
}

#[test]
fn clients_of_the_map_pass_unfiltered() {
    let milter = FakeMilter::start();
    let (relay, _sink) = relay_with(&format!(
        "smtpd_milters = [\"{}\"]\nsmtpd_milter_maps = {{ \"127.0.0.0/8\" = \"DISABLE\" }}\n",
        milter.directive()
    ));
    milter.answer(|_| Some(say(&[Response::Reject])));
    assert_eq!(crate::send(&relay, "A: 1\r\n\r\nx").code, 250);
    assert_eq!(words(&milter), Vec::<String>::new());
}
