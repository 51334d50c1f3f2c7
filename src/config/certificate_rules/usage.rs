//! Rules that no listener ever asks.

use super::defined::RuleSet;
use crate::config::error::{Complaint, Findings};
use crate::policy::restriction::Restriction;

/// Complains about every rule that stands in no list of a listener; `asked` are the lists of the listeners, `written` what
/// stands in the lists at the top of the file.
pub fn check<'a>(
    rules: &RuleSet,
    asked: impl Iterator<Item = &'a Restriction>,
    written: impl Iterator<Item = &'a Restriction>,
    findings: &mut Findings,
) {
    let name = |restriction: &'a Restriction| match restriction {
        Restriction::Rule(rule) => Some(rule.name.as_str()),
        _ => None,
    };
    let asked: Vec<&str> = asked.filter_map(name).collect();
    let written: Vec<&str> = written.filter_map(name).collect();
    for defined in &rules.0 {
        let word = defined.name.as_str();
        if asked.contains(&word) {
            continue;
        }
        let (message, hint) = if written.contains(&word) {
            (
                format!("rule \"{word}\" is never asked: every listener overrides the list it stands in"),
                "put it into the lists of the listeners, or take it out".to_owned(),
            )
        } else {
            (
                format!("rule \"{word}\" is never asked: it stands in no restriction list"),
                format!(
                    "write smtpd_relay_restrictions = [\"permit_mynetworks\", \"{word}\", \"reject\"], or take it out"
                ),
            )
        };
        let complaint = Complaint::new(message, "never asked");
        findings.error("certificate_rule", Some(defined.span.clone()), complaint.hint(hint));
    }
}
