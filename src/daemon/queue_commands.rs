//! What an operator orders of queued messages: chosen, carried out, logged and told in the same words by the running daemon
//! and by the command on a stopped queue.
//!
//! The queue is walked page by page, so that memory is flat, and changed some messages at a time, so that deliveries go on.
//!
//! **Does not** wake the scheduler: the caller does.

use std::collections::HashSet;

use tokio::sync::mpsc;

pub use super::queue_bounce::Means;
use super::queue_bounce::bounce;
use crate::admin::order::{Action, Order, Progress, Selection, check_reason};
use crate::admin::request::Answer;
use crate::io::clock;
use crate::mail::queue_id::QueueId;
use crate::observe::log;
use crate::outbound::route;
use crate::queue::entry::Entry;
use crate::queue::filter::{Filter, State};
use crate::queue::operator::{CHANGES_MAX, Change, Operator};
use crate::queue::{HoldError, StoreError};

/// Messages read at once.
const PAGE: usize = 500;

/// How many messages it was done to, and how many not.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    done: u64,
    refused: u64,
}

/// Why it ended early.
enum End {
    /// Whoever ordered it no longer listens.
    Unheard,
    Failed(String),
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Carries out an order. `told` gets one [`Progress`] for each message; when its other end is closed, nothing more is begun.
pub async fn carry_out<S: Operator>(means: &Means<'_, S>, order: &Order, told: mpsc::Sender<Progress>) -> Answer {
    let mut work = Work {
        means,
        action: &order.action,
        told,
        count: Count::default(),
    };
    let ended = match check_order(means, &order.action) {
        Ok(()) => match &order.selection {
            Selection::Ids(ids) => work.by_ids(ids).await,
            Selection::Filter(filter) => work.by_filter(filter, order.expected).await,
        },
        Err(why) => Err(End::Failed(why)),
    };
    let Count { done, refused } = work.count;
    let mut message = format!("{} {}", messages(done), order.action.done());
    if refused > 0 {
        message.push_str(&format!(", {refused} not"));
    }
    match ended {
        Ok(()) => Answer {
            done: refused == 0,
            message,
        },
        Err(End::Unheard) => Answer { done: false, message },
        Err(End::Failed(why)) => Answer {
            done: false,
            message: if done + refused == 0 {
                why
            } else {
                format!("{message}, then: {why}")
            },
        },
    }
}

/// A count with its noun.
pub fn messages(count: u64) -> String {
    format!("{count} {}", if count == 1 { "message" } else { "messages" })
}

fn check_order<S>(means: &Means<'_, S>, action: &Action) -> Result<(), String> {
    match action {
        Action::Hold { reason } => check_reason(reason).map(drop),
        Action::Bounce { reason } if means.outbound.is_some() => check_reason(reason).map(drop),
        Action::Requeue if means.outbound.is_some() => Ok(()),
        Action::Requeue | Action::Bounce { .. } => Err("this needs the configuration".into()),
        Action::Flush | Action::Release | Action::Delete => Ok(()),
    }
}

/// A message, if it is queued.
async fn entry<S: Operator>(store: &S, id: QueueId) -> Result<Option<Entry>, StoreError> {
    let before = id.number().checked_sub(1).and_then(QueueId::from_number);
    let page = store.list(before, 1).await?;
    Ok(page.into_iter().find(|entry| entry.id == id))
}

struct Work<'a, S> {
    means: &'a Means<'a, S>,
    action: &'a Action,
    told: mpsc::Sender<Progress>,
    count: Count,
}

impl<S: Operator> Work<'_, S> {
    async fn by_ids(&mut self, ids: &[QueueId]) -> Result<(), End> {
        for some in ids.chunks(CHANGES_MAX) {
            let mut entries = Vec::new();
            let mut seen = HashSet::new();
            for id in some.iter().filter(|id| seen.insert(**id)) {
                match entry(self.means.store, *id).await? {
                    Some(entry) => entries.push(entry),
                    None => self.tell(*id, Err(HoldError::Unknown(*id).to_string())).await?,
                }
            }
            self.act(&entries).await?;
        }
        Ok(())
    }

    /// Walks the queue twice: first nothing is done but counted. What comes in after that is not meant.
    async fn by_filter(&mut self, filter: &Filter, expected: Option<u64>) -> Result<(), End> {
        let (mut meant, mut last, mut after) = (0, None, None);
        while let Some((chosen, next)) = self.page(filter, after).await? {
            meant += chosen.len() as u64;
            last = chosen.last().map(|entry| entry.id).or(last);
            after = Some(next);
        }
        if let Some(expected) = expected.filter(|expected| *expected != meant) {
            let why = format!("{} meant now, not {expected}: nothing was done", messages(meant));
            return Err(End::Failed(why));
        }
        let mut after = None;
        while let Some((mut chosen, next)) = self.page(filter, after).await? {
            chosen.retain(|entry| last.is_some_and(|last| entry.id <= last));
            for some in chosen.chunks(CHANGES_MAX) {
                self.act(some).await?;
            }
            if last.is_none_or(|last| next >= last) {
                break;
            }
            after = Some(next);
        }
        Ok(())
    }

    /// What is meant of the next page, and where the page ends; absent behind the last.
    async fn page(&self, filter: &Filter, after: Option<QueueId>) -> Result<Option<(Vec<Entry>, QueueId)>, End> {
        let page = self.means.store.list(after, PAGE).await?;
        let Some(next) = page.last().map(|entry| entry.id) else {
            return Ok(None);
        };
        let leased: HashSet<QueueId> = self.means.store.leased().into_iter().collect();
        let is_meant = |entry: &Entry| {
            let state = State::of(entry, leased.contains(&entry.id));
            Selection::is_for(self.action, state) && filter.matches(entry, state)
        };
        Ok(Some((page.into_iter().filter(is_meant).collect(), next)))
    }

    async fn act(&mut self, entries: &[Entry]) -> Result<(), End> {
        if let Action::Bounce { reason } = self.action {
            for entry in entries {
                let bounced = bounce(self.means, entry, reason).await;
                self.tell(entry.id, bounced).await?;
            }
            return Ok(());
        }
        let changes = entries.iter().map(|entry| (entry.id, self.change(entry)));
        let results = self.means.store.change(changes.collect(), clock::timestamp()).await;
        for (entry, result) in entries.iter().zip(results) {
            if result.is_ok() {
                self.log(entry);
            }
            let told = result.map(|()| self.words(entry)).map_err(|error| error.to_string());
            self.tell(entry.id, told).await?;
        }
        Ok(())
    }

    fn change(&self, entry: &Entry) -> Change {
        match (self.action, self.means.outbound) {
            (Action::Hold { reason }, _) => Change::Hold(reason.clone()),
            (Action::Release, _) => Change::Release,
            (Action::Delete, _) => Change::Delete,
            (Action::Requeue, Some(settings)) => {
                let recipients = entry.recipients.iter();
                let routed = recipients.map(|r| (r.number, route::destination(settings, &r.forward_path)));
                Change::Requeue(routed.collect())
            }
            (Action::Flush | Action::Requeue | Action::Bounce { .. }, _) => Change::Flush,
        }
    }

    fn log(&self, entry: &Entry) {
        match self.action {
            Action::Hold { reason } => log::message_held(entry.id, reason),
            Action::Release => log::message_released(entry.id),
            Action::Requeue => log::message_requeued(entry.id),
            Action::Delete => log::message_deleted(entry),
            Action::Flush | Action::Bounce { .. } => {}
        }
    }

    fn words(&self, entry: &Entry) -> String {
        let id = entry.id;
        match (self.action, &entry.hold) {
            (Action::Hold { reason }, _) => format!("message {id} is on hold: {reason}"),
            (Action::Release, _) => format!("message {id} is released, its recipients are due now"),
            (Action::Requeue, Some(reason)) => format!("message {id} is requeued, and still on hold: {reason}"),
            (Action::Requeue, None) => format!("message {id} is requeued, its recipients are due now"),
            (Action::Delete, _) => format!("message {id} is deleted: {}", envelope(entry)),
            (_, Some(reason)) => format!("message {id} stays on hold: {reason}"),
            (_, None) => format!("message {id} is due now"),
        }
    }

    async fn tell(&mut self, queue_id: QueueId, result: Result<String, String>) -> Result<(), End> {
        match &result {
            Ok(_) => self.count.done += 1,
            Err(_) => self.count.refused += 1,
        }
        let done = result.is_ok();
        let (Ok(message) | Err(message)) = result;
        let progress = Progress {
            queue_id,
            done,
            message,
        };
        self.told.send(progress).await.map_err(|_| End::Unheard)
    }
}

/// Who, to whom, and with which certificate, for one who asks later.
fn envelope(entry: &Entry) -> String {
    let mut recipients: Vec<String> = entry
        .recipients
        .iter()
        .map(|r| format!("<{}>", r.forward_path))
        .collect();
    let count = recipients.len();
    recipients.truncate(10);
    let more = if count > 10 {
        format!(" and {} more", count - 10)
    } else {
        String::new()
    };
    let by = entry.submitter.subject.as_ref().unwrap_or(&entry.submitter.identity);
    let (from, octets) = (&entry.reverse_path, entry.size_octets);
    format!("<{from}> to {}{more}, {octets} octets, by {by}", recipients.join(", "))
}
