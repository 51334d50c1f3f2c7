//! What becomes of a group that could not be committed.

use super::operation::{Content, Operation};
use crate::queue::StoreError;

/// New messages, and everything else.
pub(super) fn split_new(group: Vec<Operation>) -> (Vec<Operation>, Vec<Operation>) {
    group
        .into_iter()
        .partition(|operation| matches!(operation, Operation::Enqueue(_)))
}

/// What queues messages, new ones or what a sender is told, and everything else.
pub(super) fn split_telling(group: Vec<Operation>) -> (Vec<Operation>, Vec<Operation>) {
    group
        .into_iter()
        .partition(|operation| !operation.new_messages().is_empty())
}

/// Tells the callers, and returns what has to be written nevertheless.
pub(super) fn refuse(group: Vec<Operation>, error: &StoreError) -> Vec<Operation> {
    let mut owed = Vec::new();
    for operation in group {
        // A caller that has gone away needs no answer.
        match operation {
            Operation::Enqueue(new) => {
                let file = match new.content {
                    Content::File(file) => Some(file),
                    Content::Inline(_) => None,
                };
                if let Some(reply) = new.reply {
                    let _ = reply.send(Err(error.clone()));
                }
                owed.push(Operation::Discard { id: new.id, file });
            }
            Operation::Settle {
                id,
                destination,
                others,
                settlements,
                notifications,
                next,
                is_whole,
                reply,
            } => {
                if let Some(reply) = reply {
                    let _ = reply.send(Err(error.clone()));
                }
                owed.push(Operation::Settle {
                    id,
                    destination,
                    others,
                    settlements,
                    notifications,
                    next,
                    is_whole,
                    reply: None,
                });
            }
            Operation::BackOff { reply, .. }
            | Operation::Changes { reply, .. }
            | Operation::Hold { reply, .. }
            | Operation::Release { reply, .. } => {
                let _ = reply.send(Err(error.clone()));
            }
            Operation::Flush { reply, .. } => {
                let _ = reply.send(Err(error.clone()));
            }
            Operation::Replay(_) | Operation::Discard { .. } | Operation::HoldDamaged { .. } => owed.push(operation),
            Operation::Close | Operation::Maintain => {}
        }
    }
    owed
}

pub(super) fn keep_file(operation: Operation) {
    if let Operation::Discard { file: Some(file), .. } = operation {
        file.keep();
    }
}
