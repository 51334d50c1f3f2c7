//! Connections that wait for the next message, so that it need not connect, greet and shake hands anew.
//!
//! **Implements** `smtp_connection_cache_on_demand`, `smtp_connection_cache_time_limit`,
//! `smtp_connection_reuse_time_limit` and `smtp_connection_reuse_count_limit` of postconf(5), and
//! `smtp_tls_connection_reuse`.
//! **Does not** share anything between settings: a reload begins with an empty set, so that the names, the bind addresses,
//! `smtp_tls_wrappermode`, our own certificate and the trusted CAs are the same for all connections of one set.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::connection::{Connection, now};
use super::places::Place;
use crate::outbound::settings::{ConnectionReuse, OutboundSettings, TlsLevel};

/// The most idle connections in all; each holds a descriptor.
const IDLE_MAX: usize = 256;
/// How often idle connections are looked at: whether the peer has closed or spoken, and whether their time is over.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);
/// How long the farewells of many connections may take together.
const FAREWELLS_TIMEOUT: Duration = Duration::from_secs(1);

/// What makes two connections interchangeable: host, address, what its certificate must show, and the level of TLS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Where to.
    pub place: Arc<Place>,
    /// The level it was made at; [`TlsLevel::None`] for a retry in plaintext.
    pub tls_level: TlsLevel,
}

/// The idle connections of one set of settings.
#[derive(Clone)]
pub struct Connections(Arc<Shared>);

struct Shared {
    reuse: ConnectionReuse,
    per_key_max: usize,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// The latest last, since it is the likeliest to be alive.
    of: HashMap<Key, Vec<Waiting>>,
    count: usize,
    is_watched: bool,
    is_closed: bool,
}

struct Waiting {
    connection: Connection,
    since: Instant,
}

impl Connections {
    /// An empty set.
    pub fn new(settings: &OutboundSettings) -> Self {
        Self(Arc::new(Shared {
            reuse: settings.reuse,
            per_key_max: settings.destination_concurrency_max.max(1),
            idle: Mutex::default(),
        }))
    }

    /// A connection whose session is idle, if there is one whose peer has neither closed nor spoken.
    pub fn take(&self, key: &Key) -> Option<Connection> {
        let now = now();
        let mut idle = self.0.lock();
        let Idle { of, count, .. } = &mut *idle;
        let waiting = of.get_mut(key)?;
        while let Some(mut last) = waiting.pop() {
            *count = count.saturating_sub(1);
            if !last.connection.channel.is_quiet() {
                continue;
            }
            if !self.0.reuse.is_overdue(&last, now) {
                return Some(last.connection);
            }
            tokio::spawn(last.connection.finish());
        }
        None
    }

    /// Keeps a connection whose transaction has ended, or ends it when it cannot or may not be kept. Waits no longer
    /// than a farewell takes.
    pub async fn put(&self, key: &Key, connection: Connection) {
        if let Some(connection) = self.keep(key, connection) {
            connection.finish().await;
        }
    }

    /// Returns the connection when it is not kept.
    fn keep(&self, key: &Key, connection: Connection) -> Option<Connection> {
        let since = now();
        if !self.0.reuse.allows(&connection, since) {
            return Some(connection);
        }
        let mut idle = self.0.lock();
        if idle.is_closed || idle.count >= IDLE_MAX {
            return Some(connection);
        }
        let Idle { of, count, .. } = &mut *idle;
        let waiting = match of.get_mut(key) {
            Some(waiting) => waiting,
            None => of.entry(key.clone()).or_default(),
        };
        if waiting.len() >= self.0.per_key_max {
            return Some(connection);
        }
        waiting.push(Waiting { connection, since });
        *count = count.saturating_add(1);
        if !std::mem::replace(&mut idle.is_watched, true) {
            tokio::spawn(watch(Arc::clone(&self.0)));
        }
        None
    }

    /// Ends all idle connections with QUIT, within about a second, and keeps none from now on.
    pub async fn close(&self) {
        let all = {
            let mut idle = self.0.lock();
            idle.is_closed = true;
            idle.count = 0;
            std::mem::take(&mut idle.of)
        };
        farewells(all.into_values().flatten()).await;
    }
}

impl ConnectionReuse {
    /// Whether a connection may wait for another message.
    fn allows(&self, connection: &Connection, now: Instant) -> bool {
        self.is_on
            && connection.client.is_idle()
            && (self.under_tls || connection.tls.is_none())
            && (self.count_max == 0 || connection.client.reuses() < self.count_max)
            && now.saturating_duration_since(connection.made) < self.age_max
    }

    fn is_overdue(&self, waiting: &Waiting, now: Instant) -> bool {
        now.saturating_duration_since(waiting.since) >= self.idle_max
            || now.saturating_duration_since(waiting.connection.made) >= self.age_max
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out what is not to wait any longer; those whose peer has gone are dropped at once. Returns `None` when
    /// nothing is left to watch.
    fn sweep(&self) -> Option<Vec<Waiting>> {
        let now = now();
        let mut overdue = Vec::new();
        let mut idle = self.lock();
        idle.of.retain(|_, waiting| {
            waiting.retain_mut(|one| one.connection.channel.is_quiet());
            overdue.extend(waiting.extract_if(.., |one| self.reuse.is_overdue(one, now)));
            !waiting.is_empty()
        });
        idle.count = idle.of.values().map(Vec::len).sum();
        idle.is_watched = idle.count > 0 || !overdue.is_empty();
        idle.is_watched.then_some(overdue)
    }
}

/// Looks after idle connections as long as there are any; the last one goes when its time is over.
async fn watch(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(WATCH_INTERVAL).await;
        let Some(overdue) = shared.sweep() else { return };
        farewells(overdue).await;
    }
}

async fn farewells(all: impl IntoIterator<Item = Waiting>) {
    let all = async {
        for waiting in all {
            waiting.connection.finish().await;
        }
    };
    let _ = tokio::time::timeout(FAREWELLS_TIMEOUT, all).await;
}
