//! What is due of a destination once a lease has ended.
//!
//! **Does not** look at the queue: the settlements tell it.

use super::entry::{Lease, Settlement};
use crate::time::Timestamp;

/// What is due of a destination once a lease has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing that was not before.
    Nothing,
    /// Something, at that time.
    At(Timestamp),
    /// Something, now.
    Now,
}

impl Next {
    /// What is due once the recipients of a lease have been settled: a retry at its time, what is not named at once.
    pub fn after(lease: &Lease, settlements: &[Settlement]) -> Self {
        let is_settled = |settlement: &Settlement| !matches!(settlement, Settlement::Warned { .. });
        let is_named = |number: u32| settlements.iter().any(|s| s.number() == number && is_settled(s));
        if !lease.recipients.iter().all(|recipient| is_named(recipient.number)) {
            return Self::Now;
        }
        let retries = settlements.iter().filter_map(|settlement| match settlement {
            Settlement::Done { .. } | Settlement::Reported { .. } | Settlement::Warned { .. } => None,
            Settlement::Retry { due, .. } => Some(*due),
        });
        retries.min().map_or(Self::Nothing, Self::At)
    }
}
