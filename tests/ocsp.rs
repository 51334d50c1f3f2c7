//! OCSP against the responder of OpenSSL, and against servers that are dead, slow or lying.

mod common;
#[path = "ocsp/responder.rs"]
mod responder;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::free_port;
use estafette::cert::decode::decode;
use estafette::cert::ocsp::CertificateId;
use estafette::io::clock;
use estafette::io::tls::ocsp::{OcspStatus, Responders};
use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, OcspSigning};
use responder::{Authority, Canned, Files, Holder, Responder, url};

/// Long enough for a responder that lives.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a responder that hangs is waited for.
const IMPATIENCE: Duration = Duration::from_millis(300);
const GOOD: u8 = 1;
const REVOKED: u8 = 2;
const UNHEARD_OF: u8 = 3;

/// Asks about a leaf and tells what is known then.
async fn ask_at(
    responders: &Responders,
    leaf: &Holder,
    authority: &Authority,
    timeout: Duration,
    now: i64,
) -> OcspStatus {
    responders.ask(&leaf.der, &authority.der, timeout, now).await;
    status(responders, leaf, authority, now)
}

async fn ask(responders: &Responders, leaf: &Holder, authority: &Authority) -> OcspStatus {
    ask_at(responders, leaf, authority, PATIENCE, clock::unix_seconds()).await
}

fn status(responders: &Responders, leaf: &Holder, authority: &Authority, now: i64) -> OcspStatus {
    let decoded = |der: &[u8]| decode(der).expect("a certificate");
    responders.status(&decoded(&leaf.der), &decoded(&authority.der), now)
}

/// The question about a leaf of this authority.
fn question(authority: &Authority, serial: u8) -> Vec<u8> {
    let leaf = authority.leaf(serial, &[]);
    CertificateId::of(&leaf.der, &authority.der).expect("an id").request()
}

/// What is known after asking an `openssl ocsp` whose answers this holder signs.
async fn said_by(authority: &Authority, signer: &Holder, serial: u8) -> OcspStatus {
    let port = free_port();
    let leaf = authority.leaf(serial, &[url(port)]);
    let _responder = Responder::start(Files::new(authority, signer), port);
    ask(&Responders::default(), &leaf, authority).await
}

#[tokio::test]
async fn openssl_responder_tells_good_from_revoked_and_unknown() {
    let authority = Authority::new("Campus");
    let port = free_port();
    let _responder = Responder::start(Files::new(&authority, &authority.signer()), port);
    let responders = Responders::default();
    let now = clock::unix_seconds();

    let alice = authority.leaf(GOOD, &[url(port)]);
    assert_eq!(status(&responders, &alice, &authority, now), OcspStatus::Unknown);
    let OcspStatus::Good { until_unix_seconds } = ask(&responders, &alice, &authority).await else {
        panic!("alice is good");
    };
    assert!(
        (now + 290..now + 330).contains(&until_unix_seconds),
        "five minutes: {until_unix_seconds}"
    );
    assert_eq!(responders.generation(), 1);
    assert_eq!(
        status(&responders, &alice, &authority, until_unix_seconds + 1),
        OcspStatus::Unknown
    );

    let bob = authority.leaf(REVOKED, &[url(port)]);
    assert_eq!(ask(&responders, &bob, &authority).await, OcspStatus::Revoked);
    assert_eq!(responders.generation(), 2);
    let later = now + 1_000_000;
    assert_eq!(
        status(&responders, &bob, &authority, later),
        OcspStatus::Revoked,
        "until it says otherwise"
    );

    let carol = authority.leaf(UNHEARD_OF, &[url(port)]);
    assert_eq!(ask(&responders, &carol, &authority).await, OcspStatus::Unknown);
    assert_eq!(responders.generation(), 2);
}

#[tokio::test]
async fn good_answer_is_kept_when_its_responder_dies() {
    let authority = Authority::new("Campus");
    let port = free_port();
    let alice = authority.leaf(GOOD, &[url(port)]);
    let responders = Responders::default();
    {
        let _responder = Responder::start(Files::new(&authority, &authority.signer()), port);
        ask(&responders, &alice, &authority).await;
    }
    assert!(matches!(
        ask(&responders, &alice, &authority).await,
        OcspStatus::Good { .. }
    ));
}

#[tokio::test]
async fn dead_responder_is_asked_again_after_the_back_off_only() {
    let authority = Authority::new("Campus");
    let port = free_port();
    let alice = authority.leaf(GOOD, &[url(port)]);
    let responders = Responders::default();
    let now = clock::unix_seconds();
    assert_eq!(
        ask_at(&responders, &alice, &authority, PATIENCE, now).await,
        OcspStatus::Unknown
    );
    let _responder = Responder::start(Files::new(&authority, &authority.signer()), port);
    assert_eq!(
        ask_at(&responders, &alice, &authority, PATIENCE, now + 59).await,
        OcspStatus::Unknown
    );
    let good = ask_at(&responders, &alice, &authority, PATIENCE, now + 60).await;
    assert!(matches!(good, OcspStatus::Good { .. }), "{good:?}");
}

#[tokio::test]
async fn slow_responder_is_waited_for_no_longer_than_allowed_and_once_for_all() {
    let authority = Authority::new("Campus");
    let slow = Canned::start(Vec::new()).await;
    let alice = Arc::new(authority.leaf(GOOD, std::slice::from_ref(&slow.url)));
    let (authority, responders) = (Arc::new(authority), Arc::new(Responders::default()));
    let begun = Instant::now();
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let (alice, authority, responders) = (alice.clone(), authority.clone(), responders.clone());
            tokio::spawn(async move { ask_at(&responders, &alice, &authority, IMPATIENCE, 1_800_000_000).await })
        })
        .collect();
    for task in asking {
        assert_eq!(task.await.expect("no panic"), OcspStatus::Unknown);
    }
    assert!(begun.elapsed() < IMPATIENCE * 10, "{:?}", begun.elapsed());
    assert_eq!(slow.times(), 1);
}

#[tokio::test]
async fn dead_responder_delays_nobody_else_whose_certificate_names_it() {
    let authority = Authority::new("Campus");
    let slow = Canned::start(Vec::new()).await;
    let responders = Responders::default();
    let now = clock::unix_seconds();
    for serial in 1..=20 {
        let holder = authority.leaf(serial, std::slice::from_ref(&slow.url));
        let said = ask_at(&responders, &holder, &authority, IMPATIENCE, now).await;
        assert_eq!(said, OcspStatus::Unknown);
    }
    assert_eq!(slow.times(), 1);
    let next = authority.leaf(21, std::slice::from_ref(&slow.url));
    ask_at(&responders, &next, &authority, IMPATIENCE, now + 60).await;
    assert_eq!(slow.times(), 2);
}

#[tokio::test]
async fn bad_answer_about_one_certificate_is_no_outage_for_another() {
    let authority = Authority::new("Campus");
    let files = Files::new(&authority, &authority.signer());
    let answering = Canned::http("200 OK", &files.answer(&question(&authority, GOOD))).await;
    let responders = Responders::default();
    let of = |serial| authority.leaf(serial, std::slice::from_ref(&answering.url));
    assert_eq!(ask(&responders, &of(REVOKED), &authority).await, OcspStatus::Unknown);
    assert!(matches!(
        ask(&responders, &of(GOOD), &authority).await,
        OcspStatus::Good { .. }
    ));
}

#[tokio::test]
async fn absurd_timeout_does_not_overflow_the_clock() {
    let authority = Authority::new("Campus");
    let alice = authority.leaf(GOOD, &[url(free_port())]);
    let said = ask_at(
        &Responders::default(),
        &alice,
        &authority,
        Duration::MAX,
        clock::unix_seconds(),
    )
    .await;
    assert_eq!(said, OcspStatus::Unknown);
}

#[tokio::test]
async fn one_who_stops_asking_leaves_the_question_to_the_next() {
    let authority = Authority::new("Campus");
    let slow = Canned::start(Vec::new()).await;
    let alice = authority.leaf(GOOD, std::slice::from_ref(&slow.url));
    let responders = Responders::default();
    let asking = ask(&responders, &alice, &authority);
    assert!(
        tokio::time::timeout(IMPATIENCE, asking).await.is_err(),
        "dropped while asking"
    );
    ask_at(&responders, &alice, &authority, IMPATIENCE, clock::unix_seconds()).await;
    assert_eq!(slow.times(), 2);
}

#[tokio::test]
async fn concurrent_questions_about_one_certificate_share_one_answer() {
    let authority = Authority::new("Campus");
    let files = Files::new(&authority, &authority.signer());
    let question = question(&authority, GOOD);
    let answering = Canned::http("200 OK", &files.answer(&question)).await;
    let alice = authority.leaf(GOOD, std::slice::from_ref(&answering.url));
    let responders = Responders::default();
    let four = tokio::join!(
        ask(&responders, &alice, &authority),
        ask(&responders, &alice, &authority),
        ask(&responders, &alice, &authority),
        ask(&responders, &alice, &authority),
    );
    assert!(matches!(four.3, OcspStatus::Good { .. }), "{four:?}");
    assert_eq!((answering.times(), responders.generation()), (1, 1));
}

#[tokio::test]
async fn answers_signed_by_a_stranger_do_not_count() {
    let (authority, rogue) = (Authority::new("Campus"), Authority::new("Campus"));
    assert_eq!(said_by(&authority, &rogue.signer(), GOOD).await, OcspStatus::Unknown);
    assert_eq!(said_by(&authority, &rogue.signer(), REVOKED).await, OcspStatus::Unknown);
    // The holder of any other certificate of the same authority.
    assert_eq!(
        said_by(&authority, &authority.leaf(9, &[]), GOOD).await,
        OcspStatus::Unknown
    );
}

#[tokio::test]
async fn delegated_responder_counts_with_its_usage_its_issuer_and_its_dates() {
    let (authority, rogue) = (Authority::new("Campus"), Authority::new("Rogue"));
    let delegated = authority.delegate(&[OcspSigning], 2046);
    assert!(matches!(
        said_by(&authority, &delegated, GOOD).await,
        OcspStatus::Good { .. }
    ));
    assert_eq!(said_by(&authority, &delegated, REVOKED).await, OcspStatus::Revoked);
    for other in [
        authority.delegate(&[ClientAuth], 2046),
        authority.delegate(&[OcspSigning], 2020),
        rogue.delegate(&[OcspSigning], 2046),
    ] {
        assert_eq!(said_by(&authority, &other, GOOD).await, OcspStatus::Unknown);
    }
}

#[tokio::test]
async fn answers_that_are_old_or_about_others_do_not_count() {
    let authority = Authority::new("Campus");
    let files = Files::new(&authority, &authority.signer());
    let answer = files.answer(&question(&authority, GOOD));
    let replayed = Canned::http("200 OK", &answer).await;
    let now = clock::unix_seconds();

    let bob = authority.leaf(REVOKED, std::slice::from_ref(&replayed.url));
    assert_eq!(ask(&Responders::default(), &bob, &authority).await, OcspStatus::Unknown);

    let alice = authority.leaf(GOOD, std::slice::from_ref(&replayed.url));
    for (when, counts) in [(now, true), (now + 3600, false), (now - 3600, false)] {
        let said = ask_at(&Responders::default(), &alice, &authority, PATIENCE, when).await;
        assert_eq!(matches!(said, OcspStatus::Good { .. }), counts, "{when}: {said:?}");
    }
    // The same serial of another authority.
    let other = Authority::new("Other");
    let alice = other.leaf(GOOD, std::slice::from_ref(&replayed.url));
    assert_eq!(ask(&Responders::default(), &alice, &other).await, OcspStatus::Unknown);
}

#[tokio::test]
async fn answer_with_one_octet_changed_does_not_count() {
    let authority = Authority::new("Campus");
    let files = Files::new(&authority, &authority.signer());
    let question = question(&authority, GOOD);
    let answer = files.answer(&question);
    // Behind the signature come certificates, which prove nothing here and may be anything.
    let certificates = answer
        .windows(authority.der.len())
        .position(|octets| octets == authority.der);
    let proved = certificates.expect("OpenSSL adds its certificate") - 8;
    for place in (0..proved).step_by(5) {
        let mut forged = answer.clone();
        forged[place] ^= 1;
        let forging = Canned::http("200 OK", &forged).await;
        let alice = authority.leaf(GOOD, std::slice::from_ref(&forging.url));
        let said = ask(&Responders::default(), &alice, &authority).await;
        assert_eq!(said, OcspStatus::Unknown, "octet {place}");
    }
}

#[tokio::test]
async fn http_that_is_no_answer_is_a_failure_and_redirects_are_not_followed() {
    let authority = Authority::new("Campus");
    let files = Files::new(&authority, &authority.signer());
    let question = question(&authority, GOOD);
    let good = Canned::http("200 OK", &files.answer(&question)).await;
    let moved = format!(
        "HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
        good.url
    );
    let cut_off = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0".to_vec();
    for server in [
        Canned::start(moved.into_bytes()).await,
        Canned::start(cut_off).await,
        Canned::start(b"220 relay.example ESMTP\r\n".to_vec()).await,
        Canned::http("404 Not Found", b"").await,
        Canned::http("200 OK", b"<html>").await,
        Canned::http("200 OK", &[0x30, 3, 0x0a, 1, 3]).await,
        Canned::http("200 OK", &vec![0; 100_000]).await,
    ] {
        let alice = authority.leaf(GOOD, std::slice::from_ref(&server.url));
        assert_eq!(
            ask(&Responders::default(), &alice, &authority).await,
            OcspStatus::Unknown
        );
        assert_eq!(server.times(), 1);
    }
    assert_eq!(good.times(), 0, "nobody was sent there");
}

#[tokio::test]
async fn second_responder_is_asked_and_the_third_is_not() {
    let authority = Authority::new("Campus");
    let files = Files::new(&authority, &authority.signer());
    let question = question(&authority, GOOD);
    let (dead, slow) = (url(free_port()), Canned::start(Vec::new()).await);
    let good = Canned::http("200 OK", &files.answer(&question)).await;
    let now = clock::unix_seconds();
    for (responders, is_good) in [
        (vec![dead.clone(), good.url.clone()], true),
        // One that hangs leaves half of the time to the other.
        (vec![slow.url.clone(), good.url.clone()], true),
        (vec!["ldap://127.0.0.1/".into(), dead.clone(), good.url.clone()], true),
        (vec![dead.clone(), dead.clone(), good.url.clone()], false),
        (vec!["https://127.0.0.1/".into()], false),
        (vec!["http://user@127.0.0.1/".into()], false),
        (Vec::new(), false),
    ] {
        let alice = authority.leaf(GOOD, &responders);
        let said = ask_at(&Responders::default(), &alice, &authority, IMPATIENCE * 10, now).await;
        assert_eq!(
            matches!(said, OcspStatus::Good { .. }),
            is_good,
            "{responders:?}: {said:?}"
        );
    }
}
