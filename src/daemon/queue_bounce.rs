//! A message returned to its sender because an operator said so.
//!
//! The message is claimed first, so that no delivery begins meanwhile; it goes in one transaction with its bounce.

use std::time::Duration;

use crate::io::bounce::{self as io_bounce, Notifications};
use crate::io::clock;
use crate::io::deliver::relayed_before;
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

const NOBODY: &str = "it has no recipient that can be read: delete it";

/// Bounces a message and says so; mail with the null reverse-path is dropped, and logged.
pub(super) async fn bounce<S: Operator>(means: &Means<'_, S>, entry: &Entry, reason: &str) -> Result<String, String> {
    let store = means.store;
    let leases = store.claim(entry.id).await.map_err(|error| error.to_string())?;
    let made = notifications(means, entry, &leases, reason).await;
    let mut leases = leases.into_iter();
    let (notifications, first) = match (made, leases.next()) {
        (Ok(made), Some(first)) => (made, first),
        (made, first) => {
            for lease in first.into_iter().chain(leases) {
                store.abandon(lease.id, &lease.destination);
            }
            return Err(made.err().unwrap_or_else(|| NOBODY.into()));
        }
    };
    // All recipients go with the bounce, and all leases end with it. Refused, it is tried again by the store: until then nobody
    // is to deliver the rest.
    let recipients = first.recipients.iter().cloned();
    let reported = recipients.chain(leases.flat_map(|lease| lease.recipients));
    let reported = reported.map(|recipient| Settlement::Reported {
        number: recipient.number,
    });
    let reported = reported.collect();
    let settled = notifications.settle(store, first, reported).await;
    settled.map_err(|error| error.to_string())?;
    log::message_bounced(entry, reason);
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

async fn notifications<S: Store>(
    means: &Means<'_, S>,
    entry: &Entry,
    leases: &[Lease],
    reason: &str,
) -> Result<Notifications, String> {
    let settings = means.outbound.ok_or("this needs the configuration")?;
    let mut whole = leases.first().ok_or(NOBODY)?.clone();
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
    let (relayed, waiting): (Vec<_>, Vec<_>) = whole.recipients.iter().partition(|recipient| recipient.unreported);
    let relayed: Vec<Told> = relayed
        .into_iter()
        .map(|recipient| io_bounce::told(recipient, relayed_before()))
        .collect();
    let failed: Vec<Told> = waiting
        .into_iter()
        .filter(|recipient| recipient.request.wants(Event::Failure))
        .map(|recipient| io_bounce::told(recipient, report.clone()))
        .collect();
    let mut notifications = Notifications::default();
    let with = io_bounce::Means {
        store: means.store,
        settings,
        lifetime: means.bounce_lifetime,
    };
    let now = clock::timestamp();
    notifications.add(with, &whole, Notice::Relayed, &relayed, now).await;
    notifications.add(with, &whole, Notice::Failed, &failed, now).await;
    Ok(notifications)
}
