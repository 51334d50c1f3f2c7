//! What the store's parts share: the schedule, whether it accepts, its fault, its counters.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::queue::schedule::Schedule;

/// Shared by the handles, the readers and the writer thread.
#[derive(Debug, Default)]
pub(super) struct Shared {
    schedule: Mutex<Schedule>,
    closed: AtomicBool,
    refusal: Mutex<Option<String>>,
    fault: Mutex<Option<String>>,
    groups: AtomicU64,
}

impl Shared {
    /// The schedule; held for moments only, never over a read or a write.
    pub(super) fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether new messages are taken.
    pub(super) fn accepts(&self) -> bool {
        !self.closed.load(Ordering::Acquire)
    }

    /// Takes no new messages from now on.
    pub(super) fn stop_accepting(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Takes no new messages from now on because of a failure; the first reason stays.
    pub(super) fn refuse_mail(&self, why: &str) {
        self.stop_accepting();
        let mut refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        refusal.get_or_insert_with(|| why.to_owned());
    }

    /// Why no new messages are taken, after a failure.
    pub(super) fn refusal(&self) -> Option<String> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What went wrong for good.
    pub(super) fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records what went wrong for good; the first report stays. No new messages are taken any more.
    pub(super) fn set_fault(&self, text: &str) {
        self.stop_accepting();
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        fault.get_or_insert_with(|| text.to_owned());
    }

    /// Transactions committed.
    pub(super) fn groups(&self) -> u64 {
        self.groups.load(Ordering::Relaxed)
    }

    /// Counts a transaction.
    pub(super) fn count_group(&self) {
        self.groups.fetch_add(1, Ordering::Relaxed);
    }
}
