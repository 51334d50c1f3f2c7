//! One measured run through one server into one sink.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::bench::{Sink, send};
use super::cost;
use crate::load::generator::Plan;
use crate::load::report::{Report, per_second, seconds_between};

/// A server under load, whichever it is.
#[derive(Clone, Copy, Debug)]
pub struct Side {
    pub address: SocketAddr,
    pub pid: u32,
}

/// What one run found.
#[derive(Clone, Debug)]
pub struct Measured {
    pub report: Report,
    /// Messages per second from the first session's start until the sink has all.
    pub delivered_rate: f64,
    /// Processor seconds of the server for a thousand messages.
    pub cpu: f64,
}

/// Sends a plan through a server and waits until the sink has all of it.
///
/// # Errors
/// A message was refused or lost: nothing was measured then.
pub fn through(side: Side, sink: &Sink, plan: &Plan) -> io::Result<Measured> {
    cost::wait_until_idle(side.pid, Duration::from_secs(20));
    let before = sink.counts()?.messages;
    let cpu = cost::cpu_seconds(side.pid);
    let report = whole(send(&Plan {
        to: side.address,
        ..plan.clone()
    })?)?;
    let counts = sink.wait_for(before + report.accepted)?;
    // What is done after a delivery, its removal from the queue, belongs to the message's cost.
    cost::wait_until_idle(side.pid, Duration::from_secs(20));
    let cpu = cost::cpu_seconds(side.pid) - cpu;
    Ok(Measured {
        delivered_rate: per_second(report.accepted, seconds_between(report.started, counts.last)),
        cpu: cpu / per_second(report.accepted, 1000.0),
        report,
    })
}

/// A report of a run in which every message was accepted.
///
/// # Errors
/// One was refused, or its connection broke.
pub fn whole(report: Report) -> io::Result<Report> {
    if report.refused + report.broken == 0 {
        return Ok(report);
    }
    let trouble = report.trouble.clone().unwrap_or_default();
    let text = format!("{} refused, {} broken: {trouble}", report.refused, report.broken);
    Err(io::Error::other(text))
}
