//! Every condition of a certificate rule: when it holds, what it says it found.

use std::sync::Arc;

use estafette::cert::certificate::{Certificate, NameOf};
use estafette::policy::certificate_rule::{AlternativeName, CertificateRule, Condition, Finding, RuleAction};
use regex::Regex;

use crate::holders::{NOW_SECONDS, alice_with, certificate, issuer, name};

pub fn rule(conditions: Vec<Condition>) -> CertificateRule {
    CertificateRule {
        name: "lab".into(),
        conditions,
        action: RuleAction::Permit,
        sender: None,
        limits: Vec::new(),
    }
}

pub fn subject(attribute: &str, any_of: &[&str]) -> Condition {
    Condition::Attribute {
        of: NameOf::Subject,
        attribute: attribute.into(),
        any_of: owned(any_of),
    }
}

pub fn owned(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn names(kind: AlternativeName, any_of: &[&str]) -> Condition {
    let any_of = owned(any_of);
    Condition::AlternativeName { kind, any_of }
}

fn regex(of: NameOf, text: &str) -> Condition {
    let regex = Regex::new(text).expect("a regex");
    Condition::Text { of, regex }
}

fn find(condition: Condition, certificate: &Certificate) -> Finding {
    let findings = rule(vec![condition]).findings(certificate, &[issuer()], NOW_SECONDS);
    let [finding] = findings.try_into().expect("one condition, one finding");
    finding
}

/// Condition, key, wanted, found, whether it holds; all of the same Alice.
fn check(rows: Vec<(Condition, &str, &str, &str, bool)>) {
    let alice = alice_with(|_| {});
    for (condition, key, wanted, found, holds) in rows {
        let finding = find(condition, &alice);
        let texts = (
            finding.condition.as_str(),
            finding.wanted.as_str(),
            finding.found.as_str(),
        );
        assert_eq!((texts, finding.holds), ((key, wanted, found), holds));
    }
}

#[test]
fn attributes_and_texts_are_compared_and_told() {
    check(vec![
        (
            subject("OU", &["UMR5168"]),
            "subject.OU",
            "\"UMR5168\"",
            "\"UMR5168\"",
            true,
        ),
        (
            subject("2.5.4.11", &["UMR5168"]),
            "subject.2.5.4.11",
            "\"UMR5168\"",
            "\"UMR5168\"",
            true,
        ),
        (
            subject("ou", &["LBBE", "UMR5168"]),
            "subject.ou",
            "one of \"LBBE\", \"UMR5168\"",
            "\"UMR5168\"",
            true,
        ),
        (
            subject("OU", &["umr5168"]),
            "subject.OU",
            "\"umr5168\"",
            "\"UMR5168\"",
            false,
        ),
        (subject("OU", &["UMR*"]), "subject.OU", "\"UMR*\"", "\"UMR5168\"", false),
        (
            subject("OU", &["UMR516"]),
            "subject.OU",
            "\"UMR516\"",
            "\"UMR5168\"",
            false,
        ),
        (
            subject("UID", &["UMR5168"]),
            "subject.UID",
            "\"UMR5168\"",
            "none",
            false,
        ),
        (subject("OU", &[]), "subject.OU", "none", "\"UMR5168\"", false),
        (subject("nonsense", &[""]), "subject.nonsense", "\"\"", "none", false),
        (
            regex(NameOf::Issuer, "^/C=FR/O=CNRS/CN=CNRS-(Standard|Plus)$"),
            "issuer_regex",
            "a match of ^/C=FR/O=CNRS/CN=CNRS-(Standard|Plus)$",
            "\"/C=FR/O=CNRS/CN=CNRS-Standard\"",
            true,
        ),
        (
            regex(NameOf::Subject, "/OU=LBBE/"),
            "subject_regex",
            "a match of /OU=LBBE/",
            "\"/C=FR/O=CNRS/OU=UMR5168/CN=Alice Martin\"",
            false,
        ),
    ]);
}

#[test]
fn alternative_names_go_by_globs() {
    use AlternativeName::{DnsName, MailAddress, UserPrincipalName};
    let address = "\"Alice.Martin@cnrs.example\"";
    check(vec![
        (
            names(MailAddress, &["*@CNRS.example"]),
            "mail_address",
            "\"*@CNRS.example\"",
            address,
            true,
        ),
        (names(MailAddress, &["*"]), "mail_address", "\"*\"", address, false),
        (
            names(MailAddress, &["*cnrs.example"]),
            "mail_address",
            "\"*cnrs.example\"",
            address,
            false,
        ),
        (
            names(DnsName, &["*.lab.example"]),
            "dns_name",
            "\"*.lab.example\"",
            "\"laptop.lab.example\"",
            true,
        ),
        (
            names(DnsName, &["*.example"]),
            "dns_name",
            "\"*.example\"",
            "\"laptop.lab.example\"",
            false,
        ),
        (
            names(UserPrincipalName, &["bob@*", "a*@ad.example"]),
            "user_principal_name",
            "one of \"bob@*\", \"a*@ad.example\"",
            "\"alice@ad.example\"",
            true,
        ),
    ]);
}

#[test]
fn usages_numbers_and_digests_are_compared_and_told() {
    check(vec![
        (
            Condition::ExtendedKeyUsage(owned(&["1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.2"])),
            "extended_key_usage",
            "one of \"1.3.6.1.5.5.7.3.4\", \"1.3.6.1.5.5.7.3.2\"",
            "\"1.3.6.1.5.5.7.3.2\"",
            true,
        ),
        (
            Condition::Policy(owned(&["1.2.250.1"])),
            "policy",
            "\"1.2.250.1\"",
            "\"1.2.250.1.1\"",
            false,
        ),
        (
            Condition::KeyUsage(owned(&["contentCommitment"])),
            "key_usage",
            "\"contentCommitment\"",
            "\"nonRepudiation\", \"digitalSignature\"",
            true,
        ),
        (
            Condition::Serial(owned(&["000a1b"])),
            "serial",
            "\"000a1b\"",
            "\"0A:1B\"",
            true,
        ),
        (
            Condition::Serial(owned(&["0A:1B:00"])),
            "serial",
            "\"0A:1B:00\"",
            "\"0A:1B\"",
            false,
        ),
        (
            Condition::Fingerprint(owned(&["aabb"])),
            "fingerprint",
            "\"aabb\"",
            "\"AA:BB\"",
            true,
        ),
        (
            Condition::Fingerprint(owned(&["00aabb"])),
            "fingerprint",
            "\"00aabb\"",
            "\"AA:BB\"",
            false,
        ),
        (
            Condition::PublicKeyFingerprint(owned(&["AA:BB"])),
            "public_key_fingerprint",
            "\"AA:BB\"",
            "\"CC:DD\"",
            false,
        ),
        (
            Condition::KeyAlgorithm(owned(&["ecdsa"])),
            "key_algorithm",
            "\"ecdsa\"",
            "\"ECDSA\"",
            true,
        ),
        (
            Condition::KeyBitsMin(256),
            "key_bits_min",
            "256 bits or more",
            "256 bits",
            true,
        ),
        (
            Condition::KeyBitsMin(384),
            "key_bits_min",
            "384 bits or more",
            "256 bits",
            false,
        ),
        (
            Condition::ValidForSeconds(86_400),
            "valid_for",
            "1d left or more",
            "1d left, until 2026-11-25T09:00:00Z",
            true,
        ),
        (
            Condition::ValidForSeconds(86_401),
            "valid_for",
            "1d 1s left or more",
            "1d left, until 2026-11-25T09:00:00Z",
            false,
        ),
    ]);
}

#[test]
fn serial_of_zero_is_found_and_an_empty_one_is_not() {
    let zero = alice_with(|c| c.serial = "00".into());
    assert!(find(Condition::Serial(owned(&["0"])), &zero).holds);
    for wanted in ["", ":", " ", "x"] {
        assert!(!find(Condition::Serial(owned(&[wanted])), &zero).holds, "{wanted}");
        assert!(
            !find(
                Condition::Fingerprint(owned(&[wanted])),
                &alice_with(|c| c.fingerprint.clear())
            )
            .holds
        );
    }
}

#[test]
fn issuer_is_its_name_and_its_key_together() {
    let alice = alice_with(|_| {});
    let direct = |issuers: Vec<Arc<Certificate>>| Condition::IssuedBy {
        file: "standard.pem".into(),
        issuers,
    };
    let other_key = Arc::new(Certificate {
        public_key_fingerprint: "11:22".into(),
        ..(*issuer()).clone()
    });
    let other_name = Arc::new(Certificate {
        subject: name(&[("CN", "CNRS-Plus")]),
        ..(*issuer()).clone()
    });
    let found = find(direct(vec![other_key.clone(), issuer()]), &alice);
    assert!(found.holds);
    assert_eq!(found.found, "\"/C=FR/O=CNRS/CN=CNRS-Standard\" with public key EE:FF");
    assert_eq!(
        find(direct(vec![other_name.clone()]), &alice).wanted,
        "one of \"standard.pem\": \"/CN=CNRS-Plus\" with public key EE:FF"
    );
    for issuers in [vec![other_key], vec![other_name], Vec::new()] {
        assert!(!find(direct(issuers), &alice).holds);
    }
    // The root above is not the direct issuer.
    let root = certificate("CNRS", &[("CN", "CNRS")]);
    let above = rule(vec![direct(vec![root.clone()])]);
    let holds = |chain: &[Arc<Certificate>]| above.findings(&alice, chain, NOW_SECONDS)[0].holds;
    assert!(holds(std::slice::from_ref(&root)));
    assert!(!holds(&[issuer(), root]));
    assert!(!holds(&[]));
}

#[test]
fn absent_extensions_satisfy_nothing() {
    let bare = certificate("CNRS-Standard", &[]);
    for condition in [
        Condition::KeyUsage(owned(&["digitalSignature"])),
        Condition::ExtendedKeyUsage(owned(&["1.3.6.1.5.5.7.3.2"])),
        Condition::Policy(owned(&["1.2"])),
        names(AlternativeName::MailAddress, &["*@*"]),
        names(AlternativeName::DnsName, &["*"]),
        subject("CN", &["Alice Martin", ""]),
    ] {
        let finding = find(condition, &bare);
        assert!(!finding.holds && finding.found == "none", "{finding:?}");
    }
    let unknown = alice_with(|c| c.key_bits = 0);
    assert_eq!(find(Condition::KeyBitsMin(1), &unknown).found, "an unknown size");
}

#[test]
fn not_and_any_compose_and_show_what_is_inside() {
    let alice = alice_with(|_| {});
    let ou = |value| subject("OU", &[value]);
    let not = |inner| Condition::Not(inner);
    let finding = find(not(vec![ou("UMR5168"), Condition::KeyBitsMin(384)]), &alice);
    assert!(finding.holds);
    assert_eq!(
        finding.wanted,
        "not (subject.OU \"UMR5168\" and key_bits_min 384 bits or more)"
    );
    assert_eq!(finding.found, "subject.OU \"UMR5168\"; key_bits_min 256 bits");
    assert_eq!(finding.inner.iter().map(|f| f.holds).collect::<Vec<_>>(), [true, false]);
    assert!(!find(not(vec![ou("UMR5168")]), &alice).holds);

    let any = Condition::Any(vec![vec![ou("LBBE")], vec![ou("UMR5168"), Condition::KeyBitsMin(256)]]);
    let finding = find(any, &alice);
    assert!(finding.holds);
    assert_eq!(
        finding.wanted,
        "(subject.OU \"LBBE\") or (subject.OU \"UMR5168\" and key_bits_min 256 bits or more)"
    );
    assert_eq!(finding.found, "subject.OU \"UMR5168\"; key_bits_min 256 bits");
    let inner: Vec<_> = finding
        .inner
        .iter()
        .map(|f| (f.condition.as_str(), f.holds, f.inner.len()))
        .collect();
    assert_eq!(inner, [("any.1", false, 1), ("any.2", true, 2)]);
    let none = vec![vec![ou("LBBE")], vec![ou("UMR5168"), Condition::KeyBitsMin(384)]];
    assert!(!find(Condition::Any(none), &alice).holds);
}

#[test]
fn empty_compositions_hold_for_nobody() {
    let alice = alice_with(|_| {});
    for condition in [
        Condition::Any(Vec::new()),
        Condition::Any(vec![Vec::new()]),
        Condition::Not(Vec::new()),
    ] {
        assert!(!find(condition.clone(), &alice).holds, "{condition:?}");
    }
}

#[test]
fn all_conditions_are_asked_behind_one_that_does_not_hold() {
    let conditions = vec![
        subject("OU", &["LBBE"]),
        Condition::KeyBitsMin(1),
        subject("C", &["DE"]),
    ];
    let findings = rule(conditions).findings(&alice_with(|_| {}), &[issuer()], NOW_SECONDS);
    assert_eq!(
        findings.iter().map(|f| f.holds).collect::<Vec<_>>(),
        [false, true, false]
    );
}

#[test]
fn a_value_cannot_forge_another_finding() {
    let forged = alice_with(|c| c.subject = name(&[("OU", "x\", wanted \"x\"\n/OU=UMR5168; subject.C: found \"FR")]));
    let finding = find(subject("OU", &["UMR5168"]), &forged);
    assert_eq!(
        finding.found,
        r#""x\22, wanted \22x\22\0A\2FOU\3DUMR5168; subject.C: found \22FR""#
    );
    let text = find(regex(NameOf::Subject, "^/OU=UMR5168"), &forged);
    assert_eq!(
        text.found,
        r#""/OU=x\22, wanted \22x\22\0A\2FOU\3DUMR5168; subject.C: found \22FR""#
    );
    assert!(!finding.holds && !text.holds);
}

#[test]
fn huge_certificates_make_short_findings() {
    let huge = alice_with(|c| {
        c.subject = name(&vec![("OU", "\u{10ffff}\u{202e}"); 20_000]);
        c.mail_addresses = vec!["x@example.org".repeat(100); 1000];
    });
    let conditions = vec![
        subject("OU", &["UMR5168"]),
        regex(NameOf::Subject, "^/OU=UMR5168$"),
        names(AlternativeName::MailAddress, &["*@cnrs.example"]),
        Condition::Not(vec![subject("OU", &["UMR5168"]); 50]),
        Condition::Any(vec![vec![regex(NameOf::Subject, "x")]; 50]),
    ];
    for finding in rule(conditions).findings(&huge, &[], NOW_SECONDS) {
        let longest = finding.found.chars().count().max(finding.wanted.chars().count());
        assert!(longest < 700, "{} {longest}", finding.condition);
    }
}
