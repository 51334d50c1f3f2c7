//! A long queue for a dead next hop: what it costs in memory, at a restart, and for the mail of everybody else.
//!
//! Two next hops are named by address literals, on port 25 of loopback addresses of their own: one lives all the time
//! and takes the mail that is measured, the other is dead and keeps the queue as long as it is told to be.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Section;
use crate::load::generator::Plan;
use crate::load::now_nanoseconds;
use crate::load::report::{per_second, seconds_between};
use crate::side::bench::{Bench, Sink, send, wait_until};
use crate::side::cost::wait_until_idle;
use crate::side::estafette::Estafette;
use crate::side::plot::{Series, svg};
use crate::side::ratio::{Spread, figure, verdict};
use crate::side::run::{through, whole};

const LIVING: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(127, 77, 0, 2)), 25);
const DEAD: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(127, 77, 0, 3)), 25);
/// Resident memory that is allowed, in MiB.
const MEMORY: u64 = 150;

/// Rates at one length of the queue, in messages per second.
struct Point {
    length: f64,
    acknowledged: f64,
    delivered: f64,
}

pub fn run(bench: &Bench, total: u64) -> io::Result<Section> {
    let living = bench.sink_on(LIVING, None)?;
    let mut estafette = Estafette::start(bench, "estafette-million", None)?;
    let empty = point(bench, &estafette, &living, 1)?;
    let mut points = Vec::new();
    let (mut queued, mut fill_seconds) = (0, 0.0);
    for length in lengths(total) {
        let added = fill(&estafette, length - queued)?;
        queued += added.0;
        fill_seconds += added.1;
        let point = point(bench, &estafette, &living, length)?;
        eprintln!("  {queued} queued: {:.0}/s", point.delivered);
        points.push(point);
    }
    let (now, most) = estafette.memory_mib();
    let stopping = Instant::now();
    estafette.stop()?;
    let stopped = stopping.elapsed().as_secs_f64();
    let (restart, after) = restart(bench, &mut estafette, queued)?;
    let full = points.last().map_or(0.0, |point| point.acknowledged);
    let share = full / empty.acknowledged;
    let filled = per_second(queued, fill_seconds);
    let memory = |mib: u64| format!("≤ {MEMORY} · {}", verdict(mib <= MEMORY));
    let mut page = format!(
        "### {queued} messages queued for a dead next hop\n\n| | unit | Estafette | target |\n|---|---|---|---|\n"
    );
    let mut row = |what: &str, unit: &str, value: String, target: String| {
        page += &format!("| {what} | {unit} | {value} | {target} |\n");
    };
    let none = String::new;
    row(
        "resident memory at most, while filling",
        "MiB",
        most.to_string(),
        memory(most),
    );
    row("resident memory, filled", "MiB", now.to_string(), none());
    row("filled at", "messages/s", figure(filled), none());
    row(
        "acknowledged, empty queue",
        "messages/s",
        figure(empty.acknowledged),
        none(),
    );
    row("acknowledged, whole queue", "messages/s", figure(full), none());
    row(
        "the latter over the former",
        "",
        figure(share),
        format!("≥ 0.8 · {}", verdict(share >= 0.8)),
    );
    row("stopped by SIGTERM in", "s", figure(stopped), none());
    let target = format!("≤ 2 · {}", verdict(restart <= 2.0));
    row(
        "from exec to the first delivery, the next hop alive again",
        "s",
        figure(restart),
        target,
    );
    row(
        "resident memory at most, delivering after that",
        "MiB",
        after.to_string(),
        memory(after),
    );
    page += &table(&points);
    Ok(Section {
        markdown: page,
        svg: Some(plot(&points)),
    })
}

/// The rates at each length of the queue.
fn table(points: &[Point]) -> String {
    let mut page = "\nWith so many messages queued, mail for another next hop, 50 sessions:\n\n".to_owned();
    page += "| queued | acknowledged/s | delivered/s |\n|---|---|---|\n";
    for point in points {
        let (acknowledged, delivered) = (figure(point.acknowledged), figure(point.delivered));
        page += &format!("| {} | {acknowledged} | {delivered} |\n", point.length);
    }
    page
}

/// 1, 10, 100 and so on below the whole length, and that.
fn lengths(total: u64) -> Vec<u64> {
    let powers = std::iter::successors(Some(1_u64), |length| length.checked_mul(10));
    powers.take_while(|length| *length < total).chain([total]).collect()
}

/// Queues so many more messages for the dead next hop; how many came in, and the seconds that it took.
fn fill(estafette: &Estafette, messages: u64) -> io::Result<(u64, f64)> {
    let sessions = 50;
    let (mut accepted, mut seconds) = (0, 0.0);
    // What does not divide by the sessions goes over one.
    for (sessions, each) in [(sessions, messages / sessions), (1, messages % sessions)] {
        let plan = Plan {
            domain: format!("[{}]", DEAD.ip()),
            ..Plan::new(estafette.address, sessions, each)
        };
        if each > 0 {
            let report = whole(send(&plan)?)?;
            accepted += report.accepted;
            seconds += report.seconds();
        }
    }
    Ok((accepted, seconds))
}

/// The rates of mail for the living next hop: medians of the alternations.
#[expect(clippy::cast_precision_loss, reason = "a queue holds far fewer than 2^52 messages")]
fn point(bench: &Bench, estafette: &Estafette, living: &Sink, length: u64) -> io::Result<Point> {
    let plan = Plan {
        domain: format!("[{}]", LIVING.ip()),
        ..Plan::new(estafette.address, 50, bench.scaled(100))
    };
    wait_until_idle(estafette.side().pid, Duration::from_secs(30));
    let (mut acknowledged, mut delivered) = (Vec::new(), Vec::new());
    for _ in 0..bench.alternations.min(3) {
        let run = through(estafette.side(), living, &plan)?;
        acknowledged.push(run.report.rate());
        delivered.push(run.delivered_rate);
    }
    Ok(Point {
        length: length as f64,
        acknowledged: Spread::of(&acknowledged).median,
        delivered: Spread::of(&delivered).median,
    })
}

/// Seconds from the start of the process until the dead next hop, alive again, has its first message; and the peak of
/// resident memory in MiB, a part of the queue delivered. The operator says
/// `queue flush` as soon as the relay listens, so that no back-off is waited for.
fn restart(bench: &Bench, estafette: &mut Estafette, queued: u64) -> io::Result<(f64, u64)> {
    let revived = bench.sink_on(DEAD, None)?;
    let started = now_nanoseconds();
    estafette.spawn(&[])?;
    wait_until("the relay hears `queue flush`", || estafette.flush().is_ok())?;
    let counts = revived.wait_for(1)?;
    let seconds = seconds_between(started, counts.first);
    // Its peak is a peak under delivery: of what is queued, a good part goes out.
    revived.wait_for(bench.scaled(5000).min(queued))?;
    let (_, most) = estafette.memory_mib();
    estafette.stop()?;
    Ok((seconds, most))
}

fn plot(points: &[Point]) -> String {
    let series = [
        Series {
            name: "delivered",
            colour: "#1f77b4",
            points: points.iter().map(|point| (point.length, point.delivered)).collect(),
        },
        Series {
            name: "acknowledged",
            colour: "#d62728",
            points: points.iter().map(|point| (point.length, point.acknowledged)).collect(),
        },
    ];
    svg(
        "Throughput over the length of the queue",
        "messages queued for a dead next hop",
        "messages/s for another next hop",
        &series,
    )
}
