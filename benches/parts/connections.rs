//! One message per connection: plain, and with a whole TLS 1.3 handshake and a client certificate each.

use std::io;

use super::pair::{Pair, row};
use crate::load::generator::Plan;
use crate::side::bench::{Bench, send};
use crate::side::ratio::{Better, Row, Target, head};
use crate::side::run::whole;

pub fn run(bench: &Bench) -> io::Result<String> {
    let pair = Pair::start(bench, "connections")?;
    let plain = Plan {
        reconnect: true,
        ..Plan::new(pair.estafette.address, 50, bench.scaled(50))
    };
    let tls = Plan {
        starttls: true,
        files: bench.client_files(),
        ..plain.clone()
    };
    let mut page = format!("### One message per connection\n\n{}", head("Postfix"));
    for (name, plan, times) in [("plain", &plain, 8.0), ("whole mTLS handshake", &tls, 4.0)] {
        let runs = pair.alternate(bench, plan)?;
        let target = (Better::More, Target::Times(times));
        page += &row(
            format!("end to end, {name}"),
            "messages/s",
            &runs,
            |run| run.delivered_rate,
            target,
        )
        .markdown();
        let cpu = (Better::Less, Target::Nothing);
        page += &row(
            format!("processor time, {name}"),
            "s per 1,000 messages",
            &runs,
            |run| run.cpu,
            cpu,
        )
        .markdown();
    }
    drop(pair.postfix);
    page += &format!("\n{}", head("bare rustls sink"));
    page += &bare(bench, &pair.estafette, &tls)?.markdown();
    Ok(page)
}

/// The rate at which the generator has its messages acknowledged, beside that straight into a sink which does nothing
/// but the same handshake.
fn bare(bench: &Bench, estafette: &crate::side::estafette::Estafette, plan: &Plan) -> io::Result<Row> {
    let sink = bench.sink(Some(&bench.server_files()))?;
    let rate = |to| -> io::Result<f64> {
        let plan = Plan {
            to,
            messages: bench.scaled(100),
            ..plan.clone()
        };
        Ok(whole(send(&plan)?)?.rate())
    };
    rate(sink.address)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..bench.alternations {
        crate::side::cost::wait_until_idle(estafette.side().pid, std::time::Duration::from_secs(20));
        ours.push(rate(estafette.address)?);
        theirs.push(rate(sink.address)?);
    }
    Ok(Row {
        what: "acknowledged, whole mTLS handshake".to_owned(),
        unit: "messages/s",
        ours,
        theirs,
        better: Better::More,
        target: Target::Times(0.75),
    })
}
