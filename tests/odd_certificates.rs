//! Every odd certificate through the real handshake, TLS 1.2 and 1.3, fresh and resumed, and what is made of it.
//!
//! Each is judged and then asked of one fixed policy; all that comes out is compared with `odd_certificates/NAME.golden`.
//! `BLESS=1` writes those anew: read the difference before it is committed.

#[path = "odd_certificates/authority.rs"]
mod authority;
#[path = "odd_certificates/cases.rs"]
mod cases;
mod common;
#[path = "odd_certificates/golden.rs"]
mod golden;
#[path = "odd_certificates/handshakes.rs"]
mod handshakes;
#[allow(dead_code, reason = "certificates.rs uses the rest")]
#[path = "certificates/pki.rs"]
mod pki;
#[path = "odd_certificates/resumption.rs"]
mod resumption;

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use cases::{Case, World};
use estafette::cert::certificate::NameOf;
use estafette::io::tls::settings::ServerTlsFiles;
use estafette::policy::certificate_rule::{CertificateRule, Condition, RuleAction};
use estafette::policy::chain::Chain;
use estafette::policy::restriction::{Action, CertificateMatch, Restriction};
use handshakes::Server;
use pki::Pki;
use regex::Regex;

/// The only certificates that the regular expression may let through: no blessing of a golden file can add one.
const PERMITTED: [&str; 12] = [
    "constraint-kept",
    "ed25519",
    "hundred-names",
    "issuer-shown",
    "name-bmp",
    "name-t61",
    "name-two-units",
    "name-utf8",
    "p-384",
    "plain",
    "rsa-4096",
    "usage-none",
];

/// Those the rule on the attribute lets through as well: it sees the OU in whatever RDN it stands.
const PERMITTED_BY_ATTRIBUTE_ALONE: [&str; 2] = ["rdn-name-and-unit", "rdn-unit-and-uid"];

/// The only ones that may pass where revocation lists are checked, by both.
const PERMITTED_WITH_LISTS: [&str; 1] = ["crl-kept"];

/// Permits the unit by a regular expression that cannot match within a value.
fn by_text() -> Restriction {
    let regex = Regex::new("^(/[^/]*)*/OU=UMR5168(/[^/]*)*$").expect("a pattern");
    Restriction::Certificate(CertificateMatch {
        issuer: None,
        subject: Some(regex),
        action: Action::Permit,
    })
}

/// Permits the unit by the value of the attribute.
fn by_attribute() -> Restriction {
    let unit = Condition::Attribute {
        of: NameOf::Subject,
        attribute: "OU".into(),
        any_of: vec!["UMR5168".into()],
    };
    Restriction::Rule(Arc::new(CertificateRule {
        name: "the-unit".into(),
        conditions: vec![unit],
        action: RuleAction::Permit,
        sender: None,
        limits: Vec::new(),
    }))
}

/// What does not come out as written down, and whom which chain permitted.
#[derive(Default)]
struct Found {
    differences: Vec<String>,
    permitted: BTreeSet<(&'static str, &'static str)>,
}

/// Every case once.
async fn meet_all(server: &Server, cases: &[Case], pki: &Pki) -> Found {
    let chain = |permit| Chain {
        recipient: vec![permit, Restriction::Reject],
        ..Chain::default()
    };
    let (by_text, by_attribute) = (chain(by_text()), chain(by_attribute()));
    let chains = [("by text", &by_text), ("by attribute", &by_attribute)];
    let mut found = Found::default();
    for case in cases {
        let all = server.meet(case, &pki.path("")).await;
        let (text, permitting) = golden::render(case, &all, &chains);
        found.differences.extend(golden::compare(case.name, &text).err());
        found
            .permitted
            .extend(permitting.into_iter().map(|chain| (chain, case.name)));
    }
    found
}

/// Pairs of both chains and each of these cases.
fn by_both(names: &[&'static str]) -> BTreeSet<(&'static str, &'static str)> {
    let pairs = names
        .iter()
        .flat_map(|name| [("by text", *name), ("by attribute", *name)]);
    pairs.collect()
}

/// The relay of the example PKI with the matrix' authorities.
fn server_files(pki: &Pki, bundle: &str) -> ServerTlsFiles {
    let ca_file = pki.path("odd-ca.pem");
    fs::write(&ca_file, bundle).expect("written");
    ServerTlsFiles {
        ca_file: Some(ca_file),
        ..pki.server_files()
    }
}

/// Fails with all that differs.
fn assert_as_written(found: &Found) {
    assert!(found.differences.is_empty(), "{}", found.differences.join("\n"));
}

#[tokio::test]
async fn odd_certificates_are_judged_as_the_golden_files_say() {
    let (pki, world) = (Pki::example(), World::new());
    let server = Server::start(&server_files(&pki, &world.bundle())).await;
    let cases = world.cases(&pki.path(""));
    let found = meet_all(&server, &cases, &pki).await;
    let mut expected = by_both(&PERMITTED);
    expected.extend(PERMITTED_BY_ATTRIBUTE_ALONE.map(|name| ("by attribute", name)));
    assert_eq!(found.permitted, expected);
    assert_as_written(&found);

    let mut names: BTreeSet<&str> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len(), "a name stands for one case");
    names.extend(world.revocation().cases.iter().map(|case| case.name));
    assert_eq!(golden::orphans(&names), [""; 0], "golden files without a case");
}

#[tokio::test]
async fn revoked_certificates_are_judged_as_the_golden_files_say() {
    let (pki, world) = (Pki::example(), World::new());
    let revocation = world.revocation();
    let mut files = server_files(&pki, &(world.bundle() + &revocation.authorities));
    fs::write(pki.path("lists.pem"), &revocation.lists).expect("written");
    files.revocation.crl_files = vec![pki.path("lists.pem")];
    let found = meet_all(&Server::start(&files).await, &revocation.cases, &pki).await;
    assert_eq!(found.permitted, by_both(&PERMITTED_WITH_LISTS));
    assert_as_written(&found);
}
