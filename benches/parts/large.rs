//! Large messages and many recipients: memory and disk.

use std::io;

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
        "## Large messages, many recipients\n\n| | unit | Estafette | target |\n|---|---|---|---|\n".to_owned();
    let (memory, report) = sixteen_at_once(bench)?;
    page += &format!(
        "| 16 messages of 20 MiB at once, resident memory at most | MiB | {memory} | ≤ 100 · {} |\n| the same, \
         acknowledged after | s | {} | |\n",
        verdict(memory <= 100),
        figure(report.seconds())
    );
    for (name, size) in [("inline", 16 * 1024), ("in its own file", 4 * MIB)] {
        let octets = thousand_recipients(bench, name, size)?;
        page += &format!(
            "| 1,000 recipients, mail data of {} KiB ({name}): the queue grows by | KiB | {} | one copy · {} |\n",
            size / 1024,
            octets / 1024,
            // Beside the data: rows of the recipients, in the log of the database and in the database itself.
            verdict(octets < 2 * size + MIB)
        );
    }
    Ok(page)
}

fn sixteen_at_once(bench: &Bench) -> io::Result<(u64, Report)> {
    let sink = bench.sink(None)?;
    let mut estafette = Estafette::start(bench, "estafette-large", sink.address)?;
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

/// By how much one message for a next hop that does not answer lets the queue directory grow.
fn thousand_recipients(bench: &Bench, name: &str, size: u64) -> io::Result<u64> {
    let mut estafette = Estafette::start(bench, &format!("estafette-recipients {name}"), free_address()?)?;
    // The first message makes the tables and the directories.
    let first = Plan::new(estafette.address, 1, 1);
    whole(send(&first)?)?;
    let before = disk_octets(&estafette.queue());
    let plan = Plan {
        size: usize::try_from(size).unwrap_or(usize::MAX),
        recipients: 1000,
        ..first
    };
    whole(send(&plan)?)?;
    let after = disk_octets(&estafette.queue());
    estafette.stop()?;
    Ok(after.saturating_sub(before))
}
