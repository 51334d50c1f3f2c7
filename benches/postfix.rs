//! Estafette beside Debian's Postfix: `cargo bench --bench postfix`. See docs/performance.md.

#[path = "load/mod.rs"]
mod load;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "postfix", about)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send load and print one line of JSON.
    Load(load::generator::Plan),
    /// Receive mail and count it.
    Sink(load::sink::SinkArguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.command {
        Some(Command::Load(plan)) => load::generator::run(plan).and_then(|report| {
            println!("{}", serde_json::to_string(&report)?);
            Ok(())
        }),
        Some(Command::Sink(sink)) => load::sink::run(sink),
        None => Ok(()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("postfix: {error}");
            ExitCode::FAILURE
        }
    }
}
