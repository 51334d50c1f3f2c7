//! The listeners of a daemon: which sockets, with which settings; and the TLS materials they share.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::error::StartError;
use crate::config::{ListenerSettings, Settings};
use crate::io::deliver::Deliverer;
use crate::io::dns::SystemResolver;
use crate::io::inbound::Inbound;
use crate::io::listener::{self, Activated, Shared};
use crate::io::plan::Plan;
use crate::io::store::SqliteStore;
use crate::io::tls::client::ClientTls;
use crate::io::tls::error::TlsFileError;
use crate::io::tls::server::ServerTls;
use crate::observe::log;
use crate::outbound::settings::OutboundSettings;
use crate::queue::settings::QueueSettings;

/// Everything that is made of settings and files, made before anything is swapped.
pub(super) struct Materials {
    server: Vec<Option<Arc<ServerTls>>>,
    client: Arc<ClientTls>,
    queue: Arc<QueueSettings>,
    resolver: Arc<SystemResolver>,
    outbound: Arc<OutboundSettings>,
}

impl Materials {
    /// Reads every certificate, key and CA file that the settings name.
    pub(super) fn load(settings: &Settings, now: i64) -> Result<Self, Vec<TlsFileError>> {
        let mut errors = Vec::new();
        let mut server = Vec::new();
        for listener in &settings.listeners {
            let loaded = listener
                .tls
                .as_ref()
                .map(|files| ServerTls::load(files, now))
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
        match ClientTls::load(&settings.outbound_tls, now) {
            Ok(client) if errors.is_empty() => Ok(Self {
                server,
                client: Arc::new(client),
                queue: Arc::new(settings.queue.clone()),
                // Made anew on reload, so that a changed resolv.conf is read.
                resolver: Arc::new(SystemResolver::from_system()),
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
        let deliverer = Deliverer {
            settings: Arc::clone(&self.outbound),
            tls: Arc::clone(&self.client),
            resolver: Arc::clone(&self.resolver),
            store: Arc::clone(store),
        };
        Plan {
            deliverer,
            queue: Arc::clone(&self.queue),
        }
    }
}

struct Open {
    name: String,
    /// As bound, with the port the system chose.
    address: SocketAddr,
    inbound: Arc<ArcSwap<Inbound<SqliteStore>>>,
    closing: CancellationToken,
}

/// The open listeners, keyed by the address the configuration names.
pub(super) struct Listeners {
    open: HashMap<SocketAddr, Open>,
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
        let mut fresh = Vec::new();
        for (n, listener) in settings.listeners.iter().enumerate() {
            if !self.open.contains_key(&listener.address) {
                fresh.push((n, self.socket(listener)?));
            }
        }
        for (listener, tls) in settings.listeners.iter().zip(&materials.server) {
            if let Some(open) = self.open.get(&listener.address) {
                open.inbound
                    .store(Arc::new(inbound(listener, tls.as_ref(), materials, store, queued)));
            }
        }
        for (n, socket) in fresh {
            if let (Some(listener), Some(tls)) = (settings.listeners.get(n), materials.server.get(n)) {
                let inbound = inbound(listener, tls.as_ref(), materials, store, queued);
                self.open_listener(listener, socket, inbound)?;
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

    /// The socket systemd handed over under the listener's name or address, or a new one.
    fn socket(&mut self, listener: &ListenerSettings) -> Result<std::net::TcpListener, StartError> {
        let fits = |activated: &Activated| {
            let by_name = listener.socket_name.as_deref().unwrap_or(&listener.name) == activated.name;
            by_name
                || activated
                    .socket
                    .local_addr()
                    .is_ok_and(|address| address == listener.address)
        };
        if let Some(at) = self.activated.iter().position(fits) {
            return Ok(self.activated.remove(at).socket);
        }
        listener::bind(listener.address).map_err(|source| StartError::Listen {
            name: listener.name.clone(),
            address: listener.address,
            source,
        })
    }

    fn open_listener(
        &mut self,
        listener: &ListenerSettings,
        socket: std::net::TcpListener,
        inbound: Inbound<SqliteStore>,
    ) -> Result<(), StartError> {
        let address = socket.local_addr().map_err(|source| StartError::Listen {
            name: listener.name.clone(),
            address: listener.address,
            source,
        })?;
        let inbound = Arc::new(ArcSwap::from_pointee(inbound));
        let closing = CancellationToken::new();
        let accepting = listener::accept(socket, Arc::clone(&inbound), self.shared.clone(), closing.clone());
        let name = listener.name.clone();
        tokio::spawn(async move {
            if let Err(error) = accepting.await {
                log::accept_failed(&error.to_string());
            }
        });
        self.open.insert(
            listener.address,
            Open {
                name,
                address,
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
) -> Inbound<SqliteStore> {
    Inbound {
        session: Arc::clone(&listener.session),
        tls: tls.cloned(),
        store: Arc::clone(store),
        queue: Arc::clone(&materials.queue),
        outbound: Arc::clone(&materials.outbound),
        queued: Arc::clone(queued),
        resolver: Arc::clone(&materials.resolver),
    }
}
