//! One `[[certificate_rule]]` table.

use std::path::PathBuf;
use std::sync::Arc;

use super::conditions;
use super::defined::{Defined, Example};
use super::fields::{Context, Fields};
use super::keys;
use super::limits;
use super::sender;
use crate::config::error::{Complaint, Findings};
use crate::config::file::{RawEntry, RawValue};
use crate::config::restriction_words;
use crate::policy::certificate_rule::{CertificateRule, RuleAction};

/// Longest name of a rule, octets: it stands in every log line of its decisions.
const NAME_OCTETS_MAX: usize = 64;

/// Longest text of a refusal, octets: with code and status it stands on one reply line.
const TEXT_OCTETS_MAX: usize = 200;

/// Most examples of one rule: each is read whenever the configuration is loaded.
const EXAMPLES_MAX: usize = 100;

/// Reads a table; faults go to the findings. `None` when the rule has no name to refer to it.
pub fn read(entry: &RawEntry, context: Context<'_>, findings: &mut Findings) -> Option<Defined> {
    let errors = findings.errors();
    let span = findings.first_line(&entry.span);
    let mut fields = Fields {
        table: &entry.table,
        span,
        context,
        findings,
    };
    fields.check_keys("a certificate rule", &[keys::RULE, keys::CONDITIONS]);
    let name = name(&mut fields);
    let rule_name = name.clone().unwrap_or_default();
    let conditions = conditions::read(&mut fields, 0);
    let action = action(&mut fields);
    let binding = sender::read(&mut fields, &rule_name);
    let limits = limits::read(&mut fields, &rule_name);
    let mut examples = examples(&mut fields, "accepts");
    examples.extend(self::examples(&mut fields, "refuses"));
    check_examples(&mut fields, &examples);
    let has_limits = fields.has("limit");
    check_effect(&mut fields, &action, binding.is_some(), has_limits);
    let is_explicit = binding.as_ref().is_none_or(|binding| binding.is_explicit);
    let rule = CertificateRule {
        name: rule_name,
        conditions,
        action,
        sender: binding.map(|binding| Arc::new(binding.sender)),
        limits,
    };
    let span = entry
        .table
        .get("name")
        .map_or_else(|| fields.span.clone(), |located| located.span.clone());
    let is_good = findings.errors() == errors;
    Some(Defined {
        name: name?,
        span,
        with_null_sender: (is_good && !is_explicit).then(|| Arc::new(with_null_sender(&rule))),
        rule: is_good.then(|| Arc::new(rule)),
        examples,
    })
}

fn with_null_sender(rule: &CertificateRule) -> CertificateRule {
    let mut rule = rule.clone();
    if let Some(sender) = &mut rule.sender {
        Arc::make_mut(sender).allows_null_sender = true;
    }
    rule
}

fn name(fields: &mut Fields<'_>) -> Option<String> {
    const KEY: &str = "name";
    const EXPECTED: &str = "a word of letters, digits, \"-\", \"_\" and \".\" such as \"students\"";
    let Some(located) = fields.table.get(KEY) else {
        let complaint = Complaint::new("the rule has no name", format!("expected {EXPECTED}"));
        fields.complain(
            KEY,
            complaint.hint("write name = \"..\" in this table; restriction lists refer to it"),
        );
        return None;
    };
    let rules = fields.context.rules;
    let mut reader = fields.reader(KEY);
    let RawValue::Text(text) = &located.value else {
        return reader.mismatch(located, EXPECTED);
    };
    let place = reader.place(&located.span);
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && text.len() <= NAME_OCTETS_MAX;
    if !is_word {
        return reader.wrong(place, text, EXPECTED, None);
    }
    let fault = if restriction_words::is_known_word(text) {
        Some((
            format!("\"{text}\" is a restriction of its own"),
            "expected a name of its own",
        ))
    } else if rules.get(text).is_some() {
        Some((
            format!("there is a certificate rule \"{text}\" already"),
            "expected a name of its own",
        ))
    } else {
        None
    };
    match fault {
        Some((message, expected)) => {
            reader.error(place, Complaint::new(message, expected).hint("choose another name"));
            None
        }
        None => Some(text.clone()),
    }
}

fn action(fields: &mut Fields<'_>) -> RuleAction {
    let word = fields.choice("action", &["permit", "reject", "defer", "continue"]);
    let text = text(fields);
    if text.is_some() && !matches!(word.as_deref(), Some("reject" | "defer")) {
        let complaint = Complaint::new(
            "has no effect: the rule refuses nothing",
            "needs action = \"reject\" or \"defer\"",
        );
        fields.complain("text", complaint.hint("take it out, or write action = \"reject\""));
    }
    match word.as_deref() {
        Some("reject") => RuleAction::Reject(text),
        Some("defer") => RuleAction::Defer(text),
        Some("continue") => RuleAction::Continue,
        _ => RuleAction::Permit,
    }
}

/// The text of a refusal goes into a reply: one line of printable ASCII.
fn text(fields: &mut Fields<'_>) -> Option<String> {
    const KEY: &str = "text";
    let expected = format!("one line of at most {TEXT_OCTETS_MAX} printable ASCII characters");
    let located = fields.table.get(KEY)?;
    let mut reader = fields.reader(KEY);
    let RawValue::Text(text) = &located.value else {
        return reader.mismatch(located, &expected);
    };
    let is_printable = text.bytes().all(|octet| matches!(octet, b' '..=b'~'));
    if is_printable && !text.trim().is_empty() && text.len() <= TEXT_OCTETS_MAX {
        return Some(text.trim().to_owned());
    }
    let hint = (!is_printable).then(|| "replies are ASCII without line ends; write it without accents".to_owned());
    reader.wrong(reader.place(&located.span), text, &expected, hint)
}

/// A rule must do something, and everything in it must count.
fn check_effect(fields: &mut Fields<'_>, action: &RuleAction, has_binding: bool, has_limits: bool) {
    match action {
        RuleAction::Continue if !has_binding && !has_limits => {
            let complaint = Complaint::new(
                "the rule does nothing: it goes on without a binding or a limit",
                "needs one",
            );
            let hint = "write sender = \"certificate\" or a [[certificate_rule.limit]], or another action";
            fields.complain("action", complaint.hint(hint));
        }
        RuleAction::Reject(_) | RuleAction::Defer(_) => {
            let keys = ["sender", "sender_domains", "sender_addresses", "limit"];
            for key in keys
                .into_iter()
                .filter(|key| fields.table.get(key).is_some())
                .collect::<Vec<_>>()
            {
                let complaint = Complaint::new(
                    "has no effect: whoever the rule is about is refused anyway",
                    "needs action = \"permit\" or \"continue\"",
                );
                fields.complain(key, complaint.hint("take it out, or change the action"));
            }
        }
        RuleAction::Permit | RuleAction::Continue => {}
    }
}

fn examples(fields: &mut Fields<'_>, key: &'static str) -> Vec<Example> {
    let Some(located) = fields.table.get(key) else {
        return Vec::new();
    };
    let files = fields.each(key, "paths of PEM files", |_, word| Some(word.text.clone()));
    let elements = match &located.value {
        RawValue::List(elements) => elements.as_slice(),
        _ => std::slice::from_ref(located),
    };
    let place = |file: &String| {
        let element = elements
            .iter()
            .find(|element| matches!(&element.value, RawValue::Text(text) if text == file));
        element.unwrap_or(located).span.clone()
    };
    let example = |file: String| Example {
        key,
        span: place(&file),
        path: fields.context.directory.join(PathBuf::from(&file)),
        file,
    };
    files.unwrap_or_default().into_iter().map(example).collect()
}

fn check_examples(fields: &mut Fields<'_>, examples: &[Example]) {
    if examples.len() > EXAMPLES_MAX {
        let message = format!("the rule has {} examples", examples.len());
        fields.complain(
            "accepts",
            Complaint::new(message, format!("expected at most {EXAMPLES_MAX}")),
        );
    }
    for refused in examples.iter().filter(|example| example.key == "refuses") {
        let is_accepted = examples
            .iter()
            .any(|other| other.key == "accepts" && other.path == refused.path);
        if is_accepted {
            let message = format!("\"{}\" stands in accepts as well", refused.file);
            let complaint = Complaint::new(message, "a contradiction").hint("take it out of one of them");
            fields
                .findings
                .error(refused.key, Some(refused.span.clone()), complaint);
        }
    }
}
