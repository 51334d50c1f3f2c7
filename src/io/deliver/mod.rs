//! Delivers a lease: routes, hosts in order, sessions, and one outcome for every recipient.
//!
//! **Implements** `default_destination_recipient_limit`, `smtp_mx_session_limit`, the certificate names of
//! `smtp_tls_security_level` `verify` and `secure`, and `smtp_tls_wrappermode` of postconf(5).
//! **Does not** settle anything or make bounces: the caller does. **Does not** keep connections for later messages.

use std::sync::Arc;

use crate::io::dns::Resolver;
use crate::io::tls::client::{ClientTls, ServerCheck};
use crate::mail::outcome::{Outcome, Report};
use crate::outbound::client::Client;
use crate::outbound::client_state::{ClientOptions, Ending, Transaction};
use crate::outbound::fate::Fate;
use crate::outbound::route::{Route, Target};
use crate::outbound::settings::{OutboundSettings, TlsLevel};
use crate::queue::Store;
use crate::queue::entry::{Lease, LeasedRecipient};
use crate::time::Timestamp;

pub mod channel;
pub mod plan;
pub mod session;

use channel::{Channel, connect};
use session::{Session, now};

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
}

impl<S, R> Clone for Deliverer<S, R> {
    fn clone(&self) -> Self {
        Self {
            settings: Arc::clone(&self.settings),
            tls: Arc::clone(&self.tls),
            resolver: Arc::clone(&self.resolver),
            store: Arc::clone(&self.store),
        }
    }
}

/// A recipient that still waits for a host to take it, and what the last one said.
struct Pending<'a> {
    recipient: &'a LeasedRecipient,
    last: Option<(Outcome, Option<String>)>,
}

/// What came of one connection.
enum Visit {
    /// A dialogue took place.
    Held(Ending, Option<String>),
    /// None did, for this reason.
    NotReached(Report),
}

impl<S: Store, R: Resolver> Deliverer<S, R> {
    /// Tries every recipient of the lease once; each gets exactly one [`Attempt`]. The time it takes is bounded by the
    /// timeouts of the settings and their limits on sessions and addresses. Recipients go by their route as the
    /// settings are now, whatever destination they were queued under.
    ///
    /// Cancel-safe in that nothing is settled: dropped, it may have delivered to some recipients, and these are then
    /// tried again.
    pub async fn deliver(&self, lease: &Lease, now: Timestamp) -> Vec<Attempt> {
        let mut groups: Vec<(Route, Vec<&LeasedRecipient>)> = Vec::new();
        for recipient in &lease.recipients {
            let route = Route::of(&self.settings, &recipient.forward_path);
            match groups.iter_mut().find(|(known, _)| *known == route) {
                Some((_, members)) => members.push(recipient),
                None => groups.push((route, vec![recipient])),
            }
        }
        let mut attempts = Vec::with_capacity(lease.recipients.len());
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
        let targets = match plan::plan(&self.settings, &*self.resolver, route, seed).await {
            Ok(targets) => targets,
            Err(error) => {
                attempts.extend(members.iter().map(|recipient| Attempt {
                    number: recipient.number,
                    outcome: error.outcome(),
                    tls: None,
                }));
                return;
            }
        };
        let per_transaction = match self.settings.recipients_per_transaction_max {
            0 => members.len().max(1),
            limit => limit,
        };
        for chunk in members.chunks(per_transaction) {
            self.deliver_chunk(lease, route, &targets, chunk, attempts).await;
        }
    }

    /// Tries the targets in order until every recipient of the chunk has an outcome that no other target may change.
    async fn deliver_chunk(
        &self,
        lease: &Lease,
        route: &Route,
        targets: &[Target],
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
        for (host, address) in places(targets) {
            if pending.is_empty() || sessions_left == 0 {
                break;
            }
            match self.visit_twice(lease, route, host, address, &pending).await {
                Visit::Held(ending, tls) => {
                    sessions_left = sessions_left.saturating_sub(1);
                    let (Ending::Settled(fates) | Ending::RetryInPlaintext(fates)) = ending;
                    pending = take_fates(pending, fates, tls.as_ref(), attempts);
                }
                Visit::NotReached(report) => {
                    for waiting in &mut pending {
                        waiting.last = Some((Outcome::Deferred(report.clone()), None));
                    }
                }
            }
        }
        attempts.extend(pending.into_iter().map(without_target));
    }

    /// Visits a host, and once more in plaintext when TLS failed where it is not required.
    async fn visit_twice(
        &self,
        lease: &Lease,
        route: &Route,
        host: &str,
        address: std::net::SocketAddr,
        pending: &[Pending<'_>],
    ) -> Visit {
        let mut options = ClientOptions::new(&self.settings, format!("{host}[{}]:{}", address.ip(), address.port()));
        let transaction = Transaction {
            reverse_path: lease.reverse_path.clone(),
            forward_paths: pending
                .iter()
                .map(|waiting| waiting.recipient.forward_path.clone())
                .collect(),
            body: lease.body,
            size_octets: lease.size_octets,
        };
        let session = Session {
            store: &*self.store,
            id: lease.id,
            tls: &self.tls,
            server_name: host,
            check: self.check(route, host),
        };
        let first = self
            .visit(&session, address, options.clone(), transaction.clone())
            .await;
        if !matches!(first, Visit::Held(Ending::RetryInPlaintext(_), _)) {
            return first;
        }
        options.tls_level = TlsLevel::None;
        self.visit(&session, address, options, transaction).await
    }

    fn check(&self, route: &Route, host: &str) -> ServerCheck {
        match self.settings.tls_level {
            TlsLevel::None | TlsLevel::May | TlsLevel::Encrypt => ServerCheck::Any,
            TlsLevel::Verify => ServerCheck::Names(vec![host.to_owned()]),
            TlsLevel::Secure => {
                let domain = route.name();
                ServerCheck::Names(vec![domain.clone(), format!(".{domain}")])
            }
        }
    }

    /// One connection and its dialogue.
    async fn visit(
        &self,
        session: &Session<'_, S>,
        address: std::net::SocketAddr,
        options: ClientOptions,
        transaction: Transaction,
    ) -> Visit {
        let remote = options.remote.clone();
        let unreached = |status: &str, text: String| {
            Visit::NotReached(Report {
                remote: remote.clone(),
                status: status.to_owned(),
                text,
                from_remote: false,
            })
        };
        let settings = &self.settings;
        let stream = match connect(address, &settings.bind_addresses, settings.connect_timeout).await {
            Ok(stream) => stream,
            Err(error) => return unreached("4.4.1", format!("connect to {remote}: {error}")),
        };
        let channel = if options.tls_wrapper {
            let handshake = self.tls.connect(stream, session.server_name, &session.check);
            match tokio::time::timeout(settings.hello_timeout, handshake).await {
                Ok(Ok(stream)) => Channel::Tls(Box::new(stream)),
                Ok(Err(error)) => return unreached("4.7.5", format!("Cannot start TLS with {remote}: {error}")),
                Err(_) => return unreached("4.7.5", format!("Cannot start TLS with {remote}: timed out")),
            }
        } else {
            Channel::Plain(stream)
        };
        let mut client = Client::new(options, transaction, now());
        let description = session.run(&mut client, channel).await;
        Visit::Held(client.into_ending(), description)
    }
}

/// Every address of every host, in order.
fn places(targets: &[Target]) -> Vec<(&str, std::net::SocketAddr)> {
    targets
        .iter()
        .flat_map(|target| target.addresses.iter().map(|address| (target.host.as_str(), *address)))
        .collect()
}

/// Moves what is decided to the attempts; what another target may take stays.
fn take_fates<'a>(
    pending: Vec<Pending<'a>>,
    fates: Vec<Fate>,
    tls: Option<&String>,
    attempts: &mut Vec<Attempt>,
) -> Vec<Pending<'a>> {
    let mut left = Vec::new();
    for (mut waiting, fate) in pending.into_iter().zip(fates) {
        if fate.elsewhere {
            waiting.last = Some((fate.outcome, tls.cloned()));
            left.push(waiting);
        } else {
            attempts.push(Attempt {
                number: waiting.recipient.number,
                outcome: fate.outcome,
                tls: tls.cloned(),
            });
        }
    }
    left
}

/// No target is left: what the last one said holds.
fn without_target(waiting: Pending<'_>) -> Attempt {
    let (outcome, tls) = waiting.last.unwrap_or_else(|| {
        let report = Report {
            remote: String::new(),
            status: "4.4.1".into(),
            text: "no host could be tried".into(),
            from_remote: false,
        };
        (Outcome::Deferred(report), None)
    });
    Attempt {
        number: waiting.recipient.number,
        outcome,
        tls,
    }
}
