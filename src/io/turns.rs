//! Turns at what there is little of: so many at a time altogether, and so many of each network, so that a network with many
//! sessions waits behind itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// The turns, and who waits for one. Networks are those of [`network_of`](crate::policy::session_places::network_of).
#[derive(Debug)]
pub struct Turns {
    all: Semaphore,
    of_each_network: usize,
    networks: Mutex<HashMap<IpNet, Arc<Semaphore>>>,
}

/// One turn; it lasts until it is dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    turns: &'a Turns,
    network: IpNet,
    of_network: Option<OwnedSemaphorePermit>,
    of_all: Option<SemaphorePermit<'a>>,
}

impl Turns {
    /// So many at a time, and of those so many of each network.
    pub fn new(all: usize, of_each_network: usize) -> Self {
        Self {
            all: Semaphore::new(all),
            of_each_network,
            networks: Mutex::default(),
        }
    }

    /// Waits for a turn. Cancel-safe.
    pub async fn turn(&self, network: IpNet) -> Turn<'_> {
        let share = || Arc::new(Semaphore::new(self.of_each_network));
        let of_network = Arc::clone(self.lock().entry(network).or_insert_with(share));
        let mut turn = Turn {
            turns: self,
            network,
            of_network: None,
            of_all: None,
        };
        // Never closed, either of them.
        turn.of_network = of_network.acquire_owned().await.ok();
        turn.of_all = self.all.acquire().await.ok();
        turn
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpNet, Arc<Semaphore>>> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.of_all = None;
        self.of_network = None;
        let mut networks = self.turns.lock();
        // Whoever waits in it holds another reference.
        let known = networks.get(&self.network);
        if known.is_some_and(|of_network| Arc::strong_count(of_network) == 1) {
            networks.remove(&self.network);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn network_with_many_waits_behind_itself_and_is_forgotten_with_its_last_turn() {
        let turns = Turns::new(3, 2);
        let network = |text: &str| text.parse().unwrap();
        let (greedy, modest, late) = (
            network("192.0.2.0/24"),
            network("2001:db8::/48"),
            network("198.51.100.0/24"),
        );
        let soon = Duration::from_secs(1);
        let first = turns.turn(greedy).await;
        let _second = turns.turn(greedy).await;
        assert!(timeout(soon, turns.turn(greedy)).await.is_err());
        let third = timeout(soon, turns.turn(modest)).await.expect("its share is free");
        assert!(timeout(soon, turns.turn(late)).await.is_err(), "all are taken");
        assert_eq!(turns.lock().len(), 2);
        drop(third);
        assert_eq!(turns.lock().len(), 1);
        drop(first);
        let _again = timeout(soon, turns.turn(greedy)).await.expect("one came back");
    }
}
