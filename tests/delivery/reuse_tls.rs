//! Connections under TLS kept from message to message, and sessions resumed over new ones.

use std::time::{Duration, SystemTime};

use estafette::io::deliver::{Attempt, Deliverer};
use estafette::io::dns::SystemResolver;
use estafette::outbound::settings::{ConnectionReuse, TlsLevel};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio_rustls::TlsAcceptor;

use super::peer::{Behaviour, Peer, Starttls, acceptor_of};
use super::reuse::{send, settings_to};
use super::world::{OneMessage, deliverer, short};
use super::{DATA, no_dns};

const RELAYED: [&str; 1] = ["7 relayed 2.0.0"];
const WORKS: Behaviour = Behaviour {
    starttls: Starttls::Works,
    greeting: "220 peer",
    keywords: &[],
    pipelining: true,
    recipient: |_| "250 2.1.5 ok",
    data_to_nobody: "554 no",
    end: Some("250 2.0.0 queued"),
    after: super::peer::After::Waits,
};
const NOT_KEPT: ConnectionReuse = ConnectionReuse {
    is_on: true,
    under_tls: false,
    idle_max: Duration::from_secs(2),
    age_max: Duration::from_secs(300),
    count_max: 0,
};

fn handshakes(peer: &Peer) -> Vec<String> {
    let commands = peer.seen().commands;
    commands.into_iter().filter(|said| said.starts_with('(')).collect()
}

fn to_peer(peer: &Peer, level: TlsLevel, reuse: ConnectionReuse) -> Deliverer<OneMessage, SystemResolver> {
    let store = OneMessage::new(Ok(DATA.to_vec()));
    deliverer(settings_to(peer, level, reuse), no_dns(), store, None)
}

async fn send_three(deliverer: &Deliverer<OneMessage, SystemResolver>) -> Vec<Attempt> {
    let mut all = Vec::new();
    for _ in 0..3 {
        all.extend(send(deliverer).await);
    }
    all
}

#[tokio::test]
async fn connection_under_tls_is_kept_with_its_tls() {
    let peer = Peer::start(WORKS).await;
    let attempts = send_three(&to_peer(&peer, TlsLevel::Encrypt, ConnectionReuse::default())).await;
    assert_eq!(short(&attempts), [RELAYED[0]; 3]);
    assert!(attempts.iter().all(|attempt| attempt.tls.is_some()));
    assert_eq!(
        attempts.iter().map(|attempt| attempt.reused).collect::<Vec<_>>(),
        [false, true, true]
    );
    assert_eq!(
        (peer.seen().connections, handshakes(&peer)),
        (1, vec!["(TLS)".to_owned()])
    );
}

#[tokio::test]
async fn connection_under_tls_is_not_kept_when_the_directive_says_no_but_its_session_resumes() {
    let peer = Peer::start(WORKS).await;
    let attempts = send_three(&to_peer(&peer, TlsLevel::Encrypt, NOT_KEPT)).await;
    assert_eq!(short(&attempts), [RELAYED[0]; 3]);
    assert!(attempts.iter().all(|attempt| !attempt.reused));
    assert_eq!(peer.seen().connections, 3);
    assert_eq!(handshakes(&peer), ["(TLS)", "(TLS resumed)", "(TLS resumed)"]);
}

#[tokio::test]
async fn plaintext_connection_after_failed_tls_is_not_taken_without_trying_tls_again() {
    let behaviour = Behaviour {
        starttls: Starttls::Breaks,
        ..WORKS
    };
    let peer = Peer::start(behaviour).await;
    let attempts = send_three(&to_peer(&peer, TlsLevel::May, ConnectionReuse::default())).await;
    assert_eq!(short(&attempts), [RELAYED[0]; 3]);
    assert!(attempts.iter().all(|attempt| attempt.tls.is_none()));
    let asked = peer.seen().commands.iter().filter(|said| *said == "STARTTLS").count();
    // One connection for each attempt at TLS, and one in plaintext that is kept.
    assert_eq!((asked, peer.seen().connections), (3, 4));
}

/// A CA, in a file that can be trusted.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) file: tempfile::NamedTempFile,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), certificate.pem()).unwrap();
        let issuer = Issuer::new(params, key);
        Self { issuer, file }
    }

    /// TLS of a server for `localhost` whose certificate holds so long from now.
    pub(crate) fn acceptor(&self, holds: Duration) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = (SystemTime::now() + holds).into();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        acceptor_of(certificate.der().clone(), &key)
    }
}

#[tokio::test]
async fn verified_session_is_resumed_only_while_its_certificate_holds() {
    let authority = Authority::new();
    let peer = Peer::start_as(WORKS, authority.acceptor(Duration::from_secs(4))).await;
    let settings = settings_to(&peer, TlsLevel::Verify, NOT_KEPT);
    let store = OneMessage::new(Ok(DATA.to_vec()));
    let deliverer = deliverer(settings, no_dns(), store, Some(authority.file.path()));
    let mut last = send(&deliverer).await;
    assert_eq!(short(&last), RELAYED);
    for _ in 0..100 {
        last = send(&deliverer).await;
        if short(&last) != RELAYED {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(short(&last), ["7 deferred 4.7.5"]);
    let why = &last[0].outcome.report().text;
    assert!(why.contains("certificate has expired"), "{why}");
    // The peer resumed to the end: it was the client that looked again.
    let handshakes = handshakes(&peer);
    assert_eq!(handshakes[0], "(TLS)");
    assert!(
        handshakes[1..].iter().all(|mark| mark == "(TLS resumed)"),
        "{handshakes:?}"
    );
}
