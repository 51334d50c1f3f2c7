//! Latency of the final dot at the highest rate that Postfix reaches: an open loop, so that nobody waits for anybody.

use std::io;
use std::time::Duration;

use super::pair::{Pair, milliseconds, row};
use crate::load::generator::Plan;
use crate::side::bench::Bench;
use crate::side::ratio::{Better, Target, figure, head};
use crate::side::run::through;

/// How long one open loop lasts, in seconds.
const SECONDS: u64 = 10;

pub fn run(bench: &Bench) -> io::Result<String> {
    let pair = Pair::start(bench, "tail")?;
    let closed = Plan::new(pair.postfix.address, 50, bench.scaled(100));
    let mut rates = Vec::new();
    for _ in 0..3 {
        rates.push(through(pair.postfix.side(), &pair.sink, &closed)?.delivered_rate);
    }
    rates.sort_by(f64::total_cmp);
    let rate = rates[1];
    let messages = Duration::from_secs(bench.scaled(SECONDS)).mul_f64(rate).as_secs();
    let open = Plan {
        rate: Some(rate),
        messages,
        ..closed
    };
    let runs = pair.alternate(bench, &open)?;
    let target = (Better::Less, Target::Times(10.0));
    let none = (Better::Less, Target::Nothing);
    let mut page = format!(
        "### Latency at Postfix's own maximum rate\n\n{} messages/s, begun by the clock, over 50 connections.\n\n{}",
        figure(rate),
        head("Postfix")
    );
    page += &row(
        "final dot to 250, p50".to_owned(),
        "ms",
        &runs,
        |run| milliseconds(run.report.latency.p50),
        none,
    )
    .markdown();
    page += &row(
        "final dot to 250, p99".to_owned(),
        "ms",
        &runs,
        |run| milliseconds(run.report.latency.p99),
        target,
    )
    .markdown();
    page += &row(
        "final dot to 250, longest".to_owned(),
        "ms",
        &runs,
        |run| milliseconds(run.report.latency.max),
        none,
    )
    .markdown();
    page += &row(
        "furthest behind the clock".to_owned(),
        "ms",
        &runs,
        |run| milliseconds(run.report.behind),
        none,
    )
    .markdown();
    Ok(page)
}
