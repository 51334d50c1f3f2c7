//! A scheduler over the model of the queue, a resolver that does what a domain is called, and a clock that can jump.
//!
//! Time is tokio's, paused: hours pass at once. The wall clock follows it, plus what a test has made it jump.

use std::cell::{Cell, OnceCell};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use estafette::io::deliver::Deliverer;
use estafette::io::dns::Resolver;
use estafette::io::plan::Plan;
use estafette::io::scheduler::Scheduler;
use estafette::io::tls::client::ClientTls;
use estafette::io::tls::settings::ClientTlsFiles;
use estafette::mail::dsn::{Notify as DsnNotify, RecipientRequest};
use estafette::mail::envelope::{Body, Demands, Envelope, Submitter};
use estafette::mail::queue_id::QueueId;
use estafette::outbound::route::{LookupError, MailExchanger};
use estafette::outbound::settings::{ConnectionReuse, OutboundSettings, TlsLevel};
use estafette::queue::entry::{Entry, NewRecipient};
use estafette::queue::memory::MemoryStore;
use estafette::queue::settings::QueueSettings;
use estafette::queue::{Draft, Store};
use estafette::time::Timestamp;
use estafette::wire::path::{ForwardPath, ReversePath};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::moody_store::MoodyStore;

pub(crate) const HOUR: Duration = Duration::from_hours(1);
pub(crate) const DAY: Duration = Duration::from_hours(24);

thread_local! {
    static START: OnceCell<Instant> = const { OnceCell::new() };
    static JUMPED_MILLIS: Cell<i64> = const { Cell::new(0) };
}

/// The wall clock of the test's thread.
pub(crate) fn wall() -> Timestamp {
    let start = START.with(|start| *start.get_or_init(Instant::now));
    let jumped = JUMPED_MILLIS.with(Cell::get);
    Timestamp(1_795_510_800_000 + jumped).plus(start.elapsed())
}

/// Sets the wall clock forward, or back.
pub(crate) fn jump(seconds: i64) {
    JUMPED_MILLIS.with(|jumped| jumped.set(jumped.get() + seconds * 1000));
}

/// What was asked for, by domain.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    times: HashMap<String, Vec<Timestamp>>,
    at_once: HashMap<String, usize>,
    at_once_max: HashMap<String, usize>,
    gone: HashSet<String>,
}

/// Answers by the name of the domain: `dead…` gets no answer from the DNS, `gone…` does not exist, `hangs…` is never
/// answered, and whoever asks for `panics…` panics.
#[derive(Clone, Default)]
pub(crate) struct Names(Arc<Mutex<Asked>>);

impl Names {
    fn asked<T>(&self, look: impl FnOnce(&mut Asked) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on this domain does not exist, which is an answer.
    pub(crate) fn have_no(&self, domain: &str) {
        self.asked(|asked| asked.gone.insert(domain.into()));
    }

    /// When it was asked for.
    pub(crate) fn times(&self, domain: &str) -> Vec<Timestamp> {
        self.asked(|asked| asked.times.get(domain).cloned().unwrap_or_default())
    }

    /// Deliveries that were under way there at once, at most.
    pub(crate) fn at_once_max(&self, domain: &str) -> usize {
        self.asked(|asked| asked.at_once_max.get(domain).copied().unwrap_or_default())
    }
}

impl Resolver for Names {
    async fn mx(&self, domain: &str) -> Result<Vec<MailExchanger>, LookupError> {
        self.asked(|asked| {
            asked.times.entry(domain.into()).or_default().push(wall());
            let now = asked.at_once.entry(domain.into()).or_default();
            *now += 1;
            let most = asked.at_once_max.entry(domain.into()).or_default();
            *most = (*most).max(*now);
        });
        assert!(!domain.starts_with("panics"), "as the test wants it");
        if domain.starts_with("hangs") {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.asked(|asked| *asked.at_once.entry(domain.into()).or_default() -= 1);
        if domain.starts_with("gone") || self.asked(|asked| asked.gone.contains(domain)) {
            return Err(LookupError::NotFound);
        }
        Err(LookupError::Temporary("the test says so".into()))
    }

    async fn addresses(&self, _: &str, _: bool, _: bool) -> Result<Vec<IpAddr>, LookupError> {
        Err(LookupError::NotFound)
    }
}

/// A queue with its scheduler.
pub(crate) struct World {
    pub(crate) store: MoodyStore<MemoryStore>,
    pub(crate) names: Names,
    queued: Arc<Notify>,
    stopping: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

impl World {
    /// Starts the scheduler, with Postfix's defaults but for what the test changes.
    pub(crate) fn start(change: impl FnOnce(&mut QueueSettings)) -> Self {
        let mut queue = queue_settings();
        change(&mut queue);
        let store = MoodyStore::new(MemoryStore::new(wall));
        let (names, queued) = (Names::default(), Arc::new(Notify::new()));
        let files = ClientTlsFiles {
            certificate_and_key: None,
            ca_file: None,
            ca_path: None,
            append_default_ca: false,
            tls12: true,
        };
        let plan = Plan {
            deliverer: Deliverer::new(
                Arc::new(outbound_settings()),
                Arc::new(ClientTls::load(&files, 0).expect("no files")),
                Arc::new(names.clone()),
                Arc::new(store.clone()),
            ),
            queue: Arc::new(queue),
        };
        let plan = Arc::new(ArcSwap::from_pointee(plan));
        let scheduler = Scheduler::new(plan, Arc::new(store.clone()), Arc::clone(&queued)).with_clock(wall);
        let stopping = CancellationToken::new();
        tokio::spawn(scheduler.run(stopping.clone(), Duration::ZERO));
        Self {
            store,
            names,
            queued,
            stopping,
        }
    }

    /// Queues a message that stays for five days.
    pub(crate) async fn queue(&self, from: &str, to: &str) -> QueueId {
        self.queue_for(from, to, 5 * DAY, None).await
    }

    pub(crate) async fn queue_for(&self, from: &str, to: &str, lifetime: Duration, hold: Option<&str>) -> QueueId {
        let id = self.commit(from, &[to], lifetime, hold, Demands::default()).await;
        self.queued.notify_one();
        id
    }

    /// Queues a message whose recipients all ask the same, and does not wake the scheduler.
    pub(crate) async fn queue_asking(&self, from: &str, to: &[&str], notify: &str) -> QueueId {
        let request = RecipientRequest {
            notify: DsnNotify::parse(notify),
            original_recipient: None,
        };
        let demands = Demands {
            recipients: vec![request; to.len()],
            ..Demands::default()
        };
        self.commit(from, to, 5 * DAY, None, demands).await
    }

    async fn commit(
        &self,
        from: &str,
        to: &[&str],
        lifetime: Duration,
        hold: Option<&str>,
        demands: Demands,
    ) -> QueueId {
        let mut draft = self.store.begin().await.expect("begun");
        draft
            .append(b"Subject: hello\r\n\r\nthe body\r\n")
            .await
            .expect("appended");
        let path = |to: &&str| ForwardPath::parse(&format!("<{to}>")).expect("a path");
        let envelope = Envelope {
            reverse_path: ReversePath::parse(&format!("<{from}>")).expect("a path"),
            forward_paths: to.iter().map(path).collect(),
            body: Body::SevenBit,
            submitter: Submitter::local("test"),
            demands,
            hold: hold.map(Into::into),
        };
        let recipient = |to: &&str| NewRecipient {
            destination: to.rsplit('@').next().expect("a domain").to_owned(),
            forward_path: path(to),
        };
        let now = wall();
        draft
            .commit(envelope, to.iter().map(recipient).collect(), now, now.plus(lifetime))
            .await
            .expect("queued")
    }

    pub(crate) fn notify(&self) {
        self.queued.notify_one();
    }

    pub(crate) async fn entries(&self) -> Vec<Entry> {
        self.store.list(None, 1_000_000).await.expect("a listing")
    }

    pub(crate) async fn entry(&self, id: QueueId) -> Option<Entry> {
        self.entries().await.into_iter().find(|entry| entry.id == id)
    }

    /// What the relay itself has queued: bounces and warnings, in order.
    pub(crate) async fn notices(&self) -> Vec<String> {
        let mut texts = Vec::new();
        for entry in self.entries().await {
            if entry.submitter == Submitter::local("bounce") {
                let octets = self.store.data(entry.id, 0, 100_000).await.expect("data");
                texts.push(String::from_utf8(octets.to_vec()).expect("ASCII"));
            }
        }
        texts
    }
}

fn queue_settings() -> QueueSettings {
    QueueSettings {
        directory: "".into(),
        inline_octets_max: 0,
        minfree_octets: 0,
        message_size_octets_max: 0,
        minimal_backoff: Duration::from_secs(300),
        maximal_backoff: Duration::from_secs(4000),
        lifetime: 5 * DAY,
        bounce_lifetime: 5 * DAY,
        run_delay: Duration::from_secs(300),
        delay_warning: Duration::ZERO,
        in_flow_delay: Duration::ZERO,
    }
}

fn outbound_settings() -> OutboundSettings {
    let limit = Duration::from_secs(30);
    OutboundSettings {
        myhostname: "relay.example.org".into(),
        hello_name: "relay.example.org".into(),
        mydomain: "example.org".into(),
        relayhost: None,
        tls_level: TlsLevel::None,
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
        initial_destination_concurrency: 5,
        reuse: ConnectionReuse::default(),
        mx_sessions_max: 2,
        mx_addresses_max: 5,
        bounce_octets_max: 50_000,
        own_endpoints: Vec::new(),
    }
}
