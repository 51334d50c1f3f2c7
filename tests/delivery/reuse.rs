//! Connections kept from message to message, over loopback TCP.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use estafette::io::deliver::channel::{Channel, connect};
use estafette::io::deliver::connection::{Connection, now};
use estafette::io::deliver::connections::{Connections, Key};
use estafette::io::deliver::places::Place;
use estafette::io::deliver::{Attempt, Deliverer};
use estafette::io::dns::Resolver;
use estafette::io::tls::client::ServerCheck;
use estafette::outbound::client::Client;
use estafette::outbound::client_state::{ClientOptions, Transaction};
use estafette::outbound::route::{LookupError, MailExchanger};
use estafette::outbound::settings::{ConnectionReuse, OutboundSettings, TlsLevel};
use estafette::queue::StoreError;
use estafette::time::Timestamp;

use super::peer::{After, Behaviour, Peer, Seen};
use super::world::{OneMessage, deliverer, lease, settings, short};
use super::{DATA, DATA_ON_THE_WIRE, no_dns};

const RELAYED: [&str; 1] = ["7 relayed 2.0.0"];

/// Settings towards this peer with these limits.
pub(crate) fn settings_to(peer: &Peer, level: TlsLevel, reuse: ConnectionReuse) -> OutboundSettings {
    OutboundSettings {
        reuse,
        ..settings(&format!("[localhost]:{}", peer.address.port()), level)
    }
}

/// Delivers one message to one recipient.
pub(crate) async fn send<R: Resolver>(deliverer: &Deliverer<OneMessage, R>) -> Vec<Attempt> {
    send_to(deliverer, "r@example.net").await
}

async fn send_to<R: Resolver>(deliverer: &Deliverer<OneMessage, R>, recipient: &str) -> Vec<Attempt> {
    let lease = lease(&[recipient], DATA.len());
    deliverer.deliver(&lease, Timestamp(1_795_510_900_000)).await
}

/// A plaintext peer and a deliverer to it.
async fn world(behaviour: Behaviour, reuse: ConnectionReuse) -> (Peer, Deliverer<OneMessage, impl Resolver>) {
    let peer = Peer::start(behaviour).await;
    let settings = settings_to(&peer, TlsLevel::None, reuse);
    let store = OneMessage::new(Ok(DATA.to_vec()));
    let deliverer = deliverer(settings, no_dns(), store, None);
    (peer, deliverer)
}

/// Waits until the peer has seen that, five seconds at most.
async fn until(peer: &Peer, wanted: impl Fn(&Seen) -> bool) {
    for _ in 0..500 {
        if wanted(&peer.seen()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not seen in time: {:?}", peer.seen());
}

fn count(seen: &Seen, command: &str) -> usize {
    seen.commands.iter().filter(|said| *said == command).count()
}

#[tokio::test]
async fn hundred_messages_one_after_the_other_use_one_connection() {
    let (peer, deliverer) = world(Behaviour::default(), ConnectionReuse::default()).await;
    for number in 0..100 {
        let attempts = send(&deliverer).await;
        assert_eq!(short(&attempts), RELAYED);
        assert_eq!(attempts[0].reused, number > 0);
    }
    let seen = peer.seen();
    assert_eq!((seen.connections, count(&seen, "EHLO relay.example.org")), (1, 1));
    assert_eq!(seen.messages, vec![DATA_ON_THE_WIRE.to_owned(); 100]);
    assert_eq!(count(&seen, "RSET"), 0);
}

#[tokio::test]
async fn two_messages_at_the_same_time_use_two_connections() {
    let (peer, deliverer) = world(Behaviour::default(), ConnectionReuse::default()).await;
    for _ in 0..3 {
        let (one, other) = tokio::join!(send(&deliverer), send(&deliverer));
        assert_eq!(
            (short(&one), short(&other)),
            (RELAYED.map(String::from).into(), RELAYED.map(String::from).into())
        );
    }
    assert_eq!((peer.seen().connections, peer.seen().messages.len()), (2, 6));
}

#[tokio::test]
async fn connections_are_not_kept_when_the_directive_says_no() {
    let reuse = ConnectionReuse {
        is_on: false,
        ..ConnectionReuse::default()
    };
    let (peer, deliverer) = world(Behaviour::default(), reuse).await;
    for _ in 0..3 {
        assert_eq!(short(&send(&deliverer).await), RELAYED);
    }
    until(&peer, |seen| count(seen, "QUIT") == 3).await;
    assert_eq!(peer.seen().connections, 3);
}

#[tokio::test]
async fn connection_is_ended_when_it_was_reused_as_often_as_it_may() {
    let reuse = ConnectionReuse {
        count_max: 2,
        ..ConnectionReuse::default()
    };
    let (peer, deliverer) = world(Behaviour::default(), reuse).await;
    for _ in 0..7 {
        assert_eq!(short(&send(&deliverer).await), RELAYED);
    }
    until(&peer, |seen| count(seen, "QUIT") == 2).await;
    assert_eq!(peer.seen().connections, 3);
}

/// Lets so much time pass at once; the sockets do not notice.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn connection_is_ended_when_it_is_as_old_as_it_may_be() {
    let reuse = ConnectionReuse {
        idle_max: Duration::from_hours(1),
        ..ConnectionReuse::default()
    };
    let (peer, deliverer) = world(Behaviour::default(), reuse).await;
    for seconds in [0, 150, 149, 2] {
        pass(Duration::from_secs(seconds)).await;
        assert_eq!(short(&send(&deliverer).await), RELAYED);
    }
    assert_eq!(peer.seen().connections, 2);
    until(&peer, |seen| (seen.messages.len(), count(seen, "QUIT")) == (4, 1)).await;
}

#[tokio::test]
async fn idle_connection_ends_with_quit_after_its_time() {
    let (peer, deliverer) = world(Behaviour::default(), ConnectionReuse::default()).await;
    assert_eq!(short(&send(&deliverer).await), RELAYED);
    pass(Duration::from_millis(1900)).await;
    assert_eq!(short(&send(&deliverer).await), RELAYED);
    assert_eq!((peer.seen().connections, count(&peer.seen(), "QUIT")), (1, 0));
    pass(Duration::from_secs(2)).await;
    until(&peer, |seen| count(seen, "QUIT") == 1).await;
    assert_eq!(short(&send(&deliverer).await), RELAYED);
    assert_eq!(peer.seen().connections, 2);
}

#[tokio::test]
async fn peer_that_ends_sessions_after_each_message_costs_no_attempt() {
    for after in [
        After::Closes,
        After::Says("421 4.4.2 idle too long"),
        After::Answers("421 4.3.2 going down"),
        After::RefusesMail("452 4.5.3 too many messages in this session"),
    ] {
        let behaviour = Behaviour {
            after,
            ..Behaviour::default()
        };
        let (peer, deliverer) = world(behaviour, ConnectionReuse::default()).await;
        for _ in 0..3 {
            let attempts = send(&deliverer).await;
            assert_eq!(short(&attempts), RELAYED);
            assert!(!attempts[0].reused);
        }
        assert_eq!((peer.seen().connections, peer.seen().messages.len()), (3, 3));
    }
}

#[tokio::test]
async fn peer_that_closes_behind_a_taken_recipient_is_not_asked_again_at_once() {
    let behaviour = Behaviour {
        after: After::ClosesAfterRcpt,
        ..Behaviour::default()
    };
    let (peer, deliverer) = world(behaviour, ConnectionReuse::default()).await;
    assert_eq!(short(&send(&deliverer).await), RELAYED);
    let attempts = send(&deliverer).await;
    assert_eq!(short(&attempts), ["7 deferred 4.4.2"]);
    assert!(attempts[0].reused);
    assert_eq!(peer.seen().connections, 1);
}

#[tokio::test]
async fn connection_lost_after_the_final_dot_of_a_second_message_is_not_tried_again() {
    let behaviour = Behaviour {
        end: None,
        ..Behaviour::default()
    };
    let (peer, deliverer) = world(behaviour, ConnectionReuse::default()).await;
    for _ in 0..2 {
        assert_eq!(short(&send(&deliverer).await), ["7 deferred 4.4.2"]);
    }
    assert_eq!((peer.seen().connections, peer.seen().messages.len()), (2, 2));
}

#[tokio::test]
async fn refused_recipients_leave_a_connection_that_begins_with_rset() {
    for (data_to_nobody, messages) in [("554 5.5.1 no valid recipients", 1), ("354 go", 2)] {
        let behaviour = Behaviour {
            recipient: |command| {
                if command.contains("no@") {
                    "550 5.1.1 no such user"
                } else {
                    "250 ok"
                }
            },
            data_to_nobody,
            ..Behaviour::default()
        };
        let (peer, deliverer) = world(behaviour, ConnectionReuse::default()).await;
        assert_eq!(short(&send_to(&deliverer, "no@example.net").await), ["7 failed 5.1.1"]);
        assert_eq!(short(&send(&deliverer).await), RELAYED);
        let seen = peer.seen();
        assert_eq!((seen.connections, seen.messages.len()), (1, messages));
        assert_eq!(seen.messages.last().unwrap(), DATA_ON_THE_WIRE);
        let reset = seen.commands.iter().position(|said| said == "RSET").unwrap();
        assert!(seen.commands[reset + 1].starts_with("MAIL"));
    }
}

#[tokio::test]
async fn relayed_recipients_are_noted_before_anything_else_is_said() {
    let peer = Arc::new(Peer::start(Behaviour::default()).await);
    let reuse = ConnectionReuse {
        is_on: false,
        ..ConnectionReuse::default()
    };
    let notes = Arc::new(Mutex::new(Vec::new()));
    let (witness, record) = (Arc::clone(&peer), Arc::clone(&notes));
    let store = OneMessage {
        on_relayed: Box::new(move |numbers| {
            let last = witness.seen().commands.last().cloned();
            record.lock().unwrap().push((numbers.to_vec(), last));
            Err(StoreError::NoSpace)
        }),
        ..OneMessage::new(Ok(DATA.to_vec()))
    };
    let deliverer = deliverer(settings_to(&peer, TlsLevel::None, reuse), no_dns(), store, None);
    // Not being able to note it does not undo the delivery.
    assert_eq!(short(&send(&deliverer).await), RELAYED);
    assert_eq!(*notes.lock().unwrap(), [(vec![7], Some("DATA".to_owned()))]);
    until(&peer, |seen| count(seen, "QUIT") == 1).await;
}

#[tokio::test]
async fn closed_set_says_quit_to_all_and_keeps_none() {
    let (peer, deliverer) = world(Behaviour::default(), ConnectionReuse::default()).await;
    let _ = tokio::join!(send(&deliverer), send(&deliverer));
    deliverer.connections.close().await;
    until(&peer, |seen| count(seen, "QUIT") == 2).await;
    assert_eq!(short(&send(&deliverer).await), RELAYED);
    until(&peer, |seen| count(seen, "QUIT") == 3).await;
    assert_eq!(peer.seen().connections, 3);
}

#[tokio::test]
async fn connections_that_differ_in_anything_are_never_exchanged() {
    let peer = Peer::start(Behaviour::default()).await;
    let settings = settings_to(&peer, TlsLevel::Secure, ConnectionReuse::default());
    let connections = Connections::new(&settings);
    let place = Place {
        host: "mx.example.net".into(),
        address: peer.address,
        check: ServerCheck::Names(vec!["example.net".into()]),
    };
    let key = |place: Place, tls_level| Key {
        place: Arc::new(place),
        tls_level,
    };
    let same = key(place.clone(), TlsLevel::Secure);
    connections.put(&same, idle_connection(&peer, &settings).await).await;
    let other_host = Place {
        host: "mx.example.com".into(),
        ..place.clone()
    };
    let other_address = Place {
        address: "127.0.0.1:9".parse().unwrap(),
        ..place.clone()
    };
    let other_names = Place {
        check: ServerCheck::Names(vec!["example.com".into()]),
        ..place.clone()
    };
    let unchecked = Place {
        check: ServerCheck::Any,
        ..place.clone()
    };
    for other in [other_host, other_address, other_names, unchecked] {
        assert!(connections.take(&key(other, TlsLevel::Secure)).is_none());
    }
    for level in [TlsLevel::None, TlsLevel::May, TlsLevel::Encrypt, TlsLevel::Verify] {
        assert!(connections.take(&key(place.clone(), level)).is_none());
    }
    assert!(connections.take(&same).is_some());
    assert!(connections.take(&same).is_none());
}

/// A connection whose session has ended a transaction in order, as far as the set can tell.
async fn idle_connection(peer: &Peer, settings: &OutboundSettings) -> Connection {
    let stream = connect(peer.address, &[], Duration::from_secs(5)).await.unwrap();
    let options = ClientOptions {
        tls_level: TlsLevel::None,
        ..ClientOptions::new(settings, "peer".into())
    };
    let lease = lease(&["r@example.net"], 0);
    let transaction = Transaction {
        reverse_path: lease.reverse_path.clone(),
        forward_paths: vec![lease.recipients[0].forward_path.clone()],
        body: lease.body,
        size_octets: 0,
        demands: lease.demands.clone(),
    };
    // The greeting is read, so that the connection is quiet.
    let mut channel = Channel::Plain(stream);
    let mut buffer = [0; 100];
    assert!(channel.read(&mut buffer).await.unwrap() > 0);
    let mut client = Client::new(options, transaction, now());
    client.handle_bytes(now(), b"220 peer\r\n250 peer\r\n550 no\r\n");
    while client.poll_action().is_some() {}
    let _ = client.take_ending();
    assert!(client.is_idle());
    Connection::new(client, channel, now())
}

/// One host for every name, and how often it was asked for.
struct Counting(Arc<AtomicUsize>);

impl Resolver for Counting {
    async fn mx(&self, _: &str) -> Result<Vec<MailExchanger>, LookupError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err(LookupError::NoRecords)
    }

    async fn addresses(&self, _: &str, _: bool, _: bool) -> Result<Vec<IpAddr>, LookupError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(vec![IpAddr::from([127, 0, 0, 1])])
    }
}

#[tokio::test]
async fn names_of_a_next_hop_are_not_looked_up_for_every_message() {
    let peer = Peer::start(Behaviour::default()).await;
    let lookups = Arc::new(AtomicUsize::new(0));
    let settings = settings(&format!("[next.example]:{}", peer.address.port()), TlsLevel::None);
    let store = OneMessage::new(Ok(DATA.to_vec()));
    let deliverer = deliverer(settings, Counting(Arc::clone(&lookups)), store, None);
    for _ in 0..50 {
        assert_eq!(short(&send(&deliverer).await), RELAYED);
    }
    assert_eq!(lookups.load(Ordering::Relaxed), 1);
    pass(Duration::from_secs(11)).await;
    assert_eq!(short(&send(&deliverer).await), RELAYED);
    assert_eq!(lookups.load(Ordering::Relaxed), 2);
}

/// Two exchangers, of which only the first, 127.0.0.1, listens.
struct Two;

impl Resolver for Two {
    async fn mx(&self, _: &str) -> Result<Vec<MailExchanger>, LookupError> {
        let exchanger = |preference: u16| MailExchanger {
            preference,
            host: format!("127.0.0.{preference}"),
        };
        Ok(vec![exchanger(1), exchanger(2)])
    }

    async fn addresses(&self, _: &str, _: bool, _: bool) -> Result<Vec<IpAddr>, LookupError> {
        Err(LookupError::NoRecords)
    }
}

#[tokio::test]
async fn domain_is_reached_when_one_exchanger_has_heard_mail_though_the_next_is_dead() {
    for (greeting, reached) in [("220 peer", true), ("421 4.3.2 busy", false)] {
        let behaviour = Behaviour {
            greeting,
            recipient: |_| "450 4.2.0 grey",
            ..Behaviour::default()
        };
        let peer = Peer::start(behaviour).await;
        let settings = settings(&format!("two.test:{}", peer.address.port()), TlsLevel::None);
        let deliverer = deliverer(settings, Two, OneMessage::new(Ok(DATA.to_vec())), None);
        let attempts = send(&deliverer).await;
        assert_eq!(short(&attempts), ["7 deferred 4.4.1"]);
        assert_eq!(attempts[0].reached, reached, "{greeting}");
    }
}
