//! How an operator's changes are written within the group's transaction.
//!
//! **Does not** ask whether they are allowed: `operator` does, before.

use rusqlite::params;

use super::group::Group;
use super::schema::NEVER;
use crate::mail::queue_id::QueueId;
use crate::queue::operator::Change;
use crate::queue::schedule::DestinationNumber;
use crate::time::Timestamp;

impl Group<'_> {
    pub(super) fn change(&mut self, id: QueueId, change: &Change, now: Timestamp) -> rusqlite::Result<()> {
        match change {
            Change::Flush => self.hasten(id, now),
            Change::Hold(reason) => self.hold(id, reason, false),
            Change::Release => self.release(id, now),
            Change::Requeue(destinations) => {
                for (number, destination) in destinations {
                    self.reroute(id, *number, destination)?;
                }
                self.hasten(id, now)
            }
            Change::Delete => self.discard(id),
        }
    }

    fn reroute(&mut self, id: QueueId, number: u32, destination: &str) -> rusqlite::Result<()> {
        let destination = self.destination(destination)?;
        self.transaction
            .prepare_cached(
                "UPDATE recipient SET destination = ?3 WHERE message = ?1 AND n = ?2 AND destination <> ?3",
            )?
            .execute(params![id.number(), number, destination])
            .map(drop)
    }

    /// Its recipients are due, but for held ones, and their destinations are tried again.
    fn hasten(&mut self, id: QueueId, now: Timestamp) -> rusqlite::Result<()> {
        let destinations: Vec<DestinationNumber> = self
            .transaction
            .prepare_cached(
                "UPDATE recipient SET due = min(due, ?2) WHERE message = ?1 AND state = 0 RETURNING destination",
            )?
            .query_map(params![id.number(), now.0.min(NEVER - 1)], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for destination in destinations {
            self.transaction
                .prepare_cached("UPDATE destination SET next_try = 0 WHERE id = ? AND next_try > 0")?
                .execute([destination])?;
            self.effects.opened.push(destination);
        }
        Ok(())
    }
}
