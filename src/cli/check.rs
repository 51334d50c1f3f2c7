//! `estafette check`.

use std::process::ExitCode;

use super::configuration::load;
use super::open_relay::{self, arguments::CheckArguments};

pub(super) fn run(arguments: &CheckArguments) -> ExitCode {
    match load(&arguments.config.config) {
        Ok(loaded) => {
            let warnings = match loaded.warnings.len() {
                1 => "1 warning".to_owned(),
                count => format!("{count} warnings"),
            };
            println!("{}: good ({warnings})", arguments.config.config.display());
            for listener in &loaded.settings.listeners {
                let words = |list: &[crate::policy::restriction::Restriction]| {
                    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                };
                println!("  listener {} on {}", listener.name, listener.address);
                let chain = &listener.session.chain;
                if !chain.relay.is_empty() {
                    println!("    smtpd_relay_restrictions     = {}", words(&chain.relay));
                }
                if !chain.recipient.is_empty() {
                    println!("    smtpd_recipient_restrictions = {}", words(&chain.recipient));
                }
            }
            if arguments.open_relay {
                return open_relay::run(&loaded.settings);
            }
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}
