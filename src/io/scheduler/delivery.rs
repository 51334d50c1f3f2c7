//! One delivery from its lease to its settlement.
//!
//! **Implements** `minimal_backoff_time`, `maximal_backoff_time`, `maximal_queue_lifetime` and `delay_warning_time` for what
//! was attempted; a bounce for what failed or expired.
//! **Does not** choose what is delivered, or when.

use std::sync::Arc;

use super::event::{Finding, InHand};
use crate::io::bounce::{self, Means, Notifications};
use crate::io::deliver::Attempt;
use crate::io::dns::Resolver;
use crate::io::plan::Plan;
use crate::mail::dsn::Event;
use crate::mail::outcome::{Outcome, Report};
use crate::observe::log;
use crate::outbound::bounce::{Notice, Told};
use crate::queue::backoff;
use crate::queue::entry::{Lease, LeasedRecipient, Settlement};
use crate::queue::settings::QueueSettings;
use crate::queue::{Store, StoreError};
use crate::time::Timestamp;
use crate::wire::path::ReversePath;

/// Delivers a lease and settles it. The place of the delivery is given back as soon as the next hop has nothing to do
/// with it any more: a commit takes longer than many a delivery.
pub async fn run<S: Store, R: Resolver>(
    plan: Arc<Plan<S, R>>,
    lease: Lease,
    clock: fn() -> Timestamp,
    mut hand: InHand,
) {
    let started = clock();
    let attempts = plan.deliverer.deliver(&lease, started).await;
    let now = clock();
    hand.ended(finding(&lease, &attempts, &plan.queue, now));
    let attempts: Vec<Attempt> = attempts
        .into_iter()
        .map(|attempt| give_up_if_expired(attempt, &lease, now))
        .collect();
    for attempt in &attempts {
        log::delivery(
            &lease,
            attempt.number,
            &attempt.outcome,
            attempt.tls.as_deref(),
            attempt.reused,
            now.since(started),
        );
        let failed = recipient(&lease, attempt.number).filter(|_| matches!(attempt.outcome, Outcome::Failed(_)));
        if let Some(unwanted) = failed.filter(|recipient| !recipient.request.wants(Event::Failure)) {
            log::bounce_unwanted(&lease, unwanted);
        }
    }
    let mut notifications = Notifications::default();
    let means = Means::of(&plan);
    let news = News::of(&lease, &attempts, &plan.queue, now);
    notifications
        .add(means, &lease, Notice::Relayed, &news.relayed, now)
        .await;
    notifications
        .add(means, &lease, Notice::Failed, &news.failed, now)
        .await;
    let delay = delay_notice(&plan.queue, &lease);
    notifications.add(means, &lease, delay, &news.delayed, now).await;
    let settlements = attempts
        .iter()
        .map(|attempt| settlement(attempt, &lease, &plan.queue, now, &news))
        .collect();
    // What fails is kept by the store, which tries it again and gives the lease to nobody meanwhile: a message that
    // the next hop has taken must not be sent again.
    let settled = notifications.settle(&*plan.deliverer.store, lease, settlements).await;
    if let Err(error) = &settled {
        log::store_failed("settle", error);
    }
    // Of a lease that has ended otherwise there is nothing to settle: only a store that cannot write is a reason to stop.
    let is_failure = |error| matches!(error, StoreError::Io(_) | StoreError::NoSpace | StoreError::Closed);
    hand.settled(!settled.is_err_and(is_failure));
}

/// A destination that could not be reached is to rest, so that one probe speaks for all of its messages; Postfix calls it
/// a dead site. Not reached is one that no message got to: no host could be found or connected to, or none got through
/// greeting, EHLO and the TLS that is demanded. A balancer that has nobody behind it connects and closes.
fn finding(lease: &Lease, attempts: &[Attempt], queue: &QueueSettings, now: Timestamp) -> Finding {
    let is_unreached = |attempt: &Attempt| !attempt.reached && matches!(attempt.outcome, Outcome::Deferred(_));
    // What is only to be reported says nothing of the destination.
    let is_tried = |attempt: &&Attempt| recipient(lease, attempt.number).is_some_and(|recipient| !recipient.unreported);
    let mut tried = attempts.iter().filter(is_tried).peekable();
    match tried.peek().copied() {
        None => Finding::Nothing,
        Some(first) if tried.all(is_unreached) => Finding::Unreached {
            until: queue
                .backoff()
                .rest_until(lease.failures, now, seed(lease, lease.failures)),
            reply: first.outcome.report().text.clone(),
        },
        _ => Finding::Reached {
            is_probe: lease.is_probe,
        },
    }
}

fn seed(lease: &Lease, attempts: u32) -> u64 {
    backoff::seed(lease.id.number().unsigned_abs(), attempts)
}

/// `maximal_queue_lifetime`: what is still deferred when its time is over has failed (RFC 3463 X.4.7). So everything is
/// attempted once more after its time, whatever the clock has done.
fn give_up_if_expired(attempt: Attempt, lease: &Lease, now: Timestamp) -> Attempt {
    match attempt.outcome {
        Outcome::Deferred(report) if now >= lease.expires => Attempt {
            outcome: Outcome::Failed(expired(report)),
            ..attempt
        },
        outcome => Attempt { outcome, ..attempt },
    }
}

/// That the time of a message was over when its last attempt ended like this.
pub fn expired(last: Report) -> Report {
    Report {
        status: "5.4.7".into(),
        text: format!("delivery time expired; the last attempt said: {}", last.text),
        from_remote: false,
        ..last
    }
}

/// What the sender is told of the attempts.
struct News {
    relayed: Vec<Told>,
    failed: Vec<Told>,
    delayed: Vec<Told>,
    /// Whether it is late, so that whoever waits has been told, or did not ask to be.
    is_late: bool,
}

impl News {
    fn of(lease: &Lease, attempts: &[Attempt], queue: &QueueSettings, now: Timestamp) -> Self {
        let is_late = queue.told_if_arrived_by(now).is_some_and(|by| lease.arrived <= by);
        let is_late = is_late && lease.reverse_path != ReversePath::Null;
        let about = |event: Event, is_news: &dyn Fn(&Attempt, &LeasedRecipient) -> bool| {
            let told = attempts.iter().filter_map(|attempt| {
                let recipient = recipient(lease, attempt.number)?;
                let is_wanted = is_news(attempt, recipient) && recipient.request.wants(event);
                is_wanted.then(|| bounce::told(recipient, attempt.outcome.report().clone()))
            });
            told.collect()
        };
        Self {
            // RFC 3461 section 5.2.2: where the next hop tells nothing of what it does with the message.
            relayed: about(Event::Success, &|attempt, _| {
                is_relayed(attempt) && !attempt.notifies && lease.reverse_path != ReversePath::Null
            }),
            failed: about(Event::Failure, &|attempt, _| {
                matches!(attempt.outcome, Outcome::Failed(_))
            }),
            delayed: about(Event::Delay, &|attempt, recipient| {
                is_late && !recipient.warned && matches!(attempt.outcome, Outcome::Deferred(_))
            }),
            is_late,
        }
    }
}

fn is_relayed(attempt: &Attempt) -> bool {
    matches!(attempt.outcome, Outcome::Relayed(_))
}

/// What the sender of a message that waits long is told.
pub fn delay_notice(queue: &QueueSettings, lease: &Lease) -> Notice {
    Notice::Delayed {
        retried_until: lease.expires,
        after: queue.delay_warning,
    }
}

fn recipient(lease: &Lease, number: u32) -> Option<&LeasedRecipient> {
    lease.recipients.iter().find(|recipient| recipient.number == number)
}

fn settlement(attempt: &Attempt, lease: &Lease, queue: &QueueSettings, now: Timestamp, news: &News) -> Settlement {
    let number = attempt.number;
    let recipient = recipient(lease, number);
    let is_wanted = |event| recipient.is_some_and(|recipient| recipient.request.wants(event));
    let is_told = match attempt.outcome {
        Outcome::Relayed(_) => !attempt.notifies && is_wanted(Event::Success),
        _ => is_wanted(Event::Failure),
    };
    match &attempt.outcome {
        Outcome::Relayed(_) | Outcome::Failed(_) if is_told => Settlement::Reported { number },
        Outcome::Relayed(_) | Outcome::Failed(_) => Settlement::Done { number },
        Outcome::Deferred(report) => {
            let attempts = recipient.map_or(0, |recipient| recipient.attempts);
            let due = queue
                .backoff()
                .retry_at(lease.arrived, lease.expires, now, seed(lease, attempts));
            Settlement::Retry {
                number,
                at: now,
                due,
                reply: report.text.clone(),
                warned: news.is_late,
            }
        }
    }
}
