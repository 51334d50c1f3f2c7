//! What holds for every certificate, every sender and every course of time.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use estafette::cert::certificate::{Certificate, NameOf};
use estafette::cert::identity::{Identity, Why};
use estafette::cert::name::{Attribute, DistinguishedName, Rdn, oid_of};
use estafette::policy::certificate_rule::{Condition, RuleAction};
use estafette::policy::chain::Chain;
use estafette::policy::facts::Facts;
use estafette::policy::limits::{Allowance, Charge, Counters, Limit};
use estafette::policy::restriction::{Action, CertificateMatch, Restriction};
use estafette::policy::verdict::Opinion;
use estafette::time::Timestamp;
use estafette::wire::path::{ForwardPath, Mailbox, ReversePath};
use proptest::prelude::*;
use regex::Regex;

use crate::binding::of_certificate;
use crate::conditions::{rule, subject};
use crate::holders::{NOW_SECONDS, alice_with, issuer};
use crate::limits::{messages, ten_an_hour};

/// Every attribute type with a short name but OU, and two without one.
const OTHERS: [&str; 15] = [
    "CN",
    "SN",
    "serialNumber",
    "C",
    "L",
    "ST",
    "street",
    "O",
    "title",
    "GN",
    "UID",
    "DC",
    "emailAddress",
    "1.2.3.4",
    "2.5.4.110",
];

/// Values that try to be an OU, and anything else.
fn value() -> impl Strategy<Value = String> {
    let bait = prop::sample::select(vec![
        "UMR5168",
        "/OU=UMR5168",
        ",OU=UMR5168",
        "+OU=UMR5168",
        "/OU=UMR5168/",
        "\\2FOU\\3DUMR5168",
        "\\",
        "/",
        "=",
        "OU",
        "\n/OU=UMR5168",
        "\r\n",
        "\0",
        "\u{202e}8615RMU=UO/",
        "\u{2028}",
        "\"",
        "\u{ff0f}OU\u{ff1d}UMR5168",
        "\u{2215}OU=UMR5168",
        "\u{feff}",
        "; subject.OU: found \"UMR5168\"",
    ]);
    let part = prop_oneof![3 => bait.prop_map(str::to_owned), 1 => any::<String>()];
    prop::collection::vec(part, 0..5).prop_map(|parts| parts.concat())
}

/// A name of these attribute types, with RDNs of one attribute or several.
fn distinguished_name(types: &'static [&'static str]) -> impl Strategy<Value = DistinguishedName> {
    let attribute = (prop::sample::select(types), value()).prop_map(|(name, value)| Attribute {
        oid: oid_of(name).expect("known").into(),
        value,
    });
    let rdn = prop::collection::vec(attribute, 1..4).prop_map(Rdn);
    prop::collection::vec(rdn, 0..5).prop_map(DistinguishedName)
}

/// Reads the one-line text back.
fn parse_one_line(text: &str) -> DistinguishedName {
    let mut rdns: Vec<Rdn> = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest[1..].find(['/', '+']).map_or(rest.len(), |at| at + 1);
        let (name, value) = rest[1..end].split_once('=').expect("a type and a value");
        let attribute = Attribute {
            oid: oid_of(name).expect("a known type").into(),
            value: unescape(value),
        };
        match (first, rdns.last_mut()) {
            ('/', _) => rdns.push(Rdn(vec![attribute])),
            ('+', Some(rdn)) => rdn.0.push(attribute),
            _ => panic!("an RDN starts with a slash: {text}"),
        }
        rest = &rest[end..];
    }
    DistinguishedName(rdns)
}

fn unescape(value: &str) -> String {
    let mut octets = Vec::new();
    let mut rest = value.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first == b'\\' {
            let digits = std::str::from_utf8(&behind[..2]).expect("two digits");
            octets.push(u8::from_str_radix(digits, 16).expect("hexadecimal"));
            rest = &behind[2..];
        } else {
            octets.push(*first);
        }
    }
    String::from_utf8(octets).expect("as it was")
}

fn regex(of: NameOf, text: &str) -> Condition {
    let regex = Regex::new(text).expect("a regex");
    Condition::Text { of, regex }
}

/// Rules on OU, as attributes and as anchored regular expressions in the ways that postmasters write them.
fn rules_on_ou() -> Vec<Condition> {
    vec![
        subject("OU", &["UMR5168", ""]),
        subject("2.5.4.11", &["UMR5168"]),
        regex(NameOf::Subject, "/OU=UMR5168(/|$)"),
        regex(NameOf::Subject, "(?i)[/+]OU=UMR5168([/+]|$)"),
        regex(NameOf::Subject, "^(/[^/]*)*/OU=UMR5168(/[^/]*)*$"),
        regex(NameOf::Subject, "(?m)^/OU=UMR5168"),
        regex(NameOf::Subject, "(?s)^.*/OU=UMR5168.*$"),
        Condition::Any(vec![
            vec![subject("OU", &["UMR5168"])],
            vec![regex(NameOf::Subject, "[/+]OU=")],
        ]),
        Condition::Not(vec![Condition::Not(vec![subject("OU", &["UMR5168"])])]),
    ]
}

fn with_subject(subject: DistinguishedName) -> Certificate {
    alice_with(|certificate| certificate.subject = subject)
}

/// Restrictions that permit by what a certificate says.
fn permitting_by_names() -> Vec<Restriction> {
    let mut everybody = rule(Vec::new());
    let mut bound = rule(Vec::new());
    everybody.action = RuleAction::Permit;
    bound.sender = Some(Arc::new(of_certificate()));
    vec![
        Restriction::PermitTlsAllClientcerts,
        Restriction::Certificate(CertificateMatch {
            issuer: Some(Regex::new("").expect("a regex")),
            subject: None,
            action: Action::Permit,
        }),
        Restriction::RejectSenderCertificateMismatch(Arc::new(of_certificate())),
        Restriction::Rule(Arc::new(everybody)),
        Restriction::Rule(Arc::new(bound)),
    ]
}

fn opinion(identity: &Identity) -> Opinion {
    let chain = Chain {
        relay: permitting_by_names(),
        ..Chain::default()
    };
    let facts = Facts {
        hello: "client.example",
        reverse_path: Some(&ReversePath::parse("<alice.martin@cnrs.example>").expect("a path")),
        forward_path: Some(&ForwardPath::parse("<b@elsewhere.example>").expect("a path")),
        ..Facts::new(IpAddr::from([198, 51, 100, 1]), identity, NOW_SECONDS)
    };
    chain.decide(&facts).opinion
}

const FAULTS: [Why; 17] = [
    Why::UnknownIssuer,
    Why::Expired,
    Why::NotYetValid,
    Why::Revoked,
    Why::Denied,
    Why::CrlMissing,
    Why::CrlStale,
    Why::OcspUnknown,
    Why::WrongExtendedKeyUsage,
    Why::BadSignature,
    Why::PathLength,
    Why::NameConstraint,
    Why::WeakAlgorithm,
    Why::OldVersion,
    Why::CaAsEndEntity,
    Why::Malformed,
    Why::UnknownIssuer,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// The heart of the matter: a rule on OU never holds for a certificate without one, whatever the others say.
    #[test]
    fn no_value_of_another_attribute_makes_a_rule_hold(name in distinguished_name(&OTHERS)) {
        let certificate = with_subject(name);
        for condition in rules_on_ou() {
            let findings = rule(vec![condition]).findings(&certificate, &[issuer()], NOW_SECONDS);
            prop_assert!(!findings[0].holds, "{:?}", findings);
            prop_assert!(!findings[0].found.contains(['\n', '\r', '\0']));
        }
    }

    /// Nor can they hide an OU that is there, or make it another.
    #[test]
    fn other_attributes_hide_nothing(before in distinguished_name(&OTHERS), behind in distinguished_name(&OTHERS)) {
        let ou = Rdn(vec![Attribute { oid: "2.5.4.11".into(), value: "UMR5168".into() }]);
        let rdns = before.0.into_iter().chain([ou]).chain(behind.0).collect();
        let certificate = with_subject(DistinguishedName(rdns));
        for condition in [subject("OU", &["UMR5168"]), regex(NameOf::Subject, "^(.*/)?OU=UMR5168(/|[+]|$)")] {
            prop_assert!(rule(vec![condition]).findings(&certificate, &[], NOW_SECONDS)[0].holds);
        }
        let other = subject("OU", &["/OU=UMR5168", ""]);
        prop_assert!(!rule(vec![other]).findings(&certificate, &[], NOW_SECONDS)[0].holds);
    }

    /// The subject says nothing about the issuer.
    #[test]
    fn no_value_of_the_subject_makes_a_rule_on_the_issuer_hold(name in distinguished_name(&["CN", "O", "OU"])) {
        let certificate = with_subject(name);
        let on_issuer = Condition::Attribute { of: NameOf::Issuer, attribute: "OU".into(), any_of: vec!["UMR5168".into()] };
        for condition in [on_issuer, regex(NameOf::Issuer, "OU=")] {
            prop_assert!(!rule(vec![condition]).findings(&certificate, &[], NOW_SECONDS)[0].holds);
        }
    }

    /// Two names have one text only when they are the same name.
    #[test]
    fn one_line_text_reads_back_as_the_name(name in distinguished_name(&OTHERS)) {
        let text = name.one_line();
        prop_assert!(text.chars().all(|c| !c.is_control()), "{text}");
        prop_assert_eq!(parse_one_line(&text), name);
    }

    /// An exact value agrees with itself alone.
    #[test]
    fn attribute_holds_for_the_very_value_only(wanted in value(), held in value()) {
        let ou = Rdn(vec![Attribute { oid: "2.5.4.11".into(), value: held.clone() }]);
        let certificate = with_subject(DistinguishedName(vec![ou]));
        let holds = rule(vec![subject("OU", &[&wanted])]).findings(&certificate, &[], NOW_SECONDS)[0].holds;
        prop_assert_eq!(holds, wanted == held);
    }

    /// Without verification names are worth nothing.
    #[test]
    fn no_name_of_an_unverified_certificate_permits(
        why in prop::sample::select(FAULTS.to_vec()), name in distinguished_name(&["CN", "OU"]), shown in any::<bool>(),
    ) {
        let certificate = shown.then(|| Arc::new(with_subject(name.clone())));
        prop_assert_eq!(opinion(&Identity::Unverified { why, certificate }), Opinion::Reject);
        let certificate = Arc::new(with_subject(name));
        prop_assert_eq!(opinion(&Identity::Verified { certificate, chain: vec![issuer()] }), Opinion::Permit);
    }

    /// Whatever a certificate holds as an address, it is owned as the whole mailbox that it is, or not at all.
    #[test]
    fn address_is_owned_as_the_whole_mailbox_it_is(
        held in "[ -~]{0,3}(\"?bob\"?|\\*|@a:bob)[ ,<>\"]?@cnrs[.]example[.> ,@é]{0,2}",
        sender in prop::sample::select(vec!["bob@cnrs.example", "eve@cnrs.example", "*@cnrs.example"]),
    ) {
        let certificate = alice_with(|c| c.mail_addresses = vec![held.clone()]);
        let sender = Mailbox::parse(sender).expect("a mailbox");
        let same = Mailbox::parse(&held).is_ok_and(|held| {
            held.host == sender.host && held.local_part.eq_ignore_ascii_case(&sender.local_part)
        });
        prop_assert_eq!(of_certificate().owns(&certificate, &sender), same);
    }

    /// Within any span of the window no more is let through than amount times burst, whatever the intervals are.
    #[test]
    fn no_window_lets_more_through_than_the_burst(
        sends in prop::collection::vec((0_i64..2_000_000, 0_u64..8), 1..200), window_seconds in 1_u64..4000,
    ) {
        let limit = Limit { window: Duration::from_secs(window_seconds), ..ten_an_hour() };
        let window_millis = i64::try_from(window_seconds * 1000).expect("small");
        let mut course = Course::new(limit);
        let mut let_through: Vec<(i64, u64)> = Vec::new();
        let mut now = NOW_SECONDS * 1000;
        for (pause_millis, count) in sends {
            now += pause_millis % (window_millis / 3);
            if course.is_within(count, now) {
                let_through.push((now, count));
            }
            let in_window = let_through.iter().filter(|(at, _)| now - at < window_millis);
            prop_assert!(in_window.map(|(_, count)| count).sum::<u64>() <= 20);
        }
    }

    /// However the clock jumps: nothing panics, a burst passes at most once per jump, and one who rests is free again.
    #[test]
    fn clock_jumps_are_harmless(jumps in prop::collection::vec((any::<i64>(), 0_u64..8), 1..50), end in any::<i32>()) {
        let mut course = Course::new(ten_an_hour());
        for (now, count) in jumps {
            course.is_within(count, now);
            // At one and the same time the burst is the end of it.
            let through = (0..30).filter(|_| course.is_within(1, now)).count();
            prop_assert!(through <= 20);
        }
        let end = i64::from(end) * 1000;
        course.is_within(1, end);
        prop_assert!(course.is_within(10, end + 3_900_000));
    }

    /// A clock that only falls frees nobody.
    #[test]
    fn clock_that_falls_frees_nobody(falls in prop::collection::vec(0_i64..100_000_000, 1..50)) {
        let mut course = Course::new(ten_an_hour());
        let mut now = NOW_SECONDS * 1000;
        prop_assert!(!course.is_within(21, now));
        for fall in falls {
            now -= fall;
            prop_assert!(!course.is_within(1, now));
        }
    }
}

/// One holder under one limit through time.
struct Course {
    counters: Counters,
    limit: Arc<Limit>,
    certificate: Arc<Certificate>,
}

impl Course {
    fn new(limit: Limit) -> Self {
        Self {
            counters: Counters::default(),
            limit: Arc::new(limit),
            certificate: Arc::new(alice_with(|_| {})),
        }
    }

    fn is_within(&mut self, count: u64, now_millis: i64) -> bool {
        let charge = Charge {
            limits: vec![Arc::clone(&self.limit)],
            certificate: Arc::clone(&self.certificate),
            amount: messages(count),
        };
        self.counters.charge(&charge, Timestamp(now_millis)) == Allowance::Within
    }
}
