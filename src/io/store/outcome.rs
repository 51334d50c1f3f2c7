//! What a committed group changes besides the database: leases, rests, mail in memory, and what its callers are told.
//!
//! New messages are leased before their commit, while no look-up can see them, and wait in memory after it.

use std::iter::Peekable;

use bytes::Bytes;

use super::operation::{Arrival, Content, Effects, Enqueue, Operation, Reply};
use super::shared::Shared;
use crate::queue::entry::{Lease, LeasedRecipient, NewRecipient};
use crate::queue::next::Next;
use crate::queue::schedule::Schedule;

/// An answer that is ready to be sent.
enum Answer {
    Done(Reply<()>),
    Moved(Reply<usize>, usize),
}

/// The group is about to be committed: from then on look-ups see what is new, and must see it leased.
pub(super) fn arrive(shared: &Shared, group: &[Operation], arrivals: &[Arrival]) {
    let mut schedule = shared.schedule();
    let mut arrivals = arrivals.iter().peekable();
    for new in group.iter().flat_map(Operation::new_messages) {
        while let Some(arrival) = arrivals.next_if(|arrival| arrival.id == new.id) {
            let first = arrival
                .recipients
                .first()
                .and_then(|place| new.recipients.get(*place as usize));
            let name = first.map_or("", |recipient| recipient.destination.as_str());
            schedule.arrive(arrival.id, (arrival.destination, name));
        }
    }
}

/// The group was rolled back: what is new never existed.
pub(super) fn depart(shared: &Shared, arrivals: Vec<Arrival>) {
    let mut schedule = shared.schedule();
    for arrival in arrivals {
        schedule.release(arrival.id, arrival.destination, false, Next::Nothing);
    }
}

/// The group is durable: its leases end, its new messages may be delivered, its callers are told.
pub(super) fn carry_out(shared: &Shared, group: Vec<Operation>, effects: Effects) {
    let mut answers = Vec::with_capacity(group.len());
    {
        let mut schedule = shared.schedule();
        let mut arrivals = effects.arrivals.into_iter().peekable();
        let mut rests = effects.rests.into_iter();
        let mut flushed = effects.flushed.into_iter();
        for operation in group {
            match operation {
                Operation::Enqueue(new) => {
                    answers.extend(admit(&mut schedule, *new, &mut arrivals).map(Answer::Done));
                }
                Operation::Settle {
                    id,
                    destination,
                    others,
                    settlements,
                    notifications,
                    next,
                    reply,
                    ..
                } => {
                    schedule.release(id, destination, !settlements.is_empty(), next);
                    schedule.release_others(id, &others);
                    for new in notifications {
                        admit(&mut schedule, new, &mut arrivals);
                    }
                    answers.extend(reply.map(Answer::Done));
                }
                Operation::BackOff { reply, .. } => {
                    if let Some((destination, until, failures)) = rests.next() {
                        schedule.back_off(destination, until, failures);
                    }
                    answers.push(Answer::Done(reply));
                }
                Operation::Flush { reply, .. } => {
                    schedule.open_all();
                    answers.push(Answer::Moved(reply, flushed.next().unwrap_or_default()));
                }
                Operation::Hold { reply, .. } | Operation::Release { reply, .. } | Operation::Changes { reply, .. } => {
                    answers.push(Answer::Done(reply));
                }
                Operation::Discard { id, .. } => schedule.release_arriving(id),
                Operation::Replay(_) | Operation::HoldDamaged { .. } | Operation::Maintain | Operation::Close => {}
            }
        }
        for destination in effects.woken {
            schedule.wake(destination);
        }
        for destination in effects.opened {
            schedule.open(destination);
        }
    }
    for answer in answers {
        // A caller that has gone away needs no answer.
        match answer {
            Answer::Done(reply) => drop(reply.send(Ok(()))),
            Answer::Moved(reply, moved) => drop(reply.send(Ok(moved))),
        }
    }
}

/// A new message waits in memory for its first delivery, where it may.
fn admit(
    schedule: &mut Schedule,
    new: Enqueue,
    arrivals: &mut Peekable<impl Iterator<Item = Arrival>>,
) -> Option<Reply<()>> {
    let arrivals: Vec<Arrival> = std::iter::from_fn(|| arrivals.next_if(|arrival| arrival.id == new.id)).collect();
    let data = match &new.content {
        Content::Inline(octets) => Some(octets.clone()),
        Content::File(_) => None,
    };
    let data_octets = data.as_ref().map_or(0, Bytes::len);
    let mut envelope = Some(new.envelope);
    let requests = envelope
        .as_mut()
        .map(|envelope| std::mem::take(&mut envelope.demands.recipients));
    let mut requests = requests.unwrap_or_default();
    let mut recipients: Vec<Option<NewRecipient>> = new.recipients.into_iter().map(Some).collect();
    let count = arrivals.len();
    for (place, arrival) in (1..).zip(arrivals) {
        if !schedule.accepts_fresh(arrival.destination, data_octets, arrival.recipients.len()) {
            schedule.release(arrival.id, arrival.destination, false, Next::Now);
            continue;
        }
        // The last one has it for itself.
        let its_own = if place == count {
            envelope.take()
        } else {
            envelope.clone()
        };
        let Some(envelope) = its_own else { break };
        let mut destination = String::new();
        let mut leased = Vec::with_capacity(arrival.recipients.len());
        for number in arrival.recipients {
            if let Some(recipient) = recipients.get_mut(number as usize).and_then(Option::take) {
                destination = recipient.destination;
                leased.push(LeasedRecipient {
                    number,
                    forward_path: recipient.forward_path,
                    request: requests
                        .get_mut(number as usize)
                        .map(std::mem::take)
                        .unwrap_or_default(),
                    attempts: 0,
                    warned: false,
                    unreported: false,
                });
            }
        }
        let lease = Lease {
            id: new.id,
            destination,
            reverse_path: envelope.reverse_path,
            body: envelope.body,
            size_octets: new.size_octets,
            arrived: new.arrived,
            expires: new.expires,
            submitter: envelope.submitter,
            demands: envelope.demands,
            recipients: leased,
            is_probe: false,
            failures: 0,
        };
        schedule.admit(arrival.destination, lease, data.clone(), count == 1);
    }
    if let Content::File(file) = new.content {
        file.keep();
    }
    new.reply
}
