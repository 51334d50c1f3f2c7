//! Which destinations have to be looked at, when, and in which order.
//!
//! One small place per destination that has mail in the store, so memory does not grow with the number of messages. A
//! place is *ready* (the store has to look), *waiting* (nothing before a known time) or *full* (no look before one of
//! its leases ends). Ready destinations are served in the order in which they were served last, so a busy one never
//! hides the others.
//!
//! **Does not** know leases or back-offs: `queue::schedule` does.

use std::collections::{BTreeSet, HashMap};

use super::leases::DestinationNumber;
use super::rounds::SenderKey;
use crate::time::Timestamp;

/// The places.
#[derive(Debug, Default)]
pub struct Places {
    known: HashMap<DestinationNumber, Place>,
    ready: BTreeSet<(u64, DestinationNumber)>,
    waiting: BTreeSet<(Timestamp, DestinationNumber)>,
    counter: u64,
}

#[derive(Debug)]
struct Place {
    served: u64,
    woken: u64,
    state: State,
    /// The sender whose message was given out last.
    sender: SenderKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    Waits(Timestamp),
    Full,
}

/// A ready destination and the state of its place when it was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The destination.
    pub destination: DestinationNumber,
    woken: u64,
}

impl Places {
    /// Something changed at the destination: it has to be looked at. A full one is looked at when it has room.
    pub fn wake(&mut self, destination: DestinationNumber) {
        if self.touch(destination) != State::Full {
            self.put(destination, State::Ready);
        }
    }

    /// Something is due there at a known time, perhaps besides others.
    pub fn due_at(&mut self, destination: DestinationNumber, at: Timestamp) {
        if !self.known.contains_key(&destination) {
            self.touch(destination);
            self.put(destination, State::Waits(at));
            return;
        }
        if let State::Waits(until) = self.touch(destination) {
            self.put(destination, State::Waits(until.min(at)));
        }
    }

    /// Nothing there is due before a known time; a destination without a place stays so.
    pub fn rest_until(&mut self, destination: DestinationNumber, until: Timestamp) {
        if self.known.contains_key(&destination) {
            self.touch(destination);
            self.put(destination, State::Waits(until));
        }
    }

    /// One of its leases has ended: a full one has to be looked at again.
    pub fn has_room(&mut self, destination: DestinationNumber) {
        if self.known.get(&destination).map(|place| place.state) == Some(State::Full) {
            self.touch(destination);
            self.put(destination, State::Ready);
        }
    }

    /// Whether the store may have something due there now.
    pub fn is_pressing(&self, destination: DestinationNumber) -> bool {
        let state = self.known.get(&destination).map(|place| place.state);
        matches!(state, Some(State::Ready | State::Full))
    }

    /// The first destination that waited until `now` or before.
    pub fn first_over(&self, now: Timestamp) -> Option<DestinationNumber> {
        let (until, destination) = self.waiting.first()?;
        (*until <= now).then_some(*destination)
    }

    /// The ready destination that was served longest ago, and how many are ready.
    pub fn first_ready(&self) -> Option<(Ready, usize)> {
        let (_, destination) = self.ready.first().copied()?;
        let woken = self.known.get(&destination)?.woken;
        Some((Ready { destination, woken }, self.ready.len()))
    }

    /// The destination was served; others come first now.
    pub fn served(&mut self, ready: Ready) {
        self.counter += 1;
        if let Some(place) = self.known.get_mut(&ready.destination)
            && self.ready.remove(&(place.served, ready.destination))
        {
            place.served = self.counter;
            self.ready.insert((place.served, ready.destination));
        }
    }

    /// The look-up found nothing (more) to lease before `until`, or at all. Ignored when the destination was woken
    /// since it was handed out: the look-up may have missed what woke it.
    pub fn wait(&mut self, ready: Ready, until: Option<Timestamp>) {
        if !self.is_as_it_was(ready) {
            return;
        }
        match until {
            Some(until) => self.put(ready.destination, State::Waits(until)),
            None => {
                if let Some(place) = self.known.remove(&ready.destination) {
                    self.ready.remove(&(place.served, ready.destination));
                }
            }
        }
    }

    /// There is something, and it may not be leased before one of its leases ends.
    pub fn wait_for_room(&mut self, ready: Ready) {
        if self.known.contains_key(&ready.destination) {
            self.put(ready.destination, State::Full);
        }
    }

    /// When the first waiting destination is due.
    pub fn first_waiting(&self) -> Option<Timestamp> {
        self.waiting.first().map(|(until, _)| *until)
    }

    /// The sender there whose message was given out last.
    pub fn sender(&self, destination: DestinationNumber) -> SenderKey {
        self.known.get(&destination).map_or(0, |place| place.sender)
    }

    /// Remembers it.
    pub fn set_sender(&mut self, destination: DestinationNumber, sender: SenderKey) {
        if let Some(place) = self.known.get_mut(&destination) {
            place.sender = sender;
        }
    }

    fn is_as_it_was(&self, ready: Ready) -> bool {
        let place = self.known.get(&ready.destination);
        place.is_some_and(|place| place.woken == ready.woken && place.state == State::Ready)
    }

    /// Notes that something happened there; returns the state of its place, which is new and ready when there was none.
    fn touch(&mut self, destination: DestinationNumber) -> State {
        self.counter += 1;
        let fresh = Place {
            served: 0,
            woken: 0,
            state: State::Ready,
            sender: 0,
        };
        let place = self.known.entry(destination).or_insert(fresh);
        place.woken = self.counter;
        place.state
    }

    fn put(&mut self, destination: DestinationNumber, state: State) {
        let Some(place) = self.known.get_mut(&destination) else {
            return;
        };
        match place.state {
            State::Ready => self.ready.remove(&(place.served, destination)),
            State::Waits(until) => self.waiting.remove(&(until, destination)),
            State::Full => false,
        };
        place.state = state;
        match state {
            State::Ready => self.ready.insert((place.served, destination)),
            State::Waits(until) => self.waiting.insert((until, destination)),
            State::Full => false,
        };
    }
}
