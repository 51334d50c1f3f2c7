//! The command line: one file per command.
//!
//! **Does not** decide anything that the daemon decides: `explain` and `demo` run the daemon's own code.

use std::process::ExitCode;

use clap::Parser;

mod args;
mod cert;
mod check;
mod config_argument;
mod configuration;
mod demo;
mod explain;
mod logging;
mod metrics;
mod open_relay;
mod passwd;
mod point;
mod queue;
mod reload;
mod run;
mod terminal;
mod trace_text;
mod why;

use args::{Arguments, Command};

/// Threads that wait for the disk at most; each keeps memory of its own.
const BLOCKING_THREADS_MAX: usize = 8;

/// Parses the arguments and runs the command.
pub fn main() -> ExitCode {
    // The provider is also passed explicitly wherever a TLS configuration is made; this serves what asks for a default.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("estafette: the runtime cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = match arguments.command {
        Command::Run(run) => runtime.block_on(run::run(&run)),
        Command::Check(check) => check::run(&check),
        Command::Explain(explain) => explain::run(&explain),
        Command::Why(why) => why::run(&why),
        Command::Queue(queue) => runtime.block_on(queue::run(&queue)),
        Command::Cert(cert) => cert::run(&cert),
        Command::Passwd(passwd) => passwd::run(&passwd),
        Command::Reload(reload) => runtime.block_on(reload::run(&reload)),
        Command::Metrics(metrics) => runtime.block_on(metrics::run(&metrics)),
        Command::Demo(demo) => runtime.block_on(demo::run(&demo)),
    };
    // Blocking DNS or file calls must not keep a stopped daemon alive.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    code
}
