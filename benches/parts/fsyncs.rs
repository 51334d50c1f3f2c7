//! Syncs per message, 50 sessions at once, accept and deliver.

use std::io;

use crate::load::generator::Plan;
use crate::load::report::per_second;
use crate::side::bench::Bench;
use crate::side::cost::{strace_words, synced};
use crate::side::estafette::Estafette;
use crate::side::postfix::Postfix;
use crate::side::ratio::{Better, Row, Target, head};
use crate::side::run::through;

pub fn run(bench: &Bench) -> io::Result<String> {
    let sink = bench.sink(None)?;
    let (our_trace, their_trace) = (bench.file("estafette.strace"), bench.file("postfix.strace"));
    let mut estafette = Estafette::prepare(bench, "estafette-fsyncs", Some(sink.address))?;
    estafette.spawn(&strace_words(&our_trace))?;
    let postfix = Postfix::start(bench, "postfix-fsyncs", sink.address, &strace_words(&their_trace))?;
    let plan = Plan::new(estafette.address, 50, bench.scaled(100));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..bench.alternations {
        for (side, trace, found) in [
            (estafette.side(), &our_trace, &mut ours),
            (postfix.side(), &their_trace, &mut theirs),
        ] {
            let before = synced(trace);
            let measured = through(side, &sink, &plan)?;
            let calls = u64::try_from(synced(trace) - before).unwrap_or(u64::MAX);
            found.push(per_second(calls, per_second(measured.report.accepted, 1.0)));
        }
    }
    estafette.stop()?;
    let row = Row {
        what: "syncs, accept and deliver, 50 sessions".to_owned(),
        unit: "per message",
        ours,
        theirs,
        better: Better::Less,
        target: Target::AtMost(0.1),
    };
    Ok(format!("### Syncs\n\n{}{}", head("Postfix"), row.markdown()))
}
