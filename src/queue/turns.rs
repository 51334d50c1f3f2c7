//! Whose turn it is: leases in hand, by destination, and how many deliveries each destination may have at once.
//!
//! **Implements** `default_destination_concurrency_limit` and `initial_destination_concurrency` of postconf(5): a destination
//! begins with a few deliveries at once, gets one more with each that succeeds while all of its places are in use, and one
//! less with each that does not reach it. Destinations are served in turn; within one, leases keep the order in which
//! the store handed them out.
//! **Does not** deliver, lease or settle anything.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::entry::Lease;

/// How many deliveries there may be at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Over all destinations.
    pub deliveries_max: usize,
    /// Per destination; at least 1.
    pub per_destination_max: usize,
    /// Per destination at first; at least 1.
    pub per_destination_initial: usize,
}

/// What a delivery has learnt of its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// It was reached, whatever it said.
    Reached,
    /// It was not.
    Unreached,
    /// Nothing: the delivery ended before it could tell.
    Unknown,
}

/// A place at a destination, as its delivery has to name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The destination.
    pub destination: Arc<str>,
    /// The moment at which it was taken, counted in events.
    taken: u64,
}

/// A lease whose turn it is.
#[derive(Debug)]
pub struct Turn {
    /// To be delivered.
    pub lease: Lease,
    /// To be given back.
    pub place: Place,
}

/// What is in hand.
#[derive(Debug, Default)]
pub struct Turns {
    destinations: HashMap<Arc<str>, Destination>,
    /// Destinations with waiting leases, in turn; each once.
    ring: VecDeque<Arc<str>>,
    waiting: usize,
    delivering: usize,
    events: u64,
}

#[derive(Debug)]
struct Destination {
    waiting: VecDeque<Lease>,
    delivering: usize,
    /// Deliveries it may have at once.
    window: usize,
    /// When it was last reached, counted in events.
    reached: u64,
    /// Its rest is being written down; nothing begins.
    rests: bool,
    in_ring: bool,
}

impl Turns {
    /// Puts a lease behind the others of its destination.
    pub fn push(&mut self, lease: Lease, limits: Limits) {
        let known = self.destinations.get_key_value(lease.destination.as_str());
        let name = known.map_or_else(|| Arc::from(lease.destination.as_str()), |(name, _)| Arc::clone(name));
        let destination = self
            .destinations
            .entry(Arc::clone(&name))
            .or_insert_with(|| Destination {
                waiting: VecDeque::new(),
                delivering: 0,
                window: limits
                    .per_destination_initial
                    .clamp(1, limits.per_destination_max.max(1)),
                reached: 0,
                rests: false,
                in_ring: false,
            });
        destination.waiting.push_back(lease);
        self.waiting += 1;
        if !destination.in_ring {
            destination.in_ring = true;
            self.ring.push_back(name);
        }
    }

    /// The lease that comes next, when there is a place for one. Whoever takes it gives the place back by [`Turns::ended`].
    pub fn next(&mut self, limits: Limits) -> Option<Turn> {
        for _ in 0..self.ring.len() {
            if self.delivering >= limits.deliveries_max {
                return None;
            }
            let name = self.ring.pop_front()?;
            let Some(destination) = self.destinations.get_mut(&name) else {
                continue;
            };
            let window = destination.window.min(limits.per_destination_max.max(1));
            let has_place = !destination.rests && destination.delivering < window;
            let lease = if has_place {
                destination.waiting.pop_front()
            } else {
                None
            };
            destination.in_ring = !destination.waiting.is_empty();
            if destination.in_ring {
                self.ring.push_back(Arc::clone(&name));
            }
            if let Some(lease) = lease {
                destination.delivering += 1;
                self.waiting -= 1;
                self.delivering += 1;
                self.events += 1;
                let place = Place {
                    destination: name,
                    taken: self.events,
                };
                return Some(Turn { lease, place });
            }
        }
        None
    }

    /// A delivery is over. Returns whether the destination has to rest now: it was not reached, nobody has reached it since
    /// that delivery began, and nobody is about to find out. One that takes some connections and refuses others only gets
    /// fewer deliveries at once.
    ///
    /// A destination that has to rest gets nothing until [`Turns::rested`].
    #[must_use]
    pub fn ended(&mut self, place: &Place, contact: Contact, limits: Limits) -> bool {
        self.events += 1;
        self.delivering = self.delivering.saturating_sub(1);
        let Some(destination) = self.destinations.get_mut(&place.destination) else {
            return false;
        };
        let was_full = destination.delivering >= destination.window;
        destination.delivering = destination.delivering.saturating_sub(1);
        let mut has_to_rest = false;
        match contact {
            Contact::Reached => {
                destination.reached = self.events;
                if was_full && destination.window < limits.per_destination_max {
                    destination.window += 1;
                }
            }
            Contact::Unreached => {
                destination.window = destination.window.saturating_sub(1).max(1);
                has_to_rest = destination.reached < place.taken && destination.delivering == 0;
                destination.rests |= has_to_rest;
            }
            Contact::Unknown => {}
        }
        self.forget_if_idle(&place.destination);
        has_to_rest
    }

    /// The rest of the destination is written down, or could not be: its waiting leases, which go back to the store.
    pub fn rested(&mut self, name: &str) -> Vec<Lease> {
        let Some(destination) = self.destinations.get_mut(name) else {
            return Vec::new();
        };
        destination.rests = false;
        destination.in_ring = false;
        let leases = Vec::from(std::mem::take(&mut destination.waiting));
        self.waiting -= leases.len();
        self.ring.retain(|other| **other != *name);
        self.forget_if_idle(name);
        leases
    }

    /// Leases that wait for their turn.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Deliveries under way.
    pub fn delivering(&self) -> usize {
        self.delivering
    }

    /// Memory holds only destinations with something in hand.
    fn forget_if_idle(&mut self, name: &str) {
        let is_idle = |d: &Destination| d.waiting.is_empty() && d.delivering == 0 && !d.rests;
        if self.destinations.get(name).is_some_and(is_idle) {
            self.destinations.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::envelope::{Body, Demands, Submitter};
    use crate::mail::queue_id::QueueId;
    use crate::time::Timestamp;
    use crate::wire::path::ReversePath;

    const LIMITS: Limits = Limits {
        deliveries_max: 100,
        per_destination_max: 8,
        per_destination_initial: 2,
    };

    fn lease(number: i64, destination: &str) -> Lease {
        Lease {
            id: QueueId::from_number(number).unwrap(),
            destination: destination.into(),
            reverse_path: ReversePath::Null,
            body: Body::SevenBit,
            size_octets: 1,
            arrived: Timestamp(0),
            expires: Timestamp(1),
            submitter: Submitter::local("test"),
            demands: Demands::default(),
            recipients: Vec::new(),
            is_probe: false,
            failures: 0,
        }
    }

    fn turns(leases: &[(i64, &str)]) -> Turns {
        let mut turns = Turns::default();
        for (number, destination) in leases {
            turns.push(lease(*number, destination), LIMITS);
        }
        turns
    }

    /// Starts all that may start.
    fn start(turns: &mut Turns, limits: Limits) -> Vec<Turn> {
        std::iter::from_fn(|| turns.next(limits)).collect()
    }

    fn numbers(started: &[Turn]) -> Vec<i64> {
        started.iter().map(|turn| turn.lease.id.number()).collect()
    }

    #[test]
    fn destinations_are_served_in_turn_and_each_in_the_order_of_the_store() {
        let mut turns = turns(&[(9, "a"), (2, "a"), (1, "a"), (4, "b"), (5, "c")]);
        let wide = Limits {
            per_destination_initial: 8,
            ..LIMITS
        };
        assert_eq!(
            numbers(&start(&mut turns, wide)),
            [9, 4, 5, 2],
            "a has two places at first"
        );
        assert_eq!((turns.waiting(), turns.delivering()), (1, 4));
    }

    #[test]
    fn deliveries_are_bounded_in_all() {
        let mut turns = turns(&[(1, "a"), (2, "b"), (3, "c")]);
        let narrow = Limits {
            deliveries_max: 2,
            ..LIMITS
        };
        let first = start(&mut turns, narrow);
        assert_eq!(numbers(&first), [1, 2]);
        assert!(!turns.ended(&first[0].place, Contact::Reached, narrow));
        assert_eq!(numbers(&start(&mut turns, narrow)), [3]);
    }

    #[test]
    fn window_grows_with_success_up_to_the_limit_and_shrinks_with_failure() {
        let leases: Vec<(i64, &str)> = (0..200).map(|number| (number, "a")).collect();
        let mut turns = turns(&leases);
        let mut under_way = start(&mut turns, LIMITS);
        assert_eq!(under_way.len(), 2);
        for expected in [3, 4, 5, 6, 7, 8, 8, 8] {
            assert!(!turns.ended(&under_way.remove(0).place, Contact::Reached, LIMITS));
            under_way.extend(start(&mut turns, LIMITS));
            assert_eq!(under_way.len(), expected);
        }
        for expected in [7, 6, 5] {
            let refused = under_way.pop().expect("under way");
            assert!(
                !turns.ended(&refused.place, Contact::Unreached, LIMITS),
                "others may reach it"
            );
            under_way.extend(start(&mut turns, LIMITS));
            assert_eq!(under_way.len(), expected);
        }
    }

    #[test]
    fn destination_that_nobody_reaches_rests_once_and_gives_its_leases_back() {
        let mut turns = turns(&[(1, "a"), (2, "a"), (3, "a"), (4, "a"), (5, "b")]);
        let first = start(&mut turns, LIMITS);
        assert_eq!(numbers(&first), [1, 5, 2]);
        assert!(
            !turns.ended(&first[0].place, Contact::Unreached, LIMITS),
            "the other may reach it"
        );
        assert!(turns.next(LIMITS).is_none(), "one at a time by now");
        assert!(turns.ended(&first[2].place, Contact::Unreached, LIMITS));
        turns.push(lease(6, "a"), LIMITS);
        assert!(turns.next(LIMITS).is_none(), "nothing begins while it rests");
        let back: Vec<i64> = turns.rested("a").iter().map(|lease| lease.id.number()).collect();
        assert_eq!(back, [3, 4, 6]);
        assert_eq!((turns.waiting(), turns.delivering()), (0, 1));
        turns.push(lease(7, "a"), LIMITS);
        assert_eq!(numbers(&start(&mut turns, LIMITS)), [7], "once in the ring");
    }

    #[test]
    fn destination_that_was_reached_meanwhile_does_not_rest() {
        let mut turns = turns(&[(1, "a"), (2, "a")]);
        let first = start(&mut turns, LIMITS);
        assert!(!turns.ended(&first[1].place, Contact::Reached, LIMITS));
        assert!(!turns.ended(&first[0].place, Contact::Unreached, LIMITS));
    }

    #[test]
    fn idle_destinations_are_forgotten() {
        let mut turns = turns(&[(1, "a")]);
        let turn = turns.next(LIMITS).expect("due");
        assert!(!turns.ended(&turn.place, Contact::Unknown, LIMITS));
        assert!(turns.destinations.is_empty() && turns.ring.is_empty());
    }
}
