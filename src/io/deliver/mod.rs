//! Delivers a lease: routes, hosts in order, sessions, and one outcome for every recipient.
//!
//! **Implements** `default_destination_recipient_limit`, `smtp_mx_session_limit` and `smtp_tls_wrappermode` of
//! postconf(5), over connections that are kept from message to message.
//! **Does not** settle anything or make bounces: the caller does.

use std::sync::Arc;

use crate::io::dns::Resolver;
use crate::io::tls::client::{ClientTls, ServerCheck};
use crate::mail::dsn::Event;
use crate::mail::envelope::Demands;
use crate::mail::outcome::{Outcome, Report};
use crate::observe::log;
use crate::outbound::client::Client;
use crate::outbound::client_demands::{REQUIRETLS_MISSING, TLS_MISSING};
use crate::outbound::client_state::{ClientOptions, Ending, Transaction};
use crate::outbound::fate::Fate;
use crate::outbound::route::Route;
use crate::outbound::settings::{OutboundSettings, TlsLevel};
use crate::queue::Store;
use crate::queue::entry::{Lease, LeasedRecipient};
use crate::time::Timestamp;
use crate::wire::path::ReversePath;

pub mod channel;
pub mod connection;
pub mod connections;
pub mod places;
pub mod plan;
pub mod session;

use channel::{Channel, connect};
use connection::{Connection, now};
use connections::{Connections, Key};
use places::{Place, Places};
use session::Session;

/// What became of one recipient of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Attempt {
    /// The recipient's number in the lease.
    pub number: u32,
    /// What became of it.
    pub outcome: Outcome,
    /// Protocol and cipher of the session that decided, for the log; `None` in plaintext.
    pub tls: Option<String>,
    /// Whether that session had carried a message before.
    pub reused: bool,
    /// Whether the next hop has taken on the notifications (DSN).
    pub notifies: bool,
    /// Whether some host got as far as MAIL: otherwise nobody serves us there, whatever the message.
    pub reached: bool,
}

/// Everything that deliveries share; cheap to clone into a task, and to make anew on reload.
pub struct Deliverer<S, R> {
    /// Directives.
    pub settings: Arc<OutboundSettings>,
    /// The client side of TLS.
    pub tls: Arc<ClientTls>,
    /// The DNS.
    pub resolver: Arc<R>,
    /// Where the mail data is.
    pub store: Arc<S>,
    /// Connections kept from one delivery to the next; close them when this deliverer is replaced.
    pub connections: Connections,
    places: Arc<Places>,
}

impl<S, R> Clone for Deliverer<S, R> {
    fn clone(&self) -> Self {
        Self {
            settings: Arc::clone(&self.settings),
            tls: Arc::clone(&self.tls),
            resolver: Arc::clone(&self.resolver),
            store: Arc::clone(&self.store),
            connections: self.connections.clone(),
            places: Arc::clone(&self.places),
        }
    }
}

/// A recipient that still waits for a host to take it, and what the last one said.
struct Pending<'a> {
    recipient: &'a LeasedRecipient,
    last: Option<(Outcome, Over)>,
}

/// What a dialogue went over.
#[derive(Clone, Default)]
struct Over {
    tls: Option<String>,
    reused: bool,
    notifies: bool,
    reached: bool,
}

impl Pending<'_> {
    /// Notes what the last one said; that some host was reached stays true.
    fn wait(&mut self, outcome: Outcome, over: Over) {
        let reached = over.reached || self.last.as_ref().is_some_and(|(_, over)| over.reached);
        self.last = Some((outcome, Over { reached, ..over }));
    }
}

/// What came of one connection.
enum Visit {
    /// A dialogue took place.
    Held(Ending, Over),
    /// None did, for this reason.
    NotReached(Report),
}

impl<S: Store, R: Resolver> Deliverer<S, R> {
    /// A deliverer without connections.
    pub fn new(settings: Arc<OutboundSettings>, tls: Arc<ClientTls>, resolver: Arc<R>, store: Arc<S>) -> Self {
        Self {
            connections: Connections::new(&settings),
            places: Arc::default(),
            settings,
            tls,
            resolver,
            store,
        }
    }

    /// Tries every recipient of the lease once; each gets exactly one [`Attempt`]. The time it takes is bounded by the
    /// timeouts of the settings and their limits on sessions and addresses. Recipients go by their route as the
    /// settings are now, whatever destination they were queued under.
    ///
    /// Cancel-safe in that nothing is settled: dropped, it may have delivered to some recipients, and these are then
    /// tried again.
    pub async fn deliver(&self, lease: &Lease, now: Timestamp) -> Vec<Attempt> {
        let attempts = self.deliver_all(lease, now).await;
        if !lease.demands.require_tls || lease.reverse_path != ReversePath::Null {
            return attempts;
        }
        // RFC 8689 section 5: a message with the null reverse-path is not to be lost because the way back lacks REQUIRETLS.
        let (unprotected, mut attempts): (Vec<_>, Vec<_>) = attempts.into_iter().partition(lacked_protection);
        let again = Lease {
            recipients: lease
                .recipients
                .iter()
                .filter(|recipient| unprotected.iter().any(|attempt| attempt.number == recipient.number))
                .cloned()
                .collect(),
            demands: Demands {
                require_tls: false,
                ..lease.demands.clone()
            },
            ..lease.clone()
        };
        attempts.extend(self.deliver_all(&again, now).await);
        attempts
    }

    async fn deliver_all(&self, lease: &Lease, now: Timestamp) -> Vec<Attempt> {
        let mut groups: Vec<(Route, Vec<&LeasedRecipient>)> = Vec::new();
        let (relayed, waiting): (Vec<_>, Vec<_>) = lease.recipients.iter().partition(|recipient| recipient.unreported);
        for recipient in waiting {
            let route = Route::of(&self.settings, &recipient.forward_path);
            match groups.iter_mut().find(|(known, _)| *known == route) {
                Some((_, members)) => members.push(recipient),
                None => groups.push((route, vec![recipient])),
            }
        }
        let mut attempts: Vec<Attempt> = relayed
            .into_iter()
            .map(|recipient| attempt(recipient, Outcome::Relayed(relayed_before()), Over::default()))
            .collect();
        for (route, members) in groups {
            self.deliver_group(lease, now, &route, &members, &mut attempts).await;
        }
        attempts
    }

    async fn deliver_group(
        &self,
        lease: &Lease,
        now: Timestamp,
        route: &Route,
        members: &[&LeasedRecipient],
        attempts: &mut Vec<Attempt>,
    ) {
        let seed = lease.id.number().unsigned_abs() ^ now.0.unsigned_abs();
        let places = self.places.of(&self.settings, &*self.resolver, route, seed).await;
        let places = match places {
            Ok(places) => places,
            Err(error) => {
                attempts.extend(
                    members
                        .iter()
                        .map(|recipient| attempt(recipient, error.outcome(), Over::default())),
                );
                return;
            }
        };
        let per_transaction = match self.settings.recipients_per_transaction_max {
            0 => members.len().max(1),
            limit => limit,
        };
        for chunk in members.chunks(per_transaction) {
            self.deliver_chunk(lease, (route, &places), chunk, attempts).await;
        }
    }

    /// Tries the places in order until every recipient of the chunk has an outcome that no other place may change.
    async fn deliver_chunk(
        &self,
        lease: &Lease,
        (route, places): (&Route, &[Arc<Place>]),
        chunk: &[&LeasedRecipient],
        attempts: &mut Vec<Attempt>,
    ) {
        let mut pending: Vec<Pending<'_>> = chunk
            .iter()
            .map(|recipient| Pending { recipient, last: None })
            .collect();
        let mut sessions_left = match self.settings.mx_sessions_max {
            0 => usize::MAX,
            limit => limit,
        };
        for place in places {
            if pending.is_empty() || sessions_left == 0 {
                break;
            }
            let key = self.key(lease, route, place);
            // What one transaction could not take goes with the next: each takes at least one recipient.
            let mut is_postponed = true;
            while std::mem::take(&mut is_postponed) {
                match self.visit_twice(lease, &key, &pending).await {
                    Visit::Held(Ending::Settled(fates) | Ending::RetryInPlaintext(fates), over) => {
                        is_postponed = fates.iter().any(|fate| fate.is_postponed);
                        pending = take_fates(pending, fates, &over, attempts);
                    }
                    // Only a kept session ends so, and a fresh one took its place.
                    Visit::Held(Ending::Stale, _) => {}
                    Visit::NotReached(report) => {
                        // No session was held: it does not count as one.
                        sessions_left = sessions_left.saturating_add(1);
                        for waiting in &mut pending {
                            waiting.wait(Outcome::Deferred(report.clone()), Over::default());
                        }
                    }
                }
            }
            sessions_left = sessions_left.saturating_sub(1);
        }
        attempts.extend(pending.into_iter().map(|waiting| without_place(lease, waiting)));
    }

    /// How a place is to be spoken to. RFC 8689 section 4.2.1: under REQUIRETLS the certificate is verified whatever
    /// `smtp_tls_security_level` says. Nobody vouches for MX records here (DNSSEC, MTA-STS), so that where they are asked
    /// the certificate must name the domain, as at level `secure`.
    fn key(&self, lease: &Lease, route: &Route, place: &Arc<Place>) -> Key {
        if !lease.demands.require_tls {
            return Key {
                place: Arc::clone(place),
                tls_level: self.settings.tls_level,
            };
        }
        let names = match route {
            Route::Name { name, mx_lookup, .. } if *mx_lookup => vec![name.clone(), format!(".{name}")],
            _ => vec![place.host.clone()],
        };
        Key {
            place: Arc::new(Place {
                check: ServerCheck::Names(names),
                ..Place::clone(place)
            }),
            tls_level: TlsLevel::Secure,
        }
    }

    /// Visits a place, and once more in plaintext when TLS failed where it is not required.
    async fn visit_twice(&self, lease: &Lease, key: &Key, pending: &[Pending<'_>]) -> Visit {
        let transaction = Arc::new(Transaction {
            reverse_path: lease.reverse_path.clone(),
            forward_paths: pending
                .iter()
                .map(|waiting| waiting.recipient.forward_path.clone())
                .collect(),
            body: lease.body,
            size_octets: lease.size_octets,
            demands: Demands {
                recipients: pending
                    .iter()
                    .map(|waiting| waiting.recipient.request.clone())
                    .collect(),
                ..lease.demands.clone()
            },
        });
        let first = self.visit(lease, key, &transaction, pending).await;
        if !matches!(first, Visit::Held(Ending::RetryInPlaintext(_), _)) {
            return first;
        }
        let plain = Key {
            tls_level: TlsLevel::None,
            ..key.clone()
        };
        self.visit(lease, &plain, &transaction, pending).await
    }

    /// One dialogue over a kept connection; over a fresh one when there is none, or when it came to nothing.
    async fn visit(&self, lease: &Lease, key: &Key, transaction: &Arc<Transaction>, pending: &[Pending<'_>]) -> Visit {
        if let Some(mut kept) = self.connections.take(key) {
            kept.client.begin(Arc::clone(transaction), now());
            let visit = self.converse(lease, key, kept, pending).await;
            if !matches!(visit, Visit::Held(Ending::Stale, _)) {
                return visit;
            }
        }
        match self.connect(key, Arc::clone(transaction)).await {
            Ok(connection) => self.converse(lease, key, connection, pending).await,
            Err(report) => Visit::NotReached(report),
        }
    }

    /// Holds the dialogue of one transaction, notes who is relayed before anything else is said, and keeps the connection
    /// or ends it.
    async fn converse(&self, lease: &Lease, key: &Key, mut connection: Connection, pending: &[Pending<'_>]) -> Visit {
        let session = Session {
            store: &*self.store,
            id: lease.id,
            tls: &self.tls,
            place: &key.place,
        };
        session.run(&mut connection).await;
        let ending = connection.client.take_ending();
        if let Ending::Settled(fates) = &ending {
            let notifies = connection.client.takes_notifications();
            self.note_relayed(lease, fates, pending, notifies);
        }
        let over = Over {
            tls: connection.tls.clone(),
            reused: connection.client.reuses() > 0,
            notifies: connection.client.takes_notifications(),
            reached: connection.client.is_served(),
        };
        self.connections.put(key, connection).await;
        Visit::Held(ending, over)
    }

    /// What cannot be noted is relayed all the same: only a crash before the commit would send it twice.
    fn note_relayed(&self, lease: &Lease, fates: &[Fate], pending: &[Pending<'_>], notifies: bool) {
        let is_owed = |recipient: &LeasedRecipient| {
            !notifies && recipient.request.wants(Event::Success) && lease.reverse_path != ReversePath::Null
        };
        let relayed = pending
            .iter()
            .zip(fates)
            .filter(|(_, fate)| matches!(fate.outcome, Outcome::Relayed(_)));
        let (unreported, relayed): (Vec<_>, Vec<_>) = relayed
            .map(|(waiting, _)| waiting.recipient)
            .partition(|recipient| is_owed(recipient));
        let numbers = |recipients: Vec<&LeasedRecipient>| recipients.iter().map(|r| r.number).collect::<Vec<u32>>();
        let (unreported, relayed) = (numbers(unreported), numbers(relayed));
        let mut noted = Ok(());
        if !relayed.is_empty() {
            noted = self.store.relayed(lease, &relayed);
        }
        if !unreported.is_empty() {
            noted = noted.and(self.store.relayed_unreported(lease, &unreported));
        }
        if let Err(error) = noted {
            log::store_failed("note a delivery", &error);
        }
    }

    /// A fresh connection, with TLS from the first octet where that is wanted.
    async fn connect(&self, key: &Key, transaction: Arc<Transaction>) -> Result<Connection, Report> {
        let (settings, place) = (&self.settings, &key.place);
        let remote = place.remote();
        let unreached = |status: &str, text: String| Report {
            remote: remote.clone(),
            status: status.to_owned(),
            text,
            from_remote: false,
        };
        let made = now();
        let stream = connect(place.address, &settings.bind_addresses, settings.connect_timeout)
            .await
            .map_err(|error| unreached("4.4.1", format!("connect to {remote}: {error}")))?;
        let channel = if settings.tls_wrapper {
            let handshake = self.tls.connect(stream, &place.host, &place.check);
            match tokio::time::timeout(settings.hello_timeout, handshake).await {
                Ok(Ok(stream)) => Channel::Tls(Box::new(stream)),
                Ok(Err(error)) => return Err(unreached("4.7.5", format!("Cannot start TLS with {remote}: {error}"))),
                Err(_) => return Err(unreached("4.7.5", format!("Cannot start TLS with {remote}: timed out"))),
            }
        } else {
            Channel::Plain(stream)
        };
        let options = ClientOptions {
            tls_level: key.tls_level,
            ..ClientOptions::new(settings, remote)
        };
        Ok(Connection::new(Client::new(options, transaction, now()), channel, made))
    }
}

/// A former process saw it taken, and ended before its sender was told.
pub fn relayed_before() -> Report {
    Report {
        remote: String::new(),
        status: "2.0.0".into(),
        text: "handed on before this relay was restarted; the reply is not known any more".into(),
        from_remote: false,
    }
}

fn attempt(recipient: &LeasedRecipient, outcome: Outcome, over: Over) -> Attempt {
    Attempt {
        number: recipient.number,
        outcome,
        tls: over.tls,
        reused: over.reused,
        notifies: over.notifies,
        reached: over.reached,
    }
}

/// Moves what is decided to the attempts; what another place may take stays.
fn take_fates<'a>(
    pending: Vec<Pending<'a>>,
    fates: Vec<Fate>,
    over: &Over,
    attempts: &mut Vec<Attempt>,
) -> Vec<Pending<'a>> {
    let mut left = Vec::new();
    for (mut waiting, fate) in pending.into_iter().zip(fates) {
        if fate.elsewhere {
            waiting.wait(fate.outcome, over.clone());
            left.push(waiting);
        } else {
            attempts.push(attempt(waiting.recipient, fate.outcome, over.clone()));
        }
    }
    left
}

/// No place is left: what the last one said holds.
fn without_place(lease: &Lease, waiting: Pending<'_>) -> Attempt {
    let (outcome, over) = waiting.last.unwrap_or_else(|| {
        let report = Report {
            remote: String::new(),
            status: "4.4.1".into(),
            text: "no host could be tried".into(),
            from_remote: false,
        };
        (Outcome::Deferred(report), Over::default())
    });
    attempt(waiting.recipient, unprotected_is_failed(lease, outcome), over)
}

/// Whether REQUIRETLS alone kept it from its recipient.
fn lacked_protection(attempt: &Attempt) -> bool {
    match &attempt.outcome {
        Outcome::Failed(report) => !report.from_remote && matches!(report.status.as_str(), NO_TLS | NO_REQUIRETLS),
        _ => false,
    }
}

/// What [`TLS_MISSING`] and [`REQUIRETLS_MISSING`] are when no host is left.
const NO_TLS: &str = "5.7.10";
const NO_REQUIRETLS: &str = "5.7.30";

/// RFC 8689 section 4.2.1: "If there are no more MX hosts, the client MUST NOT transmit the message", and the sender is told
/// with 5.7.10 or 5.7.30.
fn unprotected_is_failed(lease: &Lease, outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Deferred(report) if lease.demands.require_tls && !report.from_remote => {
            let status = match report.status.as_str() {
                TLS_MISSING | "4.7.5" => NO_TLS,
                REQUIRETLS_MISSING => NO_REQUIRETLS,
                _ => return Outcome::Deferred(report),
            };
            Outcome::Failed(Report {
                status: status.into(),
                ..report
            })
        }
        outcome => outcome,
    }
}
