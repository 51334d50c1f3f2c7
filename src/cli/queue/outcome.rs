//! What became of the messages that a command changed, message by message, and the counts.

use std::io::Write;
use std::process::ExitCode;

use serde_json::json;

use crate::admin::order::{Action, Progress};
use crate::admin::request::Answer;
use crate::cli::configuration::NO;
use crate::cli::terminal::printable;
use crate::daemon::queue_commands::messages;

pub struct Printer {
    word: &'static str,
    json: bool,
    done: u64,
    refused: u64,
    /// What stopped the whole.
    failure: Option<String>,
}

impl Printer {
    pub fn new(action: &Action, json: bool) -> Self {
        Self {
            word: action.done(),
            json,
            done: 0,
            refused: 0,
            failure: None,
        }
    }

    /// Prints one; says whether anybody still reads.
    pub fn tell(&mut self, progress: &Progress) -> bool {
        let text = printable(&progress.message);
        if progress.done {
            self.done += 1;
        } else {
            self.refused += 1;
        }
        let mut out = std::io::stdout().lock();
        if self.json {
            let id = progress.queue_id.to_string();
            let value = json!({"queue_id": id, "done": progress.done, "message": progress.message});
            return writeln!(out, "{value}").is_ok();
        }
        if progress.done {
            return writeln!(out, "{text}").is_ok();
        }
        eprintln!("estafette: {text}");
        true
    }

    pub fn answered(&mut self, answer: &Answer) {
        // What single messages were refused for is printed already.
        if !answer.done && (self.refused == 0 || answer.message.contains(", then: ")) {
            self.failure = Some(answer.message.clone());
        }
    }

    /// Prints the counts.
    pub fn finish(self) -> ExitCode {
        let is_done = self.refused == 0 && self.failure.is_none();
        if self.json {
            let value =
                json!({"action": self.word, "done": self.done, "refused": self.refused, "failure": self.failure});
            println!("{value}");
        } else if let Some(failure) = &self.failure {
            eprintln!("estafette: {}", printable(failure));
        } else {
            let not = if self.refused > 0 {
                format!(", {} not", self.refused)
            } else {
                String::new()
            };
            println!("{} {}{not}", messages(self.done), self.word);
        }
        ExitCode::from(if is_done { 0 } else { NO })
    }
}
