//! A record as one line of bounded length: a certificate or a rule can hold a great deal, a journal's line must not.
//!
//! **Implements** the order in which a record gives up what is long: long texts and lists first, then the conditions
//! inside conditions, then every step but the one that decided, then what the certificate holds beside its names.

use std::fmt::Write as _;

use super::decision::{Decision, TraceFinding};
use crate::cert::name::is_printable;

/// The longest text of a record that does not fit as a whole, octets.
const TEXT_OCTETS_MAX: usize = 512;
/// The most entries of a list of such a record.
const ENTRIES_MAX: usize = 50;
/// The most references of such a record.
const REFERENCES_MAX: usize = 1_000;

/// One line of JSON with its end, of at most so many octets. What is long is left out, and the record marked; `None`
/// when even the least of it is longer.
pub fn to_line(decision: &Decision, octets_max: usize) -> Option<String> {
    let fits = |decision: &Decision| {
        let mut line = visible(serde_json::to_string(decision).ok()?);
        line.push('\n');
        (line.len() <= octets_max).then_some(line)
    };
    if let Some(line) = fits(decision) {
        return Some(line);
    }
    let mut decision = decision.clone();
    decision.is_shortened = true;
    for shorten in [
        shorten_texts_and_lists,
        shorten_findings,
        keep_the_last_step,
        keep_the_names,
    ] {
        shorten(&mut decision);
        if let Some(line) = fits(&decision) {
            return Some(line);
        }
    }
    None
}

/// JSON in which nothing commands a terminal or hides: `why --json` prints these lines as they stand, and JSON itself
/// asks for an escape below U+0020 only. Outside its strings all is printable, so every such character is in one.
fn visible(json: String) -> String {
    if json.bytes().all(|octet| (b' '..=b'~').contains(&octet)) {
        return json;
    }
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_printable(c) {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

fn shorten_texts_and_lists(decision: &mut Decision) {
    cut(&mut decision.because);
    cut(&mut decision.decided_by);
    decision.reply.iter_mut().for_each(cut);
    decision.reverse_path.iter_mut().for_each(cut);
    decision.forward_paths.truncate(ENTRIES_MAX);
    decision.references.truncate(REFERENCES_MAX);
    for step in &mut decision.trace {
        cut(&mut step.restriction);
        cut(&mut step.because);
        step.findings.iter_mut().for_each(cut_finding);
    }
    if let Some(certificate) = &mut decision.certificate {
        cut(&mut certificate.issuer);
        cut(&mut certificate.subject);
        cut(&mut certificate.serial);
        for list in [&mut certificate.mail_addresses, &mut certificate.user_principal_names] {
            list.truncate(ENTRIES_MAX);
            list.iter_mut().for_each(cut);
        }
        for list in [&mut certificate.issuer_attributes, &mut certificate.subject_attributes] {
            list.truncate(ENTRIES_MAX);
            for attribute in list.iter_mut() {
                cut(&mut attribute.value);
            }
        }
    }
}

fn cut_finding(finding: &mut TraceFinding) {
    cut(&mut finding.condition);
    cut(&mut finding.wanted);
    cut(&mut finding.found);
    finding.inner.iter_mut().for_each(cut_finding);
}

fn cut(text: &mut String) {
    if text.len() > TEXT_OCTETS_MAX {
        text.truncate(text.floor_char_boundary(TEXT_OCTETS_MAX));
        text.push('…');
    }
}

fn shorten_findings(decision: &mut Decision) {
    for finding in decision.trace.iter_mut().flat_map(|step| &mut step.findings) {
        finding.inner.clear();
    }
}

fn keep_the_last_step(decision: &mut Decision) {
    let last = decision.trace.pop();
    decision.trace = last.into_iter().collect();
    for step in &mut decision.trace {
        step.findings.truncate(ENTRIES_MAX);
    }
}

fn keep_the_names(decision: &mut Decision) {
    for step in &mut decision.trace {
        step.findings.clear();
    }
    if let Some(certificate) = &mut decision.certificate {
        certificate.mail_addresses.clear();
        certificate.user_principal_names.clear();
        certificate.issuer_attributes.clear();
        certificate.subject_attributes.clear();
    }
    decision.references.clear();
    decision.forward_paths.truncate(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::identity::Identity;
    use crate::policy::verdict::{Obligations, Opinion, Refusal, Verdict};
    use crate::session::event::{Event, Origin};
    use crate::time::Timestamp;
    use crate::wire::path::{ForwardPath, ReversePath};
    use crate::wire::reply::Reply;

    fn decision() -> Decision {
        let peer = "192.0.2.1:25".parse().unwrap();
        let verdict = Verdict {
            opinion: Opinion::Reject,
            trace: Vec::new(),
            certificate_fault: None,
            refusal: Refusal::RelayDenied,
            obligations: Obligations::default(),
        };
        let event = Event::RecipientDecided {
            origin: Origin::new("s", "smtp", peer, &Identity::Plaintext).into(),
            reference: "s-1".into(),
            reverse_path: ReversePath::Null,
            forward_path: ForwardPath::Postmaster,
            verdict: Box::new(verdict),
            reply: Reply::new(554, (5, 7, 1), "no"),
        };
        Decision::of(&event, Timestamp(1_795_510_800_007)).unwrap()
    }

    #[test]
    fn record_reads_back_and_has_the_fields_of_its_event() {
        let decision = decision();
        let line = to_line(&decision, 10_000).unwrap();
        assert_eq!(serde_json::from_str::<Decision>(&line).unwrap(), decision);
        for field in [
            r#""kind":"recipient""#,
            r#""time":"2026-11-24T09:00:00.007Z""#,
            r#""reference":"s-1""#,
            r#""verdict":"reject""#,
            r#""reply":"554 5.7.1 no""#,
            r#""reverse_path":"""#,
        ] {
            assert!(line.contains(field), "{field}: {line}");
        }
    }

    #[test]
    fn what_commands_a_terminal_or_hides_is_escaped_and_reads_back() {
        let mut odd = decision();
        odd.because = "\u{1b}[2J\u{9b}31m\u{7f}\u{202e}\u{2028}\u{e0041}\n\\u009b é 😀".into();
        let line = to_line(&odd, 10_000).unwrap();
        let text = line.trim_end_matches('\n');
        assert!(text.chars().all(is_printable), "{text:?}");
        assert!(text.contains("é 😀"), "{text}");
        assert_eq!(serde_json::from_str::<Decision>(&line).unwrap(), odd);
    }

    #[test]
    fn long_record_is_shortened_to_its_bound_and_says_so() {
        let mut long = decision();
        let finding = TraceFinding {
            condition: "subject.OU".into(),
            wanted: "é".repeat(5_000),
            found: "x".repeat(5_000),
            holds: false,
            inner: Vec::new(),
        };
        let step = crate::observe::decision::TraceStep {
            list: "smtpd_recipient_restrictions".into(),
            restriction: "students".into(),
            opinion: "pass".into(),
            because: "y".repeat(10_000),
            findings: vec![finding; 30],
        };
        long.trace = vec![step; 5];
        for octets_max in [1_000_000, 100_000, 5_000, 1_000] {
            let line = to_line(&long, octets_max).unwrap();
            assert!(line.len() <= octets_max && line.ends_with('\n'));
            let read: Decision = serde_json::from_str(&line).unwrap();
            assert!(read.is_shortened);
            assert_eq!(read.reference.as_deref(), Some("s-1"));
        }
        assert_eq!(to_line(&long, 10), None);
    }
}
