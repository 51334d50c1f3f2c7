//! The table against policies that are closed, and against policies that are open on purpose.

use std::path::Path;
use std::sync::Arc;

use regex::Regex;

use super::*;
use crate::config::{self, Environment};
use crate::net::{CidrSet, parse_network};
use crate::policy::chain::Chain;
use crate::policy::restriction::{Action, CertificateMatch, Restriction};

/// The campus of the examples, its list replaced.
fn settings(restrictions: Vec<Restriction>, networks: &[&str]) -> Settings {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/certs-example/e.toml"));
    let text = "myhostname = \"relay.example.org\"\nqueue_directory = \"queue\"\nrelay_domains = [\"example.org\"]\n\
        smtpd_tls_security_level = \"may\"\nsmtpd_tls_cert_file = \"server.crt\"\nsmtpd_tls_key_file = \"server.key\"\n\
        smtpd_tls_CAfile = \"CAcert.pem\"\nsmtpd_tls_ask_ccert = true\nmynetworks = [\"192.0.2.0/24\"]\n\
        smtpd_recipient_restrictions = [\"permit_mynetworks\", \"permit_tls_all_clientcerts\", \"reject\"]\n";
    let environment = Environment {
        hostname: "relay.example.org".into(),
        interfaces: Vec::new(),
        ipv6: false,
        check_files: false,
        public_ca_bundles: Vec::new(),
    };
    let mut settings = config::load_text(path, text, &environment).unwrap().settings;
    let listener = settings.listeners.first_mut().unwrap();
    let mut session = (*listener.session).clone();
    let mut lists = session.chain.lists.clone();
    lists.mynetworks = CidrSet::new(networks.iter().map(|text| parse_network(text).unwrap()).collect());
    session.chain = Arc::new(Chain {
        recipient: restrictions,
        lists,
        ..Chain::default()
    });
    listener.session = Arc::new(session);
    settings.listeners.truncate(1);
    settings
}

fn subject(expression: &str) -> Vec<Restriction> {
    let rule = CertificateMatch {
        issuer: None,
        subject: Some(Regex::new(expression).unwrap()),
        action: Action::Permit,
    };
    vec![
        Restriction::PermitMynetworks,
        Restriction::Certificate(rule),
        Restriction::CheckRelayDomains,
    ]
}

/// What is found, and the report.
fn outcome(restrictions: Vec<Restriction>, networks: &[&str]) -> (Vec<Found>, String) {
    let tallies = try_listeners(&settings(restrictions, networks)).unwrap();
    let text = report(&tallies);
    assert!(tallies[0].tried > 60, "{text}");
    (tallies.into_iter().flat_map(|tally| tally.found).collect(), text)
}

const CAMPUS: &[&str] = &["192.0.2.0/24"];

#[test]
fn closed_policies_let_nobody_in() {
    for restrictions in [
        vec![
            Restriction::PermitMynetworks,
            Restriction::PermitTlsAllClientcerts,
            Restriction::CheckRelayDomains,
        ],
        vec![
            Restriction::PermitTlsClientcerts,
            Restriction::PermitAuthDestination,
            Restriction::Reject,
        ],
        subject("^/C=FR/O=CNRS/OU=UMR5168/CN=[^/+]*$"),
        subject("/OU=(UMR5168|UMR7638)(/|$)"),
    ] {
        let shown = format!("{restrictions:?}");
        let (found, text) = outcome(restrictions, CAMPUS);
        assert!(found.is_empty(), "{shown}: {text}");
        assert!(text.starts_with("nobody outside can relay: "), "{text}");
    }
}

#[test]
fn list_that_permits_everybody_is_found_for_every_outsider() {
    let (found, text) = outcome(vec![Restriction::RejectUnauthDestination, Restriction::Permit], CAMPUS);
    assert!(found.is_empty(), "{text}");
    let (found, text) = outcome(vec![Restriction::Permit], CAMPUS);
    for outsider in [
        "plaintext",
        "TLS without a certificate",
        "self-signed certificate",
        "malformed certificate",
    ] {
        assert!(
            found.iter().any(|found| found.outsider.starts_with(outsider)),
            "{outsider}: {text}"
        );
    }
    assert!(
        found
            .iter()
            .any(|found| found.outsider.starts_with("forged certificate of /C=FR/O=CNRS")),
        "{text}"
    );
    assert!(
        text.contains("permitted by permit: unconditional") && text.contains("open relay: "),
        "{text}"
    );
    assert!(text.contains("more there"), "{text}");
}

#[test]
fn networks_that_hold_the_world_are_found() {
    let world = ["0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/3"];
    let (found, text) = outcome(vec![Restriction::PermitMynetworks, Restriction::Reject], &world);
    assert!(found.iter().all(|found| found.decided_by == "permit_mynetworks"));
    assert!(
        found[0].outsider == "plaintext" && found[0].attempt.contains("198.51.100.77"),
        "{text}"
    );
}

#[test]
fn expressions_that_a_spoofed_name_satisfies_are_found() {
    for (expression, spoofed) in [
        // Not anchored at its end: a longer value.
        ("/OU=UMR5168", "/OU=UMR51689/"),
        // No attribute: any value.
        ("UMR5168", "/CN=xUMR5168y"),
        // The attribute's name inside a value is escaped, its value is not.
        ("OU.*UMR5168", "/OU=xUMR5168y"),
        // Not anchored at its beginning.
        ("=UMR5168/|.UMR5168/", "/OU=xUMR5168"),
    ] {
        let (found, text) = outcome(subject(expression), CAMPUS);
        assert!(
            found.iter().any(|found| found.outsider.contains(spoofed)),
            "{expression}: {text}"
        );
        assert!(
            found
                .iter()
                .all(|found| found.outsider.starts_with("spoofed certificate of /C=FR")),
            "{text}"
        );
    }
}
