//! Signals, and the watch on the queue's health.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::io::systemd;
use crate::observe::log;

/// How often the queue is asked whether it failed for good.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// How the queue is.
pub(super) enum Health {
    /// All is well.
    Good,
    /// A write or fsync failed once: new mail is refused with 421, what is queued is still delivered.
    Refusing(String),
    /// It failed again: only a restart helps.
    Failed(String),
}

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

    /// Calls `reload` on SIGHUP; returns nothing on SIGTERM or SIGINT, the reason when the queue has failed for good.
    pub(super) async fn until_stopped(mut self, reload: impl AsyncFn(), health: impl Fn() -> Health) -> Option<String> {
        let mut beat = tokio::time::interval(HEALTH_INTERVAL);
        let mut was_told = false;
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return None,
                _ = self.interrupt.recv() => return None,
                _ = self.hangup.recv() => reload().await,
                _ = beat.tick() => match health() {
                    Health::Good => {}
                    Health::Refusing(_) if was_told => {}
                    Health::Refusing(why) => {
                        was_told = true;
                        log::queue_refuses_mail(&why);
                        systemd::status(&format!(
                            "no new mail is taken (421) until a restart, what is queued is delivered: {why}"
                        ));
                    }
                    Health::Failed(fault) => {
                        log::queue_failed(&fault);
                        systemd::status(&format!("the queue failed, the daemon ends: {fault}"));
                        return Some(fault);
                    }
                },
            }
        }
    }
}
