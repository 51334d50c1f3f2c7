//! Random sequences of operations, compared after each step with what must then be queued: nothing lost, nothing leased twice,
//! nothing that waits passed over. A failure names its seed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use estafette::io::store::SqliteStore;
use estafette::mail::queue_id::QueueId;
use estafette::queue::entry::{Lease, NEVER, Settlement};
use estafette::queue::memory::MemoryStore;
use estafette::queue::{Draft, HoldError, Store};
use estafette::time::Timestamp;

use super::common::{self, ARRIVED, envelope, pattern, recipients, seconds};

const STEPS: usize = 250;
/// The embedded store, which syncs, takes seconds for what the model does at once.
const MODEL_SEEDS: Range<u64> = 0..40;
const EMBEDDED_SEEDS: Range<u64> = 11..14;
/// Fewer than leases of one destination at once, so that room is never a reason to wait.
const MESSAGES_MAX: usize = 60;
const DESTINATIONS: [&str; 4] = ["w.example", "x.example", "y.example", "z.example"];
/// Nothing goes there: what is written for it is committed after what came before.
const BARRIER: &str = "barrier.example";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn model_loses_doubles_and_forgets_nothing_whatever_is_done() {
    for seed in MODEL_SEEDS {
        Run::new(seed, MemoryStore::new(common::clock), None).go().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_store_loses_doubles_and_forgets_nothing_whatever_is_done() {
    for seed in EMBEDDED_SEEDS {
        let directory = common::directory();
        let path = directory.path().to_owned();
        let open = move || common::open(&path);
        Run::<SqliteStore>::new(seed, open(), Some(Box::new(open))).go().await;
    }
}

/// A recipient that is queued.
#[derive(Clone, Debug)]
struct Waiting {
    destination: &'static str,
    due: Timestamp,
    is_relayed: bool,
}

/// The rest of a destination, until its probe has told.
#[derive(Clone, Copy, Debug)]
struct Rest {
    destination: &'static str,
    until: Timestamp,
    probe: Option<QueueId>,
}

impl Rest {
    const fn new(destination: &'static str, until: Timestamp) -> Self {
        Self {
            destination,
            until,
            probe: None,
        }
    }
}

type Opening<S> = Box<dyn Fn() -> S>;

struct Run<S> {
    seed: u64,
    state: u64,
    step: usize,
    store: Option<S>,
    open: Option<Opening<S>>,
    now: Timestamp,
    queued: BTreeMap<QueueId, BTreeMap<u32, Waiting>>,
    leases: Vec<Lease>,
    rests: BTreeMap<&'static str, Rest>,
    /// Rests as they would be found at a start.
    written: BTreeMap<&'static str, Timestamp>,
}

impl<S: Store> Run<S> {
    fn new(seed: u64, store: S, open: Option<Opening<S>>) -> Self {
        Self {
            seed,
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            step: 0,
            store: Some(store),
            open,
            now: ARRIVED,
            queued: BTreeMap::new(),
            leases: Vec::new(),
            rests: BTreeMap::new(),
            written: BTreeMap::new(),
        }
    }

    fn store(&self) -> &S {
        self.store.as_ref().expect("it is open")
    }

    fn draw(&mut self, below: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from((self.state >> 20) % below as u64).expect("small")
    }

    fn destination(&mut self) -> &'static str {
        DESTINATIONS[self.draw(DESTINATIONS.len())]
    }

    fn message(&mut self) -> Option<QueueId> {
        let place = self.draw(self.queued.len().max(1));
        self.queued.keys().nth(place).copied()
    }

    fn lease(&mut self) -> Option<Lease> {
        let place = self.draw(self.leases.len().max(1));
        (!self.leases.is_empty()).then(|| self.leases.swap_remove(place))
    }

    fn whereabouts(&self) -> String {
        format!("seed {}, step {}", self.seed, self.step)
    }

    async fn go(mut self) {
        for step in 0..STEPS {
            self.step = step;
            self.act().await;
            self.compare().await;
        }
        self.drain().await;
    }

    async fn act(&mut self) {
        match self.draw(22) {
            0..=4 => self.commit().await,
            5..=7 => {
                let limit = 1 + self.draw(4);
                self.look(limit).await;
            }
            8..=9 => self.look_at_all().await,
            10..=13 => self.settle().await,
            14 => self.relay(),
            15 => self.abandon().await,
            16 => self.hold().await,
            17 => self.release().await,
            18 => self.back_off().await,
            19 => self.overdue().await,
            20 => self.turn_the_clock(),
            _ => match self.draw(3) {
                0 => self.flush().await,
                1 => self.reopen().await,
                _ => self.release_some().await,
            },
        }
    }

    async fn commit(&mut self) {
        if self.queued.len() >= MESSAGES_MAX {
            return;
        }
        let to: Vec<String> = (0..=self.draw(6))
            .map(|n| format!("u{n}@{}", self.destination()))
            .collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        let mut envelope = envelope();
        envelope.hold = (self.draw(10) == 0).then(|| "asked for".into());
        let due = if envelope.hold.is_some() { NEVER } else { self.now };
        let octets = if self.draw(6) == 0 { 40_000 } else { 20 };
        let mut draft = self.store().begin().await.unwrap();
        draft.append(&pattern(octets, self.seed)).await.unwrap();
        let expires = self.now.plus(seconds(1_000));
        let id = draft
            .commit(envelope, recipients(&to), self.now, expires)
            .await
            .unwrap();
        let rows = (0..).zip(&to).map(|(number, path)| {
            let name = path.rsplit('@').next().unwrap_or_default();
            let destination = *DESTINATIONS.iter().find(|known| **known == name).expect("one of them");
            let waiting = Waiting {
                destination,
                due,
                is_relayed: false,
            };
            (number, waiting)
        });
        self.queued.insert(id, rows.collect());
    }

    async fn look(&mut self, limit: usize) -> usize {
        let leases = self.store().due(self.now, limit).await.unwrap();
        assert!(leases.len() <= limit, "{}", self.whereabouts());
        let count = leases.len();
        for lease in leases {
            self.expect_allowed(&lease);
            self.take(lease);
        }
        count
    }

    async fn look_at_all(&mut self) {
        while self.look(1_000).await > 0 {}
        for (id, destination) in self.due_now() {
            let rest = self.rests.get(destination).copied();
            let waits_for_probe = rest.is_some_and(|rest| {
                rest.until > self.now
                    || rest.probe.is_some()
                    || self.leases.iter().any(|l| l.destination == destination)
            });
            assert!(
                waits_for_probe,
                "{}: {id} is due at {destination} and was passed over",
                self.whereabouts()
            );
        }
    }

    /// What is due by now and not leased.
    fn due_now(&self) -> BTreeSet<(QueueId, &'static str)> {
        let rows = self
            .queued
            .iter()
            .flat_map(|(id, rows)| rows.values().map(|row| (*id, row)));
        rows.filter(|(_, row)| row.due <= self.now)
            .map(|(id, row)| (id, row.destination))
            .filter(|(id, destination)| !self.is_leased_at(*id, destination))
            .collect()
    }

    fn is_leased_at(&self, id: QueueId, destination: &str) -> bool {
        self.leases
            .iter()
            .any(|lease| lease.id == id && lease.destination == destination)
    }

    fn expect_allowed(&mut self, lease: &Lease) {
        let place = self.whereabouts();
        let others = self.leases.iter().any(|held| held.destination == lease.destination);
        let Some(rest) = self.rests.get_mut(lease.destination.as_str()) else {
            assert!(!lease.is_probe, "{place}");
            return;
        };
        assert!(rest.until <= self.now && rest.probe.is_none(), "{place}: {rest:?}");
        assert!(lease.is_probe && !others, "{place}: one probe, {others} {lease:?}");
        rest.probe = Some(lease.id);
    }

    fn take(&mut self, lease: Lease) {
        let place = self.whereabouts();
        assert!(
            !self.is_leased_at(lease.id, &lease.destination),
            "{place}: leased twice"
        );
        let rows = self.queued.get(&lease.id).unwrap_or_else(|| panic!("{place}: gone"));
        let due: Vec<u32> = rows
            .iter()
            .filter(|(_, row)| row.destination == lease.destination && row.due <= self.now)
            .map(|(number, _)| *number)
            .collect();
        let given: Vec<u32> = lease.recipients.iter().map(|recipient| recipient.number).collect();
        assert_eq!(given, due, "{place}: {}", lease.id);
        self.leases.push(lease);
    }

    async fn settle(&mut self) {
        let Some(lease) = self.lease() else { return };
        let mut settlements = Vec::new();
        for recipient in &lease.recipients {
            let number = recipient.number;
            match self.draw(8) {
                0..=3 => settlements.push(Settlement::Done { number }),
                4..=5 => settlements.push(Settlement::Retry {
                    number,
                    at: self.now,
                    due: self.now.plus(seconds(1 + self.draw(400) as u64)),
                    reply: "451".into(),
                    warned: false,
                }),
                6 => settlements.push(Settlement::Warned { number }),
                _ => {}
            }
        }
        if settlements.is_empty() {
            settlements.push(Settlement::Done {
                number: lease.recipients[0].number,
            });
        }
        self.note_settled(&lease, &settlements);
        self.store().settle(lease, settlements).await.unwrap();
    }

    fn note_settled(&mut self, lease: &Lease, settlements: &[Settlement]) {
        self.end_probe(lease);
        // What was relayed may be gone: abandoned at another destination, the whole message was looked at.
        let Some(rows) = self.queued.get_mut(&lease.id) else {
            return;
        };
        for settlement in settlements {
            match (settlement, rows.get_mut(&settlement.number())) {
                (Settlement::Retry { due, .. }, Some(row)) => row.due = *due,
                (Settlement::Done { number }, _) => drop(rows.remove(number)),
                _ => {}
            }
        }
        self.remove_relayed(lease.id, Some(&lease.destination));
    }

    /// The rest whose probe the lease was.
    fn end_probe(&mut self, lease: &Lease) -> Option<Rest> {
        let rest = self.rests.get(lease.destination.as_str())?;
        if rest.probe != Some(lease.id) {
            return None;
        }
        self.rests.remove(lease.destination.as_str())
    }

    fn remove_relayed(&mut self, id: QueueId, destination: Option<&str>) {
        let Some(rows) = self.queued.get_mut(&id) else { return };
        rows.retain(|_, row| !row.is_relayed || destination.is_some_and(|name| name != row.destination));
        if rows.is_empty() {
            self.queued.remove(&id);
        }
    }

    fn relay(&mut self) {
        let Some(lease) = self.lease() else { return };
        if !lease.is_probe {
            let number = lease.recipients[self.draw(lease.recipients.len())].number;
            self.store().relayed(&lease, &[number]).unwrap();
            let rows = self.queued.get_mut(&lease.id);
            if let Some(row) = rows.and_then(|rows| rows.get_mut(&number)) {
                row.is_relayed = true;
            }
        }
        self.leases.push(lease);
    }

    async fn abandon(&mut self) {
        let Some(lease) = self.lease() else { return };
        self.store().abandon(lease.id, &lease.destination);
        self.store().abandon(lease.id, &lease.destination);
        if let Some(rest) = self.end_probe(&lease) {
            // Another probe follows at once.
            self.rests
                .insert(rest.destination, Rest::new(rest.destination, ARRIVED));
        }
        // What was relayed at other destinations is done as well.
        self.remove_relayed(lease.id, None);
        self.barrier().await;
    }

    async fn barrier(&self) {
        self.store().back_off(BARRIER, Timestamp(0), "").await.unwrap();
    }

    async fn hold(&mut self) {
        let Some(id) = self.message() else { return };
        let held = self.store().hold(id, "a look").await;
        let place = self.whereabouts();
        let is_leased = self.leases.iter().any(|lease| lease.id == id);
        let rows = self.queued.get_mut(&id).expect("it is queued");
        if rows.values().any(|row| row.due == NEVER) {
            assert!(matches!(held, Err(HoldError::OnHold { .. })), "{place}: {held:?}");
        } else if is_leased {
            assert_eq!(held, Err(HoldError::Leased(id)), "{place}");
        } else {
            assert_eq!(held, Ok(()), "{place}");
            for row in rows.values_mut() {
                row.due = NEVER;
            }
        }
    }

    async fn release(&mut self) {
        let Some(id) = self.message() else { return };
        let released = self.store().release(id, self.now).await;
        let is_held = self.queued[&id].values().any(|row| row.due == NEVER);
        assert_eq!(released.is_ok(), is_held, "{}: {released:?}", self.whereabouts());
        if is_held {
            self.note_released(id);
        }
    }

    async fn release_some(&mut self) {
        for id in self.store().release_some(self.now, 3).await.unwrap() {
            self.note_released(id);
        }
    }

    fn note_released(&mut self, id: QueueId) {
        let now = self.now;
        let rows = self.queued.get_mut(&id).expect("it is queued");
        for row in rows.values_mut() {
            row.due = now;
        }
    }

    async fn back_off(&mut self) {
        let destination = self.destination();
        let until = if self.draw(3) == 0 {
            self.rests.remove(destination);
            self.written.remove(destination);
            Timestamp(0)
        } else {
            let until = self.now.plus(seconds(1 + self.draw(300) as u64));
            self.rests.insert(destination, Rest::new(destination, until));
            self.written.insert(destination, until);
            until
        };
        self.store().back_off(destination, until, "no route").await.unwrap();
    }

    async fn overdue(&mut self) {
        let destination = self.destination();
        let overdue = self
            .store()
            .overdue(destination, self.now, self.now, None, 3)
            .await
            .unwrap();
        for lease in overdue.leases {
            self.take(lease);
        }
    }

    fn turn_the_clock(&mut self) {
        let back = self.draw(8) == 0;
        let by = i64::try_from(self.draw(400_000)).expect("small");
        self.now = Timestamp(self.now.0 + if back { -by.min(self.now.0 - ARRIVED.0) } else { by });
    }

    async fn flush(&mut self) {
        let now = self.now;
        self.store().flush(now).await.unwrap();
        let rows = self.queued.values_mut().flat_map(BTreeMap::values_mut);
        rows.filter(|row| row.due > now && row.due < NEVER)
            .for_each(|row| row.due = now);
        self.rests.clear();
        // The failures are remembered: the first after a start is a probe.
        self.written.values_mut().for_each(|until| *until = Timestamp(1));
    }

    /// The end of the process and a new one; the model stays, and all its leases end.
    async fn reopen(&mut self) {
        let leases = std::mem::take(&mut self.leases);
        let Some(open) = &self.open else {
            for lease in leases {
                self.store().abandon(lease.id, &lease.destination);
                self.end_probe(&lease);
            }
            let ids: Vec<QueueId> = self.queued.keys().copied().collect();
            for id in ids {
                self.remove_relayed(id, None);
            }
            return self.flush().await;
        };
        drop(self.store.take());
        self.store = Some(open());
        let ids: Vec<QueueId> = self.queued.keys().copied().collect();
        let has_mail: BTreeSet<&str> = self
            .queued
            .values()
            .flat_map(BTreeMap::values)
            .map(|row| row.destination)
            .collect();
        self.written
            .retain(|name, until| *until > ARRIVED || has_mail.contains(name));
        self.rests = self
            .written
            .iter()
            .map(|(name, until)| (*name, Rest::new(name, *until)))
            .collect();
        for id in ids {
            self.remove_relayed(id, None);
        }
    }

    /// What the store lists is what must be queued.
    async fn compare(&self) {
        let listed = self.store().list(None, 1_000).await.unwrap();
        let place = self.whereabouts();
        let ids: Vec<QueueId> = listed.iter().map(|entry| entry.id).collect();
        let expected: Vec<QueueId> = self.queued.keys().copied().collect();
        assert_eq!(ids, expected, "{place}");
        for entry in listed {
            let rows = entry
                .recipients
                .iter()
                .map(|row| (row.number, row.destination.as_str(), row.due));
            let expected = self.queued[&entry.id].iter();
            let expected = expected.map(|(number, row)| (*number, row.destination, row.due));
            assert!(rows.eq(expected), "{place}: {entry:?} {:?}", self.queued[&entry.id]);
        }
    }

    /// Everything is given out and settled in the end.
    async fn drain(mut self) {
        while let Some(lease) = self.lease() {
            self.note_settled(&lease, &[]);
            self.store().settle(lease, Vec::new()).await.unwrap();
        }
        while !self.store().release_some(self.now, 10).await.unwrap().is_empty() {}
        self.flush().await;
        for _ in 0..20 {
            for lease in self.store().due(self.now, 1_000).await.unwrap() {
                let done = lease.recipients.iter().map(|r| Settlement::Done { number: r.number });
                let done = done.collect();
                self.store().settle(lease, done).await.unwrap();
            }
        }
        let left = self.store().list(None, 10).await.unwrap();
        assert!(left.is_empty(), "seed {}: {left:?}", self.seed);
        assert_eq!(self.store().fresh_waiting(), 0);
        assert_eq!(self.store().next_due().await.unwrap(), None);
    }
}
