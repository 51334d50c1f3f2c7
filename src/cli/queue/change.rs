//! The commands that change queued messages: by the running relay, or directly on the queue of a stopped one.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use tokio::sync::mpsc;

use super::arguments::ChangeArguments;
use super::entries::{End, Queue, head, to_json, unreadable};
use super::outcome::Printer;
use super::selection::filter;
use super::stopped;
use crate::admin::order::{Action, IDS_MAX, Order, Selection};
use crate::admin::request::{Answer, REQUEST_OCTETS_MAX, Request, to_line};
use crate::cli::configuration::{NO, WRONG, load, no_answer};
use crate::cli::terminal::print;
use crate::config::Loaded;
use crate::daemon::queue_commands::{Means, carry_out, messages};
use crate::io::store::SqliteStore;
use crate::io::{admin_socket, clock};
use crate::queue::filter::Filter;

/// What is to be done, to what, how far.
pub struct Change<'a> {
    /// The configuration, for what is routed or bounced on a stopped queue.
    pub config: &'a Path,
    pub directory: &'a Path,
    pub action: Action,
    pub arguments: &'a ChangeArguments,
}

impl Change<'_> {
    pub async fn run(&self) -> ExitCode {
        let done = match self.selection() {
            Err(why) => Err((why, WRONG)),
            Ok(selection) if self.arguments.dry_run => self.dry_run(&selection).await,
            Ok(selection) => self.change(selection).await,
        };
        done.unwrap_or_else(|(why, code)| {
            if !why.is_empty() {
                eprintln!("estafette: {why}");
            }
            ExitCode::from(code)
        })
    }

    fn selection(&self) -> Result<Selection, String> {
        let arguments = self.arguments;
        let filter = filter(&arguments.filters, clock::timestamp())?;
        match (arguments.ids.is_empty(), filter.is_empty(), arguments.all) {
            (false, true, false) => Ok(Selection::Ids(arguments.ids.clone())),
            (false, ..) => Err("ids cannot be used with filters or --all".into()),
            (true, true, false) if self.action != Action::Flush => {
                Err("ids, filters or --all are required: which messages?".into())
            }
            (true, false, true) => Err("filters cannot be used with --all".into()),
            (true, ..) => Ok(Selection::Filter(filter)),
        }
    }

    /// Visits what is meant by a filter now.
    fn each_meant(
        &self,
        queue: &Queue,
        filter: &Filter,
        mut visit: impl FnMut(String) -> bool,
    ) -> Result<u64, (String, u8)> {
        let mut count = 0;
        let walked = queue.each(|entry, state| {
            if !Selection::is_for(&self.action, state) || !filter.matches(entry, state) {
                return true;
            }
            count += 1;
            visit(if self.arguments.json {
                format!("{}\n", to_json(entry, state))
            } else {
                head(entry, state)
            })
        });
        match walked {
            Err(End::Failed(error)) => Err((unreadable(self.directory, &error), NO)),
            Err(End::Enough) | Ok(()) => Ok(count),
        }
    }

    async fn open(&self) -> Result<Queue, (String, u8)> {
        if !self.directory.join("queue.db").exists() {
            return Err((stopped::no_queue(self.directory), NO));
        }
        Queue::open(self.directory).await.map_err(|why| (why, NO))
    }

    /// Tells what would be done, and how many messages are meant.
    async fn dry_run(&self, selection: &Selection) -> Result<ExitCode, (String, u8)> {
        let queue = self.open().await?;
        let mut unknown = Vec::new();
        let count = match selection {
            Selection::Filter(filter) => self.each_meant(&queue, filter, |text| {
                print(&text);
                true
            })?,
            Selection::Ids(ids) => {
                let mut count = 0;
                for id in ids {
                    match queue.inspector.entry(*id) {
                        Ok(Some(entry)) => {
                            count += 1;
                            let state = queue.state(&entry);
                            let json = || format!("{}\n", to_json(&entry, state));
                            print(&if self.arguments.json {
                                json()
                            } else {
                                head(&entry, state)
                            });
                        }
                        Ok(None) => unknown.push(format!("no message {id} is queued")),
                        Err(error) => return Err((unreadable(self.directory, &error), NO)),
                    }
                }
                count
            }
        };
        let word = self.action.done();
        if self.arguments.json {
            println!(
                "{}",
                serde_json::json!({"dry_run": true, "action": word, "messages": count})
            );
        } else {
            println!("-- {} would be {word}; --confirm {count} does it", messages(count));
        }
        for why in &unknown {
            eprintln!("estafette: {why}");
        }
        Ok(ExitCode::from(if unknown.is_empty() { 0 } else { NO }))
    }

    async fn change(&self, selection: Selection) -> Result<ExitCode, (String, u8)> {
        let arguments = self.arguments;
        let is_everything = matches!(&selection, Selection::Filter(filter) if filter.is_empty());
        if self.action == Action::Flush && is_everything && arguments.confirm.is_none() {
            return self.flush().await;
        }
        let expected = match &selection {
            Selection::Filter(filter) => self.confirm(filter).await?,
            Selection::Ids(ids) => {
                let meant = ids.len() as u64;
                if let Some(expected) = arguments.confirm.filter(|expected| *expected != meant) {
                    return Err((
                        format!("{} named, not {expected}: nothing was done", messages(meant)),
                        NO,
                    ));
                }
                None
            }
        };
        let mut work = Work {
            change: self,
            printer: Printer::new(&self.action, arguments.json),
            stopped: None,
        };
        match selection {
            Selection::Ids(ids) => {
                for some in ids.chunks(IDS_MAX) {
                    work.order(Selection::Ids(some.to_vec()), None).await?;
                }
            }
            filter @ Selection::Filter(_) => work.order(filter, expected).await?,
        }
        Ok(work.printer.finish())
    }

    /// How many messages the operator expects; more than one has to be confirmed.
    async fn confirm(&self, filter: &Filter) -> Result<Option<u64>, (String, u8)> {
        if self.arguments.confirm.is_some() || self.arguments.yes {
            self.open().await?;
            return Ok(self.arguments.confirm);
        }
        let count = self.each_meant(&self.open().await?, filter, |_| true)?;
        if count <= 1 {
            return Ok(Some(count));
        }
        let word = self.action.done();
        if !std::io::stdin().is_terminal() {
            let why = format!(
                "{} would be {word}: give --confirm {count} or --yes, or --dry-run to see them; nothing was done",
                messages(count)
            );
            return Err((why, WRONG));
        }
        print(&format!("{} will be {word}. Go on? [y/N] ", messages(count)));
        let _ = std::io::stdout().flush();
        let mut answer = String::new();
        let read = std::io::stdin().read_line(&mut answer);
        if read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") {
            return Ok(Some(count));
        }
        Err(("nothing was done".into(), NO))
    }

    /// Everything is due now: nobody is asked, as with `postqueue -f`.
    async fn flush(&self) -> Result<ExitCode, (String, u8)> {
        let answer = match admin_socket::ask(self.directory, Request::Flush).await {
            Ok(answer) => answer,
            Err(error) if stopped::is_nobody_there(&error) => {
                let store = stopped::open(self.directory).map_err(|why| (why, NO))?;
                stopped::flush(&store).await
            }
            Err(error) => return Err((no_answer(self.directory, &error), NO)),
        };
        let Answer { done, message } = answer;
        if self.arguments.json {
            println!(
                "{}",
                serde_json::json!({"action": self.action.done(), "done": done, "message": message})
            );
        } else if done {
            println!("{message}");
        } else {
            eprintln!("estafette: {message}");
        }
        Ok(ExitCode::from(if done { 0 } else { NO }))
    }
}

struct Work<'a> {
    change: &'a Change<'a>,
    printer: Printer,
    /// The queue of a stopped relay, once it was opened, and what is routed and bounced by.
    stopped: Option<(SqliteStore, Option<Loaded>)>,
}

impl Work<'_> {
    async fn order(&mut self, selection: Selection, expected: Option<u64>) -> Result<(), (String, u8)> {
        let action = self.change.action.clone();
        let order = Order {
            action,
            selection,
            expected,
        };
        let request = Request::Queue(order.clone());
        if to_line(&request).len() > REQUEST_OCTETS_MAX {
            return Err(("the filters are too long".into(), WRONG));
        }
        let directory = self.change.directory;
        if self.stopped.is_none() {
            match admin_socket::ask_each(directory, request, |progress| self.printer.tell(&progress)).await {
                Ok(answer) => {
                    self.printer.answered(&answer);
                    return Ok(());
                }
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Err((String::new(), NO)),
                Err(error) if stopped::is_nobody_there(&error) => self.open_stopped()?,
                Err(error) => return Err((no_answer(directory, &error), NO)),
            }
        }
        self.order_stopped(&order).await;
        Ok(())
    }

    fn open_stopped(&mut self) -> Result<(), (String, u8)> {
        let needs_routes = matches!(self.change.action, Action::Requeue | Action::Bounce { .. });
        let loaded = needs_routes.then(|| load(self.change.config)).transpose();
        let loaded = loaded.map_err(|_printed| (String::new(), WRONG))?;
        let store = stopped::open(self.change.directory).map_err(|why| (why, NO))?;
        self.stopped = Some((store, loaded));
        Ok(())
    }

    /// Does what the daemon would do.
    async fn order_stopped(&mut self, order: &Order) {
        let Some((store, loaded)) = &self.stopped else { return };
        let settings = loaded.as_ref().map(|loaded| &loaded.settings);
        let means = Means {
            store,
            outbound: settings.map(|settings| &settings.outbound),
            bounce_lifetime: settings
                .map(|settings| settings.queue.bounce_lifetime)
                .unwrap_or_default(),
        };
        let (told, mut telling) = mpsc::channel(64);
        let printer = &mut self.printer;
        let print = async {
            while let Some(progress) = telling.recv().await {
                if !printer.tell(&progress) {
                    telling.close();
                }
            }
        };
        let (answer, ()) = tokio::join!(carry_out(&means, order, told), print);
        self.printer.answered(&answer);
    }
}
