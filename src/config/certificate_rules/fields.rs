//! One table of a certificate rule being read: its keys, their typed values, and a way to complain.

use std::path::Path;

use super::defined::RuleSet;
use super::keys::Key;
use crate::config::directives;
use crate::config::directives::kind::Kind;
use crate::config::environment::Environment;
use crate::config::error::{Complaint, Findings, Span};
use crate::config::file::{Located, RawTable, RawValue};
use crate::config::nearest::nearest;
use crate::config::reader::{Reader, Word};
use crate::config::value::{self, Value};

/// What all tables need.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The unexpanded text of a directive.
    pub lookup: &'a dyn Fn(&str) -> Option<String>,
    /// Names of directives.
    pub names: &'a [&'static str],
    /// Where relative paths start.
    pub directory: &'a Path,
    /// The machine, and whether the files that rules name are looked at.
    pub environment: &'a Environment,
    /// The rules before this one.
    pub rules: &'a RuleSet,
}

/// One table.
pub struct Fields<'a> {
    /// Its keys and values.
    pub table: &'a RawTable,
    /// Where to complain about the table itself.
    pub span: Span,
    /// What all tables need.
    pub context: Context<'a>,
    /// Where faults go.
    pub findings: &'a mut Findings,
}

impl<'a> Fields<'a> {
    /// A table inside this one.
    pub fn inner<'b>(&'b mut self, table: &'b RawTable, span: Span) -> Fields<'b>
    where
        'a: 'b,
    {
        Fields {
            table,
            span,
            context: self.context,
            findings: self.findings,
        }
    }

    /// A reader for the value of this key.
    pub fn reader<'b>(&'b mut self, key: &'b str) -> Reader<'b> {
        Reader {
            key,
            in_file: true,
            lookup: self.context.lookup,
            names: self.context.names,
            directory: self.context.directory,
            rules: self.context.rules,
            classes: None,
            findings: self.findings,
        }
    }

    /// Whether the key is written.
    pub fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    /// The value of a key, read as that of a directive; `None` when it is not written or wrong.
    pub fn value(&mut self, key: &str, kind: Kind) -> Option<Value> {
        let located = self.table.get(key)?;
        value::read(&mut self.reader(key), kind, located)
    }

    /// A choice; `None` when it is not written, empty or wrong.
    pub fn choice(&mut self, key: &str, words: &'static [&'static str]) -> Option<String> {
        if let Value::Text(Some(text)) = self.value(key, Kind::Choice(words))? {
            return Some(text);
        }
        let expected = format!("expected one of {}", words.join(", "));
        self.complain(key, Complaint::new("found \"\"", expected));
        None
    }

    /// A string or several, as they are: neither expanded nor split. `None` when the key is not written; what is wrong
    /// is left out.
    pub fn each(
        &mut self,
        key: &str,
        expected: &str,
        parse: impl Fn(&mut Reader<'_>, &Word) -> Option<String>,
    ) -> Option<Vec<String>> {
        let located = self.table.get(key)?;
        Some(each_string(&mut self.reader(key), located, expected, parse))
    }

    /// Complains about the value of a key, or about the table when the key is not there.
    pub fn complain(&mut self, key: &str, complaint: Complaint) {
        let span = self.table.get(key).map(|located| located.span.clone());
        let span = span.unwrap_or_else(|| self.span.clone());
        self.findings.error(key, Some(span), complaint);
    }

    /// Complains about every key that is none of these.
    pub fn check_keys(&mut self, what: &str, known: &[&[Key]]) {
        let names = || known.iter().flat_map(|keys| keys.iter()).map(|key| key.name);
        for (key, span, _) in self.table.iter() {
            if names().any(|name| name == key) {
                continue;
            }
            let expected = format!("expected a key of {what}");
            let complaint = Complaint::new(format!("not a key of {what}"), expected);
            let near = nearest(key, names()).map(|near| format!("did you mean {near}?"));
            let hint = match near {
                None if directives::find(key).is_some() => {
                    "it is a directive: directives stand before the first [[certificate_rule]] and [[listener]]".into()
                }
                Some(near) => near,
                None => "docs/directives.md lists the keys".into(),
            };
            self.findings.error(key, Some(span.clone()), complaint.hint(hint));
        }
    }
}

/// The strings of a value, each parsed; empty ones, repeated ones and an empty array are errors.
pub fn each_string(
    reader: &mut Reader<'_>,
    located: &Located,
    expected: &str,
    parse: impl Fn(&mut Reader<'_>, &Word) -> Option<String>,
) -> Vec<String> {
    let elements = match &located.value {
        RawValue::List(elements) => elements.as_slice(),
        _ => std::slice::from_ref(located),
    };
    if elements.is_empty() {
        let complaint = Complaint::new("an empty array is satisfied by nothing", format!("expected {expected}"));
        reader.error(
            reader.place(&located.span),
            complaint.hint("take the key out, or write a value"),
        );
    }
    let mut found: Vec<String> = Vec::new();
    for element in elements {
        let RawValue::Text(text) = &element.value else {
            let _: Option<String> = reader.mismatch(element, &format!("{expected}, in a string"));
            continue;
        };
        let word = Word {
            text: text.clone(),
            span: reader.place(&element.span),
        };
        if text.trim().is_empty() {
            let _: Option<String> = reader.wrong(word.span, text, expected, None);
            continue;
        }
        let Some(read) = parse(reader, &word) else { continue };
        if found.contains(&read) {
            let complaint = Complaint::new(format!("\"{text}\" stands twice"), "a repetition");
            reader.error(word.span, complaint.hint("take it out"));
        } else {
            found.push(read);
        }
    }
    found
}
