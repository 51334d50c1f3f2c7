//! `estafette run`.

use std::process::ExitCode;

use super::args::ConfigArgument;
use super::configuration::{WRONG, wrong};
use super::logging;
use crate::config;
use crate::daemon::Daemon;
use crate::io::listener;
use crate::observe::log;

pub(super) async fn run(arguments: &ConfigArgument) -> ExitCode {
    let path = std::path::absolute(&arguments.config).unwrap_or_else(|_| arguments.config.clone());
    let loaded = match config::load(&path) {
        Ok(loaded) => loaded,
        Err(errors) => return wrong(&errors),
    };
    let _log = logging::install(loaded.settings.log);
    for warning in &loaded.warnings {
        log::configuration_warned(&warning.one_line());
    }
    let activated = match listener::activated() {
        Ok(activated) => activated,
        Err(error) => {
            log::start_failed(&format!("the sockets handed over cannot be used: {error}"));
            return ExitCode::from(WRONG);
        }
    };
    match Daemon::start(&loaded.settings, Some(path), activated) {
        Ok(daemon) => match daemon.run().await {
            Ok(()) => ExitCode::SUCCESS,
            // Logged where it was found.
            Err(_fault) => ExitCode::FAILURE,
        },
        Err(error) => {
            log::start_failed(&error.to_string());
            ExitCode::from(WRONG)
        }
    }
}
