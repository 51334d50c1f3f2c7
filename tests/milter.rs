//! Content filters over the real binary: a scripted filter for every answer at every stage and for what no filter should
//! say, and real ones from Debian: OpenDKIM and rspamd.

#[path = "milter/changes.rs"]
mod changes;
mod common;
#[path = "milter/compare.rs"]
mod compare;
#[path = "milter/failures.rs"]
mod failures;
#[path = "milter/fake.rs"]
mod fake;
#[path = "common/postfix.rs"]
mod postfix;
#[path = "milter/real.rs"]
mod real;
#[path = "milter/told.rs"]
mod told;
#[path = "milter/verdicts.rs"]
mod verdicts;

use common::client::{Client, Reply};
use common::sink::Sink;
use common::{LOOPBACK, Relay};

/// A relay for everybody on loopback, with these filters and other directives.
fn relay_with(directives: &str) -> (Relay, Sink) {
    let sink = Sink::start();
    let relay = Relay::start(&format!("{LOOPBACK}{directives}"), sink.port);
    (relay, sink)
}

/// EHLO, and a message; the reply that ended it.
fn send(relay: &Relay, data: &str) -> Reply {
    let mut client = Client::connect(relay.address()).expect("connected");
    client.say("EHLO client.example.org").expect("EHLO");
    let reply = client.send("alice@example.org", &["bob@example.net"], data);
    reply.expect("a reply")
}

/// The text of a message that was delivered.
fn delivered(sink: &Sink, number: usize) -> String {
    common::wait_until("delivered", || sink.count() > number);
    String::from_utf8_lossy(&sink.messages()[number].data).into_owned()
}
