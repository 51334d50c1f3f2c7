//! Who has a session, and whose ends when there are too many.
//!
//! **Implements** `default_process_limit`, `smtpd_stranger_session_share`, `smtpd_client_connection_count_limit`, and what
//! Postfix calls stress.
//! **Does not** end a session: it says which.
//!
//! A certificate holder on a train comes from an address that nobody knows, so that it is a stranger until its handshake
//! is done. Therefore a newcomer is not refused while strangers fill their share: the stranger that uses its place least
//! makes room, and of all strangers first those whose network holds the most places.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;

/// Sessions that were told to end and have not ended yet, at most; past it a stranger is refused at the door.
pub const LEAVING_MAX: usize = 256;

/// IPv4 addresses this far alike count as one network where strangers have to make room.
const NETWORK_IPV4_PREFIX: u8 = 24;
/// IPv6 addresses this far alike do: what one site commonly has.
const NETWORK_IPV6_PREFIX: u8 = 48;

/// Percent of the strangers' share at which sessions begin to be short, and at which that ends.
const STRESS_PERCENT: (usize, usize) = (80, 60);

/// Whether somebody vouches for the peer of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody.
    Stranger,
    /// `mynetworks`, a verified certificate, or a login.
    Known,
}

/// The client that a session counts for, and how many it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientShare {
    /// The network that counts as one client.
    pub client: IpNet,
    /// `smtpd_client_connection_count_limit`; 0 means no limit.
    pub limit: u64,
}

/// What becomes of a newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Entry {
    /// It has a place; another session may have to end for that.
    Admitted {
        /// Its number.
        number: u64,
        /// The session that is to end.
        shed: Option<u64>,
    },
    /// Its client has as many sessions as it may.
    ClientFull {
        /// How many it has.
        count: u64,
        /// How many it may have.
        limit: u64,
    },
    /// Nobody can make room.
    Full,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    share: Option<ClientShare>,
    network: IpNet,
    standing: Standing,
    progress: Instant,
    is_leaving: bool,
}

/// All sessions.
#[derive(Debug)]
pub struct SessionPlaces {
    sessions_max: usize,
    strangers_max: usize,
    places: HashMap<u64, Place>,
    clients: HashMap<IpNet, u64>,
    /// Strangers of each network that have not been told to end, the idlest first.
    networks: HashMap<IpNet, BTreeSet<(Instant, u64)>>,
    /// The networks by how many those are, and then by how idle the idlest is: the last one makes room.
    crowds: BTreeSet<(usize, Reverse<Instant>, IpNet)>,
    strangers: usize,
    leaving: usize,
    next: u64,
    is_stressed: bool,
}

impl SessionPlaces {
    /// Room for so many sessions, of which strangers may have so many percent.
    pub fn new(sessions_max: usize, strangers_percent: usize) -> Self {
        let mut places = Self {
            sessions_max: 0,
            strangers_max: 0,
            places: HashMap::new(),
            clients: HashMap::new(),
            networks: HashMap::new(),
            crowds: BTreeSet::new(),
            strangers: 0,
            leaving: 0,
            next: 0,
            is_stressed: false,
        };
        places.resize(sessions_max, strangers_percent);
        places
    }

    /// Changes the room; [`SessionPlaces::shed_surplus`] says who has to leave for it.
    pub fn resize(&mut self, sessions_max: usize, strangers_percent: usize) {
        self.sessions_max = sessions_max.max(1);
        self.strangers_max = (self.sessions_max.saturating_mul(strangers_percent) / 100).max(1);
    }

    /// A stranger that is to end because there is less room than there was. To be asked until nobody is named, when the room
    /// has changed and when somebody has left.
    pub fn shed_surplus(&mut self) -> Option<u64> {
        let active = self.places.len().saturating_sub(self.leaving);
        let is_surplus = self.strangers > self.strangers_max || active > self.sessions_max;
        if !is_surplus || self.leaving >= LEAVING_MAX {
            return None;
        }
        let number = self.idlest_stranger()?;
        self.tell_to_leave(number);
        Some(number)
    }

    /// A session was told to end for another reason than its place.
    pub fn shed_for_memory(&mut self, number: u64) {
        if self.places.get(&number).is_some_and(|place| !place.is_leaving) {
            self.tell_to_leave(number);
        }
    }

    /// Somebody has connected.
    pub fn enter(&mut self, peer: IpAddr, share: Option<ClientShare>, standing: Standing, now: Instant) -> Entry {
        if let Some(ClientShare { client, limit }) = share {
            let count = self.clients.get(&client).copied().unwrap_or_default();
            if limit > 0 && count >= limit {
                return Entry::ClientFull { count, limit };
            }
        }
        let active = self.places.len().saturating_sub(self.leaving);
        let share_is_full = standing == Standing::Stranger && self.strangers >= self.strangers_max;
        let mut shed = None;
        if share_is_full || active >= self.sessions_max {
            shed = self.idlest_stranger().filter(|_| self.leaving < LEAVING_MAX);
            let Some(number) = shed else {
                return Entry::Full;
            };
            self.tell_to_leave(number);
        }
        let place = Place {
            share,
            network: network_of(peer),
            standing,
            progress: now,
            is_leaving: false,
        };
        if let Some(ClientShare { client, .. }) = share {
            let count = self.clients.entry(client).or_default();
            *count = count.saturating_add(1);
        }
        self.next = self.next.wrapping_add(1);
        self.count_stranger(self.next, &place);
        self.places.insert(self.next, place);
        Entry::Admitted {
            number: self.next,
            shed,
        }
    }

    /// A session has ended.
    pub fn leave(&mut self, number: u64) {
        let Some(place) = self.places.remove(&number) else {
            return;
        };
        if place.is_leaving {
            self.leaving = self.leaving.saturating_sub(1);
        } else {
            self.discount_stranger(number, &place);
        }
        if let Some(ClientShare { client, .. }) = place.share
            && let Some(count) = self.clients.get_mut(&client)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.clients.remove(&client);
            }
        }
    }

    /// Sessions of a client; 0 of one that is not counted.
    pub fn of_client(&self, client: &IpNet) -> u64 {
        self.clients.get(client).copied().unwrap_or_default()
    }

    /// A session got on, or somebody vouches for its peer now, or no longer does.
    pub fn update(&mut self, number: u64, standing: Standing, now: Instant) {
        let Some(place) = self.places.get_mut(&number) else {
            return;
        };
        let before = *place;
        place.progress = now;
        place.standing = standing;
        let after = *place;
        if !before.is_leaving {
            self.discount_stranger(number, &before);
            self.count_stranger(number, &after);
        }
    }

    /// Whether sessions are short: strangers have nearly filled their share. It ends well below where it begins.
    pub fn is_stressed(&mut self) -> bool {
        let (begins, ends) = STRESS_PERCENT;
        let percent = if self.is_stressed { ends } else { begins };
        self.is_stressed = self.strangers.saturating_mul(100) >= self.strangers_max.saturating_mul(percent);
        self.is_stressed
    }

    /// Sessions, those included that were told to end.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether nobody is here.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Strangers that were not told to end.
    pub const fn strangers(&self) -> usize {
        self.strangers
    }

    fn idlest_stranger(&self) -> Option<u64> {
        let (_, _, network) = self.crowds.last()?;
        let (_, number) = self.networks.get(network)?.first()?;
        Some(*number)
    }

    fn tell_to_leave(&mut self, number: u64) {
        let Some(place) = self.places.get_mut(&number) else {
            return;
        };
        place.is_leaving = true;
        let place = *place;
        self.leaving = self.leaving.saturating_add(1);
        self.discount_stranger(number, &place);
    }

    fn count_stranger(&mut self, number: u64, place: &Place) {
        if place.standing == Standing::Stranger {
            self.strangers = self.strangers.saturating_add(1);
            self.change_crowd(place.network, |crowd| crowd.insert((place.progress, number)));
        }
    }

    fn discount_stranger(&mut self, number: u64, place: &Place) {
        if place.standing == Standing::Stranger {
            self.strangers = self.strangers.saturating_sub(1);
            self.change_crowd(place.network, |crowd| crowd.remove(&(place.progress, number)));
        }
    }

    /// Changes the strangers of a network, and its rank among the networks with them.
    fn change_crowd(&mut self, network: IpNet, change: impl FnOnce(&mut BTreeSet<(Instant, u64)>) -> bool) {
        let rank = |crowd: &BTreeSet<(Instant, u64)>| {
            let idlest = crowd.first().map(|(progress, _)| Reverse(*progress));
            idlest.map(|idlest| (crowd.len(), idlest, network))
        };
        let crowd = self.networks.entry(network).or_default();
        if let Some(before) = rank(crowd) {
            self.crowds.remove(&before);
        }
        change(crowd);
        match rank(crowd) {
            Some(after) => drop(self.crowds.insert(after)),
            None => drop(self.networks.remove(&network)),
        }
    }
}

/// The network of an address, for everything that is shared out by networks.
pub fn network_of(address: IpAddr) -> IpNet {
    let prefix = match address {
        IpAddr::V4(_) => NETWORK_IPV4_PREFIX,
        IpAddr::V6(_) => NETWORK_IPV6_PREFIX,
    };
    IpNet::new(address, prefix).map_or_else(|_| IpNet::from(address), |network| network.trunc())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn admitted(entry: Entry) -> (u64, Option<u64>) {
        match entry {
            Entry::Admitted { number, shed } => (number, shed),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn client_at_its_limit_is_refused_until_a_session_ends() {
        let mut places = SessionPlaces::new(10, 80);
        let peer = address("192.0.2.1");
        let share = Some(ClientShare {
            client: IpNet::from(peer),
            limit: 1,
        });
        let now = Instant::now();
        let (number, _) = admitted(places.enter(peer, share, Standing::Stranger, now));
        let refused = places.enter(peer, share, Standing::Stranger, now);
        assert_eq!(refused, Entry::ClientFull { count: 1, limit: 1 });
        places.leave(number);
        let _ = admitted(places.enter(peer, share, Standing::Stranger, now));
    }

    #[test]
    fn stranger_of_the_most_crowded_network_makes_room_and_of_those_the_idlest() {
        let mut places = SessionPlaces::new(5, 80);
        let begin = Instant::now();
        let later = |seconds| begin + Duration::from_secs(seconds);
        let mut enter = |peer: &str, at| admitted(places.enter(address(peer), None, Standing::Stranger, later(at)));
        let (oldest, _) = enter("198.51.100.1", 0);
        let (first, _) = enter("192.0.2.1", 1);
        let (second, _) = enter("192.0.2.2", 2);
        let (_, shed) = enter("203.0.113.1", 3);
        assert_eq!(shed, None);
        let (_, shed) = enter("203.0.113.2", 4);
        assert_eq!(shed, Some(first));
        places.update(oldest, Standing::Stranger, later(5));
        let (_, shed) = admitted(places.enter(address("203.0.113.3"), None, Standing::Stranger, later(6)));
        assert_ne!(shed, Some(oldest));
        assert_ne!(shed, Some(second));
    }

    #[test]
    fn known_peers_leave_the_share_of_strangers_and_never_make_room() {
        let mut places = SessionPlaces::new(2, 50);
        let now = Instant::now();
        let peer = address("192.0.2.1");
        let (known, _) = admitted(places.enter(peer, None, Standing::Stranger, now));
        places.update(known, Standing::Known, now);
        assert_eq!(places.strangers(), 0);
        let (stranger, shed) = admitted(places.enter(peer, None, Standing::Stranger, now));
        assert_eq!(shed, None);
        let (_, shed) = admitted(places.enter(peer, None, Standing::Known, now));
        assert_eq!(shed, Some(stranger));
        assert_eq!(places.enter(peer, None, Standing::Stranger, now), Entry::Full);
    }

    #[test]
    fn less_room_is_made_by_strangers_and_by_so_many_at_a_time() {
        let mut places = SessionPlaces::new(1000, 80);
        let now = Instant::now();
        let mut numbers = Vec::new();
        for standing in [vec![Standing::Known; 20], vec![Standing::Stranger; 500]].concat() {
            let peer = address("192.0.2.1");
            numbers.push(admitted(places.enter(peer, None, standing, now)).0);
        }
        assert_eq!(places.shed_surplus(), None);
        places.resize(10, 80);
        let mut shed = Vec::new();
        while let Some(number) = places.shed_surplus() {
            shed.push(number);
        }
        assert_eq!(shed.len(), LEAVING_MAX);
        for number in shed {
            assert!(!numbers[..20].contains(&number), "whoever is known stays");
            places.leave(number);
            let _ = places.shed_surplus();
        }
        while let Some(number) = places.shed_surplus() {
            places.leave(number);
        }
        assert_eq!(places.strangers(), 0, "those that are known fill the room");
    }

    #[test]
    fn stress_ends_below_where_it_begins() {
        let mut places = SessionPlaces::new(100, 10);
        let now = Instant::now();
        let numbers: Vec<u64> = (0..8)
            .map(|_| admitted(places.enter(address("192.0.2.1"), None, Standing::Stranger, now)).0)
            .collect();
        assert!(places.is_stressed());
        places.leave(numbers[0]);
        assert!(places.is_stressed());
        places.leave(numbers[1]);
        places.leave(numbers[2]);
        assert!(!places.is_stressed());
    }
}
