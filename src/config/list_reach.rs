//! What of a restriction list is never reached, and whether the list decides at its end.

use super::certificate_rules::breadth::{is_within, matches_everybody};
use super::error::{Complaint, Findings, Span};
use super::restriction_words::Listed;
use crate::policy::certificate_rule::RuleAction;
use crate::policy::restriction::Restriction;

/// Checks one list; `place` is where it is written.
pub fn check(key: &str, list: &[Listed], place: Option<Span>, findings: &mut Findings) {
    check_end(key, list, place, findings);
    check_covered(key, list, findings);
    check_repeated(key, list, findings);
}

/// A list must decide at its end, and nothing may stand behind the decision.
fn check_end(key: &str, list: &[Listed], place: Option<Span>, findings: &mut Findings) {
    let Some(last) = list.last() else { return };
    let decision = list.iter().position(|listed| listed.restriction.is_final());
    let Some(decision) = decision else {
        let hint = match last.restriction {
            Restriction::RejectUnauthDestination => {
                "replace \"reject_unauth_destination\" by \"permit_auth_destination\", \"reject\"".to_owned()
            }
            Restriction::DeferUnauthDestination => {
                "replace \"defer_unauth_destination\" by \"permit_auth_destination\", \"defer\"".to_owned()
            }
            _ if last.restriction.needs_client_certificate() => {
                "append \"reject\": a certificate says nothing about clients that show none".to_owned()
            }
            _ => "append \"reject\"".to_owned(),
        };
        let complaint = Complaint::new(
            "the list ends without a decision, which would be a permission in Postfix and is a refusal here",
            "expected \"reject\" at the end",
        );
        let span = last.span.clone().or(place);
        findings.error(key, span, complaint.hint(hint));
        return;
    };
    for unreachable in list.iter().skip(decision + 1) {
        let by = list.get(decision).map(|listed| listed.restriction.to_string());
        let message = format!(
            "\"{}\" is never reached: \"{}\" before it always decides",
            unreachable.restriction,
            by.unwrap_or_default()
        );
        let complaint = Complaint::new(message, "never asked");
        findings.error(
            key,
            unreachable.span.clone(),
            complaint.hint("put it before the decision, or take it out"),
        );
    }
}

/// Behind a restriction that decides about every certificate it is about, nothing that looks at one of these has a say.
/// `permit_tls_clientcerts` has: it takes certificates of unknown issuers too.
fn check_covered(key: &str, list: &[Listed], findings: &mut Findings) {
    // What stands behind the end of the list has its error already.
    let end = list.iter().position(|listed| listed.restriction.is_final());
    let asked = list.iter().enumerate().take(end.unwrap_or(list.len()));
    let with_inner = |(n, listed)| Listed::with_inner(listed).map(move |restriction| (n, listed, restriction));
    for (n, covered, restriction) in asked.flat_map(with_inner) {
        if !restriction.needs_client_certificate() || matches!(restriction, Restriction::PermitTlsClientcerts) {
            continue;
        }
        let mut before = list.iter().take(n).map(|listed| &listed.restriction);
        let Some((by, whose)) = before.find_map(|earlier| Some((earlier, covers(earlier, restriction)?))) else {
            continue;
        };
        let message = format!("\"{restriction}\" is never reached: \"{by}\" before it decides about every {whose}");
        let complaint = Complaint::new(message, "never asked");
        let hint = format!("put it before \"{by}\", or take one of them out");
        findings.error(key, covered.span.clone(), complaint.hint(hint));
    }
}

/// Whose certificates leave nothing for the later restriction; `None` when something is left. The same one twice is
/// [`check_repeated`]'s.
fn covers(earlier: &Restriction, later: &Restriction) -> Option<&'static str> {
    if earlier.to_string() == later.to_string() {
        return None;
    }
    if decides_for_verified(earlier) {
        return Some("verified certificate");
    }
    match (earlier, later) {
        (Restriction::Rule(wide), Restriction::Rule(narrow)) if wide.action != RuleAction::Continue => {
            is_within(narrow, wide).then_some("certificate that satisfies it")
        }
        _ => None,
    }
}

fn decides_for_verified(restriction: &Restriction) -> bool {
    match restriction {
        Restriction::PermitTlsAllClientcerts => true,
        Restriction::Rule(rule) => rule.conditions.is_empty() && rule.action != RuleAction::Continue,
        Restriction::Certificate(rule) => matches_everybody(rule),
        Restriction::Class(_, list) => list.iter().any(decides_for_verified),
        _ => false,
    }
}

/// Asked a second time, a certificate gives the same answer.
fn check_repeated(key: &str, list: &[Listed], findings: &mut Findings) {
    for (n, listed) in list.iter().enumerate() {
        let text = listed.restriction.to_string();
        let mut before = list.iter().take(n);
        let is_repeated = before.any(|earlier| earlier.restriction.to_string() == text);
        if is_repeated && listed.restriction.needs_client_certificate() {
            let message = format!("\"{text}\" stands twice in the list; the second is never reached");
            let complaint = Complaint::new(message, "never asked");
            findings.error(key, listed.span.clone(), complaint.hint("take one of them out"));
        }
    }
}
