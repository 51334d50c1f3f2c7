//! How much memory the mail data of messages on their way in may take, and who is refused when that is not enough.
//!
//! **Implements** `smtpd_mail_data_memory_limit`. Strangers have the part of it that `smtpd_stranger_session_share` gives
//! them of the sessions; where others need more than the rest, strangers make room. Among strangers, one whose network would
//! not hold more than another one is not refused: that one makes room, so that a few networks cannot keep all others out.
//! It is always the network that holds most that makes room, with the session of it that holds most.
//! **Does not** free anything: it says who has to.

use std::collections::{BTreeSet, HashMap};

use ipnet::IpNet;

use super::session_places::Standing;

/// What a session holds counts in steps of so many octets.
const STEP_OCTETS: u64 = 4096;

/// Whose mail data it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Whether somebody vouches for it.
    pub standing: Standing,
    /// Where it connects from, of [`network_of`](super::session_places::network_of).
    pub network: IpNet,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    octets: u64,
    holder: Holder,
    is_leaving: bool,
}

/// Strangers of one network that have not been told to end, by what they hold.
#[derive(Debug, Default)]
struct Crowd {
    octets: u64,
    sessions: BTreeSet<(u64, u64)>,
}

/// Who holds how much.
#[derive(Debug, Default)]
pub struct MessageMemory {
    /// 0 means no limit.
    octets_max: u64,
    strangers_percent: u64,
    sessions: HashMap<u64, Held>,
    networks: HashMap<IpNet, Crowd>,
    /// The networks by what they hold: the last one makes room.
    crowds: BTreeSet<(u64, IpNet)>,
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
    pub fn hold(&mut self, number: u64, octets: u64, holder: Holder) -> Hold {
        let before = self.sessions.get(&number).copied();
        let held = before.map_or(0, |before| before.octets);
        let mut shed = Vec::new();
        if octets > held && self.octets_max > 0 {
            if before.is_some_and(|before| before.is_leaving) {
                return Hold {
                    is_granted: false,
                    shed,
                };
            }
            let more = octets.saturating_sub(held);
            let is_granted = if holder.standing == Standing::Stranger {
                self.make_room_for_stranger(more, holder.network, &mut shed)
            } else {
                self.make_room(more, &mut shed)
            };
            if !is_granted {
                return Hold { is_granted, shed };
            }
        }
        self.set(number, octets, holder);
        Hold { is_granted: true, shed }
    }

    /// Room for somebody known: of strangers, as long as there are any.
    fn make_room(&mut self, more: u64, shed: &mut Vec<u64>) -> bool {
        let needed = self.total.saturating_add(more);
        if needed.saturating_sub(self.octets_max) > self.of_strangers {
            return false;
        }
        while self.total.saturating_add(more) > self.octets_max
            && let Some((_, network)) = self.crowds.last().copied()
        {
            shed.extend(self.evict(network));
        }
        true
    }

    /// Room for a stranger: of networks that hold more than its own would.
    fn make_room_for_stranger(&mut self, more: u64, network: IpNet, shed: &mut Vec<u64>) -> bool {
        let strangers_max = self.octets_max.saturating_mul(self.strangers_percent) / 100;
        let own = self.networks.get(&network).map_or(0, |crowd| crowd.octets);
        while self.total.saturating_add(more) > self.octets_max
            || self.of_strangers.saturating_add(more) > strangers_max
        {
            let most = self.crowds.last().copied();
            let Some((_, crowd)) = most.filter(|(most, _)| *most > own.saturating_add(more)) else {
                return false;
            };
            shed.extend(self.evict(crowd));
        }
        true
    }

    /// The session of a network that holds most has to end.
    fn evict(&mut self, network: IpNet) -> Option<u64> {
        let (_, number) = self.networks.get(&network)?.sessions.last().copied()?;
        let held = self.discount(number)?;
        let held = Held {
            is_leaving: true,
            ..held
        };
        self.sessions.insert(number, held);
        Some(number)
    }

    /// A session has ended.
    pub fn leave(&mut self, number: u64) {
        let _ = self.discount(number);
    }

    /// Octets that sessions hold which were not told to end.
    pub const fn total(&self) -> u64 {
        self.total
    }

    fn set(&mut self, number: u64, octets: u64, holder: Holder) {
        let is_leaving = self.discount(number).is_some_and(|before| before.is_leaving);
        if octets == 0 {
            return;
        }
        let held = Held {
            octets,
            holder,
            is_leaving,
        };
        self.sessions.insert(number, held);
        if is_leaving {
            return;
        }
        self.total = self.total.saturating_add(octets);
        if holder.standing == Standing::Stranger {
            self.of_strangers = self.of_strangers.saturating_add(octets);
            self.change_crowd(holder.network, |crowd| {
                crowd.octets = crowd.octets.saturating_add(octets);
                crowd.sessions.insert((octets, number));
            });
        }
    }

    /// Takes a session out of all sums.
    fn discount(&mut self, number: u64) -> Option<Held> {
        let held = self.sessions.remove(&number)?;
        if !held.is_leaving {
            self.total = self.total.saturating_sub(held.octets);
            if held.holder.standing == Standing::Stranger {
                self.of_strangers = self.of_strangers.saturating_sub(held.octets);
                self.change_crowd(held.holder.network, |crowd| {
                    crowd.octets = crowd.octets.saturating_sub(held.octets);
                    crowd.sessions.remove(&(held.octets, number));
                });
            }
        }
        Some(held)
    }

    /// Changes what the strangers of a network hold, and its rank among the networks with it.
    fn change_crowd(&mut self, network: IpNet, change: impl FnOnce(&mut Crowd)) {
        let crowd = self.networks.entry(network).or_default();
        self.crowds.remove(&(crowd.octets, network));
        change(crowd);
        if crowd.sessions.is_empty() {
            self.networks.remove(&network);
        } else {
            self.crowds.insert((crowd.octets, network));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRANTED: Hold = Hold {
        is_granted: true,
        shed: Vec::new(),
    };
    const REFUSED: Hold = Hold {
        is_granted: false,
        shed: Vec::new(),
    };

    fn memory() -> MessageMemory {
        let mut memory = MessageMemory::default();
        memory.configure(100, 80);
        memory
    }

    fn holder(standing: Standing, network: &str) -> Holder {
        let network = network.parse().expect("a network");
        Holder { standing, network }
    }

    fn stranger() -> Holder {
        holder(Standing::Stranger, "192.0.2.0/24")
    }

    fn known() -> Holder {
        holder(Standing::Known, "192.0.2.0/24")
    }

    #[test]
    fn strangers_are_refused_past_their_share_and_others_are_not() {
        let mut memory = memory();
        assert_eq!(memory.hold(1, 50, stranger()), GRANTED);
        assert_eq!(memory.hold(2, 30, stranger()), GRANTED);
        assert_eq!(memory.hold(2, 31, stranger()), REFUSED);
        assert_eq!(memory.total(), 80, "what it held it holds");
        assert_eq!(memory.hold(3, 20, known()), GRANTED);
        assert_eq!(memory.hold(2, 10, stranger()), GRANTED, "less is always granted");
        memory.leave(1);
        assert_eq!(memory.hold(2, 60, stranger()), GRANTED);
    }

    #[test]
    fn stranger_that_holds_most_makes_room_for_whoever_is_known() {
        let mut memory = memory();
        assert_eq!(memory.hold(1, 20, stranger()), GRANTED);
        assert_eq!(memory.hold(2, 60, stranger()), GRANTED);
        let shed = |number| Hold {
            is_granted: true,
            shed: vec![number],
        };
        assert_eq!(memory.hold(3, 50, known()), shed(2));
        assert_eq!(memory.total(), 70);
        assert_eq!(memory.hold(2, 61, stranger()), REFUSED, "it was told to end");
        memory.leave(2);
        assert_eq!(memory.total(), 70, "it was discounted already");
        assert_eq!(memory.hold(4, 51, known()), REFUSED, "all strangers hold less");
        assert_eq!(memory.hold(4, 50, known()), shed(1));
        assert_eq!(memory.total(), 100);
    }

    #[test]
    fn network_of_strangers_that_fills_their_share_makes_room_for_the_others() {
        let mut memory = memory();
        let other = holder(Standing::Stranger, "2001:db8::/48");
        assert_eq!(memory.hold(1, 30, stranger()), GRANTED);
        assert_eq!(memory.hold(2, 50, stranger()), GRANTED);
        let shed = Hold {
            is_granted: true,
            shed: vec![2],
        };
        assert_eq!(memory.hold(3, 20, other), shed);
        assert_eq!(memory.hold(3, 50, other), GRANTED);
        assert_eq!(
            memory.hold(4, 1, stranger()),
            Hold { shed: vec![3], ..shed },
            "and the other way round"
        );
        assert_eq!(memory.hold(4, 50, stranger()), GRANTED);
        assert_eq!(memory.hold(5, 80, other), REFUSED, "it would hold as much as they do");
        for number in 1..=5 {
            memory.leave(number);
        }
        assert!(memory.total() == 0 && memory.networks.is_empty() && memory.crowds.is_empty());
    }

    #[test]
    fn without_a_limit_everything_is_granted() {
        let mut memory = MessageMemory::default();
        assert_eq!(memory.hold(1, u64::MAX, stranger()), GRANTED);
        assert_eq!(MessageMemory::counted(1), STEP_OCTETS);
        assert_eq!(MessageMemory::counted(0), 0);
    }
}
