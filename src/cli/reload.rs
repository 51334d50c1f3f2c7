//! `estafette reload`.

use std::process::ExitCode;

use super::args::ConfigArgument;
use super::configuration::{NO, load, no_answer};
use crate::admin::request::Request;
use crate::io::admin_socket;

pub(super) async fn run(arguments: &ConfigArgument) -> ExitCode {
    // Checked here first, so that errors are printed where they are read; the daemon checks again.
    let loaded = match load(&arguments.config) {
        Ok(loaded) => loaded,
        Err(code) => {
            eprintln!("estafette: the running relay keeps its settings");
            return code;
        }
    };
    let directory = &loaded.settings.queue.directory;
    match admin_socket::ask(directory, Request::Reload).await {
        Ok(answer) if answer.done => {
            println!("{}", answer.message);
            ExitCode::SUCCESS
        }
        Ok(answer) => {
            eprintln!("estafette: refused, the old settings stay in force: {}", answer.message);
            ExitCode::from(NO)
        }
        Err(error) => {
            eprintln!("{}", no_answer(directory, &error));
            ExitCode::from(NO)
        }
    }
}
