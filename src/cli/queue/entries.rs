//! Queued messages as text and as JSON, and the walk over them.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use crate::admin::request::Request;
use crate::cli::terminal::printable;
use crate::io::admin_socket;
use crate::io::store::OpenError;
use crate::io::store::inspect::Inspector;
use crate::mail::queue_id::QueueId;
use crate::queue::entry::{Entry, EntryRecipient, NEVER};
use crate::queue::filter::State;

/// Messages read at once; the walk is flat in memory.
const PAGE: usize = 500;

/// The queue, and what the running relay has under delivery.
pub struct Queue {
    pub inspector: Inspector,
    leased: HashSet<QueueId>,
}

/// Why a walk ended early.
pub enum End {
    /// The visitor has seen what it wanted, or its reader has gone.
    Enough,
    Failed(OpenError),
}

impl Queue {
    /// Opens it; says in words what is wrong.
    pub async fn open(directory: &Path) -> Result<Self, String> {
        // A wrong queue_directory must not look like an empty queue.
        std::fs::read_dir(directory).map_err(|error| unreadable(directory, &error))?;
        let inspector = Inspector::open(directory).map_err(|error| unreadable(directory, &error))?;
        let mut leased = HashSet::new();
        // Without a running relay nothing is under delivery.
        let _ = admin_socket::ask_each(directory, Request::Delivering, |progress| {
            leased.insert(progress.queue_id)
        })
        .await;
        Ok(Self { inspector, leased })
    }

    pub fn state(&self, entry: &Entry) -> State {
        State::of(entry, self.leased.contains(&entry.id))
    }

    /// Visits every message, oldest first, until the visitor says no.
    pub fn each(&self, mut visit: impl FnMut(&Entry, State) -> bool) -> Result<(), End> {
        let mut after = None;
        loop {
            let page = self.inspector.page(after, PAGE).map_err(End::Failed)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            if !page.iter().all(|entry| visit(entry, self.state(entry))) {
                return Err(End::Enough);
            }
        }
    }
}

pub fn unreadable(directory: &Path, error: &dyn std::fmt::Display) -> String {
    format!("the queue in {} cannot be read: {error}", directory.display())
}

/// What to write for an error of reading a message's data.
pub fn no_data(id: QueueId, error: &io::Error) -> String {
    format!("the data of message {id} cannot be read: {error}; estafette queue verify looks at all of it")
}

pub fn to_json(entry: &Entry, state: State) -> Value {
    let recipients: Vec<_> = entry.recipients.iter().map(recipient_to_json).collect();
    json!({
        "queue_id": entry.id.to_string(),
        "state": state.word(),
        "arrived": entry.arrived.to_string(),
        "expires": entry.expires.to_string(),
        "size_octets": entry.size_octets,
        "reverse_path": entry.reverse_path.to_string(),
        "session_id": entry.submitter.session_id,
        "identity": entry.submitter.identity,
        "issuer": entry.submitter.issuer,
        "subject": entry.submitter.subject,
        "fingerprint": entry.submitter.fingerprint,
        "peer": entry.submitter.peer.map(|peer| peer.to_string()),
        "decided_by": entry.submitter.decided_by,
        "login": entry.submitter.login,
        "smtputf8": entry.demands.smtputf8,
        "require_tls": entry.demands.require_tls,
        "dsn_ret": entry.demands.dsn.ret.map(|ret| ret.to_string()),
        "dsn_envid": entry.demands.dsn.envelope_id,
        "hold": entry.hold,
        "recipients": recipients,
    })
}

fn recipient_to_json(recipient: &EntryRecipient) -> Value {
    json!({
        "number": recipient.number,
        "forward_path": recipient.forward_path.to_string(),
        "destination": recipient.destination,
        "due": due(recipient),
        "attempts": recipient.attempts,
        "last_reply": recipient.last_reply,
        "dsn_notify": recipient.request.notify.map(|notify| notify.to_string()),
        "dsn_orcpt": recipient.request.original_recipient,
    })
}

/// When a recipient is due; absent when it is held.
pub fn due(recipient: &EntryRecipient) -> Option<String> {
    (recipient.due < NEVER).then(|| recipient.due.to_string())
}

/// One line: id, `*` under delivery or `!` on hold, arrival, octets, sender, certificate.
pub fn head(entry: &Entry, state: State) -> String {
    let mark = match state {
        State::Delivering => "*",
        State::Hold | State::Damaged => "!",
        State::Waiting | State::Deferred => "",
    };
    let mut text = format!(
        "{}{mark} {} {:>9} <{}>",
        entry.id, entry.arrived, entry.size_octets, entry.reverse_path
    );
    if let Some(subject) = &entry.submitter.subject {
        text.push_str(&format!("  {}", printable(subject)));
    }
    text.push('\n');
    text
}

pub fn to_text(entry: &Entry, state: State) -> String {
    let mut text = head(entry, state);
    if let Some(reason) = &entry.hold {
        text.push_str(&format!("    on hold: {}\n", printable(reason)));
    }
    for recipient in &entry.recipients {
        let due = due(recipient).map_or_else(|| String::from("not due"), |due| format!("due {due}"));
        text.push_str(&format!("    <{}> {due}", recipient.forward_path));
        if recipient.attempts > 0 {
            let noun = if recipient.attempts == 1 { "attempt" } else { "attempts" };
            let (attempts, reply) = (recipient.attempts, printable(&recipient.last_reply));
            text.push_str(&format!(", {attempts} {noun}, {reply}"));
        }
        text.push('\n');
    }
    text
}
