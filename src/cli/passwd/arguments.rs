//! The arguments of `estafette passwd`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::config_argument::ConfigArgument;

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an argument of its own")]
pub struct PasswdArguments {
    #[command(flatten)]
    pub config: ConfigArgument,
    /// The password file; that of smtpd_sasl_path at the top of the configuration when not given.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Whose password is set, deleted or verified.
    #[arg(value_name = "LOGIN", required_unless_present = "list")]
    pub login: Option<String>,
    /// Read the password from standard input, one line, instead of asking for it twice.
    #[arg(long, conflicts_with_all = ["delete", "list"])]
    pub stdin: bool,
    /// Take the login out of the file.
    #[arg(long, conflicts_with_all = ["verify", "list"])]
    pub delete: bool,
    /// Say whether a password is the login's; nothing is changed. Exit status 0: it is, 1: it is not.
    #[arg(long, conflicts_with = "list")]
    pub verify: bool,
    /// Print every login.
    #[arg(long, conflicts_with = "login")]
    pub list: bool,
}
