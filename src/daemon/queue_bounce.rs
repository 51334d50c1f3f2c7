//! A message returned to its sender because an operator said so.
//!
//! The message is claimed first, so that no delivery begins meanwhile; the bounce is on disk before the message goes.

use std::time::Duration;

use crate::io::bounce as io_bounce;
use crate::io::clock;
use crate::mail::dsn::Event;
use crate::mail::outcome::Report;
use crate::observe::log;
use crate::outbound::bounce::{Notice, Told};
use crate::outbound::settings::OutboundSettings;
use crate::queue::entry::{Entry, Lease, Settlement};
use crate::queue::operator::{Change, Operator};
use crate::queue::{HoldError, Store};
use crate::wire::path::ReversePath;

/// What orders are carried out with.
pub struct Means<'a, S> {
    /// The queue.
    pub store: &'a S,
    /// What routes and bounces follow; without it nothing is requeued or bounced.
    pub outbound: Option<&'a OutboundSettings>,
    /// `bounce_queue_lifetime`.
    pub bounce_lifetime: Duration,
}

/// Status of a message that an operator returns: other or undefined status of the mail system (RFC 3463 section 3.4).
const STATUS: &str = "5.3.0";

/// Bounces a message and says so; mail with the null reverse-path is dropped, and logged.
pub(super) async fn bounce<S: Operator>(means: &Means<'_, S>, entry: &Entry, reason: &str) -> Result<String, String> {
    let store = means.store;
    let leases = store.claim(entry.id).await.map_err(|error| error.to_string())?;
    let result = send(means, entry, &leases, reason).await;
    if result.is_ok() {
        log::message_bounced(entry, reason);
    }
    for lease in leases {
        if result.is_ok() {
            let done = lease.recipients.iter().map(|r| Settlement::Done { number: r.number });
            let done = done.collect();
            store
                .settle(lease, done)
                .await
                .map_err(|error| format!("the bounce is queued, but: {error}"))?;
        } else {
            store.abandon(lease.id, &lease.destination);
        }
    }
    result?;
    // Recipients of a damaged envelope that cannot be read.
    match store
        .change(vec![(entry.id, Change::Delete)], clock::timestamp())
        .await
        .pop()
    {
        None | Some(Ok(()) | Err(HoldError::Unknown(_))) => {}
        Some(Err(error)) => return Err(format!("the bounce is queued, but: {error}")),
    }
    Ok(match &entry.reverse_path {
        ReversePath::Null => format!(
            "message {} is dropped: its reverse-path is null, nobody is told",
            entry.id
        ),
        ReversePath::Mailbox(sender) => format!("message {} is returned to <{sender}>", entry.id),
    })
}

async fn send<S: Store>(means: &Means<'_, S>, entry: &Entry, leases: &[Lease], reason: &str) -> Result<(), String> {
    let settings = means.outbound.ok_or("this needs the configuration")?;
    let first = leases
        .first()
        .ok_or("it has no recipient that can be read: delete it")?;
    let mut whole = first.clone();
    let others = leases.iter().skip(1).flat_map(|lease| lease.recipients.iter().cloned());
    whole.recipients.extend(others);
    if whole.recipients.len() < entry.recipients.len() {
        return Err("one of its recipients is for no destination: requeue it first".into());
    }
    let report = Report {
        remote: String::new(),
        status: STATUS.into(),
        text: format!("returned by the postmaster: {reason}"),
        from_remote: false,
    };
    let told: Vec<Told> = whole
        .recipients
        .iter()
        .filter(|recipient| recipient.request.wants(Event::Failure))
        .map(|recipient| io_bounce::told(recipient, report.clone()))
        .collect();
    if told.is_empty() {
        return Ok(());
    }
    let now = clock::timestamp();
    let lifetime = means.bounce_lifetime;
    let queued = io_bounce::queue(means.store, settings, lifetime, &whole, Notice::Failed, &told, now).await;
    queued.map_err(|error| error.to_string())
}
