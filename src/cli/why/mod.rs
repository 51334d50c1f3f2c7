//! `estafette why`: finds a recorded decision, of a running relay or a stopped one.
//!
//! **Implements** the search by reference, by queue id and by filters over the decision journal, newest first.
//! **Does not** decide anything anew: `estafette explain` does.

pub(super) mod arguments;
mod filter;
mod text;

use std::collections::HashSet;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;

use arguments::WhyArguments;
use filter::{Filter, Match};

use super::configuration::{NO, WRONG, queue_directory};
use crate::io::clock;
use crate::io::journal::{self, reader};
use crate::mail::queue_id::QueueId;
use crate::observe::decision::{Decision, Kind, VerdictWord};

pub(super) fn run(arguments: &WhyArguments) -> ExitCode {
    let directory = match queue_directory(&arguments.config.config) {
        Ok(directory) => journal::directory(&directory),
        Err(code) => return code,
    };
    let mut printer = Printer::new(arguments);
    let found = if arguments.id.is_empty() {
        match Filter::of(&arguments.filters, clock::timestamp()) {
            Ok(filter) => by_filter(&directory, &filter, &mut printer),
            Err(why) => return wrong(&why),
        }
    } else {
        match Id::of(&arguments.id.join(" ")) {
            Some(Id::Queue(id)) => by_queue_id(&directory, &id, &mut printer),
            Some(Id::Reference(reference)) => by_reference(&directory, &reference, &mut printer),
            None => return wrong("expected a reference such as 6b0538a3.5-1, or a queue id such as 0DPFbTGXVTbDQ"),
        }
    };
    match found {
        Ok(()) if printer.count > 0 => ExitCode::SUCCESS,
        Ok(()) => {
            eprintln!("estafette: nothing found; {}", reach(&directory));
            ExitCode::from(NO)
        }
        // A reader that goes away has seen what it wanted.
        Err(Failure::Output) => ExitCode::SUCCESS,
        Err(Failure::Journal(error)) if error.kind() == io::ErrorKind::NotFound => {
            eprintln!("estafette: nothing found; {}", reach(&directory));
            ExitCode::from(NO)
        }
        Err(Failure::Journal(error)) => {
            let hint = match error.kind() {
                io::ErrorKind::PermissionDenied => "; run this as root or as the relay's user",
                _ => "",
            };
            let directory = directory.display();
            eprintln!("estafette: the journal in {directory} cannot be read: {error}{hint}");
            ExitCode::from(NO)
        }
    }
}

fn wrong(why: &str) -> ExitCode {
    eprintln!("estafette: {why}");
    ExitCode::from(WRONG)
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
enum Id {
    Reference(String),
    Queue(String),
}

impl Id {
    /// The id in what was copied: `[ref X]`, `ref X`, a whole reply that ends so, or X alone.
    fn of(text: &str) -> Option<Self> {
        let tail = text.rsplit_once("ref ").map_or(text, |(_, tail)| tail);
        let is_around = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
        let id = tail.trim_start_matches(is_around).split(is_around).next()?;
        let id = id.trim_end_matches(['.', '-']);
        if id.is_empty() || tail.trim_matches(is_around).contains(' ') {
            return None;
        }
        Some(if QueueId::parse(id).is_some() {
            Self::Queue(id.to_owned())
        } else {
            Self::Reference(id.to_owned())
        })
    }
}

/// Why a search ended before its end.
enum Failure {
    Journal(io::Error),
    /// Nobody reads what is printed.
    Output,
}

/// Prints records as the arguments ask, and counts them.
struct Printer {
    out: io::Stdout,
    json: bool,
    limit: usize,
    count: usize,
}

impl Printer {
    fn new(arguments: &WhyArguments) -> Self {
        Self {
            out: io::stdout(),
            json: arguments.json,
            limit: arguments.limit,
            count: 0,
        }
    }

    /// Prints the line of the journal, or the text.
    fn print(&mut self, line: &str, text: impl FnOnce() -> String) -> Result<(), Failure> {
        self.count += 1;
        let text = if self.json { format!("{line}\n") } else { text() };
        self.out.write_all(text.as_bytes()).map_err(|_gone| Failure::Output)
    }

    fn is_full(&self) -> bool {
        self.limit > 0 && self.count >= self.limit
    }
}

/// Walks the journal until told to stop, newest record first.
fn walk(
    directory: &Path,
    mut step: impl FnMut(&Decision, &str) -> Result<ControlFlow<()>, Failure>,
) -> Result<(), Failure> {
    let mut failure = None;
    let walked = reader::newest_first(directory, |decision, line| match step(&decision, line) {
        Ok(flow) => flow,
        Err(why) => {
            failure = Some(why);
            ControlFlow::Break(())
        }
    });
    match (failure, walked) {
        (Some(why), _) => Err(why),
        (None, Ok(_)) => Ok(()),
        (None, Err(error)) => Err(Failure::Journal(error)),
    }
}

fn by_filter(directory: &Path, filter: &Filter, printer: &mut Printer) -> Result<(), Failure> {
    walk(directory, |decision, line| {
        match filter.matches(decision) {
            Match::TooOld => return Ok(ControlFlow::Break(())),
            Match::No => return Ok(ControlFlow::Continue(())),
            Match::Yes if printer.is_full() => {
                eprintln!("estafette: there is more; raise --limit, or end at an earlier time with --until");
                return Ok(ControlFlow::Break(()));
            }
            Match::Yes => printer.print(line, || text::one_line(decision))?,
        }
        Ok(ControlFlow::Continue(()))
    })
}

fn by_reference(directory: &Path, reference: &str, printer: &mut Printer) -> Result<(), Failure> {
    // The message that a decision let in was queued after it, so it is met before it.
    let mut queued_as = None;
    walk(directory, |decision, line| {
        if decision.references.iter().any(|known| known == reference) {
            queued_as.clone_from(&decision.queue_id);
        }
        if decision.reference.as_deref() != Some(reference) {
            return Ok(ControlFlow::Continue(()));
        }
        printer.print(line, || {
            let mut text = text::whole(decision);
            if let Some(id) = &queued_as {
                text.push_str(&format!("queued as    {id}\n"));
            }
            text
        })?;
        Ok(ControlFlow::Break(()))
    })
}

/// The message, then the decisions on its recipients.
fn by_queue_id(directory: &Path, id: &str, printer: &mut Printer) -> Result<(), Failure> {
    let mut recipients: Option<Recipients> = None;
    walk(directory, |decision, line| {
        if let Some(recipients) = &mut recipients {
            if recipients.take(decision) {
                printer.print(line, || format!("\n{}", text::whole(decision)))?;
            }
        } else if decision.queue_id.as_deref() == Some(id) {
            recipients = Some(Recipients::of(decision));
            printer.print(line, || text::whole(decision))?;
        }
        let is_done = recipients.as_ref().is_some_and(Recipients::is_empty);
        Ok(if is_done {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    })
}

/// The decisions on a message's recipients that are still looked for.
struct Recipients {
    references: HashSet<String>,
    /// By these and the session when the record of the message holds no references, being too long for them.
    forward_paths: HashSet<String>,
    session_id: String,
}

impl Recipients {
    fn of(message: &Decision) -> Self {
        let forward_paths = message.forward_paths.iter().filter(|_| message.references.is_empty());
        Self {
            references: message.references.iter().cloned().collect(),
            forward_paths: forward_paths.cloned().collect(),
            session_id: message.session_id.clone(),
        }
    }

    /// Whether this is one of them.
    fn take(&mut self, decision: &Decision) -> bool {
        let is_named = decision
            .reference
            .as_ref()
            .is_some_and(|own| self.references.remove(own));
        let is_of_session = decision.kind == Kind::Recipient
            && decision.verdict == VerdictWord::Permit
            && decision.session_id == self.session_id;
        let mut own = decision.forward_paths.iter();
        is_named || (is_of_session && own.any(|path| self.forward_paths.remove(path)))
    }

    fn is_empty(&self) -> bool {
        self.references.is_empty() && self.forward_paths.is_empty()
    }
}

/// How far the journal reaches, for somebody who found nothing.
fn reach(directory: &Path) -> String {
    let oldest = reader::oldest(directory);
    let directory = directory.display();
    match oldest {
        Err(error) if error.kind() == io::ErrorKind::NotFound => format!(
            "there is no journal in {directory}: no relay has run with this queue_directory, or \
             decision_journal_size_limit is 0"
        ),
        Err(error) => format!("the journal in {directory} cannot be read: {error}"),
        Ok(None) => format!("the journal in {directory} is empty"),
        Ok(Some(oldest)) => format!(
            "the journal in {directory} reaches back to {} (decision_journal_size_limit); the log may reach further",
            oldest.time
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_found_in_what_people_copy() {
        for text in [
            "6b0538a3.5-1",
            "[ref 6b0538a3.5-1]",
            "ref 6b0538a3.5-1",
            "ref 6b0538a3.5-1].",
            "\"[ref 6b0538a3.5-1]\"",
            "554 5.7.1 <b@example.net>: Relay access denied (your certificate has expired) [ref 6b0538a3.5-1]",
        ] {
            assert_eq!(Id::of(text), Some(Id::Reference("6b0538a3.5-1".into())), "{text}");
        }
        assert_eq!(Id::of(" 0DPFbTGXVTbDQ;"), Some(Id::Queue("0DPFbTGXVTbDQ".into())));
        for text in ["", "[]", "one two"] {
            assert_eq!(Id::of(text), None, "{text}");
        }
    }
}
