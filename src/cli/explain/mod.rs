//! `estafette explain`: the daemon's own decision, offline, with its reasons.
//!
//! **Does not** ask an OCSP responder: what a daemon has been told stands in its memory.

pub(super) mod arguments;
mod decision;
mod json;
mod limit;
mod text;
mod world;

use std::process::ExitCode;

use arguments::ExplainArguments;
use decision::Decision;

use super::configuration::{NO, WRONG, load};

pub(super) fn run(arguments: &ExplainArguments) -> ExitCode {
    let loaded = match load(&arguments.config.config) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let decision = match Decision::make(arguments, &loaded.settings) {
        Ok(decision) => decision,
        Err(why) => {
            eprintln!("estafette: {why}");
            return ExitCode::from(WRONG);
        }
    };
    if arguments.json {
        println!("{}", json::to_json(&decision, arguments));
    } else {
        print!("{}", text::text(&decision, arguments));
    }
    ExitCode::from(if decision.is_permit() { 0 } else { NO })
}

/// What is printed for these arguments, for the demonstration.
pub(super) fn explanation(arguments: &ExplainArguments) -> Result<String, String> {
    let loaded = crate::config::load(&arguments.config.config).map_err(|errors| errors.to_string())?;
    Decision::make(arguments, &loaded.settings).map(|decision| text::text(&decision, arguments))
}
