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

/// Set once `[[certificate_rule]]` is evaluated, with `BLESS=1` for the second trace of every case.
const RULES_ARE_EVALUATED: bool = false;
/// Set once revocation lists are read, with `BLESS=1` for the cases that begin with `crl-`.
const LISTS_ARE_CHECKED: bool = false;

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

/// The only ones that may pass where revocation lists are checked.
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
    let mut chains = vec![("by text", &by_text)];
    if RULES_ARE_EVALUATED {
        chains.push(("by attribute", &by_attribute));
    }
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

/// Pairs of a chain and each of these cases.
fn pairs(chain: &'static str, names: &[&'static str]) -> Vec<(&'static str, &'static str)> {
    names.iter().map(|name| (chain, *name)).collect()
}

/// The relay of the example PKI with the matrix' authorities.
fn server_files(pki: &Pki, world: &World) -> ServerTlsFiles {
    let ca_file = pki.path("odd-ca.pem");
    fs::write(&ca_file, world.bundle()).expect("written");
    ServerTlsFiles {
        ca_file: Some(ca_file),
        ..pki.server_files()
    }
}

#[tokio::test]
async fn odd_certificates_are_judged_as_the_golden_files_say() {
    let (pki, world) = (Pki::example(), World::new());
    let mut files = server_files(&pki, &world);
    let cases = world.cases(&pki.path(""));
    let mut found = meet_all(&Server::start(&files).await, &cases, &pki).await;
    let mut expected = pairs("by text", &PERMITTED);
    if RULES_ARE_EVALUATED {
        expected.extend(pairs("by attribute", &PERMITTED));
        expected.extend(pairs("by attribute", &PERMITTED_BY_ATTRIBUTE_ALONE));
    }
    assert_eq!(found.permitted, expected.into_iter().collect());

    let (revoked, lists) = world.revocation_cases();
    if LISTS_ARE_CHECKED {
        fs::write(pki.path("lists.pem"), lists).expect("written");
        files.revocation.crl_files = vec![pki.path("lists.pem")];
        let with_lists = meet_all(&Server::start(&files).await, &revoked, &pki).await;
        let permitted = with_lists.permitted.iter().map(|(_, name)| *name).collect();
        assert_eq!(BTreeSet::from(PERMITTED_WITH_LISTS), permitted);
        found.differences.extend(with_lists.differences);
    }
    assert!(found.differences.is_empty(), "{}", found.differences.join("\n"));

    let mut names: BTreeSet<&str> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len(), "a name stands for one case");
    if LISTS_ARE_CHECKED {
        names.extend(revoked.iter().map(|case| case.name));
    }
    assert_eq!(golden::orphans(&names), [""; 0], "golden files without a case");
}
