//! `estafette queue`.

use std::io::Write;
use std::process::ExitCode;

use serde_json::json;

use super::args::{QueueArguments, QueueCommand};
use super::configuration::{NO, no_answer, queue_directory};
use crate::admin::request::Request;
use crate::io::{admin_socket, store};
use crate::mail::queue_id::QueueId;
use crate::queue::entry::Entry;

/// Messages read at once; the listing is flat in memory.
const PAGE: usize = 500;

pub(super) async fn run(arguments: &QueueArguments) -> ExitCode {
    let directory = match queue_directory(&arguments.config.config) {
        Ok(directory) => directory,
        Err(code) => return code,
    };
    match arguments.command {
        QueueCommand::List { json } => list(&directory, json),
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
    }
}

/// Lists a running or stopped queue. A reader that goes away ends it quietly.
fn list(directory: &std::path::Path, json: bool) -> ExitCode {
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
                "due": r.due.to_string(),
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
        "recipients": recipients,
    })
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
    for recipient in &entry.recipients {
        text.push_str(&format!("    <{}> due {}", recipient.forward_path, recipient.due));
        if recipient.attempts > 0 {
            let noun = if recipient.attempts == 1 { "attempt" } else { "attempts" };
            let (attempts, reply) = (recipient.attempts, &recipient.last_reply);
            text.push_str(&format!(", {attempts} {noun}, {reply}"));
        }
        text.push('\n');
    }
    text
}
