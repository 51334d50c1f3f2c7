//! Mail that was committed a moment ago and waits in memory for its first delivery.
//!
//! Bounded in messages and octets, for one destination and in all: what does not fit goes the way by the store, which
//! has it anyway. Destinations take turns, and within one its senders do.
//!
//! **Does not** lease or look at the time: `queue::schedule` does.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound::{Excluded, Unbounded};

use bytes::Bytes;

use super::entry::Lease;
use super::leases::DestinationNumber;
use super::rounds::{Rounds, sender_key};
use crate::mail::queue_id::QueueId;

/// Leases that wait in memory at most.
pub const FRESH_MAX: usize = 10_000;
/// Octets of mail data and envelopes in memory at most, those under delivery included.
pub const FRESH_OCTETS_MAX: usize = 64 * 1024 * 1024;
/// Leases of one destination that wait in memory at most.
pub const FRESH_PER_DESTINATION_MAX: usize = 4_000;
/// Octets of one destination that wait in memory at most.
const OCTETS_PER_DESTINATION_MAX: usize = FRESH_OCTETS_MAX / 2;
/// What a lease takes besides its mail data, octets, and what each of its recipients adds.
const LEASE_OCTETS: usize = 1_024;
const RECIPIENT_OCTETS: usize = 256;

/// The fresh mail.
#[derive(Debug, Default)]
pub struct Fresh {
    lines: BTreeMap<DestinationNumber, Line>,
    /// Served last.
    last: DestinationNumber,
    waiting: usize,
    kept: HashMap<QueueId, Kept>,
    octets: usize,
}

#[derive(Debug)]
struct Line {
    rounds: Rounds<Lease>,
    octets: usize,
}

/// A message of which fresh leases wait or are under delivery.
#[derive(Debug)]
struct Kept {
    data: Option<Bytes>,
    octets: usize,
    leases: usize,
    is_whole: bool,
}

/// What a lease of so many octets of mail data in memory and so many recipients takes.
pub fn cost(data_octets: usize, recipients: usize) -> usize {
    data_octets + LEASE_OCTETS + recipients * RECIPIENT_OCTETS
}

impl Fresh {
    /// Whether there is room for a lease that takes so many octets.
    pub fn has_room(&self, destination: DestinationNumber, octets: usize) -> bool {
        let line = self.lines.get(&destination);
        let (len, line_octets) = line.map_or((0, 0), |line| (line.rounds.len(), line.octets));
        self.waiting < FRESH_MAX
            && len < FRESH_PER_DESTINATION_MAX
            && self.octets + octets <= FRESH_OCTETS_MAX
            && line_octets + octets <= OCTETS_PER_DESTINATION_MAX
    }

    /// Keeps a lease for its delivery. `data` is absent when it lies in a file of its own; `is_whole` says that no other
    /// lease has recipients of the message.
    pub fn push(&mut self, destination: DestinationNumber, lease: Lease, data: Option<Bytes>, is_whole: bool) {
        let data_octets = data.as_ref().map_or(0, Bytes::len);
        let octets = cost(data_octets, lease.recipients.len());
        let kept = self.kept.entry(lease.id).or_insert(Kept {
            data,
            octets: data_octets,
            leases: 0,
            is_whole,
        });
        if kept.leases == 0 {
            self.octets += data_octets;
        }
        kept.leases += 1;
        kept.octets += octets - data_octets;
        self.octets += octets - data_octets;
        let line = self.lines.entry(destination).or_insert_with(|| Line {
            rounds: Rounds::after(0),
            octets: 0,
        });
        line.octets += octets;
        let fingerprint = lease.submitter.fingerprint.as_deref();
        let sender = sender_key(fingerprint, &lease.reverse_path.to_string());
        line.rounds.push(sender, lease);
        self.waiting += 1;
    }

    /// The next lease of a destination that has a place.
    pub fn pop(&mut self, has_place: impl Fn(DestinationNumber) -> bool) -> Option<(DestinationNumber, Lease)> {
        let destination = self.next_destination(has_place)?;
        let line = self.lines.get_mut(&destination)?;
        let lease = line.rounds.pop()?;
        let data_octets = self
            .kept
            .get(&lease.id)
            .and_then(|kept| kept.data.as_ref())
            .map_or(0, Bytes::len);
        line.octets = line.octets.saturating_sub(cost(data_octets, lease.recipients.len()));
        if line.rounds.is_empty() {
            self.lines.remove(&destination);
        }
        self.last = destination;
        self.waiting -= 1;
        Some((destination, lease))
    }

    /// The lease that [`Fresh::pop`] would give.
    pub fn first(&self, has_place: impl Fn(DestinationNumber) -> bool) -> Option<&Lease> {
        self.lines.get(&self.next_destination(has_place)?)?.rounds.first()
    }

    /// Takes out all that waits for a destination, and returns the messages.
    pub fn withdraw(&mut self, destination: DestinationNumber) -> Vec<QueueId> {
        let Some(line) = self.lines.remove(&destination) else {
            return Vec::new();
        };
        self.waiting -= line.rounds.len();
        line.rounds.into_items().map(|lease| lease.id).collect()
    }

    /// Takes out what waits of a message for a destination; says whether there was something.
    pub fn withdraw_message(&mut self, id: QueueId, destination: DestinationNumber) -> bool {
        let Some(line) = self.lines.get_mut(&destination) else {
            return false;
        };
        let Some(lease) = line.rounds.remove(|lease| lease.id == id) else {
            return false;
        };
        let data_octets = self
            .kept
            .get(&id)
            .and_then(|kept| kept.data.as_ref())
            .map_or(0, Bytes::len);
        line.octets = line.octets.saturating_sub(cost(data_octets, lease.recipients.len()));
        if line.rounds.is_empty() {
            self.lines.remove(&destination);
        }
        self.waiting -= 1;
        true
    }

    /// A fresh lease of the message has ended; with its last one the message is dropped.
    pub fn ended(&mut self, id: QueueId) {
        let Some(kept) = self.kept.get_mut(&id) else {
            return;
        };
        kept.leases = kept.leases.saturating_sub(1);
        if kept.leases == 0 {
            self.octets = self.octets.saturating_sub(kept.octets);
            self.kept.remove(&id);
        }
    }

    /// The mail data of a message, if it is in memory.
    pub fn data(&self, id: QueueId) -> Option<Bytes> {
        self.kept.get(&id)?.data.clone()
    }

    /// Whether one fresh lease has all recipients of the message.
    pub fn is_whole(&self, id: QueueId) -> bool {
        self.kept.get(&id).is_some_and(|kept| kept.is_whole)
    }

    /// Whether anything waits for the destination.
    pub fn waits_for(&self, destination: DestinationNumber) -> bool {
        self.lines.contains_key(&destination)
    }

    /// Leases that wait for the destination.
    pub fn waiting_for(&self, destination: DestinationNumber) -> usize {
        self.lines.get(&destination).map_or(0, |line| line.rounds.len())
    }

    /// Leases that wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Octets in memory, waiting or under delivery.
    pub fn octets(&self) -> usize {
        self.octets
    }

    fn next_destination(&self, has_place: impl Fn(DestinationNumber) -> bool) -> Option<DestinationNumber> {
        let behind = self.lines.range((Excluded(self.last), Unbounded));
        let before = self.lines.range(..=self.last);
        behind
            .chain(before)
            .map(|(number, _)| *number)
            .find(|number| has_place(*number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::envelope::{Body, Demands, Submitter};
    use crate::time::Timestamp;
    use crate::wire::path::ReversePath;

    fn lease(number: i64, from: &str) -> Lease {
        Lease {
            id: QueueId::from_number(number).unwrap(),
            destination: "x".into(),
            reverse_path: ReversePath::parse(&format!("<{from}>")).unwrap(),
            body: Body::SevenBit,
            size_octets: 4,
            arrived: Timestamp(0),
            expires: Timestamp(1),
            submitter: Submitter::local("test"),
            demands: Demands::default(),
            recipients: Vec::new(),
            is_probe: false,
            failures: 0,
        }
    }

    fn push(fresh: &mut Fresh, destination: DestinationNumber, number: i64, from: &str) {
        fresh.push(
            destination,
            lease(number, from),
            Some(Bytes::from_static(b"data")),
            true,
        );
    }

    fn order(fresh: &mut Fresh) -> Vec<i64> {
        std::iter::from_fn(|| fresh.pop(|_| true))
            .map(|(_, lease)| lease.id.number())
            .collect()
    }

    #[test]
    fn destinations_and_their_senders_take_turns() {
        let mut fresh = Fresh::default();
        for number in 0..4 {
            push(&mut fresh, 1, number, "many@a");
        }
        push(&mut fresh, 1, 10, "one@a");
        push(&mut fresh, 2, 20, "many@a");
        let order = order(&mut fresh);
        assert!(order.iter().position(|id| *id == 10).unwrap() <= 2, "{order:?}");
        assert!(order.iter().position(|id| *id == 20).unwrap() <= 1, "{order:?}");
        assert_eq!(order.len(), 6);
    }

    #[test]
    fn message_stays_in_memory_until_its_last_lease_has_ended() {
        let mut fresh = Fresh::default();
        let id = QueueId::from_number(1).unwrap();
        push(&mut fresh, 1, 1, "a@a");
        push(&mut fresh, 2, 1, "a@a");
        assert_eq!(fresh.octets(), 4 + 2 * LEASE_OCTETS);
        assert_eq!(fresh.withdraw(2), [id]);
        fresh.ended(id);
        assert!(fresh.pop(|number| number == 2).is_none());
        assert!(fresh.pop(|number| number == 1).is_some());
        assert_eq!(fresh.data(id).as_deref(), Some(&b"data"[..]));
        fresh.ended(id);
        assert_eq!((fresh.data(id), fresh.octets(), fresh.waiting()), (None, 0, 0));
    }

    #[test]
    fn full_destination_leaves_room_for_others() {
        let mut fresh = Fresh::default();
        let mut taken = 0;
        while fresh.has_room(1, cost(4, 0)) {
            push(&mut fresh, 1, taken, "a@a");
            taken += 1;
        }
        assert_eq!(taken, i64::try_from(FRESH_PER_DESTINATION_MAX).unwrap());
        assert!(fresh.has_room(2, cost(4, 0)));
        assert!(!fresh.has_room(2, OCTETS_PER_DESTINATION_MAX + 1));
    }
}
