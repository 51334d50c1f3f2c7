//! Estafette beside Debian's Postfix on the same machine, the same disk and before the same next hop:
//! `cargo bench --bench postfix`. docs/performance.md says what each figure means.
//!
//! It needs root: Postfix does, and the long queue's next hops listen on port 25 of loopback addresses.

mod load;
mod parts;
mod side;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand};

use parts::Part;
use side::bench::{Bench, check};
use side::machine;

/// Measures Estafette beside Debian's Postfix and prints the tables in Markdown.
#[derive(Debug, Parser)]
#[command(name = "postfix", args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    word: Option<Word>,
    /// Measure these parts only; may be given more than once.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Fewer messages and alternations: a look, not a result.
    #[arg(long)]
    quick: bool,
    /// Length of the long queue; 1,000,000, or 10,000 with --quick.
    #[arg(long, value_name = "NUMBER")]
    messages: Option<u64>,
    /// Where both queues are: a directory on a disk.
    #[arg(long, value_name = "DIRECTORY", default_value = "/var/tmp")]
    directory: PathBuf,
    /// Put the tables and the plot into docs/.
    #[arg(long)]
    write: bool,
    /// Given by `cargo bench`.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum Word {
    /// Send load and print one line of JSON.
    Load(load::generator::Plan),
    /// Receive mail and count it.
    Sink(load::sink::SinkArguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.word {
        Some(Word::Load(plan)) => load::generator::run(plan).and_then(|report| {
            println!("{}", serde_json::to_string(&report)?);
            Ok(())
        }),
        Some(Word::Sink(sink)) => load::sink::run(sink),
        None if arguments.bench => measure(&arguments),
        None => {
            // `cargo test --all-targets` starts the bench too, without the word that `cargo bench` gives it.
            eprintln!("postfix: nothing measured; `cargo bench --bench postfix` does");
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("postfix: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> io::Result<()> {
    let chosen: Vec<Part> = parts::ALL
        .into_iter()
        .filter(|part| arguments.only.is_empty() || arguments.only.contains(part))
        .collect();
    if chosen.iter().any(|part| part.needs_postfix()) {
        install()?;
    }
    let messages = arguments
        .messages
        .unwrap_or(if arguments.quick { 10_000 } else { 1_000_000 });
    let kind = if arguments.quick {
        "quick: a look, not a result"
    } else {
        "full"
    };
    let mut page = format!("{}- run: {kind}\n\n", machine::description(&arguments.directory));
    print!("{page}");
    for part in chosen {
        eprintln!("{part:?}");
        // Each part has a directory of its own, so that the disk is given back before the next.
        let bench = Bench::new(&arguments.directory, arguments.quick)?;
        let section = part.run(&bench, messages)?;
        println!("{}", section.markdown);
        page += &format!("{}\n", section.markdown);
        if let Some(svg) = section.svg.filter(|_| arguments.write) {
            fs::write(docs("performance.svg"), svg)?;
        }
    }
    if arguments.write {
        put_into_page(&page)?;
    }
    Ok(())
}

/// Debian's Postfix and strace, installed where missing; the service that Debian would start is not started.
fn install() -> io::Result<()> {
    let there = |program: &str| {
        ["/usr/bin", "/usr/sbin"]
            .iter()
            .any(|folder| Path::new(folder).join(program).exists())
    };
    for (program, package) in [("postfix", "postfix"), ("strace", "strace")] {
        if !there(program) {
            check(Command::new("apt-get").args(["update", "-qq"]))?;
            let mut install = Command::new("apt-get");
            install.args(["install", "-y", "-qq", "--no-install-recommends", package]);
            check(install.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1"))?;
        }
    }
    Ok(())
}

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)
}

/// Replaces what stands between the marks of docs/performance.md.
fn put_into_page(tables: &str) -> io::Result<()> {
    const MARKS: (&str, &str) = ("<!-- measured: begin -->\n", "<!-- measured: end -->");
    let path = docs("performance.md");
    let text = fs::read_to_string(&path)?;
    let parts = text
        .split_once(MARKS.0)
        .and_then(|(before, rest)| Some((before, rest.split_once(MARKS.1)?.1)));
    let (before, after) = parts.ok_or_else(|| io::Error::other("docs/performance.md has lost its marks"))?;
    fs::write(path, format!("{before}{}\n{tables}{}{after}", MARKS.0, MARKS.1))
}
