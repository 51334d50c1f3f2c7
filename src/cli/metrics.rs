//! `estafette metrics`.

use std::io::Write;
use std::process::ExitCode;

use super::args::ConfigArgument;
use super::configuration::{NO, no_answer, queue_directory};
use crate::admin::request::Request;
use crate::io::admin_socket;

pub(super) async fn run(arguments: &ConfigArgument) -> ExitCode {
    let directory = match queue_directory(&arguments.config) {
        Ok(directory) => directory,
        Err(code) => return code,
    };
    match admin_socket::ask(&directory, Request::Metrics).await {
        Ok(answer) if answer.done => match std::io::stdout().write_all(answer.message.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(NO),
        },
        Ok(answer) => {
            eprintln!("estafette: {}", answer.message);
            ExitCode::from(NO)
        }
        Err(error) => {
            eprintln!("{}", no_answer(&directory, &error));
            ExitCode::from(NO)
        }
    }
}
