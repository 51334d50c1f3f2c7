//! `filter STAGE VERDICT`: what content filters say in a dialogue.

use estafette::policy::stage::Stage;
use estafette::session::filter::{EnvelopeChanges, FilterFault, FilterRefusal, FilterVerdict, RecipientChange};
use estafette::wire::milter::reply_code;
use estafette::wire::path::{ForwardPath, ReversePath};

/// Reads `STAGE continue`, `discard`, `refuse REPLY`, or changes: `from <PATH>`, `add <PATH>`, `remove <PATH>`, `hold WORD`.
pub(crate) fn parse(text: &str) -> (Stage, FilterVerdict) {
    let (stage, verdict) = text.split_once(' ').expect("STAGE VERDICT");
    let stage = match stage {
        "connect" => Stage::Connect,
        "helo" => Stage::Hello,
        "mail" => Stage::Mail,
        "rcpt" => Stage::Recipient,
        "data" => Stage::Data,
        "end" => Stage::EndOfData,
        other => panic!("unknown stage {other:?}"),
    };
    let filter = || "inet:127.0.0.1:8891".to_owned();
    let verdict = match verdict.split_once(' ').unwrap_or((verdict, "")) {
        ("continue", "") => FilterVerdict::Continue,
        ("discard", "") => FilterVerdict::Discard(filter()),
        ("refuse", reply) => FilterVerdict::Refuse(Box::new(FilterRefusal {
            filter: filter(),
            because: FilterFault::Refused,
            reply: reply_code::parse(reply.as_bytes()).expect("a reply"),
        })),
        _ => FilterVerdict::Changed(Box::new(changes(verdict))),
    };
    (stage, verdict)
}

fn changes(text: &str) -> EnvelopeChanges {
    let mut changes = EnvelopeChanges::default();
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        let value = words.next().expect("a value");
        let path = || ForwardPath::parse(value).expect("a path");
        match word {
            "from" => changes.reverse_path = Some(ReversePath::parse(value).expect("a path")),
            "add" => changes.recipients.push(RecipientChange::Add(
                path(),
                estafette::mail::dsn::RecipientRequest::default(),
            )),
            "remove" => changes.recipients.push(RecipientChange::Remove(path())),
            "hold" => changes.hold = Some(value.to_owned()),
            other => panic!("unknown change {other:?}"),
        }
    }
    changes
}
