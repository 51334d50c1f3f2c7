//! Which recipients are given out, and in which state their lease is.
//!
//! **Does not** know what is queued.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::mail::queue_id::QueueId;

/// The store's number of a destination.
pub type DestinationNumber = i64;

/// The state of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// The message is being committed: no look-up may give it out.
    Arriving,
    /// In memory, for nobody yet.
    Fresh,
    /// A delivery has it.
    Out(Origin),
    /// What became of it is being committed.
    Settling(Origin),
}

/// Where a lease came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From memory.
    Memory,
    /// From a look-up in the store.
    Store,
}

/// Leases that deliveries have of one destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// From memory.
    pub fresh: usize,
    /// From the store.
    pub stored: usize,
}

/// All leases.
#[derive(Debug, Default)]
pub struct Leases {
    states: BTreeMap<(QueueId, DestinationNumber), LeaseState>,
    destinations: HashMap<DestinationNumber, Destination>,
    numbers: HashMap<Arc<str>, DestinationNumber>,
}

#[derive(Debug)]
struct Destination {
    name: Arc<str>,
    leases: usize,
    held: Held,
}

impl Leases {
    /// Adds a lease; nothing happens when there is one.
    pub fn add(&mut self, id: QueueId, (number, name): (DestinationNumber, &str), state: LeaseState) {
        if self.states.contains_key(&(id, number)) {
            return;
        }
        self.states.insert((id, number), state);
        let numbers = &mut self.numbers;
        let destination = self.destinations.entry(number).or_insert_with(|| {
            let name: Arc<str> = Arc::from(name);
            numbers.insert(Arc::clone(&name), number);
            let held = Held::default();
            Destination { name, leases: 0, held }
        });
        if *destination.name != *name {
            // The store has forgotten a destination and given its number to another one; of the former only leases are
            // left that have ended within a scan.
            numbers.remove(&destination.name);
            destination.name = Arc::from(name);
            numbers.insert(Arc::clone(&destination.name), number);
        }
        destination.leases += 1;
        destination.count(state, |held| held + 1);
    }

    /// Moves a lease to another state.
    pub fn set(&mut self, id: QueueId, number: DestinationNumber, state: LeaseState) {
        if let Some(old) = self.states.get_mut(&(id, number))
            && let Some(destination) = self.destinations.get_mut(&number)
        {
            destination.count(*old, |held| held.saturating_sub(1));
            destination.count(state, |held| held + 1);
            *old = state;
        }
    }

    /// Ends a lease; returns the state it was in.
    pub fn remove(&mut self, id: QueueId, number: DestinationNumber) -> Option<LeaseState> {
        let state = self.states.remove(&(id, number))?;
        if let Some(destination) = self.destinations.get_mut(&number) {
            destination.count(state, |held| held.saturating_sub(1));
            destination.leases = destination.leases.saturating_sub(1);
            if destination.leases == 0 {
                self.numbers.remove(&destination.name);
                self.destinations.remove(&number);
            }
        }
        Some(state)
    }

    /// The state of the lease of a message's recipients at a destination.
    pub fn state(&self, id: QueueId, number: DestinationNumber) -> Option<LeaseState> {
        self.states.get(&(id, number)).copied()
    }

    /// The leases of a message. Does not look at others.
    pub fn of(&self, id: QueueId) -> impl Iterator<Item = (DestinationNumber, LeaseState)> {
        let range = (id, DestinationNumber::MIN)..=(id, DestinationNumber::MAX);
        self.states.range(range).map(|((_, number), state)| (*number, *state))
    }

    /// The number of a destination of which something is leased.
    pub fn number(&self, name: &str) -> Option<DestinationNumber> {
        self.numbers.get(name).copied()
    }

    /// What deliveries have of a destination.
    pub fn held(&self, number: DestinationNumber) -> Held {
        self.destinations.get(&number).map(|d| d.held).unwrap_or_default()
    }

    /// The messages that deliveries have, or of which what became is being committed; each once.
    pub fn messages_out(&self) -> Vec<QueueId> {
        let is_out = |state: &LeaseState| matches!(state, LeaseState::Out(_) | LeaseState::Settling(_));
        let out = self.states.iter().filter(|(_, state)| is_out(state));
        let mut messages: Vec<QueueId> = out.map(|((id, _), _)| *id).collect();
        messages.dedup();
        messages
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }
}

impl Destination {
    fn count(&mut self, state: LeaseState, change: impl Fn(usize) -> usize) {
        let (LeaseState::Out(origin) | LeaseState::Settling(origin)) = state else {
            return;
        };
        let held = match origin {
            Origin::Memory => &mut self.held.fresh,
            Origin::Store => &mut self.held.stored,
        };
        *held = change(*held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_given_to_another_destination_goes_by_the_new_name() {
        let id = |number| QueueId::from_number(number).unwrap();
        let mut leases = Leases::default();
        leases.add(id(1), (5, "former.example"), LeaseState::Settling(Origin::Store));
        leases.add(id(2), (5, "new.example"), LeaseState::Arriving);
        assert_eq!(leases.number("new.example"), Some(5));
        assert_eq!(leases.number("former.example"), None);
        leases.remove(id(1), 5);
        assert_eq!(leases.number("new.example"), Some(5));
        leases.remove(id(2), 5);
        assert!(leases.is_empty() && leases.number("new.example").is_none());
    }
}
