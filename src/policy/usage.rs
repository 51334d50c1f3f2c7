//! What one holder has used within a sliding window.
//!
//! **Implements** a window of [`SLOTS`] slots that is never too kind: a charge counts for at least the window and is
//! forgotten before [`SLOTS`] + 1 slots have gone by, so that no span as long as the window holds more than what was counted.
//! Memory is bounded: one pair per slot that was charged in.
//! **Does not** trust the clock: one that jumps back neither frees nor locks anybody; a jump ahead forgets what is past.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Timestamp;

/// Slots per window: a charge is forgotten a twelfth of the window late at most.
const SLOTS: i64 = 12;

/// What is charged to a holder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Messages.
    pub messages: u64,
    /// Recipients.
    pub recipients: u64,
    /// Octets of mail data.
    pub octets: u64,
}

/// The charges of one window.
#[derive(Clone, Debug)]
pub struct Usage {
    slot_millis: i64,
    /// Numbers of slots since 1970 in ascending order, each with its sum.
    slots: VecDeque<(i64, Amount)>,
}

impl Amount {
    /// Both together, saturating.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            messages: self.messages.saturating_add(other.messages),
            recipients: self.recipients.saturating_add(other.recipients),
            octets: self.octets.saturating_add(other.octets),
        }
    }
}

impl Usage {
    /// Nothing used yet.
    pub fn new(window: Duration) -> Self {
        Self {
            slot_millis: slot_millis(window),
            slots: VecDeque::new(),
        }
    }

    /// What counts now; what is past is forgotten. A window that a reload has changed counts from now on, with what is
    /// remembered.
    pub fn now(&mut self, window: Duration, now: Timestamp) -> Amount {
        let slot_millis = slot_millis(window);
        self.undo_jump_back(now);
        if slot_millis != self.slot_millis {
            self.change_slots(slot_millis, now);
        }
        let oldest = self.slot_of(now).saturating_sub(SLOTS);
        self.slots.retain(|(slot, _)| *slot >= oldest);
        self.slots
            .iter()
            .fold(Amount::default(), |sum, (_, amount)| sum.plus(*amount))
    }

    /// Adds a charge. Call [`Usage::now`] first.
    pub fn add(&mut self, amount: Amount, now: Timestamp) {
        let slot = self.slot_of(now);
        self.put(slot, amount);
    }

    /// Whether everything is forgotten at this time.
    pub fn is_over(&self, now: Timestamp) -> bool {
        let oldest = self.slot_of(now).saturating_sub(SLOTS);
        self.slots.back().is_none_or(|(slot, _)| *slot < oldest)
    }

    const fn slot_of(&self, at: Timestamp) -> i64 {
        at.0.div_euclid(self.slot_millis)
    }

    fn put(&mut self, slot: i64, amount: Amount) {
        match self.slots.back_mut() {
            Some((last, sum)) if *last >= slot => *sum = sum.plus(amount),
            _ => self.slots.push_back((slot, amount)),
        }
    }

    /// Where the clock stands before the last charge it was set back: no time has gone by, as far as can be known.
    fn undo_jump_back(&mut self, now: Timestamp) {
        let current = self.slot_of(now);
        let ahead = self.slots.back().map_or(0, |(last, _)| last.saturating_sub(current));
        if ahead > 0 {
            for (slot, _) in &mut self.slots {
                *slot = slot.saturating_sub(ahead);
            }
        }
    }

    /// The same charges in slots of another length; each counts as made at the end of its old slot, or now.
    fn change_slots(&mut self, slot_millis: i64, now: Timestamp) {
        let old_millis = self.slot_millis;
        let old = std::mem::take(&mut self.slots);
        self.slot_millis = slot_millis;
        for (slot, amount) in old {
            let end = slot.saturating_add(1).saturating_mul(old_millis).saturating_sub(1);
            let at = Timestamp(end.min(now.0));
            self.put(self.slot_of(at), amount);
        }
    }
}

/// A twelfth of the window, rounded up to a millisecond. Windows beyond some 290 years, far from the end of the numbers,
/// are cut to that.
fn slot_millis(window: Duration) -> i64 {
    let millis = i64::try_from(window.as_millis()).unwrap_or(i64::MAX).min(1 << 43);
    millis.saturating_add(SLOTS - 1).div_euclid(SLOTS).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const START: i64 = 1_795_510_800_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(START + seconds * 1000)
    }

    fn one() -> Amount {
        Amount {
            messages: 1,
            recipients: 2,
            octets: 1000,
        }
    }

    fn charge(usage: &mut Usage, window: Duration, now: Timestamp) -> u64 {
        usage.now(window, now);
        usage.add(one(), now);
        usage.now(window, now).messages
    }

    #[test]
    fn a_charge_counts_for_the_window_and_a_twelfth_of_it_at_most() {
        for offset in [0, 1, 150, 299] {
            let mut usage = Usage::new(HOUR);
            charge(&mut usage, HOUR, at(offset));
            assert_eq!(usage.now(HOUR, at(offset + 3600)), one(), "{offset}");
            assert!(!usage.is_over(at(offset + 3600)));
            assert!(usage.is_over(at(offset + 3900)));
            assert_eq!(usage.now(HOUR, at(offset + 3900)), Amount::default(), "{offset}");
        }
    }

    #[test]
    fn memory_is_bounded_by_the_number_of_slots() {
        let mut usage = Usage::new(HOUR);
        for second in 0..20_000 {
            charge(&mut usage, HOUR, at(second));
        }
        assert_eq!(usage.slots.len(), 13);
        for window in [1, 7, 3600, 86_400, 1] {
            charge(&mut usage, Duration::from_secs(window), at(20_000));
            assert!(usage.slots.len() <= 14, "{window}");
        }
    }

    #[test]
    fn a_clock_set_back_neither_frees_nor_locks() {
        let mut usage = Usage::new(HOUR);
        charge(&mut usage, HOUR, at(0));
        let year = 31_536_000;
        assert_eq!(charge(&mut usage, HOUR, at(-year)), 2);
        assert_eq!(usage.now(HOUR, at(3600 - year)).messages, 2);
        assert_eq!(usage.now(HOUR, at(3900 - year)).messages, 0);
        for extreme in [i64::MIN, i64::MAX, 0, i64::MIN, i64::MAX, -1] {
            charge(&mut usage, HOUR, Timestamp(extreme));
            charge(&mut usage, Duration::MAX, Timestamp(extreme));
            charge(&mut usage, Duration::ZERO, Timestamp(extreme));
        }
    }

    #[test]
    fn a_window_that_changes_keeps_what_is_remembered() {
        let mut usage = Usage::new(HOUR);
        charge(&mut usage, HOUR, at(0));
        charge(&mut usage, HOUR, at(3000));
        let minute = Duration::from_mins(1);
        assert_eq!(usage.now(HOUR * 24, at(3600)).messages, 2);
        assert_eq!(usage.now(HOUR * 24, at(3600 * 24)).messages, 2);
        assert_eq!(usage.now(minute, at(3600 * 25)).messages, 0);
        charge(&mut usage, minute, at(3600 * 25));
        assert_eq!(usage.now(HOUR, at(3600 * 25 + 60)).messages, 1);
    }
}
