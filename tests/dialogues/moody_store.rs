//! The embedded store, refusing when a dialogue's `queue MODE` says so, as a full or broken disk would make it.
//!
//! **Does not** keep anything itself: what it does not refuse, the real store does.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use estafette::io::store::SqliteStore;
use estafette::mail::envelope::Envelope;
use estafette::mail::queue_id::QueueId;
use estafette::queue::entry::{
    Entry, Lease, NewRecipient, Notification, Overdue, OverduePlace, PastAttempt, Settlement,
};
use estafette::queue::{Draft, HoldError, Store, StoreError};
use estafette::time::Timestamp;

/// What the queue is to answer, and what it did.
#[derive(Debug, Default)]
struct Mood {
    mode: String,
    /// Refusals since the mode was set.
    refusals: usize,
    open_drafts: usize,
}

/// A store with moods.
#[derive(Clone)]
pub(crate) struct MoodyStore<S = SqliteStore> {
    store: S,
    mood: Arc<Mutex<Mood>>,
}

impl<S> MoodyStore<S> {
    /// In a good mood.
    pub(crate) fn new(store: S) -> Self {
        Self {
            store,
            mood: Arc::default(),
        }
    }

    /// `queue MODE`.
    pub(crate) fn set_mode(&self, mode: &str) {
        with(&self.mood, |mood| {
            mode.clone_into(&mut mood.mode);
            mood.refusals = 0;
        });
    }

    /// Whether the mode asks for no refusal, or one was given.
    pub(crate) fn has_had_its_way(&self) -> bool {
        with(&self.mood, |mood| {
            mood.refusals > 0 || matches!(mood.mode.as_str(), "" | "ok") || mood.mode.starts_with("room ")
        })
    }

    /// Drafts neither committed nor dropped.
    pub(crate) fn open_drafts(&self) -> usize {
        with(&self.mood, |mood| mood.open_drafts)
    }
}

fn with<T>(mood: &Mutex<Mood>, look: impl FnOnce(&mut Mood) -> T) -> T {
    look(&mut mood.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Refuses when the mode is the stage's (`append-`) with the word for a refusal (`full`).
fn consult(mood: &Mutex<Mood>, stage: &str) -> Result<(), StoreError> {
    with(mood, |mood| {
        let refusal = match mood.mode.strip_prefix(stage) {
            Some("full") => StoreError::NoSpace,
            Some("failed") => StoreError::Io("said the dialogue".into()),
            Some("closed") => StoreError::Closed,
            _ => return Ok(()),
        };
        mood.refusals += 1;
        Err(refusal)
    })
}

impl<S: Store> Store for MoodyStore<S> {
    type Draft = MoodyDraft<S::Draft>;

    async fn begin(&self) -> Result<MoodyDraft<S::Draft>, StoreError> {
        consult(&self.mood, "draft-")?;
        let draft = self.store.begin().await?;
        with(&self.mood, |mood| mood.open_drafts += 1);
        let open = Open(Arc::clone(&self.mood));
        Ok(MoodyDraft { draft, open })
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Lease>, StoreError> {
        self.store.due(now, limit).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        self.store.next_due().await
    }

    async fn data(&self, id: QueueId, offset: u64, limit: usize) -> Result<Bytes, StoreError> {
        self.store.data(id, offset, limit).await
    }

    fn relayed(&self, lease: &Lease, numbers: &[u32]) -> Result<(), StoreError> {
        self.store.relayed(lease, numbers)
    }

    async fn overdue(
        &self,
        destination: &str,
        now: Timestamp,
        arrived_by: Timestamp,
        after: Option<OverduePlace>,
        limit: usize,
    ) -> Result<Overdue, StoreError> {
        self.store.overdue(destination, now, arrived_by, after, limit).await
    }

    async fn history(&self, id: QueueId) -> Result<Vec<PastAttempt>, StoreError> {
        self.store.history(id).await
    }

    fn fresh_waiting(&self) -> usize {
        self.store.fresh_waiting()
    }

    fn fresh_waiting_for(&self, destination: &str) -> usize {
        self.store.fresh_waiting_for(destination)
    }

    fn abandon(&self, id: QueueId, destination: &str) {
        self.store.abandon(id, destination);
    }

    fn relayed_unreported(&self, lease: &Lease, numbers: &[u32]) -> Result<(), StoreError> {
        self.store.relayed_unreported(lease, numbers)
    }

    fn new_id(&self) -> QueueId {
        self.store.new_id()
    }

    async fn report(
        &self,
        lease: Lease,
        settlements: Vec<Settlement>,
        notifications: Vec<Notification>,
    ) -> Result<(), StoreError> {
        self.store.report(lease, settlements, notifications).await
    }

    async fn list(&self, after: Option<QueueId>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.store.list(after, limit).await
    }

    async fn back_off(&self, destination: &str, until: Timestamp, reply: &str) -> Result<(), StoreError> {
        self.store.back_off(destination, until, reply).await
    }

    fn room_octets(&self) -> u64 {
        let room = |mood: &mut Mood| Some(mood.mode.strip_prefix("room ")?.parse().expect("a number"));
        if let Some(octets) = with(&self.mood, room) {
            return octets;
        }
        consult(&self.mood, "").map_or(0, |()| self.store.room_octets())
    }

    async fn flush(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.store.flush(now).await
    }

    async fn hold(&self, id: QueueId, reason: &str) -> Result<(), HoldError> {
        self.store.hold(id, reason).await
    }

    async fn release(&self, id: QueueId, now: Timestamp) -> Result<(), HoldError> {
        self.store.release(id, now).await
    }

    async fn release_some(&self, now: Timestamp, limit: usize) -> Result<Vec<QueueId>, StoreError> {
        self.store.release_some(now, limit).await
    }
}

/// A draft of the real store.
pub(crate) struct MoodyDraft<D> {
    draft: D,
    open: Open,
}

/// Counts itself out.
struct Open(Arc<Mutex<Mood>>);

impl Drop for Open {
    fn drop(&mut self) {
        with(&self.0, |mood| mood.open_drafts -= 1);
    }
}

impl<D: Draft> Draft for MoodyDraft<D> {
    fn id(&self) -> QueueId {
        self.draft.id()
    }

    async fn append(&mut self, octets: &[u8]) -> Result<(), StoreError> {
        consult(&self.open.0, "append-")?;
        self.draft.append(octets).await
    }

    async fn commit(
        self,
        envelope: Envelope,
        recipients: Vec<NewRecipient>,
        arrived: Timestamp,
        expires: Timestamp,
    ) -> Result<QueueId, StoreError> {
        consult(&self.open.0, "commit-")?;
        if with(&self.open.0, |mood| mood.mode == "commit-hangs") {
            // As a disk that does not come back.
            std::future::pending::<()>().await;
        }
        self.draft.commit(envelope, recipients, arrived, expires).await
    }
}
