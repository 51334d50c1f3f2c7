//! What is wrong with a configuration, where, and what to write instead.
//!
//! **Implements** the collection of every error and warning before anything listens, rendered like a compiler's.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Element, Level, Renderer, Snippet};

/// Longest piece of the file that a diagnostic quotes as found, in characters.
const FOUND_CHARS_MAX: usize = 120;

/// Longest sentence of a diagnostic, in characters: it may quote a value.
const MESSAGE_CHARS_MAX: usize = 400;

/// Most diagnostics that are printed; a file that has more is no configuration.
const PRINTED_MAX: usize = 100;

/// Octets of the file.
pub type Span = Range<usize>;

/// The file that the spans of its diagnostics refer to.
#[derive(Debug)]
pub struct Source {
    /// As given on the command line.
    pub path: PathBuf,
    /// The whole text.
    pub text: String,
}

/// Whether the configuration can be used in spite of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can; somebody should look.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// The directive, or a word such as `listener` for what is not one.
    pub key: String,
    /// The line, counted from 1; 0 when the fault is nowhere in the file.
    pub line: usize,
    /// What is wrong, in a sentence.
    pub message: String,
    /// What stands in the file.
    pub found: String,
    /// What should stand there.
    pub expected: String,
    /// What to do.
    pub hint: Option<String>,
    span: Option<Span>,
    source: Arc<Source>,
}

/// What to say about a fault.
#[derive(Clone, Debug)]
pub struct Complaint {
    /// What is wrong, in a sentence.
    pub message: String,
    /// What should stand there.
    pub expected: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Complaint {
    /// A fault and what should stand there instead.
    pub fn new(message: impl Into<String>, expected: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            expected: expected.into(),
            hint: None,
        }
    }

    /// The same with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with advice when there is any.
    #[must_use]
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

impl Diagnostic {
    fn new(source: &Arc<Source>, severity: Severity, key: &str, span: Option<Span>, complaint: Complaint) -> Self {
        let span = span.map(|span| within(&source.text, &span));
        let found = span.clone().and_then(|span| source.text.get(span)).unwrap_or_default();
        Self {
            severity,
            key: key.into(),
            line: span.as_ref().map_or(0, |span| line_of(&source.text, span.start)),
            message: shortened(complaint.message),
            found: found.chars().take(FOUND_CHARS_MAX).collect(),
            expected: complaint.expected,
            hint: complaint.hint,
            span,
            source: Arc::clone(source),
        }
    }

    /// The file it is about.
    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// Place, directive, what is wrong and what to do, on one line.
    pub fn one_line(&self) -> String {
        let mut text = self.path().display().to_string();
        if self.line > 0 {
            text.push_str(&format!(":{}", self.line));
        }
        for part in [self.key.as_str(), self.message.as_str()] {
            if !part.is_empty() {
                text.push_str(": ");
                text.push_str(part);
            }
        }
        if let Some(hint) = &self.hint {
            text.push_str("; ");
            text.push_str(hint);
        }
        text
    }

    /// With the line of the file and a pointer into it; `styled` adds colours for a terminal.
    pub fn render(&self, styled: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = if self.key.is_empty() {
            self.message.clone()
        } else {
            format!("{}: {}", self.key, self.message)
        };
        let path = self.source.path.display().to_string();
        let title = level.primary_title(title.as_str());
        let mut elements: Vec<Element<'_>> = Vec::new();
        if let Some(span) = self.span.clone() {
            let annotation = AnnotationKind::Primary.span(span).label(self.expected.as_str());
            let snippet = Snippet::source(self.source.text.as_str()).path(path.as_str());
            elements.push(snippet.line_start(1).annotation(annotation).into());
        } else if !self.expected.is_empty() {
            elements.push(Level::NOTE.message(self.expected.as_str()).into());
        }
        if let Some(hint) = &self.hint {
            elements.push(Level::HELP.message(hint.as_str()).into());
        }
        let group = title.elements(elements);
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        let text = renderer.render(&[group]);
        if self.span.is_some() {
            text
        } else {
            format!("{path}: {text}")
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// Everything that is wrong with a configuration that cannot be used: errors first, in the order of the file.
#[derive(Clone, Debug, thiserror::Error)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// All of them, one after the other; `styled` adds colours for a terminal.
    pub fn render(&self, styled: bool) -> String {
        let printed = self.0.iter().take(PRINTED_MAX);
        let mut rendered: Vec<String> = printed.map(|diagnostic| diagnostic.render(styled)).collect();
        let left = self.0.len().saturating_sub(PRINTED_MAX);
        if left > 0 {
            rendered.push(format!("and {left} more"));
        }
        rendered.join("\n\n")
    }

    /// The errors, a line each, for a log.
    pub fn lines(&self) -> Vec<String> {
        let errors = self.0.iter().filter(|found| found.severity == Severity::Error);
        errors.take(PRINTED_MAX).map(Diagnostic::one_line).collect()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// Where the checks put what they find; the same fault seen through several listeners is kept once.
#[derive(Debug)]
pub struct Findings {
    source: Arc<Source>,
    found: Vec<Diagnostic>,
}

impl Findings {
    /// Nothing found yet.
    pub fn new(source: Source) -> Self {
        Self {
            source: Arc::new(source),
            found: Vec::new(),
        }
    }

    /// The text of the file.
    pub fn text(&self) -> &str {
        &self.source.text
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// The first line of a table: its span is that of its header or of its whole body, and one line is enough to
    /// point at.
    pub fn first_line(&self, span: &Span) -> Span {
        let text = self.text().get(span.clone()).unwrap_or_default();
        let end = text.find('\n').unwrap_or(text.len());
        span.start..span.start + end
    }

    /// Records what makes the configuration unusable.
    pub fn error(&mut self, key: &str, span: Option<Span>, complaint: Complaint) {
        self.add(Severity::Error, key, span, complaint);
    }

    /// Records what somebody should look at.
    pub fn warning(&mut self, key: &str, span: Option<Span>, complaint: Complaint) {
        self.add(Severity::Warning, key, span, complaint);
    }

    fn add(&mut self, severity: Severity, key: &str, span: Option<Span>, complaint: Complaint) {
        let new = Diagnostic::new(&self.source, severity, key, span, complaint);
        let is_known = self
            .found
            .iter()
            .any(|old| old.span == new.span && old.key == new.key && old.message == new.message);
        if !is_known {
            self.found.push(new);
        }
    }

    /// Keeps only what is about these directives.
    pub fn retain(&mut self, is_wanted: impl Fn(&str) -> bool) {
        self.found.retain(|found| is_wanted(&found.key));
    }

    /// How many errors were recorded.
    pub fn errors(&self) -> usize {
        let errors = self.found.iter().filter(|found| found.severity == Severity::Error);
        errors.count()
    }

    /// The warnings, when they are all there is.
    ///
    /// # Errors
    /// All errors and warnings, errors first, in the order of the file.
    pub fn finish(mut self) -> Result<Vec<Diagnostic>, Diagnostics> {
        self.found
            .sort_by_key(|found| (found.severity == Severity::Warning, found.line));
        if self.errors() > 0 {
            Err(Diagnostics(self.found))
        } else {
            Ok(self.found)
        }
    }
}

/// The sentence without the middle of what it quotes, when that is very long.
fn shortened(message: String) -> String {
    let count = message.chars().count();
    if count <= MESSAGE_CHARS_MAX {
        return message;
    }
    let half = MESSAGE_CHARS_MAX / 2;
    let (head, tail) = (message.chars().take(half), message.chars().skip(count - half));
    head.chain(" ... ".chars()).chain(tail).collect()
}

/// The span cut to the text and moved outwards to whole characters.
fn within(text: &str, span: &Span) -> Span {
    let mut start = span.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = span.end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}
