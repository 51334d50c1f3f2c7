//! A limit in words and as JSON.

use serde_json::{Value, json};

use crate::cert::certificate::NameOf;
use crate::policy::limits::{Holder, Limit, OnExceed};

/// `students/1: 40 messages, 200 recipients in 3600s per OU of the subject, burst 300 %, then hold`.
pub(super) fn words(limit: &Limit) -> String {
    let amounts = [
        (limit.messages, "messages"),
        (limit.recipients, "recipients"),
        (limit.octets, "octets"),
    ];
    let amounts: Vec<String> = amounts
        .iter()
        .filter_map(|(amount, noun)| amount.map(|amount| format!("{amount} {noun}")))
        .collect();
    format!(
        "{}: {} in {}s per {}, burst {} %, then {}",
        limit.name,
        amounts.join(", "),
        limit.window.as_secs(),
        holder(&limit.per),
        limit.burst_percent,
        on_exceed(limit.on_exceed)
    )
}

/// Its fields.
pub(super) fn to_json(limit: &Limit) -> Value {
    json!({
        "name": limit.name,
        "per": holder(&limit.per),
        "messages": limit.messages,
        "recipients": limit.recipients,
        "octets": limit.octets,
        "window_seconds": limit.window.as_secs(),
        "burst_percent": limit.burst_percent,
        "on_exceed": on_exceed(limit.on_exceed),
    })
}

fn holder(holder: &Holder) -> String {
    match holder {
        Holder::Certificate => "certificate".to_owned(),
        Holder::Attribute(NameOf::Subject, attribute) => format!("{attribute} of the subject"),
        Holder::Attribute(NameOf::Issuer, attribute) => format!("{attribute} of the issuer"),
        Holder::Issuer => "issuer".to_owned(),
    }
}

const fn on_exceed(on_exceed: OnExceed) -> &'static str {
    match on_exceed {
        OnExceed::Defer => "defer",
        OnExceed::Reject => "reject",
        OnExceed::Hold => "hold",
    }
}
