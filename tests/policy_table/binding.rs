//! Which addresses a holder may send with.

use estafette::cert::certificate::Certificate;
use estafette::policy::sender_binding::SenderBinding;
use estafette::wire::domain::Domain;
use estafette::wire::path::ReversePath;

use crate::holders::{alice_with, name};

pub fn of_certificate() -> SenderBinding {
    SenderBinding {
        rule: "lab".into(),
        certificate_addresses: true,
        ..SenderBinding::default()
    }
}

fn domains(texts: &[(&str, bool)]) -> Vec<(Domain, bool)> {
    let domain = |(text, subdomains): &(&str, bool)| (Domain::parse(text).expect("a domain"), *subdomains);
    texts.iter().map(domain).collect()
}

fn owns(binding: &SenderBinding, certificate: &Certificate, sender: &str) -> bool {
    let path = ReversePath::parse(&format!("<{sender}>")).expect("a path");
    binding.owns_reverse_path(certificate, &path)
}

#[test]
fn addresses_of_the_certificate_are_owned_whatever_their_letter_case() {
    let alice = alice_with(|c| {
        c.subject = name(&[("CN", "Alice"), ("emailAddress", "am@lab.example")]);
        c.mail_addresses.push("\"alice m\"@cnrs.example".into());
    });
    for sender in [
        "Alice.Martin@cnrs.example",
        "alice.martin@CNRS.Example",
        "ALICE.MARTIN@cnrs.example.",
        "\"alice.martin\"@cnrs.example",
        "am@lab.example",
        "\"alice m\"@cnrs.example",
        "@relay.example:am@lab.example",
    ] {
        assert!(owns(&of_certificate(), &alice, sender), "{sender}");
    }
    for sender in [
        "alice.martin@lab.example",
        "alice.martin@sub.cnrs.example",
        "alice.martin@xcnrs.example",
        "alicemartin@cnrs.example",
        "alice.martin+x@cnrs.example",
        "alice@ad.example",
        "\"alice.martin@cnrs.example\"@evil.example",
        "",
    ] {
        assert!(!owns(&of_certificate(), &alice, sender), "{sender}");
    }
}

#[test]
fn only_whole_mailboxes_of_a_certificate_count() {
    let odd = [
        "*@cnrs.example",
        "@cnrs.example",
        "cnrs.example",
        ".cnrs.example",
        " bob@cnrs.example",
        "bob@cnrs.example ",
        "bob@cnrs.example,eve@cnrs.example",
        "<bob@cnrs.example>",
        "Bob <bob@cnrs.example>",
        "@relay.example:bob@cnrs.example",
        "mailto:bob@cnrs.example@",
        "bob@cnrs.example\n",
        "bob@cnrs.example..",
        "bob@cnrs\u{2024}example",
        "bob@",
        "\"bob@cnrs.example",
        "",
    ];
    let certificate = alice_with(|c| c.mail_addresses = odd.iter().map(|text| (*text).into()).collect());
    for sender in [
        "bob@cnrs.example",
        "eve@cnrs.example",
        "alice@cnrs.example",
        "x@cnrs.example",
    ] {
        assert!(!owns(&of_certificate(), &certificate, sender), "{sender}");
    }
    // A star is a letter of the local-part like any other.
    assert!(owns(&of_certificate(), &certificate, "*@cnrs.example"));
    // RFC 6531: so is any letter beyond ASCII.
    let internationalised = alice_with(|c| c.mail_addresses = vec!["bøb@cnrs.example".into()]);
    assert!(owns(&of_certificate(), &internationalised, "bøb@cnrs.example"));
    assert!(!owns(&of_certificate(), &internationalised, "bob@cnrs.example"));
    let words = of_certificate().owned_in_words(&certificate);
    assert!(
        words.starts_with("<*@cnrs.example> (in the certificate, but no mailbox: \"@cnrs.example\", "),
        "{words}"
    );
}

#[test]
fn lists_allow_domains_and_addresses_beside_the_certificate() {
    let alice = alice_with(|_| {});
    let lists = SenderBinding {
        domains: domains(&[("lab.example", false), ("dept.example", true)]),
        addresses: vec!["Secretary@office.example".into(), "not an address".into()],
        ..SenderBinding::default()
    };
    for sender in [
        "x@LAB.example",
        "x@dept.example",
        "x@a.b.dept.example",
        "secretary@office.example",
    ] {
        assert!(owns(&lists, &alice, sender), "{sender}");
    }
    for sender in [
        "x@sub.lab.example",
        "x@notlab.example",
        "x@notdept.example",
        "x@office.example",
        "x@[192.0.2.1]",
        "Alice.Martin@cnrs.example",
        "",
    ] {
        assert!(!owns(&lists, &alice, sender), "{sender}");
    }
    let both = SenderBinding {
        certificate_addresses: true,
        ..lists
    };
    assert!(owns(&both, &alice, "Alice.Martin@cnrs.example"));
}

#[test]
fn null_sender_is_allowed_by_its_own_setting_only() {
    let alice = alice_with(|_| {});
    assert!(!owns(&of_certificate(), &alice, ""));
    let allowing = SenderBinding {
        allows_null_sender: true,
        ..of_certificate()
    };
    assert!(owns(&allowing, &alice, ""));
    assert!(!owns(&allowing, &alice, "bob@cnrs.example"));
}

#[test]
fn what_is_owned_is_told_once_and_without_doubt() {
    let alice = alice_with(|c| {
        c.mail_addresses.push("ALICE.martin@CNRS.example".into());
        c.mail_addresses.push("\"a>, <b\"@cnrs.example".into());
    });
    let binding = SenderBinding {
        domains: domains(&[("lab.example", false), ("dept.example", true)]),
        addresses: vec!["a+b@office.example".into()],
        allows_null_sender: true,
        ..of_certificate()
    };
    assert_eq!(
        binding.owned_in_words(&alice),
        "<Alice.Martin@cnrs.example>, \"\\22a>, <b\\22@cnrs.example\", <a+b@office.example>, any address at lab.example, \
         any address at dept.example and its sub-domains, the null reverse-path <>"
    );
    assert_eq!(SenderBinding::default().owned_in_words(&alice), "no address");
    let nobody = alice_with(|c| c.mail_addresses.clear());
    assert_eq!(of_certificate().owned_in_words(&nobody), "no address");
    let many = alice_with(|c| c.mail_addresses = (0..1000).map(|n| format!("a{n}@cnrs.example")).collect());
    assert!(of_certificate().owned_in_words(&many).chars().count() < 700);
}
