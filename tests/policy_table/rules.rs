//! Certificate rules in the chain: conditions, then the sender, then the action; and what a permission is bound to.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use estafette::cert::identity::{Identity, Why};
use estafette::policy::certificate_rule::{CertificateRule, RuleAction};
use estafette::policy::chain::Chain;
use estafette::policy::facts::Facts;
use estafette::policy::limits::{Holder, Limit, OnExceed};
use estafette::policy::restriction::Restriction;
use estafette::policy::sender_binding::SenderBinding;
use estafette::policy::verdict::{Because, Obligations, Opinion, Refusal, Verdict};
use estafette::wire::path::{ForwardPath, ReversePath};

use crate::binding::of_certificate;
use crate::conditions::{rule, subject};
use crate::holders::{NOW_SECONDS, alice, alice_with, name, verified_as};

/// A rule for OU=UMR5168 with this name and action, changed at will.
fn lab(name: &str, action: RuleAction, change: impl FnOnce(&mut CertificateRule)) -> Restriction {
    let mut rule = rule(vec![subject("OU", &["UMR5168"])]);
    rule.name = name.into();
    rule.action = action;
    change(&mut rule);
    Restriction::Rule(Arc::new(rule))
}

fn plain(action: RuleAction) -> Restriction {
    lab("lab", action, |_| {})
}

fn bound(action: RuleAction) -> Restriction {
    lab("lab", action, |rule| rule.sender = Some(Arc::new(of_certificate())))
}

fn limit(name: &str) -> Arc<Limit> {
    Arc::new(Limit {
        name: name.into(),
        per: Holder::Certificate,
        messages: Some(1),
        recipients: None,
        octets: None,
        window: Duration::from_hours(1),
        burst_percent: 100,
        on_exceed: OnExceed::Defer,
    })
}

fn with_from_header(name: &str) -> Arc<SenderBinding> {
    Arc::new(SenderBinding {
        rule: name.into(),
        from_header: true,
        ..of_certificate()
    })
}

fn decide(relay: Vec<Restriction>, recipient: Vec<Restriction>, identity: &Identity, sender: &str) -> Verdict {
    let chain = Chain {
        relay,
        recipient,
        ..Chain::default()
    };
    chain.decide(&Facts {
        hello: "client.example",
        reverse_path: Some(&ReversePath::parse(&format!("<{sender}>")).expect("a path")),
        forward_path: Some(&ForwardPath::parse("<b@elsewhere.example>").expect("a path")),
        ..Facts::new(
            "198.51.100.1".parse::<IpAddr>().expect("an address"),
            identity,
            NOW_SECONDS,
        )
    })
}

fn holder() -> Identity {
    verified_as(alice_with(|_| {}))
}

const OWN: &str = "alice.martin@cnrs.example";
const OTHER: &str = "bob@cnrs.example";

#[test]
fn action_decides_once_all_conditions_hold() {
    let text = || Some("Ask the lab".to_owned());
    for (action, opinion, refusal) in [
        (RuleAction::Permit, Opinion::Permit, Refusal::RelayDenied),
        (RuleAction::Reject(None), Opinion::Reject, Refusal::RelayDenied),
        (
            RuleAction::Reject(text()),
            Opinion::Reject,
            Refusal::Text("Ask the lab".into()),
        ),
        (RuleAction::Defer(None), Opinion::Defer, Refusal::RelayDenied),
        (
            RuleAction::Defer(text()),
            Opinion::Defer,
            Refusal::Text("Ask the lab".into()),
        ),
    ] {
        let verdict = decide(vec![plain(action.clone())], Vec::new(), &holder(), OTHER);
        assert_eq!((verdict.opinion, &verdict.refusal), (opinion, &refusal), "{action:?}");
        assert_eq!(verdict.decided_by(), "lab");
        assert_eq!(verdict.because().to_string(), "all conditions hold");
        assert_eq!(verdict.because().conditions().len(), 1);
    }
}

#[test]
fn rule_that_continues_or_does_not_hold_leaves_it_to_the_next() {
    let list = |action| vec![plain(action), Restriction::Defer];
    let verdict = decide(list(RuleAction::Continue), Vec::new(), &holder(), OWN);
    assert_eq!((verdict.opinion, verdict.decided_by()), (Opinion::Defer, "defer"));
    assert_eq!(verdict.refusal, Refusal::RelayDenied);

    let bob = verified_as(alice_with(|c| {
        c.subject = name(&[("OU", "LBBE"), ("CN", "/OU=UMR5168")]);
    }));
    for action in [RuleAction::Permit, RuleAction::Reject(Some("no".into()))] {
        let verdict = decide(list(action), Vec::new(), &bob, OWN);
        assert_eq!((verdict.opinion, verdict.decided_by()), (Opinion::Defer, "defer"));
        assert_eq!(verdict.refusal, Refusal::RelayDenied);
        assert_eq!(
            verdict.trace[0].because.to_string(),
            "subject.OU: found \"LBBE\", wanted \"UMR5168\""
        );
    }
}

#[test]
fn rule_looks_at_verified_certificates_only() {
    let certificate = || Some(Arc::new(alice_with(|_| {})));
    let rules = || {
        vec![
            lab("any", RuleAction::Permit, |rule| rule.conditions.clear()),
            bound(RuleAction::Permit),
            Restriction::RejectSenderCertificateMismatch(Arc::new(of_certificate())),
            Restriction::Reject,
        ]
    };
    let unverified = |why| Identity::Unverified {
        why,
        certificate: certificate(),
    };
    for (identity, because) in [
        (Identity::Plaintext, Because::NoTls),
        (Identity::NoCertificate, Because::NoCertificateShown),
        (
            unverified(Why::UnknownIssuer),
            Because::CertificateUnverified(Why::UnknownIssuer),
        ),
        (unverified(Why::Expired), Because::CertificateUnverified(Why::Expired)),
        (unverified(Why::Denied), Because::CertificateUnverified(Why::Denied)),
    ] {
        let verdict = decide(rules(), Vec::new(), &identity, OWN);
        assert_eq!(verdict.decided_by(), "reject", "{identity:?}");
        let reasons: Vec<_> = verdict.trace.iter().map(|step| &step.because).collect();
        assert_eq!(reasons, [&because, &because, &because, &Because::Unconditional]);
    }
    assert_eq!(decide(rules(), Vec::new(), &holder(), OTHER).decided_by(), "any");
}

#[test]
fn sender_of_somebody_else_is_refused_whatever_follows() {
    for action in [RuleAction::Permit, RuleAction::Continue] {
        let list = vec![bound(action), Restriction::Permit];
        for sender in [OTHER, ""] {
            let verdict = decide(list.clone(), Vec::new(), &holder(), sender);
            assert_eq!((verdict.opinion, verdict.decided_by()), (Opinion::Reject, "lab"));
            assert_eq!(verdict.refusal, Refusal::SenderNotOwned);
            assert_eq!(verdict.because().conditions().len(), 1);
            assert_eq!(
                verdict.because().to_string(),
                format!(
                    "<{sender}> is not an address of the certificate's holder, who may send with <Alice.Martin@cnrs.example>"
                )
            );
        }
        assert_eq!(decide(list, Vec::new(), &holder(), OWN).opinion, Opinion::Permit);
    }
}

#[test]
fn sender_of_the_holder_is_told_with_the_conditions() {
    let verdict = decide(vec![bound(RuleAction::Permit)], Vec::new(), &holder(), OWN);
    assert_eq!(verdict.opinion, Opinion::Permit);
    let because = verdict.because();
    assert_eq!(
        because.to_string(),
        "all conditions hold; <alice.martin@cnrs.example> is an address of the certificate's holder"
    );
    assert_eq!(because.conditions()[0].found, "\"UMR5168\"");
}

#[test]
fn sender_does_not_matter_where_the_conditions_do_not_hold() {
    let bob = verified_as(alice_with(|c| c.subject = name(&[("OU", "LBBE")])));
    let verdict = decide(
        vec![bound(RuleAction::Permit), Restriction::Permit],
        Vec::new(),
        &bob,
        OTHER,
    );
    assert_eq!((verdict.opinion, verdict.decided_by()), (Opinion::Permit, "permit"));
}

#[test]
fn sender_certificate_mismatch_is_a_restriction_of_its_own() {
    let list = || {
        vec![
            Restriction::RejectSenderCertificateMismatch(Arc::new(of_certificate())),
            Restriction::Permit,
        ]
    };
    let verdict = decide(list(), Vec::new(), &holder(), OTHER);
    assert_eq!(verdict.opinion, Opinion::Reject);
    assert_eq!(verdict.decided_by(), "reject_sender_certificate_mismatch");
    assert_eq!(verdict.refusal, Refusal::SenderNotOwned);
    assert!(verdict.because().conditions().is_empty());

    let verdict = decide(list(), Vec::new(), &holder(), OWN);
    assert_eq!((verdict.opinion, verdict.trace.len()), (Opinion::Permit, 2));
    assert_eq!(
        verdict.trace[0].because.to_string(),
        "<alice.martin@cnrs.example> is an address of the certificate's holder"
    );
    assert_eq!(
        decide(list(), Vec::new(), &Identity::Plaintext, OTHER).opinion,
        Opinion::Permit
    );
}

#[test]
fn permission_is_bound_to_every_rule_whose_conditions_held_each_once() {
    let limited = |rule_name: &str, action, change: fn(&mut CertificateRule)| {
        lab(rule_name, action, |rule| {
            rule.limits = vec![limit(&format!("{rule_name}/1")), limit(&format!("{rule_name}/2"))];
            rule.sender = Some(with_from_header(rule_name));
            change(rule);
        })
    };
    let general = || limited("general", RuleAction::Continue, |_| {});
    let relay = || {
        vec![
            general(),
            limited("others", RuleAction::Permit, |rule| {
                rule.conditions = vec![subject("OU", &["LBBE"])];
            }),
            limited("lab", RuleAction::Permit, |_| {}),
            limited("behind", RuleAction::Permit, |_| {}),
        ]
    };
    let verdict = decide(relay(), vec![general(), Restriction::Permit], &holder(), OWN);
    assert_eq!(verdict.opinion, Opinion::Permit);
    let limits: Vec<_> = verdict
        .obligations
        .limits
        .iter()
        .map(|limit| limit.name.as_str())
        .collect();
    assert_eq!(limits, ["general/1", "general/2", "lab/1", "lab/2"]);
    let headers: Vec<_> = verdict
        .obligations
        .from_header
        .iter()
        .map(|binding| binding.rule.as_str())
        .collect();
    assert_eq!(headers, ["general", "lab"]);

    for recipient in [vec![Restriction::Reject], vec![Restriction::Defer], vec![general()]] {
        let verdict = decide(relay(), recipient, &holder(), OWN);
        assert_ne!(verdict.opinion, Opinion::Permit);
        assert_eq!(verdict.obligations, Obligations::default());
    }
    // The reverse-path of somebody else, and an end without a decision.
    assert_eq!(
        decide(relay(), Vec::new(), &holder(), OTHER).obligations,
        Obligations::default()
    );
    assert_eq!(
        decide(vec![general()], Vec::new(), &holder(), OWN).obligations,
        Obligations::default()
    );
}

#[test]
fn permission_by_address_is_bound_to_the_rules_before_it_too() {
    let rule = lab("lab", RuleAction::Continue, |rule| rule.limits = vec![limit("lab/1")]);
    let verdict = decide(vec![rule, Restriction::Permit], Vec::new(), &holder(), OWN);
    assert_eq!(verdict.obligations.limits, [limit("lab/1")]);
    assert!(verdict.obligations.from_header.is_empty());
}

#[test]
fn from_header_binds_only_where_it_is_asked_for() {
    let mismatch = |binding| {
        vec![
            Restriction::RejectSenderCertificateMismatch(binding),
            Restriction::Permit,
        ]
    };
    let verdict = decide(mismatch(with_from_header("all")), Vec::new(), &holder(), OWN);
    assert_eq!(verdict.obligations.from_header, [with_from_header("all")]);
    let verdict = decide(mismatch(Arc::new(of_certificate())), Vec::new(), &holder(), OWN);
    assert!(verdict.obligations.from_header.is_empty());
    let verdict = decide(vec![bound(RuleAction::Permit)], Vec::new(), &holder(), OWN);
    assert!(verdict.obligations.from_header.is_empty());
}

#[test]
fn rule_without_conditions_holds_for_every_verified_certificate() {
    let everybody = || vec![lab("everybody", RuleAction::Permit, |rule| rule.conditions.clear())];
    assert_eq!(
        decide(everybody(), Vec::new(), &alice(), OTHER).opinion,
        Opinion::Permit
    );
    assert_eq!(
        decide(everybody(), Vec::new(), &Identity::NoCertificate, OTHER).opinion,
        Opinion::Reject
    );
}
