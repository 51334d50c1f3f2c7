//! The certificate rules of a dialogue: `rule NAME WORDS`.

use std::sync::Arc;
use std::time::Duration;

use estafette::policy::certificate_rule::{CertificateRule, RuleAction};
use estafette::policy::limits::{Holder, Limit, OnExceed};
use estafette::policy::sender_binding::SenderBinding;
use estafette::wire::domain::Domain;

/// Reads a rule; panics on a mistake, as a test may.
pub(crate) fn parse(words: &str) -> CertificateRule {
    let mut words = words.split_whitespace();
    let name = words.next().expect("a name").to_owned();
    let mut rule = CertificateRule {
        conditions: Vec::new(),
        action: RuleAction::Permit,
        sender: None,
        limits: Vec::new(),
        name,
    };
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "continue" => rule.action = RuleAction::Continue,
            "reject" => rule.action = RuleAction::Reject((!value.is_empty()).then(|| value.replace('_', " "))),
            "defer" => rule.action = RuleAction::Defer((!value.is_empty()).then(|| value.replace('_', " "))),
            "messages" | "recipients" | "octets" => limit(&mut rule, key, value.parse().expect("a number")),
            "on_exceed" => Arc::make_mut(rule.limits.last_mut().expect("a limit before")).on_exceed = on_exceed(value),
            _ => bind(&mut rule, key, value),
        }
    }
    rule
}

fn bind(rule: &mut CertificateRule, key: &str, value: &str) {
    let name = rule.name.clone();
    let binding = rule.sender.get_or_insert_with(|| {
        Arc::new(SenderBinding {
            rule: name,
            ..SenderBinding::default()
        })
    });
    let binding = Arc::make_mut(binding);
    match key {
        "sender" => binding.certificate_addresses = value == "certificate",
        "sender_domain" => binding.domains.push((Domain::parse(value).expect("a domain"), false)),
        "from_header" => binding.from_header = true,
        "null_sender" => binding.allows_null_sender = true,
        other => panic!("unknown word {other:?} in a rule"),
    }
}

/// A limit of its own for each word, an hour long.
fn limit(rule: &mut CertificateRule, key: &str, amount: u64) {
    let of = |word| (key == word).then_some(amount);
    rule.limits.push(Arc::new(Limit {
        name: format!("{}/{}", rule.name, rule.limits.len() + 1),
        per: Holder::Certificate,
        messages: of("messages"),
        recipients: of("recipients"),
        octets: of("octets"),
        window: Duration::from_hours(1),
        burst_percent: 100,
        on_exceed: OnExceed::Defer,
    }));
}

fn on_exceed(value: &str) -> OnExceed {
    match value {
        "defer" => OnExceed::Defer,
        "reject" => OnExceed::Reject,
        "hold" => OnExceed::Hold,
        other => panic!("unknown value {other:?}"),
    }
}
