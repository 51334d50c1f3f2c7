//! A trace as people read it: each restriction, and each condition of a rule with what was found and wanted.

use crate::cert::name::printable;
use crate::observe::decision::{TraceFinding, TraceStep};

/// The steps, each on lines of its own, indented by two.
pub(super) fn steps(trace: &[TraceStep]) -> String {
    let mut text = String::new();
    for step in trace {
        let (list, restriction) = (&step.list, printable(&step.restriction));
        let because = printable(&step.because);
        text.push_str(&format!("  {list}: {restriction}\n    {}: {because}\n", step.opinion));
        push_findings(&mut text, &step.findings, 6);
    }
    text
}

fn push_findings(text: &mut String, findings: &[TraceFinding], indent: usize) {
    let width = findings.iter().map(|finding| finding.condition.len()).max();
    for finding in findings {
        let (mark, end) = if finding.holds {
            ("holds  ", "")
        } else {
            ("DIFFERS", "  <--")
        };
        let condition = format!("{:width$}", finding.condition, width = width.unwrap_or_default());
        let (found, wanted) = (printable(&finding.found), printable(&finding.wanted));
        let blank = "";
        text.push_str(&format!(
            "{blank:indent$}{mark}  {condition}  found {found}, wanted {wanted}{end}\n"
        ));
        push_findings(text, &finding.inner, indent + 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn condition_that_differs_is_marked_and_control_characters_are_not_shown() {
        let finding = |condition: &str, found: &str, holds| TraceFinding {
            condition: condition.into(),
            wanted: "UMR5168".into(),
            found: found.into(),
            holds,
            inner: Vec::new(),
        };
        let step = TraceStep {
            list: "smtpd_recipient_restrictions".into(),
            restriction: "laboratory".into(),
            opinion: "pass".into(),
            because: "subject.OU is UMR7638, wanted UMR5168".into(),
            findings: vec![
                finding("issuer.O", "CNRS", true),
                finding("subject.OU", "UMR\u{1b}[2J", false),
            ],
        };
        assert_eq!(
            steps(&[step]),
            "  smtpd_recipient_restrictions: laboratory\n    pass: subject.OU is UMR7638, wanted UMR5168\n      \
             holds    issuer.O    found CNRS, wanted UMR5168\n      DIFFERS  subject.OU  found UMR\\1B[2J, wanted UMR5168  <--\n"
        );
    }
}
