//! Hold and release as the operator asks for them: done, logged and answered in the same words by the running daemon and
//! by the command on a stopped queue.

use crate::admin::request::{Answer, check_reason};
use crate::io::clock;
use crate::io::store::RELEASES_MAX;
use crate::mail::queue_id::QueueId;
use crate::observe::log;
use crate::queue::Store;

/// Puts a message on hold.
pub async fn hold<S: Store>(store: &S, id: QueueId, reason: &str) -> Answer {
    let reason = match check_reason(reason) {
        Ok(reason) => reason,
        Err(message) => return Answer { done: false, message },
    };
    let held = store.hold(id, &reason).await;
    if held.is_ok() {
        log::message_held(id, &reason);
    }
    answer(held, format!("message {id} is on hold: {reason}"))
}

/// Releases a message; the caller wakes the scheduler.
pub async fn release<S: Store>(store: &S, id: QueueId) -> Answer {
    let released = store.release(id, clock::timestamp()).await;
    if released.is_ok() {
        log::message_released(id);
    }
    answer(
        released,
        format!("message {id} is released, its recipients are due now"),
    )
}

/// Releases every message on hold; the caller wakes the scheduler.
pub async fn release_all<S: Store>(store: &S) -> Answer {
    let mut count = 0;
    let released = loop {
        match store.release_some(clock::timestamp(), RELEASES_MAX).await {
            Ok(released) if released.is_empty() => break Ok(()),
            Ok(released) => {
                count += released.len();
                released.into_iter().for_each(log::message_released);
            }
            Err(error) => break Err(format!("{count} released, then: {error}")),
        }
    };
    let noun = if count == 1 { "message" } else { "messages" };
    answer(released, format!("{count} {noun} released"))
}

fn answer<E: std::fmt::Display>(result: Result<(), E>, done: String) -> Answer {
    match result {
        Ok(()) => Answer {
            done: true,
            message: done,
        },
        Err(error) => Answer {
            done: false,
            message: error.to_string(),
        },
    }
}
