//! A destination that rests: how its rest begins and ends, and what is done meanwhile for mail that waits there.
//!
//! **Implements** `delay_warning_time`, `maximal_queue_lifetime` and `bounce_queue_lifetime` for mail that nobody attempts:
//! each time a probe has failed it has spoken for every message of the destination, so those whose time is over are
//! returned with what it said, and the senders of those that wait long are told so, once.
//! **Does not** attempt anything, or rewrite a message for which there is nothing to do.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::delivery::{expired, warn};
use super::event::Event;
use crate::io::bounce;
use crate::io::dns::Resolver;
use crate::io::plan::Plan;
use crate::mail::dsn::Event as DsnEvent;
use crate::mail::outcome::{Outcome, Report};
use crate::mail::queue_id::QueueId;
use crate::observe::log;
use crate::outbound::bounce::{Notice, Told};
use crate::queue::Store;
use crate::queue::entry::{Lease, LeasedRecipient, Settlement};
use crate::time::Timestamp;

/// Messages of a resting destination that are seen to at a time.
const OVERDUE_LEASES_MAX: usize = 200;

/// Writes down that the destination rests, and says so to the scheduler.
pub async fn begin<S: Store>(
    store: &S,
    destination: Arc<str>,
    until: Timestamp,
    reply: String,
    events: &UnboundedSender<Event>,
) {
    let because = match store.back_off(&destination, until, &reply).await {
        Ok(()) => {
            log::destination_suspended(&destination, until, &reply);
            Some(reply)
        }
        Err(error) => {
            log::store_failed("back off", &error);
            None
        }
    };
    let _ = events.send(Event::Rested { destination, because });
}

/// Writes down that it rests no longer. When that fails, another probe will succeed.
pub async fn end<S: Store>(store: &S, destination: &str, events: &UnboundedSender<Event>) {
    match store.back_off(destination, Timestamp::default(), "").await {
        Ok(()) => log::destination_resumed(destination),
        Err(error) => log::store_failed("back off", &error),
    }
    let _ = events.send(Event::Resumed);
}

/// Ends a lease that nobody settled, when it is dropped.
struct Abandon<'a, S: Store> {
    store: &'a S,
    id: QueueId,
    destination: String,
    is_settled: bool,
}

impl<S: Store> Drop for Abandon<'_, S> {
    fn drop(&mut self) {
        if !self.is_settled {
            self.store.abandon(self.id, &self.destination);
        }
    }
}

/// Sees to the mail that is overdue at a destination whose probe has just failed with `reply`.
pub async fn see_to_overdue<S: Store, R: Resolver>(
    plan: Arc<Plan<S, R>>,
    destination: Arc<str>,
    reply: String,
    clock: fn() -> Timestamp,
    stopping: CancellationToken,
) {
    let reply: Arc<str> = reply.into();
    let mut after = None;
    while !stopping.is_cancelled() {
        let now = clock();
        let nobody = Timestamp(i64::MIN);
        let arrived_by = plan.queue.told_if_arrived_by(now).unwrap_or(nobody);
        let store = &plan.deliverer.store;
        let found = store
            .overdue(&destination, now, arrived_by, after, OVERDUE_LEASES_MAX)
            .await;
        let overdue = match found {
            Ok(overdue) => overdue,
            Err(error) => {
                log::store_failed("overdue", &error);
                return;
            }
        };
        let mut all = JoinSet::new();
        for lease in overdue.leases {
            all.spawn(see_to(Arc::clone(&plan), lease, Arc::clone(&reply), now));
        }
        // One that panics has told so on stderr, and its lease has ended.
        while all.join_next().await.is_some() {}
        after = overdue.next;
        if after.is_none() {
            return;
        }
    }
}

/// Returns one message, or tells its sender of the delay.
async fn see_to<S: Store, R: Resolver>(plan: Arc<Plan<S, R>>, lease: Lease, reply: Arc<str>, now: Timestamp) {
    let store = &*plan.deliverer.store;
    let mut guard = Abandon {
        store,
        id: lease.id,
        destination: lease.destination.clone(),
        is_settled: false,
    };
    let settlements = if now >= lease.expires {
        give_up(&plan, &lease, &reply, now).await
    } else {
        tell_of_delay(&plan, &lease, &reply, now).await
    };
    if settlements.is_empty() {
        // Nothing could be said: as it was, until the next probe.
        return;
    }
    guard.is_settled = true;
    if let Err(error) = store.settle(lease, settlements).await {
        log::store_failed("settle", &error);
    }
}

fn report(status: &str, reply: &str) -> Report {
    Report {
        remote: String::new(),
        status: status.into(),
        text: reply.into(),
        from_remote: false,
    }
}

async fn give_up<S: Store, R: Resolver>(
    plan: &Plan<S, R>,
    lease: &Lease,
    reply: &str,
    now: Timestamp,
) -> Vec<Settlement> {
    let report = expired(report("4.4.1", reply));
    let wanting = lease
        .recipients
        .iter()
        .filter(|recipient| recipient.request.wants(DsnEvent::Failure));
    let failures: Vec<Told> = wanting
        .map(|recipient| bounce::told(recipient, report.clone()))
        .collect();
    if !failures.is_empty()
        && let Err(error) = bounce::send(plan, lease, Notice::Failed, &failures, now).await
    {
        log::store_failed("bounce", &error);
        return Vec::new();
    }
    let outcome = Outcome::Failed(report);
    for recipient in &lease.recipients {
        log::delivery(
            lease,
            recipient.number,
            &outcome,
            None,
            false,
            std::time::Duration::ZERO,
        );
    }
    let done = |recipient: &LeasedRecipient| Settlement::Done {
        number: recipient.number,
    };
    lease.recipients.iter().map(done).collect()
}

async fn tell_of_delay<S: Store, R: Resolver>(
    plan: &Plan<S, R>,
    lease: &Lease,
    reply: &str,
    now: Timestamp,
) -> Vec<Settlement> {
    let unwarned: Vec<&LeasedRecipient> = lease.recipients.iter().filter(|recipient| !recipient.warned).collect();
    let wants = |recipient: &&LeasedRecipient| recipient.request.wants(DsnEvent::Delay);
    let (wanted, unwanted): (Vec<_>, Vec<_>) = unwarned.into_iter().partition(wants);
    let told = |recipient: &&LeasedRecipient| bounce::told(recipient, report("4.4.1", reply));
    let reports: Vec<Told> = wanted.iter().map(told).collect();
    let is_told = warn(plan, lease, &reports, now).await;
    let warned = wanted.into_iter().filter(|_| is_told).chain(unwanted);
    let warned = warned.map(|recipient| Settlement::Warned {
        number: recipient.number,
    });
    warned.collect()
}
