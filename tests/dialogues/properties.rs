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
        "BDAT 3\r\n",
        "BDAT 9\r\n",
        "BDAT 0\r\n",
        "BDAT 5 LAST\r\n",
        "BDAT 0 LAST\r\n",
        "BDAT 400\r\n",
        "BDAT x\r\n",
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
    let opening = "EHLO a\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\n";
    let first = proptest::sample::select(vec!["DATA\r\n", "BDAT 7\r\n", "BDAT 30 LAST\r\n", ""]);
    (first, proptest::collection::vec(word, 0..40))
        .prop_map(move |(first, words)| [opening.as_bytes(), first.as_bytes(), &words.concat()].concat())
}

/// A message cut into chunks, each in its BDAT.
fn chunks(content: &[u8], sizes: &[usize]) -> Vec<u8> {
    let mut speech = b"EHLO a\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\n".to_vec();
    let mut rest = content;
    for size in sizes {
        let (chunk, tail) = rest.split_at((*size).min(rest.len()));
        speech.extend(format!("BDAT {}\r\n", chunk.len()).as_bytes());
        speech.extend(chunk);
        rest = tail;
    }
    speech.extend(format!("BDAT {} LAST\r\n", rest.len()).as_bytes());
    speech.extend(rest);
    speech
}

/// What reaches the queue behind the trace header.
fn queued(octets: &[u8], piece: usize) -> Vec<u8> {
    let (actions, _) = run(octets, piece, "normalize");
    assert!(actions.iter().any(|action| matches!(action, Action::Commit(_))));
    let appended = actions.into_iter().filter_map(|action| match action {
        Action::Append(octets) => Some(octets),
        _ => None,
    });
    appended.skip(1).flatten().collect()
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
    fn message_does_not_depend_on_its_chunks(
        content in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), any::<u8>()], 0..60),
        sizes in proptest::collection::vec(0..20_usize, 0..6),
        piece in 1..50_usize
    ) {
        prop_assert_eq!(queued(&chunks(&content, &sizes), piece), queued(&chunks(&content, &[]), 4096));
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
