//! Deadlines of a session (RFC 5321 section 4.5.3.2), and what it asks of its driver besides words.

use std::sync::Arc;
use std::time::{Duration, Instant};

use estafette::cert::identity::Identity;
use estafette::mail::queue_id::QueueId;
use estafette::net::CidrSet;
use estafette::policy::limits::{Allowance, Amount};
use estafette::session::event::{CloseReason, Event};
use estafette::session::settings::TlsOffer;
use estafette::session::{Action, QueueRefusal, Session, UNREAD_OCTETS_MAX};
use estafette::time::{Now, Timestamp};

use crate::script::{Script, default_settings};

const OPENING: &str = "EHLO a\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n";

/// A session of a peer that may relay, and a clock.
struct Bench {
    session: Session,
    now: Now,
}

impl Bench {
    fn new(timeout: Duration, tls: TlsOffer) -> Self {
        let mut settings = default_settings();
        settings.chain = Script::parse("permit", "chain permit").settings.chain;
        settings.timeout = timeout;
        settings.tls = tls;
        settings.starttls_timeout = Duration::from_secs(77);
        settings.bare_newline_exclusions = CidrSet::default();
        let now = Now {
            monotonic: Instant::now(),
            wall: Timestamp(1_795_510_800_000),
            utc_offset_seconds: 0,
        };
        let peer = "192.0.2.10:40000".parse().expect("an address");
        let session = Session::new(Arc::new(settings), peer, "s1".into(), now);
        Self { session, now }
    }

    fn patient() -> Self {
        Self::new(Duration::from_hours(1), TlsOffer::May)
    }

    /// In the TLS of alice, whose messages and octets a rule limits.
    fn limited() -> Self {
        let mut bench = Self::patient();
        let text = "rule people octets=10 on_exceed=hold\nset tls implicit\nchain people reject";
        let settings = Script::parse("limited", text).settings;
        let peer = "192.0.2.10:40000".parse().expect("an address");
        bench.session = Session::new(Arc::new(settings), peer, "s1".into(), bench.now);
        let alice = crate::peers::identity("alice");
        bench.session.handle_tls(alice, crate::peers::tls("alice"), bench.now);
        bench.say(OPENING);
        bench
    }

    fn sleep(&mut self, seconds: u64) {
        self.now.monotonic += Duration::from_secs(seconds);
    }

    fn say(&mut self, octets: impl AsRef<[u8]>) {
        self.session.handle_bytes(octets.as_ref(), self.now);
    }

    fn seconds_left(&self) -> Option<u64> {
        let deadline = self.session.poll_timeout()?;
        Some(deadline.saturating_duration_since(self.now.monotonic).as_secs())
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.session.poll_action()).collect()
    }

    fn last_event(&mut self) -> Option<Event> {
        std::iter::from_fn(|| self.session.poll_event()).last()
    }

    /// Up to the first octet of mail data.
    fn in_data() -> Self {
        let mut bench = Self::patient();
        bench.say(OPENING);
        bench.session.handle_draft(Ok(id()), bench.now);
        bench.actions();
        bench
    }
}

fn id() -> QueueId {
    QueueId::from_parts(1_795_510_800_000, 1)
}

#[test]
fn command_deadline_is_not_moved_by_single_octets() {
    let mut bench = Bench::patient();
    assert_eq!(bench.seconds_left(), Some(300));
    for octet in b"NOOP" {
        bench.sleep(60);
        bench.say([*octet]);
    }
    assert_eq!(bench.seconds_left(), Some(60));
    bench.say("\r\n");
    assert_eq!(bench.seconds_left(), Some(300));
}

#[test]
fn every_wait_has_its_own_deadline() {
    let mut bench = Bench::patient();
    bench.say(OPENING);
    assert_eq!(bench.seconds_left(), Some(120), "DATA initiation");
    bench.session.handle_draft(Ok(id()), bench.now);
    assert_eq!(bench.seconds_left(), Some(180), "data block");
    bench.say(".\r\n");
    assert_eq!(bench.seconds_left(), Some(600), "data termination");
    bench.session.handle_committed(Ok(id()), bench.now);
    assert_eq!(bench.seconds_left(), Some(300), "command");
    bench.say("STARTTLS\r\n");
    assert_eq!(bench.seconds_left(), Some(77), "handshake");
    bench
        .session
        .handle_tls(Identity::NoCertificate, crate::peers::tls("none"), bench.now);
    assert_eq!(bench.seconds_left(), Some(300), "command in TLS");
    bench.say("QUIT\r\n");
    assert_eq!(bench.seconds_left(), None, "closed");
}

#[test]
fn deadlines_are_bounded_by_smtpd_timeout() {
    let mut bench = Bench::new(Duration::from_secs(30), TlsOffer::May);
    assert_eq!(bench.seconds_left(), Some(30));
    bench.say(OPENING);
    bench.session.handle_draft(Ok(id()), bench.now);
    assert_eq!(bench.seconds_left(), Some(30));
}

#[test]
fn data_deadline_moves_as_fast_as_the_least_data_rate() {
    let mut bench = Bench::in_data();
    bench.sleep(100);
    bench.say("x");
    assert_eq!(bench.seconds_left(), Some(80));
    bench.say("x".repeat(5_000));
    assert_eq!(bench.seconds_left(), Some(90), "500 octets a second");
    bench.say("x".repeat(500_000));
    assert_eq!(bench.seconds_left(), Some(180), "never more than one read may take");
}

#[test]
fn implicit_tls_begins_with_the_handshake() {
    let mut bench = Bench::new(Duration::from_hours(1), TlsOffer::Implicit);
    assert_eq!(bench.actions(), [Action::UpgradeTls]);
    assert!(!bench.session.wants_bytes());
    assert_eq!(bench.seconds_left(), Some(77));
    bench.session.handle_eof(bench.now);
    assert_eq!(bench.actions(), [Action::Close]);
}

#[test]
fn octets_are_not_wanted_while_the_queue_is_asked() {
    let mut bench = Bench::patient();
    assert!(bench.session.wants_bytes());
    bench.say(OPENING);
    assert!(!bench.session.wants_bytes());
    bench.session.handle_draft(Ok(id()), bench.now);
    assert!(bench.session.wants_bytes());
    bench.say("x\r\n.\r\nNOOP\r\n");
    assert!(!bench.session.wants_bytes());
    bench.actions();
    bench.session.handle_committed(Ok(id()), bench.now);
    assert!(bench.session.wants_bytes());
    let replies = bench.actions();
    assert!(matches!(replies.as_slice(), [Action::Send(queued), Action::Send(noop)]
        if queued.starts_with(b"250 2.0.0 Ok: queued as ") && noop == b"250 2.0.0 Ok\r\n"));
}

#[test]
fn octets_are_not_wanted_while_the_holder_is_charged() {
    let mut bench = Bench::limited();
    assert!(!bench.session.wants_bytes());
    assert_eq!(bench.seconds_left(), Some(120), "DATA initiation");
    let Some(Action::Charge(charge)) = bench.actions().pop() else {
        panic!("nothing is charged");
    };
    let opening = Amount {
        messages: 1,
        recipients: 1,
        octets: 0,
    };
    assert_eq!((charge.amount, charge.limits.len()), (opening, 1));
    bench.session.handle_charged(Allowance::Within, bench.now);
    assert_eq!(bench.actions(), [Action::OpenDraft]);
    bench.session.handle_draft(Ok(id()), bench.now);
    bench.say("x\r\n.\r\nNOOP\r\n");
    assert!(!bench.session.wants_bytes());
    assert_eq!(
        bench.seconds_left(),
        Some(300),
        "data termination, bounded by smtpd_timeout"
    );
    let Some(Action::Charge(charge)) = bench.actions().pop() else {
        panic!("no octets are charged");
    };
    let octets = Amount {
        octets: 3,
        ..Amount::default()
    };
    assert_eq!(charge.amount, octets);
    bench.session.handle_charged(Allowance::Within, bench.now);
    assert!(matches!(bench.actions().as_slice(), [Action::Commit(_)]));
}

#[test]
fn session_that_ends_while_the_holder_is_charged_leaves_no_draft() {
    let mut bench = Bench::limited();
    bench.actions();
    bench.session.handle_eof(bench.now);
    assert_eq!(bench.actions(), [Action::Close]);

    let mut bench = Bench::limited();
    bench.session.handle_charged(Allowance::Within, bench.now);
    bench.session.handle_draft(Ok(id()), bench.now);
    bench.say("x\r\n.\r\n");
    bench.actions();
    bench.session.handle_timeout(bench.now);
    let goodbye = Action::Send(b"421 4.4.2 relay.example Error: timeout exceeded\r\n".to_vec());
    assert_eq!(bench.actions(), [goodbye, Action::Discard, Action::Close]);
    bench.session.handle_charged(Allowance::Within, bench.now);
    assert_eq!(bench.actions(), []);
}

#[test]
fn append_failure_withdraws_the_charge_already_asked_for() {
    let mut bench = Bench::limited();
    bench.session.handle_charged(Allowance::Within, bench.now);
    bench.session.handle_draft(Ok(id()), bench.now);
    bench.actions();
    bench.say("x\r\n.\r\n");
    assert!(matches!(bench.session.poll_action(), Some(Action::Append(_))));
    bench.session.handle_append_failed(QueueRefusal::NoSpace, bench.now);
    let refusal = Action::Send(b"452 4.3.1 Insufficient system storage\r\n".to_vec());
    assert_eq!(bench.actions(), [Action::Discard, refusal]);
}

#[test]
fn append_failure_withdraws_the_commit_already_asked_for() {
    let mut bench = Bench::in_data();
    bench.say("x\r\n.\r\n");
    assert!(matches!(bench.session.poll_action(), Some(Action::Append(_))));
    bench.session.handle_append_failed(QueueRefusal::NoSpace, bench.now);
    let refusal = Action::Send(b"452 4.3.1 Insufficient system storage\r\n".to_vec());
    assert_eq!(bench.actions(), [Action::Discard, refusal]);
    assert!(bench.session.wants_bytes());
}

#[test]
fn eof_while_committing_still_records_the_message() {
    let mut bench = Bench::in_data();
    bench.say("x\r\n.\r\n");
    bench.actions();
    bench.session.handle_eof(bench.now);
    assert_eq!(bench.actions(), []);
    bench.session.handle_committed(Ok(id()), bench.now);
    assert_eq!(bench.actions(), [Action::Close]);
    let last = bench.last_event();
    assert!(
        matches!(
            last,
            Some(Event::SessionClosed {
                because: CloseReason::Lost,
                messages_queued: 1,
                ..
            })
        ),
        "{last:?}"
    );
}

#[test]
fn timeout_while_committing_says_421_and_closes_once_the_queue_has_answered() {
    let mut bench = Bench::in_data();
    bench.say("x\r\n.\r\n");
    bench.actions();
    bench.session.handle_timeout(bench.now);
    let goodbye = Action::Send(b"421 4.4.2 relay.example Error: timeout exceeded\r\n".to_vec());
    assert_eq!(bench.actions(), [goodbye]);
    assert_eq!(bench.seconds_left(), None);
    bench.session.handle_committed(Ok(id()), bench.now);
    assert_eq!(bench.actions(), [Action::Close]);
}

#[test]
fn mail_data_is_handed_on_in_pieces_and_not_kept() {
    let mut bench = Bench::in_data();
    for _ in 0..100 {
        bench.say([b'x'; 10_000]);
    }
    let pieces: Vec<usize> = bench
        .actions()
        .iter()
        .map(|action| match action {
            Action::Append(octets) => octets.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(pieces.iter().all(|octets| *octets <= 65_536));
    assert!(pieces.iter().sum::<usize>() > 1_000_000 - 65_536);
}

#[test]
fn driver_that_reads_on_while_unwanted_meets_a_bound() {
    let mut bench = Bench::patient();
    bench.say(OPENING);
    bench.actions();
    bench.say(vec![b'x'; UNREAD_OCTETS_MAX]);
    assert_eq!(bench.actions(), []);
    bench.say("x");
    assert_eq!(bench.actions(), [Action::Discard, Action::Close]);
}
