//! AUTH EXTERNAL: which authorization identities a certificate names, and what each answer is, to the octet.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use estafette::cert::certificate::Certificate;
use estafette::cert::identity::Identity;
use estafette::cert::name::{Attribute, DistinguishedName, Rdn, oid_of};
use estafette::session::event::{AuthenticationFault, Event};
use estafette::session::settings::TlsOffer;
use estafette::session::{Action, Session};
use estafette::time::{Now, Timestamp};

use crate::script::{default_settings, example_certificate};

/// A certificate with every kind of name.
fn certificate() -> Certificate {
    let attribute = |(short, value): (&str, &str)| {
        Rdn(vec![Attribute {
            oid: oid_of(short).expect("a short name").to_owned(),
            value: value.to_owned(),
        }])
    };
    let subject = [
        ("C", "FR"),
        ("O", "CNRS"),
        ("CN", "Zoé, Martin"),
        ("UID", "zmartin"),
        ("emailAddress", "zoe@Lab.example"),
    ];
    Certificate {
        subject: DistinguishedName(subject.map(attribute).to_vec()),
        mail_addresses: vec!["zoe@example.org".into()],
        user_principal_names: vec!["zmartin@CORP.example".into()],
        dns_names: vec!["laptop.example.org".into()],
        ..example_certificate("alice")
    }
}

/// What is said in answer to these lines, in TLS with that certificate, behind EHLO.
fn answers(lines: &str) -> (String, Vec<Event>) {
    let mut settings = default_settings();
    settings.tls = TlsOffer::Implicit;
    let now = Now {
        monotonic: Instant::now(),
        wall: Timestamp(1_795_510_800_000),
        utc_offset_seconds: 0,
    };
    let peer = SocketAddr::from(([192, 0, 2, 10], 40000));
    let mut session = Session::new(Arc::new(settings), peer, "s1".into(), now);
    let identity = Identity::Verified {
        certificate: Arc::new(certificate()),
        chain: Vec::new(),
    };
    session.handle_tls(identity, crate::peers::tls("alice"), now);
    session.handle_bytes(b"EHLO a\r\n", now);
    while session.poll_action().is_some() {}
    session.handle_bytes(lines.as_bytes(), now);
    let actions = std::iter::from_fn(|| session.poll_action());
    let said = actions.filter_map(|action| match action {
        Action::Send(octets) => Some(String::from_utf8(octets).expect("ASCII")),
        _ => None,
    });
    let said = said.collect();
    (said, std::iter::from_fn(|| session.poll_event()).collect())
}

/// Base64 by openssl's rules, made here so that the decoder is not tested against itself.
fn base64(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in text.as_bytes().chunks(3) {
        let octet = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = (octet(0) << 16) | (octet(1) << 8) | octet(2);
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63];
            out.push(if place <= group.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

#[test]
fn every_name_of_the_certificate_is_an_authorization_identity() {
    for name in [
        "",
        "zoe@example.org",
        "zoe@EXAMPLE.org",
        "zoe@lab.example",
        "zmartin@corp.EXAMPLE",
        "LAPTOP.example.org",
        "/C=FR/O=CNRS/CN=Zoé, Martin/UID=zmartin/emailAddress=zoe@Lab.example",
        "emailAddress=zoe@Lab.example,UID=zmartin,CN=Zoé\\, Martin,O=CNRS,C=FR",
        "Zoé, Martin",
        "zmartin",
    ] {
        let (said, events) = answers(&format!("AUTH EXTERNAL\r\n{}\r\n", base64(name)));
        assert_eq!(said, "334 \r\n235 2.7.0 Authentication successful\r\n", "{name}");
        assert!(
            events
                .iter()
                .all(|event| !matches!(event, Event::AuthenticationRejected { .. })),
            "{name}"
        );
    }
}

#[test]
fn other_names_are_refused_and_recorded_with_the_reference_of_the_reply() {
    for name in [
        "Zoe@example.org",
        "zoe@example.com",
        "zoe",
        "FR",
        "zmartin ",
        "Zoé",
        "example.org",
        "@example.org",
    ] {
        let (said, events) = answers(&format!("AUTH EXTERNAL {}\r\n", base64(name)));
        let expected = "535 5.7.8 Error: authentication failed: your certificate does not name this authorization identity [ref s1-1]";
        assert_eq!(said, format!("{expected}\r\n"), "{name}");
        let Some(Event::AuthenticationRejected {
            origin,
            reference,
            because,
            reply,
        }) = events.last()
        else {
            panic!("{name}: {events:?}");
        };
        assert_eq!((origin.identity, reference.as_str()), ("verified", "s1-1"));
        assert_eq!(*because, AuthenticationFault::NotNamed(name.to_owned()));
        assert_eq!(reply.to_string(), expected);
    }
}
