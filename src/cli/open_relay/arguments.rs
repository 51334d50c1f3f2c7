//! The arguments of `estafette check`.

use clap::Args;

use crate::cli::config_argument::ConfigArgument;

#[derive(Debug, Args)]
pub(in crate::cli) struct CheckArguments {
    #[command(flatten)]
    pub(in crate::cli) config: ConfigArgument,
    /// Try every kind of outsider on every listener, and list who could relay. Exit status 0: nobody, 1: somebody.
    #[arg(long)]
    pub(in crate::cli) open_relay: bool,
}
