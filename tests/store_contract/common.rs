//! What the tests of the stores share.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use estafette::io::store::{FileCalls, OpenOptions, SqliteStore};
use estafette::mail::envelope::{Body, Demands, Envelope, Submitter};
use estafette::mail::queue_id::QueueId;
use estafette::queue::entry::{NewRecipient, Notification, Settlement};
use estafette::queue::settings::QueueSettings;
use estafette::queue::{Draft, Store, StoreError};
use estafette::time::Timestamp;
use estafette::wire::path::{ForwardPath, ReversePath};

/// When every message arrives.
pub(crate) const ARRIVED: Timestamp = Timestamp(1_800_000_000_000);

/// A clock that stands still: ids have to differ nevertheless.
pub(crate) fn clock() -> Timestamp {
    ARRIVED
}

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An empty directory that nobody else can look into.
pub(crate) fn directory() -> tempfile::TempDir {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    tempfile::Builder::new().permissions(mode).tempdir().unwrap()
}

pub(crate) fn settings(directory: &Path) -> QueueSettings {
    QueueSettings {
        directory: directory.to_owned(),
        inline_octets_max: 32_768,
        minfree_octets: 0,
        message_size_octets_max: 4 << 20,
        minimal_backoff: seconds(300),
        maximal_backoff: seconds(4000),
        lifetime: seconds(432_000),
        bounce_lifetime: seconds(432_000),
        run_delay: seconds(300),
        delay_warning: seconds(0),
        in_flow_delay: seconds(0),
    }
}

pub(crate) fn options() -> OpenOptions {
    OpenOptions {
        reserve_octets: 64 * 1024,
        ..OpenOptions::default()
    }
}

pub(crate) fn open(directory: &Path) -> SqliteStore {
    SqliteStore::open_with(&settings(directory), clock, options()).unwrap()
}

pub(crate) fn open_with_calls(directory: &Path, calls: Arc<dyn FileCalls>) -> SqliteStore {
    let options = OpenOptions { calls, ..options() };
    SqliteStore::open_with(&settings(directory), clock, options).unwrap()
}

pub(crate) fn envelope() -> Envelope {
    Envelope {
        demands: Demands::default(),
        hold: None,
        reverse_path: ReversePath::parse("<\"a b\"@example.org>").unwrap(),
        forward_paths: Vec::new(),
        body: Body::EightBitMime,
        submitter: Submitter {
            session_id: "s1".into(),
            peer: Some("[::1]:4711".parse().unwrap()),
            identity: "verified".into(),
            issuer: Some("/C=FR/O=CNRS/CN=CNRS-Standard".into()),
            subject: Some("/C=FR/O=CNRS/CN=Alice".into()),
            fingerprint: None,
            login: None,
            decided_by: "permit_tls_all_clientcerts".into(),
        },
    }
}

pub(crate) fn recipients(to: &[&str]) -> Vec<NewRecipient> {
    let recipient = |to: &&str| NewRecipient {
        destination: to.rsplit('@').next().unwrap_or_default().to_owned(),
        forward_path: ForwardPath::parse(&format!("<{to}>")).unwrap(),
    };
    to.iter().map(recipient).collect()
}

pub(crate) async fn commit<D: Draft>(draft: D, to: &[&str]) -> Result<QueueId, StoreError> {
    let expires = ARRIVED.plus(seconds(432_000));
    draft.commit(envelope(), recipients(to), ARRIVED, expires).await
}

pub(crate) async fn try_enqueue<S: Store>(store: &S, data: &[u8], to: &[&str]) -> Result<QueueId, StoreError> {
    let mut draft = store.begin().await?;
    draft.append(data).await?;
    commit(draft, to).await
}

pub(crate) async fn enqueue<S: Store>(store: &S, data: &[u8], to: &[&str]) -> QueueId {
    try_enqueue(store, data, to).await.unwrap()
}

pub(crate) async fn read_all<S: Store>(store: &S, id: QueueId) -> Result<Vec<u8>, StoreError> {
    let mut data = Vec::new();
    loop {
        let piece = store.data(id, data.len() as u64, 65_536).await?;
        if piece.is_empty() {
            return Ok(data);
        }
        data.extend_from_slice(&piece);
    }
}

/// What a notification says.
pub(crate) const NEWS: &str = "Subject: news\r\n\r\nx\r\n";

pub(crate) fn notification(id: QueueId) -> Notification {
    Notification {
        id,
        octets: NEWS.into(),
        envelope: Envelope {
            reverse_path: ReversePath::Null,
            body: Body::SevenBit,
            submitter: Submitter::local("bounce"),
            ..envelope()
        },
        recipients: recipients(&["sender@from.example"]),
        arrived: ARRIVED,
        expires: ARRIVED.plus(seconds(432_000)),
    }
}

pub(crate) fn done(number: u32) -> Settlement {
    Settlement::Done { number }
}

pub(crate) fn retry(number: u32, after_seconds: u64) -> Settlement {
    Settlement::Retry {
        number,
        at: ARRIVED,
        warned: false,
        due: ARRIVED.plus(seconds(after_seconds)),
        reply: "451 later".into(),
    }
}

/// Octets that differ with the seed and do not repeat within a piece.
pub(crate) fn pattern(octets: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..octets).map(|_| next()).collect()
}
