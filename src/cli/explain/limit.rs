//! A limit as JSON.

use serde_json::{Value, json};

use crate::cert::certificate::NameOf;
use crate::policy::limits::{Holder, Limit, OnExceed};

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
