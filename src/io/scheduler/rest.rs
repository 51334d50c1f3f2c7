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

use super::delivery::{delay_notice, expired};
use super::event::Event;
use crate::io::bounce::{self, Means, Notifications};
use crate::io::deliver::relayed_before;
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
    let mut notifications = Notifications::default();
    let means = Means::of(&plan);
    let (relayed, reported) = report_relayed(&lease);
    notifications.add(means, &lease, Notice::Relayed, &relayed, now).await;
    let mut settlements = if now >= lease.expires {
        let (failed, settlements) = give_up(&lease, &reply);
        notifications.add(means, &lease, Notice::Failed, &failed, now).await;
        settlements
    } else {
        let (delayed, settlements) = tell_of_delay(&lease, &reply);
        let notice = delay_notice(&plan.queue, &lease);
        notifications.add(means, &lease, notice, &delayed, now).await;
        settlements
    };
    settlements.extend(reported);
    if settlements.is_empty() {
        // Nothing is to be said: as it was, until the next probe.
        return;
    }
    guard.is_settled = true;
    if let Err(error) = notifications.settle(store, lease, settlements).await {
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

/// What a former process saw relayed and did not come to report waits for no attempt.
fn report_relayed(lease: &Lease) -> (Vec<Told>, Vec<Settlement>) {
    let unreported = lease.recipients.iter().filter(|recipient| recipient.unreported);
    let report = |recipient: &LeasedRecipient| {
        let number = recipient.number;
        (
            bounce::told(recipient, relayed_before()),
            Settlement::Reported { number },
        )
    };
    unreported.map(report).unzip()
}

/// Who is told that the time is over, and what becomes of the recipients.
fn give_up(lease: &Lease, reply: &str) -> (Vec<Told>, Vec<Settlement>) {
    let report = expired(report("4.4.1", reply));
    let outcome = Outcome::Failed(report.clone());
    let (mut told, mut settlements) = (Vec::new(), Vec::new());
    for recipient in lease.recipients.iter().filter(|recipient| !recipient.unreported) {
        let number = recipient.number;
        log::delivery(lease, number, &outcome, None, false, std::time::Duration::ZERO);
        if recipient.request.wants(DsnEvent::Failure) {
            told.push(bounce::told(recipient, report.clone()));
            settlements.push(Settlement::Reported { number });
        } else {
            log::bounce_unwanted(lease, recipient);
            settlements.push(Settlement::Done { number });
        }
    }
    (told, settlements)
}

/// Who is told of the delay, and that nobody needs to be any more.
fn tell_of_delay(lease: &Lease, reply: &str) -> (Vec<Told>, Vec<Settlement>) {
    let (mut told, mut settlements) = (Vec::new(), Vec::new());
    let is_unwarned = |recipient: &&LeasedRecipient| !recipient.warned && !recipient.unreported;
    for recipient in lease.recipients.iter().filter(is_unwarned) {
        settlements.push(Settlement::Warned {
            number: recipient.number,
        });
        if recipient.request.wants(DsnEvent::Delay) {
            told.push(bounce::told(recipient, report("4.4.1", reply)));
        }
    }
    (told, settlements)
}
