//! Large messages and many recipients: memory and disk.

use std::io;
use std::path::Path;

use crate::load::generator::Plan;
use crate::load::report::Report;
use crate::side::bench::{Bench, free_address, send};
use crate::side::cost::disk_octets;
use crate::side::estafette::Estafette;
use crate::side::ratio::{figure, verdict};
use crate::side::run::whole;

const MIB: u64 = 1024 * 1024;

pub fn run(bench: &Bench) -> io::Result<String> {
    let mut page =
        "### Large messages, many recipients\n\n| | unit | Estafette | target |\n|---|---|---|---|\n".to_owned();
    let (memory, report) = sixteen_at_once(bench)?;
    page += &format!(
        "| 16 messages of 20 MiB at once, resident memory at most | MiB | {memory} | ≤ 100 · {} |\n| the same, \
         acknowledged after | s | {} | |\n",
        verdict(memory <= 100),
        figure(report.seconds())
    );
    for (name, size) in [("inline", 16 * 1024), ("in its own file", 4 * MIB)] {
        let grown = thousand_recipients(bench, name, size)?;
        page += &format!(
            "| 1,000 recipients, mail data of {} KiB, {name}: copies of it in the queue | | {} | 1 · {} |\n| the same, the \
             queue directory grows by | KiB | {} | |\n",
            size / 1024,
            grown.copies,
            verdict(grown.copies == 1),
            grown.octets / 1024,
        );
    }
    Ok(page)
}

fn sixteen_at_once(bench: &Bench) -> io::Result<(u64, Report)> {
    let sink = bench.sink(None)?;
    let mut estafette = Estafette::start(bench, "estafette-large", Some(sink.address))?;
    let plan = Plan {
        size: usize::try_from(20 * MIB).unwrap_or(usize::MAX),
        ..Plan::new(estafette.address, 16, 1)
    };
    let report = whole(send(&plan)?)?;
    sink.wait_for(report.accepted)?;
    let (_, most) = estafette.memory_mib();
    estafette.stop()?;
    Ok((most, report))
}

/// What one message adds to the queue directory.
struct Grown {
    /// Rows and files that hold mail data.
    copies: u64,
    /// Octets of disk.
    octets: u64,
}

/// One message of 1,000 recipients for a next hop that does not answer.
fn thousand_recipients(bench: &Bench, name: &str, size: u64) -> io::Result<Grown> {
    let next_hop = Some(free_address()?);
    let mut estafette = Estafette::start(bench, &format!("estafette-recipients {name}"), next_hop)?;
    // The first message makes the tables and the directories.
    let first = Plan::new(estafette.address, 1, 1);
    whole(send(&first)?)?;
    let octets = disk_octets(&estafette.queue());
    let plan = Plan {
        size: usize::try_from(size).unwrap_or(usize::MAX),
        recipients: 1000,
        ..first
    };
    whole(send(&plan)?)?;
    let octets = disk_octets(&estafette.queue()).saturating_sub(octets);
    estafette.stop()?;
    // Without the first message's.
    let copies = (data_rows(&estafette.queue())? + data_files(&estafette.queue())).saturating_sub(1);
    Ok(Grown { copies, octets })
}

/// Mail data inside the database.
fn data_rows(queue: &Path) -> io::Result<u64> {
    let count = || -> rusqlite::Result<i64> {
        let database = rusqlite::Connection::open(queue.join("queue.db"))?;
        database.query_row("SELECT count(*) FROM data", [], |row| row.get(0))
    };
    count().map(i64::unsigned_abs).map_err(io::Error::other)
}

/// Mail data in files of its own: data/xx/ID.
fn data_files(queue: &Path) -> u64 {
    let folders = std::fs::read_dir(queue.join("data")).into_iter().flatten().flatten();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.path()).into_iter().flatten().flatten());
    u64::try_from(files.count()).unwrap_or(u64::MAX)
}
