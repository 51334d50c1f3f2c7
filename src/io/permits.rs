//! Permits for connections, whose number a reload may change while they are out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So many connections may there be.
#[derive(Debug)]
pub struct Permits {
    free: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    total: usize,
    /// Permits that are out and not given out again when they come back.
    surplus: usize,
}

/// One of them; it comes back when it is dropped.
#[derive(Debug)]
pub struct Permit {
    permits: Arc<Permits>,
    inner: Option<OwnedSemaphorePermit>,
}

impl Permits {
    /// So many.
    pub fn new(total: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(total)),
            state: Mutex::new(State { total, surplus: 0 }),
        }
    }

    /// Changes how many there are. Nobody loses one: where too many are out, fewer come back.
    pub fn resize(&self, total: usize) {
        let mut state = self.lock();
        let (more, fewer) = (total.saturating_sub(state.total), state.total.saturating_sub(total));
        let kept = more.min(state.surplus);
        state.surplus -= kept;
        self.free.add_permits(more - kept);
        let forgotten = self.free.forget_permits(fewer);
        state.surplus += fewer - forgotten;
        state.total = total;
    }

    /// Waits for one. Cancel-safe.
    pub async fn acquire(self: &Arc<Self>) -> Permit {
        Permit {
            permits: Arc::clone(self),
            // Never closed.
            inner: Arc::clone(&self.free).acquire_owned().await.ok(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.permits.lock();
        if state.surplus > 0
            && let Some(permit) = self.inner.take()
        {
            state.surplus -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// How many more can be had now.
    async fn left(permits: &Arc<Permits>) -> usize {
        let mut taken = Vec::new();
        while let Ok(permit) = timeout(Duration::from_millis(1), permits.acquire()).await {
            taken.push(permit);
        }
        taken.len()
    }

    #[tokio::test(start_paused = true)]
    async fn number_holds_both_ways_whoever_has_one_meanwhile() {
        let permits = Arc::new(Permits::new(4));
        let mut out = vec![
            permits.acquire().await,
            permits.acquire().await,
            permits.acquire().await,
        ];
        permits.resize(6);
        assert_eq!(left(&permits).await, 3);
        permits.resize(1);
        assert_eq!(left(&permits).await, 0);
        out.truncate(1);
        assert_eq!(left(&permits).await, 0, "one is out, and one there may be");
        permits.resize(2);
        assert_eq!(left(&permits).await, 1);
        out.clear();
        assert_eq!(left(&permits).await, 2);
        let _three = [permits.acquire().await, permits.acquire().await];
        permits.resize(0);
        permits.resize(3);
        assert_eq!(left(&permits).await, 1);
    }
}
