//! The arguments of `estafette check`.

use clap::Args;

use crate::cli::config_argument::ConfigArgument;

#[derive(Debug, Args)]
pub struct CheckArguments {
    #[command(flatten)]
    pub config: ConfigArgument,
    /// Try every kind of outsider on every listener, and list who could relay. Exit status 0: nobody, 1: somebody.
    #[arg(long)]
    pub open_relay: bool,
}
