//! `estafette check`.

use std::process::ExitCode;

use super::configuration::load;
use super::open_relay::{self, arguments::CheckArguments};
use crate::config::ListenerSettings;
use crate::config::certificate_rules::defined::CheckedRule;
use crate::config::certificate_rules::describe;
use crate::policy::restriction::Restriction;
use crate::policy::stage::List;

pub(super) fn run(arguments: &CheckArguments) -> ExitCode {
    let loaded = match load(&arguments.config.config) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let warnings = match loaded.warnings.len() {
        1 => "1 warning".to_owned(),
        count => format!("{count} warnings"),
    };
    println!("{}: good ({warnings})", arguments.config.config.display());
    for listener in &loaded.settings.listeners {
        print_listener(listener);
    }
    for rule in &loaded.settings.certificate_rules {
        print_rule(rule);
    }
    if arguments.open_relay {
        return open_relay::run(&loaded.settings);
    }
    ExitCode::SUCCESS
}

fn print_listener(listener: &ListenerSettings) {
    let words = |list: &[Restriction]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    println!("  listener {} on {}", listener.name, listener.address);
    let chain = &listener.session.chain;
    for list in List::ALL {
        let restrictions = chain.list(list);
        if !restrictions.is_empty() {
            println!("    {:<28} = {}", list.name(), words(restrictions));
        }
    }
}

fn print_rule(checked: &CheckedRule) {
    let rule = &checked.rule;
    println!("  certificate rule {}: {}", rule.name, describe::action(rule));
    println!("    if      {}", describe::conditions(&rule.conditions));
    if let Some(binding) = &rule.sender {
        println!("    sender  {}", describe::binding(binding));
    }
    for limit in &rule.limits {
        println!("    limit   {}", describe::limit(limit));
    }
    for (word, files) in [("accepts", &checked.accepts), ("refuses", &checked.refuses)] {
        if !files.is_empty() {
            println!("    proved  {word} {}", files.join(", "));
        }
    }
}
