//! The walk over a destination that rests, for what is overdue there.

use rusqlite::Connection;

use super::reader::Reader;
use super::rows;
use super::scan::Handover;
use crate::mail::queue_id::QueueId;
use crate::queue::StoreError;
use crate::queue::entry::OverduePlace;
use crate::queue::schedule::DestinationNumber;
use crate::time::Timestamp;

/// Recipients that one piece of a walk over a destination looks at.
const OVERDUE_ROWS_MAX: usize = 10_000;

impl Reader {
    /// A piece of the walk of [`crate::queue::Store::overdue`]: its leases, and where to go on.
    pub(super) fn overdue(
        &self,
        name: &str,
        (now, arrived_by): (Timestamp, Timestamp),
        after: Option<OverduePlace>,
        limit: usize,
    ) -> Result<(Handover, Option<OverduePlace>), StoreError> {
        let mut handover = Handover::new(Vec::new(), &self.shared);
        let next = self.with(|connection| {
            let Some((number, _)) = rows::destination_named(connection, name)?.filter(|(_, until)| *until > now) else {
                return Ok(None);
            };
            let (mut chosen, mut seen, mut last) = (Vec::new(), 0, None);
            rows::visit_overdue(connection, number, (now, arrived_by), after, |place, is_overdue| {
                if is_overdue && chosen.last() != Some(&place.id) {
                    chosen.push(place.id);
                }
                seen += 1;
                last = Some(place);
                seen < OVERDUE_ROWS_MAX && chosen.len() < limit
            })?;
            let is_cut_off = seen >= OVERDUE_ROWS_MAX || chosen.len() >= limit;
            for id in chosen {
                self.lease_overdue(connection, (number, name), now, id, &mut handover)?;
            }
            Ok(last.filter(|_| is_cut_off))
        })?;
        Ok((handover, next))
    }

    /// Leases it unless a delivery has it, or it has gone meanwhile.
    fn lease_overdue(
        &self,
        connection: &Connection,
        destination: (DestinationNumber, &str),
        now: Timestamp,
        id: QueueId,
        handover: &mut Handover,
    ) -> rusqlite::Result<()> {
        let _one = self.pause_scans();
        if !self.shared.schedule().lease_overdue(id, destination) {
            return Ok(());
        }
        let read = rows::lease(connection, id, destination, now);
        if let Ok(Ok(Some(mut lease))) = read {
            self.shared.mark_unreported(&mut lease);
            handover.extend(vec![(destination.0, lease)]);
            return Ok(());
        }
        self.shared.schedule().abandon(id, destination.1);
        if let Err(id) = read? {
            handover.found_damaged(id);
        }
        Ok(())
    }
}
