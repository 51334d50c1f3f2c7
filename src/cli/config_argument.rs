//! The argument that every command with a configuration takes.

use std::path::PathBuf;

use clap::Args;

/// Where the configuration is when nothing else is said.
const CONFIG: &str = "/etc/estafette/estafette.toml";

#[derive(Debug, Args)]
pub(super) struct ConfigArgument {
    /// The configuration file.
    #[arg(long, short = 'c', value_name = "FILE", default_value = CONFIG, global = true)]
    pub(super) config: PathBuf,
}
