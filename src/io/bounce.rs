//! Queues what the sender is told of recipients that failed or wait.
//!
//! **Implements** RFC 5321 section 6.1 and RFC 3464 by [`crate::outbound::bounce`]: the message goes to the
//! reverse-path with the null reverse-path; mail with the null reverse-path that fails is dropped and logged.
//! **Does not** tell the postmaster (`notify_classes`).

use std::time::Duration;

use super::clock;
use super::dns::Resolver;
use super::plan::Plan;
use crate::mail::dsn::{MessageRequest, Notify, RecipientRequest, Return};
use crate::mail::envelope::{Demands, Envelope, Submitter};
use crate::mail::outcome::Report;
use crate::observe::log;
use crate::outbound::bounce::{Bounce, Notice, Told};
use crate::outbound::original::Original;
use crate::outbound::route;
use crate::outbound::settings::OutboundSettings;
use crate::queue::entry::{Lease, LeasedRecipient, NewRecipient};
use crate::queue::{Draft, Store, StoreError};
use crate::time::{Now, Timestamp};
use crate::wire::path::{ForwardPath, ReversePath};

/// What the sender is told of a recipient.
pub fn told(recipient: &LeasedRecipient, report: Report) -> Told {
    Told {
        forward_path: recipient.forward_path.clone(),
        request: recipient.request.clone(),
        report,
    }
}

/// Queues one message about these recipients. On return it is durable, or dropped because the reverse-path is null.
///
/// # Errors
/// The store's; the recipients are then to be tried again, and the sender is told another time.
pub async fn send<S: Store, R: Resolver>(
    plan: &Plan<S, R>,
    lease: &Lease,
    notice: Notice,
    told: &[Told],
    now: Timestamp,
) -> Result<(), StoreError> {
    let (settings, lifetime) = (&plan.deliverer.settings, plan.queue.bounce_lifetime);
    queue(&*plan.deliverer.store, settings, lifetime, lease, notice, told, now).await
}

/// As [`send`], without what deliveries need; the message lives for `lifetime`.
///
/// # Errors
/// As for [`send`].
pub async fn queue<S: Store>(
    store: &S,
    settings: &OutboundSettings,
    lifetime: Duration,
    lease: &Lease,
    notice: Notice,
    told: &[Told],
    now: Timestamp,
) -> Result<(), StoreError> {
    let ReversePath::Mailbox(sender) = &lease.reverse_path else {
        log::bounce_dropped(lease);
        return Ok(());
    };
    // A message whose data is damaged still gets its bounce, without the original.
    let limit = settings.bounce_octets_max;
    let start = store.data(lease.id, 0, limit).await.unwrap_or_default();
    let (original, truncated) = match notice {
        Notice::Failed if returns_all(lease) => Original::of(&start, lease.size_octets, limit),
        _ => (Original::header_of(&start, limit), true),
    };
    let mut draft = store.begin().await?;
    let bounce = Bounce {
        myhostname: &settings.myhostname,
        id: draft.id(),
        original_id: lease.id,
        arrived: lease.arrived,
        to: sender,
        envelope_id: lease.demands.dsn.envelope_id.as_deref(),
        notice,
        recipients: told,
        original,
        truncated,
        now: Now {
            wall: now,
            ..clock::now()
        },
    };
    draft.append(&bounce.to_message()).await?;
    let forward_path = ForwardPath::Mailbox(sender.clone());
    let recipient = NewRecipient {
        destination: route::destination(settings, &forward_path),
        forward_path,
    };
    let envelope = Envelope {
        demands: Demands {
            smtputf8: bounce.is_utf8(),
            require_tls: lease.demands.require_tls,
            dsn: MessageRequest::default(),
            // RFC 3461 section 6.2: a notification asks for none.
            recipients: vec![RecipientRequest {
                notify: Some(Notify::Never),
                original_recipient: None,
            }],
        },
        hold: None,
        reverse_path: ReversePath::Null,
        forward_paths: vec![recipient.forward_path.clone()],
        body: bounce.body(),
        submitter: Submitter::local("bounce"),
    };
    let expires = now.plus(lifetime);
    let id = draft.commit(envelope, vec![recipient], now, expires).await?;
    match notice {
        Notice::Failed => log::bounce_queued(lease, id),
        Notice::Delayed { .. } => log::delay_told(lease, id),
        Notice::Relayed => log::success_told(lease, id),
    }
    Ok(())
}

/// RET=HDRS, and RFC 8689 section 5: what REQUIRETLS protects does not go back whole.
fn returns_all(lease: &Lease) -> bool {
    lease.demands.dsn.ret != Some(Return::Headers) && !lease.demands.require_tls
}
