//! Certificate rules in words, as `estafette check` lists them.

use std::time::Duration;

use super::words::extended_key_usage_name;
use crate::policy::certificate_rule::{AlternativeName, CertificateRule, Condition, RuleAction};
use crate::policy::limits::{Holder, Limit};
use crate::policy::sender_binding::SenderBinding;
use crate::time::print_duration;

/// All conditions of a rule on one line.
pub fn conditions(conditions: &[Condition]) -> String {
    if conditions.is_empty() {
        return "any verified certificate".into();
    }
    conditions.iter().map(condition).collect::<Vec<_>>().join(", ")
}

/// One condition: `subject.OU = "UMR5168" or "UMR7638"`.
pub fn condition(condition: &Condition) -> String {
    match condition {
        Condition::Attribute { of, attribute, any_of } => equal(&format!("{}.{attribute}", of.word()), any_of),
        Condition::Text { of, regex } => format!("{}_regex = \"{regex}\"", of.word()),
        Condition::AlternativeName { kind, any_of } => {
            let key = match kind {
                AlternativeName::MailAddress => "mail_address",
                AlternativeName::DnsName => "dns_name",
                AlternativeName::UserPrincipalName => "user_principal_name",
            };
            equal(key, any_of)
        }
        Condition::ExtendedKeyUsage(oids) => {
            let names: Vec<String> = oids.iter().map(|oid| extended_key_usage_name(oid).to_owned()).collect();
            equal("extended_key_usage", &names)
        }
        Condition::Policy(oids) => equal("policy", oids),
        Condition::KeyUsage(names) => equal("key_usage", names),
        Condition::Serial(numbers) => equal("serial", numbers),
        Condition::Fingerprint(fingerprints) => equal("fingerprint", fingerprints),
        Condition::PublicKeyFingerprint(fingerprints) => equal("public_key_fingerprint", fingerprints),
        Condition::IssuedBy { file, .. } => format!("issuer_file = \"{file}\""),
        Condition::KeyAlgorithm(names) => equal("key_algorithm", names),
        Condition::KeyBitsMin(bits) => format!("key_bits_min = {bits}"),
        Condition::ValidForSeconds(seconds) => {
            let left = Duration::from_secs(u64::try_from(*seconds).unwrap_or_default());
            format!("valid_for = {}", print_duration(left))
        }
        Condition::Not(inner) => format!("not ({})", conditions(inner)),
        Condition::Any(alternatives) => {
            let texts: Vec<String> = alternatives.iter().map(|inner| conditions(inner)).collect();
            format!("any ({})", texts.join(" | "))
        }
    }
}

fn equal(key: &str, any_of: &[String]) -> String {
    let values: Vec<String> = any_of.iter().map(|value| format!("\"{value}\"")).collect();
    format!("{key} = {}", values.join(" or "))
}

/// What a rule leads to: `reject "ask the helpdesk"`.
pub fn action(rule: &CertificateRule) -> String {
    let with_text = |word: &str, text: &Option<String>| match text {
        Some(text) => format!("{word} \"{text}\""),
        None => word.to_owned(),
    };
    match &rule.action {
        RuleAction::Permit => "permit".into(),
        RuleAction::Continue => "continue".into(),
        RuleAction::Reject(text) => with_text("reject", text),
        RuleAction::Defer(text) => with_text("defer", text),
    }
}

/// Whose addresses a holder may send with.
pub fn binding(binding: &SenderBinding) -> String {
    let mut owned: Vec<String> = Vec::new();
    if binding.certificate_addresses {
        owned.push("the addresses of the certificate".into());
    }
    for (domain, has_subdomains) in &binding.domains {
        owned.push(format!("*@{domain}"));
        if *has_subdomains {
            owned.push(format!("*@*.{domain}"));
        }
    }
    owned.extend(binding.addresses.iter().cloned());
    let fields = if binding.from_header {
        "MAIL FROM and From"
    } else {
        "MAIL FROM"
    };
    let null = if binding.allows_null_sender {
        "permitted"
    } else {
        "rejected"
    };
    format!("{fields}: {}; null reverse-path {null}", owned.join(", "))
}

/// A limit: `100 messages, 1000 recipients in 1h per certificate, burst 3, then hold`.
pub fn limit(limit: &Limit) -> String {
    let amounts = [
        (limit.messages, "messages"),
        (limit.recipients, "recipients"),
        (limit.octets, "octets"),
    ];
    let amounts: Vec<String> = amounts
        .iter()
        .filter_map(|(amount, what)| Some(format!("{} {what}", (*amount)?)))
        .collect();
    let burst = match (limit.burst_percent / 100, limit.burst_percent % 100) {
        (1, 0) => String::new(),
        (whole, 0) => format!(", burst {whole}"),
        (whole, part) => format!(", burst {whole}.{part:02}"),
    };
    let then = limit.on_exceed.word();
    let (amounts, window, per) = (amounts.join(", "), print_duration(limit.window), holder(&limit.per));
    format!("{amounts} in {window} per {per}{burst}, then {then}")
}

fn holder(holder: &Holder) -> String {
    match holder {
        Holder::Certificate => "certificate".into(),
        Holder::Issuer => "issuer".into(),
        Holder::Attribute(of, attribute) => format!("{}.{attribute}", of.word()),
    }
}
