//! `estafette queue`: the operator's hand on the queue, running or stopped.
//!
//! **Implements** what postqueue, postsuper, postcat and qshape do.
//! **Does not** decide what becomes of a message: `daemon::queue_commands` does, here as in the daemon.

pub(super) mod arguments;
mod change;
mod entries;
mod list;
mod outcome;
mod selection;
mod show;
mod stats;
mod stopped;
mod verify;

use std::process::ExitCode;

use arguments::{ChangeArguments, QueueArguments, QueueCommand};
use change::Change;

use super::configuration::queue_directory;
use crate::admin::order::Action;

pub(super) async fn run(arguments: &QueueArguments) -> ExitCode {
    let config = &arguments.config.config;
    let directory = match queue_directory(config) {
        Ok(directory) => directory,
        Err(code) => return code,
    };
    let (action, arguments): (Action, &ChangeArguments) = match &arguments.command {
        QueueCommand::List(arguments) => return list::run(&directory, arguments).await,
        QueueCommand::Show(arguments) => return show::run(&directory, arguments).await,
        QueueCommand::Stats(arguments) => return stats::run(&directory, arguments).await,
        QueueCommand::Verify(arguments) => return verify::run(&directory, arguments),
        QueueCommand::Flush(change) => (Action::Flush, change),
        QueueCommand::Hold { change, reason } => (Action::Hold { reason: reason.clone() }, change),
        QueueCommand::Release(change) => (Action::Release, change),
        QueueCommand::Requeue(change) => (Action::Requeue, change),
        QueueCommand::Delete(change) => (Action::Delete, change),
        QueueCommand::Bounce { change, reason } => (Action::Bounce { reason: reason.clone() }, change),
    };
    let directory = directory.as_path();
    let change = Change {
        config,
        directory,
        action,
        arguments,
    };
    change.run().await
}
