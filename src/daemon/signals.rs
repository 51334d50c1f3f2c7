//! Signals, and the watch on the queue's health.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::observe::log;

/// How often the queue is asked whether it failed for good.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// How the queue is.
pub(super) enum Health {
    /// All is well.
    Good,
    /// A write or fsync failed once: new mail is refused with 421, what is queued is still delivered.
    Refusing,
    /// It failed again: only a restart helps.
    Failed(String),
}

/// Calls `reload` on SIGHUP; returns nothing on SIGTERM or SIGINT, the reason when the queue has failed for good.
pub(super) async fn until_stopped(reload: impl AsyncFn(), health: impl Fn() -> Health) -> Option<String> {
    let signals = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
    let [Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)] = signals else {
        return Some("signals cannot be received".into());
    };
    let mut beat = tokio::time::interval(HEALTH_INTERVAL);
    let mut was_told = false;
    loop {
        tokio::select! {
            _ = terminate.recv() => return None,
            _ = interrupt.recv() => return None,
            _ = hangup.recv() => reload().await,
            _ = beat.tick() => {
                match health() {
                    Health::Good => {}
                    Health::Refusing if was_told => {}
                    Health::Refusing => {
                        was_told = true;
                        log::queue_refuses_mail();
                    }
                    Health::Failed(fault) => {
                        log::queue_failed(&fault);
                        return Some(fault);
                    }
                }
            }
        }
    }
}
