//! The queue's side of a session: a message begun, its mail data handed over, its commit.
//!
//! **Bugs** while the queue is asked for a draft, takes mail data or commits, the deadlines of the session do not run: a
//! disk that hangs holds it for [`QUEUE_TIME_MAX`]. A session that has to make room waits for its commit alone.

use std::future::Future;
use std::time::Duration;

use super::driver::{Driver, Flow, Inbound};
use crate::io::milter::Message;
use crate::io::{clock, flow};
use crate::mail::envelope::Envelope;
use crate::mail::queue_id::QueueId;
use crate::observe::log;
use crate::outbound::route;
use crate::outbound::settings::OutboundSettings;
use crate::queue::entry::NewRecipient;
use crate::queue::{Draft, Store, StoreError};
use crate::session::QueueRefusal;
use crate::wire::path::{ForwardPath, ReversePath};

/// Octets of a message in a file of its own that wait to be written.
const PIECE_OCTETS: usize = 64 * 1024;

/// How long the queue may take to begin a message, to take a piece of it, or to commit it; then the answer is 451. Well below
/// the 10 minutes for which a client waits after its final dot (RFC 5321 section 4.5.3.2.6). A commit that is given up may
/// succeed nevertheless: the client was told nothing, tries again, and the message arrives twice.
pub const QUEUE_TIME_MAX: Duration = Duration::from_secs(100);

impl<S: Store> Driver<'_, S> {
    pub(super) async fn open_draft(&mut self) -> Flow {
        if !self.place.hold(1) {
            self.session.handle_draft(Err(QueueRefusal::NoMemory), clock::now());
            return Flow::Continue;
        }
        let begun = in_time(self.inbound.store.begin()).await;
        let answer = match begun {
            Ok(draft) => {
                let id = draft.id();
                (self.draft, self.appended) = (Some(draft), 0);
                self.content = self.new_content();
                Ok(id)
            }
            Err(error) => Err(self.refusal(&error)),
        };
        self.session.handle_draft(answer, clock::now());
        Flow::Continue
    }

    pub(super) async fn append(&mut self, octets: &[u8]) -> Flow {
        if self.content.is_some() {
            return self.keep_for_filters(octets).await;
        }
        self.appended = self.appended.saturating_add(octets.len());
        if let Some(draft) = &mut self.draft
            && let Err(error) = in_time(draft.append(octets)).await
        {
            self.draft = None;
            let refusal = self.refusal(&error);
            self.session.handle_append_failed(refusal, clock::now());
        }
        Flow::Continue
    }

    /// Counts what of the message is in memory; when that is more than it may be, the message goes.
    pub(super) fn weigh_memory(&mut self) {
        let kept_max = usize::try_from(self.inbound.queue.inline_octets_max).unwrap_or(usize::MAX);
        let draft = self
            .draft
            .as_ref()
            .map_or(0, |_| self.appended.min(kept_max.max(PIECE_OCTETS)));
        let content = self.content.as_ref().map_or(0, Message::memory_octets);
        let kept = self.session.mail_data_octets();
        if self.place.hold(kept.saturating_add(draft).saturating_add(content)) {
            return;
        }
        (self.draft, self.content) = (None, None);
        self.session.handle_append_failed(QueueRefusal::NoMemory, clock::now());
        // It holds less than before, which is always granted.
        let _ = self.place.hold(self.session.mail_data_octets());
    }

    pub(super) async fn commit(&mut self, envelope: Envelope) -> Flow {
        let answer = match self.draft.take() {
            Some(draft) => {
                let recipients = recipients(&envelope, &self.inbound.outbound);
                let store = &self.inbound.store;
                let waiting = |recipient: &NewRecipient| store.fresh_waiting_for(&recipient.destination);
                let longest = || recipients.iter().map(waiting).max().unwrap_or_default();
                let slowed = flow::wait_while_behind(longest, self.inbound.queue.in_flow_delay);
                let _ = self.place.told_to_leave.run_until_cancelled(slowed).await;
                in_time(commit(draft, envelope, recipients, &self.inbound)).await
            }
            None => Err(StoreError::Closed),
        };
        let answer = answer.map_err(|error| self.refusal(&error));
        if answer.is_ok() {
            self.inbound.queued.notify_one();
        }
        if self.session.has_unread_octets() {
            // Commands that follow in the same octets come next, unless the session has to make room. Of any others the
            // peer is judged when they come: nothing delays the reply.
            let told_to_leave = self.place.told_to_leave.clone();
            let _ = told_to_leave.run_until_cancelled(self.renew_identity()).await;
        }
        self.session.handle_committed(answer, clock::now());
        Flow::Continue
    }

    pub(super) fn refusal(&self, error: &StoreError) -> QueueRefusal {
        log::queue_refused(&self.session_id, self.peer, error);
        match error {
            StoreError::NoSpace => QueueRefusal::NoSpace,
            StoreError::Io(_) | StoreError::Damaged(_) | StoreError::NotLeased(_) => QueueRefusal::Failed,
            StoreError::Closed => QueueRefusal::Closed,
        }
    }
}

/// The recipients with the destinations that the settings give.
fn recipients(envelope: &Envelope, outbound: &OutboundSettings) -> Vec<NewRecipient> {
    let recipient = |path: &ForwardPath| NewRecipient {
        destination: route::destination(outbound, path),
        forward_path: path.clone(),
    };
    envelope.forward_paths.iter().map(recipient).collect()
}

/// Commits with the lifetime that the settings give.
fn commit<S: Store>(
    draft: S::Draft,
    envelope: Envelope,
    recipients: Vec<NewRecipient>,
    inbound: &Inbound<S>,
) -> impl Future<Output = Result<QueueId, StoreError>> + Send {
    let lifetime = match envelope.reverse_path {
        ReversePath::Null => inbound.queue.bounce_lifetime,
        ReversePath::Mailbox(_) => inbound.queue.lifetime,
    };
    let arrived = clock::timestamp();
    draft.commit(envelope, recipients, arrived, arrived.plus(lifetime))
}

/// What the queue says, or that it says nothing.
pub(super) async fn in_time<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let answer = tokio::time::timeout(QUEUE_TIME_MAX, asked).await;
    let silence = || format!("no answer within {} s", QUEUE_TIME_MAX.as_secs());
    answer.unwrap_or_else(|_elapsed| Err(StoreError::Io(silence())))
}
