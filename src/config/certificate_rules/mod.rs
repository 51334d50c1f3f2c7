//! `[[certificate_rule]]` tables: from TOML to the rules that restriction lists refer to.
//!
//! **Implements** reading with all errors collected, the proof of the rules' own examples, and the rules in words.
//! **Does not** evaluate conditions: `policy` does, here as in a session.

pub mod breadth;
pub mod certificate_file;
pub mod conditions;
pub mod defined;
pub mod describe;
pub mod examples;
pub mod fields;
pub mod keys;
pub mod limits;
pub mod rule;
pub mod sender;
pub mod usage;
pub mod words;

use defined::RuleSet;
use fields::Context;

use super::error::{Complaint, Findings};
use super::file::RawEntry;

/// Most rules of a file.
const RULES_MAX: usize = 1_000;

/// Reads all tables; faults go to the findings.
pub fn read(entries: &[RawEntry], context: Context<'_>, findings: &mut Findings) -> RuleSet {
    let mut rules = RuleSet::default();
    if let Some(surplus) = entries.get(RULES_MAX) {
        let complaint = Complaint::new(
            format!("there are {} certificate rules", entries.len()),
            format!("expected at most {RULES_MAX}"),
        );
        let span = findings.first_line(&surplus.span);
        findings.error(
            "certificate_rule",
            Some(span),
            complaint.hint("a condition takes several values"),
        );
    }
    for entry in entries.iter().take(RULES_MAX) {
        let context = Context {
            rules: &rules,
            ..context
        };
        if let Some(defined) = rule::read(entry, context, findings) {
            rules.0.push(defined);
        }
    }
    rules
}
