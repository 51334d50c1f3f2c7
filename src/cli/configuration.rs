//! The configuration as every command loads it, and the exit statuses.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config::{self, Diagnostics, Loaded};

/// Exit status for a policy answer of "no" (`explain`) or a refused request (`reload`).
pub(super) const NO: u8 = 1;
/// Exit status for a wrong configuration or arguments.
pub(super) const WRONG: u8 = 2;

/// Loads a configuration, printing warnings and errors as they are meant to be read.
pub(super) fn load(path: &Path) -> Result<Loaded, ExitCode> {
    let loaded = config::load(path).map_err(|errors| wrong(&errors))?;
    for warning in &loaded.warnings {
        eprintln!("{}\n", warning.render(is_styled()));
    }
    Ok(loaded)
}

/// The queue's directory, whatever else is wrong with the configuration.
pub(super) fn queue_directory(path: &Path) -> Result<PathBuf, ExitCode> {
    config::queue_directory(path).map_err(|errors| wrong(&errors))
}

/// The deny-list, whatever else is wrong with the configuration.
pub(super) fn deny_list_file(path: &Path) -> Result<PathBuf, ExitCode> {
    config::deny_list_file(path).map_err(|errors| wrong(&errors))
}

/// The password file, whatever else is wrong with the configuration.
pub(super) fn password_file(path: &Path) -> Result<PathBuf, ExitCode> {
    config::password_file(path).map_err(|errors| wrong(&errors))
}

/// Prints what is wrong.
pub(super) fn wrong(errors: &Diagnostics) -> ExitCode {
    eprintln!("{}", errors.render(is_styled()));
    ExitCode::from(WRONG)
}

/// Colours are for a terminal, and for people who did not switch them off (no-color.org).
fn is_styled() -> bool {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !is_unwanted
}

/// Why a request found no relay, and what to do.
pub(super) fn no_answer(directory: &Path, error: &std::io::Error) -> String {
    let hint = match error.kind() {
        std::io::ErrorKind::PermissionDenied => "; run this as root or as the relay's user",
        std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => "; is it running?",
        _ => "",
    };
    format!("estafette: no relay answers in {}: {error}{hint}", directory.display())
}
