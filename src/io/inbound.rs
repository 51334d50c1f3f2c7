//! Drives one [`Session`]: reads the socket, upgrades to TLS, hands mail data to the queue, keeps the deadlines.
//!
//! **Does not** decide anything: the session does, and this carries out its actions in order.
//! **Bugs** while the queue is asked for a draft, takes mail data or commits, the deadlines of the session do not run: a
//! disk that hangs holds it for [`QUEUE_TIME_MAX`].

use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::clock;
use super::dns::SystemResolver;
use super::flow;
use super::journal::Journal;
use super::tls::server::ServerTls;
use crate::cert::identity::Identity;
use crate::mail::envelope::Envelope;
use crate::mail::queue_id::QueueId;
use crate::observe::{self, log};
use crate::outbound::route;
use crate::outbound::settings::OutboundSettings;
use crate::policy::limits::{Charge, Counters};
use crate::queue::entry::NewRecipient;
use crate::queue::settings::QueueSettings;
use crate::queue::{Draft, Store, StoreError};
use crate::session::settings::SessionSettings;
use crate::session::{Action, QueueRefusal, Session};
use crate::wire::path::{ForwardPath, ReversePath};

/// Octets read at once.
const READ_OCTETS: usize = 32 * 1024;

/// How long the end of a session may take altogether.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);

/// How long a peer is silent at the end of a session until nothing of it is taken to be under way any more.
const CLOSE_SILENCE: Duration = Duration::from_secs(1);

/// How long the queue may take to begin a message, to take a piece of it, or to commit it; then the answer is 451. Well below
/// the 10 minutes for which a client waits after its final dot (RFC 5321 section 4.5.3.2.6). A commit that is given up may
/// succeed nevertheless: the client was told nothing, tries again, and the message arrives twice.
pub const QUEUE_TIME_MAX: Duration = Duration::from_secs(100);

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
    /// Wakes the scheduler.
    pub queued: Arc<Notify>,
    /// Finds the names of peers.
    pub resolver: Arc<SystemResolver>,
    /// Where decisions are recorded; `None` without a journal.
    pub journal: Option<Arc<Journal>>,
    /// What holders have sent; the same through every reload.
    pub counters: Arc<Mutex<Counters>>,
}

/// What a session was judged by.
struct Judged<S> {
    /// The settings of the listener at that moment.
    inbound: Arc<Inbound<S>>,
    /// What the peer showed; `None` without TLS.
    presented: Option<Vec<CertificateDer<'static>>>,
    /// [`ServerTls::generation`] at that moment.
    generation: u64,
    /// When time alone may change the verdict.
    until_unix_seconds: i64,
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// While a handshake takes the stream, and after it failed.
    Gone,
}

impl Wire {
    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer).await,
            Self::Tls(stream) => stream.read(buffer).await,
            Self::Gone => Ok(0),
        }
    }

    async fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(octets).await,
            Self::Tls(stream) => {
                stream.write_all(octets).await?;
                stream.flush().await
            }
            Self::Gone => Ok(()),
        }
    }

    /// Ends our side, then reads and throws away what the peer still sends. A socket closed with octets unread resets
    /// the connection, and a reset can destroy our last reply before the peer has read it.
    async fn close(&mut self, buffer: &mut [u8]) {
        let ended = match self {
            Self::Plain(stream) => stream.shutdown().await,
            Self::Tls(stream) => stream.shutdown().await,
            Self::Gone => return,
        };
        let stream = match self {
            Self::Plain(stream) if ended.is_ok() => stream,
            Self::Tls(stream) if ended.is_ok() => stream.get_mut().0,
            _ => return,
        };
        while let Ok(Ok(1..)) = tokio::time::timeout(CLOSE_SILENCE, stream.read(buffer)).await {}
    }
}

struct Driver<'a, S: Store> {
    wire: Wire,
    session: Session,
    session_id: String,
    peer: SocketAddr,
    /// The settings the session began with.
    inbound: Arc<Inbound<S>>,
    /// The listener's settings as they are now.
    listener: &'a ArcSwap<Inbound<S>>,
    judged: Judged<S>,
    stopping: &'a CancellationToken,
    draft: Option<S::Draft>,
    /// Replies not yet written.
    pending: Vec<u8>,
}

enum Flow {
    Continue,
    Closed,
}

/// Serves one connection to its end. Cancel-safe in this sense: a draft that is dropped never existed.
pub async fn serve<S: Store>(
    stream: TcpStream,
    peer: SocketAddr,
    session_id: String,
    listener: &ArcSwap<Inbound<S>>,
    stopping: &CancellationToken,
) {
    let inbound = listener.load_full();
    // Replies are written whole; waiting for more octets would only delay them.
    let _ = stream.set_nodelay(true);
    let session = Session::new(Arc::clone(&inbound.session), peer, session_id.clone(), clock::now());
    let mut driver = Driver {
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
        draft: None,
        pending: Vec::new(),
    };
    driver.run().await;
}

impl<S: Store> Driver<'_, S> {
    async fn run(&mut self) {
        let mut buffer = vec![0_u8; READ_OCTETS];
        let mut told_to_stop = false;
        // The name is looked up beside the dialogue: nobody waits for it.
        let resolver = Arc::clone(&self.inbound.resolver);
        let mut name = pin!(resolver.verified_name(self.peer.ip()));
        let mut name_is_known = false;
        loop {
            let flow = self.perform_actions().await;
            self.record_events();
            if matches!(flow, Flow::Closed) {
                break;
            }
            let deadline = self.session.poll_timeout();
            tokio::select! {
                read = self.wire.read(&mut buffer), if self.session.wants_bytes() => match read {
                    Ok(0) | Err(_) => self.session.handle_eof(clock::now()),
                    Ok(count) => {
                        if !told_to_stop && self.stopping.is_cancelled() {
                            // What was sent after the order to stop must not be taken for sent before it.
                            told_to_stop = true;
                            self.session.handle_shutdown(clock::now());
                        }
                        self.session.handle_space(self.inbound.store.has_space());
                        self.renew_identity().await;
                        self.session.handle_bytes(buffer.get(..count).unwrap_or_default(), clock::now());
                    }
                },
                name = &mut name, if !name_is_known => {
                    name_is_known = true;
                    if let Some(name) = name {
                        self.session.handle_peer_name(name);
                    }
                }
                () = until(deadline) => self.session.handle_timeout(clock::now()),
                () = self.stopping.cancelled(), if !told_to_stop => {
                    told_to_stop = true;
                    self.session.handle_shutdown(clock::now());
                }
            }
        }
        let _ = tokio::time::timeout(CLOSE_TIME_MAX, self.wire.close(&mut buffer)).await;
    }

    async fn perform_actions(&mut self) -> Flow {
        while let Some(action) = self.session.poll_action() {
            let flow = match action {
                Action::Send(octets) => {
                    self.pending.extend_from_slice(&octets);
                    Flow::Continue
                }
                Action::UpgradeTls => self.upgrade().await,
                Action::OpenDraft => self.open_draft().await,
                Action::Append(octets) => self.append(&octets).await,
                Action::Charge(charge) => self.charge(&charge),
                Action::Commit(envelope) => self.commit(*envelope).await,
                Action::Discard => {
                    self.draft = None;
                    Flow::Continue
                }
                Action::Close => {
                    self.flush().await;
                    Flow::Closed
                }
            };
            self.record_events();
            if matches!(flow, Flow::Closed) {
                return flow;
            }
        }
        self.flush().await
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
    async fn flush(&mut self) -> Flow {
        if self.pending.is_empty() {
            return Flow::Continue;
        }
        let octets = std::mem::take(&mut self.pending);
        if let Ok(Ok(())) = tokio::time::timeout(self.inbound.session.timeout, self.wire.write(&octets)).await {
            return Flow::Continue;
        }
        self.session.handle_eof(clock::now());
        self.wire = Wire::Gone;
        Flow::Closed
    }

    /// Judges the peer anew when a reload, a revocation list, the deny-list, an OCSP answer or time has changed what it
    /// was judged by. The session takes the new verdict at its next EHLO, AUTH or
    /// MAIL.
    async fn renew_identity(&mut self) {
        let now = clock::unix_seconds();
        let current = self.listener.load_full();
        let is_reloaded = !Arc::ptr_eq(&current, &self.judged.inbound);
        // A listener that no longer offers TLS judges nobody; what its sessions began with still does.
        let Some(tls) = current.tls.as_ref().or(self.inbound.tls.as_ref()) else {
            if is_reloaded {
                self.session
                    .handle_identity(Identity::Plaintext, Arc::clone(&current.session.chain));
                self.judged.inbound = current;
            }
            return;
        };
        let generation = tls.generation();
        if !is_reloaded && generation == self.judged.generation && now < self.judged.until_unix_seconds {
            return;
        }
        let identity = match &self.judged.presented {
            None => Identity::Plaintext,
            presented => {
                let at_most = self.inbound.session.timeout;
                tls.ask_responders(presented.as_deref(), at_most).await;
                let (identity, until_unix_seconds) = tls.examine(presented.as_deref(), now);
                self.judged.until_unix_seconds = until_unix_seconds;
                identity
            }
        };
        self.judged.generation = generation;
        self.session
            .handle_identity(identity, Arc::clone(&current.session.chain));
        self.judged.inbound = current;
    }

    /// Answers with the holder's allowance; counting never waits.
    fn charge(&mut self, charge: &Charge) -> Flow {
        let allowance = {
            let mut counters = self.inbound.counters.lock().unwrap_or_else(PoisonError::into_inner);
            counters.charge(charge, clock::timestamp())
        };
        self.session.handle_charged(allowance, clock::now());
        Flow::Continue
    }

    async fn upgrade(&mut self) -> Flow {
        if let Flow::Closed = self.flush().await {
            return Flow::Closed;
        }
        let (Some(tls), Wire::Plain(stream)) =
            (self.inbound.tls.clone(), std::mem::replace(&mut self.wire, Wire::Gone))
        else {
            self.session.handle_eof(clock::now());
            return Flow::Closed;
        };
        let handshake = tls.acceptor().accept(stream).into_fallible();
        let finished = tokio::select! {
            finished = tokio::time::timeout(self.inbound.session.starttls_timeout, handshake) => finished,
            // Nothing can be said in the midst of a handshake, so a stop does not wait for it.
            () = self.stopping.cancelled() => {
                self.session.handle_shutdown(clock::now());
                return Flow::Closed;
            }
        };
        match finished {
            Ok(Ok(stream)) => {
                let connection = stream.get_ref().1;
                let description = tls.describe(connection);
                let presented = connection.peer_certificates().unwrap_or_default();
                let presented: Vec<_> = presented.iter().map(|der| der.clone().into_owned()).collect();
                // Taken first: what changes from here on is judged anew.
                let generation = tls.generation();
                let at_most = self.inbound.session.starttls_timeout;
                tls.ask_responders(Some(&presented), at_most).await;
                let (identity, until_unix_seconds) = tls.examine(Some(&presented), clock::unix_seconds());
                self.judged = Judged {
                    inbound: Arc::clone(&self.inbound),
                    presented: Some(presented),
                    generation,
                    until_unix_seconds,
                };
                self.wire = Wire::Tls(Box::new(stream));
                self.session.handle_tls(identity, description, clock::now());
                Flow::Continue
            }
            failed => {
                let why = match failed {
                    Ok(Err((error, stream))) => {
                        // An alert is on its way to the peer.
                        self.wire = Wire::Plain(stream);
                        error.to_string()
                    }
                    _ => String::from("the handshake took too long"),
                };
                log::tls_failed(&self.session_id, &self.inbound.session.listener, self.peer, &why);
                self.session.handle_eof(clock::now());
                Flow::Closed
            }
        }
    }

    async fn open_draft(&mut self) -> Flow {
        let begun = in_time(self.inbound.store.begin()).await;
        let answer = match begun {
            Ok(draft) => {
                let id = draft.id();
                self.draft = Some(draft);
                Ok(id)
            }
            Err(error) => Err(self.refusal(&error)),
        };
        self.session.handle_draft(answer, clock::now());
        Flow::Continue
    }

    async fn append(&mut self, octets: &[u8]) -> Flow {
        if let Some(draft) = &mut self.draft
            && let Err(error) = in_time(draft.append(octets)).await
        {
            self.draft = None;
            let refusal = self.refusal(&error);
            self.session.handle_append_failed(refusal, clock::now());
        }
        Flow::Continue
    }

    async fn commit(&mut self, envelope: Envelope) -> Flow {
        let answer = match self.draft.take() {
            Some(draft) => {
                let recipients = recipients(&envelope, &self.inbound.outbound);
                let store = &self.inbound.store;
                let waiting = |recipient: &NewRecipient| store.fresh_waiting_for(&recipient.destination);
                let longest = || recipients.iter().map(waiting).max().unwrap_or_default();
                flow::wait_while_behind(longest, self.inbound.queue.in_flow_delay).await;
                in_time(commit(draft, envelope, recipients, &self.inbound)).await
            }
            None => Err(StoreError::Closed),
        };
        let answer = answer.map_err(|error| self.refusal(&error));
        if answer.is_ok() {
            self.inbound.queued.notify_one();
        }
        // Commands that follow in the same octets come next.
        self.renew_identity().await;
        self.session.handle_committed(answer, clock::now());
        Flow::Continue
    }

    fn refusal(&self, error: &StoreError) -> QueueRefusal {
        log::queue_refused(&self.session_id, self.peer, error);
        match error {
            StoreError::NoSpace => QueueRefusal::NoSpace,
            StoreError::Io(_) | StoreError::Damaged(_) | StoreError::NotLeased(_) => QueueRefusal::Failed,
            StoreError::Closed => QueueRefusal::Closed,
        }
    }
}

/// The recipients with the destinations that the settings give.
fn recipients(envelope: &Envelope, outbound: &OutboundSettings) -> Vec<NewRecipient> {
    let recipient = |path: &ForwardPath| NewRecipient {
        destination: route::destination(outbound, path),
        forward_path: path.clone(),
    };
    envelope.forward_paths.iter().map(recipient).collect()
}

/// Commits with the lifetime that the settings give.
fn commit<S: Store>(
    draft: S::Draft,
    envelope: Envelope,
    recipients: Vec<NewRecipient>,
    inbound: &Inbound<S>,
) -> impl Future<Output = Result<QueueId, StoreError>> + Send {
    let lifetime = match envelope.reverse_path {
        ReversePath::Null => inbound.queue.bounce_lifetime,
        ReversePath::Mailbox(_) => inbound.queue.lifetime,
    };
    let arrived = clock::timestamp();
    draft.commit(envelope, recipients, arrived, arrived.plus(lifetime))
}

/// What the queue says, or that it says nothing.
async fn in_time<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let answer = tokio::time::timeout(QUEUE_TIME_MAX, asked).await;
    let silence = || format!("no answer within {} s", QUEUE_TIME_MAX.as_secs());
    answer.unwrap_or_else(|_elapsed| Err(StoreError::Io(silence())))
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => pending().await,
    }
}
