//! `[[certificate_rule.limit]]`: how much a holder may send.

use std::sync::Arc;

use super::fields::Fields;
use super::keys;
use super::words;
use crate::cert::certificate::NameOf;
use crate::cert::name::oid_of;
use crate::config::directives::kind::Kind;
use crate::config::error::{Complaint, Span};
use crate::config::file::{RawTable, RawValue};
use crate::config::reader::Word;
use crate::config::value::Value;
use crate::policy::limits::{Holder, Limit, OnExceed};

const KEY: &str = "limit";

/// Most limits of one rule: each is charged for each message.
const LIMITS_MAX: usize = 16;

/// Largest amount: a thousand billions, which no window sees.
const AMOUNT_MAX: u64 = 1_000_000_000_000;

/// Largest burst, in percent.
const BURST_PERCENT_MAX: u32 = 10_000;

/// The limits of the rule of that name; what is wrong goes to the findings and is left out.
pub fn read(fields: &mut Fields<'_>, rule: &str) -> Vec<Arc<Limit>> {
    let Some(located) = fields.table.get(KEY) else {
        return Vec::new();
    };
    let RawValue::List(elements) = &located.value else {
        let _: Option<()> = fields
            .reader(KEY)
            .mismatch(located, "[[certificate_rule.limit]] on a line of its own");
        return Vec::new();
    };
    if elements.len() > LIMITS_MAX {
        let message = format!("the rule has {} limits", elements.len());
        fields.complain(KEY, Complaint::new(message, format!("expected at most {LIMITS_MAX}")));
    }
    let mut found: Vec<Arc<Limit>> = Vec::new();
    for (n, element) in elements.iter().enumerate() {
        let RawValue::Table(table) = &element.value else {
            let _: Option<()> = fields.reader(KEY).mismatch(element, "a table of amounts");
            continue;
        };
        let name = format!("{rule}/{}", n + 1);
        let Some(limit) = read_one(fields, table, &element.span, name) else {
            continue;
        };
        if let Some(other) = found.iter().find(|other| is_same_count(other, &limit)) {
            let message = format!("counts the same as limit {} of this rule", other.name);
            let complaint = Complaint::new(message, "the same holders and time twice");
            let span = fields.findings.first_line(&element.span);
            fields
                .findings
                .error(KEY, Some(span), complaint.hint("put the amounts into one limit"));
        }
        found.push(Arc::new(limit));
    }
    found
}

/// Several steps, each with its own consequence, are fine.
fn is_same_count(one: &Limit, other: &Limit) -> bool {
    let same_holder = match (&one.per, &other.per) {
        (Holder::Attribute(of, one), Holder::Attribute(same, other)) => of == same && oid_of(one) == oid_of(other),
        (one, other) => one == other,
    };
    same_holder && one.window == other.window && one.on_exceed == other.on_exceed
}

fn read_one(fields: &mut Fields<'_>, table: &RawTable, span: &Span, name: String) -> Option<Limit> {
    let span = fields.findings.first_line(span);
    let mut fields = fields.inner(table, span);
    fields.check_keys("a limit", &[keys::LIMIT]);
    let per = holder(&mut fields);
    let [messages, recipients] = ["messages", "recipients"].map(|key| {
        let value = fields.value(key, Kind::Count(1, AMOUNT_MAX));
        value.and_then(|value| {
            if let Value::Number(number) = value {
                Some(number)
            } else {
                None
            }
        })
    });
    let octets = octets(&mut fields);
    if !["messages", "recipients", "octets"].iter().any(|key| fields.has(key)) {
        let complaint = Complaint::new("the limit limits nothing", "needs messages, recipients or octets");
        fields.complain(
            KEY,
            complaint.hint("write messages = 100, recipients = 500 or octets = \"100 MiB\""),
        );
    }
    if !fields.has("time") {
        let complaint = Complaint::new("the limit has no time", "needs time");
        fields.complain("time", complaint.hint("write time = \"1h\" or time = \"1d\""));
    }
    let window = match fields.value("time", Kind::Time(1)) {
        Some(Value::Time(window)) => Some(window),
        _ => None,
    };
    let burst_percent = burst(&mut fields);
    let on_exceed = match fields.choice("on_exceed", &["defer", "reject", "hold"]).as_deref() {
        Some("reject") => OnExceed::Reject,
        Some("hold") => OnExceed::Hold,
        _ => OnExceed::Defer,
    };
    Some(Limit {
        name,
        per: per?,
        messages,
        recipients,
        octets,
        window: window?,
        burst_percent: burst_percent?,
        on_exceed,
    })
}

fn octets(fields: &mut Fields<'_>) -> Option<u64> {
    match fields.value("octets", Kind::Size)? {
        Value::Number(0) => {
            let complaint = Complaint::new("nobody could send anything", "expected a size above 0");
            fields.complain(
                "octets",
                complaint.hint("a rule with action = \"reject\" refuses mail altogether"),
            );
            None
        }
        Value::Number(number) => Some(number),
        _ => None,
    }
}

fn holder(fields: &mut Fields<'_>) -> Option<Holder> {
    const KEY: &str = "per";
    const EXPECTED: &str = "certificate, issuer, or an attribute such as subject.OU or issuer.O";
    let Some(located) = fields.table.get(KEY) else {
        return Some(Holder::Certificate);
    };
    let mut reader = fields.reader(KEY);
    let RawValue::Text(text) = &located.value else {
        return reader.mismatch(located, EXPECTED);
    };
    let of_name = |text: &str| match text.split_once('.') {
        Some(("subject", attribute)) => Some((NameOf::Subject, attribute.to_owned())),
        Some(("issuer", attribute)) => Some((NameOf::Issuer, attribute.to_owned())),
        _ => None,
    };
    match (text.as_str(), of_name(text)) {
        ("certificate", _) => Some(Holder::Certificate),
        ("issuer", _) => Some(Holder::Issuer),
        (_, Some((of, text))) => {
            let span = reader.place(&located.span);
            let attribute = words::attribute_type(&mut reader, &Word { text, span })?;
            Some(Holder::Attribute(of, attribute))
        }
        _ => {
            let hint = oid_of(text).map(|_| format!("write \"subject.{text}\""));
            reader.wrong(reader.place(&located.span), text, EXPECTED, hint)
        }
    }
}

fn burst(fields: &mut Fields<'_>) -> Option<u32> {
    const KEY: &str = "burst";
    const EXPECTED: &str = "a factor from 1 to 100, such as 3 or 1.5";
    let Some(located) = fields.table.get(KEY) else {
        return Some(100);
    };
    let mut reader = fields.reader(KEY);
    if !matches!(located.value, RawValue::Integer(_) | RawValue::Float(_)) {
        return reader.mismatch(located, EXPECTED);
    }
    let text = located.value.as_reference();
    match percent(&text) {
        Some(percent) if (100..=BURST_PERCENT_MAX).contains(&percent) => Some(percent),
        _ => reader.wrong(reader.place(&located.span), &text, EXPECTED, None),
    }
}

/// A number with at most two decimals, times a hundred.
fn percent(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let part: u32 = match part.len() {
        0 => 0,
        1 => part.parse::<u32>().ok()?.checked_mul(10)?,
        2 => part.parse().ok()?,
        _ => return None,
    };
    whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_is_read_in_percent() {
        for (text, expected) in [("3", 300), ("1.5", 150), ("1.05", 105), ("100", 10_000)] {
            assert_eq!(percent(text), Some(expected), "{text}");
        }
        for text in ["", "-1", "1.234", "1e3", "inf", "NaN", "99999999999"] {
            assert_eq!(percent(text), None, "{text}");
        }
    }
}
