//! Where log lines go: standard error, which systemd's journal keeps.

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogLevel, LogSettings};
use crate::io::log_writer::{LogGuard, LogWriter};

/// Installs the subscriber. `RUST_LOG` wins over the configured level. What is logged before the guard is dropped is
/// written then at the latest.
pub(super) fn install(settings: LogSettings) -> LogGuard {
    let (writer, guard) = LogWriter::start();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level(settings.level)));
    let under_journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    // A second subscriber in one process is refused; the first stays.
    let _ = match settings.format {
        LogFormat::Json => builder.json().flatten_event(true).with_target(false).try_init(),
        // The journal keeps the time itself.
        LogFormat::Text if under_journal => builder.without_time().with_ansi(false).with_target(false).try_init(),
        LogFormat::Text => {
            let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
            builder.with_ansi(colour).with_target(false).try_init()
        }
    };
    guard
}

/// The lines of the relay at its level; libraries speak up from warn on.
fn level(level: LogLevel) -> String {
    let word = match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    match level {
        LogLevel::Error | LogLevel::Warn => word.to_owned(),
        _ => format!("warn,estafette={word}"),
    }
}
