//! What a message asks of the next hop, and what a next hop announces: every combination that matters.

use estafette::io::deliver::Attempt;
use estafette::mail::dsn::{MessageRequest, Notify, RecipientRequest, Return};
use estafette::mail::envelope::Body;
use estafette::outbound::settings::{EightBitMail, OutboundSettings, TlsLevel};
use estafette::queue::entry::Lease;
use estafette::time::Timestamp;

use super::no_dns;
use super::peer::{Behaviour, Peer, Starttls};
use super::world::{OneMessage, deliverer, lease, settings, short};

const ONE: [&str; 1] = ["r@example.net"];
const PLAIN: &[u8] = b"Subject: x\r\n\r\nx\r\n";
const EIGHT_BIT: &str = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
                         Content-Transfer-Encoding: 8bit\r\n\r\ncaf\u{e9} =\r\n";

fn announcing(keywords: &'static [&'static str]) -> Behaviour {
    Behaviour {
        keywords,
        ..Behaviour::default()
    }
}

/// Delivers a message to a peer, with the lease and the settings as they are made here.
async fn to(
    behaviour: Behaviour,
    data: &[u8],
    recipients: &[&str],
    ask: impl FnOnce(&mut Lease),
    set: impl FnOnce(&mut OutboundSettings),
) -> (Vec<Attempt>, Peer) {
    let peer = Peer::start(behaviour).await;
    let mut settings = settings(&format!("[localhost]:{}", peer.address.port()), TlsLevel::May);
    set(&mut settings);
    let mut lease = lease(recipients, data.len());
    lease.body = Body::SevenBit.with(!data.is_ascii());
    ask(&mut lease);
    let deliverer = deliverer(settings, no_dns(), OneMessage::new(Ok(data.to_vec())), None);
    let attempts = deliverer.deliver(&lease, Timestamp(1_795_510_900_000)).await;
    (attempts, peer)
}

fn command(peer: &Peer, verb: &str) -> String {
    let commands = peer.seen().commands;
    commands
        .into_iter()
        .find(|said| said.starts_with(verb))
        .unwrap_or_default()
}

fn ask_notifications(lease: &mut Lease) {
    lease.demands.dsn = MessageRequest {
        ret: Some(Return::Headers),
        envelope_id: Some("QQ+2B314".into()),
    };
    lease.recipients[0].request = RecipientRequest {
        notify: Some(Notify::On {
            success: true,
            failure: true,
            delay: false,
        }),
        original_recipient: Some("rfc822;bob+2Bx@example.net".into()),
    };
}

#[tokio::test]
async fn notifications_are_handed_on_to_a_next_hop_with_dsn_and_to_no_other() {
    let (attempts, peer) = to(announcing(&["DSN"]), PLAIN, &ONE, ask_notifications, |_| {}).await;
    assert_eq!(
        (short(&attempts), attempts[0].notifies),
        (vec!["7 relayed 2.0.0".to_owned()], true)
    );
    assert_eq!(
        command(&peer, "MAIL"),
        format!("MAIL FROM:<a@example.org> SIZE={} RET=HDRS ENVID=QQ+2B314", PLAIN.len())
    );
    assert_eq!(
        command(&peer, "RCPT"),
        "RCPT TO:<r@example.net> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;bob+2Bx@example.net"
    );
    for (keywords, discarded) in [(&[] as &[_], false), (&["DSN"], true)] {
        let discard = |settings: &mut OutboundSettings| {
            let words = if discarded { vec!["dsn"] } else { Vec::new() };
            settings.discarded_keywords =
                std::sync::Arc::new(estafette::outbound::capabilities::EhloKeywords::new(words));
        };
        let (attempts, peer) = to(announcing(keywords), PLAIN, &ONE, ask_notifications, discard).await;
        assert_eq!(
            (short(&attempts), attempts[0].notifies),
            (vec!["7 relayed 2.0.0".to_owned()], false)
        );
        assert_eq!(command(&peer, "RCPT"), "RCPT TO:<r@example.net>");
    }
}

#[tokio::test]
async fn eight_bit_mail_is_declared_converted_or_returned() {
    let eight_bit = EIGHT_BIT.as_bytes();
    let (attempts, peer) = to(announcing(&["8BITMIME"]), eight_bit, &ONE, |_| {}, |_| {}).await;
    assert_eq!(short(&attempts), ["7 relayed 2.0.0"]);
    assert!(command(&peer, "MAIL").ends_with(" BODY=8BITMIME"));
    assert_eq!(peer.seen().messages, [format!("{EIGHT_BIT}.\r\n")]);

    let (attempts, peer) = to(announcing(&[]), eight_bit, &ONE, |_| {}, |_| {}).await;
    assert_eq!(short(&attempts), ["7 relayed 2.0.0"]);
    let converted = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
                     Content-Transfer-Encoding: quoted-printable\r\n\r\ncaf=C3=A9 =3D\r\n";
    assert_eq!(peer.seen().messages, [format!("{converted}.\r\n")]);
    assert_eq!(
        command(&peer, "MAIL"),
        format!("MAIL FROM:<a@example.org> SIZE={}", converted.len())
    );

    let leave = |settings: &mut OutboundSettings| settings.eight_bit_mail = EightBitMail::AsItIs;
    let (_, peer) = to(announcing(&[]), eight_bit, &ONE, |_| {}, leave).await;
    assert_eq!(peer.seen().messages, [format!("{EIGHT_BIT}.\r\n")]);

    let signed = "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\u{e9}\r\n--b--\r\n";
    let header = "Subject: \u{e9}\r\n\r\n\u{e9}\r\n";
    for (data, status) in [(signed, "5.6.3"), (header, "5.6.9")] {
        let (attempts, peer) = to(announcing(&[]), data.as_bytes(), &ONE, |_| {}, |_| {}).await;
        assert_eq!(short(&attempts), [format!("7 failed {status}")]);
        assert_eq!(command(&peer, "MAIL"), "");
    }
}

#[tokio::test]
async fn long_eight_bit_message_is_converted_whole() {
    let line = format!("{}\u{e9}\r\n", "x".repeat(100));
    let data = format!("Subject: x\r\n\r\n{}", line.repeat(5000));
    let (attempts, peer) = to(announcing(&[]), data.as_bytes(), &ONE, |_| {}, |_| {}).await;
    assert_eq!(short(&attempts), ["7 relayed 2.0.0"]);
    let seen = peer.seen();
    let (_, body) = seen.messages[0].split_once("\r\n\r\n").unwrap();
    let decoded = body
        .strip_suffix(".\r\n")
        .unwrap()
        .replace("=\r\n", "")
        .replace("=C3=A9", "\u{e9}");
    assert!(decoded == line.repeat(5000), "{}", &decoded[..300]);
}

#[tokio::test]
async fn smtputf8_is_handed_on_or_refused_only_where_it_is_needed() {
    let ask = |lease: &mut Lease| lease.demands.smtputf8 = true;
    let header = "Subject: \u{e9}\r\n\r\nx\r\n".as_bytes();
    let (attempts, peer) = to(announcing(&["SMTPUTF8", "8BITMIME"]), header, &ONE, ask, |_| {}).await;
    assert_eq!(short(&attempts), ["7 relayed 2.0.0"]);
    assert!(
        command(&peer, "MAIL").ends_with(" BODY=8BITMIME SMTPUTF8"),
        "{}",
        command(&peer, "MAIL")
    );

    let (attempts, peer) = to(announcing(&["8BITMIME"]), header, &ONE, ask, |_| {}).await;
    assert_eq!(short(&attempts), ["7 failed 5.6.7"]);
    let text = &attempts[0].outcome.report().text;
    assert!(
        text.starts_with("SMTPUTF8 is required, but was not offered by host localhost"),
        "{text}"
    );
    assert_eq!(command(&peer, "MAIL"), "");

    let (attempts, peer) = to(announcing(&[]), PLAIN, &ONE, ask, |_| {}).await;
    assert_eq!(short(&attempts), ["7 relayed 2.0.0"], "nothing in it needs UTF-8");
    assert!(!command(&peer, "MAIL").contains("SMTPUTF8"));
}

#[tokio::test]
async fn message_that_needs_tls_goes_nowhere_without_it() {
    let ask = |lease: &mut Lease| lease.demands.require_tls = true;
    for (starttls, keywords, status) in [
        (Starttls::Absent, &["REQUIRETLS"] as &[_], "5.7.10"),
        // Its certificate is its own.
        (Starttls::Works, &["REQUIRETLS"], "5.7.10"),
        (Starttls::Breaks, &["REQUIRETLS"], "5.7.10"),
    ] {
        let behaviour = Behaviour {
            starttls,
            ..announcing(keywords)
        };
        let (attempts, peer) = to(behaviour, PLAIN, &ONE, ask, |_| {}).await;
        assert_eq!(short(&attempts), [format!("7 failed {status}")]);
        assert_eq!(command(&peer, "MAIL"), "");
    }
}

#[tokio::test]
async fn next_hop_with_limits_gets_no_more_than_it_takes() {
    let to_five = [
        "a@example.net",
        "b@example.net",
        "c@example.net",
        "d@example.net",
        "e@example.net",
    ];
    let no_limit = |settings: &mut OutboundSettings| settings.recipients_per_transaction_max = 0;
    let (attempts, peer) = to(
        announcing(&["LIMITS RCPTMAX=2 MAILMAX=2"]),
        PLAIN,
        &to_five,
        |_| {},
        no_limit,
    )
    .await;
    assert_eq!(attempts.len(), 5);
    assert!(
        short(&attempts).iter().all(|one| one.ends_with("relayed 2.0.0")),
        "{:?}",
        short(&attempts)
    );
    let seen = peer.seen();
    assert_eq!((seen.messages.len(), seen.connections), (3, 2));
    let recipients = seen.commands.iter().filter(|said| said.starts_with("RCPT")).count();
    assert_eq!(recipients, 5);
}

#[tokio::test]
async fn message_larger_than_the_next_hop_takes_is_not_sent() {
    let (attempts, peer) = to(announcing(&["SIZE 10"]), PLAIN, &ONE, |_| {}, |_| {}).await;
    assert_eq!(short(&attempts), ["7 failed 5.3.4"]);
    assert_eq!(command(&peer, "MAIL"), "");
}
