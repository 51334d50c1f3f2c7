//! What deliveries and rests tell the scheduler.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use crate::mail::queue_id::QueueId;
use crate::queue::turns::{Contact, Place};
use crate::time::Timestamp;

/// Something the scheduler has to know. There are as many as leases in hand, a few times.
#[derive(Debug)]
pub enum Event {
    /// A delivery is over; its place is free, though its lease is not settled yet.
    Ended {
        /// Where it was.
        place: Place,
        /// What it found.
        finding: Finding,
    },
    /// A lease is no longer in hand.
    Settled {
        /// Whether the store took what was to be recorded.
        is_stored: bool,
    },
    /// A delivery ended without a word: it panicked. Its lease is still held.
    Lost {
        /// The message.
        id: QueueId,
        /// Where it was to go.
        destination: Arc<str>,
    },
    /// The rest of a destination is written down, or could not be.
    Rested {
        /// The destination.
        destination: Arc<str>,
        /// Why it rests; absent when that could not be written down.
        because: Option<String>,
    },
    /// The rest of a destination is over: a probe has reached it.
    Resumed,
}

/// What a delivery found at its destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Somebody answered.
    Reached {
        /// Whether the destination was only being probed, and rests no longer.
        is_probe: bool,
    },
    /// Nobody did.
    Unreached {
        /// Until when the destination is to rest, should this be all that is known of it.
        until: Timestamp,
        /// Why.
        reply: String,
    },
    /// The delivery did not get so far.
    Nothing,
}

impl Finding {
    /// For the places of the destination.
    pub const fn contact(&self) -> Contact {
        match self {
            Self::Reached { .. } => Contact::Reached,
            Self::Unreached { .. } => Contact::Unreached,
            Self::Nothing => Contact::Unknown,
        }
    }
}

/// A lease in hand and the place of its delivery. Dropped, however that comes about, both are given back.
#[derive(Debug)]
pub struct InHand {
    id: QueueId,
    destination: Arc<str>,
    place: Option<Place>,
    is_settled: bool,
    events: UnboundedSender<Event>,
}

impl InHand {
    /// Of a delivery that begins.
    pub fn new(id: QueueId, place: Place, events: UnboundedSender<Event>) -> Self {
        Self {
            id,
            destination: Arc::clone(&place.destination),
            place: Some(place),
            is_settled: false,
            events,
        }
    }

    /// The delivery is over: another may begin at the destination while this one is settled.
    pub fn ended(&mut self, finding: Finding) {
        if let Some(place) = self.place.take() {
            // Nobody listens any more once the scheduler has stopped.
            let _ = self.events.send(Event::Ended { place, finding });
        }
    }

    /// The lease is settled; when that failed, the store keeps it and tries again.
    pub fn settled(mut self, is_stored: bool) {
        self.is_settled = true;
        let _ = self.events.send(Event::Settled { is_stored });
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.ended(Finding::Nothing);
        if !self.is_settled {
            let (id, destination) = (self.id, Arc::clone(&self.destination));
            let _ = self.events.send(Event::Lost { id, destination });
        }
    }
}
