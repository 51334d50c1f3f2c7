//! Settings, a store that holds one message, and leases of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use estafette::io::deliver::{Attempt, Deliverer};
use estafette::io::dns::{Resolver, SystemResolver};
use estafette::io::tls::client::ClientTls;
use estafette::io::tls::settings::ClientTlsFiles;
use estafette::mail::dsn::RecipientRequest;
use estafette::mail::envelope::{Body, Demands, Envelope, Submitter};
use estafette::mail::outcome::Outcome;
use estafette::mail::queue_id::QueueId;
use estafette::outbound::settings::{ConnectionReuse, OutboundSettings, TlsLevel};
use estafette::queue::entry::{
    Entry, Lease, LeasedRecipient, NewRecipient, Notification, Overdue, OverduePlace, PastAttempt, Settlement,
};
use estafette::queue::{Draft, HoldError, Store, StoreError};
use estafette::time::Timestamp;
use estafette::wire::path::{ForwardPath, ReversePath};

/// What is done when the store is told that recipients are relayed.
type OnRelayed = Box<dyn Fn(&[u32]) -> Result<(), StoreError> + Send + Sync>;

/// Holds one message and nothing else.
pub(crate) struct OneMessage {
    pub(crate) data: Result<Vec<u8>, StoreError>,
    pub(crate) on_relayed: OnRelayed,
}

impl OneMessage {
    pub(crate) fn new(data: Result<Vec<u8>, StoreError>) -> Self {
        let on_relayed = Box::new(|_: &[u32]| Ok(()));
        Self { data, on_relayed }
    }
}

/// Never made.
pub(crate) struct NoDraft(QueueId);

impl Draft for NoDraft {
    fn id(&self) -> QueueId {
        self.0
    }

    async fn append(&mut self, _: &[u8]) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    async fn commit(
        self,
        _: Envelope,
        _: Vec<NewRecipient>,
        _: Timestamp,
        _: Timestamp,
    ) -> Result<QueueId, StoreError> {
        Err(StoreError::Closed)
    }
}

impl Store for OneMessage {
    type Draft = NoDraft;

    async fn begin(&self) -> Result<NoDraft, StoreError> {
        Err(StoreError::Closed)
    }

    async fn due(&self, _: Timestamp, _: usize) -> Result<Vec<Lease>, StoreError> {
        Ok(Vec::new())
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    async fn data(&self, _: QueueId, offset: u64, limit: usize) -> Result<Bytes, StoreError> {
        let data = self.data.as_ref().map_err(Clone::clone)?;
        let rest = data.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        Ok(Bytes::copy_from_slice(&rest[..limit.min(rest.len())]))
    }

    fn relayed(&self, _: &Lease, numbers: &[u32]) -> Result<(), StoreError> {
        (self.on_relayed)(numbers)
    }

    async fn overdue(
        &self,
        _: &str,
        _: Timestamp,
        _: Timestamp,
        _: Option<OverduePlace>,
        _: usize,
    ) -> Result<Overdue, StoreError> {
        Ok(Overdue::default())
    }

    async fn history(&self, _: QueueId) -> Result<Vec<PastAttempt>, StoreError> {
        Ok(Vec::new())
    }

    fn fresh_waiting(&self) -> usize {
        0
    }

    fn fresh_waiting_for(&self, _: &str) -> usize {
        0
    }

    fn abandon(&self, _: QueueId, _: &str) {}

    fn relayed_unreported(&self, _: &Lease, numbers: &[u32]) -> Result<(), StoreError> {
        (self.on_relayed)(numbers)
    }

    fn new_id(&self) -> QueueId {
        QueueId::from_parts(0, 0)
    }

    async fn report(&self, _: Lease, _: Vec<Settlement>, _: Vec<Notification>) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    async fn list(&self, _: Option<QueueId>, _: usize) -> Result<Vec<Entry>, StoreError> {
        Ok(Vec::new())
    }

    async fn back_off(&self, _destination: &str, _until: Timestamp, _reply: &str) -> Result<(), StoreError> {
        Ok(())
    }

    fn room_octets(&self) -> u64 {
        0
    }

    async fn flush(&self, _: Timestamp) -> Result<usize, StoreError> {
        Ok(0)
    }

    async fn hold(&self, id: QueueId, _: &str) -> Result<(), HoldError> {
        Err(HoldError::Unknown(id))
    }

    async fn release(&self, id: QueueId, _: Timestamp) -> Result<(), HoldError> {
        Err(HoldError::Unknown(id))
    }

    async fn release_some(&self, _: Timestamp, _: usize) -> Result<Vec<QueueId>, StoreError> {
        Ok(Vec::new())
    }
}

/// Settings with this relayhost; empty for none.
pub(crate) fn settings(relayhost: &str, tls_level: TlsLevel) -> OutboundSettings {
    let second = Duration::from_secs(5);
    OutboundSettings {
        myhostname: "relay.example.org".into(),
        hello_name: "relay.example.org".into(),
        mydomain: "example.org".into(),
        relayhost: relayhost.parse().ok(),
        tls_level,
        tls_wrapper: false,
        ipv4: true,
        ipv6: true,
        bind_addresses: Vec::new(),
        discarded_keywords: std::sync::Arc::default(),
        eight_bit_mail: estafette::outbound::settings::EightBitMail::default(),
        connect_timeout: second,
        hello_timeout: second,
        data_transfer_timeout: second,
        data_done_timeout: second,
        recipients_per_transaction_max: 2,
        destination_concurrency_max: 20,
        reuse: ConnectionReuse::default(),
        initial_destination_concurrency: 5,
        mx_sessions_max: 2,
        mx_addresses_max: 5,
        bounce_octets_max: 50_000,
        own_endpoints: Vec::new(),
    }
}

/// A lease of a message to these recipients.
pub(crate) fn lease(recipients: &[&str], size: usize) -> Lease {
    let recipient = |(number, text): (usize, &&str)| LeasedRecipient {
        number: u32::try_from(number).unwrap() + 7,
        forward_path: ForwardPath::parse(&format!("<{text}>")).unwrap(),
        request: RecipientRequest::default(),
        attempts: 0,
        warned: false,
        unreported: false,
    };
    Lease {
        id: QueueId::from_parts(1_795_510_800_000, 1),
        destination: "anything".into(),
        reverse_path: ReversePath::parse("<a@example.org>").unwrap(),
        body: Body::SevenBit,
        size_octets: u64::try_from(size).unwrap(),
        arrived: Timestamp(1_795_510_800_000),
        expires: Timestamp(1_795_910_800_000),
        submitter: Submitter::local("test"),
        demands: Demands::default(),
        recipients: recipients.iter().enumerate().map(recipient).collect(),
        is_probe: false,
        failures: 0,
    }
}

/// A deliverer that trusts the CAs of this file, if any.
pub(crate) fn deliverer<R: Resolver>(
    settings: OutboundSettings,
    resolver: R,
    store: OneMessage,
    ca_file: Option<&Path>,
) -> Deliverer<OneMessage, R> {
    let files = ClientTlsFiles {
        certificate_and_key: None,
        ca_file: ca_file.map(Path::to_owned),
        ca_path: None,
        append_default_ca: false,
        tls12: true,
    };
    let tls = ClientTls::load(&files, 1_795_510_800).unwrap_or_else(|errors| panic!("{errors:?}"));
    Deliverer::new(Arc::new(settings), Arc::new(tls), Arc::new(resolver), Arc::new(store))
}

/// Delivers a message to these recipients, in a task of its own as the daemon does.
pub(crate) async fn deliver(
    settings: OutboundSettings,
    resolver: SystemResolver,
    data: Result<Vec<u8>, StoreError>,
    recipients: &[&str],
) -> Vec<Attempt> {
    let lease = lease(recipients, data.as_ref().map_or(1, Vec::len));
    let deliverer = deliverer(settings, resolver, OneMessage::new(data), None);
    let delivery = async move { deliverer.deliver(&lease, Timestamp(1_795_510_900_000)).await };
    tokio::spawn(delivery).await.unwrap()
}

/// `7 relayed 2.0.0`, in order of the recipients.
pub(crate) fn short(attempts: &[Attempt]) -> Vec<String> {
    let mut lines: Vec<String> = attempts
        .iter()
        .map(|attempt| {
            let kind = match attempt.outcome {
                Outcome::Relayed(_) => "relayed",
                Outcome::Deferred(_) => "deferred",
                Outcome::Failed(_) => "failed",
            };
            format!("{} {kind} {}", attempt.number, attempt.outcome.report().status)
        })
        .collect();
    lines.sort();
    lines
}
