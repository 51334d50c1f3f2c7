//! `estafette check --open-relay`: a table of outsiders against every listener, by the daemon's own judge and chain.
//!
//! **Does not** connect to anything: what a firewall or another program in front of a listener does is not looked at.

pub(super) mod arguments;
mod attempt;
mod der;
mod mention;
mod spoof;
mod surroundings;
mod table;

use std::process::ExitCode;

use attempt::{Found, Target};
use der::Forger;
use surroundings::Surroundings;
use table::Tally;

use super::configuration::{NO, WRONG};
use crate::cert::name::printable;
use crate::config::Settings;
use crate::io::clock;

/// The most lines printed for one listener.
const FOUND_MAX: usize = 20;

/// Tries all, and prints who could relay.
pub(super) fn run(settings: &Settings) -> ExitCode {
    match try_listeners(settings) {
        Ok(tallies) => {
            print!("{}", report(&tallies));
            let is_closed = tallies.iter().all(|tally| tally.found.is_empty());
            ExitCode::from(if is_closed { 0 } else { NO })
        }
        Err(why) => {
            eprintln!("estafette: {why}");
            ExitCode::from(WRONG)
        }
    }
}

fn try_listeners(settings: &Settings) -> Result<Vec<Tally>, String> {
    let forger = Forger::new().map_err(|_| "the system has no randomness for a key".to_owned())?;
    let now_unix_seconds = clock::unix_seconds();
    let try_one = |listener| {
        let target = Target {
            listener,
            surroundings: Surroundings::of(&listener.session.chain),
            now_unix_seconds,
        };
        table::try_all(&target, &forger).map_err(|why| format!("listener {}: {why}", listener.name))
    };
    settings.listeners.iter().map(try_one).collect()
}

fn report(tallies: &[Tally]) -> String {
    let mut text = String::new();
    let mut count = 0;
    for tally in tallies {
        count += tally.found.len();
        for found in tally.found.iter().take(FOUND_MAX) {
            text.push_str(&line(found));
        }
        if tally.found.len() > FOUND_MAX {
            text.push_str(&format!("  and {} more there\n", tally.found.len() - FOUND_MAX));
        }
    }
    let outsiders = tallies.iter().map(|tally| tally.tried).max().unwrap_or_default();
    let listeners = match tallies.len() {
        1 => "1 listener".to_owned(),
        count => format!("{count} listeners"),
    };
    let tried = format!("{outsiders} outsiders × {listeners} tried");
    if count == 0 {
        text.push_str(&format!("nobody outside can relay: {tried}\n"));
    } else {
        let noun = if count == 1 { "outsider" } else { "outsiders" };
        text.push_str(&format!("open relay: {count} {noun} could relay: {tried}\n"));
    }
    text
}

fn line(found: &Found) -> String {
    let because = printable(&found.because);
    format!(
        "listener {}: {}\n  {}\n  permitted by {}: {because}\n",
        found.listener,
        printable(&found.outsider),
        found.attempt,
        printable(&found.decided_by),
    )
}

#[cfg(test)]
mod tests;
