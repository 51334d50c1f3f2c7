//! The loop of one session: octets in, actions carried out in their order, events recorded, deadlines kept.
//!
//! **Does not** decide anything: the session does.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::sync::{Notify, OnceCell};
use tokio_util::sync::CancellationToken;

use super::door;
use super::upstream;
use super::waiting::{Asking, ReadAhead, told};
use super::wire::Wire;
use crate::io::admission::{Admission, Place};
use crate::io::authenticator::Authenticator;
use crate::io::clock;
use crate::io::journal::Journal;
use crate::io::milter::settings::Filters;
use crate::io::milter::{Message, Milters};
use crate::io::questions::Questions;
use crate::io::tls::server::ServerTls;
use crate::observe;
use crate::observe::log;
use crate::outbound::settings::OutboundSettings;
use crate::policy::limits::Counters;
use crate::policy::question::{Answer, PeerNames};
use crate::queue::Store;
use crate::queue::settings::QueueSettings;
use crate::session::settings::{SessionSettings, TlsOffer};
use crate::session::{Action, QueueRefusal, Session};

/// How long the end of a session may take altogether.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);

/// How long it may take when the session has to make room for another.
const SHED_TIME_MAX: Duration = Duration::from_millis(100);

/// What the sessions of one listener work with; replaced as a whole on reload.
pub struct Inbound<S> {
    /// The dialogue's settings.
    pub session: Arc<SessionSettings>,
    /// The certificate and the judge, when the listener offers TLS.
    pub tls: Option<Arc<ServerTls>>,
    /// Where messages go.
    pub store: Arc<S>,
    /// Lifetimes.
    pub queue: Arc<QueueSettings>,
    /// Decides under which destination a recipient is scheduled.
    pub outbound: Arc<OutboundSettings>,
    /// The content filters; `None` without any.
    pub filters: Option<Arc<Filters>>,
    /// Wakes the scheduler.
    pub queued: Arc<Notify>,
    /// Answers what restrictions ask, and finds the names of peers.
    pub questions: Arc<Questions>,
    /// Where decisions are recorded; `None` without a journal.
    pub journal: Option<Arc<Journal>>,
    /// What holders have sent; the same through every reload.
    pub counters: Arc<Mutex<Counters>>,
    /// Who is let in; the same through every reload.
    pub admission: Arc<Admission>,
    /// Verifies passwords; `None` where none is taken.
    pub authenticator: Option<Arc<Authenticator>>,
}

/// What a session was judged by.
pub(super) struct Judged<S> {
    /// The settings of the listener at that moment.
    pub(super) inbound: Arc<Inbound<S>>,
    /// What the peer showed; `None` without TLS.
    pub(super) presented: Option<Vec<CertificateDer<'static>>>,
    /// [`ServerTls::generation`] at that moment.
    pub(super) generation: u64,
    /// When time alone may change the verdict.
    pub(super) until_unix_seconds: i64,
}

/// One session and what it holds.
pub(super) struct Driver<'a, S: Store> {
    pub(super) wire: Wire,
    pub(super) session: Session,
    pub(super) session_id: String,
    pub(super) peer: SocketAddr,
    /// Our address, as the peer sees it.
    pub(super) local: Option<SocketAddr>,
    /// The settings the session began with.
    pub(super) inbound: Arc<Inbound<S>>,
    /// The listener's settings as they are now.
    pub(super) listener: &'a ArcSwap<Inbound<S>>,
    pub(super) judged: Judged<S>,
    pub(super) stopping: &'a CancellationToken,
    /// The answer that the session waits for.
    pub(super) asking: Option<Asking<Answer>>,
    /// The names of the peer, asked for once.
    pub(super) names: Arc<OnceCell<PeerNames>>,
    /// The look-up of the peer's name, until it is known. Nobody waits for it.
    pub(super) naming: Option<Asking<PeerNames>>,
    /// Whether it has begun: it does with what the peer says first.
    pub(super) is_naming: bool,
    /// What the peer sent while the session was waiting for an answer.
    pub(super) ahead: ReadAhead,
    pub(super) told_to_stop: bool,
    /// Whether it has been told that the session has to make room.
    is_shed: bool,
    /// Its place among all sessions.
    pub(super) place: Place,
    pub(super) draft: Option<S::Draft>,
    /// Octets that the draft was given.
    pub(super) appended: usize,
    /// The content filters of the session; `None` where there are none.
    pub(super) milters: Option<Milters>,
    /// The message that waits for them, beside its draft.
    pub(super) content: Option<Message>,
    /// Replies not yet written.
    pub(super) pending: Vec<u8>,
}

/// Whether the session goes on.
pub(super) enum Flow {
    Continue,
    Closed,
}

/// Serves one connection to its end. Cancel-safe in this sense: a draft that is dropped never existed.
pub async fn serve<S: Store>(
    mut stream: TcpStream,
    peer: SocketAddr,
    session_id: String,
    listener: &ArcSwap<Inbound<S>>,
    stopping: &CancellationToken,
) {
    let inbound = listener.load_full();
    // Replies are written whole; waiting for more octets would only delay them.
    let _ = stream.set_nodelay(true);
    let Some((peer, destination)) = introduced(&mut stream, peer, &session_id, &inbound, stopping).await else {
        return;
    };
    let place = match inbound.admission.enter(peer.ip(), &inbound.session) {
        Ok(place) => place,
        Err(refusal) => return door::turn_away(stream, peer, refusal, &inbound.session).await,
    };
    let local = destination.or_else(|| stream.local_addr().ok());
    let settings = Arc::clone(&inbound.session);
    let session = Session::reached_at(local, settings, peer, session_id.clone(), clock::now());
    let filters = inbound.filters.as_ref();
    let milters = filters.map(|filters| Milters::new(filters, &session_id, peer));
    let mut driver = Driver {
        local,
        wire: Wire::Plain(stream),
        session,
        session_id,
        peer,
        judged: Judged {
            inbound: Arc::clone(&inbound),
            presented: None,
            generation: 0,
            until_unix_seconds: i64::MAX,
        },
        inbound,
        listener,
        stopping,
        asking: None,
        names: Arc::default(),
        naming: None,
        is_naming: false,
        ahead: ReadAhead::default(),
        told_to_stop: false,
        is_shed: false,
        place,
        draft: None,
        appended: 0,
        milters,
        content: None,
        pending: Vec::new(),
    };
    driver.run().await;
}

/// The client of the connection, and where a proxy says that it went; `None` when nobody names it who has to, or the relay stops.
async fn introduced<S>(
    stream: &mut TcpStream,
    peer: SocketAddr,
    session_id: &str,
    inbound: &Inbound<S>,
    stopping: &CancellationToken,
) -> Option<(SocketAddr, Option<SocketAddr>)> {
    let settings = &inbound.session;
    let Some(proxy) = &settings.upstream_proxy else {
        return Some((peer, None));
    };
    let named = tokio::select! {
        named = upstream::client_of(stream, peer, proxy, &inbound.admission.introductions) => named,
        () = stopping.cancelled() => return None,
    };
    match named {
        Ok((client, destination)) => {
            log::proxy_accepted(session_id, &settings.listener, peer, client);
            Some((client, destination))
        }
        Err(why) => {
            log::proxy_refused(session_id, &settings.listener, peer, &why.to_string());
            None
        }
    }
}

impl<S: Store> Driver<'_, S> {
    async fn run(&mut self) {
        let mut stress = self.inbound.admission.stress();
        let told_to_leave = self.place.told_to_leave.clone();
        self.listen_first().await;
        stress.mark_changed();
        loop {
            let flow = self.perform_actions().await;
            self.record_events();
            if matches!(flow, Flow::Closed) {
                break;
            }
            self.notice_new_peer();
            let deadline = self.session.poll_timeout();
            let may_read = self.session.wants_bytes() || self.may_read_ahead();
            tokio::select! {
                read = self.wire.read(), if may_read => match read {
                    Ok(octets) if !octets.is_empty() => self.take_octets(&octets).await,
                    Ok(_) if !self.session.wants_bytes() => self.ahead.end(),
                    Ok(_) | Err(_) => self.session.handle_eof(clock::now()),
                },
                answer = told(&mut self.asking) => self.take_answer(answer),
                names = told(&mut self.naming) => self.take_names(names),
                () = told_to_leave.cancelled(), if !self.is_shed => self.shed(),
                Ok(()) = stress.changed() => {
                    let is_stressed = *stress.borrow_and_update();
                    self.session.handle_stress(is_stressed, clock::now());
                }
                () = until(deadline) => self.session.handle_timeout(clock::now()),
                () = until(self.ahead.gone_by) => self.session.handle_eof(clock::now()),
                () = self.stopping.cancelled(), if !self.told_to_stop => self.stop(),
            }
        }
        let filters_end = async {
            if let Some(milters) = &mut self.milters {
                milters.quit().await;
            }
        };
        let ends = async { tokio::join!(self.wire.close(), filters_end) };
        tokio::select! {
            _ = tokio::time::timeout(CLOSE_TIME_MAX, ends) => {}
            // Whoever lingers holds a place too.
            () = made_to_leave(&told_to_leave) => {}
        }
    }

    /// Hands over what the peer has sent before the greeting.
    async fn listen_first(&mut self) {
        if self.inbound.session.tls != TlsOffer::Implicit
            && self.wire.has_octets()
            && let Ok(octets) = self.wire.read().await
        {
            self.name_peer().await;
            self.session.handle_early_bytes(&octets, clock::now());
        }
    }

    /// Lets the peer wait for its reply; nobody else waits.
    async fn pause(&mut self, duration: Duration) -> Flow {
        if let Flow::Closed = self.flush().await {
            return Flow::Closed;
        }
        tokio::select! {
            () = tokio::time::sleep(duration) => {}
            () = self.stopping.cancelled() => {}
            () = self.place.told_to_leave.cancelled() => {}
            () = self.wire.gone() => {}
        }
        Flow::Continue
    }

    async fn take_octets(&mut self, octets: &[u8]) {
        if !self.told_to_stop && self.stopping.is_cancelled() {
            // What was sent after the order to stop must not be taken for sent before it.
            self.stop();
        }
        self.session.handle_space(self.inbound.store.room_octets());
        let told_to_leave = self.place.told_to_leave.clone();
        let is_ready = async {
            self.name_peer().await;
            self.hear_mechanisms().await;
            self.renew_identity().await;
        };
        if told_to_leave.run_until_cancelled(is_ready).await.is_none() {
            // Nothing more is taken from this peer.
            return self.shed();
        }
        if self.asking.is_some() {
            self.ahead.octets = self.ahead.octets.saturating_add(octets.len());
        }
        self.session.handle_bytes(octets, clock::now());
    }

    /// Nobody waits any longer for the outside world, and what is being said is finished.
    fn stop(&mut self) {
        self.told_to_stop = true;
        self.session.handle_shutdown(clock::now());
    }

    /// The session has to make room.
    fn shed(&mut self) {
        if !std::mem::replace(&mut self.is_shed, true) {
            self.session.handle_shed(clock::now());
        }
    }

    async fn perform_actions(&mut self) -> Flow {
        // Mail data may have come that is not to be handed over yet.
        self.place.update(&self.session);
        self.weigh_memory();
        while let Some(action) = self.session.poll_action() {
            let flow = match action {
                Action::Send(octets) => {
                    self.pending.extend_from_slice(&octets);
                    Flow::Continue
                }
                Action::Pause(duration) => self.pause(duration).await,
                Action::Count(event) => {
                    let exceeded = self.place.count(event, self.session.peer().ip(), &self.inbound.session);
                    self.session.handle_counted(exceeded, clock::now());
                    Flow::Continue
                }
                Action::Ask(question) => self.ask(*question),
                Action::Charge(charge) => self.charge(&charge),
                // What may be durable already is waited for, whoever needs the place.
                Action::Commit(envelope) => Box::pin(self.commit(*envelope)).await,
                Action::Discard => {
                    self.draft = None;
                    self.content = None;
                    Flow::Continue
                }
                Action::Close => {
                    self.flush().await;
                    Flow::Closed
                }
                // Each takes memory for its own time only, and not for as long as the session is.
                action => Box::pin(self.wait_for(action)).await,
            };
            self.record_events();
            // At once: whoever is known by now must not be told to leave while it waits for a filter.
            self.place.update(&self.session);
            self.weigh_memory();
            if matches!(flow, Flow::Closed) {
                return flow;
            }
        }
        self.flush().await
    }

    /// Does what others have a part in, who may be slow: a session that has to make room does not wait for them.
    async fn wait_for(&mut self, action: Action) -> Flow {
        let speaks_first = matches!(action, Action::UpgradeTls | Action::Authenticate(_));
        if speaks_first && let Flow::Closed = self.flush().await {
            return Flow::Closed;
        }
        let told_to_leave = self.place.told_to_leave.clone();
        let waiting = async {
            match action {
                Action::UpgradeTls => self.upgrade().await,
                Action::Filter(consultation) => self.filter(&consultation).await,
                Action::Authenticate(credentials) => self.authenticate(*credentials).await,
                Action::TellFilters(notice) => self.tell_filters(notice).await,
                Action::OpenDraft => self.open_draft().await,
                Action::Append(octets) => self.append(&octets).await,
                _ => Flow::Continue,
            }
        };
        if let Some(flow) = told_to_leave.run_until_cancelled(waiting).await {
            return flow;
        }
        // Whoever was being spoken to was left in the midst of it: no filter and no draft is fit for more.
        (self.milters, self.content, self.draft) = (None, None, None);
        self.shed();
        self.session.handle_append_failed(QueueRefusal::Failed, clock::now());
        Flow::Continue
    }

    fn record_events(&mut self) {
        while let Some(event) = self.session.poll_event() {
            observe::session::session_event(&event);
            if let Some(journal) = &self.inbound.journal {
                journal.record(&event, clock::timestamp());
            }
        }
    }

    /// Writes what waits. A peer that does not read is given `smtpd_timeout` and then taken for gone.
    pub(super) async fn flush(&mut self) -> Flow {
        if self.pending.is_empty() {
            return Flow::Continue;
        }
        let octets = std::mem::take(&mut self.pending);
        let written = tokio::select! {
            written = tokio::time::timeout(self.inbound.session.timeout, self.wire.write(&octets)) => written,
            // Whoever does not read holds a place too.
            () = made_to_leave(&self.place.told_to_leave) => Ok(Err(io::ErrorKind::TimedOut.into())),
        };
        if let Ok(Ok(())) = written {
            return Flow::Continue;
        }
        self.session.handle_eof(clock::now());
        self.wire = Wire::Gone;
        Flow::Closed
    }
}

/// Returns when a session that has to make room has had its time for that.
async fn made_to_leave(told_to_leave: &CancellationToken) {
    told_to_leave.cancelled().await;
    tokio::time::sleep(SHED_TIME_MAX).await;
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => pending().await,
    }
}
