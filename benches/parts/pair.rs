//! Both servers before one sink, loaded in turn.

use std::io;

use crate::load::generator::Plan;
use crate::side::bench::{Bench, Sink};
use crate::side::estafette::Estafette;
use crate::side::postfix::Postfix;
use crate::side::ratio::{Better, Row, Target};
use crate::side::run::{Measured, through};

/// Estafette and Postfix, both running, the idle one costing nothing.
pub struct Pair {
    pub estafette: Estafette,
    pub postfix: Postfix,
    pub sink: Sink,
}

impl Pair {
    /// Starts all three.
    ///
    /// # Errors
    /// One of them does not listen.
    pub fn start(bench: &Bench, name: &str) -> io::Result<Self> {
        let sink = bench.sink(None)?;
        Ok(Self {
            estafette: Estafette::start(bench, &format!("estafette-{name}"), Some(sink.address))?,
            postfix: Postfix::start(bench, &format!("postfix-{name}"), sink.address, &[])?,
            sink,
        })
    }

    /// One uncounted run each, then the alternations: ours, theirs, ours, theirs.
    ///
    /// # Errors
    /// A message was refused or lost.
    pub fn alternate(&self, bench: &Bench, plan: &Plan) -> io::Result<Vec<(Measured, Measured)>> {
        let once = |plan: &Plan| -> io::Result<(Measured, Measured)> {
            let ours = through(self.estafette.side(), &self.sink, plan)?;
            let theirs = through(self.postfix.side(), &self.sink, plan)?;
            Ok((ours, theirs))
        };
        once(&Plan {
            messages: plan.messages.div_ceil(4),
            ..plan.clone()
        })?;
        (0..bench.alternations)
            .map(|n| {
                let (ours, theirs) = once(plan)?;
                eprintln!(
                    "  {} of {}: {:.0}/s, Postfix {:.0}/s",
                    n + 1,
                    bench.alternations,
                    ours.delivered_rate,
                    theirs.delivered_rate
                );
                Ok((ours, theirs))
            })
            .collect()
    }
}

/// A row made of one figure of each run.
pub fn row(
    what: String,
    unit: &'static str,
    runs: &[(Measured, Measured)],
    figure: impl Fn(&Measured) -> f64,
    (better, target): (Better, Target),
) -> Row {
    Row {
        what,
        unit,
        ours: runs.iter().map(|(ours, _)| figure(ours)).collect(),
        theirs: runs.iter().map(|(_, theirs)| figure(theirs)).collect(),
        better,
        target,
    }
}

/// Microseconds as milliseconds.
#[expect(clippy::cast_precision_loss, reason = "latencies are far below 2^52 µs")]
pub fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1000.0
}
