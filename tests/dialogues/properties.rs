//! What holds for every client, however it speaks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use estafette::mail::queue_id::QueueId;
use estafette::policy::limits::Counters;
use estafette::session::{Action, Session};
use estafette::time::{Now, Timestamp};
use proptest::prelude::*;

use crate::script::Script;

/// All that a session does with the octets, cut into pieces of this size.
fn run(octets: &[u8], piece: usize, bare_newline: &str) -> (Vec<Action>, Vec<String>) {
    let text = format!("set bare_newline {bare_newline}\nset errors_max 8\nchain permit");
    let settings = Script::parse("property", &text).settings;
    let now = Now {
        monotonic: Instant::now(),
        wall: Timestamp(1_795_510_800_000),
        utc_offset_seconds: 0,
    };
    let peer = SocketAddr::from(([192, 0, 2, 10], 40000));
    let session = Session::new(Arc::new(settings), peer, "s1".into(), now);
    feed(session, octets, piece, now)
}

/// The same in the TLS of alice, under a rule that binds the From header and limits her.
fn run_in_tls(octets: &[u8], piece: usize) -> (Vec<Action>, Vec<String>) {
    let text = "rule people sender_domain=example.org from_header messages=3 on_exceed=hold octets=60 on_exceed=defer\n\
                set tls implicit\nset errors_max 8\nchain people reject";
    let settings = Script::parse("property", text).settings;
    let now = Now {
        monotonic: Instant::now(),
        wall: Timestamp(1_795_510_800_000),
        utc_offset_seconds: 0,
    };
    let peer = SocketAddr::from(([192, 0, 2, 10], 40000));
    let mut session = Session::new(Arc::new(settings), peer, "s1".into(), now);
    session.handle_tls(crate::peers::identity("alice"), crate::peers::tls("alice"), now);
    feed(session, octets, piece, now)
}

fn feed(mut session: Session, octets: &[u8], piece: usize, now: Now) -> (Vec<Action>, Vec<String>) {
    let mut actions = Vec::new();
    let mut counters = Counters::default();
    let id = QueueId::from_parts(now.wall.0, 1);
    for piece in std::iter::once(&[][..]).chain(octets.chunks(piece)) {
        session.handle_bytes(piece, now);
        while let Some(action) = session.poll_action() {
            match action {
                Action::OpenDraft => session.handle_draft(Ok(id), now),
                Action::Charge(ref charge) => session.handle_charged(counters.charge(charge, now.wall), now),
                Action::Commit(_) => session.handle_committed(Ok(id), now),
                _ => {}
            }
            actions.push(action);
        }
    }
    session.handle_eof(now);
    actions.extend(std::iter::from_fn(|| session.poll_action()));
    let events = std::iter::from_fn(|| session.poll_event()).map(|event| format!("{event:?}"));
    (actions, events.collect())
}

/// Commands, near-commands and pieces of mail data.
fn speech() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "EHLO a\r\n",
        "MAIL FROM:<a@example.org>\r\n",
        "RCPT TO:<b@example.net>\r\n",
        "DATA\r\n",
        "\r\n.\r\n",
        ".\r\n",
        "\n.\n",
        "\r.\r",
        "..",
        "RSET\r\n",
        "NOOP\n",
        "STARTTLS\r\n",
        "AUTH EXTERNAL\r\n",
        "AUTH EXTERNAL =\r\n",
        "=\r\n",
        "*\r\n",
        "From: a@example.org\r\n",
        "From: b@example.net\r\n",
        "\0",
        "x",
    ];
    let word = prop_oneof![
        8 => proptest::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..8),
    ];
    let opening = b"EHLO a\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n".to_vec();
    proptest::collection::vec(word, 0..40).prop_map(move |words| {
        let mut speech = opening.clone();
        speech.extend(words.concat());
        speech
    })
}

proptest! {
    #[test]
    fn session_does_the_same_however_octets_are_cut(
        octets in speech(), piece in 1..50_usize, bare in proptest::sample::select(vec!["normalize", "note", "reject"])
    ) {
        let whole = run(&octets, octets.len().max(1), bare);
        prop_assert_eq!(&whole, &run(&octets, piece, bare));
        prop_assert_eq!(&whole, &run(&octets, 1, bare));
    }

    #[test]
    fn session_with_a_certificate_does_the_same_however_octets_are_cut(octets in speech(), piece in 1..50_usize) {
        let whole = run_in_tls(&octets, octets.len().max(1));
        prop_assert_eq!(&whole, &run_in_tls(&octets, piece));
        prop_assert_eq!(&whole, &run_in_tls(&octets, 1));
    }

    #[test]
    fn every_session_ends_with_one_close_and_no_open_draft(octets in speech()) {
        let (actions, _) = run(&octets, 7, "reject");
        prop_assert_eq!(actions.iter().filter(|action| **action == Action::Close).count(), 1);
        prop_assert_eq!(actions.last(), Some(&Action::Close));
        let count = |wanted: fn(&Action) -> bool| actions.iter().filter(|action| wanted(action)).count();
        let drafts = count(|action| matches!(action, Action::OpenDraft));
        let ends = count(|action| matches!(action, Action::Commit(_) | Action::Discard));
        prop_assert_eq!(drafts, ends);
    }

    #[test]
    fn arbitrary_octets_never_break_a_session(octets in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (actions, _) = run(&octets, 13, "normalize");
        prop_assert_eq!(actions.last(), Some(&Action::Close));
    }
}
