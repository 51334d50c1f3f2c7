//! The arguments.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::cert::args::CertCommand;
use crate::admin::request::{check_reason, parse_id};
use crate::mail::queue_id::QueueId;

pub(super) use super::config_argument::ConfigArgument;
use super::explain::arguments::ExplainArguments;
use super::open_relay::arguments::CheckArguments;
use super::why::arguments::WhyArguments;

/// A STARTTLS SMTP relay that decides by the X.509 certificate a client holds.
#[derive(Debug, Parser)]
#[command(name = "estafette", version, about)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the relay in the foreground (as systemd does).
    Run(ConfigArgument),
    /// Check the configuration and every file it names; print all errors at once.
    Check(CheckArguments),
    /// Say whether a client may relay, which restriction decides, and why. Exit status 0: permitted, 1: refused.
    Explain(ExplainArguments),
    /// Find recorded decisions: why was this refused, who sent that? Exit status 0: found, 1: nothing found.
    Why(WhyArguments),
    /// Look at the queue.
    Queue(QueueArguments),
    /// Look at certificates, take them back, let them in again.
    Cert(CertArguments),
    /// Have the running relay read its configuration again; a wrong file changes nothing.
    Reload(ConfigArgument),
    /// Print the running relay's counters and the ages of its revocation lists (OpenMetrics text).
    Metrics(ConfigArgument),
    /// Start a relay with example certificates on loopback, send through it, show what happened.
    Demo(DemoArguments),
}

#[derive(Debug, Args)]
pub(super) struct QueueArguments {
    #[command(flatten)]
    pub(super) config: ConfigArgument,
    #[command(subcommand)]
    pub(super) command: QueueCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum QueueCommand {
    /// List what is queued, oldest first.
    List {
        /// Print one JSON object per message.
        #[arg(long)]
        json: bool,
    },
    /// Try everything now.
    Flush,
    /// Put messages on hold: nothing is tried until they are released.
    Hold {
        /// Queue ids as `queue list` shows them.
        #[arg(value_name = "ID", required = true, value_parser = parse_id)]
        ids: Vec<QueueId>,
        /// Why; shown by `queue list`.
        #[arg(long, value_name = "TEXT", default_value = "by the operator", value_parser = check_reason)]
        reason: String,
    },
    /// Release messages on hold: their recipients are due now.
    Release {
        /// Queue ids as `queue list` shows them.
        #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all", value_parser = parse_id)]
        ids: Vec<QueueId>,
        /// Release every message on hold.
        #[arg(long)]
        all: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct CertArguments {
    #[command(flatten)]
    pub(super) config: ConfigArgument,
    #[command(subcommand)]
    pub(super) command: CertCommand,
}

#[derive(Debug, Args)]
pub(super) struct DemoArguments {
    /// Exit after both dialogues.
    #[arg(long)]
    pub(super) once: bool,
    /// Where the demonstration keeps its files; a new temporary directory when not given.
    #[arg(long, value_name = "DIRECTORY")]
    pub(super) directory: Option<PathBuf>,
}
