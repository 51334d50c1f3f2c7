//! Signals, and the watch on the queue's health.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::observe::log;

/// How often the queue is asked whether it failed for good.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// Calls `reload` on SIGHUP; returns nothing on SIGTERM or SIGINT, the reason when `fault` says that the queue failed.
pub(super) async fn until_stopped(reload: impl AsyncFn(), fault: impl Fn() -> Option<String>) -> Option<String> {
    let signals = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
    let [Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)] = signals else {
        return Some("signals cannot be received".into());
    };
    let mut health = tokio::time::interval(HEALTH_INTERVAL);
    loop {
        tokio::select! {
            _ = terminate.recv() => return None,
            _ = interrupt.recv() => return None,
            _ = hangup.recv() => reload().await,
            _ = health.tick() => {
                if let Some(fault) = fault() {
                    log::queue_failed(&fault);
                    return Some(fault);
                }
            }
        }
    }
}
