//! `tests/dialogues/postfix-differences.toml`: what is known to differ, and why; and the same as a page's section.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Deserialize;

use crate::conversation::Difference;

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    #[serde(default)]
    pub(crate) announced: Vec<Announced>,
    #[serde(default)]
    pub(crate) difference: Vec<Row>,
    #[serde(default)]
    pub(crate) left_out: Vec<LeftOut>,
}

/// A line of the answer to EHLO that only one side has.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Announced {
    pub(crate) line: String,
    /// `postfix` or `estafette`.
    pub(crate) by: String,
    pub(crate) reason: String,
}

/// A reply that is another one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    pub(crate) ours: String,
    pub(crate) postfix: String,
    /// Where that happens.
    pub(crate) dialogues: BTreeSet<String>,
    pub(crate) reason: String,
}

/// Dialogues that are not held with Postfix.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LeftOut {
    pub(crate) reason: String,
    pub(crate) dialogues: BTreeSet<String>,
}

const HEAD: &str = "\
# Where Debian's Postfix answers the dialogues of this folder otherwise, and why: tests/dialogues_postfix.rs compares.
# BLESS=1 writes this file anew and keeps the reasons; a row without one fails. docs/migrating-from-postfix.md prints it.
";

impl Table {
    /// What was observed, with the reasons that are known.
    pub(crate) fn observed(&self, heard: &[(String, Vec<Difference>)]) -> Self {
        let mut announced = BTreeSet::new();
        let mut replies: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
        for (dialogue, differences) in heard {
            for difference in differences {
                match difference.clone() {
                    Difference::AnnouncedByPostfix(line) => drop(announced.insert(("postfix", line))),
                    Difference::AnnouncedByUs(line) => drop(announced.insert(("estafette", line))),
                    Difference::Reply { ours, postfix } => {
                        replies.entry((ours, postfix)).or_default().insert(dialogue.clone());
                    }
                }
            }
        }
        let announced = announced.into_iter().map(|(by, line)| Announced {
            reason: self.announced_reason(by, &line),
            by: by.to_owned(),
            line,
        });
        let rows = replies.into_iter().map(|((ours, postfix), dialogues)| Row {
            reason: self.reply_reason(&ours, &postfix),
            ours,
            postfix,
            dialogues,
        });
        Self {
            announced: announced.collect(),
            difference: rows.collect(),
            left_out: self.left_out.clone(),
        }
    }

    /// The list of those left out, from `(reason, dialogue)`.
    pub(crate) fn with_left_out(mut self, left_out: Vec<(&'static str, String)>) -> Self {
        let mut groups: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for (reason, dialogue) in left_out {
            groups.entry(reason).or_default().insert(dialogue);
        }
        let group = |(reason, dialogues): (&str, _)| LeftOut {
            reason: reason.to_owned(),
            dialogues,
        };
        self.left_out = groups.into_iter().map(group).collect();
        self
    }

    fn announced_reason(&self, by: &str, line: &str) -> String {
        let known = self.announced.iter().find(|row| row.by == by && row.line == line);
        known.map(|row| row.reason.clone()).unwrap_or_default()
    }

    fn reply_reason(&self, ours: &str, postfix: &str) -> String {
        let known = self
            .difference
            .iter()
            .find(|row| row.ours == ours && row.postfix == postfix);
        known.map(|row| row.reason.clone()).unwrap_or_default()
    }

    /// Rows without a reason, in words.
    pub(crate) fn unexplained(&self) -> Vec<String> {
        let announced = self.announced.iter().filter(|row| row.reason.is_empty());
        let replies = self.difference.iter().filter(|row| row.reason.is_empty());
        announced
            .map(|row| format!("{} announces {:?}", row.by, row.line))
            .chain(replies.map(|row| format!("{:?}: ours {:?}, Postfix {:?}", row.dialogues, row.ours, row.postfix)))
            .collect()
    }

    /// The file's text.
    pub(crate) fn to_toml(&self) -> String {
        let mut text = HEAD.to_owned();
        for row in &self.announced {
            let [line, by, reason] = [&row.line, &row.by, &row.reason].map(|text| quoted(text));
            let _ = write!(text, "\n[[announced]]\nline = {line}\nby = {by}\nreason = {reason}\n");
        }
        for row in &self.difference {
            let [ours, postfix, reason] = [&row.ours, &row.postfix, &row.reason].map(|text| quoted(text));
            let dialogues = list(&row.dialogues);
            let _ = write!(
                text,
                "\n[[difference]]\nours = {ours}\npostfix = {postfix}\ndialogues = {dialogues}\nreason = {reason}\n"
            );
        }
        for row in &self.left_out {
            let (reason, dialogues) = (quoted(&row.reason), list(&row.dialogues));
            let _ = write!(text, "\n[[left_out]]\nreason = {reason}\ndialogues = {dialogues}\n");
        }
        text
    }

    /// The section of docs/migrating-from-postfix.md.
    pub(crate) fn to_markdown(&self) -> String {
        let mut text = String::from("| here | Postfix | why |\n|---|---|---|\n");
        for row in &self.announced {
            let (ours, postfix) = match row.by.as_str() {
                "postfix" => ("not announced".to_owned(), code(&row.line)),
                _ => (code(&row.line), "not announced".to_owned()),
            };
            let _ = writeln!(text, "| {ours} | {postfix} | {} |", row.reason);
        }
        for row in &self.difference {
            let _ = writeln!(
                text,
                "| {} | {} | {} |",
                code(&row.ours),
                code(&row.postfix),
                row.reason
            );
        }
        text.push_str("\nNot compared:\n\n| dialogues | why |\n|---|---|\n");
        for row in &self.left_out {
            let names: Vec<&str> = row.dialogues.iter().map(|name| stem(name)).collect();
            let _ = writeln!(text, "| {} | {} |", names.join(", "), row.reason);
        }
        text
    }
}

fn stem(name: &str) -> &str {
    name.strip_suffix(".smtp").unwrap_or(name)
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn list(names: &BTreeSet<String>) -> String {
    let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    match names.as_slice() {
        [one] => format!("[{one}]"),
        names => format!("[\n    {},\n]", names.join(",\n    ")),
    }
}

/// A reply in a cell; what stands in parentheses is not said.
fn code(text: &str) -> String {
    if text.starts_with('(') {
        return text.to_owned();
    }
    format!("`{}`", text.replace('|', "\\|"))
}
