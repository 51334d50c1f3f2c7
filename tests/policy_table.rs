//! The restriction chain as a truth table: who, where to, with which lists, and who decides.

#[path = "policy_table/binding.rs"]
mod binding;
#[path = "policy_table/conditions.rs"]
mod conditions;
#[path = "policy_table/holders.rs"]
mod holders;
#[path = "policy_table/limits.rs"]
mod limits;
#[path = "policy_table/lists.rs"]
mod lists;
#[path = "dialogues/outside.rs"]
mod outside;
#[path = "policy_table/properties.rs"]
mod properties;
#[path = "policy_table/relaying.rs"]
mod relaying;
#[path = "policy_table/rules.rs"]
mod rules;
#[path = "policy_table/world.rs"]
mod world;

use std::net::IpAddr;

use estafette::cert::identity::{Identity, Why};
use estafette::net::{CidrSet, parse_network};
use estafette::policy::chain::Chain;
use estafette::policy::facts::{DestinationPattern, Facts, Lists};
use estafette::policy::restriction::{Action, CertificateMatch, Restriction};
use estafette::policy::verdict::Opinion;
use estafette::wire::domain::Domain;
use estafette::wire::path::{ForwardPath, ReversePath};
use holders::{alice, certificate, verified};
use regex::Regex;

fn names(issuer: Option<&str>, subject: Option<&str>, action: Action) -> Restriction {
    let regex = |text: &str| Regex::new(text).expect("a regex");
    Restriction::Certificate(CertificateMatch {
        issuer: issuer.map(regex),
        subject: subject.map(regex),
        action,
    })
}

fn lists() -> Lists {
    Lists {
        mynetworks: CidrSet::new(vec![parse_network("192.0.2.0/24").expect("a network")]),
        destinations: vec![DestinationPattern {
            domain: Domain::parse("campus.example").expect("a domain"),
            subdomains: true,
        }],
        relay_clientcerts: vec!["CC:DD".into()],
        ..Lists::default()
    }
}

struct Row<'a> {
    relay: Vec<Restriction>,
    recipient: Vec<Restriction>,
    peer: &'a str,
    identity: Identity,
    to: &'a str,
    expected: Opinion,
    decided_by: &'a str,
}

fn decide(row: &Row<'_>) -> (Opinion, String) {
    let chain = Chain {
        relay: row.relay.clone(),
        recipient: row.recipient.clone(),
        lists: lists(),
        ..Chain::default()
    };
    let forward_path = ForwardPath::parse(&format!("<{}>", row.to)).expect("a path");
    let facts = Facts {
        hello: "client.example",
        reverse_path: Some(&ReversePath::Null),
        forward_path: Some(&forward_path),
        ..Facts::new(
            row.peer.parse::<IpAddr>().expect("an address"),
            &row.identity,
            1_795_510_800,
        )
    };
    let verdict = chain.decide(&facts);
    (verdict.opinion, verdict.decided_by().to_owned())
}

fn check(rows: &[Row<'_>]) {
    for (n, row) in rows.iter().enumerate() {
        assert_eq!(
            decide(row),
            (row.expected, row.decided_by.to_owned()),
            "row {n}: {} to {}",
            row.peer,
            row.to
        );
    }
}

#[test]
fn source_page_list_permits_networks_and_certificate_holders_only() {
    let list = || {
        vec![
            Restriction::PermitMynetworks,
            Restriction::PermitTlsAllClientcerts,
            Restriction::CheckRelayDomains,
        ]
    };
    let unverified = |why| Identity::Unverified {
        why,
        certificate: Some(certificate("Rogue", &[("CN", "Alice")])),
    };
    let row = |peer, identity, to, expected, decided_by| Row {
        relay: Vec::new(),
        recipient: list(),
        peer,
        identity,
        to,
        expected,
        decided_by,
    };
    check(&[
        row(
            "192.0.2.1",
            Identity::Plaintext,
            "b@elsewhere.example",
            Opinion::Permit,
            "permit_mynetworks",
        ),
        row(
            "198.51.100.1",
            alice(),
            "b@elsewhere.example",
            Opinion::Permit,
            "permit_tls_all_clientcerts",
        ),
        row(
            "198.51.100.1",
            Identity::Plaintext,
            "b@elsewhere.example",
            Opinion::Reject,
            "check_relay_domains",
        ),
        row(
            "198.51.100.1",
            Identity::NoCertificate,
            "b@elsewhere.example",
            Opinion::Reject,
            "check_relay_domains",
        ),
        row(
            "198.51.100.1",
            unverified(Why::UnknownIssuer),
            "b@elsewhere.example",
            Opinion::Reject,
            "check_relay_domains",
        ),
        row(
            "198.51.100.1",
            unverified(Why::Expired),
            "b@elsewhere.example",
            Opinion::Reject,
            "check_relay_domains",
        ),
        row(
            "198.51.100.1",
            Identity::Plaintext,
            "b@lab.campus.example",
            Opinion::Permit,
            "check_relay_domains",
        ),
        row(
            "198.51.100.1",
            Identity::Plaintext,
            "b%elsewhere.example@campus.example",
            Opinion::Reject,
            "check_relay_domains",
        ),
        row(
            "198.51.100.1",
            Identity::Plaintext,
            "elsewhere.example!b@campus.example",
            Opinion::Reject,
            "check_relay_domains",
        ),
        row(
            "198.51.100.1",
            Identity::Plaintext,
            "b@notcampus.example",
            Opinion::Reject,
            "check_relay_domains",
        ),
        row(
            "198.51.100.1",
            Identity::Plaintext,
            "postmaster",
            Opinion::Permit,
            "check_relay_domains",
        ),
    ]);
}

#[test]
fn names_decide_only_for_verified_certificates_and_cannot_be_forged() {
    let issuer = "^/C=FR/O=CNRS/CN=CNRS-Standard$";
    let both = || {
        vec![
            names(Some(issuer), Some("/OU=UMR5168/"), Action::Permit),
            Restriction::Reject,
        ]
    };
    let forged = verified("CNRS-Standard", &[("C", "FR"), ("CN", "bob/OU=UMR5168/")]);
    let other_issuer = verified("CNRS-Plus", &[("OU", "UMR5168"), ("CN", "Carol")]);
    let unverified = Identity::Unverified {
        why: Why::UnknownIssuer,
        certificate: Some(certificate("CNRS-Standard", &[("OU", "UMR5168"), ("CN", "Mallory")])),
    };
    let permit =
        "{ CERTISSUER = \"^/C=FR/O=CNRS/CN=CNRS-Standard$\", CERTSUBJECT = \"/OU=UMR5168/\", action = \"permit\" }";
    let row = |identity, expected, decided_by| Row {
        relay: both(),
        recipient: Vec::new(),
        peer: "198.51.100.1",
        identity,
        to: "b@elsewhere.example",
        expected,
        decided_by,
    };
    check(&[
        row(alice(), Opinion::Permit, permit),
        row(forged, Opinion::Reject, "reject"),
        row(other_issuer, Opinion::Reject, "reject"),
        row(unverified, Opinion::Reject, "reject"),
        row(Identity::Plaintext, Opinion::Reject, "reject"),
    ]);
}

#[test]
fn listed_fingerprint_permits_a_certificate_of_an_unknown_issuer_but_not_an_expired_one() {
    let of = |why| Identity::Unverified {
        why,
        certificate: Some(certificate("Somebody", &[("CN", "printer")])),
    };
    let row = |identity, expected, decided_by| Row {
        relay: vec![Restriction::PermitTlsClientcerts, Restriction::Defer],
        recipient: Vec::new(),
        peer: "198.51.100.1",
        identity,
        to: "b@elsewhere.example",
        expected,
        decided_by,
    };
    check(&[
        row(of(Why::UnknownIssuer), Opinion::Permit, "permit_tls_clientcerts"),
        row(of(Why::Expired), Opinion::Defer, "defer"),
        row(alice(), Opinion::Permit, "permit_tls_clientcerts"),
    ]);
}

#[test]
fn both_lists_must_permit_and_an_open_end_refuses() {
    let row = |relay, recipient, expected, decided_by| Row {
        relay,
        recipient,
        peer: "192.0.2.1",
        identity: Identity::Plaintext,
        to: "b@elsewhere.example",
        expected,
        decided_by,
    };
    let mine = Restriction::PermitMynetworks;
    check(&[
        row(vec![mine.clone()], vec![Restriction::Reject], Opinion::Reject, "reject"),
        row(
            vec![Restriction::Reject],
            vec![Restriction::Permit],
            Opinion::Reject,
            "reject",
        ),
        row(vec![mine.clone()], vec![Restriction::Permit], Opinion::Permit, "permit"),
        row(
            vec![Restriction::PermitAuthDestination],
            Vec::new(),
            Opinion::Reject,
            "end of list",
        ),
        row(Vec::new(), Vec::new(), Opinion::Reject, "end of list"),
        row(
            vec![Restriction::DeferUnauthDestination],
            Vec::new(),
            Opinion::Defer,
            "defer_unauth_destination",
        ),
        row(
            vec![names(None, Some("x"), Action::Reject), mine],
            Vec::new(),
            Opinion::Permit,
            "permit_mynetworks",
        ),
    ]);
}
