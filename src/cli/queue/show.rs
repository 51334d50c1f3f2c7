//! `estafette queue show`.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::arguments::ShowArguments;
use super::entries::{Queue, due, no_data, to_json, unreadable};
use crate::cli::configuration::NO;
use crate::cli::terminal::{print, printable};
use crate::queue::entry::{Entry, PastAttempt};
use crate::queue::filter::State;

/// Octets in which the header is looked for.
const HEADER_OCTETS_MAX: u64 = 256 * 1024;

pub async fn run(directory: &Path, arguments: &ShowArguments) -> ExitCode {
    match show(directory, arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("estafette: {why}");
            ExitCode::from(NO)
        }
    }
}

async fn show(directory: &Path, arguments: &ShowArguments) -> Result<(), String> {
    let id = arguments.id;
    let queue = Queue::open(directory).await?;
    let failed = |error| unreadable(directory, &error);
    let entry = queue.inspector.entry(id).map_err(failed)?;
    let entry = entry.ok_or_else(|| format!("no message {id} is queued"))?;
    if arguments.body {
        let copied = queue.inspector.copy_data(id, u64::MAX, &mut std::io::stdout().lock());
        // A reader that goes away has seen what it wanted.
        return match copied {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(no_data(id, &error)),
            _ => Ok(()),
        };
    }
    let history = queue
        .inspector
        .history(id)
        .map_err(|error| unreadable(directory, &error))?;
    let mut start = Vec::new();
    let read = queue.inspector.copy_data(id, HEADER_OCTETS_MAX, &mut start);
    let header = match &read {
        Ok(()) => Ok(header(&start)),
        Err(error) => Err(no_data(id, error)),
    };
    let state = queue.state(&entry);
    if arguments.json {
        println!("{}", as_json(&entry, state, &history, header.as_deref().ok()));
    } else {
        print(&as_text(&entry, state, &history, header.as_deref().unwrap_or_default()));
    }
    header.map(drop)
}

/// Up to the empty line, without it.
fn header(start: &[u8]) -> String {
    let end = memchr::memmem::find(start, b"\r\n\r\n").map_or(start.len(), |at| at + 2);
    String::from_utf8_lossy(&start[..end]).replace("\r\n", "\n")
}

fn as_json(entry: &Entry, state: State, history: &[PastAttempt], header: Option<&str>) -> serde_json::Value {
    let attempts: Vec<_> = history
        .iter()
        .map(|attempt| json!({"number": attempt.number, "at": attempt.at.to_string(), "reply": attempt.reply}))
        .collect();
    let mut value = to_json(entry, state);
    value["history"] = json!(attempts);
    value["header"] = json!(header);
    value
}

fn as_text(entry: &Entry, state: State, history: &[PastAttempt], header: &str) -> String {
    let submitter = &entry.submitter;
    let none = || String::from("none");
    let mut text = String::new();
    for (name, value) in [
        ("queue id", entry.id.to_string()),
        ("state", state.word().into()),
        ("arrived", entry.arrived.to_string()),
        ("expires", entry.expires.to_string()),
        ("size", format!("{} octets", entry.size_octets)),
        ("sender", format!("<{}>", entry.reverse_path)),
        ("identity", printable(&submitter.identity)),
        ("issuer", submitter.issuer.as_deref().map_or_else(none, printable)),
        ("subject", submitter.subject.as_deref().map_or_else(none, printable)),
        (
            "fingerprint",
            submitter.fingerprint.as_deref().map_or_else(none, printable),
        ),
        ("peer", submitter.peer.map_or_else(none, |peer| peer.to_string())),
        ("session", printable(&submitter.session_id)),
        ("decided by", printable(&submitter.decided_by)),
    ] {
        text.push_str(&format!("{name:<12} {value}\n"));
    }
    for (name, value) in demands(entry) {
        text.push_str(&format!("{name:<12} {value}\n"));
    }
    if let Some(reason) = &entry.hold {
        text.push_str(&format!("{:<12} {}\n", "on hold", printable(reason)));
    }
    for recipient in &entry.recipients {
        let due = due(recipient).unwrap_or_else(|| "never, it is held".into());
        text.push_str(&format!("\n{:<12} <{}>\n", "recipient", recipient.forward_path));
        text.push_str(&format!(
            "{:<12} {}\n",
            "destination",
            printable(&recipient.destination)
        ));
        text.push_str(&format!(
            "{:<12} {due}\n{:<12} {}\n",
            "due", "attempts", recipient.attempts
        ));
        let request = &recipient.request;
        if let Some(notify) = request.notify {
            text.push_str(&format!("{:<12} {notify}\n", "notify"));
        }
        if let Some(original) = &request.original_recipient {
            text.push_str(&format!("{:<12} {}\n", "orcpt", printable(original)));
        }
        for attempt in history.iter().filter(|attempt| attempt.number == recipient.number) {
            text.push_str(&format!("  {} {}\n", attempt.at, printable(&attempt.reply)));
        }
    }
    text.push('\n');
    for line in header.lines() {
        text.push_str(&printable(line));
        text.push('\n');
    }
    text
}

/// What the client asked for, and how it proved who it is; only what it did.
fn demands(entry: &Entry) -> Vec<(&'static str, String)> {
    let demands = &entry.demands;
    let words = [(demands.smtputf8, "SMTPUTF8"), (demands.require_tls, "REQUIRETLS")];
    let asked: Vec<&str> = words
        .into_iter()
        .filter(|(is_asked, _)| *is_asked)
        .map(|(_, word)| word)
        .collect();
    let lines = [
        ("login", entry.submitter.login.as_deref().map(printable)),
        ("demands", (!asked.is_empty()).then(|| asked.join(" "))),
        ("ret", demands.dsn.ret.map(|ret| ret.to_string())),
        ("envid", demands.dsn.envelope_id.as_deref().map(printable)),
    ];
    lines
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}
