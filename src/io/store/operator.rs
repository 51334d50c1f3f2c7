//! What an operator does to queued messages: looked at and written while nothing can be leased.
//!
//! **Implements** [`crate::queue::operator::Operator`].

use std::collections::BTreeSet;

use rusqlite::Connection;
use tokio::task::spawn_blocking;

use super::SqliteStore;
use super::hold::Holder;
use super::operation::Operation;
use super::rows;
use crate::mail::queue_id::QueueId;
use crate::queue::entry::{Lease, LeasedRecipient};
use crate::queue::operator::{Change, Operator};
use crate::queue::schedule::DestinationNumber;
use crate::queue::{HoldError, StoreError};
use crate::time::Timestamp;
use crate::wire::path::ReversePath;

impl Operator for SqliteStore {
    /// Cancel-safe: given up, it is carried out nevertheless.
    async fn change(&self, changes: Vec<(QueueId, Change)>, now: Timestamp) -> Vec<Result<(), HoldError>> {
        let count = changes.len();
        let store = self.clone();
        let done = spawn_blocking(move || store.holder().change(changes, now)).await;
        done.unwrap_or_else(|_| vec![Err(StoreError::Closed.into()); count])
    }

    async fn claim(&self, id: QueueId) -> Result<Vec<Lease>, HoldError> {
        let store = self.clone();
        let claimed = spawn_blocking(move || store.holder().claim(id)).await;
        claimed.unwrap_or(Err(StoreError::Closed.into()))
    }

    fn leased(&self) -> Vec<QueueId> {
        self.inner.shared.schedule().messages_out()
    }
}

impl SqliteStore {
    fn holder(&self) -> Holder<'_> {
        Holder {
            reader: &self.inner.reader,
            writer: self.inner.writer.queue.clone(),
        }
    }
}

impl Holder<'_> {
    fn change(&self, changes: Vec<(QueueId, Change)>, now: Timestamp) -> Vec<Result<(), HoldError>> {
        let _nothing_is_leased = self.reader.pause_scans();
        let allowed: Vec<Result<(), HoldError>> = changes.iter().map(|(id, change)| self.may(*id, change)).collect();
        let changes: Vec<(QueueId, Change)> = changes
            .into_iter()
            .zip(&allowed)
            .filter(|(_, allowed)| allowed.is_ok())
            .map(|(change, _)| change)
            .collect();
        if changes.is_empty() {
            return allowed;
        }
        let written = self.write(|reply| Operation::Changes { changes, now, reply });
        let result = |allowed: Result<(), HoldError>| allowed.and_then(|()| Ok(written.clone()?));
        allowed.into_iter().map(result).collect()
    }

    fn may(&self, id: QueueId, change: &Change) -> Result<(), HoldError> {
        match change {
            Change::Flush => self.message(id).map(drop),
            Change::Hold(_) => self.may_hold(id),
            Change::Release => self.may_release(id),
            Change::Requeue(_) | Change::Delete => self.unleased(id).map(drop),
        }
    }

    fn unleased(&self, id: QueueId) -> Result<rows::Message, HoldError> {
        let message = self.message(id)?;
        if self.reader.is_leased(id) {
            return Err(HoldError::Leased(id));
        }
        Ok(message)
    }

    fn claim(&self, id: QueueId) -> Result<Vec<Lease>, HoldError> {
        let _nothing_is_leased = self.reader.pause_scans();
        let message = self.unleased(id)?;
        let mut leases = self.reader.with(|connection| leases(connection, &message))?;
        for (_, lease) in &mut leases {
            self.reader.shared.mark_unreported(lease);
        }
        self.reader.lease_all(&leases);
        Ok(leases.into_iter().map(|(_, lease)| lease).collect())
    }
}

/// All recipients of a message whose path can be read, by destination. A reverse-path that cannot be read is nobody's.
fn leases(connection: &Connection, message: &rows::Message) -> rusqlite::Result<Vec<(DestinationNumber, Lease)>> {
    let recipients = rows::recipients(connection, message.id)?;
    let destinations: BTreeSet<&str> = recipients.iter().map(|r| r.destination.as_str()).collect();
    let leases = destinations.into_iter().map(|destination| Lease {
        id: message.id,
        destination: destination.to_owned(),
        reverse_path: message.reverse_path.clone().unwrap_or(ReversePath::Null),
        body: message.body,
        size_octets: message.size_octets,
        arrived: message.arrived,
        expires: message.expires,
        submitter: message.submitter.clone(),
        demands: message.demands.clone(),
        recipients: recipients
            .iter()
            .filter(|recipient| recipient.destination == destination)
            .map(|recipient| LeasedRecipient {
                number: recipient.number,
                forward_path: recipient.forward_path.clone(),
                request: recipient.request.clone(),
                attempts: recipient.attempts,
                warned: false,
                unreported: false,
            })
            .collect(),
        is_probe: false,
        failures: 0,
    });
    let mut numbered = Vec::new();
    for lease in leases {
        if let Some((number, _)) = rows::destination_named(connection, &lease.destination)? {
            numbered.push((number, lease));
        }
    }
    Ok(numbered)
}
