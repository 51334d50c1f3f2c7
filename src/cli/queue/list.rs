//! `estafette queue list`.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use super::arguments::ListArguments;
use super::entries::{End, Queue, to_json, to_text, unreadable};
use super::selection::filter;
use crate::cli::configuration::{NO, WRONG};
use crate::daemon::queue_commands::messages;
use crate::io::clock;

/// Lists a running or stopped queue. A reader that goes away ends it quietly.
pub async fn run(directory: &Path, arguments: &ListArguments) -> ExitCode {
    let filter = match filter(&arguments.filters, clock::timestamp()) {
        Ok(filter) => filter,
        Err(why) => return say(&why, WRONG),
    };
    let queue = match Queue::open(directory).await {
        Ok(queue) => queue,
        Err(why) => return say(&why, NO),
    };
    let limit = arguments.limit.unwrap_or(u64::MAX);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut count = 0;
    let mut is_heard = true;
    let walked = queue.each(|entry, state| {
        if count >= limit {
            return false;
        }
        if !filter.matches(entry, state) {
            return true;
        }
        count += 1;
        let text = if arguments.json {
            format!("{}\n", to_json(entry, state))
        } else {
            to_text(entry, state)
        };
        is_heard = out.write_all(text.as_bytes()).is_ok();
        is_heard
    });
    if let Err(End::Failed(error)) = walked {
        let _ = out.flush();
        return say(&unreadable(directory, &error), NO);
    }
    if is_heard && !arguments.json {
        let _ = writeln!(out, "-- {}", messages(count));
    }
    let _ = out.flush();
    ExitCode::SUCCESS
}

fn say(why: &str, code: u8) -> ExitCode {
    eprintln!("estafette: {why}");
    ExitCode::from(code)
}
