//! Signals, and the watch on the queue's health.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::Daemon;
use crate::observe::log;

/// How often the queue is asked whether it failed for good.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// Reloads on SIGHUP; returns on SIGTERM or SIGINT with nothing, on a failed queue with the reason.
pub(super) async fn until_stopped(daemon: &Daemon) -> Option<String> {
    let signals = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
    let [Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)] = signals else {
        return Some("signals cannot be received".into());
    };
    let mut health = tokio::time::interval(HEALTH_INTERVAL);
    loop {
        tokio::select! {
            _ = terminate.recv() => return None,
            _ = interrupt.recv() => return None,
            _ = hangup.recv() => {
                // The outcome is logged where it happens.
                let _ = daemon.reload().await;
            }
            _ = health.tick() => {
                if let Some(fault) = daemon.store.fault() {
                    log::queue_failed(&fault);
                    return Some(fault);
                }
            }
        }
    }
}
