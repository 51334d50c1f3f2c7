//! Files of look-up tables, as text.
//!
//! **Implements** the syntax of Postfix's texthash, cidr_table(5), regexp_table(5) and pcre_table(5): comments,
//! continued lines, `!`, `if`/`endif`, flags.
//! **Does not** know what the regex crate cannot do (look-around, back-references), nor `if` in tables of networks: these are
//! refused with their line.

use std::collections::HashMap;

use ipnet::IpNet;
use regex::{Regex, RegexBuilder};

use crate::net::parse_network;
use crate::policy::table::{Entries, NetworkEntry, PatternEntry, whole_key};

/// Octets of one compiled expression at most.
const PATTERN_OCTETS_MAX: usize = 4 * 1024 * 1024;

/// The forms of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `texthash:`, and the source text of `hash:` and its kin.
    Keys,
    /// `cidr:`.
    Networks,
    /// `regexp:`.
    Regexp,
    /// `pcre:`.
    Pcre,
}

impl Form {
    /// What a line looks like.
    pub const fn expected(self) -> &'static str {
        match self {
            Self::Keys => "expected lines such as \"example.org REJECT\"",
            Self::Networks => "expected lines such as \"192.0.2.0/24 REJECT\"",
            Self::Regexp | Self::Pcre => "expected lines such as \"/@example\\.org$/ REJECT\"",
        }
    }
}

/// One fault, or one warning, with its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Counted from 1.
    pub line: usize,
    /// In words.
    pub message: String,
}

/// Entries, and the values with their lines.
pub type Parsed = (Entries, Vec<(usize, String)>);

/// Reads a file's text; the lines of the values are returned beside the entries.
///
/// # Errors
/// Every line that is wrong.
pub fn parse(form: Form, text: &str) -> Result<Parsed, Vec<Fault>> {
    let (mut faults, mut values) = (Vec::new(), Vec::new());
    let entries = match form {
        Form::Keys => keys(text, &mut values, &mut faults),
        Form::Networks => networks(text, &mut values, &mut faults),
        Form::Regexp | Form::Pcre => patterns(form, text, &mut values, &mut faults),
    };
    if faults.is_empty() {
        Ok((entries, values))
    } else {
        Err(faults)
    }
}

/// Lines with those that continue them, without comments and empty ones.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        match lines.last_mut() {
            Some((_, last)) if line.starts_with([' ', '\t']) => {
                last.push(' ');
                last.push_str(trimmed);
            }
            _ => lines.push((index + 1, trimmed.to_owned())),
        }
    }
    lines
}

fn keys(text: &str, values: &mut Vec<(usize, String)>, faults: &mut Vec<Fault>) -> Entries {
    let mut entries = HashMap::new();
    for (line, text) in logical_lines(text) {
        let Some((key, value)) = text.split_once(char::is_whitespace) else {
            let message = format!("\"{text}\" has no value: expected a key, white space and a value");
            faults.push(Fault { line, message });
            continue;
        };
        let value = value.trim().to_owned();
        values.push((line, value.clone()));
        let before = entries.insert(whole_key(key), value.clone());
        if before.is_some_and(|before| before != value) {
            let message = format!("\"{key}\" stands twice");
            faults.push(Fault { line, message });
        }
    }
    Entries::Keys(entries)
}

fn networks(text: &str, values: &mut Vec<(usize, String)>, faults: &mut Vec<Fault>) -> Entries {
    let mut entries = Vec::new();
    for (line, text) in logical_lines(text) {
        match network(&text) {
            Ok(entry) => {
                values.push((line, entry.value.clone()));
                entries.push(entry);
            }
            Err(message) => faults.push(Fault { line, message }),
        }
    }
    Entries::Networks(entries)
}

fn network(text: &str) -> Result<NetworkEntry, String> {
    let (negated, text) = negation(text);
    let (network, value) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    if matches!(network.to_ascii_lowercase().as_str(), "if" | "endif") {
        return Err(format!("\"{network}\" is not supported in tables of networks"));
    }
    let parsed: IpNet = parse_network(network).map_err(|why| format!("\"{network}\": {why}"))?;
    match value.trim() {
        "" => Err(format!("\"{network}\" has no value")),
        value => Ok(NetworkEntry {
            network: parsed,
            negated,
            value: value.to_owned(),
        }),
    }
}

fn patterns(form: Form, text: &str, values: &mut Vec<(usize, String)>, faults: &mut Vec<Fault>) -> Entries {
    let mut entries = Vec::new();
    let mut conditions: Vec<(Regex, bool)> = Vec::new();
    let lines = logical_lines(text);
    let end = lines.last().map_or(1, |(line, _)| *line);
    for (line, text) in lines {
        let word = text.get(..2).unwrap_or_default();
        let result = if text.eq_ignore_ascii_case("endif") {
            conditions
                .pop()
                .map(|_| ())
                .ok_or_else(|| "endif without if".to_owned())
        } else if word.eq_ignore_ascii_case("if")
            && text
                .get(2..)
                .is_some_and(|rest| rest.starts_with([' ', '\t', '/', '!']))
        {
            condition(form, text.get(2..).unwrap_or_default()).map(|found| conditions.push(found))
        } else {
            pattern(form, &text, &conditions).map(|entry| {
                values.push((line, entry.value.clone()));
                entries.push(entry);
            })
        };
        if let Err(message) = result {
            faults.push(Fault { line, message });
        }
    }
    if !conditions.is_empty() {
        let message = "if without endif".to_owned();
        faults.push(Fault { line: end, message });
    }
    Entries::Patterns(entries)
}

fn condition(form: Form, text: &str) -> Result<(Regex, bool), String> {
    let (negated, text) = negation(text.trim());
    let (regex, rest) = expression(form, text)?;
    if !rest.is_empty() {
        return Err(format!("\"{rest}\" stands behind the expression of an if"));
    }
    Ok((regex, negated))
}

fn pattern(form: Form, text: &str, conditions: &[(Regex, bool)]) -> Result<PatternEntry, String> {
    let (negated, text) = negation(text);
    let (pattern, value) = expression(form, text)?;
    if value.is_empty() {
        return Err("the expression has no value".into());
    }
    Ok(PatternEntry {
        pattern,
        negated,
        conditions: conditions.to_vec(),
        value: value.to_owned(),
    })
}

fn negation(text: &str) -> (bool, &str) {
    match text.strip_prefix('!') {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text),
    }
}

/// `/expression/flags`, and what follows it. Letter case is ignored unless the flag `i` says otherwise.
fn expression(form: Form, text: &str) -> Result<(Regex, &str), String> {
    let mut chars = text.chars();
    let delimiter = chars.next().filter(|c| !c.is_alphanumeric() && *c != '\\');
    let Some(delimiter) = delimiter else {
        return Err(format!("\"{text}\" does not begin with an expression such as /^a/"));
    };
    let behind = chars.as_str();
    let Some(end) = unescaped(behind, delimiter) else {
        return Err(format!("the expression does not end with {delimiter}"));
    };
    let (inside, rest) = behind.split_at_checked(end).unwrap_or((behind, ""));
    let rest = rest.get(delimiter.len_utf8()..).unwrap_or_default();
    let (flags, value) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let inside = inside.replace(&format!("\\{delimiter}"), &delimiter.to_string());
    let mut builder = RegexBuilder::new(&inside);
    builder
        .size_limit(PATTERN_OCTETS_MAX)
        .case_insensitive(true)
        .dot_matches_new_line(true);
    for flag in flags.chars() {
        match flag {
            'i' => builder.case_insensitive(false),
            'm' => builder.multi_line(true),
            's' => builder.dot_matches_new_line(false),
            'x' if form == Form::Pcre => builder.ignore_whitespace(true),
            // regexp_table(5): basic expressions, which the regex crate does not know.
            'x' => return Err("the flag x of regexp: is not supported: basic expressions are not known here".into()),
            _ => return Err(format!("\"{flag}\" is not a flag of an expression: i, m, s, x are")),
        };
    }
    let regex = builder.build().map_err(|why| {
        let short = why.to_string();
        let last = short.lines().last().unwrap_or_default().trim().to_owned();
        format!("/{inside}/ is no regular expression here: {last}")
    })?;
    Ok((regex, value.trim()))
}

/// Where a character stands that no backslash stands before.
fn unescaped(text: &str, wanted: char) -> Option<usize> {
    let mut is_escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let found = c == wanted && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        found.then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::table::Table;

    fn table(form: Form, text: &str) -> Table {
        let (entries, _) = parse(form, text).expect("a good table");
        Table {
            name: "test".into(),
            entries,
        }
    }

    #[test]
    fn files_are_read_as_postfix_reads_them() {
        let keys = table(Form::Keys, "# comment\nExample.org\tREJECT no\n  thanks\n\nb OK\n");
        assert_eq!(keys.find("EXAMPLE.org").as_deref(), Some("REJECT no thanks"));
        assert_eq!(keys.find("c"), None);
        let both = table(Form::Keys, "b\u{fc}cher.example OK\nxn--bcher-kva.example OK\n");
        assert_eq!(both.find("B\u{dc}CHER.example").as_deref(), Some("OK"));
        let networks = table(Form::Networks, "192.0.2.0/24 OK\n!2001:db8::/32 REJECT outside\n");
        assert_eq!(networks.find("192.0.2.9").as_deref(), Some("OK"));
        assert_eq!(networks.find("2001:db8::1"), None);
        assert_eq!(networks.find("2001:db9::1").as_deref(), Some("REJECT outside"));
        let patterns = table(
            Form::Pcre,
            "if /@example\\.org$/\n/^(a.*)@/ REJECT $1\nendif\n!/@/ DUNNO\n/^B@/i OK\n/x\\/y/ HOLD\n",
        );
        assert_eq!(patterns.find("Alice@example.org").as_deref(), Some("REJECT Alice"));
        assert_eq!(patterns.find("alice@example.net"), None);
        assert_eq!(patterns.find("alice").as_deref(), Some("DUNNO"));
        assert_eq!(patterns.find("b@x"), None);
        assert_eq!(patterns.find("B@x").as_deref(), Some("OK"));
        assert_eq!(patterns.find("x/y@").as_deref(), Some("HOLD"));
    }

    #[test]
    fn every_bad_line_is_told() {
        for (form, text, lines) in [
            (Form::Keys, "a OK\nb\nA REJECT\n", vec![2, 3]),
            (
                Form::Networks,
                "192.0.2.1/24 OK\n192.0.2.0/24\nif x\nx OK\n",
                vec![1, 2, 3, 4],
            ),
            (
                Form::Regexp,
                "/a/ OK\n/(?=a)/ OK\n/b OK\n/c/q OK\nendif\n/a/x OK\nif /a/\n",
                vec![2, 3, 4, 5, 6, 7],
            ),
            (Form::Pcre, "/(a)\\1/ OK\nword OK\n", vec![1, 2]),
        ] {
            let faults = parse(form, text).expect_err("faults");
            assert_eq!(
                faults.iter().map(|fault| fault.line).collect::<Vec<_>>(),
                lines,
                "{text}"
            );
        }
    }
}
