//! `estafette run`.

use std::process::ExitCode;

use super::args::ConfigArgument;
use super::configuration::{WRONG, load};
use super::logging;
use crate::daemon::Daemon;
use crate::io::listener;
use crate::observe::log;

pub(super) async fn run(arguments: &ConfigArgument) -> ExitCode {
    let path = std::path::absolute(&arguments.config).unwrap_or_else(|_| arguments.config.clone());
    let loaded = match load(&path) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    logging::install(loaded.settings.log);
    let activated = match listener::activated() {
        Ok(activated) => activated,
        Err(error) => {
            eprintln!("estafette: the sockets handed over cannot be used: {error}");
            return ExitCode::from(WRONG);
        }
    };
    match Daemon::start(&loaded.settings, Some(path), activated) {
        Ok(daemon) => match daemon.run().await {
            Ok(()) => ExitCode::SUCCESS,
            Err(fault) => {
                eprintln!("estafette: {fault}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            log::start_failed(&error.to_string());
            eprintln!("estafette: {error}");
            ExitCode::from(WRONG)
        }
    }
}
