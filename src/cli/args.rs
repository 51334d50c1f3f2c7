//! The arguments.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::cert::args::CertCommand;

pub(super) use super::config_argument::ConfigArgument;
use super::explain::arguments::ExplainArguments;
use super::open_relay::arguments::CheckArguments;
use super::passwd::arguments::PasswdArguments;
use super::queue::arguments::QueueArguments;
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
    /// Look at the queue and change it.
    Queue(QueueArguments),
    /// Look at certificates, take them back, let them in again.
    Cert(CertArguments),
    /// Change the passwords of people without a certificate (smtpd_sasl_type = "file").
    Passwd(PasswdArguments),
    /// Have the running relay read its configuration again; a wrong file changes nothing.
    Reload(ConfigArgument),
    /// Print the running relay's counters and the ages of its revocation lists (OpenMetrics text).
    Metrics(ConfigArgument),
    /// Start a relay with example certificates on loopback, send through it, show what happened.
    Demo(DemoArguments),
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
