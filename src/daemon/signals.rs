//! Signals, and the watch on the queue's health.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::observe::log;

/// How often the queue is asked whether it failed for good.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// The signals that the daemon listens to.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Listens to them from now on: a SIGHUP that comes early must not end the process.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Calls `reload` on SIGHUP; returns nothing on SIGTERM or SIGINT, the reason when `fault` says that the queue
    /// failed.
    pub(super) async fn until_stopped(
        mut self,
        reload: impl AsyncFn(),
        fault: impl Fn() -> Option<String>,
    ) -> Option<String> {
        let mut health = tokio::time::interval(HEALTH_INTERVAL);
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return None,
                _ = self.interrupt.recv() => return None,
                _ = self.hangup.recv() => reload().await,
                _ = health.tick() => {
                    if let Some(fault) = fault() {
                        log::queue_failed(&fault);
                        return Some(fault);
                    }
                }
            }
        }
    }
}
