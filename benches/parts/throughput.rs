//! Accept and deliver, end to end: 50 sessions, each with 100 messages of 4 KiB over one connection.

use std::io;

use super::pair::{Pair, milliseconds, row};
use crate::load::generator::Plan;
use crate::side::bench::{Bench, send};
use crate::side::ratio::{Better, Target, head};

pub fn run(bench: &Bench) -> io::Result<String> {
    let pair = Pair::start(bench, "throughput")?;
    let plain = Plan::new(pair.estafette.address, 50, bench.scaled(100));
    let tls = Plan {
        starttls: true,
        files: bench.client_files(),
        ..plain.clone()
    };
    let straight = send(&Plan {
        to: pair.sink.address,
        messages: bench.scaled(2000),
        ..plain.clone()
    })?;
    let mut page = format!("### Accept and deliver\n\n{}", head("Postfix"));
    for (name, plan) in [("plain", plain), ("mTLS", tls)] {
        let runs = pair.alternate(bench, &plan)?;
        let times = |times| (Better::More, Target::Times(times));
        page += &row(
            format!("end to end, {name}"),
            "messages/s",
            &runs,
            |run| run.delivered_rate,
            times(20.0),
        )
        .markdown();
        page += &row(
            format!("processor time, {name}"),
            "s per 1,000 messages",
            &runs,
            |run| run.cpu,
            (Better::Less, Target::Times(20.0)),
        )
        .markdown();
        let none = (Better::Less, Target::Nothing);
        page += &row(
            format!("final dot to 250, {name}, p50"),
            "ms",
            &runs,
            |run| milliseconds(run.report.latency.p50),
            none,
        )
        .markdown();
        page += &row(
            format!("final dot to 250, {name}, p99"),
            "ms",
            &runs,
            |run| milliseconds(run.report.latency.p99),
            none,
        )
        .markdown();
    }
    let (now, most) = pair.estafette.memory_mib();
    page += &format!(
        "\nThe generator straight into the sink: {:.0} messages/s. Estafette's resident memory afterwards: {now} MiB, at \
         most {most} MiB.\n",
        straight.rate()
    );
    Ok(page)
}
