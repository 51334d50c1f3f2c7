//! One delivery from its lease to its settlement.
//!
//! **Implements** `minimal_backoff_time`, `maximal_backoff_time`, `maximal_queue_lifetime` and `delay_warning_time` for what
//! was attempted; a bounce for what failed or expired.
//! **Does not** choose what is delivered, or when.

use std::sync::Arc;

use super::event::{Finding, InHand};
use crate::io::bounce;
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
    }
    tell_of_success(&plan, &lease, &attempts, now).await;
    let is_bounced = tell_of_failures(&plan, &lease, &attempts, now).await;
    let warned = tell_of_delay(&plan, &lease, &attempts, now).await;
    let settlements = attempts
        .iter()
        .map(|attempt| {
            settlement(
                attempt,
                &lease,
                &plan.queue,
                now,
                is_bounced,
                warned.contains(&attempt.number),
            )
        })
        .collect();
    // What fails is kept by the store, which tries it again and gives the lease to nobody meanwhile: a message that
    // the next hop has taken must not be sent again.
    let settled = plan.deliverer.store.settle(lease, settlements).await;
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
    match attempts.first() {
        Some(first) if attempts.iter().all(is_unreached) => Finding::Unreached {
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

/// Whether the failures need no longer be kept: they are bounced in one message, or there are none.
async fn tell_of_failures<S: Store, R: Resolver>(
    plan: &Plan<S, R>,
    lease: &Lease,
    attempts: &[Attempt],
    now: Timestamp,
) -> bool {
    let failures: Vec<Told> = attempts
        .iter()
        .filter(|attempt| matches!(attempt.outcome, Outcome::Failed(_)))
        .filter(|attempt| wants(lease, attempt.number, Event::Failure))
        .filter_map(|attempt| told(lease, attempt))
        .collect();
    if failures.is_empty() {
        return true;
    }
    let sent = bounce::send(plan, lease, Notice::Failed, &failures, now).await;
    if let Err(error) = &sent {
        log::store_failed("bounce", error);
    }
    sent.is_ok()
}

/// The recipients of whose delay the sender has been told now, in one message.
async fn tell_of_delay<S: Store, R: Resolver>(
    plan: &Plan<S, R>,
    lease: &Lease,
    attempts: &[Attempt],
    now: Timestamp,
) -> Vec<u32> {
    let is_late = plan.queue.told_if_arrived_by(now).is_some_and(|by| lease.arrived <= by);
    if !is_late || lease.reverse_path == ReversePath::Null {
        return Vec::new();
    }
    let delayed: Vec<&Attempt> = attempts
        .iter()
        .filter(|attempt| matches!(attempt.outcome, Outcome::Deferred(_)))
        .filter(|attempt| recipient(lease, attempt.number).is_some_and(|recipient| !recipient.warned))
        .collect();
    let (wanted, unwanted): (Vec<_>, Vec<_>) = delayed
        .into_iter()
        .partition(|attempt| wants(lease, attempt.number, Event::Delay));
    let reports: Vec<Told> = wanted.iter().filter_map(|attempt| told(lease, attempt)).collect();
    let mut warned: Vec<u32> = unwanted.iter().map(|attempt| attempt.number).collect();
    if warn(plan, lease, &reports, now).await {
        warned.extend(wanted.iter().map(|attempt| attempt.number));
    }
    warned
}

/// RFC 3461 section 5.2.2: the next hop tells nothing of what it does with the message, so that the sender who wants to know is
/// told that it was relayed. A report that cannot be queued is lost: what is relayed must not be sent again for it.
async fn tell_of_success<S: Store, R: Resolver>(
    plan: &Plan<S, R>,
    lease: &Lease,
    attempts: &[Attempt],
    now: Timestamp,
) {
    let relayed: Vec<Told> = attempts
        .iter()
        .filter(|attempt| matches!(attempt.outcome, Outcome::Relayed(_)) && !attempt.notifies)
        .filter(|attempt| wants(lease, attempt.number, Event::Success))
        .filter_map(|attempt| told(lease, attempt))
        .collect();
    if relayed.is_empty() {
        return;
    }
    if let Err(error) = bounce::send(plan, lease, Notice::Relayed, &relayed, now).await {
        log::store_failed("success notification", &error);
    }
}

fn wants(lease: &Lease, number: u32, event: Event) -> bool {
    recipient(lease, number).is_some_and(|recipient| recipient.request.wants(event))
}

/// Queues the warning, when there is something to warn of; says whether it is queued.
pub async fn warn<S: Store, R: Resolver>(plan: &Plan<S, R>, lease: &Lease, reports: &[Told], now: Timestamp) -> bool {
    if reports.is_empty() {
        return false;
    }
    let notice = Notice::Delayed {
        retried_until: lease.expires,
        after: plan.queue.delay_warning,
    };
    let sent = bounce::send(plan, lease, notice, reports, now).await;
    if let Err(error) = &sent {
        log::store_failed("delay warning", error);
    }
    sent.is_ok()
}

fn recipient(lease: &Lease, number: u32) -> Option<&LeasedRecipient> {
    lease.recipients.iter().find(|recipient| recipient.number == number)
}

fn told(lease: &Lease, attempt: &Attempt) -> Option<Told> {
    let recipient = recipient(lease, attempt.number)?;
    Some(bounce::told(recipient, attempt.outcome.report().clone()))
}

fn settlement(
    attempt: &Attempt,
    lease: &Lease,
    queue: &QueueSettings,
    now: Timestamp,
    is_bounced: bool,
    warned: bool,
) -> Settlement {
    let number = attempt.number;
    let is_done = match attempt.outcome {
        Outcome::Relayed(_) => true,
        Outcome::Failed(_) => is_bounced,
        Outcome::Deferred(_) => false,
    };
    if is_done {
        return Settlement::Done { number };
    }
    let attempts = recipient(lease, number).map_or(0, |recipient| recipient.attempts);
    let due = queue
        .backoff()
        .retry_at(lease.arrived, lease.expires, now, seed(lease, attempts));
    Settlement::Retry {
        number,
        at: now,
        due,
        reply: attempt.outcome.report().text.clone(),
        warned,
    }
}
