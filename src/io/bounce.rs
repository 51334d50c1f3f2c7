//! Makes what the sender is told of recipients that failed, wait or were relayed, and queues it with their settlement.
//!
//! **Implements** RFC 5321 section 6.1 and RFC 3464 by [`crate::outbound::bounce`]: the message goes to the
//! reverse-path with the null reverse-path; mail with the null reverse-path that fails is dropped and logged.
//! **Does not** tell the postmaster (`notify_classes`).

use std::time::Duration;

use super::clock;
use super::plan::Plan;
use crate::mail::dsn::{MessageRequest, Notify, RecipientRequest, Return};
use crate::mail::envelope::{Demands, Envelope, Submitter};
use crate::mail::outcome::Report;
use crate::mail::queue_id::QueueId;
use crate::observe::log;
use crate::outbound::bounce::{Bounce, Notice, Told};
use crate::outbound::original::Original;
use crate::outbound::route;
use crate::outbound::settings::OutboundSettings;
use crate::queue::entry::{Lease, LeasedRecipient, NewRecipient, Notification, Settlement};
use crate::queue::{Store, StoreError};
use crate::time::{Now, Timestamp};
use crate::wire::path::{ForwardPath, ReversePath};

/// What notifications are made with.
#[derive(Debug)]
pub struct Means<'a, S> {
    /// Where the mail data is, and the ids.
    pub store: &'a S,
    /// Routes, names and `bounce_size_limit`.
    pub settings: &'a OutboundSettings,
    /// `bounce_queue_lifetime`.
    pub lifetime: Duration,
}

impl<S> Clone for Means<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Means<'_, S> {}

impl<'a, S> Means<'a, S> {
    /// Those of a plan.
    pub fn of<R>(plan: &'a Plan<S, R>) -> Self {
        Self {
            store: &plan.deliverer.store,
            settings: &plan.deliverer.settings,
            lifetime: plan.queue.bounce_lifetime,
        }
    }
}

/// What the sender is told of a recipient.
pub fn told(recipient: &LeasedRecipient, report: Report) -> Told {
    Told {
        forward_path: recipient.forward_path.clone(),
        request: recipient.request.clone(),
        report,
    }
}

/// Makes one message about these recipients, to be queued with their settlement; none when the reverse-path is null, which is
/// logged.
async fn notification<S: Store>(
    means: Means<'_, S>,
    lease: &Lease,
    notice: Notice,
    told: &[Told],
    now: Timestamp,
) -> Option<Notification> {
    let ReversePath::Mailbox(sender) = &lease.reverse_path else {
        log::bounce_dropped(lease);
        return None;
    };
    let Means {
        store,
        settings,
        lifetime,
    } = means;
    // A message whose data is damaged still gets its bounce, without the original.
    let limit = settings.bounce_octets_max;
    let start = store.data(lease.id, 0, limit).await.unwrap_or_default();
    let (original, truncated) = match notice {
        Notice::Failed if returns_all(lease) => Original::of(&start, lease.size_octets, limit),
        _ => (Original::header_of(&start, limit), true),
    };
    let id = store.new_id();
    let bounce = Bounce {
        myhostname: &settings.myhostname,
        id,
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
    Some(Notification {
        id,
        octets: bounce.to_message().into(),
        envelope,
        recipients: vec![recipient],
        arrived: now,
        expires: now.plus(lifetime),
    })
}

/// What the senders of a lease are told with its settlement.
#[derive(Debug, Default)]
pub struct Notifications {
    made: Vec<Notification>,
    kinds: Vec<Notice>,
}

impl Notifications {
    /// Adds a message about these recipients, if there are any and somebody is to be told.
    pub async fn add<S: Store>(
        &mut self,
        means: Means<'_, S>,
        lease: &Lease,
        notice: Notice,
        told: &[Told],
        now: Timestamp,
    ) {
        if told.is_empty() {
            return;
        }
        if let Some(made) = notification(means, lease, notice, told, now).await {
            self.made.push(made);
            self.kinds.push(notice);
        }
    }

    /// Settles the lease and queues the notifications, all or nothing, and logs what is queued.
    ///
    /// # Errors
    /// Those of [`Store::report`]: nothing is lost then.
    pub async fn settle<S: Store>(
        self,
        store: &S,
        lease: Lease,
        settlements: Vec<Settlement>,
    ) -> Result<(), StoreError> {
        if self.made.is_empty() {
            return store.settle(lease, settlements).await;
        }
        let about = lease.clone();
        let ids: Vec<QueueId> = self.made.iter().map(|made| made.id).collect();
        store.report(lease, settlements, self.made).await?;
        for (id, notice) in ids.into_iter().zip(self.kinds) {
            match notice {
                Notice::Failed => log::bounce_queued(&about, id),
                Notice::Delayed { .. } => log::delay_told(&about, id),
                Notice::Relayed => log::success_told(&about, id),
            }
        }
        Ok(())
    }
}

/// RET=HDRS, and RFC 8689 section 5: what REQUIRETLS protects does not go back whole.
fn returns_all(lease: &Lease) -> bool {
    lease.demands.dsn.ret != Some(Return::Headers) && !lease.demands.require_tls
}
