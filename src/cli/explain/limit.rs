//! A limit as JSON.

use serde_json::{Value, json};

use crate::cert::certificate::NameOf;
use crate::policy::limits::{Holder, Limit};

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
        "on_exceed": limit.on_exceed.word(),
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
