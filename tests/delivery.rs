//! Deliveries over loopback TCP to scripted next hops, DNS answers from a name server of our own, and bounces as
//! another program reads them.

#[path = "delivery/extensions.rs"]
mod extensions;
#[path = "delivery/global.rs"]
mod global;
#[path = "common/name_server.rs"]
mod name_server;
#[path = "delivery/names.rs"]
mod names;
#[path = "delivery/peer.rs"]
mod peer;
#[path = "delivery/require_tls.rs"]
mod require_tls;
#[path = "delivery/reuse.rs"]
mod reuse;
#[path = "delivery/reuse_tls.rs"]
mod reuse_tls;
#[path = "delivery/world.rs"]
mod world;

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Instant;

use estafette::io::deliver::Attempt;
use estafette::io::deliver::plan::plan;
use estafette::io::dns::{Resolver, SystemResolver};
use estafette::mail::dsn::RecipientRequest;
use estafette::mail::outcome::Report;
use estafette::mail::queue_id::QueueId;
use estafette::outbound::bounce::{Bounce, Notice, Told};
use estafette::outbound::original::Original;
use estafette::outbound::route::{LookupError, MailExchanger, Route, RouteError};
use estafette::outbound::settings::TlsLevel;
use estafette::queue::StoreError;
use estafette::time::{Now, Timestamp};
use estafette::wire::path::{ForwardPath, Mailbox};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use name_server::NameServer;
use peer::{Behaviour, Peer, Starttls};
use world::{deliver, settings, short};

const DATA: &[u8] = b"Subject: x\r\n\r\n.dot\r\n";
const DATA_ON_THE_WIRE: &str = "Subject: x\r\n\r\n..dot\r\n.\r\n";
const ONE: [&str; 1] = ["r@example.net"];

/// A name server that nobody answers for: these deliveries must not need one.
fn no_dns() -> SystemResolver {
    SystemResolver::with_server("127.0.0.1:1".parse().unwrap())
}

async fn to_peer(behaviour: Behaviour, level: TlsLevel, recipients: &[&str]) -> (Vec<Attempt>, Peer) {
    let peer = Peer::start(behaviour).await;
    let settings = settings(&format!("[localhost]:{}", peer.address.port()), level);
    let attempts = deliver(settings, no_dns(), Ok(DATA.to_vec()), recipients).await;
    (attempts, peer)
}

#[tokio::test]
async fn message_is_relayed_in_transactions_of_limited_size() {
    let recipients = ["r0@example.net", "r1@example.net", "r2@example.com"];
    let (attempts, peer) = to_peer(Behaviour::default(), TlsLevel::May, &recipients).await;
    assert_eq!(
        short(&attempts),
        ["7 relayed 2.0.0", "8 relayed 2.0.0", "9 relayed 2.0.0"]
    );
    let remote = &attempts[0].outcome.report().remote;
    assert_eq!(*remote, format!("localhost[127.0.0.1]:{}", peer.address.port()));
    let seen = peer.seen();
    assert_eq!(
        (seen.connections, seen.messages),
        (1, vec![DATA_ON_THE_WIRE.to_owned(); 2])
    );
    assert_eq!(
        seen.commands[..5],
        [
            "EHLO relay.example.org",
            "MAIL FROM:<a@example.org> SIZE=20",
            "RCPT TO:<r0@example.net>",
            "RCPT TO:<r1@example.net>",
            "DATA"
        ]
    );
}

#[tokio::test]
async fn recipients_are_decided_one_by_one_with_and_without_pipelining() {
    for pipelining in [true, false] {
        let behaviour = Behaviour {
            pipelining,
            recipient: |command| match command {
                "RCPT TO:<no@example.net>" => "550 5.1.1 no such user",
                "RCPT TO:<later@example.net>" => "450 4.2.1 busy",
                _ => "250 ok",
            },
            ..Behaviour::default()
        };
        let recipients = [
            "no@example.net",
            "yes@example.net",
            "later@example.net",
            "no@example.net",
        ];
        let (attempts, peer) = to_peer(behaviour, TlsLevel::None, &recipients).await;
        assert_eq!(
            short(&attempts),
            [
                "10 failed 5.1.1",
                "7 failed 5.1.1",
                "8 relayed 2.0.0",
                "9 deferred 4.2.1"
            ]
        );
        // The second transaction has no recipient left, so no mail data is sent.
        assert_eq!(peer.seen().messages.len(), 1);
        let refused = attempts.iter().find(|attempt| attempt.number == 7).unwrap();
        assert_eq!(refused.outcome.report().text, "550 5.1.1 no such user");
    }
}

#[tokio::test]
async fn connection_lost_after_the_final_dot_defers() {
    let behaviour = Behaviour {
        end: None,
        ..Behaviour::default()
    };
    let (attempts, peer) = to_peer(behaviour, TlsLevel::None, &ONE).await;
    assert_eq!(short(&attempts), ["7 deferred 4.4.2"]);
    assert!(attempts[0].outcome.report().text.contains("may have been delivered"));
    assert_eq!(peer.seen().messages.len(), 1);
}

#[tokio::test]
async fn greeting_554_defers_after_all_addresses() {
    let behaviour = Behaviour {
        greeting: "554 5.3.2 not here",
        ..Behaviour::default()
    };
    let peer = Peer::start(behaviour).await;
    let settings = settings(&peer.address.to_string(), TlsLevel::May);
    let attempts = deliver(settings, no_dns(), Ok(DATA.to_vec()), &ONE).await;
    assert_eq!(short(&attempts), ["7 deferred 4.3.2"]);
    assert_eq!(attempts[0].outcome.report().text, "554 5.3.2 not here");
}

#[tokio::test]
async fn refused_connection_defers() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let attempts = deliver(
        settings(&free.to_string(), TlsLevel::May),
        no_dns(),
        Ok(DATA.to_vec()),
        &ONE,
    )
    .await;
    assert_eq!(short(&attempts), ["7 deferred 4.4.1"]);
}

#[tokio::test]
async fn data_that_cannot_be_read_is_not_delivered() {
    let peer = Peer::start(Behaviour::default()).await;
    let damaged = Err(StoreError::Damaged("x".into()));
    let attempts = deliver(
        settings(&peer.address.to_string(), TlsLevel::May),
        no_dns(),
        damaged,
        &ONE,
    )
    .await;
    assert_eq!(short(&attempts), ["7 deferred 4.3.0"]);
}

#[tokio::test]
async fn long_message_arrives_whole() {
    let peer = Peer::start(Behaviour::default()).await;
    let line = format!("{}\r\n", "x".repeat(76));
    let data = format!("Subject: long\r\n\r\n{}", line.repeat(4000));
    let settings = settings(&peer.address.to_string(), TlsLevel::May);
    let attempts = deliver(settings, no_dns(), Ok(data.clone().into_bytes()), &ONE).await;
    assert_eq!(short(&attempts), ["7 relayed 2.0.0"]);
    assert!(peer.seen().messages == [format!("{data}.\r\n")]);
}

#[tokio::test]
async fn reply_before_the_final_dot_does_not_count_as_its_reply() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let peer = tokio::spawn(async move {
        let mut stream = BufReader::new(listener.accept().await.unwrap().0);
        stream.write_all(b"220 peer\r\n").await.unwrap();
        let mut line = String::new();
        while !line.starts_with("Subject") {
            let reply: &[u8] = if line.starts_with("DATA") {
                b"354 go\r\n"
            } else {
                b"250 ok\r\n"
            };
            if !line.is_empty() {
                stream.write_all(reply).await.unwrap();
            }
            line.clear();
            stream.read_line(&mut line).await.unwrap();
        }
        stream.write_all(b"250 2.0.0 taken already\r\n").await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        rest.ends_with(b"\r\n.\r\n")
    });
    // More than the buffers between the two hold: the reply is there before the end can be sent.
    let data = format!("Subject: x\r\n\r\n{}", "0123456789abcde\r\n".repeat(1 << 20));
    let settings = settings(&address.to_string(), TlsLevel::None);
    let attempts = deliver(settings, no_dns(), Ok(data.into_bytes()), &ONE).await;
    assert_eq!(short(&attempts), ["7 deferred 4.5.0"]);
    assert!(!peer.await.unwrap(), "the final dot must not follow");
}

#[tokio::test]
async fn level_encrypt_needs_starttls_and_uses_it() {
    let (attempts, peer) = to_peer(Behaviour::default(), TlsLevel::Encrypt, &ONE).await;
    assert_eq!(short(&attempts), ["7 deferred 4.7.4"]);
    assert!(peer.seen().messages.is_empty());

    let behaviour = Behaviour {
        starttls: Starttls::Works,
        ..Behaviour::default()
    };
    let (attempts, peer) = to_peer(behaviour, TlsLevel::Encrypt, &ONE).await;
    assert_eq!(short(&attempts), ["7 relayed 2.0.0"]);
    let tls = attempts[0].tls.as_deref().unwrap();
    assert!(tls.starts_with("TLSv1.3 with cipher TLS_"), "{tls}");
    let hello = "EHLO relay.example.org";
    assert_eq!(peer.seen().commands[..4], [hello, "STARTTLS", "(TLS)", hello]);
}

#[tokio::test]
async fn broken_handshake_is_retried_in_plaintext_at_may_only() {
    let behaviour = Behaviour {
        starttls: Starttls::Breaks,
        ..Behaviour::default()
    };
    let (attempts, peer) = to_peer(behaviour, TlsLevel::May, &ONE).await;
    assert_eq!(short(&attempts), ["7 relayed 2.0.0"]);
    assert_eq!((attempts[0].tls.clone(), peer.seen().connections), (None, 2));
    let (attempts, peer) = to_peer(behaviour, TlsLevel::Encrypt, &ONE).await;
    assert_eq!(short(&attempts), ["7 deferred 4.7.5"]);
    assert!(peer.seen().messages.is_empty());
}

#[tokio::test]
async fn wrapper_mode_begins_with_tls_from_the_bind_address() {
    let peer = Peer::start(Behaviour {
        starttls: Starttls::Wrapper,
        ..Behaviour::default()
    })
    .await;
    let settings = estafette::outbound::settings::OutboundSettings {
        tls_wrapper: true,
        bind_addresses: vec!["::1".parse().unwrap(), "127.0.0.5".parse().unwrap()],
        ..settings(&peer.address.to_string(), TlsLevel::Encrypt)
    };
    let attempts = deliver(settings, no_dns(), Ok(DATA.to_vec()), &ONE).await;
    assert_eq!(short(&attempts), ["7 relayed 2.0.0"]);
    assert_eq!(peer.seen().commands[..2], ["(TLS)", "EHLO relay.example.org"]);
    assert_eq!(peer.seen().clients, ["127.0.0.5".parse::<std::net::IpAddr>().unwrap()]);
}

#[tokio::test]
async fn silent_peer_times_out() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = estafette::outbound::settings::OutboundSettings {
        hello_timeout: std::time::Duration::from_millis(50),
        ..settings(&listener.local_addr().unwrap().to_string(), TlsLevel::May)
    };
    let attempts = deliver(settings, no_dns(), Ok(DATA.to_vec()), &ONE).await;
    assert_eq!(short(&attempts), ["7 deferred 4.4.2"]);
    assert!(
        attempts[0]
            .outcome
            .report()
            .text
            .contains("timed out while receiving the initial server greeting")
    );
}

#[tokio::test]
async fn dead_exchanger_is_passed_over_for_the_next() {
    let peer = Peer::start(Behaviour::default()).await;
    let dns = SystemResolver::with_server(NameServer::start(names::zone).address);
    let settings = settings(&format!("two.test:{}", peer.address.port()), TlsLevel::May);
    let attempts = deliver(settings, dns, Ok(DATA.to_vec()), &ONE).await;
    assert_eq!(short(&attempts), ["7 relayed 2.0.0"]);
    assert!(attempts[0].outcome.report().remote.starts_with("a.test[127.0.0.1]:"));
}

#[tokio::test]
async fn own_listener_as_relayhost_waits_for_a_better_configuration() {
    let own: SocketAddr = "127.0.0.1:2525".parse().unwrap();
    let settings = estafette::outbound::settings::OutboundSettings {
        own_endpoints: vec![own],
        ..settings("[localhost]:2525", TlsLevel::May)
    };
    let attempts = deliver(settings, no_dns(), Ok(DATA.to_vec()), &ONE).await;
    assert_eq!(short(&attempts), ["7 deferred 4.3.5"]);
    assert!(
        attempts[0]
            .outcome
            .report()
            .text
            .ends_with("mail for localhost loops back to myself")
    );
}

/// A domain with a thousand exchangers, none of which answers.
#[derive(Default)]
struct Crowd(std::sync::atomic::AtomicUsize);

impl Resolver for Crowd {
    async fn mx(&self, domain: &str) -> Result<Vec<MailExchanger>, LookupError> {
        let exchanger = |preference| MailExchanger {
            preference,
            host: format!("mx{preference}.{domain}"),
        };
        Ok((0..1000).map(exchanger).collect())
    }

    async fn addresses(&self, _: &str, _: bool, _: bool) -> Result<Vec<std::net::IpAddr>, LookupError> {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Err(LookupError::Temporary("no answer in time".into()))
    }
}

#[tokio::test]
async fn domain_with_a_thousand_exchangers_does_not_hold_a_delivery_for_hours() {
    let (settings, dns) = (settings("", TlsLevel::May), Crowd::default());
    let path = ForwardPath::parse("<a@crowd.test>").unwrap();
    let found = plan(&settings, &dns, &Route::of(&settings, &path), 1).await;
    assert_eq!(found.map_err(|error| error.status()), Err("4.4.3"));
    assert!(dns.0.into_inner() <= 20);
}

#[tokio::test]
async fn dns_answers_become_targets_in_order_or_a_reason() {
    let dns = SystemResolver::with_server(NameServer::start(names::zone).address);
    let settings = settings("", TlsLevel::May);
    for (domain, expected) in [
        (
            "many.test",
            Ok("a.test [::1]:25 127.0.0.1:25, b.test 127.0.0.2:25, c.test 127.0.0.3:25"),
        ),
        ("implicit.test", Ok("implicit.test 127.0.0.2:25")),
        ("null.test", Err("5.1.10")),
        ("us.test", Err("5.4.6")),
        ("absent.test", Err("5.4.4")),
        ("dead.test", Err("5.4.4")),
        ("broken.test", Err("4.4.3")),
        ("waits.test", Err("4.4.3")),
    ] {
        let path = ForwardPath::parse(&format!("<a@{domain}>")).unwrap();
        let found = plan(&settings, &dns, &Route::of(&settings, &path), 1).await;
        let found = found.map(|targets| {
            let words = targets.iter().map(|target| {
                let addresses: Vec<String> = target.addresses.iter().map(ToString::to_string).collect();
                format!("{} {}", target.host, addresses.join(" "))
            });
            words.collect::<Vec<_>>().join(", ")
        });
        assert_eq!(found.as_deref().map_err(RouteError::status), expected, "{domain}");
    }
}

/// Prints what a mail program sees of the message on its standard input.
const READER: &str = r#"
import email, email.policy, sys
raw = sys.stdin.buffer.read()
assert raw.count(b"\n") == raw.count(b"\r\n") == raw.count(b"\r"), "bare CR or LF"
m = email.message_from_bytes(raw, policy=email.policy.default)
def walk(p):
    for q in [p] + list(p.walk()): assert not q.defects, q.defects
walk(m)
print(m.get_content_type(), m.get_param("report-type"), m["from"], m["to"], m["auto-submitted"], sep="|")
words, status, original = m.iter_parts()
print(words.get_content_type(), status.get_content_type(), original.get_content_type(), sep="|")
print(" ".join(words.get_content().split()))
for block in status.get_payload():
    for k, v in block.items(): print(k, " ".join(v.split()), sep="=")
inner = original.get_payload(0)["subject"] if original.get_content_type() == "message/rfc822" else original.get_payload()
print(inner.strip())
"#;

fn read_by_python(message: &[u8]) -> String {
    let mut python = Command::new("python3")
        .args(["-c", READER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is needed by this test");
    python.stdin.take().unwrap().write_all(message).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(message));
    String::from_utf8(output.stdout).unwrap()
}

fn told(forward_path: ForwardPath, report: Report) -> Told {
    Told {
        forward_path,
        request: RecipientRequest::default(),
        report,
    }
}

fn failures() -> [Told; 2] {
    let refused = Report {
        remote: "mx.example.net[192.0.2.1]:25".into(),
        status: "5.1.1".into(),
        text: format!(
            "550 5.1.1 no such user\r\n--\u{e9} {}",
            "see the long explanation ".repeat(8)
        ),
        from_remote: true,
    };
    let unrouted = Report {
        remote: String::new(),
        status: "5.4.4".into(),
        text: "Host not found".into(),
        from_remote: false,
    };
    [
        told(ForwardPath::parse("<\"a b\"@example.net>").unwrap(), refused),
        told(ForwardPath::Postmaster, unrouted),
    ]
}

fn bounce(original: &[u8], octets_max: usize) -> Vec<u8> {
    let wall = Timestamp(1_795_510_800_000);
    let (original, truncated) = Original::of(original, u64::try_from(original.len()).unwrap(), octets_max);
    Bounce {
        myhostname: "relay.example.org",
        id: QueueId::from_parts(wall.0, 2),
        original_id: QueueId::from_parts(wall.0, 1),
        arrived: wall,
        to: &Mailbox::parse("alice@example.org").unwrap(),
        envelope_id: None,
        notice: Notice::Failed,
        recipients: &failures(),
        original,
        truncated,
        now: Now {
            monotonic: Instant::now(),
            wall,
            utc_offset_seconds: 3600,
        },
    }
    .to_message()
}

#[test]
fn bounce_is_read_as_a_delivery_status_notification() {
    let read = read_by_python(&bounce("Subject: hello\r\n\r\nbody é\r\n".as_bytes(), 1000));
    let lines: Vec<&str> = read.lines().collect();
    assert_eq!(
        lines[..2],
        [
            "multipart/report|delivery-status|Mail Delivery System <MAILER-DAEMON@relay.example.org>|alice@example.org|\
             auto-replied",
            "text/plain|message/delivery-status|message/rfc822"
        ]
    );
    assert!(lines[2].contains("<\"a b\"@example.net>: host mx.example.net[192.0.2.1]:25 said: 550 5.1.1 no such user"));
    let id = QueueId::from_parts(1_795_510_800_000, 1);
    let long = "see the long explanation ".repeat(8);
    assert_eq!(
        lines[3..],
        [
            "Reporting-MTA=dns; relay.example.org",
            &format!("X-Estafette-Queue-ID={id}"),
            "Arrival-Date=Tue, 24 Nov 2026 10:00:00 +0100",
            "Final-Recipient=rfc822; \"a b\"@example.net",
            "Action=failed",
            "Status=5.1.1",
            "Remote-MTA=dns; mx.example.net",
            &format!("Diagnostic-Code=smtp; 550 5.1.1 no such user??--? {}", long.trim_end()),
            "Final-Recipient=rfc822; postmaster@relay.example.org",
            "Action=failed",
            "Status=5.4.4",
            "Diagnostic-Code=x-estafette; Host not found",
            "hello"
        ]
    );
}

#[test]
fn bounce_of_a_long_message_returns_its_header_and_a_hostile_one_cannot_end_the_report() {
    let read = read_by_python(&bounce(b"Subject: hello\r\n\r\nbody\r\n", 18));
    assert!(
        read.contains("text/plain|message/delivery-status|text/rfc822-headers"),
        "{read}"
    );
    assert!(read.ends_with("Subject: hello\n"), "{read}");

    let stem = format!("{}.1795510800.0", QueueId::from_parts(1_795_510_800_000, 2));
    let hostile = format!("Subject: hello\r\n\r\n--{stem}--\r\n--{stem}\r\n");
    let message = bounce(hostile.as_bytes(), 1000);
    assert!(
        String::from_utf8(message.clone())
            .unwrap()
            .contains(&format!("boundary=\"{}1\"", &stem[..stem.len() - 1]))
    );
    assert!(read_by_python(&message).ends_with("hello\n"));
}
