//! Takes what is due from the queue, has it delivered, and settles what became of it.
//!
//! **Implements** `default_destination_concurrency_limit`, `smtp_destination_concurrency_limit`,
//! `initial_destination_concurrency`, `queue_run_delay`, and by its parts the retries, lifetimes, rests and warnings of the
//! queue. The store is asked for more when half of what may be in hand is free, or when something was queued; it is asked
//! when the next recipient is due only before the scheduler goes to sleep.
//! **Does not** prefer fresh mail to retries, or one sender to another: the store hands out leases in its order.
//! **Bugs** a clock that is set forward while nothing happens is noticed after `queue_run_delay` at the latest.

mod delivery;
mod event;
mod rest;

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::clock;
use super::dns::Resolver;
use super::plan::Plan;
use crate::observe::log;
use crate::queue::entry::Lease;
use crate::queue::turns::{Limits, Place, Turns};
use crate::queue::{Store, StoreError};
use crate::time::Timestamp;
use event::{Event, Finding, InHand};

/// Leases in hand: waiting for a place, delivering, or being settled.
const LEASES_MAX: usize = 2_000;
/// The store is asked for as many at a time.
const ASKED_MAX: usize = 500;
/// When it had more the last time, it is asked again when so many may be taken.
const ROOM_FOR_MORE: usize = LEASES_MAX / 2;
/// With less room than this it is not asked even when something was queued: there is enough to do.
const ROOM_MIN: usize = LEASES_MAX / 20;
/// Leases that have ended since the store was asked, after which it is asked again: it hands out a bounded number of each
/// destination's, so it may have more of those.
const SETTLED_MAX: usize = 25;
/// Deliveries at once, over all destinations.
const DELIVERIES_MAX: usize = 400;
/// Resting destinations whose overdue mail is seen to at once.
const WALKS_MAX: usize = 4;
/// Nothing has happened for so long: time to find out how long to sleep.
const IDLE_TIME: Duration = Duration::from_millis(20);
/// How long the scheduler rests after the store failed.
const STORE_BACK_OFF: Duration = Duration::from_secs(1);

/// The scheduler's state: what is leased and what is delivering.
pub struct Scheduler<S, R> {
    plan: Arc<ArcSwap<Plan<S, R>>>,
    store: Arc<S>,
    queued: Arc<Notify>,
    clock: fn() -> Timestamp,
    tasks: TaskTracker,
    turns: Turns,
    /// Leases that this process holds, whatever their stage.
    in_hand: usize,
    appetite: Appetite,
    /// After the store failed: nothing is asked and nothing is begun before.
    quiet_until: Option<Instant>,
    /// Who may see to the overdue mail of a resting destination.
    walks: Arc<Semaphore>,
}

/// Why the store might have something.
#[derive(Debug, Default)]
struct Appetite {
    /// Something was queued, or a time has come.
    is_called: bool,
    /// The last answer was as long as it might be.
    has_more: bool,
    /// Leases that have ended since it was asked.
    settled: usize,
    /// When to look next, once that was asked.
    next_look: Option<Instant>,
}

/// What the store is being asked.
type Asking = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// What it said.
enum Answer {
    Leases {
        asked: usize,
        leases: Result<Vec<Lease>, StoreError>,
    },
    NextDue(Result<Option<Timestamp>, StoreError>),
}

impl<S: Store, R: Resolver> Scheduler<S, R> {
    /// A scheduler over a store; `queued` is notified when something was committed.
    pub fn new(plan: Arc<ArcSwap<Plan<S, R>>>, store: Arc<S>, queued: Arc<Notify>) -> Self {
        Self {
            plan,
            store,
            queued,
            clock: clock::timestamp,
            tasks: TaskTracker::new(),
            turns: Turns::default(),
            in_hand: 0,
            appetite: Appetite {
                is_called: true,
                ..Appetite::default()
            },
            quiet_until: None,
            walks: Arc::new(Semaphore::new(WALKS_MAX)),
        }
    }

    /// With another wall clock.
    #[must_use]
    pub fn with_clock(self, clock: fn() -> Timestamp) -> Self {
        Self { clock, ..self }
    }

    /// Runs until `stopping` is cancelled, then waits up to `grace` for deliveries under way. What is cut off then
    /// stays queued and may be delivered twice if it was between its final dot and the reply.
    pub async fn run(mut self, stopping: CancellationToken, grace: Duration) {
        let (events, mut arriving) = mpsc::unbounded_channel::<Event>();
        let mut asking: Option<Asking> = None;
        while !stopping.is_cancelled() {
            if asking.is_none() {
                asking = self.ask_for_leases();
            }
            self.start_deliveries(&events);
            let alarm = self.alarm(asking.is_some());
            tokio::select! {
                () = stopping.cancelled() => {}
                Some(event) = arriving.recv() => {
                    self.handle(event, &events, &stopping);
                    while let Ok(event) = arriving.try_recv() {
                        self.handle(event, &events, &stopping);
                    }
                }
                answer = answered(&mut asking) => {
                    asking = None;
                    self.take(answer);
                }
                () = self.queued.notified() => self.appetite.is_called = true,
                () = tokio::time::sleep_until(alarm) => asking = asking.or_else(|| self.wake_up()),
            }
        }
        drop(asking);
        self.tasks.close();
        let _ = tokio::time::timeout(grace, self.tasks.wait()).await;
    }

    fn limits(&self) -> Limits {
        let plan = self.plan.load();
        let settings = &plan.deliverer.settings;
        Limits {
            deliveries_max: DELIVERIES_MAX,
            per_destination_max: settings.destination_concurrency_max.max(1),
            per_destination_initial: settings.initial_destination_concurrency.max(1),
        }
    }

    fn is_quiet(&self) -> bool {
        self.quiet_until.is_some_and(|until| Instant::now() < until)
    }

    /// Asks for leases when there is room and reason.
    fn ask_for_leases(&mut self) -> Option<Asking> {
        let room = LEASES_MAX.saturating_sub(self.in_hand);
        let appetite = &self.appetite;
        let is_hungry =
            appetite.is_called || (appetite.has_more && room >= ROOM_FOR_MORE) || appetite.settled >= SETTLED_MAX;
        if room < ROOM_MIN || !is_hungry || self.is_quiet() {
            return None;
        }
        let asked = room.min(ASKED_MAX);
        self.appetite = Appetite::default();
        let (store, now) = (Arc::clone(&self.store), (self.clock)());
        Some(Box::pin(async move {
            Answer::Leases {
                asked,
                leases: store.due(now, asked).await,
            }
        }))
    }

    /// When something has to be done though nothing happens.
    fn alarm(&self, is_asking: bool) -> Instant {
        let now = Instant::now();
        let run_delay = self.plan.load().queue.run_delay;
        match (self.quiet_until, self.appetite.next_look) {
            (Some(until), _) if now < until => until,
            (_, Some(at)) => at,
            _ if is_asking || self.in_hand > LEASES_MAX - ROOM_MIN => now + run_delay,
            _ => now + IDLE_TIME,
        }
    }

    /// The alarm went off: either it is time to look, or nothing has happened for a while and it is to be found out how
    /// long to sleep.
    fn wake_up(&mut self) -> Option<Asking> {
        let appetite = &mut self.appetite;
        if appetite.next_look.take().is_some()
            || appetite.has_more
            || appetite.settled > 0
            || self.quiet_until.is_some()
        {
            self.quiet_until = None;
            appetite.is_called = true;
            return None;
        }
        let store = Arc::clone(&self.store);
        Some(Box::pin(async move { Answer::NextDue(store.next_due().await) }))
    }

    fn take(&mut self, answer: Answer) {
        match answer {
            Answer::Leases {
                asked,
                leases: Ok(leases),
            } => {
                self.appetite.has_more |= leases.len() >= asked;
                self.in_hand += leases.len();
                let limits = self.limits();
                for lease in leases {
                    self.turns.push(lease, limits);
                }
            }
            Answer::NextDue(Ok(next)) => {
                let run_delay = self.plan.load().queue.run_delay;
                let now = (self.clock)();
                // What is due already and was not handed out waits for a lease to end.
                let pause = next.map_or(run_delay, |due| if due > now { due.since(now) } else { STORE_BACK_OFF });
                self.appetite.next_look = Some(Instant::now() + pause.min(run_delay));
            }
            Answer::Leases { leases: Err(error), .. } | Answer::NextDue(Err(error)) => {
                log::store_failed("lease", &error);
                self.appetite.is_called = true;
                self.quiet_until = Some(Instant::now() + STORE_BACK_OFF);
            }
        }
    }

    fn start_deliveries(&mut self, events: &UnboundedSender<Event>) {
        if self.is_quiet() {
            return;
        }
        let limits = self.limits();
        while let Some(turn) = self.turns.next(limits) {
            let hand = InHand::new(turn.lease.id, turn.place, events.clone());
            let delivery = delivery::run(self.plan.load_full(), turn.lease, self.clock, hand);
            self.tasks.spawn(delivery);
        }
    }

    fn handle(&mut self, event: Event, events: &UnboundedSender<Event>, stopping: &CancellationToken) {
        match event {
            Event::Ended { place, finding } => self.delivery_ended(&place, finding, events),
            Event::Settled { is_stored } => {
                self.in_hand = self.in_hand.saturating_sub(1);
                self.appetite.settled += 1;
                self.appetite.next_look = None;
                if !is_stored {
                    // While nothing can be settled nothing more is sent: a crash would send it again.
                    self.quiet_until = Some(Instant::now() + STORE_BACK_OFF);
                }
            }
            Event::Lost { id, destination } => {
                log::delivery_panicked(id, &destination);
                let (store, events) = (Arc::clone(&self.store), events.clone());
                let pause = self.plan.load().queue.minimal_backoff;
                // Not at once: what made a delivery panic would make the next one.
                tokio::spawn(async move {
                    tokio::time::sleep(pause).await;
                    store.abandon(id, &destination);
                    let _ = events.send(Event::Settled { is_stored: true });
                });
            }
            Event::Rested { destination, because } => self.destination_rests(destination, because, stopping),
            Event::Resumed => self.appetite.is_called = true,
        }
    }

    fn delivery_ended(&mut self, place: &Place, finding: Finding, events: &UnboundedSender<Event>) {
        let has_to_rest = self.turns.ended(place, finding.contact(), self.limits());
        let (store, events) = (Arc::clone(&self.store), events.clone());
        let destination = Arc::clone(&place.destination);
        match finding {
            Finding::Reached { is_probe: true } => {
                self.tasks
                    .spawn(async move { rest::end(&*store, &destination, &events).await });
            }
            Finding::Unreached { until, reply } if has_to_rest => {
                self.tasks
                    .spawn(async move { rest::begin(&*store, destination, until, reply, &events).await });
            }
            _ => {}
        }
    }

    /// What waits here for a place at the destination goes back: each would only fail the same way, and meanwhile keep
    /// other destinations out.
    fn destination_rests(&mut self, destination: Arc<str>, because: Option<String>, stopping: &CancellationToken) {
        for lease in self.turns.rested(&destination) {
            self.store.abandon(lease.id, &lease.destination);
            self.in_hand = self.in_hand.saturating_sub(1);
        }
        self.appetite.next_look = None;
        let Some(reply) = because else {
            self.quiet_until = Some(Instant::now() + STORE_BACK_OFF);
            return;
        };
        let overdue = rest::see_to_overdue(self.plan.load_full(), destination, reply, self.clock, stopping.clone());
        let walks = Arc::clone(&self.walks);
        self.tasks.spawn(async move {
            // Never closed.
            let _walk = walks.acquire().await;
            overdue.await;
        });
    }
}

async fn answered(asking: &mut Option<Asking>) -> Answer {
    match asking {
        Some(asking) => asking.await,
        None => pending().await,
    }
}
