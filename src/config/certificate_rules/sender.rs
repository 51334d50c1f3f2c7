//! Whose addresses a holder may send with: `sender`, `sender_domains`, `sender_addresses`, `from_header`, `null_sender`.

use super::fields::Fields;
use crate::config::directives::kind::Kind;
use crate::config::error::Complaint;
use crate::config::reader::{Reader, Word};
use crate::config::value::Value;
use crate::policy::sender_binding::SenderBinding;
use crate::wire::path::Mailbox;

/// A binding, and whether `null_sender` is written in it.
pub struct Binding {
    /// The binding.
    pub sender: SenderBinding,
    /// Whether it says itself what becomes of the null reverse-path.
    pub is_explicit: bool,
}

/// The binding of the rule of that name, when it has one.
pub fn read(fields: &mut Fields<'_>, rule: &str) -> Option<Binding> {
    let certificate_addresses = fields.choice("sender", &["certificate"]).is_some();
    let domains = match fields.value("sender_domains", Kind::Domains) {
        Some(Value::Domains(domains)) => domains
            .into_iter()
            .map(|listed| (listed.domain, listed.dotted))
            .collect(),
        _ => Vec::new(),
    };
    let addresses = fields.each("sender_addresses", "addresses such as \"alice@example.org\"", address);
    let from_header = matches!(fields.value("from_header", Kind::Boolean), Some(Value::Boolean(true)));
    let null_sender = fields.choice("null_sender", &["permit", "reject"]);
    if !["sender", "sender_domains", "sender_addresses"]
        .iter()
        .any(|key| fields.has(key))
    {
        for key in ["from_header", "null_sender"] {
            let is_idle = if key == "from_header" {
                from_header
            } else {
                fields.has(key)
            };
            if is_idle {
                let complaint = Complaint::new("has no effect without a sender binding", "needs sender");
                fields.complain(
                    key,
                    complaint.hint("write sender = \"certificate\" or sender_domains = [..] beside it"),
                );
            }
        }
        return None;
    }
    let sender = SenderBinding {
        rule: rule.into(),
        certificate_addresses,
        domains,
        addresses: addresses.unwrap_or_default(),
        from_header,
        allows_null_sender: null_sender.as_deref() == Some("permit"),
    };
    Some(Binding {
        sender,
        is_explicit: null_sender.is_some(),
    })
}

fn address(reader: &mut Reader<'_>, word: &Word) -> Option<String> {
    // RFC 5321 allows a local-part "*", which nobody has and nobody means.
    if let Some(mailbox) = Mailbox::parse(&word.text).ok().filter(|_| !word.text.contains('*')) {
        return Some(mailbox.to_string());
    }
    let expected = "an address such as \"alice@example.org\"";
    let hint = match word.text.strip_prefix("*@").or_else(|| word.text.strip_prefix('@')) {
        Some(domain) => Some(format!("write sender_domains = [\"{domain}\"] for a whole domain")),
        None => word
            .text
            .starts_with('<')
            .then(|| "write it without < and >".to_owned()),
    };
    reader.wrong(word.span.clone(), &word.text, expected, hint)
}
