//! Queues the bounce for recipients that failed.
//!
//! **Implements** RFC 5321 section 6.1 and RFC 3464 by [`crate::outbound::bounce`]: the bounce goes to the
//! reverse-path with the null reverse-path, and one that fails itself is dropped and logged.

use std::time::Duration;

use super::clock;
use super::deliver::Attempt;
use super::dns::Resolver;
use super::plan::Plan;
use crate::mail::envelope::{Envelope, Submitter};
use crate::mail::outcome::Report;
use crate::observe::log;
use crate::outbound::bounce::{Bounce, Original};
use crate::outbound::route;
use crate::outbound::settings::OutboundSettings;
use crate::queue::entry::{Lease, NewRecipient};
use crate::queue::{Draft, Store, StoreError};
use crate::wire::path::{ForwardPath, ReversePath};

/// Queues one bounce for these failures. On return it is durable, or dropped because the reverse-path is null.
///
/// # Errors
/// The store's; the recipients are then to be tried again.
pub async fn send<S: Store, R: Resolver>(
    plan: &Plan<S, R>,
    lease: &Lease,
    failures: &[&Attempt],
) -> Result<(), StoreError> {
    let failures: Vec<(ForwardPath, Report)> = failures
        .iter()
        .filter_map(|attempt| {
            let recipient = lease.recipients.iter().find(|r| r.number == attempt.number)?;
            Some((recipient.forward_path.clone(), attempt.outcome.report().clone()))
        })
        .collect();
    let deliverer = &plan.deliverer;
    queue(
        &*deliverer.store,
        &deliverer.settings,
        plan.queue.bounce_lifetime,
        lease,
        &failures,
    )
    .await
}

/// As [`send`], without what deliveries need: a bounce of these recipients that lives for `lifetime`.
///
/// # Errors
/// As for [`send`].
pub async fn queue<S: Store>(
    store: &S,
    settings: &OutboundSettings,
    lifetime: Duration,
    lease: &Lease,
    failures: &[(ForwardPath, Report)],
) -> Result<(), StoreError> {
    let ReversePath::Mailbox(sender) = &lease.reverse_path else {
        log::bounce_dropped(lease);
        return Ok(());
    };
    // A message whose data is damaged still gets its bounce, without the original.
    let limit = settings.bounce_octets_max;
    let start = store.data(lease.id, 0, limit).await.unwrap_or_default();
    let (original, truncated) = Original::of(&start, lease.size_octets, limit);
    let mut draft = store.begin().await?;
    let now = clock::now();
    let bounce = Bounce {
        myhostname: &settings.myhostname,
        id: draft.id(),
        original_id: lease.id,
        arrived: lease.arrived,
        to: sender,
        failures,
        original,
        truncated,
        now,
    };
    draft.append(&bounce.to_message()).await?;
    let forward_path = ForwardPath::Mailbox(sender.clone());
    let recipient = NewRecipient {
        destination: route::destination(settings, &forward_path),
        forward_path,
    };
    let envelope = Envelope {
        hold: None,
        reverse_path: ReversePath::Null,
        forward_paths: vec![recipient.forward_path.clone()],
        body: bounce.body(),
        submitter: Submitter::local("bounce"),
    };
    let expires = now.wall.plus(lifetime);
    let id = draft.commit(envelope, vec![recipient], now.wall, expires).await?;
    log::bounce_queued(lease, id);
    Ok(())
}
