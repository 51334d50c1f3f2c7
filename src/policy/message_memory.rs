//! How much memory the mail data of messages on their way in may take, and who is refused when that is not enough.
//!
//! **Implements** `smtpd_mail_data_memory_limit`. Strangers have the part of it that `smtpd_stranger_session_share` gives
//! them of the sessions; where others need more than the rest, the strangers that hold most make room.
//! **Does not** free anything: it says who has to.

use std::collections::{BTreeSet, HashMap};

use super::session_places::Standing;

/// What a session holds counts in steps of so many octets.
const STEP_OCTETS: u64 = 4096;

#[derive(Clone, Copy, Debug)]
struct Held {
    octets: u64,
    standing: Standing,
    is_leaving: bool,
}

/// Who holds how much.
#[derive(Debug, Default)]
pub struct MessageMemory {
    /// 0 means no limit.
    octets_max: u64,
    strangers_percent: u64,
    sessions: HashMap<u64, Held>,
    /// Strangers that have not been told to end, by what they hold.
    strangers: BTreeSet<(u64, u64)>,
    total: u64,
    of_strangers: u64,
}

/// What becomes of a session that wants to hold more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Hold {
    /// Whether it may.
    pub is_granted: bool,
    /// Sessions that have to end for it.
    pub shed: Vec<u64>,
}

impl Hold {
    const REFUSED: Self = Self {
        is_granted: false,
        shed: Vec::new(),
    };

    const fn granted(shed: Vec<u64>) -> Self {
        Self { is_granted: true, shed }
    }
}

impl MessageMemory {
    /// So many octets, of which strangers may have so many percent; 0 octets mean no limit.
    pub fn configure(&mut self, octets_max: u64, strangers_percent: usize) {
        self.octets_max = octets_max;
        self.strangers_percent = strangers_percent as u64;
    }

    /// What so many octets count as.
    pub const fn counted(octets: u64) -> u64 {
        octets.next_multiple_of(STEP_OCTETS)
    }

    /// A session holds so many octets from now on, or, when it may not, as many as before. Less is always granted.
    pub fn hold(&mut self, number: u64, octets: u64, standing: Standing) -> Hold {
        let before = self.sessions.get(&number).copied();
        let held = before.map_or(0, |before| before.octets);
        if octets <= held || self.octets_max == 0 {
            self.set(number, octets, standing);
            return Hold::granted(Vec::new());
        }
        if before.is_some_and(|before| before.is_leaving) {
            return Hold::REFUSED;
        }
        let more = octets.saturating_sub(held);
        let excess = self.total.saturating_add(more).saturating_sub(self.octets_max);
        if standing == Standing::Stranger {
            let strangers_max = self.octets_max.saturating_mul(self.strangers_percent) / 100;
            if excess > 0 || self.of_strangers.saturating_add(more) > strangers_max {
                return Hold::REFUSED;
            }
        } else if excess > self.of_strangers {
            return Hold::REFUSED;
        }
        self.set(number, octets, standing);
        Hold::granted(self.make_room())
    }

    /// Strangers that have to end, those that hold most first.
    fn make_room(&mut self) -> Vec<u64> {
        let mut shed = Vec::new();
        while self.total > self.octets_max
            && let Some((_, most)) = self.strangers.last().copied()
        {
            if let Some(held) = self.discount(most) {
                let held = Held {
                    is_leaving: true,
                    ..held
                };
                self.sessions.insert(most, held);
            }
            shed.push(most);
        }
        shed
    }

    /// A session has ended.
    pub fn leave(&mut self, number: u64) {
        let _ = self.discount(number);
    }

    /// Octets that sessions hold which were not told to end.
    pub const fn total(&self) -> u64 {
        self.total
    }

    fn set(&mut self, number: u64, octets: u64, standing: Standing) {
        let is_leaving = self.discount(number).is_some_and(|before| before.is_leaving);
        if octets == 0 {
            return;
        }
        let held = Held {
            octets,
            standing,
            is_leaving,
        };
        self.sessions.insert(number, held);
        if is_leaving {
            return;
        }
        self.total = self.total.saturating_add(octets);
        if standing == Standing::Stranger {
            self.of_strangers = self.of_strangers.saturating_add(octets);
            self.strangers.insert((octets, number));
        }
    }

    /// Takes a session out of all sums.
    fn discount(&mut self, number: u64) -> Option<Held> {
        let held = self.sessions.remove(&number)?;
        if !held.is_leaving {
            self.total = self.total.saturating_sub(held.octets);
            if held.standing == Standing::Stranger {
                self.of_strangers = self.of_strangers.saturating_sub(held.octets);
                self.strangers.remove(&(held.octets, number));
            }
        }
        Some(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRANTED: Hold = Hold::granted(Vec::new());

    fn memory() -> MessageMemory {
        let mut memory = MessageMemory::default();
        memory.configure(100, 80);
        memory
    }

    #[test]
    fn strangers_are_refused_past_their_share_and_others_are_not() {
        let mut memory = memory();
        assert_eq!(memory.hold(1, 50, Standing::Stranger), GRANTED);
        assert_eq!(memory.hold(2, 30, Standing::Stranger), GRANTED);
        assert_eq!(memory.hold(2, 31, Standing::Stranger), Hold::REFUSED);
        assert_eq!(memory.total(), 80, "what it held it holds");
        assert_eq!(memory.hold(3, 20, Standing::Known), GRANTED);
        assert_eq!(
            memory.hold(2, 10, Standing::Stranger),
            GRANTED,
            "less is always granted"
        );
        memory.leave(1);
        assert_eq!(memory.hold(2, 60, Standing::Stranger), GRANTED);
    }

    #[test]
    fn stranger_that_holds_most_makes_room_for_whoever_is_known() {
        let mut memory = memory();
        assert_eq!(memory.hold(1, 20, Standing::Stranger), GRANTED);
        assert_eq!(memory.hold(2, 60, Standing::Stranger), GRANTED);
        let hold = memory.hold(3, 50, Standing::Known);
        assert_eq!(hold, Hold::granted(vec![2]));
        assert_eq!(memory.total(), 70);
        assert_eq!(
            memory.hold(2, 61, Standing::Stranger),
            Hold::REFUSED,
            "it was told to end"
        );
        memory.leave(2);
        assert_eq!(memory.total(), 70, "it was discounted already");
        assert_eq!(
            memory.hold(4, 51, Standing::Known),
            Hold::REFUSED,
            "all strangers hold less"
        );
        assert_eq!(memory.hold(4, 50, Standing::Known), Hold::granted(vec![1]));
        assert_eq!(memory.total(), 100);
    }

    #[test]
    fn without_a_limit_everything_is_granted() {
        let mut memory = MessageMemory::default();
        assert_eq!(memory.hold(1, u64::MAX, Standing::Stranger), GRANTED);
        assert_eq!(MessageMemory::counted(1), STEP_OCTETS);
        assert_eq!(MessageMemory::counted(0), 0);
    }
}
