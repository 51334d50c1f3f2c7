//! What systemd is told: ready, reloading, stopping (sd_notify(3)). Without systemd these do nothing.

use sd_notify::NotifyState;

/// The daemon listens and its queue is open.
pub fn ready(status: &str) {
    let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A reload has begun; [`ready`] ends it.
pub fn reloading() {
    let mut states = vec![NotifyState::Reloading];
    states.extend(NotifyState::monotonic_usec_now().ok());
    let _ = sd_notify::notify(&states);
}

/// What an administrator should read in `systemctl status`.
pub fn status(status: &str) {
    let _ = sd_notify::notify(&[NotifyState::Status(status)]);
}

/// The daemon stops.
pub fn stopping() {
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
}
