//! Takes what is due from the queue, has it delivered, and settles what became of it.
//!
//! **Implements** `minimal_backoff_time`, `maximal_backoff_time`, `maximal_queue_lifetime`, `queue_run_delay` and
//! `default_destination_concurrency_limit`; a bounce for what failed or expired, never to the null reverse-path.
//! **Does not** prefer fresh mail to retries; the store hands out leases fairly over destinations.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::bounce;
use super::clock;
use super::deliver::Attempt;
use super::dns::Resolver;
use super::plan::Plan;
use crate::mail::outcome::{Outcome, Report};
use crate::observe::log;
use crate::queue::Store;
use crate::queue::backoff;
use crate::queue::entry::{Lease, Settlement};
use crate::queue::settings::QueueSettings;
use crate::time::Timestamp;

/// Leases in hand: delivering or waiting for their destination's turn.
const LEASES_MAX: usize = 1_000;
/// Deliveries at once, over all destinations.
const DELIVERIES_MAX: usize = 100;
/// How long the scheduler rests after the store failed.
const STORE_BACK_OFF: Duration = Duration::from_secs(1);

/// The scheduler's state: what is leased and what is delivering.
pub struct Scheduler<S, R> {
    plan: Arc<ArcSwap<Plan<S, R>>>,
    store: Arc<S>,
    queued: Arc<Notify>,
    deliveries: TaskTracker,
    /// Leases per destination that wait for a place.
    waiting: HashMap<String, VecDeque<Lease>>,
    /// Deliveries under way per destination.
    active: HashMap<String, usize>,
}

impl<S: Store, R: Resolver> Scheduler<S, R> {
    /// A scheduler over a store; `queued` is notified when something was committed.
    pub fn new(plan: Arc<ArcSwap<Plan<S, R>>>, store: Arc<S>, queued: Arc<Notify>) -> Self {
        let (waiting, active) = (HashMap::new(), HashMap::new());
        Self {
            plan,
            store,
            queued,
            deliveries: TaskTracker::new(),
            waiting,
            active,
        }
    }

    /// Runs until `stopping` is cancelled, then waits up to `grace` for deliveries under way. What is cut off then
    /// stays queued and may be delivered twice if it was between its final dot and the reply.
    pub async fn run(mut self, stopping: CancellationToken, grace: Duration) {
        let (ended, mut endings) = mpsc::channel::<Ended>(DELIVERIES_MAX);
        while !stopping.is_cancelled() {
            let pause = self.lease().await;
            self.start_deliveries(&ended);
            tokio::select! {
                () = stopping.cancelled() => {}
                Some(ended) = endings.recv() => self.delivery_ended(&ended),
                () = self.queued.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
            while let Ok(ended) = endings.try_recv() {
                self.delivery_ended(&ended);
            }
        }
        self.deliveries.close();
        drop(endings);
        let _ = tokio::time::timeout(grace, self.deliveries.wait()).await;
    }

    /// Takes leases while there is room; returns how long to sleep when nothing else happens.
    async fn lease(&mut self) -> Duration {
        let in_hand = self.active.values().sum::<usize>() + self.waiting.values().map(VecDeque::len).sum::<usize>();
        let room = LEASES_MAX.saturating_sub(in_hand);
        let now = clock::timestamp();
        let run_delay = self.plan.load().queue.run_delay;
        if room == 0 {
            return run_delay;
        }
        let leased = match self.store.due(now, room).await {
            Ok(leases) => leases,
            Err(error) => {
                log::store_failed("lease", &error);
                return STORE_BACK_OFF;
            }
        };
        for lease in leased {
            self.waiting
                .entry(lease.destination.clone())
                .or_default()
                .push_back(lease);
        }
        match self.store.next_due().await {
            Ok(Some(due)) if due > now => due.since(now).min(run_delay),
            Ok(Some(_)) => STORE_BACK_OFF.min(run_delay),
            Ok(None) => run_delay,
            Err(_) => STORE_BACK_OFF,
        }
    }

    fn start_deliveries(&mut self, ended: &mpsc::Sender<Ended>) {
        let plan = self.plan.load_full();
        let per_destination = plan.deliverer.settings.destination_concurrency_max.max(1);
        let mut total: usize = self.active.values().sum();
        let destinations: Vec<String> = self.waiting.keys().cloned().collect();
        for destination in destinations {
            let active = self.active.entry(destination.clone()).or_default();
            let Some(queue) = self.waiting.get_mut(&destination) else {
                continue;
            };
            while *active < per_destination && total < DELIVERIES_MAX {
                let Some(lease) = queue.pop_front() else { break };
                *active += 1;
                total += 1;
                let (plan, ended) = (Arc::clone(&plan), ended.clone());
                self.deliveries.spawn(async move {
                    let mut place = Place {
                        destination: lease.destination.clone(),
                        is_suspended: false,
                        ended,
                    };
                    place.is_suspended = run_delivery(&plan, lease).await;
                });
            }
        }
        self.waiting.retain(|_, queue| !queue.is_empty());
        self.active.retain(|_, active| *active > 0);
    }

    /// Gives the place back. A suspended destination gives its waiting leases back too: each of them would only fail
    /// the same way, and meanwhile keep other destinations out.
    fn delivery_ended(&mut self, ended: &Ended) {
        if let Some(active) = self.active.get_mut(&ended.destination) {
            *active = active.saturating_sub(1);
        }
        if ended.is_suspended
            && let Some(leases) = self.waiting.remove(&ended.destination)
        {
            for lease in leases {
                let store = Arc::clone(&self.store);
                self.deliveries
                    .spawn(async move { give_back(store.as_ref(), lease).await });
            }
        }
    }
}

/// The place of a delivery; it is given back when this is dropped, however the delivery ends.
struct Place {
    destination: String,
    is_suspended: bool,
    ended: mpsc::Sender<Ended>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let destination = std::mem::take(&mut self.destination);
        // The channel holds as many as there are deliveries; it is closed only when the scheduler has stopped.
        let _ = self.ended.try_send(Ended {
            destination,
            is_suspended: self.is_suspended,
        });
    }
}

/// A delivery that is over.
struct Ended {
    destination: String,
    /// Whether the destination was not reached at all and rests now.
    is_suspended: bool,
}

/// Ends a lease that was not used; its recipients stay as they were.
async fn give_back<S: Store>(store: &S, lease: Lease) {
    if let Err(error) = store.settle(lease, Vec::new()).await {
        log::store_failed("give back", &error);
    }
}

/// Delivers one lease and settles it; returns whether the destination rests from now on.
async fn run_delivery<S: Store, R: Resolver>(plan: &Plan<S, R>, lease: Lease) -> bool {
    let started = clock::timestamp();
    let attempts = plan.deliverer.deliver(&lease, started).await;
    let now = clock::timestamp();
    let is_suspended = suspend_if_unreached(plan, &lease, &attempts, now).await;
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
    let failures: Vec<&Attempt> = attempts
        .iter()
        .filter(|a| matches!(a.outcome, Outcome::Failed(_)))
        .collect();
    let bounced = if failures.is_empty() {
        Ok(())
    } else {
        bounce::send(plan, &lease, &failures).await
    };
    if let Err(error) = &bounced {
        log::store_failed("bounce", error);
    }
    let settlements = attempts
        .iter()
        .map(|attempt| settlement(attempt, &lease, &plan.queue, now, bounced.is_ok()));
    let settlements: Vec<Settlement> = settlements.collect();
    settle(plan, lease, settlements).await;
    is_suspended
}

/// What says that no next hop was reached: connections (4.4.1), the DNS (4.4.3), address families (4.4.4), a wrong
/// relayhost (4.3.5), TLS that is demanded and not to be had (4.7.4, 4.7.5).
const UNREACHED: [&str; 6] = ["4.4.1", "4.4.3", "4.4.4", "4.3.5", "4.7.4", "4.7.5"];

/// A destination that could not be reached rests for `minimal_backoff_time`, so that one probe speaks for all of its
/// messages; Postfix calls it a dead site.
async fn suspend_if_unreached<S: Store, R: Resolver>(
    plan: &Plan<S, R>,
    lease: &Lease,
    attempts: &[Attempt],
    now: Timestamp,
) -> bool {
    let is_unreached = |report: &Report| !report.from_remote && UNREACHED.contains(&report.status.as_str());
    let deferred = |attempt: &Attempt| match &attempt.outcome {
        Outcome::Deferred(report) => is_unreached(report),
        _ => false,
    };
    let Some(first) = attempts.first().filter(|_| attempts.iter().all(deferred)) else {
        return false;
    };
    let until = now.plus(plan.queue.minimal_backoff);
    let reply = &first.outcome.report().text;
    match plan.deliverer.store.back_off(&lease.destination, until, reply).await {
        Ok(()) => {
            log::destination_suspended(&lease.destination, until, reply);
            true
        }
        Err(error) => {
            log::store_failed("back off", &error);
            false
        }
    }
}

/// `maximal_queue_lifetime`: what is still deferred when its time is over has failed (RFC 3463 X.4.7).
fn give_up_if_expired(attempt: Attempt, lease: &Lease, now: Timestamp) -> Attempt {
    match attempt.outcome {
        Outcome::Deferred(report) if now >= lease.expires => {
            let text = format!("delivery time expired; the last attempt said: {}", report.text);
            let outcome = Outcome::Failed(Report {
                status: "5.4.7".into(),
                text,
                from_remote: false,
                ..report
            });
            Attempt { outcome, ..attempt }
        }
        outcome => Attempt { outcome, ..attempt },
    }
}

fn settlement(attempt: &Attempt, lease: &Lease, queue: &QueueSettings, now: Timestamp, bounced: bool) -> Settlement {
    let number = attempt.number;
    let is_done = match attempt.outcome {
        Outcome::Relayed(_) => true,
        Outcome::Failed(_) => bounced,
        Outcome::Deferred(_) => false,
    };
    if is_done {
        return Settlement::Done { number };
    }
    let due = backoff::retry_at(lease.arrived, now, queue.minimal_backoff, queue.maximal_backoff);
    Settlement::Retry {
        number,
        at: now,
        due,
        reply: attempt.outcome.report().text.clone(),
        warned: false,
    }
}

/// A settlement that fails is kept by the store, which tries it again and gives the lease to nobody meanwhile: a message
/// that the next hop has taken must not be sent again.
async fn settle<S: Store, R: Resolver>(plan: &Plan<S, R>, lease: Lease, settlements: Vec<Settlement>) {
    if let Err(error) = plan.deliverer.store.settle(lease, settlements).await {
        log::store_failed("settle", &error);
    }
}
