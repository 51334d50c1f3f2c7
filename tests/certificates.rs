//! Certificates: decoded like OpenSSL reads them, and judged with one precise reason for each flaw.

#[path = "certificates/handshakes.rs"]
mod handshakes;
#[path = "certificates/pki.rs"]
mod pki;

use std::collections::BTreeSet;

use estafette::cert::decode::{DecodeError, decode};
use estafette::cert::examination::Outcome;
use estafette::cert::identity::{Identity, Why};
use estafette::io::tls::error::TlsFileError;
use estafette::io::tls::judge::Judge;
use pki::{Pki, now, openssl_x509};

fn judge_of(pki: &Pki, ca_file: &str, verify_depth: usize) -> Judge {
    Judge::load(Some(&pki.path(ca_file)), None, false, verify_depth, now()).expect("sound authorities")
}

fn errors_of(result: Result<Judge, Vec<TlsFileError>>) -> String {
    let errors = result.expect_err("unsound authorities");
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_flaw_of_a_certificate_is_named_precisely() {
    let pki = Pki::odd();
    let judge = judge_of(&pki, "ca.pem", 9);
    let cases = [
        ("ok", None),
        ("direct", None),
        ("rsa", None),
        ("any-usage", None),
        ("no-usage", None),
        ("full", None),
        ("name-multi", None),
        ("under-root0", None),
        ("server-only", Some(Why::WrongExtendedKeyUsage)),
        ("critical", Some(Why::Malformed)),
        ("sha1", Some(Why::WeakAlgorithm)),
        ("md5", Some(Why::WeakAlgorithm)),
        ("small-key", Some(Why::WeakAlgorithm)),
        ("under-small", Some(Why::WeakAlgorithm)),
        ("version-one", Some(Why::OldVersion)),
        ("ca-as-leaf", Some(Why::CaAsEndEntity)),
        ("unknown", Some(Why::UnknownIssuer)),
        ("self-signed", Some(Why::UnknownIssuer)),
        ("forged", Some(Why::BadSignature)),
        ("too-deep", Some(Why::PathLength)),
        ("too-deep-root0", Some(Why::PathLength)),
        ("under-old-sub", Some(Why::Expired)),
        ("outside", Some(Why::NameConstraint)),
        ("expired", Some(Why::Expired)),
        ("not-yet", Some(Why::NotYetValid)),
        ("unknown-expired", Some(Why::UnknownIssuer)),
    ];
    for (name, expected) in cases {
        let examination = judge.examine(Some(&pki.chain(name)), now());
        let mut failed = examination.steps.iter().filter(|step| step.outcome == Outcome::Failed);
        assert_eq!((name, failed.next().is_some()), (name, expected.is_some()));
        let identity = examination.identity;
        match (&identity, expected) {
            (Identity::Verified { .. }, None) => {}
            (Identity::Unverified { why, certificate }, Some(expected)) => {
                assert_eq!((name, *why), (name, expected));
                assert!(certificate.is_some(), "{name} can be shown although it does not verify");
            }
            _ => panic!("{name}: {identity:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn verified_chain_names_the_issuers_up_to_the_anchor() {
    let pki = Pki::odd();
    let Identity::Verified { certificate, chain } = judge_of(&pki, "ca.pem", 9).judge(Some(&pki.chain("ok")), now())
    else {
        panic!("the sound certificate verifies");
    };
    assert_eq!(
        certificate.subject.one_line(),
        "/C=FR/O=CNRS/OU=UMR5168/CN=Alice Martin"
    );
    let names: Vec<String> = chain.iter().map(|issuer| issuer.subject.rfc4514()).collect();
    assert_eq!(names, ["CN=Sub,O=CNRS,C=FR", "CN=Root,O=CNRS,C=FR"]);
}

#[test]
fn presented_certificates_complete_a_chain_and_cannot_forge_one() {
    let pki = Pki::odd();
    let judge = judge_of(&pki, "root.pem", 9);
    let chain = |names: &[&str]| names.iter().flat_map(|name| pki.chain(name)).collect::<Vec<_>>();
    let why = |names: &[&str]| match judge.judge(Some(&chain(names)), now()) {
        Identity::Unverified { why, .. } => Some(why),
        _ => None,
    };
    assert_eq!(why(&["ok"]), Some(Why::UnknownIssuer));
    assert_eq!(why(&["ok", "sub"]), None);
    assert_eq!(why(&["ok", "version-one", "unknown", "sub"]), None);
    assert_eq!(why(&["unknown", "stranger"]), Some(Why::UnknownIssuer));
    assert_eq!(why(&["under-leaf", "ok", "sub"]), Some(Why::UnknownIssuer));
    assert_eq!(why(&["forged", "forger"]), Some(Why::BadSignature));
}

/// Two authorities that vouch for each other in many ways under the name of one of ours: a search that tries every way
/// through them takes long.
#[test]
fn presented_certificates_cannot_make_the_search_long() {
    let pki = Pki::example();
    let directory = pki.path("");
    let script = r#"
        ours=/C=FR/O=CNRS/CN=CNRS-Standard
        new() { openssl req "$@" -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$name.key" -out "$name.new"; }
        echo basicConstraints=critical,CA:TRUE > ca.ext
        name=a; new -x509 -subj $ours; name=b; new -x509 -subj /CN=B
        sign() { openssl x509 -req -in "$name.new" -CA "$1.new" -CAkey "$1.key" -extfile ca.ext; }
        for n in 1 2 3 4 5 6 7; do
            name=a$n; new -subj $ours; sign b >> maze; name=b$n; new -subj /CN=B; sign a >> maze
        done
        name=leaf; new -subj /CN=Mallory; echo extendedKeyUsage=clientAuth > ca.ext; sign a > leaf
        cat leaf maze > maze.pem; cat leaf a.new > same-name.pem
        openssl req -x509 -newkey rsa:2048 -nodes -subj $ours -keyout c.key -out c.new; sign c > other-kind.pem"#;
    pki::run(
        std::process::Command::new("sh")
            .args(["-ec", script])
            .current_dir(directory),
    );
    let judge = judge_of(&pki, "CAcert.pem", 9);
    for name in ["maze", "same-name", "other-kind"] {
        let begun = std::time::Instant::now();
        let identity = judge.judge(Some(&pki.chain(name)), now());
        let took = begun.elapsed();
        assert!(took < std::time::Duration::from_millis(500), "{name}: {took:?}");
        assert!(
            matches!(
                identity,
                Identity::Unverified {
                    why: Why::BadSignature,
                    ..
                }
            ),
            "{name}: {identity:?}"
        );
    }
}

#[test]
fn nothing_presented_is_no_certificate_and_garbage_is_malformed() {
    let pki = Pki::odd();
    let judge = judge_of(&pki, "ca.pem", 9);
    assert_eq!(judge.judge(None, now()), Identity::NoCertificate);
    assert_eq!(judge.judge(Some(&[]), now()), Identity::NoCertificate);
    let malformed = Identity::Unverified {
        why: Why::Malformed,
        certificate: None,
    };
    let mut trailing = pki.chain("ok").remove(0).to_vec();
    trailing.push(0);
    for der in [b"garbage".to_vec(), trailing] {
        assert_eq!(judge.judge(Some(&[der.into()]), now()), malformed);
    }
}

#[test]
fn verify_depth_counts_the_intermediates() {
    let pki = Pki::odd();
    let judge = judge_of(&pki, "ca.pem", 0);
    let verified = |name| judge.judge(Some(&pki.chain(name)), now());
    assert_eq!(verified("direct").state(), "verified");
    assert!(matches!(
        verified("ok"),
        Identity::Unverified {
            why: Why::PathLength,
            ..
        }
    ));
    assert_eq!(
        judge_of(&pki, "ca.pem", 1).judge(Some(&pki.chain("ok")), now()).state(),
        "verified"
    );
}

#[test]
fn verdict_follows_the_time_it_is_asked_for() {
    let pki = Pki::odd();
    let judge = judge_of(&pki, "ca.pem", 9);
    let chain = pki.chain("ok");
    let twenty_years = 20 * 366 * 86_400;
    let why = |at| match judge.judge(Some(&chain), at) {
        Identity::Unverified { why, .. } => Some(why),
        _ => None,
    };
    assert_eq!(why(now()), None);
    assert_eq!(why(now() + twenty_years), Some(Why::Expired));
    assert_eq!(why(now() - twenty_years), Some(Why::NotYetValid));
}

#[test]
fn unsound_authorities_are_refused_by_name() {
    let pki = Pki::odd();
    let load = |file: &str| errors_of(Judge::load(Some(&pki.path(file)), None, false, 9, now()));
    let expired = load("old-root.pem");
    assert!(
        expired.contains("/C=FR/O=CNRS/CN=Old Root expired on 2002-01-01"),
        "{expired}"
    );
    assert!(load("sub.pem").contains("no self-signed root"), "only an intermediate");
    assert!(load("self-signed.pem").contains("/CN=self is not a certification authority"));
    assert!(load("person.key").contains("found PRIVATE KEY"));
    assert!(load("missing.pem").contains("missing.pem"));
}

#[test]
fn root_that_expires_while_the_relay_runs_stops_vouching() {
    let pki = Pki::odd();
    let in_2001 = 990_000_000;
    let judge = Judge::load(Some(&pki.path("old-root.pem")), None, false, 9, in_2001).expect("sound in 2001");
    let identity = judge.judge(Some(&pki.chain("under-old-root")), now());
    assert!(
        matches!(identity, Identity::Unverified { why: Why::Expired, .. }),
        "{identity:?}"
    );
}

#[test]
fn directory_of_authorities_is_read_whole_and_hash_links_count_once() {
    let pki = Pki::odd();
    let directory = tempfile::tempdir().expect("a directory");
    let into = |name: &str| directory.path().join(name);
    for name in ["root.pem", "sub.pem", "self-signed.pem"] {
        std::fs::copy(pki.path(name), into(name)).expect("copying");
    }
    std::fs::write(into("README"), "no certificate here").expect("writing");
    std::os::unix::fs::symlink("root.pem", into("1234abcd.0")).expect("linking");
    let judge = Judge::load(None, Some(directory.path()), false, 9, now()).expect("sound authorities");
    assert_eq!(judge.anchors().len(), 1);
    assert!(judge.hints().is_empty(), "only those of a CAfile are sent");
    assert_eq!(judge.judge(Some(&pki.chain("ok")), now()).state(), "verified");
}

#[test]
fn names_in_every_string_type_read_as_openssl_reads_them() {
    let pki = Pki::odd();
    for name in [
        "name-t61",
        "name-bmp",
        "name-universal",
        "name-utf8",
        "name-multi",
        "ok",
        "version-one",
    ] {
        let certificate = decode(&pki.chain(name)[0]).expect(name);
        let file = pki.path(&format!("{name}.pem"));
        let subject = openssl_x509(&file, &["-subject", "-nameopt", "RFC2253,-esc_msb,utf8"]);
        assert_eq!(format!("subject={}", certificate.subject.rfc4514()), subject, "{name}");
    }
    for name in ["name-t61", "name-bmp", "name-universal", "name-utf8"] {
        let subject = decode(&pki.chain(name)[0]).expect(name).subject;
        let organization: Vec<&str> = subject.values("O").collect();
        assert_eq!(organization, ["École, Supérieure + \"x\""], "{name}");
        assert_eq!(subject.common_name(), Some("#hash <é>;"), "{name}");
    }
}

#[test]
fn slash_in_a_common_name_forges_no_unit() {
    let pki = Pki::odd();
    let subject = decode(&pki.chain("name-slash")[0]).expect("a certificate").subject;
    assert_eq!(subject.common_name(), Some("bob/OU=UMR5168"));
    assert_eq!(subject.values("OU").count(), 0);
    assert_eq!(subject.one_line(), "/C=FR/O=CNRS/CN=bob\\2FOU\\3DUMR5168");
}

#[test]
fn multi_valued_rdn_stays_one_rdn() {
    let pki = Pki::odd();
    let subject = decode(&pki.chain("name-multi")[0]).expect("a certificate").subject;
    assert_eq!(
        subject.0.iter().map(|rdn| rdn.0.len()).collect::<Vec<_>>(),
        [1, 1, 2, 2]
    );
    assert_eq!(
        subject.one_line(),
        "/DC=fr/DC=cnrs/OU=people+UID=jdupont/serialNumber=42+CN=Jean"
    );
}

#[test]
fn contents_of_a_certificate_are_decoded() {
    let pki = Pki::odd();
    let certificate = decode(&pki.chain("full")[0]).expect("a certificate");
    let openssl = |argument| openssl_x509(&pki.path("full.pem"), &[argument, "-sha256"]);
    assert_eq!(
        format!("serial={}", certificate.serial.replace(':', "")),
        openssl("-serial")
    );
    assert_eq!(
        format!("sha256 Fingerprint={}", certificate.fingerprint),
        openssl("-fingerprint")
    );
    assert_eq!(certificate.version, 3);
    assert_eq!(certificate.issuer.one_line(), "/C=FR/O=CNRS/CN=Sub");
    assert_eq!(certificate.mail_addresses, ["alice@example.org"]);
    assert_eq!(certificate.dns_names, ["alice.example.org"]);
    assert_eq!(certificate.user_principal_names, ["alice@ad.example.org"]);
    let usages = ["1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.4", "1.3.6.1.4.1.311.20.2.2"];
    assert_eq!(certificate.extended_key_usages, usages);
    assert_eq!(certificate.policies, ["1.2.250.1.1", "1.2.250.1.2"]);
    assert!(!certificate.is_ca && decode(&pki.chain("sub")[0]).expect("an authority").is_ca);
    assert_eq!(
        certificate.not_after_seconds - certificate.not_before_seconds,
        3650 * 86_400
    );
    let key = |name: &str| {
        let certificate = decode(&pki.chain(name)[0]).expect(name);
        (certificate.key_algorithm, certificate.key_bits)
    };
    assert_eq!(key("full"), ("ECDSA".to_owned(), 256));
    assert_eq!(key("rsa"), ("RSA".to_owned(), 2048));
    assert_eq!(key("small-key"), ("RSA".to_owned(), 1024));
    let same_key = decode(&pki.chain("ok")[0]).expect("a certificate");
    assert_eq!(certificate.public_key_fingerprint, same_key.public_key_fingerprint);
    assert_ne!(certificate.fingerprint, same_key.fingerprint);
}

#[test]
fn extension_that_stands_twice_is_malformed() {
    let pki = Pki::odd();
    let mut der = pki.chain("two-extensions").remove(0).to_vec();
    assert!(decode(&der).is_ok());
    // 1.2.3.4.6 becomes 1.2.3.4.5, which stands there already.
    let at = der
        .windows(4)
        .position(|w| w == [0x2a, 3, 4, 6])
        .expect("the extension");
    der[at + 3] = 5;
    assert_eq!(decode(&der), Err(DecodeError::Malformed));
}

#[test]
fn damaged_certificates_never_panic() {
    let pki = Pki::odd();
    for name in ["full", "name-bmp", "version-one"] {
        let der = pki.chain(name).remove(0).to_vec();
        for n in 0..der.len() {
            let _ = decode(&der[..n]);
            let mut damaged = der.clone();
            damaged[n] ^= 0x55;
            let _ = decode(&damaged);
        }
    }
}

#[test]
fn certs_example_script_regenerates_its_pki() {
    let anew = Pki::example_made_anew();
    let names = |directory: &std::path::Path| -> BTreeSet<String> {
        let entries = std::fs::read_dir(directory).expect("a directory");
        let names = entries.map(|e| e.expect("an entry").file_name().into_string().expect("UTF-8"));
        names.filter(|name| name != "make.sh" && name != "README.md").collect()
    };
    assert_eq!(names(&anew.path("")), names(pki::example_directory()));
    for pki in [anew, Pki::example()] {
        let judge = judge_of(&pki, "CAcert.pem", 9);
        let state = |name| match judge.judge(Some(&pki.chain(name)), now()) {
            Identity::Unverified { why, .. } => why.to_string(),
            identity => identity.state().to_owned(),
        };
        for name in ["alice", "bob", "carol", "relay-client"] {
            assert_eq!(state(name), "verified", "{name}");
        }
        assert_eq!(state("rogue"), Why::UnknownIssuer.to_string());
        assert_eq!(state("expired"), Why::Expired.to_string());
        let alice = decode(&pki.chain("alice")[0]).expect("a certificate");
        assert_eq!(alice.subject.one_line(), "/C=FR/O=CNRS/OU=UMR5168/CN=Alice Martin");
        assert_eq!(alice.issuer.one_line(), "/C=FR/O=CNRS/CN=CNRS-Standard");
        assert_eq!(alice.mail_addresses, ["alice@example.org"]);
    }
}
