//! `estafette queue`.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::args::{QueueArguments, QueueCommand};
use super::configuration::{NO, no_answer, queue_directory};
use crate::admin::request::{Answer, Request};
use crate::daemon::hold;
use crate::io::store::{self, OpenError, SqliteStore};
use crate::io::{admin_socket, clock};
use crate::mail::queue_id::QueueId;
use crate::queue::entry::{Entry, EntryRecipient, NEVER};

/// Messages read at once; the listing is flat in memory.
const PAGE: usize = 500;

pub(super) async fn run(arguments: &QueueArguments) -> ExitCode {
    let directory = match queue_directory(&arguments.config.config) {
        Ok(directory) => directory,
        Err(code) => return code,
    };
    match &arguments.command {
        QueueCommand::List { json } => list(&directory, *json),
        QueueCommand::Flush => match admin_socket::ask(&directory, Request::Flush).await {
            Ok(answer) => {
                println!("{}", answer.message);
                ExitCode::from(if answer.done { 0 } else { NO })
            }
            Err(error) => {
                eprintln!("{}", no_answer(&directory, &error));
                ExitCode::from(NO)
            }
        },
        QueueCommand::Hold { ids, reason } => {
            let hold = |id: &QueueId| Request::Hold {
                id: *id,
                reason: reason.clone(),
            };
            change(&directory, ids.iter().map(hold).collect()).await
        }
        QueueCommand::Release { all: true, .. } => change(&directory, vec![Request::ReleaseAll]).await,
        QueueCommand::Release { ids, .. } => {
            let release = |id: &QueueId| Request::Release { id: *id };
            change(&directory, ids.iter().map(release).collect()).await
        }
    }
}

/// Holds or releases, message by message: by the running relay, or directly when it is stopped.
async fn change(directory: &Path, requests: Vec<Request>) -> ExitCode {
    let mut stopped = None;
    let mut code = ExitCode::SUCCESS;
    for request in requests {
        let answer = match &stopped {
            Some(store) => answer_stopped(store, request).await,
            None => match admin_socket::ask(directory, request.clone()).await {
                Ok(answer) => answer,
                Err(error) if is_nobody_there(&error) => match open_stopped(directory) {
                    Ok(store) => answer_stopped(stopped.insert(store), request).await,
                    Err(code) => return code,
                },
                Err(error) => {
                    eprintln!("{}", no_answer(directory, &error));
                    return ExitCode::from(NO);
                }
            },
        };
        if answer.done {
            println!("{}", answer.message);
        } else {
            eprintln!("estafette: {}", answer.message);
            code = ExitCode::from(NO);
        }
    }
    code
}

fn is_nobody_there(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}

fn open_stopped(directory: &Path) -> Result<SqliteStore, ExitCode> {
    let place = directory.display();
    let why = match SqliteStore::open_stopped(directory, clock::timestamp) {
        Ok(Some(store)) => {
            for warning in store.warnings() {
                eprintln!("estafette: {warning}");
            }
            return Ok(store);
        }
        Ok(None) => format!("there is no queue in {place}"),
        Err(OpenError::Owner { owner, .. }) => {
            format!("the queue in {place} belongs to uid {owner}: run this as that user")
        }
        Err(OpenError::Locked { pid, .. }) => {
            format!("process {pid} has the queue in {place} but does not answer: it is starting or stopping, try again")
        }
        Err(error) => format!("the queue in {place} cannot be changed: {error}"),
    };
    eprintln!("estafette: {why}");
    Err(ExitCode::from(NO))
}

/// What the daemon would answer.
async fn answer_stopped(store: &SqliteStore, request: Request) -> Answer {
    match request {
        Request::Hold { id, reason } => hold::hold(store, id, &reason).await,
        Request::Release { id } => hold::release(store, id).await,
        Request::ReleaseAll => hold::release_all(store).await,
        Request::Reload | Request::Flush | Request::Metrics => Answer {
            done: false,
            message: "only a running relay can do this".into(),
        },
    }
}

/// Lists a running or stopped queue. A reader that goes away ends it quietly.
fn list(directory: &Path, json: bool) -> ExitCode {
    // A wrong queue_directory must not look like an empty queue.
    if let Err(error) = std::fs::read_dir(directory) {
        let directory = directory.display();
        eprintln!("estafette: the queue in {directory} cannot be read: {error}");
        return ExitCode::from(NO);
    }
    let mut out = std::io::stdout().lock();
    let mut after: Option<QueueId> = None;
    let mut count = 0_usize;
    loop {
        let page = match store::list_directory(directory, after, PAGE) {
            Ok(page) => page,
            Err(error) => {
                eprintln!(
                    "estafette: the queue in {} cannot be read: {error}",
                    directory.display()
                );
                return ExitCode::from(NO);
            }
        };
        for entry in &page {
            let text = if json {
                format!("{}\n", to_json(entry))
            } else {
                to_text(entry)
            };
            if out.write_all(text.as_bytes()).is_err() {
                return ExitCode::SUCCESS;
            }
        }
        count += page.len();
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.id),
            _ => break,
        }
    }
    if !json {
        let noun = if count == 1 { "message" } else { "messages" };
        let _ = writeln!(out, "-- {count} {noun}");
    }
    ExitCode::SUCCESS
}

fn to_json(entry: &Entry) -> serde_json::Value {
    let recipients: Vec<_> = entry
        .recipients
        .iter()
        .map(|r| {
            json!({
                "forward_path": r.forward_path.to_string(),
                "destination": r.destination,
                "due": due(r),
                "attempts": r.attempts,
                "last_reply": r.last_reply,
            })
        })
        .collect();
    json!({
        "queue_id": entry.id.to_string(),
        "arrived": entry.arrived.to_string(),
        "expires": entry.expires.to_string(),
        "size_octets": entry.size_octets,
        "reverse_path": entry.reverse_path.to_string(),
        "identity": entry.submitter.identity,
        "issuer": entry.submitter.issuer,
        "subject": entry.submitter.subject,
        "peer": entry.submitter.peer.map(|peer| peer.to_string()),
        "decided_by": entry.submitter.decided_by,
        "hold": entry.hold,
        "recipients": recipients,
    })
}

/// When a recipient is due; absent when it is held.
fn due(recipient: &EntryRecipient) -> Option<String> {
    (recipient.due < NEVER).then(|| recipient.due.to_string())
}

fn to_text(entry: &Entry) -> String {
    let mut text = format!(
        "{} {} {:>9} <{}>",
        entry.id, entry.arrived, entry.size_octets, entry.reverse_path
    );
    if let Some(subject) = &entry.submitter.subject {
        text.push_str(&format!("  {subject}"));
    }
    text.push('\n');
    if let Some(reason) = &entry.hold {
        text.push_str(&format!("    on hold: {reason}\n"));
    }
    for recipient in &entry.recipients {
        let due = due(recipient).map_or_else(|| String::from("not due"), |due| format!("due {due}"));
        text.push_str(&format!("    <{}> {due}", recipient.forward_path));
        if recipient.attempts > 0 {
            let noun = if recipient.attempts == 1 { "attempt" } else { "attempts" };
            let (attempts, reply) = (recipient.attempts, &recipient.last_reply);
            text.push_str(&format!(", {attempts} {noun}, {reply}"));
        }
        text.push('\n');
    }
    text
}
