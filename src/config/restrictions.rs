//! Restriction lists: words and certificate rules, each with its place.
//!
//! **Implements** the words of [`Restriction`], Sendmail's `CERTISSUER:` and `CERTSUBJECT:` lines with regular
//! expressions, and inline tables when both must hold.
//! **Does not** judge whether a list is safe: `list_checks` does.

use std::sync::Arc;

use regex::Regex;

use super::classes::{Class, Classes};
use super::error::{Complaint, Span};
use super::file::{Located, RawTable, RawValue};
use super::name_regex;
use super::nearest::nearest;
use super::reader::{Reader, Word};
use super::restriction_arguments as arguments;
use super::restriction_words::{self as words, Found, Listed, WARN_IF_REJECT};
use crate::policy::restriction::{Action, CertificateMatch, Restriction};
use crate::policy::table_action::TableAction;

/// Reads a restriction list: an array of strings and inline tables, or one string as in main.cf.
pub fn read(reader: &mut Reader<'_>, located: &Located) -> Option<Vec<Listed>> {
    match &located.value {
        RawValue::Text(text) if text.contains("CERTISSUER:") || text.contains("CERTSUBJECT:") => {
            let complaint = Complaint::new(
                "a certificate rule inside one long string",
                "expected an array of strings",
            );
            let hint = "write [\"permit_mynetworks\", \"CERTISSUER:...\", \"reject\"]: a regular expression may hold \
                        commas and spaces";
            reader.error(reader.place(&located.span), complaint.hint(hint));
            None
        }
        RawValue::Text(_) => read_elements(reader, std::slice::from_ref(located)),
        RawValue::List(elements) => read_elements(reader, elements),
        _ => reader.mismatch(located, "an array of restrictions"),
    }
}

/// Reads all elements, so that every fault is found; nothing when one was wrong. A word that wants something behind it
/// takes the next element.
fn read_elements(reader: &mut Reader<'_>, elements: &[Located]) -> Option<Vec<Listed>> {
    let mut list = Vec::new();
    let mut is_whole = true;
    let mut open: Option<Located> = None;
    for element in elements {
        let joined = match (open.take(), &element.value) {
            (Some(before), RawValue::Text(text)) => join(&before, text, element),
            (Some(before), _) => {
                is_whole &= warned(reader, &before, element, &mut list).is_some();
                continue;
            }
            (None, _) => element.clone(),
        };
        if wants_more(&joined) {
            open = Some(joined);
            continue;
        }
        match read_element(reader, &joined) {
            Some(mut found) => list.append(&mut found),
            None => is_whole = false,
        }
    }
    // Nothing follows: the word says so itself.
    if let Some(last) = open {
        is_whole &= read_element(reader, &last).is_some();
    }
    is_whole.then_some(list)
}

fn wants_more(element: &Located) -> bool {
    let RawValue::Text(text) = &element.value else {
        return false;
    };
    let last = tokens(text).pop().unwrap_or_default();
    let is_open = last == WARN_IF_REJECT || arguments::takes_argument(&last);
    is_open && !text.contains("CERTISSUER:") && !text.contains("CERTSUBJECT:")
}

fn join(before: &Located, text: &str, element: &Located) -> Located {
    let value = RawValue::Text(format!("{} {text}", before.value.as_reference()));
    Located {
        span: element.span.clone(),
        value,
    }
}

/// `"warn_if_reject"` before an inline table; any other word before one has no argument, and says so.
fn warned(reader: &mut Reader<'_>, before: &Located, element: &Located, list: &mut Vec<Listed>) -> Option<()> {
    let text = before.value.as_reference();
    let Some(first) = text.trim_end().strip_suffix(WARN_IF_REJECT) else {
        return read_element(reader, before).map(|_| ());
    };
    let first = Located {
        span: before.span.clone(),
        value: RawValue::Text(first.to_owned()),
    };
    let mut before = read_element(reader, &first)?;
    list.append(&mut before);
    for listed in read_element(reader, element)? {
        list.push(Listed {
            restriction: Restriction::WarnIfReject(Box::new(listed.restriction)),
            span: listed.span,
        });
    }
    Some(())
}

fn read_element(reader: &mut Reader<'_>, element: &Located) -> Option<Vec<Listed>> {
    let span = reader.place(&element.span);
    let restriction = match &element.value {
        RawValue::Table(table) if arguments::main_key(table).is_some() => {
            arguments::from_table(reader, table, &check_action)?
        }
        RawValue::Table(table) => from_table(reader, table, &element.span)?,
        RawValue::Text(text) => {
            let trimmed = text.trim();
            let issuer = trimmed.strip_prefix("CERTISSUER:");
            let Some(rule) = issuer.or_else(|| trimmed.strip_prefix("CERTSUBJECT:")) else {
                return from_words(reader, text, &element.span);
            };
            from_access_line(reader, rule, issuer.is_some(), &element.span)?
        }
        _ => return reader.mismatch(element, "a restriction: a string or an inline table"),
    };
    Some(vec![Listed { restriction, span }])
}

/// The words of one string, a restriction with its argument each.
fn from_words(reader: &mut Reader<'_>, text: &str, span: &Span) -> Option<Vec<Listed>> {
    let text = reader.expanded(text, span)?;
    let place = reader.place(span);
    let mut tokens = tokens(&text).into_iter();
    let mut list = Vec::new();
    let mut is_whole = true;
    while let Some(word) = tokens.next() {
        let word = Word {
            text: word,
            span: place.clone(),
        };
        match with_arguments(reader, &word, &mut tokens, span) {
            Some(restriction) => list.push(Listed {
                restriction,
                span: place.clone(),
            }),
            None => is_whole = false,
        }
    }
    is_whole.then_some(list)
}

/// One restriction, with what belongs to it of the words behind it.
fn with_arguments(
    reader: &mut Reader<'_>,
    word: &Word,
    rest: &mut impl Iterator<Item = String>,
    span: &Span,
) -> Option<Restriction> {
    let text = word.text.as_str();
    if text == WARN_IF_REJECT {
        let Some(next) = rest.next() else {
            let complaint = Complaint::new(
                "\"warn_if_reject\" has nothing behind it",
                "expected a restriction behind it",
            );
            reader.error(word.span.clone(), complaint);
            return None;
        };
        let next = Word {
            text: next,
            span: word.span.clone(),
        };
        let inner = with_arguments(reader, &next, rest, span)?;
        return Some(Restriction::WarnIfReject(Box::new(inner)));
    }
    if let Some(found) = class(reader, text) {
        return found;
    }
    if arguments::takes_argument(text) {
        let Some(argument) = rest.next() else {
            let complaint = Complaint::new(format!("\"{text}\" has no argument"), arguments::expected(text));
            reader.error(word.span.clone(), complaint);
            return None;
        };
        return arguments::from_text(reader, text, &argument, span, &check_action);
    }
    match words::find(reader, word) {
        Found::Restriction(restriction) => Some(restriction),
        Found::Wrong => None,
        Found::Nothing => {
            if words::is_later_with_argument(text) {
                let _ = rest.next();
            }
            words::complain(reader, word);
            None
        }
    }
}

/// A class of that name; the inner nothing when something in it is wrong, which is said where it is written.
#[expect(
    clippy::option_option,
    reason = "no class, and a class that is wrong, are two things"
)]
fn class(reader: &mut Reader<'_>, name: &str) -> Option<Option<Restriction>> {
    let classes = reader.classes?;
    let list = match classes.open(name) {
        Class::Unknown => return None,
        Class::Known(list) => list,
        Class::Circle => None,
        Class::Open(located) => {
            let in_file = std::mem::replace(&mut reader.in_file, false);
            let list = read(reader, &located).map(plain);
            reader.in_file = in_file;
            classes.close(name, list.clone());
            list
        }
    };
    Some(list.map(|list| Restriction::Class(name.to_owned(), list)))
}

fn plain(list: Vec<Listed>) -> Arc<[Restriction]> {
    list.into_iter().map(|listed| listed.restriction).collect()
}

/// What tables and policy services may name: classes, and certificate rules.
pub type Named = Vec<(String, Arc<[Restriction]>)>;

/// Reads `smtpd_restriction_classes`: a table of lists, or names that are keys of their own as in main.cf.
pub fn read_classes(reader: &mut Reader<'_>, located: &Located) -> Option<Named> {
    let mut names: Vec<(String, Option<Span>)> = Vec::new();
    if let RawValue::Table(table) = &located.value {
        names.extend(table.iter().map(|(key, span, _)| (key.to_owned(), reader.place(span))));
    } else {
        let words = reader.words(located, "names of restriction classes")?;
        names.extend(words.into_iter().map(|word| (word.text, word.span)));
    }
    let mut named = Vec::new();
    let mut is_whole = true;
    for (name, span) in names {
        match define(reader, &name, span) {
            Some(list) => named.push((name, list)),
            None => is_whole = false,
        }
    }
    let circles = reader.classes.map(Classes::circles).unwrap_or_default();
    for circle in circles {
        is_whole = false;
        let complaint = Complaint::new(
            format!("classes name each other in a circle: {circle}"),
            "expected an end",
        );
        reader.error(reader.place(&located.span), complaint.hint("take one of the names out"));
    }
    let allows = words::allows_null_sender(reader);
    for rule in &reader.rules.0 {
        if let Some(found) = rule.rule(allows) {
            named.push((rule.name.clone(), Arc::from([Restriction::Rule(found)])));
        }
    }
    is_whole.then_some(named)
}

/// Reads one class, and says what is wrong in it.
fn define(reader: &mut Reader<'_>, name: &str, span: Option<Span>) -> Option<Arc<[Restriction]>> {
    if words::is_known_word(name) || reader.rules.get(name).is_some() {
        let complaint = Complaint::new(
            format!("\"{name}\" is a restriction already"),
            "expected a name of its own",
        );
        reader.error(span, complaint.hint("choose another name"));
        return None;
    }
    let classes = reader.classes?;
    let Some(located) = classes.definition(name) else {
        let complaint = Complaint::new(
            format!("the class \"{name}\" has no list"),
            "expected a list of that name",
        );
        let hint = format!("write smtpd_restriction_classes = {{ {name} = [\"...\"] }}");
        reader.error(span, complaint.hint(hint));
        return None;
    };
    classes.enter(name);
    let list = read(reader, &located).map(plain);
    classes.close(name, list.clone());
    list
}

/// Whether a table may say this.
fn check_action(reader: &mut Reader<'_>, value: &str) -> Result<(), String> {
    if TableAction::is_template(value) {
        // The groups of the expression are put in first; what comes of it then is checked then.
        return Ok(());
    }
    let TableAction::Restrictions(names) = TableAction::parse(value)? else {
        return Ok(());
    };
    for name in &names {
        let is_known =
            class(reader, name).is_some() || Restriction::simple(name).is_some() || reader.rules.get(name).is_some();
        if !is_known {
            let near = nearest(name, ACTIONS).map(|near| format!("; did you mean {near}?"));
            return Err(format!(
                "\"{name}\" is neither an action nor a restriction without an argument{}",
                near.unwrap_or_default()
            ));
        }
    }
    Ok(())
}

/// The actions of access(5), for suggestions.
const ACTIONS: [&str; 14] = [
    "OK",
    "REJECT",
    "DEFER",
    "DEFER_IF_PERMIT",
    "DEFER_IF_REJECT",
    "DUNNO",
    "HOLD",
    "DISCARD",
    "WARN",
    "INFO",
    "PREPEND",
    "REDIRECT",
    "BCC",
    "RELAY",
];

/// Words between commas and white space; what stands in braces is one of them.
pub(super) fn tokens(text: &str) -> Vec<String> {
    let mut tokens = vec![String::new()];
    let mut depth = 0_usize;
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && c != '}' && (c == ',' || c.is_whitespace()) {
            tokens.push(String::new());
        } else if let Some(last) = tokens.last_mut() {
            last.push(c);
        }
    }
    tokens.retain(|token| !token.is_empty());
    tokens
}

/// What follows `CERTISSUER:` or `CERTSUBJECT:`; the value column of Sendmail's access file may stand behind it.
fn from_access_line(reader: &mut Reader<'_>, rule: &str, is_issuer: bool, span: &Span) -> Option<Restriction> {
    let pattern = match rule.rsplit_once(char::is_whitespace) {
        Some((key, "RELAY")) => sendmail_key(key.trim_end()),
        Some((_, "SUBJECT")) => {
            let complaint = Complaint::new("SUBJECT is not supported here", "expected RELAY or nothing");
            let hint = "write { CERTISSUER = \"...\", CERTSUBJECT = \"...\" }: both must match";
            reader.error(reader.place(span), complaint.hint(hint));
            return None;
        }
        _ => rule.to_owned(),
    };
    let regex = Some(name_regex::read(reader, &pattern, span)?);
    let (issuer, subject) = if is_issuer { (regex, None) } else { (None, regex) };
    Some(Restriction::Certificate(CertificateMatch {
        issuer,
        subject,
        action: Action::Permit,
    }))
}

/// A key of Sendmail's access file is a whole name; one that is written as an expression stays one.
fn sendmail_key(key: &str) -> String {
    const SPECIAL: [char; 13] = ['^', '$', '*', '+', '?', '(', ')', '[', ']', '{', '}', '|', '\\'];
    if key.starts_with('/') && !key.contains(SPECIAL) {
        format!("^{}$", key.replace('.', r"\."))
    } else {
        key.to_owned()
    }
}

fn from_table(reader: &mut Reader<'_>, table: &RawTable, span: &Span) -> Option<Restriction> {
    const KEYS: [&str; 3] = ["CERTISSUER", "CERTSUBJECT", "action"];
    let mut is_whole = true;
    for (key, key_span, _) in table.iter().filter(|(key, ..)| !KEYS.contains(key)) {
        is_whole = false;
        let hint = nearest(key, KEYS).map(|near| format!("did you mean {near}?"));
        let complaint = Complaint::new(format!("\"{key}\" is not a key of a certificate rule"), EXPECTED_TABLE);
        reader.error(reader.place(key_span), complaint.maybe_hint(hint));
    }
    let issuer = table.get("CERTISSUER").map(|located| table_regex(reader, located));
    let subject = table.get("CERTSUBJECT").map(|located| table_regex(reader, located));
    let action = table.get("action").map_or(Some(Action::Permit), |l| action(reader, l));
    if issuer.is_none() && subject.is_none() && is_whole {
        let complaint = Complaint::new("neither CERTISSUER nor CERTSUBJECT is given", EXPECTED_TABLE);
        reader.error(reader.place(span), complaint);
        return None;
    }
    let rule = CertificateMatch {
        issuer: issuer.map_or(Some(None), |found| found.map(Some))?,
        subject: subject.map_or(Some(None), |found| found.map(Some))?,
        action: action?,
    };
    is_whole.then_some(Restriction::Certificate(rule))
}

const EXPECTED_TABLE: &str =
    "expected { CERTISSUER = \"<regex>\", CERTSUBJECT = \"<regex>\", action = \"permit\" | \"reject\" | \"defer\" }";

fn table_regex(reader: &mut Reader<'_>, located: &Located) -> Option<Regex> {
    match &located.value {
        RawValue::Text(text) => name_regex::read(reader, text.trim(), &located.span),
        _ => reader.mismatch(located, "a regular expression in a string"),
    }
}

fn action(reader: &mut Reader<'_>, located: &Located) -> Option<Action> {
    let RawValue::Text(text) = &located.value else {
        return reader.mismatch(located, "\"permit\", \"reject\" or \"defer\"");
    };
    match text.as_str() {
        "permit" | "RELAY" => Some(Action::Permit),
        "reject" => Some(Action::Reject),
        "defer" => Some(Action::Defer),
        _ => {
            let near = nearest(text, ["permit", "reject", "defer"]).map(|near| format!("did you mean \"{near}\"?"));
            reader.wrong(
                reader.place(&located.span),
                text,
                "\"permit\", \"reject\" or \"defer\"",
                near,
            )
        }
    }
}
