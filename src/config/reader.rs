//! One value being read: its text with references expanded, its words, and a way to complain about it.

use std::path::Path;

use super::certificate_rules::defined::RuleSet;
use super::classes::Classes;
use super::error::{Complaint, Findings, Span};
use super::expand::{ExpandError, expand};
use super::file::{Located, RawValue};
use super::nearest::nearest;

/// What reading one value needs.
pub struct Reader<'a> {
    /// The directive.
    pub key: &'a str,
    /// Whether the value stands in the file; the places of a default mean nothing.
    pub in_file: bool,
    /// The unexpanded text of a directive.
    pub lookup: &'a dyn Fn(&str) -> Option<String>,
    /// Names for suggestions when a reference is unknown.
    pub names: &'a [&'static str],
    /// Where relative paths start.
    pub directory: &'a Path,
    /// The certificate rules that a restriction list may name.
    pub rules: &'a RuleSet,
    /// The classes that a restriction list may name, where there can be any.
    pub classes: Option<&'a Classes<'a>>,
    /// Where faults go.
    pub findings: &'a mut Findings,
}

/// A word of a list and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The word.
    pub text: String,
    /// The element it comes from; `None` in a default.
    pub span: Option<Span>,
}

impl Reader<'_> {
    /// The place, when it is one in the file.
    pub fn place(&self, span: &Span) -> Option<Span> {
        self.in_file.then(|| span.clone())
    }

    /// Records an error about this value. A default can only be wrong because of a value it refers to, and that
    /// value has its own error.
    pub fn error(&mut self, span: Option<Span>, complaint: Complaint) {
        if self.in_file {
            self.findings.error(self.key, span, complaint);
        }
    }

    /// Records a warning about this value.
    pub fn warning(&mut self, span: Option<Span>, complaint: Complaint) {
        if self.in_file {
            self.findings.warning(self.key, span, complaint);
        }
    }

    /// Records that a value is of the wrong type, and gives nothing.
    pub fn mismatch<T>(&mut self, located: &Located, expected: &str) -> Option<T> {
        let message = format!("found {}, expected {expected}", located.value.kind());
        let span = self.place(&located.span);
        self.error(span, Complaint::new(message, format!("expected {expected}")));
        None
    }

    /// Records that a text is not what it should be, and gives nothing.
    pub fn wrong<T>(&mut self, span: Option<Span>, found: &str, expected: &str, hint: Option<String>) -> Option<T> {
        let expected = expected.strip_prefix("expected ").unwrap_or(expected);
        let message = format!("found \"{found}\", expected {expected}");
        self.error(
            span,
            Complaint::new(message, format!("expected {expected}")).maybe_hint(hint),
        );
        None
    }

    /// The text of a string, expanded.
    pub fn text(&mut self, located: &Located, expected: &str) -> Option<String> {
        match &located.value {
            RawValue::Text(text) => self.expanded(text, &located.span),
            _ => self.mismatch(located, expected),
        }
    }

    /// A text with its references replaced.
    pub fn expanded(&mut self, text: &str, span: &Span) -> Option<String> {
        match expand(text, self.lookup, &mut vec![self.key.to_owned()]) {
            Ok(text) => Some(text),
            Err(error) => {
                let hint = match &error {
                    ExpandError::Unknown(name) => {
                        nearest(name, self.names.iter().copied()).map(|near| format!("did you mean ${near}?"))
                    }
                    ExpandError::Cycle(_) => Some("write one of them without a reference".into()),
                    ExpandError::Unclosed | ExpandError::TooLong => None,
                };
                let span = self.place(span);
                let complaint = Complaint::new(error.to_string(), "expected references to other directives");
                self.error(span, complaint.maybe_hint(hint));
                None
            }
        }
    }

    /// The words of an array of strings, or of one string separated by commas and white space as in main.cf.
    pub fn words(&mut self, located: &Located, expected: &str) -> Option<Vec<Word>> {
        match &located.value {
            RawValue::Text(text) => Some(self.split(text, &located.span)?),
            RawValue::List(elements) => {
                let mut words = Some(Vec::new());
                for element in elements {
                    let found = match &element.value {
                        RawValue::Text(text) => self.split(text, &element.span),
                        _ => self.mismatch(element, expected),
                    };
                    words = words.zip(found).map(|(mut all, mut found)| {
                        all.append(&mut found);
                        all
                    });
                }
                words
            }
            _ => self.mismatch(located, &format!("an array: {expected}")),
        }
    }

    /// The words of one string.
    pub fn split(&mut self, text: &str, span: &Span) -> Option<Vec<Word>> {
        let expanded = self.expanded(text, span)?;
        let place = self.place(span);
        let words = expanded
            .split(|c: char| c == ',' || c.is_whitespace())
            .filter(|word| !word.is_empty());
        let word = |text: &str| Word {
            text: text.into(),
            span: place.clone(),
        };
        Some(words.map(word).collect())
    }
}
