//! The outside world as a daemon with these settings asks it.

use std::sync::Arc;

use crate::config::Settings;
use crate::io::dns::SystemResolver;
use crate::io::questions::Questions;
use crate::policy::chain::Evaluation;
use crate::policy::question::Answers;
use crate::policy::verdict::Verdict;

/// Evaluates until there is a decision; nothing is set up for lists that ask nothing.
///
/// # Errors
/// In words: the system gives no threads or no sockets.
pub(super) fn decide(
    settings: &Settings,
    evaluate: impl Fn(&Answers) -> Evaluation + Send + Sync,
) -> Result<Verdict, String> {
    if let Evaluation::Decided(verdict) = evaluate(Answers::NONE) {
        return Ok(verdict);
    }
    let ask = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|why| format!("the DNS cannot be asked: {why}"))?;
        Ok(runtime.block_on(async {
            let resolver = Arc::new(SystemResolver::new(&settings.resolver_addresses));
            Questions::new(resolver, settings.policy_connections)
                .decide(&evaluate)
                .await
        }))
    };
    // A thread of its own: the caller may be within a runtime already.
    let asked = std::thread::scope(|scope| scope.spawn(ask).join());
    asked.unwrap_or_else(|_| Err("the DNS cannot be asked".to_owned()))
}
