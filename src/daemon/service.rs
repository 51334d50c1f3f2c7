//! The daemon: opens the queue, listens, delivers, reloads, stops.
//!
//! **Implements** SIGHUP (reload), SIGTERM and SIGINT (finish what is being said, then stop), Type=notify.
//! **Does not** fork or change its user: systemd does.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::StartError;
use super::listeners::{Listeners, Materials};
use super::queue_commands::{Means, carry_out};
use super::signals::{Health, Signals};
use super::watch::Watch;
use crate::admin::order::{Order, Progress};
use crate::admin::request::{Answer, Request};
use crate::config::{LogSettings, Settings};
use crate::io::admission::Admission;
use crate::io::dns::SystemResolver;
use crate::io::journal::{self, Journal};
use crate::io::listener::{Activated, SessionIds, Shared, connections_max};
use crate::io::permits::Permits;
use crate::io::plan::Plan;
use crate::io::scheduler::Scheduler;
use crate::io::store::SqliteStore;
use crate::io::{admin_socket, clock, systemd};
use crate::observe::log;
use crate::queue::Store;
use crate::queue::operator::Operator;

/// A daemon that runs. Dropping it stops nothing in an orderly way: call [`Daemon::stop`].
pub struct Daemon {
    pub(super) config: Option<PathBuf>,
    pub(super) store: Arc<SqliteStore>,
    pub(super) plan: Arc<ArcSwap<Plan<SqliteStore, SystemResolver>>>,
    pub(super) listeners: Mutex<Listeners>,
    pub(super) shared: Shared,
    pub(super) watch: Arc<Watch>,
    pub(super) queued: Arc<Notify>,
    pub(super) queue_directory: PathBuf,
    pub(super) log: LogSettings,
    pub(super) grace: Duration,
    pub(super) journal_octets_max: u64,
    scheduler: tokio::task::JoinHandle<()>,
    background: TaskTracker,
    /// Until the daemon runs.
    signals: std::sync::Mutex<Option<Signals>>,
}

impl Daemon {
    /// Opens the queue, reads certificates, listens, and begins to deliver. `config` is read again on reload.
    ///
    /// # Errors
    /// [`StartError`]; nothing listens then.
    pub fn start(
        settings: &Settings,
        config: Option<PathBuf>,
        activated: Vec<Activated>,
    ) -> Result<Arc<Self>, StartError> {
        let now = clock::unix_seconds();
        let directory = settings.queue.directory.clone();
        let store = SqliteStore::open(&settings.queue, clock::timestamp).map_err(|source| StartError::Queue {
            directory: directory.clone(),
            source,
        })?;
        for warning in store.warnings() {
            log::queue_warning(warning);
        }
        let store = Arc::new(store);
        let queued = Arc::new(Notify::new());
        let shared = Shared {
            ids: Arc::new(SessionIds::new(clock::timestamp())),
            permits: Arc::new(Permits::new(connections_max(settings.admission.sessions_max))),
            sessions: TaskTracker::new(),
            stopping: CancellationToken::new(),
            journal: open_journal(&directory, settings.journal_octets_max)?,
            counters: Arc::default(),
            admission: Arc::new(Admission::new(&settings.admission)),
            login_failures: Arc::default(),
            dovecots: Arc::default(),
        };
        let watch = Arc::new(Watch::default());
        // Before anything listens: whoever sees the daemon answer may stop it.
        let signals = Signals::listen().map_err(|source| StartError::System {
            what: "signals cannot be received",
            source,
        })?;
        let materials = Materials::load(settings, &watch, now).map_err(StartError::Tls)?;
        let plan = Arc::new(ArcSwap::from_pointee(materials.plan(&store)));
        let mut listeners = Listeners::new(activated, shared.clone());
        listeners.apply(settings, &materials, &store, &queued)?;
        for (name, address) in listeners.unused() {
            log::socket_unused(&name, &address);
        }
        let admin = admin_socket::bind(&directory).map_err(|source| StartError::System {
            what: "the admin socket cannot be bound",
            source,
        })?;
        let scheduler = Scheduler::new(Arc::clone(&plan), Arc::clone(&store), Arc::clone(&queued));
        let scheduler = tokio::spawn(scheduler.run(shared.stopping.clone(), settings.shutdown_timeout));
        watch.follow(materials.judges.clone());
        tokio::spawn(Arc::clone(&watch).run(shared.stopping.clone()));
        let daemon = Arc::new(Self {
            config,
            store,
            plan,
            listeners: Mutex::new(listeners),
            shared,
            watch,
            queued,
            queue_directory: directory,
            log: settings.log,
            grace: settings.shutdown_timeout,
            journal_octets_max: settings.journal_octets_max,
            scheduler,
            background: TaskTracker::new(),
            signals: std::sync::Mutex::new(Some(signals)),
        });
        daemon.serve_admin(admin);
        Ok(daemon)
    }

    /// The addresses listened on, with the ports the system chose.
    pub async fn addresses(&self) -> Vec<(String, SocketAddr)> {
        self.listeners.lock().await.addresses()
    }

    /// Runs until SIGTERM or SIGINT, reloads on SIGHUP, then stops.
    ///
    /// # Errors
    /// When the queue failed for good: exit with an error, so that the supervisor starts anew.
    pub async fn run(self: Arc<Self>) -> Result<(), String> {
        let taken = self.signals.lock().unwrap_or_else(PoisonError::into_inner).take();
        let signals = taken.ok_or("this daemon runs already")?;
        let listening: Vec<String> = self
            .addresses()
            .await
            .iter()
            .map(|(name, address)| format!("{name} {address}"))
            .collect();
        log::daemon_started(&listening);
        systemd::ready(&format!("listening on {}", listening.join(", ")));
        let fault = signals
            .until_stopped(async || drop(self.reload().await), || self.health())
            .await;
        systemd::stopping();
        self.stop().await;
        fault.map_or(Ok(()), Err)
    }

    fn health(&self) -> Health {
        match self.store.fault() {
            Some(fault) => Health::Failed(fault),
            None => self.store.refusal().map_or(Health::Good, Health::Refusing),
        }
    }

    /// Stops accepting, finishes replies and deliveries under way within `shutdown_timeout`, closes the queue.
    pub async fn stop(&self) {
        log::daemon_stopping();
        self.shared.stopping.cancel();
        self.listeners.lock().await.close();
        self.shared.sessions.close();
        let _ = tokio::time::timeout(self.grace, self.shared.sessions.wait()).await;
        let abort = self.scheduler.abort_handle();
        let deadline = tokio::time::Instant::now() + self.grace + Duration::from_secs(1);
        while !self.scheduler.is_finished() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        abort.abort();
        self.plan.load_full().deliverer.connections.close().await;
        let (store, journal) = (Arc::clone(&self.store), self.shared.journal.clone());
        let close = move || {
            store.close();
            if let Some(journal) = journal {
                journal.close();
            }
        };
        let _ = tokio::task::spawn_blocking(close).await;
        let _ = std::fs::remove_file(admin_socket::path(&self.queue_directory));
        log::daemon_stopped();
    }

    fn serve_admin(self: &Arc<Self>, listener: tokio::net::UnixListener) {
        let daemon = Arc::clone(self);
        let stopping = self.shared.stopping.clone();
        self.background.spawn(async move {
            admin_socket::serve(listener, stopping, move |request, told| {
                let daemon = Arc::clone(&daemon);
                async move { daemon.answer(request, told).await }
            })
            .await;
        });
    }

    async fn answer(&self, request: Request, told: mpsc::Sender<Progress>) -> Answer {
        match request {
            Request::Reload => match self.reload().await {
                Ok(message) => Answer { done: true, message },
                Err(message) => Answer { done: false, message },
            },
            Request::Metrics => Answer {
                done: true,
                message: self.watch.metrics(),
            },
            Request::Queue(order) => self.change_queue(&order, told).await,
            Request::Delivering => self.tell_delivering(told).await,
            Request::Flush => match self.store.flush(clock::timestamp()).await {
                Ok(count) => {
                    self.queued.notify_one();
                    Answer {
                        done: true,
                        message: format!(
                            "{count} recipients are due now that waited for a retry; no destination rests any more"
                        ),
                    }
                }
                Err(error) => Answer {
                    done: false,
                    message: error.to_string(),
                },
            },
        }
    }

    async fn change_queue(&self, order: &Order, told: mpsc::Sender<Progress>) -> Answer {
        let plan = self.plan.load_full();
        let means = Means {
            store: &*self.store,
            outbound: Some(&plan.deliverer.settings),
            bounce_lifetime: plan.queue.bounce_lifetime,
        };
        let answer = carry_out(&means, order, told).await;
        self.queued.notify_one();
        answer
    }

    async fn tell_delivering(&self, told: mpsc::Sender<Progress>) -> Answer {
        let leased = self.store.leased();
        let message = format!("{} under delivery", leased.len());
        for queue_id in leased {
            let message = String::new();
            let done = true;
            let progress = Progress {
                queue_id,
                done,
                message,
            };
            if told.send(progress).await.is_err() {
                break;
            }
        }
        Answer { done: true, message }
    }
}

/// The journal, unless none is wanted: then what an earlier run has left goes too.
fn open_journal(directory: &Path, octets_max: u64) -> Result<Option<Arc<Journal>>, StartError> {
    let opened = if octets_max == 0 {
        journal::remove(directory).map(|()| None)
    } else {
        Journal::open(directory, octets_max).map(Some)
    };
    opened.map_err(|source| StartError::System {
        what: "the decision journal cannot be opened",
        source,
    })
}
