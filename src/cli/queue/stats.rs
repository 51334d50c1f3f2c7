//! `estafette queue stats`: the queue as qshape(1) prints it.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::arguments::StatsArguments;
use super::entries::{End, Queue, unreadable};
use super::selection::filter;
use crate::cert::name::{oid_of, short_name};
use crate::cli::configuration::{NO, WRONG};
use crate::cli::terminal::{print, printable};
use crate::io::clock;
use crate::queue::entry::Entry;
use crate::queue::statistics::{BUCKET_MINUTES, Row, Statistics};
use crate::wire::path::{ForwardPath, ReversePath};

/// What is counted.
enum Group {
    Destination,
    RecipientDomain,
    SenderDomain,
    /// An attribute of the subject, by the name that the one-line text has for it.
    Subject(String),
}

impl Group {
    fn of(text: &str) -> Result<Self, String> {
        match text {
            "destination" => Ok(Self::Destination),
            "recipient-domain" => Ok(Self::RecipientDomain),
            "sender-domain" => Ok(Self::SenderDomain),
            _ => match text.strip_prefix("subject-").and_then(oid_of) {
                Some(oid) => Ok(Self::Subject(short_name(oid).to_owned())),
                None => Err(format!(
                    "--by {}: expected destination, recipient-domain, sender-domain or subject-OU",
                    printable(text)
                )),
            },
        }
    }

    fn count(&self, entry: &Entry, mut add: impl FnMut(&str)) {
        match self {
            Self::Destination => entry.recipients.iter().for_each(|r| add(&r.destination)),
            Self::RecipientDomain => entry.recipients.iter().for_each(|r| match &r.forward_path {
                ForwardPath::Postmaster => add("postmaster"),
                ForwardPath::Mailbox(mailbox) => add(&mailbox.host.to_string()),
            }),
            Self::SenderDomain => match &entry.reverse_path {
                ReversePath::Null => add("<>"),
                ReversePath::Mailbox(mailbox) => add(&mailbox.host.to_string()),
            },
            Self::Subject(attribute) => match &entry.submitter.subject {
                None => add("(no certificate)"),
                Some(subject) => {
                    let mut attributes = subject.split(['/', '+']).filter_map(|part| part.split_once('='));
                    let found = attributes.find(|(name, _)| name == attribute);
                    add(found.map_or("(none)", |(_, value)| value));
                }
            },
        }
    }
}

pub async fn run(directory: &Path, arguments: &StatsArguments) -> ExitCode {
    let now = clock::timestamp();
    let read = filter(&arguments.filters, now).and_then(|filter| Ok((filter, Group::of(&arguments.by)?)));
    let (filter, group) = match read {
        Ok(read) => read,
        Err(why) => return say(&why, WRONG),
    };
    let queue = match Queue::open(directory).await {
        Ok(queue) => queue,
        Err(why) => return say(&why, NO),
    };
    let mut statistics = Statistics::default();
    let walked = queue.each(|entry, state| {
        if filter.matches(entry, state) {
            group.count(entry, |name| statistics.add(name, 1, entry.arrived, now));
        }
        true
    });
    if let Err(End::Failed(error)) = walked {
        return say(&unreadable(directory, &error), NO);
    }
    let top = if arguments.top == 0 { usize::MAX } else { arguments.top };
    print(&if arguments.json {
        as_json(&statistics, top)
    } else {
        as_text(&statistics, top)
    });
    ExitCode::SUCCESS
}

fn say(why: &str, code: u8) -> ExitCode {
    eprintln!("estafette: {why}");
    ExitCode::from(code)
}

/// A line for each group, and last one for all of them.
fn as_json(statistics: &Statistics, top: usize) -> String {
    let line = |group: Option<&str>, row: &Row| {
        json!({"group": group, "total": row.total, "minutes": BUCKET_MINUTES, "counts": row.buckets}).to_string() + "\n"
    };
    let rows = statistics
        .rows(top)
        .into_iter()
        .map(|(name, row)| line(Some(name), row));
    rows.collect::<String>() + &line(None, statistics.total())
}

/// The columns of qshape: all, then those younger than so many minutes.
fn as_text(statistics: &Statistics, top: usize) -> String {
    let rows = statistics.rows(top);
    let width = rows
        .iter()
        .map(|(name, _)| printable(name).chars().count())
        .max()
        .unwrap_or(0);
    let width = width.max("TOTAL".len());
    let mut text = format!("{:width$} {:>7}", "", "T");
    for minutes in BUCKET_MINUTES {
        text.push_str(&format!(" {minutes:>6}"));
    }
    text.push_str(&format!(" {:>6}\n", "1280+"));
    let mut line = |name: &str, row: &Row| {
        text.push_str(&format!("{name:>width$} {:>7}", row.total));
        for count in row.buckets {
            text.push_str(&format!(" {count:>6}"));
        }
        text.push('\n');
    };
    line("TOTAL", statistics.total());
    for (name, row) in &rows {
        line(&printable(name), row);
    }
    let hidden = statistics.groups() - rows.len();
    if hidden > 0 {
        text.push_str(&format!("-- {hidden} more groups; --top 0 prints all\n"));
    }
    text
}
