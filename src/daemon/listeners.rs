//! The listeners of a daemon: which sockets, with which settings; and the TLS materials they share.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::error::StartError;
use super::watch::Watch;
use crate::config::sasl::PasswordSource;
use crate::config::{ListenerSettings, Settings};
use crate::io::authenticator::{Authenticator, PasswordService};
use crate::io::deliver::Deliverer;
use crate::io::dns::SystemResolver;
use crate::io::inbound::Inbound;
use crate::io::listener::{self, Activated, Shared};
use crate::io::plan::Plan;
use crate::io::questions::Questions;
use crate::io::store::SqliteStore;
use crate::io::tls::client::ClientTls;
use crate::io::tls::error::TlsFileError;
use crate::io::tls::judge::Judge;
use crate::io::tls::server::ServerTls;
use crate::io::tls::settings::ServerTlsFiles;
use crate::outbound::settings::OutboundSettings;
use crate::policy::login_failures::FailureLimits;
use crate::queue::settings::QueueSettings;

/// Everything that is made of settings and files, made before anything is swapped.
pub(super) struct Materials {
    server: Vec<Option<Arc<ServerTls>>>,
    failure_limits: FailureLimits,
    /// One for all listeners that name the same files.
    pub(super) judges: Vec<Arc<Judge>>,
    client: Arc<ClientTls>,
    queue: Arc<QueueSettings>,
    resolver: Arc<SystemResolver>,
    questions: Arc<Questions>,
    outbound: Arc<OutboundSettings>,
}

impl Materials {
    /// Reads every certificate, key, CA file and revocation list that the settings name.
    pub(super) fn load(settings: &Settings, watch: &Watch, now: i64) -> Result<Self, Vec<TlsFileError>> {
        let mut errors = Vec::new();
        let mut server = Vec::new();
        let mut judges: Vec<Arc<Judge>> = Vec::new();
        for listener in &settings.listeners {
            let loaded = listener
                .tls
                .as_ref()
                .map(|files| ServerTls::with_judge(files, judge(files, &mut judges, watch, now), now))
                .transpose();
            server.push(
                loaded
                    .unwrap_or_else(|found| {
                        errors.extend(found);
                        None
                    })
                    .map(Arc::new),
            );
        }
        // Made anew on reload, so that a changed resolv.conf is read.
        let resolver = Arc::new(SystemResolver::new(&settings.resolver_addresses));
        match ClientTls::load(&settings.outbound_tls, now) {
            Ok(client) if errors.is_empty() => Ok(Self {
                server,
                failure_limits: settings.failure_limits,
                judges,
                client: Arc::new(client),
                queue: Arc::new(settings.queue.clone()),
                questions: Arc::new(Questions::new(Arc::clone(&resolver), settings.policy_connections)),
                resolver,
                outbound: Arc::new(settings.outbound.clone()),
            }),
            Ok(_) => Err(errors),
            Err(found) => {
                errors.extend(found);
                Err(errors)
            }
        }
    }

    /// What deliveries work with.
    pub(super) fn plan(&self, store: &Arc<SqliteStore>) -> Plan<SqliteStore, SystemResolver> {
        let deliverer = Deliverer::new(
            Arc::clone(&self.outbound),
            Arc::clone(&self.client),
            Arc::clone(&self.resolver),
            Arc::clone(store),
        );
        Plan {
            deliverer,
            queue: Arc::clone(&self.queue),
        }
    }
}

/// The judge for these files: one of those made already, or a new one.
fn judge(
    files: &ServerTlsFiles,
    judges: &mut Vec<Arc<Judge>>,
    watch: &Watch,
    now: i64,
) -> Result<Arc<Judge>, Vec<TlsFileError>> {
    if let Some(known) = judges.iter().find(|judge| judge.is_of(files)) {
        return Ok(Arc::clone(known));
    }
    let shared = watch.shared(files).map_err(|error| vec![error])?;
    let judge = Arc::new(Judge::sharing(files, shared, now)?);
    judges.push(Arc::clone(&judge));
    Ok(judge)
}

struct Open {
    name: String,
    /// As bound, with the port the system chose.
    address: SocketAddr,
    /// The number of the socket that systemd handed over, when it is one.
    handed: Option<usize>,
    inbound: Arc<ArcSwap<Inbound<SqliteStore>>>,
    closing: CancellationToken,
}

/// A socket that no listener has yet.
struct Fresh {
    /// The listener's number in the settings.
    number: usize,
    handed: Option<usize>,
    socket: std::net::TcpListener,
}

/// The open listeners, keyed by the address the configuration names.
pub(super) struct Listeners {
    open: HashMap<SocketAddr, Open>,
    /// Kept open for good: systemd would not hand a closed one over again, and its port stays taken.
    activated: Vec<Activated>,
    shared: Shared,
}

impl Listeners {
    pub(super) fn new(activated: Vec<Activated>, shared: Shared) -> Self {
        Self {
            open: HashMap::new(),
            activated,
            shared,
        }
    }

    pub(super) fn addresses(&self) -> Vec<(String, SocketAddr)> {
        let mut all: Vec<_> = self
            .open
            .values()
            .map(|open| (open.name.clone(), open.address))
            .collect();
        all.sort();
        all
    }

    /// Brings the open listeners to what the settings say: new addresses are bound first, so that a failure leaves
    /// everything as it was; then settings are swapped; then addresses no longer named are closed. Sessions go on
    /// with the settings they began with.
    pub(super) fn apply(
        &mut self,
        settings: &Settings,
        materials: &Materials,
        store: &Arc<SqliteStore>,
        queued: &Arc<Notify>,
    ) -> Result<(), StartError> {
        let mut fresh: Vec<Fresh> = Vec::new();
        for (number, listener) in settings.listeners.iter().enumerate() {
            if !self.open.contains_key(&listener.address) {
                let (handed, socket) = self.socket(listener, &fresh)?;
                fresh.push(Fresh { number, handed, socket });
            }
        }
        for (listener, tls) in settings.listeners.iter().zip(&materials.server) {
            if let Some(open) = self.open.get_mut(&listener.address) {
                open.name.clone_from(&listener.name);
                open.inbound.store(Arc::new(inbound(
                    listener,
                    tls.as_ref(),
                    materials,
                    store,
                    queued,
                    &self.shared,
                )));
            }
        }
        for fresh in fresh {
            let number = fresh.number;
            if let (Some(listener), Some(tls)) = (settings.listeners.get(number), materials.server.get(number)) {
                let inbound = inbound(listener, tls.as_ref(), materials, store, queued, &self.shared);
                self.open_listener(listener, fresh, inbound)?;
            }
        }
        let named: Vec<SocketAddr> = settings.listeners.iter().map(|listener| listener.address).collect();
        self.open.retain(|address, open| {
            let stays = named.contains(address);
            if !stays {
                open.closing.cancel();
            }
            stays
        });
        Ok(())
    }

    /// The socket systemd handed over for the listener, or a new one. Its address tells it best: one name may stand
    /// for several sockets.
    fn socket(
        &self,
        listener: &ListenerSettings,
        fresh: &[Fresh],
    ) -> Result<(Option<usize>, std::net::TcpListener), StartError> {
        let failed = |source| StartError::Listen {
            name: listener.name.clone(),
            address: listener.address,
            source,
        };
        let is_taken = |number: usize| {
            self.open.values().any(|open| open.handed == Some(number))
                || fresh.iter().any(|fresh| fresh.handed == Some(number))
        };
        let free = || self.activated.iter().enumerate().filter(|(n, _)| !is_taken(*n));
        let has_address = |socket: &Activated| socket.socket.local_addr().is_ok_and(|own| own == listener.address);
        let name = listener.socket_name.as_deref().unwrap_or(&listener.name);
        let handed = free()
            .find(|(_, socket)| has_address(socket))
            .or_else(|| free().find(|(_, socket)| socket.name == name));
        match handed {
            Some((number, handed)) => Ok((Some(number), handed.socket.try_clone().map_err(failed)?)),
            None => Ok((
                None,
                listener::bind(listener.address).map_err(|source| self.in_use(listener, source))?,
            )),
        }
    }

    /// Why an address cannot be bound; this daemon may itself be in the way.
    fn in_use(&self, listener: &ListenerSettings, source: io::Error) -> StartError {
        let (name, address) = (listener.name.clone(), listener.address);
        let is_ours =
            |open: &&Open| open.address.port() == address.port() && open.address.is_ipv4() == address.is_ipv4();
        match self.open.values().find(is_ours) {
            Some(open) if source.kind() == io::ErrorKind::AddrInUse => StartError::Overlaps {
                name,
                address,
                open: open.address,
            },
            _ => StartError::Listen { name, address, source },
        }
    }

    /// Name and address of every socket handed over that no listener has.
    pub(super) fn unused(&self) -> Vec<(String, String)> {
        let is_used = |number: usize| self.open.values().any(|open| open.handed == Some(number));
        let unused = self.activated.iter().enumerate().filter(|(n, _)| !is_used(*n));
        let described = unused.map(|(_, socket)| {
            let address = socket.socket.local_addr();
            (
                socket.name.clone(),
                address.map_or_else(|error| error.to_string(), |own| own.to_string()),
            )
        });
        described.collect()
    }

    fn open_listener(
        &mut self,
        listener: &ListenerSettings,
        fresh: Fresh,
        inbound: Inbound<SqliteStore>,
    ) -> Result<(), StartError> {
        let Fresh { handed, socket, .. } = fresh;
        let address = socket.local_addr().map_err(|source| StartError::Listen {
            name: listener.name.clone(),
            address: listener.address,
            source,
        })?;
        let inbound = Arc::new(ArcSwap::from_pointee(inbound));
        let closing = CancellationToken::new();
        let name = listener.name.clone();
        listener::accept(socket, Arc::clone(&inbound), self.shared.clone(), closing.clone()).map_err(|source| {
            StartError::Listen {
                name: name.clone(),
                address,
                source,
            }
        })?;
        self.open.insert(
            listener.address,
            Open {
                name,
                address,
                handed,
                inbound,
                closing,
            },
        );
        Ok(())
    }

    pub(super) fn close(&mut self) {
        for open in self.open.values() {
            open.closing.cancel();
        }
        self.open.clear();
    }
}

fn inbound(
    listener: &ListenerSettings,
    tls: Option<&Arc<ServerTls>>,
    materials: &Materials,
    store: &Arc<SqliteStore>,
    queued: &Arc<Notify>,
    shared: &Shared,
) -> Inbound<SqliteStore> {
    let service = listener.passwords.as_ref().map(|source| match source {
        PasswordSource::File(file) => PasswordService::File(Arc::clone(file)),
        PasswordSource::Dovecot(endpoint) => PasswordService::Dovecot(shared.dovecots.at(endpoint)),
    });
    Inbound {
        authenticator: service.map(|service| {
            let failures = Arc::clone(&shared.login_failures);
            Arc::new(Authenticator::new(service, materials.failure_limits, failures))
        }),
        session: Arc::clone(&listener.session),
        tls: tls.cloned(),
        store: Arc::clone(store),
        queue: Arc::clone(&materials.queue),
        outbound: Arc::clone(&materials.outbound),
        filters: listener.filters.clone(),
        queued: Arc::clone(queued),
        questions: Arc::clone(&materials.questions),
        journal: shared.journal.clone(),
        counters: Arc::clone(&shared.counters),
        admission: Arc::clone(&shared.admission),
    }
}
