//! Which destinations may have due mail, in which order they are served, and what is leased.
//!
//! One small place per destination that has mail, so memory does not grow with the number of messages. A place is
//! *ready* (the store has to look) or *waiting* (nothing before a known time). Ready destinations are served in
//! the order in which they were served last, so a full one never hides the others.
//!
//! **Does not** read the store: a scan brackets the look-ups with [`Schedule::begin_scan`] and
//! [`Schedule::end_scan`]. Leases that end within the bracket are forgotten at its end only, because the look-ups
//! may still see their recipients.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::mail::queue_id::QueueId;
use crate::time::Timestamp;

/// The store's number of a destination.
pub type DestinationNumber = i64;

/// Leases that one destination may hold at once.
pub const LEASES_PER_DESTINATION_MAX: usize = 200;

/// The schedule.
#[derive(Debug, Default)]
pub struct Schedule {
    places: HashMap<DestinationNumber, Place>,
    ready: BTreeSet<(u64, DestinationNumber)>,
    waiting: BTreeSet<(Timestamp, DestinationNumber)>,
    leased: HashSet<(QueueId, String)>,
    leases_of: HashMap<String, usize>,
    ended_in_scan: Vec<(QueueId, String)>,
    /// Woken while look-ups went on: these may have passed over a lease that had just ended.
    woken_in_scan: Vec<DestinationNumber>,
    scanning: bool,
    counter: u64,
    now: Timestamp,
}

#[derive(Debug)]
struct Place {
    served: u64,
    woken: u64,
    waits_until: Option<Timestamp>,
}

/// A ready destination and the state of its place when it was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The destination.
    pub destination: DestinationNumber,
    woken: u64,
}

impl Schedule {
    /// Something changed at the destination: it has to be looked at.
    pub fn wake(&mut self, destination: DestinationNumber) {
        self.counter += 1;
        let woken = self.counter;
        let place = self.places.entry(destination).or_insert(Place {
            served: 0,
            woken,
            waits_until: None,
        });
        place.woken = woken;
        if let Some(until) = place.waits_until.take() {
            self.waiting.remove(&(until, destination));
        }
        self.ready.insert((place.served, destination));
        if self.scanning {
            self.woken_in_scan.push(destination);
        }
    }

    /// Makes ready what waited until `now`.
    pub fn advance(&mut self, now: Timestamp) {
        self.now = now;
        while let Some((until, destination)) = self.waiting.first().copied() {
            if until > now {
                return;
            }
            self.wake(destination);
        }
    }

    /// The time of the last [`Schedule::advance`].
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The ready destination that was served longest ago, and how many are ready.
    pub fn first_ready(&self) -> Option<(Ready, usize)> {
        let (_, destination) = self.ready.first().copied()?;
        let woken = self.places.get(&destination)?.woken;
        Some((Ready { destination, woken }, self.ready.len()))
    }

    /// The destination was served; others come first now.
    pub fn served(&mut self, ready: Ready) {
        self.counter += 1;
        if let Some(place) = self.places.get_mut(&ready.destination)
            && self.ready.remove(&(place.served, ready.destination))
        {
            place.served = self.counter;
            self.ready.insert((place.served, ready.destination));
        }
    }

    /// The look-up found nothing (more) to lease before `until`, or at all. Ignored when the destination was woken
    /// since it was handed out: the look-up may have missed what woke it.
    pub fn wait(&mut self, ready: Ready, until: Option<Timestamp>) {
        let destination = ready.destination;
        let Some(place) = self.places.get_mut(&destination) else {
            return;
        };
        if place.woken != ready.woken || !self.ready.remove(&(place.served, destination)) {
            return;
        }
        place.waits_until = until;
        match until {
            Some(until) => {
                self.waiting.insert((until, destination));
            }
            None => {
                self.places.remove(&destination);
            }
        }
    }

    /// When the first waiting destination is due.
    pub fn first_waiting(&self) -> Option<Timestamp> {
        self.waiting.first().map(|(until, _)| *until)
    }

    /// Look-ups begin.
    pub fn begin_scan(&mut self) {
        self.scanning = true;
    }

    /// Look-ups are over.
    pub fn end_scan(&mut self) {
        self.scanning = false;
        for ended in std::mem::take(&mut self.ended_in_scan) {
            self.forget(&ended);
        }
        for destination in std::mem::take(&mut self.woken_in_scan) {
            self.wake(destination);
        }
    }

    /// Whether the recipients of the message at the destination are leased.
    pub fn is_leased(&self, id: QueueId, destination: &str) -> bool {
        self.leased.contains(&(id, destination.to_owned()))
    }

    /// Whether any recipient of the message is leased.
    pub fn is_any_leased(&self, id: QueueId) -> bool {
        self.leased.iter().any(|(leased, _)| *leased == id)
    }

    /// The messages of which any recipient is leased.
    pub fn leased_messages(&self) -> HashSet<QueueId> {
        self.leased.iter().map(|(id, _)| *id).collect()
    }

    /// Leases them.
    pub fn lease(&mut self, id: QueueId, destination: &str) {
        if self.leased.insert((id, destination.to_owned())) {
            *self.leases_of.entry(destination.to_owned()).or_default() += 1;
        }
    }

    /// How many more leases the destination may have: one that is slow must not take all there are.
    pub fn room(&self, destination: &str) -> usize {
        let held = self.leases_of.get(destination).copied().unwrap_or_default();
        LEASES_PER_DESTINATION_MAX.saturating_sub(held)
    }

    /// Ends their lease. The caller wakes the destination.
    pub fn release(&mut self, id: QueueId, destination: &str) {
        let ended = (id, destination.to_owned());
        if self.scanning {
            self.ended_in_scan.push(ended);
        } else {
            self.forget(&ended);
        }
    }

    fn forget(&mut self, ended: &(QueueId, String)) {
        if !self.leased.remove(ended) {
            return;
        }
        if let Some(held) = self.leases_of.get_mut(&ended.1) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                self.leases_of.remove(&ended.1);
            }
        }
    }

    /// Leases now held.
    pub fn leases(&self) -> usize {
        self.leased.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_served_in_turn() {
        let mut schedule = Schedule::default();
        for destination in [1, 2, 3] {
            schedule.wake(destination);
        }
        let mut order = Vec::new();
        for _ in 0..6 {
            let (ready, _) = schedule.first_ready().unwrap();
            order.push(ready.destination);
            schedule.served(ready);
        }
        assert_eq!(order, [1, 2, 3, 1, 2, 3]);
    }

    #[test]
    fn destination_woken_during_its_look_up_stays_ready() {
        let mut schedule = Schedule::default();
        schedule.wake(1);
        let (ready, _) = schedule.first_ready().unwrap();
        schedule.wake(1);
        schedule.wait(ready, None);
        assert!(schedule.first_ready().is_some());
    }

    #[test]
    fn waiting_destination_is_ready_at_its_time() {
        let mut schedule = Schedule::default();
        schedule.wake(1);
        let (ready, _) = schedule.first_ready().unwrap();
        schedule.wait(ready, Some(Timestamp(10)));
        schedule.advance(Timestamp(9));
        assert_eq!(schedule.first_ready(), None);
        assert_eq!(schedule.first_waiting(), Some(Timestamp(10)));
        schedule.advance(Timestamp(10));
        assert!(schedule.first_ready().is_some());
    }

    #[test]
    fn lease_that_ends_within_a_scan_holds_until_its_end() {
        let mut schedule = Schedule::default();
        let id = QueueId::from_parts(1_800_000_000_000, 1);
        schedule.lease(id, "a");
        schedule.begin_scan();
        schedule.release(id, "a");
        assert!(schedule.is_leased(id, "a"));
        schedule.end_scan();
        assert!(!schedule.is_leased(id, "a"));
        assert_eq!(schedule.leases(), 0);
    }

    #[test]
    fn stranger_lease_that_ends_within_a_scan_is_not_lost() {
        let mut schedule = Schedule::default();
        let id = crate::mail::queue_id::QueueId::from_number(5).unwrap();
        schedule.wake(1);
        let (ready, _) = schedule.first_ready().unwrap();
        schedule.lease(id, "d");
        schedule.served(ready);
        schedule.wait(ready, None);
        // Another destination is being looked at ...
        schedule.begin_scan();
        // ... the writer settles: Retry later. acknowledge() of writer.rs.
        schedule.release(id, "d");
        schedule.wake(1);
        // The scan comes to destination 1: serve() / first_unleased() of reader.rs.
        let (ready, _) = schedule.first_ready().unwrap();
        assert!(schedule.is_leased(id, "d"), "so first_unleased skips it: next = None");
        schedule.served(ready);
        schedule.wait(ready, None);
        schedule.end_scan();
        assert!(
            schedule.first_ready().is_some() || schedule.first_waiting().is_some(),
            "nobody will ever look at it again"
        );
    }
}
