//! One outsider at one listener: whether any of its attempts would be relayed.

use crate::cert::identity::Identity;
use crate::config::ListenerSettings;
use crate::net;
use crate::policy::facts::Facts;
use crate::session::replies;

use super::surroundings::Surroundings;

/// How many of the surroundings are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breadth {
    /// Every peer, sender and destination.
    All,
    /// Every sender from one peer to one destination: for the many certificates of which only the name differs.
    Senders,
}

/// An attempt that would be relayed.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) listener: String,
    pub(super) outsider: String,
    /// `from ADDRESS, <sender> to <recipient>`.
    pub(super) attempt: String,
    pub(super) decided_by: String,
    pub(super) because: String,
}

/// A listener, and what is tried there.
pub(super) struct Target<'a> {
    pub(super) listener: &'a ListenerSettings,
    pub(super) surroundings: Surroundings,
    pub(super) now_unix_seconds: i64,
}

impl Target<'_> {
    /// The first attempt that would be relayed, asked of the daemon's own chain.
    pub(super) fn attempt(&self, outsider: &str, identity: &Identity, breadth: Breadth) -> Option<Found> {
        let session = &self.listener.session;
        if replies::before_recipients(session, identity, "check").is_some() {
            return None;
        }
        let some = |all: usize| if breadth == Breadth::All { all } else { 1 };
        let surroundings = &self.surroundings;
        for peer in surroundings.peers.iter().take(some(usize::MAX)) {
            for forward_path in surroundings.forward_paths.iter().take(some(usize::MAX)) {
                for reverse_path in &surroundings.reverse_paths {
                    let verdict = session.chain.decide(&Facts {
                        hello: "outside.example",
                        reverse_path: Some(reverse_path),
                        forward_path: Some(forward_path),
                        ..Facts::new(net::canonical(*peer), identity, self.now_unix_seconds)
                    });
                    if verdict.is_permit() {
                        return Some(Found {
                            listener: self.listener.name.clone(),
                            outsider: outsider.to_owned(),
                            attempt: format!("from {peer}, <{reverse_path}> to <{forward_path}>"),
                            decided_by: verdict.decided_by().to_owned(),
                            because: verdict.because().to_string(),
                        });
                    }
                }
            }
        }
        None
    }
}
