//! `estafette cert`.
//!
//! **Does not** need a running relay, nor a configuration without errors.

use std::process::ExitCode;

use self::args::CertCommand;
use super::args::CertArguments;
use super::configuration::deny_list_file;

pub(super) mod args;
mod deny;
mod rule;
mod show;

pub(super) fn run(arguments: &CertArguments) -> ExitCode {
    if let CertCommand::Show { file, json } = &arguments.command {
        return show::run(file, *json);
    }
    let list = match deny_list_file(&arguments.config.config) {
        Ok(list) => list,
        Err(code) => return code,
    };
    match &arguments.command {
        CertCommand::Show { file, json } => show::run(file, *json),
        CertCommand::Revoke(revoke) => deny::revoke(revoke, &list),
        CertCommand::Restore(which) => deny::restore(which, &list),
        CertCommand::List { json } => deny::list(&list, *json),
    }
}
