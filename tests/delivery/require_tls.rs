//! REQUIRETLS (RFC 8689) towards next hops that have it, verified or not, and that have it not.

use std::path::Path;
use std::time::Duration;

use estafette::io::deliver::Attempt;
use estafette::outbound::settings::TlsLevel;
use estafette::queue::entry::Lease;
use estafette::time::Timestamp;
use estafette::wire::path::ReversePath;

use super::peer::{Behaviour, Peer, Starttls};
use super::reuse_tls::Authority;
use super::world::{OneMessage, deliverer, lease, settings, short};
use super::{DATA, no_dns};

fn tls_with(keywords: &'static [&'static str]) -> Behaviour {
    Behaviour {
        starttls: Starttls::Works,
        keywords,
        ..Behaviour::default()
    }
}

/// Delivers a message with REQUIRETLS.
async fn send(peer: &Peer, level: TlsLevel, ca_file: Option<&Path>, change: impl FnOnce(&mut Lease)) -> Vec<Attempt> {
    let settings = settings(&format!("[localhost]:{}", peer.address.port()), level);
    let deliverer = deliverer(settings, no_dns(), OneMessage::new(Ok(DATA.to_vec())), ca_file);
    let mut lease = lease(&["r@example.net"], DATA.len());
    lease.demands.require_tls = true;
    change(&mut lease);
    deliverer.deliver(&lease, Timestamp(1_795_510_900_000)).await
}

/// What was said under TLS.
fn secured(peer: &Peer) -> Vec<String> {
    let commands = peer.seen().commands;
    let at = commands.iter().position(|said| said == "(TLS)");
    at.map(|at| commands[at..].to_vec()).unwrap_or_default()
}

fn mail(commands: &[String]) -> Vec<&String> {
    commands.iter().filter(|said| said.starts_with("MAIL")).collect()
}

#[tokio::test]
async fn next_hop_with_requiretls_and_a_verified_certificate_is_told() {
    let authority = Authority::new();
    let peer = Peer::start_as(tls_with(&["REQUIRETLS"]), authority.acceptor(Duration::from_hours(1))).await;
    for level in [TlsLevel::None, TlsLevel::May] {
        let attempts = send(&peer, level, Some(authority.file.path()), |_| {}).await;
        assert_eq!(short(&attempts), ["7 relayed 2.0.0"]);
    }
    let commands = secured(&peer);
    let said = mail(&commands);
    assert_eq!(said.len(), 2, "{commands:?}");
    for line in said {
        assert_eq!(
            *line,
            format!("MAIL FROM:<a@example.org> SIZE={} REQUIRETLS", DATA.len())
        );
    }
}

#[tokio::test]
async fn next_hop_without_requiretls_gets_nothing_and_the_sender_5_7_30() {
    let authority = Authority::new();
    let peer = Peer::start_as(tls_with(&[]), authority.acceptor(Duration::from_hours(1))).await;
    let attempts = send(&peer, TlsLevel::May, Some(authority.file.path()), |_| {}).await;
    assert_eq!(short(&attempts), ["7 failed 5.7.30"]);
    assert_eq!(mail(&peer.seen().commands).len(), 0);
    let text = &attempts[0].outcome.report().text;
    assert!(
        text.starts_with("REQUIRETLS is required, but was not offered by host localhost"),
        "{text}"
    );
}

/// RFC 8689 section 5: REQUIRETLS should not have a bounce discarded, though the next hop does not announce it.
#[tokio::test]
async fn bounce_goes_under_requiretls_where_it_can_and_without_where_it_must() {
    let authority = Authority::new();
    let bounce = |lease: &mut Lease| lease.reverse_path = ReversePath::Null;
    let acceptor = || authority.acceptor(Duration::from_hours(1));
    let peer = Peer::start_as(tls_with(&["REQUIRETLS"]), acceptor()).await;
    let attempts = send(&peer, TlsLevel::May, Some(authority.file.path()), bounce).await;
    assert_eq!(short(&attempts), ["7 relayed 2.0.0"]);
    let commands = secured(&peer);
    assert_eq!(
        *mail(&commands)[0],
        format!("MAIL FROM:<> SIZE={} REQUIRETLS", DATA.len())
    );

    for (starttls, keywords, is_trusted) in [
        (Starttls::Works, &[] as &[_], true),
        (Starttls::Works, &["REQUIRETLS"], false),
        (Starttls::Absent, &["REQUIRETLS"], true),
    ] {
        let behaviour = Behaviour {
            starttls,
            ..tls_with(keywords)
        };
        let peer = Peer::start_as(behaviour, acceptor()).await;
        let trusted = is_trusted.then(|| authority.file.path());
        let attempts = send(&peer, TlsLevel::May, trusted, bounce).await;
        assert_eq!(short(&attempts), ["7 relayed 2.0.0"], "{keywords:?}");
        let commands = peer.seen().commands;
        assert_eq!(mail(&commands), [&format!("MAIL FROM:<> SIZE={}", DATA.len())]);
        let is_secured = secured(&peer).iter().any(|said| said.starts_with("MAIL"));
        assert_eq!(is_secured, starttls == Starttls::Works, "TLS as the postmaster has it");
    }
}

/// RFC 8689 section 4.1: the header field does not set REQUIRETLS aside, and it is handed on.
#[tokio::test]
async fn tls_required_no_does_not_set_requiretls_aside() {
    const OPEN: &[u8] = b"TLS-Required: No\r\nSubject: x\r\n\r\nx\r\n";
    let peer = Peer::start(Behaviour::default()).await;
    let to_peer = |level| settings(&format!("[localhost]:{}", peer.address.port()), level);
    for (require_tls, level, outcome) in [
        (true, TlsLevel::None, "7 failed 5.7.10"),
        (false, TlsLevel::Encrypt, "7 deferred 4.7.4"),
        (false, TlsLevel::May, "7 relayed 2.0.0"),
    ] {
        let deliverer = deliverer(to_peer(level), no_dns(), OneMessage::new(Ok(OPEN.to_vec())), None);
        let mut lease = lease(&["r@example.net"], OPEN.len());
        lease.demands.require_tls = require_tls;
        let attempts = deliverer.deliver(&lease, Timestamp(1_795_510_900_000)).await;
        assert_eq!(short(&attempts), [outcome]);
    }
    let messages = peer.seen().messages;
    assert_eq!(messages.len(), 1);
    assert!(messages[0].starts_with("TLS-Required: No\r\n"), "{messages:?}");
}
