//! The configuration as every command loads it, and the exit statuses.

use std::path::Path;
use std::process::ExitCode;

use crate::config::{self, Loaded};

/// Exit status for a policy answer of "no" (`explain`) or a refused request (`reload`).
pub(super) const NO: u8 = 1;
/// Exit status for a wrong configuration or arguments.
pub(super) const WRONG: u8 = 2;

/// Loads a configuration, printing warnings and errors as they are meant to be read.
pub(super) fn load(path: &Path) -> Result<Loaded, ExitCode> {
    match config::load(path) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                eprintln!("{warning}");
            }
            Ok(loaded)
        }
        Err(errors) => {
            eprintln!("{errors}");
            Err(ExitCode::from(WRONG))
        }
    }
}
