//! What a verification tells.

use std::fmt;

use crate::mail::queue_id::QueueId;

/// Something that is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing it is, one word for programs: `orphan`, `data`, `database`, `recipient`, `message`, `files`,
    /// `ballast`, `done_log`.
    pub kind: &'static str,
    /// The message it is about.
    pub id: Option<QueueId>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl Finding {
    pub(super) fn new(kind: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            kind,
            id: None,
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    pub(super) fn of(id: QueueId, kind: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            id: Some(id),
            ..Self::new(kind, what, remedy)
        }
    }

    pub(super) fn database(what: &str) -> Self {
        let remedy = "stop the relay, keep a copy of the directory, and restore it or bring queue.db over with sqlite3's .recover";
        Self::new("database", format!("the database: {what}"), remedy)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(id) = self.id {
            write!(f, "message {id}: ")?;
        }
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

/// What is told while it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Something is wrong.
    Finding(Finding),
    /// Nothing is wrong, but it should be known.
    Note(String),
}

/// Whether a daemon had the queue while it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A daemon runs on it.
    Running,
    /// None does, and none could start meanwhile.
    Stopped,
    /// None ever did.
    Missing,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Messages.
    pub messages: u64,
    /// Recipients.
    pub recipients: u64,
    /// Data files.
    pub files: u64,
    /// Octets of mail data whose checksum was computed.
    pub octets: u64,
}
