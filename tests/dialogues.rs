//! Runs every dialogue in `tests/dialogues/*.smtp` against a [`Session`], whole and byte by byte.
//!
//! **Does not** open a socket; `dialogues_tcp.rs` runs the same files over TCP and TLS.

#[path = "dialogues/authentication.rs"]
mod authentication;
#[path = "dialogues/deadlines.rs"]
mod deadlines;
#[path = "dialogues/demands.rs"]
mod demands;
#[path = "dialogues/peers.rs"]
mod peers;
#[path = "dialogues/properties.rs"]
mod properties;
#[path = "dialogues/records.rs"]
mod records;
#[path = "dialogues/script.rs"]
mod script;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use estafette::mail::envelope::Envelope;
use estafette::mail::queue_id::QueueId;
use estafette::policy::chain::Chain;
use estafette::policy::client_rates::{ClientRates, RateLimits};
use estafette::policy::limits::Counters;
use estafette::policy::stage::Stage;
use estafette::session::event::Event;
use estafette::session::filter::FilterVerdict;
use estafette::session::{Action, QueueRefusal, Session};
use estafette::time::{Now, Timestamp};
use script::{Outside, Script, Step, matches, scripts};

/// How the client's octets arrive.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Whole,
    ByteByByte,
}

/// A driver whose world is what the script says.
struct Driver<'a> {
    outside: &'a Outside,
    session: Session,
    now: Now,
    chain: Arc<Chain>,
    counters: Counters,
    client_rates: ClientRates,
    rates: RateLimits,
    peer: IpAddr,
    /// How late replies came altogether.
    paused: Duration,
    queue: String,
    /// What content filters say at a stage, when it is not CONTINUE.
    filters: HashMap<Stage, FilterVerdict>,
    passwords: Vec<(String, String)>,
    draft: Option<Vec<Vec<u8>>>,
    message: Option<(Envelope, Vec<Vec<u8>>)>,
    said: Vec<u8>,
    events: Vec<Event>,
    awaits_tls: bool,
    is_closed: bool,
}

impl<'a> Driver<'a> {
    fn connect(script: &'a Script, address: std::net::IpAddr) -> Self {
        let now = Now {
            monotonic: Instant::now(),
            wall: Timestamp(1_795_510_800_000),
            utc_offset_seconds: 3600,
        };
        let mut client_rates = ClientRates::default();
        client_rates.set_unit(Duration::from_mins(1));
        let peer = SocketAddr::new(address, 40000);
        let session = Session::new(Arc::new(script.settings.clone()), peer, "s1".into(), now);
        let mut driver = Self {
            outside: &script.outside,
            session,
            now,
            chain: Arc::clone(&script.settings.chain),
            counters: Counters::default(),
            client_rates,
            rates: script.settings.defences.rates,
            peer: address,
            paused: Duration::ZERO,
            queue: "ok".into(),
            filters: HashMap::new(),
            passwords: script.passwords.clone(),
            draft: None,
            message: None,
            said: Vec::new(),
            events: Vec::new(),
            awaits_tls: false,
            is_closed: false,
        };
        if let Some((_, Step::Early(octets))) = script.steps.get(1) {
            driver.session.handle_early_bytes(octets, now);
        }
        driver.drive();
        driver
    }

    fn feed(&mut self, octets: &[u8], way: Way) {
        let pieces = match way {
            Way::Whole => octets.chunks(octets.len().max(1)),
            Way::ByteByByte => octets.chunks(1),
        };
        for piece in pieces {
            assert_eq!(
                self.session.poll_timeout().is_none(),
                self.is_closed,
                "an open session has a deadline"
            );
            let room = match self.queue.strip_prefix("room ") {
                Some(octets) => octets.parse().expect("a number"),
                None if self.queue == "full" => 0,
                None => u64::MAX,
            };
            self.session.handle_space(room);
            self.session.handle_bytes(piece, self.now);
            self.drive();
        }
    }

    fn drive(&mut self) {
        while let Some(action) = self.session.poll_action() {
            assert!(!self.is_closed, "nothing follows Close, but {action:?}");
            self.perform(action);
        }
        while let Some(event) = self.session.poll_event() {
            self.events.push(event);
        }
    }

    fn refusal(&self, stage: &str) -> Option<QueueRefusal> {
        match self.queue.strip_prefix(stage)? {
            "full" => Some(QueueRefusal::NoSpace),
            "failed" => Some(QueueRefusal::Failed),
            "closed" => Some(QueueRefusal::Closed),
            _ => None,
        }
    }

    fn perform(&mut self, action: Action) {
        let id = QueueId::from_parts(self.now.wall.0, 1);
        match action {
            Action::Send(octets) => self.said.extend(octets),
            Action::UpgradeTls => self.awaits_tls = true,
            Action::Charge(charge) => {
                let allowance = self.counters.charge(&charge, self.now.wall);
                self.session.handle_charged(allowance, self.now);
            }
            Action::Ask(question) => {
                let answer = self.outside.answer(&question);
                self.session.handle_answer(answer, self.now);
            }
            Action::Filter(consultation) => {
                let said = self.filters.get(&consultation.stage).cloned();
                let verdict = said.unwrap_or(FilterVerdict::Continue);
                self.session.handle_filtered(verdict, self.now);
            }
            Action::Authenticate(credentials) => {
                let verification = peers::verify(&self.passwords, *credentials);
                self.session.handle_authenticated(verification, self.now);
            }
            Action::TellFilters(_) => {}
            Action::OpenDraft => {
                assert!(self.draft.is_none(), "one draft at a time");
                let refusal = self.refusal("draft-");
                if refusal.is_none() {
                    self.draft = Some(Vec::new());
                }
                self.session.handle_draft(refusal.map_or(Ok(id), Err), self.now);
            }
            Action::Append(octets) => match self.refusal("append-") {
                Some(refusal) => self.session.handle_append_failed(refusal, self.now),
                None => self.draft.as_mut().expect("a draft to append to").push(octets),
            },
            Action::Commit(envelope) => {
                let draft = self.draft.take().expect("a draft to commit");
                let refusal = self.refusal("commit-");
                if refusal.is_none() {
                    self.message = Some((*envelope, draft));
                }
                self.session.handle_committed(refusal.map_or(Ok(id), Err), self.now);
            }
            Action::Pause(pause) => self.paused += pause,
            Action::Count(event) => {
                let rates = &self.rates;
                let peer = rates.network(self.peer);
                let exceeded = self.client_rates.count(peer, event, rates, self.now.wall);
                self.session.handle_counted(exceeded, self.now);
            }
            Action::Discard => drop(self.draft.take()),
            Action::Close => {
                assert!(self.draft.is_none(), "no draft is left open");
                self.is_closed = true;
            }
        }
    }

    fn next_line(&mut self) -> Option<String> {
        let end = self.said.windows(2).position(|two| two == b"\r\n")? + 2;
        let line: Vec<u8> = self.said.drain(..end).collect();
        Some(String::from_utf8_lossy(&line[..end - 2]).into_owned())
    }

    fn step(&mut self, step: &Step, way: Way, place: &str) {
        match step {
            Step::Connect(_) => unreachable!("connect comes first, once"),
            Step::Server(pattern) => {
                let line = self.next_line();
                let good = line.as_deref().is_some_and(|line| matches(pattern, line));
                assert!(good, "{place}: expected {pattern:?}, the server said {line:?}");
            }
            // It was said before anything else.
            Step::Early(_) => {}
            Step::Client(octets) => self.feed(octets, way),
            Step::Tls(name) => {
                assert!(
                    std::mem::take(&mut self.awaits_tls),
                    "{place}: no handshake was asked for"
                );
                assert!(!self.session.wants_bytes(), "{place}: octets wanted before TLS");
                self.session
                    .handle_tls(peers::identity(name), peers::tls(name), self.now);
            }
            Step::Judged(name) => self
                .session
                .handle_identity(peers::identity(name), Arc::clone(&self.chain)),
            Step::Queue(mode) => mode.clone_into(&mut self.queue),
            Step::Filter(stage, verdict) => {
                self.filters.insert(*stage, verdict.clone());
            }
            Step::Timeout => {
                self.now.monotonic = self.session.poll_timeout().expect("a deadline");
                self.session.handle_timeout(self.now);
            }
            Step::Eof => self.session.handle_eof(self.now),
            Step::Shutdown => self.session.handle_shutdown(self.now),
            Step::Closed => assert!(self.is_closed, "{place}: the session is still open"),
            Step::Paused(expected) => assert_eq!(std::mem::take(&mut self.paused), *expected, "{place}"),
            Step::Queued(_)
            | Step::Trace(_)
            | Step::Envelope(_)
            | Step::Demands(_)
            | Step::Held(_)
            | Step::NothingQueued => self.check_queue(step, place),
        }
        self.drive();
    }

    fn check_queue(&mut self, step: &Step, place: &str) {
        let message = self.message.as_ref();
        let message = || message.unwrap_or_else(|| panic!("{place}: nothing was queued"));
        match step {
            Step::Queued(content) => {
                let (expected, queued) = (String::from_utf8_lossy(content), message().1[1..].concat());
                assert_eq!(String::from_utf8_lossy(&queued), expected, "{place}");
                assert!(message().1.iter().all(|piece| piece.len() <= 65536), "{place}");
                self.message = None;
            }
            Step::Trace(pattern) => {
                let header = String::from_utf8_lossy(&message().1[0]).into_owned();
                assert!(matches(pattern, &header), "{place}: the header is {header:?}");
            }
            Step::Envelope(expected) => {
                let envelope = &message().0;
                let mut words = vec![format!("<{}>", envelope.reverse_path)];
                words.extend(envelope.forward_paths.iter().map(|path| format!("<{path}>")));
                words.push(format!("by {}", envelope.submitter.decided_by));
                let text = words.join(" ");
                assert_eq!(&text, expected, "{place}");
            }
            Step::Demands(expected) => assert_eq!(&demands::words_of(&message().0.demands), expected, "{place}"),
            Step::Held(pattern) => {
                let hold = message().0.hold.as_deref();
                assert!(
                    hold.is_some_and(|hold| matches(pattern, hold)),
                    "{place}: on hold for {hold:?}"
                );
            }
            _ => assert!(self.message.is_none(), "{place}: a message was queued"),
        }
    }
}

fn run(script: &Script, way: Way) -> Vec<Event> {
    let (_, Step::Connect(address)) = &script.steps[0] else {
        panic!("{}: the first step connects", script.name);
    };
    let mut driver = Driver::connect(script, *address);
    for (number, step) in &script.steps[1..] {
        let place = format!("{}:{number} ({way:?})", script.name);
        if !matches!(step, Step::Server(_) | Step::Early(_)) {
            let left = String::from_utf8_lossy(&driver.said).into_owned();
            assert_eq!(left, "", "{place}: the server said more");
        }
        driver.step(step, way, &place);
    }
    assert_eq!(
        String::from_utf8_lossy(&driver.said),
        "",
        "{}: the server said more",
        script.name
    );
    assert!(
        driver.message.is_none(),
        "{}: a message was queued that no line asks for",
        script.name
    );
    driver.events
}

#[test]
fn dialogues_run_whole_and_byte_by_byte_alike() {
    let scripts = scripts();
    assert!(scripts.len() >= 25, "only {} dialogues", scripts.len());
    for script in scripts.iter().filter(|script| script.is_whole) {
        let _ = run(script, Way::Whole);
    }
    for script in scripts.iter().filter(|script| !script.is_whole) {
        assert_eq!(
            run(script, Way::Whole),
            run(script, Way::ByteByByte),
            "{}: the events differ",
            script.name
        );
    }
}
