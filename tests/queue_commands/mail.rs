//! Queues made without a daemon, and commands on them.

use std::fs;
use std::path::PathBuf;

use estafette::io::clock;
use estafette::io::store::SqliteStore;
use estafette::mail::envelope::{Body, Demands, Envelope, Submitter};
use estafette::queue::entry::NewRecipient;
use estafette::queue::settings::QueueSettings;
use estafette::queue::{Draft, Store};
use estafette::time::Timestamp;
use estafette::wire::path::{ForwardPath, ReversePath};
use serde_json::Value;

use crate::common::{LOOPBACK, Relay, free_port};

pub const HOUR: i64 = 3_600_000;

/// A message to be queued.
#[derive(Clone)]
pub struct Mail {
    pub from: &'static str,
    pub to: Vec<&'static str>,
    pub subject: Option<&'static str>,
    pub age_millis: i64,
    pub octets: usize,
    pub hold: Option<&'static str>,
}

impl Default for Mail {
    fn default() -> Self {
        Self {
            from: "alice@lab.example.org",
            to: vec!["bob@example.net"],
            subject: None,
            age_millis: 0,
            octets: 200,
            hold: None,
        }
    }
}

/// Mail data of a size, with an escape in its header.
pub fn data(octets: usize) -> Vec<u8> {
    let mut data = b"Subject: mail\x1b\r\n\r\n".to_vec();
    data.resize(octets.max(data.len() + 2) - 2, b'x');
    data.extend_from_slice(b"\r\n");
    data
}

/// Queues mail while no relay runs.
pub fn fill(relay: &Relay, mail: &[Mail]) {
    let settings = QueueSettings {
        directory: relay.queue(),
        inline_octets_max: 32_768,
        minfree_octets: 0,
        message_size_octets_max: 1 << 20,
        minimal_backoff: std::time::Duration::from_secs(300),
        maximal_backoff: std::time::Duration::from_secs(4000),
        lifetime: std::time::Duration::from_secs(432_000),
        bounce_lifetime: std::time::Duration::from_secs(432_000),
        run_delay: std::time::Duration::from_secs(300),
        delay_warning: std::time::Duration::ZERO,
        in_flow_delay: std::time::Duration::ZERO,
    };
    let store = SqliteStore::open(&settings, clock::timestamp).expect("opened");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        for batch in mail.chunks(if mail.len() < 200 { 1 } else { 200 }) {
            let tasks: Vec<_> = batch
                .iter()
                .map(|mail| tokio::spawn(enqueue(store.clone(), mail.clone())))
                .collect();
            for task in tasks {
                task.await.expect("queued");
            }
        }
    });
    store.close();
}

async fn enqueue(store: SqliteStore, mail: Mail) {
    let mut draft = store.begin().await.expect("begun");
    draft.append(&data(mail.octets)).await.expect("appended");
    let submitter = Submitter {
        session_id: "s1".into(),
        peer: Some("192.0.2.1:4711".parse().expect("an address")),
        identity: if mail.subject.is_some() {
            "verified"
        } else {
            "no_certificate"
        }
        .into(),
        issuer: mail.subject.map(|_| "/C=FR/O=CNRS/CN=CNRS-Standard".into()),
        subject: mail.subject.map(str::to_owned),
        fingerprint: mail.subject.map(|_| "AB:CD:EF".into()),
        login: None,
        decided_by: "permit_tls_all_clientcerts".into(),
    };
    let recipient = |to: &&str| NewRecipient {
        destination: to.rsplit('@').next().unwrap_or_default().to_owned(),
        forward_path: ForwardPath::parse(&format!("<{to}>")).expect("a path"),
    };
    let envelope = Envelope {
        demands: Demands::default(),
        hold: mail.hold.map(str::to_owned),
        reverse_path: ReversePath::parse(&format!("<{}>", mail.from)).expect("a path"),
        forward_paths: Vec::new(),
        body: Body::SevenBit,
        submitter,
    };
    let arrived = Timestamp(clock::timestamp().0 - mail.age_millis);
    let expires = Timestamp(clock::timestamp().0 + 100 * HOUR);
    let to = mail.to.iter().map(recipient).collect();
    draft.commit(envelope, to, arrived, expires).await.expect("committed");
}

/// A relay that does not run, with mail.
pub fn stopped_queue(mail: &[Mail]) -> Relay {
    let relay = Relay::prepare(LOOPBACK, free_port());
    fill(&relay, mail);
    relay
}

/// Runs `queue` with these words: its exit status and everything it said.
pub fn queue(relay: &Relay, words: &[&str]) -> (i32, String) {
    let output = relay.command(&["queue"], words);
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// One JSON value a line.
pub fn json(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

pub fn ids(relay: &Relay) -> Vec<String> {
    let listed = relay.queued();
    listed
        .iter()
        .map(|entry| entry["queue_id"].as_str().expect("an id").to_owned())
        .collect()
}

pub fn data_files(relay: &Relay) -> Vec<PathBuf> {
    let shelves = fs::read_dir(relay.queue().join("data")).expect("data");
    let files = shelves
        .flatten()
        .flat_map(|shelf| fs::read_dir(shelf.path()).expect("a shelf").flatten());
    files.map(|file| file.path()).collect()
}
