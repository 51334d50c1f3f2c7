//! Runs the dialogues in `tests/dialogues/*.smtp` over TCP and TLS: a real listener, `io::inbound`, handshakes with
//! the certificates of `certs-example`, the embedded store.
//!
//! **Does not** run what [`LEFT_OUT`] names; `dialogues.rs` does.

mod common;
#[path = "milter/fake.rs"]
#[allow(dead_code, reason = "the tests on milters use the rest of it")]
mod fake;
#[path = "dialogues/moody_store.rs"]
mod moody_store;
#[path = "common/name_server.rs"]
mod name_server;
#[path = "dialogues/script.rs"]
mod script;
#[path = "dialogues/surroundings.rs"]
mod surroundings;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use common::client::Client;
use estafette::io::authenticator::{Authenticator, PasswordService};
use estafette::io::clock;
use estafette::io::dovecot_auth::{DovecotAuth, Endpoint};
use estafette::io::inbound::{Inbound, QUEUE_TIME_MAX, serve};
use estafette::io::password_file::{self, PasswordFile};
use estafette::io::store::{OpenOptions, SqliteStore};
use estafette::io::tls::server::ServerTls;
use estafette::io::tls::settings::{RevocationSettings, ServerTlsFiles};
use estafette::mail::queue_id::QueueId;
use estafette::outbound::settings::{ConnectionReuse, OutboundSettings, TlsLevel};
use estafette::policy::login_failures::FailureLimits;
use estafette::queue::Store;
use estafette::queue::entry::Entry;
use estafette::queue::settings::QueueSettings;
use estafette::session::settings::SessionSettings;
use moody_store::MoodyStore;
use script::{Script, Step, matches, scripts};
use surroundings::Surroundings;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Dialogues that do not run over TCP, and why.
const LEFT_OUT: &[(&str, &str)] = &[(
    "refused_revoked.smtp",
    "certs-example has no keys of its authorities, so that no revocation list can be signed: tests/certificates has a PKI",
)];

/// The time limit of a dialogue in which one passes; long enough for the steps before on a busy machine.
const SHORT: Duration = Duration::from_secs(2);

/// Dialogues that run at a time, each on a queue that only one of them uses.
const AT_A_TIME: usize = 4;

/// Whether a dialogue needs what nothing here can give.
fn cannot_run(script: &Script) -> bool {
    let revoked = Step::Tls("revoked".into());
    script.steps.iter().any(|(_, step)| *step == revoked)
}

/// One relay with one connection.
struct Bench<'a> {
    directory: &'a Path,
    runtime: Handle,
    store: MoodyStore,
    /// Messages of earlier dialogues, and those that a `queued` has looked at.
    seen: BTreeSet<QueueId>,
    /// What the sessions work with now.
    listener: Arc<ArcSwap<Inbound<MoodyStore>>>,
    stopping: CancellationToken,
    served: JoinHandle<()>,
    client: Client,
    surroundings: Surroundings,
}

impl<'a> Bench<'a> {
    fn connect(script: &Script, runtime: &Handle, directory: &'a Path, queue: &SqliteStore) -> Self {
        let (_, Step::Connect(peer)) = &script.steps[0] else {
            panic!("{}: the first step connects", script.name);
        };
        let peer = SocketAddr::new(*peer, 40000);
        let surroundings = Surroundings::of(script);
        let inbound = inbound(script, directory, queue, &surroundings);
        let store = (*inbound.store).clone();
        let settings = Arc::new(ArcSwap::from_pointee(inbound));
        let served_by = Arc::clone(&settings);
        let earlier = runtime.block_on(store.list(None, 1000)).expect("a listing");
        let stopping = CancellationToken::new();
        let told = stopping.clone();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("loopback");
        let address = listener.local_addr().expect("bound");
        let mut client = Client::connect_silently(address).expect("connected");
        if let Some((_, Step::Early(octets))) = script.steps.get(1) {
            // They are there before anybody has accepted the connection.
            client.write(octets).expect("written");
        }
        let served = runtime.spawn(async move {
            let (stream, _) = listener.accept().await.expect("a connection");
            serve(stream, peer, "s1".into(), &served_by, &told).await;
        });
        Self {
            directory,
            runtime: runtime.clone(),
            store,
            seen: earlier.into_iter().map(|entry| entry.id).collect(),
            listener: settings,
            stopping,
            served,
            client,
            surroundings,
        }
    }

    fn step(mut self, step: &Step, place: &str) -> Self {
        match step {
            Step::Connect(_) => unreachable!("connect comes first, once"),
            Step::Server(pattern) => {
                let line = self.client.read_line();
                let good = line
                    .as_deref()
                    .is_ok_and(|line| line.strip_suffix("\r\n").is_some_and(|line| matches(pattern, line)));
                assert!(good, "{place}: expected {pattern:?}, the server said {line:?}");
            }
            Step::Client(octets) => {
                let written = self.client.write(octets);
                written.unwrap_or_else(|error| panic!("{place}: {error}"));
            }
            Step::Tls(name) => {
                let shown = match name.as_str() {
                    "none" => None,
                    "unknown-issuer" => Some("rogue"),
                    other => Some(other),
                };
                let upgraded = self.client.handshake(self.directory, shown);
                self.client = upgraded.unwrap_or_else(|error| panic!("{place}: {error}"));
            }
            Step::Judged(name) => self.judge_anew(name),
            Step::Queue(mode) => {
                // The relay has not yet read what was sent a moment ago: the mode before is for that.
                common::wait_until(place, || self.store.has_had_its_way());
                self.store.set_mode(mode);
            }
            // A pause is measured where no machine is in the way. A time limit passes by itself; what the server says and
            // does then is in the steps that follow.
            Step::Timeout | Step::Early(_) | Step::Paused(_) => {}
            Step::Filter(stage, verdict) => self.surroundings.say(*stage, verdict),
            Step::Eof => self.client.finish().unwrap_or_else(|error| panic!("{place}: {error}")),
            Step::Shutdown => self.stopping.cancel(),
            Step::Closed => self.check_closed(place),
            Step::Queued(_)
            | Step::Trace(_)
            | Step::Envelope(_)
            | Step::Demands(_)
            | Step::Held(_)
            | Step::NothingQueued => self.check_queue(step, place),
        }
        self
    }

    /// A reload in which the certificate's issuer is trusted no more, or again. The steps before have heard the relay's
    /// answers, so that what is sent next is the first that is judged anew.
    fn judge_anew(&self, name: &str) {
        let anchors = match name {
            "alice" => "CAcert.pem",
            "alice-untrusted" => "Rogue.crt",
            other => panic!("no reload makes {other:?} of a certificate"),
        };
        let now = self.listener.load_full();
        self.listener.store(Arc::new(Inbound {
            session: Arc::clone(&now.session),
            tls: Some(tls(&now.session, self.directory, anchors)),
            store: Arc::clone(&now.store),
            queue: Arc::clone(&now.queue),
            outbound: Arc::clone(&now.outbound),
            filters: now.filters.clone(),
            queued: Arc::clone(&now.queued),
            questions: Arc::clone(&now.questions),
            journal: now.journal.clone(),
            counters: Arc::clone(&now.counters),
            admission: Arc::clone(&now.admission),
            authenticator: now.authenticator.clone(),
        }));
    }

    /// The server has said everything, has ended the stream, and has not reset the connection.
    fn check_closed(&mut self, place: &str) {
        let rest = self.client.read_end();
        let rest = rest.unwrap_or_else(|error| panic!("{place}: no clean end: {error}"));
        assert_eq!(String::from_utf8_lossy(&rest), "", "{place}: the server said more");
        let error = self.client.tcp().take_error().expect("a socket");
        assert!(error.is_none(), "{place}: {error:?}");
    }

    /// The message that no `queued` has looked at.
    fn message(&self) -> Option<Entry> {
        let entries = self.runtime.block_on(self.store.list(None, 1000)).expect("a listing");
        let mut unseen = entries.into_iter().filter(|entry| !self.seen.contains(&entry.id));
        let first = unseen.next();
        assert!(unseen.next().is_none(), "one message at a time");
        first
    }

    /// A message's trace header, with what access tables put before it, and what follows it.
    fn text(&self, id: QueueId) -> (Vec<u8>, Vec<u8>) {
        let mut octets = Vec::new();
        loop {
            let piece = self.store.data(id, octets.len() as u64, 65_536);
            let piece = self.runtime.block_on(piece).expect("a piece");
            if piece.is_empty() {
                break;
            }
            octets.extend(piece);
        }
        let (mut end, mut is_trace) = (0, false);
        while let Some(length) = octets[end..].windows(2).position(|two| two == b"\r\n") {
            is_trace |= octets[end..].starts_with(b"Received:");
            end += length + 2;
            if is_trace && !matches!(octets.get(end), Some(b' ' | b'\t')) {
                break;
            }
        }
        let content = octets.split_off(end);
        (octets, content)
    }

    fn check_queue(&mut self, step: &Step, place: &str) {
        let message = self.message();
        if *step == Step::NothingQueued {
            assert!(message.is_none(), "{place}: a message was queued");
            return;
        }
        let message = message.unwrap_or_else(|| panic!("{place}: nothing was queued"));
        let (header, content) = self.text(message.id);
        assert_eq!(message.size_octets, (header.len() + content.len()) as u64, "{place}");
        match step {
            Step::Queued(expected) => {
                let (expected, queued) = (String::from_utf8_lossy(expected), String::from_utf8_lossy(&content));
                assert_eq!(queued, expected, "{place}");
                self.seen.insert(message.id);
            }
            Step::Trace(pattern) => {
                let header = String::from_utf8_lossy(&header);
                assert!(matches(pattern, &header), "{place}: the header is {header:?}");
            }
            Step::Envelope(expected) => {
                let mut words = vec![format!("<{}>", message.reverse_path)];
                words.extend(message.recipients.iter().map(|to| format!("<{}>", to.forward_path)));
                words.push(format!("by {}", message.submitter.decided_by));
                assert_eq!(&words.join(" "), expected, "{place}");
            }
            // What the queue makes of a message on hold and of demands is shown in store_contract.
            Step::Held(_) | Step::Demands(_) => {}
            other => unreachable!("{other:?} does not look at the queue"),
        }
    }

    /// The client goes too; nothing may be left behind.
    fn leave(self, script: &Script) {
        let place = &script.name;
        assert!(self.message().is_none(), "{place}: a message no line asks for");
        drop(self.client);
        let served = self
            .runtime
            .block_on(async { tokio::time::timeout(common::PATIENCE, self.served).await });
        served.expect("the session ends").expect("it does not panic");
        assert_eq!(self.store.open_drafts(), 0, "{place}: a draft is left open");
    }
}

fn inbound(script: &Script, directory: &Path, queue: &SqliteStore, surroundings: &Surroundings) -> Inbound<MoodyStore> {
    let mut session = script.settings.clone();
    surroundings.settle(&mut session);
    if script.steps.iter().any(|(_, step)| *step == Step::Timeout) {
        session.timeout = SHORT;
        session.starttls_timeout = SHORT;
    }
    Inbound {
        tls: Some(tls(&session, directory, "CAcert.pem")),
        session: Arc::new(session),
        store: Arc::new(MoodyStore::new(queue.clone())),
        queue: Arc::new(queue_settings(Path::new(""))),
        outbound: Arc::new(outbound_settings()),
        filters: surroundings.filters(),
        queued: Arc::new(Notify::new()),
        questions: Arc::new(surroundings.questions()),
        journal: None,
        counters: Arc::default(),
        admission: Arc::default(),
        authenticator: authenticator(script, directory),
    }
}

/// The password file of a dialogue, in which nobody has to wait; a Dovecot that does not listen for one without passwords.
fn authenticator(script: &Script, directory: &Path) -> Option<Arc<Authenticator>> {
    let service = if script.passwords.is_empty() {
        PasswordService::Dovecot(Arc::new(DovecotAuth::new(Endpoint::Unix(directory.join("nobody")))))
    } else {
        let line = |(login, word): &(String, String)| {
            let hash = password_file::hash(word.as_bytes()).expect("a hash");
            format!("{login}:{hash}\n")
        };
        let path = directory.join(format!("{}.passwords", script.name));
        std::fs::write(&path, script.passwords.iter().map(line).collect::<String>()).expect("written");
        PasswordService::File(Arc::new(PasswordFile::read(&path).expect("a password file")))
    };
    let limits = FailureLimits {
        address: 20,
        login: 10,
        time: Duration::from_mins(15),
    };
    let is_enabled = script.settings.sasl.is_enabled;
    is_enabled.then(|| Arc::new(Authenticator::new(service, limits, Arc::default())))
}

/// The judge, who trusts the issuers in a file of the directory.
fn tls(session: &SessionSettings, directory: &Path, anchors: &str) -> Arc<ServerTls> {
    let files = ServerTlsFiles {
        certificate: directory.join("server.crt"),
        key: directory.join("server.key"),
        ca_file: Some(directory.join(anchors)),
        ca_path: None,
        ask_client_certificate: session.ask_client_certificate,
        verify_depth: 9,
        append_default_ca: false,
        tls12: true,
        revocation: RevocationSettings::default(),
        accept_email_protection: false,
    };
    let tls = ServerTls::load(&files, clock::unix_seconds());
    Arc::new(tls.unwrap_or_else(|errors| panic!("{errors:?}")))
}

/// A store in a directory that nobody else can look into, as it demands.
fn open_queue() -> (SqliteStore, tempfile::TempDir) {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    let directory = tempfile::Builder::new().permissions(mode).tempdir();
    let directory = directory.expect("a directory");
    let options = OpenOptions {
        reserve_octets: 64 * 1024,
        ..OpenOptions::default()
    };
    let store = SqliteStore::open_with(&queue_settings(directory.path()), clock::timestamp, options);
    (store.expect("a store"), directory)
}

fn queue_settings(directory: &Path) -> QueueSettings {
    QueueSettings {
        directory: directory.to_owned(),
        inline_octets_max: 64 * 1024,
        minfree_octets: 1024,
        message_size_octets_max: 10_240_000,
        minimal_backoff: Duration::from_mins(5),
        maximal_backoff: Duration::from_mins(60),
        lifetime: Duration::from_hours(120),
        bounce_lifetime: Duration::from_hours(120),
        run_delay: Duration::from_mins(5),
        delay_warning: Duration::ZERO,
        in_flow_delay: Duration::ZERO,
    }
}

fn outbound_settings() -> OutboundSettings {
    let limit = Duration::from_mins(5);
    OutboundSettings {
        myhostname: "relay.example".into(),
        hello_name: "relay.example".into(),
        mydomain: "example.org".into(),
        relayhost: None,
        tls_level: TlsLevel::May,
        tls_wrapper: false,
        ipv4: true,
        ipv6: true,
        bind_addresses: Vec::new(),
        discarded_keywords: std::sync::Arc::default(),
        eight_bit_mail: estafette::outbound::settings::EightBitMail::default(),
        connect_timeout: limit,
        hello_timeout: limit,
        data_transfer_timeout: limit,
        data_done_timeout: limit,
        recipients_per_transaction_max: 50,
        destination_concurrency_max: 20,
        reuse: ConnectionReuse::default(),
        initial_destination_concurrency: 5,
        mx_sessions_max: 2,
        mx_addresses_max: 5,
        bounce_octets_max: 50_000,
        own_endpoints: Vec::new(),
    }
}

fn run(script: &Script, runtime: &Handle, certificates: &Path, queue: &SqliteStore) {
    let mut bench = Bench::connect(script, runtime, certificates, queue);
    for (number, step) in &script.steps[1..] {
        let place = format!("{}:{number} (TCP)", script.name);
        bench = bench.step(step, &place);
    }
    bench.leave(script);
}

#[test]
fn dialogues_left_out_are_those_named() {
    let scripts = scripts();
    let left_out: Vec<&str> = scripts
        .iter()
        .filter(|script| cannot_run(script))
        .map(|script| script.name.as_str())
        .collect();
    let named: Vec<&str> = LEFT_OUT.iter().map(|(name, _)| *name).collect();
    assert_eq!(left_out, named);
    let ends = |script: &Script| script.steps.iter().any(|(_, step)| *step == Step::Closed);
    let open: Vec<&str> = scripts
        .iter()
        .filter(|script| !ends(script))
        .map(|script| script.name.as_str())
        .collect();
    assert!(
        open.is_empty(),
        "only `closed` shows that nothing more is said: {open:?}"
    );
}

#[test]
fn dialogues_run_over_tcp_and_tls() {
    let scripts: Vec<Script> = scripts().into_iter().filter(|script| !cannot_run(script)).collect();
    assert!(scripts.len() >= 60, "only {} dialogues", scripts.len());
    let certificates = tempfile::tempdir().expect("a directory");
    common::copy_certificates(certificates.path());
    let runtime = Runtime::new().expect("a runtime");
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                let (queue, _directory) = open_queue();
                while let Some(script) = scripts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    run(script, runtime.handle(), certificates.path(), &queue);
                }
            });
        }
    });
}

/// RFC 8446 section 6.2: the peer is told why. What is still under way must not destroy that.
#[test]
fn handshake_begun_in_plaintext_ends_with_an_alert_and_no_reset() {
    let text = "set hidden dsn smtputf8 chunking limits\nconnect 192.0.2.10\nS: 220 *\nC: EHLO a\nS: 250-*\nS: 250-*\n\
                S: 250-*\nS: 250-*\nS: 250-*\nS: 250 *\n\
                C: STARTTLS\nS: 220 *\nC: \\*900000*x\n";
    let script = Script::parse("plaintext", text);
    let certificates = tempfile::tempdir().expect("a directory");
    common::copy_certificates(certificates.path());
    let runtime = Runtime::new().expect("a runtime");
    let (queue, _directory) = open_queue();
    let mut bench = Bench::connect(&script, runtime.handle(), certificates.path(), &queue);
    for (number, step) in &script.steps[1..] {
        bench = bench.step(step, &format!("plaintext:{number}"));
    }
    let rest = bench.client.read_end().expect("a clean end");
    assert_eq!(rest[..2], [21, 3], "a record that holds an alert: {rest:?}");
    assert!(bench.client.tcp().take_error().expect("a socket").is_none());
    bench.leave(&script);
}

/// A disk that hangs must not hold the client for longer than it would wait.
#[test]
fn commit_that_hangs_is_answered_451_in_time_and_the_session_goes_on() {
    let script = Script::parse("hangs", "connect 192.0.2.10\nchain permit\n");
    let certificates = tempfile::tempdir().expect("a directory");
    common::copy_certificates(certificates.path());
    let (queue, _directory) = open_queue();
    let inbound = inbound(&script, certificates.path(), &queue, &Surroundings::of(&script));
    inbound.store.set_mode("commit-hangs");
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().expect("a runtime");
    runtime.block_on(async move {
        let store = Arc::clone(&inbound.store);
        let settings = ArcSwap::from_pointee(inbound);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).await;
        let mut client = BufReader::new(client.expect("connected"));
        let (stream, peer) = listener.accept().await.expect("a connection");
        let stopping = CancellationToken::new();
        let dialogue = async {
            let begin = "EHLO a\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n";
            client.get_mut().write_all(begin.as_bytes()).await.expect("written");
            until_code(&mut client, "354 ").await;
            let begun = tokio::time::Instant::now();
            client
                .get_mut()
                .write_all(b"Subject: x\r\n\r\nx\r\n.\r\n")
                .await
                .expect("written");
            until_code(&mut client, "451 4.3.0 ").await;
            assert_eq!(begun.elapsed().as_secs(), QUEUE_TIME_MAX.as_secs());
            assert_eq!(store.open_drafts(), 0, "it is given up");
            client.get_mut().write_all(b"QUIT\r\n").await.expect("written");
            until_code(&mut client, "221 ").await;
        };
        let served = serve(stream, peer, "s1".into(), &settings, &stopping);
        tokio::join!(served, dialogue);
    });
}

/// Reads replies until one begins like this.
async fn until_code(client: &mut BufReader<TcpStream>, code: &str) {
    let mut said = String::new();
    while !said.lines().last().is_some_and(|line| line.starts_with(code)) {
        let read = client.read_line(&mut said).await.expect("read");
        assert!(read > 0, "{code} was never said: {said}");
    }
}
