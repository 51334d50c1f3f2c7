//! The load generator and the sinks of benches/ at work, so that the bench cannot rot: straight into a sink, and through
//! the relay.

mod common;
#[path = "../benches/load/mod.rs"]
mod load;

use std::io::Read;
use std::net::{SocketAddr, TcpStream};

use common::{LOOPBACK, Relay, copy_certificates, free_port, wait_until};
use load::generator::{self, Plan};
use load::sink::{self, Counts, SinkArguments};
use load::tls::Files;

struct Sink {
    address: SocketAddr,
    counts: SocketAddr,
    /// The certificates, and the sign that the sink shall run on.
    directory: tempfile::TempDir,
}

impl Sink {
    fn start(is_tls: bool) -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        copy_certificates(directory.path());
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let sink = Self {
            address: address(free_port()),
            counts: address(free_port()),
            directory,
        };
        let arguments = SinkArguments {
            listen: sink.address,
            counts: sink.counts,
            tls: if is_tls {
                sink.files("nexthop.crt", "nexthop.key")
            } else {
                Files::default()
            },
            while_exists: Some(sink.directory.path().to_owned()),
        };
        std::thread::spawn(move || sink::run(&arguments).expect("the sink serves"));
        wait_until("the sink listens", || TcpStream::connect(sink.counts).is_ok());
        sink
    }

    fn files(&self, cert: &str, key: &str) -> Files {
        let file = |name| Some(self.directory.path().join(name));
        Files {
            cert: file(cert),
            key: file(key),
            ca: file("CAcert.pem"),
        }
    }

    fn counts(&self) -> Counts {
        let mut text = String::new();
        let mut stream = TcpStream::connect(self.counts).expect("the sink runs");
        stream.read_to_string(&mut text).expect("counts");
        serde_json::from_str(&text).expect("JSON")
    }
}

/// Sends a plan of which every message must be accepted, and gives their number.
fn send_all(plan: &Plan) -> u64 {
    let report = generator::run(plan).expect("the generator runs");
    assert_eq!((report.refused, report.broken), (0, 0), "{:?}", report.trouble);
    assert_eq!(report.accepted, plan.sessions * plan.messages);
    assert!(report.latency.p50 <= report.latency.p99 && report.latency.p99 <= report.latency.max);
    assert!(report.rate() > 0.0);
    report.accepted
}

#[test]
fn generator_into_sink_counts_the_same_on_both_sides() {
    let sink = Sink::start(false);
    let kept = Plan {
        recipients: 3,
        ..Plan::new(sink.address, 5, 20)
    };
    let sent = send_all(&kept);
    let counts = sink.counts();
    assert_eq!(
        (counts.messages, counts.recipients, counts.connections),
        (sent, 3 * sent, 5)
    );
    assert!(counts.octets > sent * 4096, "{counts:?}");
    assert!(counts.first > 0 && counts.first <= counts.last);

    let each = Plan {
        reconnect: true,
        size: 300_000,
        ..Plan::new(sink.address, 3, 4)
    };
    send_all(&each);
    assert_eq!(sink.counts().connections, 5 + 12);
    assert_eq!(sink.counts().messages, sent + 12);
}

#[test]
fn generator_into_tls_sink_shows_its_certificate() {
    let sink = Sink::start(true);
    let plan = Plan {
        starttls: true,
        reconnect: true,
        files: sink.files("alice.pem", "alice.key"),
        ..Plan::new(sink.address, 3, 4)
    };
    send_all(&plan);
    let resumed = Plan {
        resume: true,
        ..plan.clone()
    };
    send_all(&resumed);
    let nameless = Plan {
        files: Files {
            cert: None,
            key: None,
            ..plan.files.clone()
        },
        ..plan
    };
    let report = generator::run(&nameless).expect("the generator runs");
    assert_eq!((report.accepted, report.broken), (0, 12), "{:?}", report.trouble);
}

#[test]
fn generator_through_relay_delivers_every_message() {
    let sink = Sink::start(false);
    let relay = Relay::start(LOOPBACK, sink.address.port());
    let plain = Plan::new(relay.address(), 10, 10);
    let mut sent = send_all(&plain);
    let tls = Plan {
        starttls: true,
        files: sink.files("alice.pem", "alice.key"),
        ..plain.clone()
    };
    sent += send_all(&tls);
    wait_until("the sink has all", || sink.counts().messages == sent);

    let open = Plan {
        rate: Some(200.0),
        messages: 40,
        ..plain
    };
    let report = generator::run(&open).expect("the generator runs");
    assert_eq!(report.accepted, 40, "{:?}", report.trouble);
    assert!(
        report.seconds() > 0.15,
        "the clock holds the rate: {} s",
        report.seconds()
    );
}

#[test]
fn plan_as_words_says_every_option() {
    let sink = Sink::start(false);
    let plan = Plan {
        reconnect: true,
        starttls: true,
        resume: true,
        rate: Some(1.5),
        files: sink.files("alice.pem", "alice.key"),
        ..Plan::new(sink.address, 2, 3)
    };
    let words = plan.words();
    for option in [
        "--to",
        "--sessions",
        "--messages",
        "--size",
        "--recipients",
        "--domain",
        "--reconnect",
        "--starttls",
        "--resume",
        "--rate",
        "--cert",
        "--key",
        "--ca",
    ] {
        assert!(
            words.iter().any(|word| word == option),
            "{option} is missing in {words:?}"
        );
    }
}
