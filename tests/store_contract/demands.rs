//! What a client asked for stays with its message: in the lease from memory, in the lease from the store, in the listing,
//! through a restart, and in a queue that an earlier version left.

use std::path::Path;

use estafette::io::store::list_directory;
use estafette::mail::dsn::{MessageRequest, Notify, RecipientRequest, Return};
use estafette::mail::envelope::{Body, Demands, Envelope};
use estafette::queue::entry::{Entry, Lease};
use estafette::queue::{Draft, Store};

use super::common::{self, ARRIVED, recipients, retry, seconds};

const TO: [&str; 2] = ["a@x.example", "b@x.example"];

fn asked() -> [RecipientRequest; 2] {
    let success = Notify::On {
        success: true,
        failure: true,
        delay: false,
    };
    [
        RecipientRequest {
            notify: Some(success),
            original_recipient: Some("rfc822;a+2Bb@x.example".into()),
        },
        RecipientRequest {
            notify: Some(Notify::Never),
            original_recipient: None,
        },
    ]
}

fn of_message() -> Demands {
    Demands {
        smtputf8: true,
        require_tls: true,
        dsn: MessageRequest {
            ret: Some(Return::Headers),
            envelope_id: Some("QQ+2B314".into()),
        },
        recipients: Vec::new(),
    }
}

async fn queue<S: Store>(store: &S, data: &[u8]) {
    let mut envelope = Envelope {
        demands: Demands {
            recipients: asked().to_vec(),
            ..of_message()
        },
        body: Body::SevenBit,
        ..common::envelope()
    };
    envelope.submitter.login = Some("alice".into());
    let mut draft = store.begin().await.unwrap();
    draft.append(data).await.unwrap();
    let expires = ARRIVED.plus(seconds(432_000));
    draft.commit(envelope, recipients(&TO), ARRIVED, expires).await.unwrap();
}

fn assert_leased(lease: &Lease) {
    assert_eq!(lease.demands, of_message());
    let requests: Vec<_> = lease
        .recipients
        .iter()
        .map(|recipient| recipient.request.clone())
        .collect();
    assert_eq!(requests, asked());
    assert_eq!(lease.submitter.login.as_deref(), Some("alice"));
}

fn assert_listed(entries: &[Entry]) {
    let [entry] = entries else { panic!("{entries:?}") };
    assert_eq!(entry.demands, of_message());
    let requests: Vec<_> = entry
        .recipients
        .iter()
        .map(|recipient| recipient.request.clone())
        .collect();
    assert_eq!(requests, asked());
    assert_eq!(entry.submitter.login.as_deref(), Some("alice"));
}

pub(crate) async fn contract<S: Store>(make: &impl Fn() -> S) {
    let store = make();
    queue(&store, b"x").await;
    assert_listed(&store.list(None, 10).await.unwrap());
    let lease = store.due(ARRIVED, 10).await.unwrap().pop().unwrap();
    assert_leased(&lease);
    store.settle(lease, vec![retry(0, 60), retry(1, 60)]).await.unwrap();
    let lease = store.due(ARRIVED.plus(seconds(60)), 10).await.unwrap().pop().unwrap();
    assert_leased(&lease);

    let store = make();
    queue(&store, "é".as_bytes()).await;
    let lease = store.due(ARRIVED, 10).await.unwrap().pop().unwrap();
    assert_eq!(lease.body, Body::EightBitMime, "nobody declared it, but it is");
}

#[tokio::test]
async fn demands_survive_a_restart() {
    let directory = common::directory();
    queue(&common::open(directory.path()), b"x").await;
    assert_listed(&list_directory(directory.path(), None, 10).unwrap());
    let store = common::open(directory.path());
    assert_leased(&store.due(ARRIVED, 10).await.unwrap().pop().unwrap());
}

/// A queue as the program wrote it when its schema had the version 4: its tables, and its statements for one message.
fn version_4(path: &Path) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch(include_str!("version_4.sql")).unwrap();
}

#[tokio::test]
async fn queue_of_version_4_is_read_and_migrated() {
    let directory = common::directory();
    version_4(&directory.path().join("queue.db"));
    let assert_plain = |entries: Vec<Entry>| {
        let [entry] = entries.as_slice() else {
            panic!("{entries:?}")
        };
        assert_eq!(
            (&entry.demands, entry.submitter.login.as_deref()),
            (&Demands::default(), None)
        );
        assert_eq!(entry.recipients.len(), 2);
        assert!(entry.recipients.iter().all(|recipient| recipient.request.is_empty()));
        assert_eq!(entry.submitter.subject.as_deref(), Some("/C=FR/O=CNRS/CN=Alice"));
    };
    assert_plain(list_directory(directory.path(), None, 10).unwrap());
    let store = common::open(directory.path());
    assert_plain(store.list(None, 10).await.unwrap());
    let lease = store.due(ARRIVED, 10).await.unwrap().pop().unwrap();
    assert_eq!((lease.recipients.len(), &lease.demands), (2, &Demands::default()));
    assert_eq!(
        common::read_all(&store, lease.id).await.unwrap(),
        b"Subject: x\r\n\r\nx\r\n"
    );
    drop(store);
    let connection = rusqlite::Connection::open(directory.path().join("queue.db")).unwrap();
    let version = connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    assert_eq!(version, Ok(5));
}
