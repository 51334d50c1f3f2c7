//! The entries of `smtpd_forbidden_commands`: words and regular expressions.

use regex::RegexBuilder;

use super::error::Complaint;
use super::reader::{Reader, Word};
use crate::session::defences::ForbiddenCommands;

/// Reads an entry of `smtpd_forbidden_commands`. Postfix's `regexp:{{/PATTERN/ text}}` is taken too; its text, which
/// nobody is shown, comes as a word of its own.
pub fn read(reader: &mut Reader<'_>, word: &Word) -> Option<String> {
    let text = word.text.strip_prefix("regexp:{{").unwrap_or(&word.text);
    let text = text.strip_suffix("}}").unwrap_or(text);
    let fault = match pattern_of(text) {
        Some(pattern) => build_pattern(pattern).err().map(|error| error.to_string()),
        None if text.contains([':', '/', '{', '}']) => Some("neither a word nor a /regular expression/".into()),
        None => None,
    };
    let Some(fault) = fault else {
        return Some(text.into());
    };
    let complaint = Complaint::new(format!("\"{}\": {fault}", word.text), "expected GET or /^[^A-Z]/");
    reader.error(
        word.span.clone(),
        complaint.hint("write the words themselves; letter case does not matter"),
    );
    None
}

/// The checked entries.
pub fn build(entries: &[String]) -> ForbiddenCommands {
    let mut commands = ForbiddenCommands::default();
    for entry in entries {
        match pattern_of(entry) {
            Some(pattern) => commands.patterns.extend(build_pattern(pattern)),
            None => commands.words.push(entry.clone()),
        }
    }
    commands
}

fn pattern_of(text: &str) -> Option<&str> {
    text.strip_prefix('/')?.strip_suffix('/')
}

fn build_pattern(pattern: &str) -> Result<regex::Regex, regex::Error> {
    RegexBuilder::new(pattern).case_insensitive(true).build()
}
