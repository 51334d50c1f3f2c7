//! The steps of an examination: one truth with the verdict.

use estafette::cert::examination::{Check, Examination, Outcome};
use estafette::cert::identity::{Identity, Why};
use rustls::pki_types::CertificateDer;

use super::pki::{Authority, DAY, Holder, List, SUB_SERIAL, World, now};
use super::{Judge, judge};

fn examine(judge: &Judge, chain: &[CertificateDer<'static>]) -> Examination {
    let examination = judge.examine(Some(chain), now());
    assert_eq!(examination.identity, judge.judge(Some(chain), now()));
    examination
}

fn failed(examination: &Examination) -> Vec<(String, Check)> {
    let failed = examination.steps.iter().filter(|step| step.outcome == Outcome::Failed);
    failed.map(|step| (step.certificate.clone(), step.check)).collect()
}

fn detail(examination: &Examination, certificate: &str, check: Check) -> (Outcome, String) {
    let mut steps = examination.steps.iter();
    let step = steps.find(|step| step.certificate == certificate && step.check == check);
    let step = step.unwrap_or_else(|| panic!("no {check:?} of {certificate}: {:?}", examination.steps));
    (step.outcome, step.detail.clone())
}

#[test]
fn verified_path_is_told_check_by_check_with_where_each_issuer_was_found() {
    let world = World::new();
    world.write("ca.pem", &world.root.pem);
    let alice = world.sub.holder("Alice", 5);
    let examination = examine(&judge(&world.files(&[])), &[alice.der, world.sub.der.clone()]);
    assert!(matches!(examination.identity, Identity::Verified { .. }));
    assert_eq!(failed(&examination), []);
    let found = |certificate, check| detail(&examination, certificate, check).1;
    assert_eq!(
        found("/CN=Alice", Check::Issuer),
        "/O=CNRS/CN=Sub, presented by the client"
    );
    assert_eq!(
        found("/O=CNRS/CN=Sub", Check::Issuer),
        "/O=CNRS/CN=Root, a trust anchor in smtpd_tls_CAfile"
    );
    assert!(found("/CN=Alice", Check::Signature).starts_with("ecdsa-with-SHA256; its own key is ECDSA of 256 bits"));
    assert_eq!(found("/CN=Alice", Check::Usage), "extended key usage clientAuth");
    assert_eq!(
        found("/O=CNRS/CN=Sub", Check::Constraints),
        "a certification authority, 0 intermediates below it"
    );
    assert_eq!(detail(&examination, "/CN=Alice", Check::Crl).0, Outcome::Skipped);
    assert_eq!(detail(&examination, "/CN=Alice", Check::Ocsp).0, Outcome::Skipped);
    let certificates: Vec<&str> = examination.steps.iter().map(|step| step.certificate.as_str()).collect();
    let mut order = certificates.clone();
    order.dedup();
    assert_eq!(order, ["/CN=Alice", "/O=CNRS/CN=Sub", "/O=CNRS/CN=Root"]);
}

#[test]
fn verdict_and_failed_checks_agree_for_every_flaw() {
    let world = World::new();
    let stranger = Authority::root("Stranger");
    let impostor = Authority::root("Sub");
    world.write_list("root.crl", &world.root, &List::default());
    let revoking = List {
        revoked: &[66],
        ..List::default()
    };
    world.write_list("sub.crl", &world.sub, &revoking);
    let judge = judge(&world.files(&["root.crl", "sub.crl"]));
    let long_ago = |holder: &Holder| judge.examine(Some(std::slice::from_ref(&holder.der)), now() + 700 * DAY);
    let good = world.sub.holder("Good", 5);
    let cases = [
        (examine(&judge, std::slice::from_ref(&good.der)), None, None),
        (
            examine(&judge, &[stranger.holder("A", 5).der]),
            Some(Why::UnknownIssuer),
            Some(Check::Issuer),
        ),
        (
            examine(&judge, &[impostor.holder("A", 5).der]),
            Some(Why::BadSignature),
            Some(Check::Signature),
        ),
        (
            examine(&judge, &[world.sub.holder("A", 66).der]),
            Some(Why::Revoked),
            Some(Check::Crl),
        ),
        (long_ago(&good), Some(Why::Expired), Some(Check::Validity)),
        (
            examine(&judge, std::slice::from_ref(&world.sub.der)),
            Some(Why::CaAsEndEntity),
            Some(Check::Constraints),
        ),
        (
            examine(&judge, &[CertificateDer::from(vec![0x30, 0])]),
            Some(Why::Malformed),
            Some(Check::Encoding),
        ),
    ];
    for (examination, expected, check) in cases {
        let found = match &examination.identity {
            Identity::Unverified { why, .. } => Some(*why),
            _ => None,
        };
        assert_eq!(found, expected);
        let failed: Vec<Check> = failed(&examination).into_iter().map(|(_, check)| check).collect();
        match check {
            None => assert_eq!(failed, []),
            Some(check) => assert!(failed.contains(&check), "{expected:?}: {failed:?}"),
        }
    }
}

#[test]
fn revoked_and_tolerated_certificates_name_the_list() {
    let world = World::new();
    let alice = world.sub.holder("Alice", 5);
    let of_root = List {
        number: 41,
        revoked: &[SUB_SERIAL],
        ..List::default()
    };
    world.write_list("root.crl", &world.root, &of_root);
    let mut files = world.files(&["root.crl"]);
    files.revocation.crl_policy.on_unknown = estafette::io::tls::settings::OnUnknown::FailOpen;
    let examination = examine(&judge(&files), &[alice.der]);
    let (outcome, text) = detail(&examination, "/O=CNRS/CN=Sub", Check::Crl);
    assert_eq!(outcome, Outcome::Failed);
    assert!(text.contains("(keyCompromise), says list 41 of "), "{text}");
    let (outcome, text) = detail(&examination, "/CN=Alice", Check::Crl);
    assert_eq!(outcome, Outcome::Tolerated);
    assert_eq!(text, "no revocation list of /O=CNRS/CN=Sub at hand (fail-open)");
}
