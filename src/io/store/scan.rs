//! Look-ups of what is due in the store.
//!
//! **Does not** hand out what waits in memory: the schedule does, without a look-up.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use super::reader::Reader;
use super::rows;
use super::schema::NEVER;
use super::shared::Shared;
use crate::mail::queue_id::QueueId;
use crate::queue::StoreError;
use crate::queue::entry::Lease;
use crate::queue::next::Next;
use crate::queue::rounds::SenderKey;
use crate::queue::schedule::{DestinationNumber, Ready};
use crate::time::Timestamp;

/// Of what is due at a destination, the messages that came due first and may be chosen from, besides those that are leased.
const FIRST_DUE: usize = 64;
/// And the rows that came due last: a sender that has just come finds its turn there, however much others have waiting.
const LAST_DUE: usize = 32;

/// What a scan found.
#[derive(Debug, Default)]
struct Found {
    leases: Vec<(DestinationNumber, Lease)>,
    damaged: Vec<QueueId>,
}

/// Leases on their way to the caller; if the caller has gone, they end.
#[derive(Debug)]
pub(super) struct Handover {
    found: Found,
    shared: Arc<Shared>,
}

impl Handover {
    /// Leases that were taken from memory.
    pub(super) fn new(leases: Vec<(DestinationNumber, Lease)>, shared: &Arc<Shared>) -> Self {
        let found = Found {
            leases,
            damaged: Vec::new(),
        };
        let shared = Arc::clone(shared);
        Self { found, shared }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.found.leases.len()
    }

    /// Adds what another one has.
    pub(super) fn append(&mut self, mut other: Self) {
        self.found.leases.append(&mut other.found.leases);
    }

    /// Adds leases that were taken from memory.
    pub(super) fn extend(&mut self, leases: Vec<(DestinationNumber, Lease)>) {
        self.found.leases.extend(leases);
    }

    /// Adds a message whose envelope cannot be read.
    pub(super) fn found_damaged(&mut self, id: QueueId) {
        self.found.damaged.push(id);
    }

    /// Messages whose envelope cannot be read.
    pub(super) fn damaged(&self) -> &[QueueId] {
        &self.found.damaged
    }

    /// The caller has them now.
    pub(super) fn take(mut self) -> Vec<Lease> {
        let leases = std::mem::take(&mut self.found.leases);
        leases.into_iter().map(|(_, lease)| lease).collect()
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        if self.found.leases.is_empty() {
            return;
        }
        let mut schedule = self.shared.schedule();
        for (destination, lease) in &self.found.leases {
            schedule.release(lease.id, *destination, false, Next::Now);
        }
    }
}

/// Ends the bracket around look-ups, however they end.
struct Scan<'a>(&'a Shared);

impl Drop for Scan<'_> {
    fn drop(&mut self) {
        self.0.schedule().end_scan();
    }
}

impl Reader {
    /// Leases what is due, fairly over destinations.
    pub(super) fn due(&self, now: Timestamp, limit: usize) -> Result<Handover, StoreError> {
        let _one = self.pause_scans();
        let mut handover = Handover::new(Vec::new(), &self.shared);
        let found = &mut handover.found;
        self.with(|connection| {
            let turns = {
                let mut schedule = self.shared.schedule();
                schedule.begin_scan();
                schedule.first_ready().map_or(0, |(_, count)| count) + limit
            };
            let _scan = Scan(&self.shared);
            for _ in 0..turns {
                let left = limit.saturating_sub(found.leases.len());
                let Some((ready, count)) = self.shared.schedule().first_ready().filter(|_| left > 0) else {
                    break;
                };
                let share = left.div_ceil(count).max(1);
                self.serve(connection, ready, now, share, found)?;
            }
            Ok(())
        })?;
        Ok(handover)
    }

    /// Leases up to `share` messages of one destination.
    fn serve(
        &self,
        connection: &Connection,
        ready: Ready,
        now: Timestamp,
        share: usize,
        found: &mut Found,
    ) -> rusqlite::Result<()> {
        let number = ready.destination;
        let share = {
            let mut schedule = self.shared.schedule();
            let room = schedule.room(number);
            if room == 0 {
                schedule.wait_for_room(ready);
                return Ok(());
            }
            share.min(room)
        };
        let Some(name) = rows::destination(connection, number)? else {
            self.shared.schedule().wait(ready, None);
            return Ok(());
        };
        let candidates = self.candidates(connection, number, now, share)?;
        let is_exhausted = candidates.len() < share;
        let chosen = self.shared.schedule().choose(ready, candidates, share);
        for id in chosen {
            match rows::lease(connection, id, (number, &name), now)? {
                Ok(Some(mut lease)) => {
                    let standing = self.shared.schedule().lease(id, (number, &name));
                    lease.is_probe = standing.is_probe;
                    lease.failures = standing.failures;
                    self.shared.mark_unreported(&mut lease);
                    found.leases.push((number, lease));
                }
                Ok(None) => {}
                Err(id) => found.damaged.push(id),
            }
        }
        self.shared.schedule().served(ready);
        if is_exhausted {
            // What is due by now was looked at: what of it cannot be read is about to be held.
            let next = self.first_unleased(connection, number, now)?;
            let next = next.map(|next| next.max(now.plus(Duration::from_millis(1))));
            self.shared.schedule().wait(ready, next);
        }
        Ok(())
    }

    /// What is due at a destination and not leased, with whose turn it takes: what came due first, and what came due last. All
    /// there is when that is less than `share`.
    fn candidates(
        &self,
        connection: &Connection,
        number: DestinationNumber,
        now: Timestamp,
        share: usize,
    ) -> rusqlite::Result<Vec<(SenderKey, QueueId)>> {
        let mut chosen: Vec<QueueId> = Vec::new();
        let room = share.max(FIRST_DUE);
        let mut is_all = true;
        rows::visit_waiting(connection, number, (Timestamp(i64::MIN), now), |_, id| {
            if chosen.len() == room {
                is_all = false;
            } else if !chosen.contains(&id) && !self.shared.schedule().is_leased(id, number) {
                chosen.push(id);
            }
            is_all
        })?;
        if !is_all {
            let mut latest = Vec::new();
            rows::visit_latest(connection, number, now, LAST_DUE, |id| {
                if !chosen.contains(&id) && !latest.contains(&id) && !self.shared.schedule().is_leased(id, number) {
                    latest.push(id);
                }
            })?;
            chosen.extend(latest.into_iter().rev());
        }
        let with_sender = |id| rows::sender(connection, id).map(|sender| (sender, id));
        chosen.into_iter().map(with_sender).collect()
    }

    /// When the first unleased recipient at a destination is due that is due after `after`.
    fn first_unleased(
        &self,
        connection: &Connection,
        number: DestinationNumber,
        after: Timestamp,
    ) -> rusqlite::Result<Option<Timestamp>> {
        let mut first = None;
        rows::visit_waiting(connection, number, (after, Timestamp(NEVER)), |due, id| {
            if !self.shared.schedule().is_leased(id, number) {
                first = Some(due);
            }
            first.is_none()
        })?;
        Ok(first)
    }

    /// When the next unleased recipient is due; when several are due already, when one of them was.
    pub(super) fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let _one = self.pause_scans();
        self.with(|connection| {
            let turns = {
                let mut schedule = self.shared.schedule();
                schedule.begin_scan();
                schedule.first_ready().map_or(0, |(_, count)| count)
            };
            let _scan = Scan(&self.shared);
            let mut earliest: Option<Timestamp> = None;
            for _ in 0..turns {
                let Some((ready, _)) = self.shared.schedule().first_ready() else {
                    break;
                };
                {
                    let mut schedule = self.shared.schedule();
                    if schedule.room(ready.destination) == 0 {
                        schedule.wait_for_room(ready);
                        continue;
                    }
                }
                let next = self.first_unleased(connection, ready.destination, Timestamp(i64::MIN))?;
                let mut schedule = self.shared.schedule();
                schedule.served(ready);
                schedule.wait(ready, next);
                earliest = [earliest, next].into_iter().flatten().min();
                if earliest.is_some_and(|due| due <= schedule.now()) {
                    break;
                }
            }
            let schedule = self.shared.schedule();
            let known = [earliest, schedule.first_waiting(), schedule.first_fresh()];
            Ok(known.into_iter().flatten().min())
        })
    }
}
