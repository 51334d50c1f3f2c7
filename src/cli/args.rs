//! The arguments.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::cert::args::CertCommand;
use crate::admin::request::{check_reason, parse_id};
use crate::mail::queue_id::QueueId;

/// Where the configuration is when nothing else is said.
const CONFIG: &str = "/etc/estafette/estafette.toml";

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
    Check(ConfigArgument),
    /// Say whether a client may relay, which restriction decides, and why. Exit status 0: permitted, 1: refused.
    Explain(ExplainArguments),
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
pub(super) struct ConfigArgument {
    /// The configuration file.
    #[arg(long, short = 'c', value_name = "FILE", default_value = CONFIG, global = true)]
    pub(super) config: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct ExplainArguments {
    #[command(flatten)]
    pub(super) config: ConfigArgument,
    /// The client's address.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) client_address: IpAddr,
    /// The certificate the client shows (PEM; intermediates may follow). Without it the client shows none.
    #[arg(long, value_name = "PEM")]
    pub(super) client_cert: Option<PathBuf>,
    /// The session is not encrypted.
    #[arg(long, conflicts_with = "client_cert")]
    pub(super) plaintext: bool,
    /// The listener, by name; the first that asks for a certificate, or simply the first, when not given.
    #[arg(long, value_name = "NAME")]
    pub(super) listener: Option<String>,
    /// The name in EHLO.
    #[arg(long, value_name = "NAME", default_value = "client.invalid")]
    pub(super) helo: String,
    /// The reverse-path; empty for the null one.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) mail_from: String,
    /// A forward-path; may be given several times.
    #[arg(long, value_name = "ADDRESS", required = true)]
    pub(super) rcpt_to: Vec<String>,
    /// Print one JSON object.
    #[arg(long)]
    pub(super) json: bool,
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
