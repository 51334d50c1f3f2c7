//! What the store's parts share: the schedule, whether it accepts and delivers, its fault, done.log, its counters.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::done_log::{Done, DoneLog};
use super::operation::Operation;
use crate::mail::queue_id::QueueId;
use crate::queue::entry::{Lease, Settlement};
use crate::queue::schedule::Schedule;

/// Shared by the handles, the readers and the writer thread.
#[derive(Debug)]
pub(super) struct Shared {
    schedule: Mutex<Schedule>,
    done_log: Mutex<DoneLog>,
    /// To be written with the next group: what has no caller that could wait.
    owed: Mutex<Vec<Operation>>,
    closed: AtomicBool,
    /// Completions cannot be committed: nothing more is given out.
    halted: AtomicBool,
    refusal: Mutex<Option<String>>,
    fault: Mutex<Option<String>>,
    groups: AtomicU64,
    open_drafts: AtomicUsize,
}

impl Shared {
    pub(super) fn new(done_log: DoneLog) -> Self {
        Self {
            schedule: Mutex::default(),
            done_log: Mutex::new(done_log),
            owed: Mutex::default(),
            closed: AtomicBool::new(false),
            halted: AtomicBool::new(false),
            refusal: Mutex::default(),
            fault: Mutex::default(),
            groups: AtomicU64::new(0),
            open_drafts: AtomicUsize::new(0),
        }
    }

    /// The schedule; held for moments only, never over a read or a write.
    pub(super) fn schedule(&self) -> MutexGuard<'_, Schedule> {
        lock(&self.schedule)
    }

    /// The log of recipients that are done; held over one write at most.
    pub(super) fn done_log(&self) -> MutexGuard<'_, DoneLog> {
        lock(&self.done_log)
    }

    /// Recipients that the next hop has taken are done, whatever else was to become of them; but what is still to be reported
    /// is as it is named.
    pub(super) fn add_relayed(
        &self,
        id: QueueId,
        numbers: impl Iterator<Item = u32>,
        settlements: &mut Vec<Settlement>,
    ) {
        let log = self.done_log();
        if log.is_empty() {
            return;
        }
        for number in numbers.filter(|number| log.is_open((id, *number)) && !log.is_unreported((id, *number))) {
            settlements.retain(|settlement| settlement.number() != number);
            settlements.push(Settlement::Done { number });
        }
    }

    /// Says of the recipients of a lease which are only to be reported.
    pub(super) fn mark_unreported(&self, lease: &mut Lease) {
        let log = self.done_log();
        for recipient in &mut lease.recipients {
            recipient.unreported = log.is_unreported((lease.id, recipient.number));
        }
    }

    /// The recipients of a message that the next hop has taken, and of which nobody has to be told.
    pub(super) fn relayed_of(&self, id: QueueId) -> Vec<u32> {
        self.done_log().open_of(id)
    }

    /// These are committed.
    pub(super) fn forget_done(&self, done: impl Iterator<Item = Done>) -> io::Result<()> {
        self.done_log().committed(done)
    }

    /// Leaves an operation for the next group.
    pub(super) fn owe(&self, operation: Operation) {
        lock(&self.owed).push(operation);
    }

    /// What was left for the next group.
    pub(super) fn take_owed(&self) -> Vec<Operation> {
        std::mem::take(&mut *lock(&self.owed))
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
        lock(&self.refusal).get_or_insert_with(|| why.to_owned());
    }

    /// Why no new messages are taken, after a failure.
    pub(super) fn refusal(&self) -> Option<String> {
        lock(&self.refusal).clone()
    }

    /// Whether deliveries may begin: what becomes of them can be committed.
    pub(super) fn delivers(&self) -> bool {
        !self.halted.load(Ordering::Acquire)
    }

    /// Lets deliveries begin, or not.
    pub(super) fn set_halted(&self, halted: bool) {
        self.halted.store(halted, Ordering::Release);
    }

    /// What went wrong for good.
    pub(super) fn fault(&self) -> Option<String> {
        lock(&self.fault).clone()
    }

    /// Records what went wrong for good; the first report stays. Nothing more is taken or delivered.
    pub(super) fn set_fault(&self, text: &str) {
        self.stop_accepting();
        self.set_halted(true);
        lock(&self.fault).get_or_insert_with(|| text.to_owned());
    }

    /// Messages on their way in, whose commit is not yet asked for.
    pub(super) fn open_drafts(&self) -> usize {
        self.open_drafts.load(Ordering::Relaxed)
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

/// A message on its way in, counted while this lives.
#[derive(Debug)]
pub(super) struct OpenDraft(Arc<Shared>);

impl OpenDraft {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        shared.open_drafts.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for OpenDraft {
    fn drop(&mut self) {
        self.0.open_drafts.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
