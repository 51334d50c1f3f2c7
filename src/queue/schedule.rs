//! What may be given out: which destinations may have due mail, which rest, what is leased, what waits in memory.
//!
//! The pure part of a store, shared by the model and the embedded store. Memory grows with the destinations that have
//! mail and with what is under delivery, not with the queue: see `queue::places`, `queue::fresh` and `queue::leases`.
//!
//! A destination that was not reached rests ([`Schedule::back_off`]). When its rest is over, one lease is given out, the
//! probe; until the probe has told, nothing else is. If it ends without a new rest, the destination is open again.
//!
//! **Does not** read the store: a scan brackets the look-ups with [`Schedule::begin_scan`] and
//! [`Schedule::end_scan`]. Leases that end within the bracket are forgotten at its end only, because the look-ups
//! may still see their recipients.

use std::collections::HashMap;

use bytes::Bytes;

use super::entry::{Lease, Settlement};
use super::fresh::{Fresh, cost};
use super::leases::{Held, LeaseState, Leases, Origin};
use super::next::Next;
use super::places::Places;
use super::rounds::{Rounds, SenderKey};
use crate::mail::queue_id::QueueId;
use crate::time::Timestamp;

pub use super::leases::DestinationNumber;
pub use super::places::Ready;

/// Leases of one destination that deliveries may have at once.
pub const LEASES_PER_DESTINATION_MAX: usize = 100;
/// While mail from memory and mail from the store compete, the store has this part of the leases.
const STORE_SHARE: usize = 4;

/// The schedule.
#[derive(Debug, Default)]
pub struct Schedule {
    places: Places,
    leases: Leases,
    fresh: Fresh,
    rests: HashMap<DestinationNumber, Rest>,
    ended_in_scan: Vec<Ended>,
    /// Woken while look-ups went on: these may have passed over a lease that had just ended.
    woken_in_scan: Vec<(DestinationNumber, Next)>,
    scanning: bool,
    looks: usize,
    now: Timestamp,
}

/// A destination that was not reached.
#[derive(Clone, Copy, Debug)]
struct Rest {
    failures: u32,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It rests, or is due for its probe.
    Until(Timestamp),
    /// The probe is under way.
    Probing(QueueId),
    /// The rest is over; only its failures are remembered.
    Over,
}

/// A lease that has ended.
#[derive(Clone, Copy, Debug)]
struct Ended {
    id: QueueId,
    destination: DestinationNumber,
    /// Whether its delivery learnt anything.
    told: bool,
}

/// How a destination stands when a lease of it is given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether the lease is the probe.
    pub is_probe: bool,
    /// Rests in a row before.
    pub failures: u32,
}

impl Schedule {
    /// Something changed at the destination: it has to be looked at, when it does not rest.
    pub fn wake(&mut self, destination: DestinationNumber) {
        self.note(destination, Next::Now);
    }

    /// Makes ready what waited until `now`.
    pub fn advance(&mut self, now: Timestamp) {
        self.now = now;
        while let Some(destination) = self.places.first_over(now) {
            self.places.wake(destination);
        }
    }

    /// The time of the last [`Schedule::advance`].
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The ready destination that was served longest ago, and how many are ready.
    pub fn first_ready(&self) -> Option<(Ready, usize)> {
        self.places.first_ready()
    }

    /// The destination was served; others come first now.
    pub fn served(&mut self, ready: Ready) {
        self.places.served(ready);
    }

    /// The look-up found nothing (more) to lease before `until`, or at all.
    pub fn wait(&mut self, ready: Ready, until: Option<Timestamp>) {
        self.places.wait(ready, until);
    }

    /// No more may be leased there now: the end of one of its leases, or of its rest, makes it ready again.
    pub fn wait_for_room(&mut self, ready: Ready) {
        match self.not_before(ready.destination) {
            Some(until) => self.places.wait(ready, Some(until)),
            None => self.places.wait_for_room(ready),
        }
    }

    /// When the first waiting destination is due.
    pub fn first_waiting(&self) -> Option<Timestamp> {
        self.places.first_waiting()
    }

    /// Look-ups begin.
    pub fn begin_scan(&mut self) {
        self.scanning = true;
    }

    /// Look-ups are over.
    pub fn end_scan(&mut self) {
        self.scanning = false;
        for ended in std::mem::take(&mut self.ended_in_scan) {
            self.forget(ended);
        }
        for (destination, next) in std::mem::take(&mut self.woken_in_scan) {
            self.note(destination, next);
        }
    }

    /// Whether look-ups go on.
    pub fn is_scanning(&self) -> bool {
        self.scanning
    }

    /// Of what a look-up has found, at most `share`, so that senders take turns, over look-ups too.
    pub fn choose<T>(&mut self, ready: Ready, found: Vec<(SenderKey, T)>, share: usize) -> Vec<T> {
        let mut rounds = Rounds::after(self.places.sender(ready.destination));
        for (sender, item) in found {
            rounds.push(sender, item);
        }
        let chosen = std::iter::from_fn(|| rounds.pop()).take(share).collect();
        self.places.set_sender(ready.destination, rounds.last());
        chosen
    }

    /// Whether the recipients of the message at the destination are leased.
    pub fn is_leased(&self, id: QueueId, destination: DestinationNumber) -> bool {
        self.leases.state(id, destination).is_some()
    }

    /// Whether a delivery has the recipients of the message at the destination.
    pub fn is_out(&self, id: QueueId, destination: &str) -> bool {
        let number = self.leases.number(destination);
        let state = number.and_then(|number| self.leases.state(id, number));
        matches!(state, Some(LeaseState::Out(_)))
    }

    /// Leases what a look-up has found.
    pub fn lease(&mut self, id: QueueId, destination: (DestinationNumber, &str)) -> Standing {
        self.leases.add(id, destination, LeaseState::Out(Origin::Store));
        let now = self.now;
        let Some(rest) = self.rests.get_mut(&destination.0) else {
            return Standing {
                is_probe: false,
                failures: 0,
            };
        };
        let is_probe = matches!(rest.phase, Phase::Until(until) if until <= now);
        if is_probe {
            rest.phase = Phase::Probing(id);
        }
        Standing {
            is_probe,
            failures: rest.failures,
        }
    }

    /// Leases what has to be looked at although its destination rests; it is no probe. Says whether it was not leased.
    pub fn lease_overdue(&mut self, id: QueueId, destination: (DestinationNumber, &str)) -> bool {
        if self.is_leased(id, destination.0) {
            return false;
        }
        self.leases.add(id, destination, LeaseState::Out(Origin::Store));
        true
    }

    /// How many more leases a look-up may take of the destination: one that is slow must not take all there are, one
    /// that was not reached has its probe only, and mail from memory keeps its part.
    pub fn room(&self, destination: DestinationNumber) -> usize {
        let Held { fresh, stored } = self.leases.held(destination);
        match self.rests.get(&destination).map(|rest| rest.phase) {
            Some(Phase::Until(until)) => usize::from(until <= self.now && fresh + stored == 0),
            Some(Phase::Probing(_)) => 0,
            Some(Phase::Over) | None => {
                let left = LEASES_PER_DESTINATION_MAX.saturating_sub(fresh + stored);
                if self.fresh.waits_for(destination) {
                    left.min((LEASES_PER_DESTINATION_MAX / STORE_SHARE).saturating_sub(stored))
                } else {
                    left
                }
            }
        }
    }

    /// What became of a lease is being committed. Absent when there is no such lease with a delivery.
    pub fn begin_settling(&mut self, id: QueueId, destination: &str) -> Option<DestinationNumber> {
        let number = self.leases.number(destination)?;
        let LeaseState::Out(origin) = self.leases.state(id, number)? else {
            return None;
        };
        self.leases.set(id, number, LeaseState::Settling(origin));
        Some(number)
    }

    /// The same of the message's other leases, when the settlements name more recipients than this lease has: whoever holds it
    /// holds them too.
    pub fn begin_settling_others(&mut self, lease: &Lease, settlements: &[Settlement]) -> Vec<DestinationNumber> {
        if settlements.len() <= lease.recipients.len() {
            return Vec::new();
        }
        let out = |(number, state)| matches!(state, LeaseState::Out(_)).then_some(number);
        let others: Vec<DestinationNumber> = self.leases.of(lease.id).filter_map(out).collect();
        for number in &others {
            self.leases.set(lease.id, *number, LeaseState::Settling(Origin::Store));
        }
        others
    }

    /// Ends what [`Schedule::begin_settling_others`] began.
    pub fn release_others(&mut self, id: QueueId, others: &[DestinationNumber]) {
        for destination in others {
            self.release(id, *destination, false, Next::Now);
        }
    }

    /// A delivery is over that told nothing: its recipients are due again. Whether there was such a lease.
    pub fn abandon(&mut self, id: QueueId, destination: &str) -> bool {
        let Some(number) = self.leases.number(destination) else {
            return false;
        };
        if !matches!(self.leases.state(id, number), Some(LeaseState::Out(_))) {
            return false;
        }
        self.release(id, number, false, Next::Now);
        true
    }

    /// Ends a lease. `told` says whether its delivery has learnt anything of the destination.
    pub fn release(&mut self, id: QueueId, destination: DestinationNumber, told: bool, next: Next) {
        let state = self.leases.state(id, destination);
        // A look-up leases what is due of a message and passes over the rest of it meanwhile: that waits for a look now.
        let next = match state {
            Some(LeaseState::Out(Origin::Store) | LeaseState::Settling(Origin::Store)) => Next::Now,
            _ => next,
        };
        let ended = Ended { id, destination, told };
        if self.scanning {
            self.ended_in_scan.push(ended);
        } else {
            self.forget(ended);
        }
        self.note(destination, next);
    }

    /// The messages that deliveries have, or of which what became is being committed; each once.
    pub fn messages_out(&self) -> Vec<QueueId> {
        self.leases.messages_out()
    }

    /// Leases now held, those that wait in memory included.
    pub fn leases(&self) -> usize {
        self.leases.len()
    }

    /// Takes back what waits in memory of a message, unless something of it is with a delivery or being committed;
    /// says whether nothing of it is leased now.
    pub fn take_back(&mut self, id: QueueId) -> bool {
        let leases: Vec<_> = self.leases.of(id).collect();
        if leases.iter().any(|(_, state)| *state != LeaseState::Fresh) {
            return false;
        }
        for (destination, _) in leases {
            self.fresh.withdraw_message(id, destination);
            self.release(id, destination, false, Next::Now);
        }
        true
    }

    /// Nothing of the destination is given out before `until`; the epoch opens it. What waits in memory for it goes
    /// the way by the store. `failures` as [`Schedule::failures_after`] says.
    pub fn back_off(&mut self, destination: DestinationNumber, until: Timestamp, failures: u32) {
        if until == Timestamp::default() {
            self.rests.remove(&destination);
            self.places.has_room(destination);
            return self.wake(destination);
        }
        let phase = Phase::Until(until);
        self.rests.insert(destination, Rest { failures, phase });
        self.places.rest_until(destination, until);
        for id in self.fresh.withdraw(destination) {
            self.release(id, destination, false, Next::At(until));
        }
        self.note(destination, Next::At(until));
    }

    /// How many rests in a row one would be that begins now. Deliveries that were under way together fail together and
    /// count once.
    pub fn failures_after(&self, destination: DestinationNumber, until: Timestamp) -> u32 {
        match self.rests.get(&destination) {
            _ if until == Timestamp::default() => 0,
            None => 1,
            Some(rest) => match rest.phase {
                Phase::Until(until) if until > self.now => rest.failures.max(1),
                _ => rest.failures.saturating_add(1),
            },
        }
    }

    /// When the rest of the destination is over, if it rests.
    pub fn not_before(&self, destination: DestinationNumber) -> Option<Timestamp> {
        match self.rests.get(&destination)?.phase {
            Phase::Until(until) if until > self.now => Some(until),
            _ => None,
        }
    }

    /// All rests are over, without a probe (`estafette queue flush`); their failures are remembered.
    pub fn open_all(&mut self) {
        let rests: Vec<DestinationNumber> = self.rests.keys().copied().collect();
        for destination in rests {
            self.open(destination);
        }
    }

    /// The rest of the destination is over, without a probe; its failures are remembered.
    pub fn open(&mut self, destination: DestinationNumber) {
        if let Some(rest) = self.rests.get_mut(&destination) {
            rest.phase = Phase::Over;
        }
        self.places.has_room(destination);
        self.wake(destination);
    }

    /// The destination is no longer known.
    pub fn forget_destination(&mut self, destination: DestinationNumber) {
        self.rests.remove(&destination);
    }

    /// A message is about to be committed: until [`Schedule::admit`] or [`Schedule::release`] no look-up gives it out.
    pub fn arrive(&mut self, id: QueueId, destination: (DestinationNumber, &str)) {
        self.leases.add(id, destination, LeaseState::Arriving);
    }

    /// The message will not be committed after all.
    pub fn release_arriving(&mut self, id: QueueId) {
        let leases: Vec<_> = self.leases.of(id).collect();
        for (destination, _) in leases.into_iter().filter(|(_, state)| *state == LeaseState::Arriving) {
            self.release(id, destination, false, Next::Nothing);
        }
    }

    /// Whether what has arrived at the destination may wait in memory.
    pub fn accepts_fresh(&self, destination: DestinationNumber, data_octets: usize, recipients: usize) -> bool {
        let rest = self.rests.get(&destination);
        rest.is_none_or(|rest| rest.phase == Phase::Over)
            && self.fresh.has_room(destination, cost(data_octets, recipients))
    }

    /// The message is committed and waits in memory. `data` is absent when it is in a file; `is_whole` says that the
    /// lease has all of its recipients.
    pub fn admit(&mut self, destination: DestinationNumber, lease: Lease, data: Option<Bytes>, is_whole: bool) {
        self.leases.set(lease.id, destination, LeaseState::Fresh);
        self.fresh.push(destination, lease, data, is_whole);
    }

    /// Gives out up to `limit` leases from memory. What is not due by this clock goes the way by the store.
    pub fn take_fresh(&mut self, now: Timestamp, limit: usize) -> Vec<(DestinationNumber, Lease)> {
        let mut taken = Vec::new();
        while taken.len() < limit {
            let (places, leases) = (&self.places, &self.leases);
            let has_place = |number| has_place(places, leases.held(number), number);
            let Some((number, mut lease)) = self.fresh.pop(has_place) else {
                break;
            };
            if lease.arrived > now {
                self.release(lease.id, number, false, Next::At(lease.arrived));
                continue;
            }
            lease.failures = self.rests.get(&number).map_or(0, |rest| rest.failures);
            self.leases.set(lease.id, number, LeaseState::Out(Origin::Memory));
            taken.push((number, lease));
        }
        taken
    }

    /// How many of `limit` leases are to come from memory before the store is looked at: all, unless something may be
    /// due there.
    pub fn fresh_share(&mut self, limit: usize) -> usize {
        if self.places.first_ready().is_none() {
            return limit;
        }
        self.looks = self.looks.wrapping_add(1);
        let for_the_store = limit / STORE_SHARE + usize::from(self.looks.is_multiple_of(STORE_SHARE));
        limit.saturating_sub(for_the_store)
    }

    /// When what would be given out next from memory came in.
    pub fn first_fresh(&self) -> Option<Timestamp> {
        let first = self
            .fresh
            .first(|number| has_place(&self.places, self.leases.held(number), number));
        first.map(|lease| lease.arrived)
    }

    /// Leases of a destination that wait in memory.
    pub fn fresh_waiting_for(&self, destination: &str) -> usize {
        let number = self.leases.number(destination);
        number.map_or(0, |number| self.fresh.waiting_for(number))
    }

    /// Leases that wait in memory.
    pub fn fresh_waiting(&self) -> usize {
        self.fresh.waiting()
    }

    /// The mail data of a message, if it is in memory.
    pub fn data(&self, id: QueueId) -> Option<Bytes> {
        self.fresh.data(id)
    }

    /// Whether one lease from memory has all recipients of the message.
    pub fn is_whole(&self, id: QueueId) -> bool {
        self.fresh.is_whole(id)
    }

    fn note(&mut self, destination: DestinationNumber, next: Next) {
        let rests_until = self.not_before(destination).filter(|_| next != Next::Nothing);
        match (next, rests_until) {
            (Next::Nothing, _) => return,
            (Next::Now, None) => self.places.wake(destination),
            (Next::At(at), None) => self.places.due_at(destination, at),
            (Next::Now, Some(until)) => self.places.due_at(destination, until),
            (Next::At(at), Some(until)) => self.places.due_at(destination, at.max(until)),
        }
        if self.scanning {
            self.woken_in_scan.push((destination, next));
        }
    }

    fn forget(&mut self, ended: Ended) {
        let Some(state) = self.leases.remove(ended.id, ended.destination) else {
            return;
        };
        if matches!(
            state,
            LeaseState::Out(Origin::Memory) | LeaseState::Settling(Origin::Memory) | LeaseState::Fresh
        ) {
            self.fresh.ended(ended.id);
        }
        if let Some(rest) = self.rests.get_mut(&ended.destination)
            && rest.phase == Phase::Probing(ended.id)
        {
            // A probe that has learnt nothing is followed by another one, even if the clock goes back meanwhile.
            let again = Phase::Until(Timestamp::default());
            rest.phase = if ended.told { Phase::Over } else { again };
        }
        self.places.has_room(ended.destination);
    }
}

/// Whether a lease from memory may be given out: while the store has something for the destination too, it keeps a part.
fn has_place(places: &Places, held: Held, destination: DestinationNumber) -> bool {
    let left = LEASES_PER_DESTINATION_MAX.saturating_sub(held.fresh + held.stored);
    let for_fresh = LEASES_PER_DESTINATION_MAX - LEASES_PER_DESTINATION_MAX / STORE_SHARE;
    left > 0 && (held.fresh < for_fresh || !places.is_pressing(destination))
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
