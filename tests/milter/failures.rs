//! Filters that fail, and what `milter_default_action` makes of the mail then.

use std::time::{Duration, Instant};

use estafette::wire::milter::command::Command;
use estafette::wire::milter::options::{Actions, Negotiation, Steps};
use estafette::wire::milter::response::{Change, Response};

use crate::common::client::Client;
use crate::common::{free_port, wait_until};
use crate::fake::{Answer, FakeMilter, agreement, say};
use crate::verdicts::STAGES;
use crate::{delivered, relay_with, send};

/// What is answered to a message whose filter cannot be reached.
const ACTIONS: [(&str, &str); 4] = [
    ("accept", "250 2.0.0 Ok: queued"),
    ("reject", "550 5.5.0 Service unavailable"),
    ("tempfail", "451 4.7.1 Service unavailable - try again later"),
    ("quarantine", "250 2.0.0 Ok: queued"),
];

/// The first reply that is no success, or the one to the final dot.
fn outcome(relay: &crate::common::Relay) -> String {
    let mut client = Client::connect_silently(relay.address()).expect("connected");
    let mut said = client.read_reply().expect("a greeting");
    for line in [
        "EHLO c",
        "MAIL FROM:<a@example.org>",
        "RCPT TO:<b@example.net>",
        "DATA",
        "A: 1\r\n\r\nx\r\n.",
    ] {
        if said.code >= 400 {
            break;
        }
        said = client.say(line).expect("a reply");
    }
    said.text
}

#[test]
fn filter_that_cannot_be_reached_leads_to_the_default_action() {
    let port = free_port();
    for (action, reply) in ACTIONS {
        let milters = format!("smtpd_milters = [\"inet:127.0.0.1:{port}\"]\nmilter_default_action = \"{action}\"\n");
        let (relay, sink) = relay_with(&milters);
        let text = outcome(&relay);
        assert!(text.starts_with(reply), "{action}: {text}");
        wait_until("milter.failed", || {
            let log = relay.log_text();
            log.contains("milter.failed") && log.contains(&format!("inet:127.0.0.1:{port}"))
        });
        match action {
            "accept" => wait_until("delivered", || sink.count() == 1),
            "quarantine" => assert!(relay.queued()[0].to_string().contains("cannot be reached")),
            _ => {}
        }
    }
    let own = "smtpd_milters = [{ address = \"unix:no-such-socket\", default_action = \"shutdown\" }]\n";
    let (relay, _sink) = relay_with(own);
    let text = outcome(&relay);
    assert!(
        text.starts_with("421 4.7.0 relay.example.org Server closing connection"),
        "{text}"
    );
}

#[test]
fn garbage_is_a_failure_and_never_a_permit() {
    let milter = FakeMilter::start();
    let (relay, sink) = relay_with(&format!("smtpd_milters = [\"{}\"]\n", milter.directive()));
    let answers: [(&str, Answer); 13] = [
        ("an empty packet", Answer::Say(vec![0, 0, 0, 0])),
        (
            "a packet of 4294967295 octets",
            Answer::Say(vec![255, 255, 255, 255, b'c']),
        ),
        ("an unknown packet 0x7a", Answer::Say(vec![0, 0, 0, 1, b'z'])),
        ("a malformed packet 'c'", Answer::Say(vec![0, 0, 0, 2, b'c', 0])),
        ("closed the connection", Answer::Close),
        ("says OPTNEG out of place", say(&[agreement(Steps::default())])),
        ("says SKIP out of place", say(&[Response::Skip])),
        // It would be taken for that to the next command.
        (
            "says a second answer out of place",
            say(&[Response::Continue, Response::Continue]),
        ),
        (
            "gives a malformed reply",
            say(&[Response::ReplyCode(b"250 2.0.0 fine".to_vec())]),
        ),
        (
            "says a change out of place",
            say(&[Response::Change(Change::Quarantine("x".into()))]),
        ),
        ("malformed packet 'h'", Answer::Say(vec![0, 0, 0, 3, b'h', b'a', b'b'])),
        ("malformed packet 'm'", Answer::Say(vec![0, 0, 0, 3, b'm', 0, 0])),
        ("malformed packet '+'", Answer::Say(vec![0, 0, 0, 2, b'+', 255])),
    ];
    for (why, answer) in answers {
        let answer = answer.clone();
        milter.answer(move |command| matches!(command, Command::Recipient(_)).then(|| answer.clone()));
        let text = outcome(&relay);
        assert!(text.starts_with("451 4.7.1 Service unavailable"), "{why}: {text}");
        wait_until(why, || relay.log_text().contains(why));
    }
    assert_eq!(sink.count(), 0);
}

#[test]
fn bad_negotiations_are_failures() {
    let milter = FakeMilter::start();
    let (relay, _sink) = relay_with(&format!("smtpd_milters = [\"{}\"]\n", milter.directive()));
    let negotiation = |version, actions, steps| {
        say(&[Response::Negotiate(Negotiation {
            version,
            actions: Actions(actions),
            steps: Steps(steps),
            macros: Vec::new(),
        })])
    };
    let answers = [
        ("speaks protocol version 7", negotiation(7, 0, 0)),
        ("speaks protocol version 1", negotiation(1, 0, 0)),
        ("wants actions 0x200", negotiation(6, 0x200, 0)),
        ("wants protocol steps 0x20000000", negotiation(6, 0, 0x2000_0000)),
        ("says CONTINUE out of place", say(&[Response::Continue])),
        ("closed the connection", Answer::Close),
    ];
    for (why, answer) in answers {
        milter.answer(move |command| matches!(command, Command::Negotiate(_)).then(|| answer.clone()));
        let text = outcome(&relay);
        assert!(text.starts_with("451 4.7.1"), "{why}: {text}");
        wait_until(why, || relay.log_text().contains(why));
    }
    for version in 2..=6 {
        let answer = negotiation(version, 0, 0);
        milter.answer(move |command| matches!(command, Command::Negotiate(_)).then(|| answer.clone()));
        let text = outcome(&relay);
        assert!(text.starts_with("250"), "version {version}: {text}");
    }
}

#[test]
fn changes_not_negotiated_or_malformed_are_failures_and_change_nothing() {
    let milter = FakeMilter::start();
    let accept = "milter_default_action = \"accept\"\n";
    let (relay, sink) = relay_with(&format!("smtpd_milters = [\"{}\"]\n{accept}", milter.directive()));
    let header = |name: &str| Change::AddHeader {
        name: name.into(),
        value: "x".into(),
    };
    let cases = [
        ("ADDHEADER, which it did not negotiate", 0, header("X-A")),
        ("a header field without a name", 0x1ff, header("")),
        ("a malformed address", 0x1ff, Change::DeleteRecipient("a b".into())),
        (
            "a malformed parameter",
            0x1ff,
            Change::AddRecipient {
                path: "a@b.example".into(),
                parameters: Some("SIZE=1".into()),
            },
        ),
    ];
    for (number, (why, actions, change)) in cases.into_iter().enumerate() {
        let negotiation = Negotiation {
            version: 6,
            actions: Actions(actions),
            ..Negotiation::default()
        };
        milter.answer(move |command| match command {
            Command::Negotiate(_) => Some(say(&[Response::Negotiate(negotiation.clone())])),
            Command::EndOfBody(_) => Some(say(&[
                Response::Change(header("X-Good")),
                Response::Change(change.clone()),
                Response::Continue,
            ])),
            _ => None,
        });
        assert_eq!(send(&relay, "Subject: 1\r\n\r\nx").code, 250, "{why}");
        wait_until(why, || relay.log_text().contains(why));
        assert!(!delivered(&sink, number).contains("X-Good"), "{why}");
    }
}

#[test]
fn silence_and_endless_progress_end_at_the_time_limits() {
    let milter = FakeMilter::start();
    let (relay, sink) = relay_with(&format!(
        "smtpd_milters = [{{ address = \"{}\", command_timeout = \"1s\", content_timeout = \"2s\" }}]\n",
        milter.directive()
    ));
    let is_mail: fn(&Command) -> bool = |command| matches!(command, Command::Mail(_));
    let is_end: fn(&Command) -> bool = |command| matches!(command, Command::EndOfBody(_));
    for (is_stage, answer, why) in [
        (is_mail, Answer::Silence, "no verdict within 1 s"),
        (is_mail, Answer::EndlessProgress, "no verdict within 2 s"),
        (is_end, Answer::Silence, "no verdict within 2 s"),
        (is_end, Answer::EndlessProgress, "no verdict within 2 s"),
    ] {
        milter.answer(move |command| is_stage(command).then(|| answer.clone()));
        let begun = Instant::now();
        let text = outcome(&relay);
        assert!(text.starts_with("451 4.7.1"), "{why}: {text}");
        assert!(begun.elapsed() < Duration::from_secs(15), "{why}");
        wait_until(why, || relay.log_text().contains(why));
    }
    assert_eq!(sink.count(), 0);
}

#[test]
fn filter_that_dies_at_any_stage_defers_the_message() {
    let milter = FakeMilter::start();
    let (relay, sink) = relay_with(&format!("smtpd_milters = [\"{}\"]\n", milter.directive()));
    for (stage, is_stage) in STAGES {
        milter.answer(move |command| is_stage(command).then_some(Answer::Close));
        let text = outcome(&relay);
        assert!(text.starts_with("451 4.7.1 Service unavailable"), "{stage}: {text}");
    }
    assert_eq!(sink.count(), 0);
}
