//! Dialogues of the client with scripted peers, whole and byte by byte.

use std::time::{Duration, Instant};

use super::client::Client;
use super::client_demands::{SevenBit, Surveyed};
use super::client_state::{Action, ClientOptions, Ending, Transaction};
use super::fate::Fate;
use super::settings::TlsLevel;
use crate::mail::envelope::{Body, Demands};
use crate::mail::outcome::Outcome;
use crate::wire::path::{ForwardPath, ReversePath};

const DATA: &[u8] = b"Subject: x\r\n\r\n.dot\r\n";
const PLAIN: &str = "250 mx\r\n";
const FULL: &str = "250-mx\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-STARTTLS\r\n250 8BITMIME\r\n";

/// What the peer does next in a script.
#[derive(Clone, Copy)]
enum Step {
    /// Waits for these octets, then says these.
    Peer(&'static str, &'static str),
    /// Waits for the handshake to be asked for, which works or not.
    Tls(bool),
    /// Waits for these octets, then closes.
    Lost(&'static str),
    /// Waits for these octets, then nothing more comes.
    Silent(&'static str),
}
use Step::{Lost, Peer, Silent, Tls};

struct Run {
    said: String,
    ending: Ending,
}

pub(super) fn options(tls_level: TlsLevel) -> ClientOptions {
    ClientOptions {
        hello_name: "relay.example.org".into(),
        remote: "mx[192.0.2.1]:25".into(),
        tls_level,
        tls_wrapper: false,
        discarded: std::sync::Arc::default(),
        converts: false,
        hello_timeout: Duration::from_secs(10),
        data_transfer_timeout: Duration::from_secs(20),
        data_done_timeout: Duration::from_secs(30),
    }
}

pub(super) fn transaction(recipients: usize) -> Transaction {
    Transaction {
        reverse_path: ReversePath::parse("<a@example.org>").unwrap(),
        forward_paths: (0..recipients)
            .map(|n| ForwardPath::parse(&format!("<r{n}@example.net>")).unwrap())
            .collect(),
        body: Body::EightBitMime,
        size_octets: 20,
        demands: Demands::default(),
    }
}

/// Carries out actions until the client wants to read; returns whether the handshake was asked for.
fn act(client: &mut Client, now: Instant, data: &mut Vec<&'static [u8]>, said: &mut String) -> bool {
    while let Some(action) = client.poll_action() {
        match action {
            Action::Send(octets) => said.push_str(std::str::from_utf8(&octets).unwrap()),
            Action::Survey => {
                let is_header_ascii = true;
                let seven_bit = SevenBit::AsItIs;
                client.handle_survey(
                    now,
                    Surveyed {
                        is_header_ascii,
                        seven_bit,
                    },
                );
            }
            Action::WantData => {
                let piece = if data.is_empty() {
                    b"".as_slice()
                } else {
                    data.remove(0)
                };
                client.handle_data_chunk(now, piece);
            }
            Action::StartTls => return true,
            Action::Close => {
                assert!(client.is_over());
                return false;
            }
        }
    }
    false
}

fn run_once(level: TlsLevel, recipients: usize, script: &[Step], bytewise: bool) -> Run {
    let now = Instant::now();
    let mut client = Client::new(options(level), transaction(recipients), now);
    let mut data: Vec<&'static [u8]> = DATA.chunks(if bytewise { 1 } else { DATA.len() }).collect();
    let mut said = String::new();
    let mut heard = 0;
    for step in script {
        let wants_tls = act(&mut client, now, &mut data, &mut said);
        if let Tls(works) = step {
            assert!(wants_tls, "no handshake asked for after {said}");
            client.handle_tls(now, if *works { Ok(()) } else { Err("bad certificate".into()) });
            continue;
        }
        let (Peer(expected, _) | Lost(expected) | Silent(expected)) = step else {
            continue;
        };
        assert_eq!(&said[heard..], *expected);
        heard = said.len();
        match step {
            Peer(_, reply) if bytewise => reply.bytes().for_each(|b| client.handle_bytes(now, &[b])),
            Peer(_, reply) => client.handle_bytes(now, reply.as_bytes()),
            Lost(_) => client.handle_eof(),
            _ => client.handle_timeout(client.poll_timeout().unwrap()),
        }
    }
    act(&mut client, now, &mut data, &mut said);
    client.end();
    act(&mut client, now, &mut data, &mut said);
    assert!(client.is_over(), "the script ended before the client: {said}");
    let said = said[heard..].to_owned();
    Run {
        said,
        ending: client.take_ending(),
    }
}

/// Runs the script whole and byte by byte; both must come to the same.
fn run(level: TlsLevel, recipients: usize, script: &[Step]) -> Run {
    let whole = run_once(level, recipients, script, false);
    let bytewise = run_once(level, recipients, script, true);
    assert_eq!(whole.said, bytewise.said);
    assert_eq!(whole.ending, bytewise.ending);
    whole
}

/// `relayed 2.0.0`, `deferred 4.4.2 elsewhere`.
pub(super) fn short(fates: &[Fate]) -> Vec<String> {
    fates
        .iter()
        .map(|fate| {
            let kind = match fate.outcome {
                Outcome::Relayed(_) => "relayed",
                Outcome::Deferred(_) => "deferred",
                Outcome::Failed(_) => "failed",
            };
            let tail = if fate.elsewhere { " elsewhere" } else { "" };
            format!("{kind} {}{tail}", fate.outcome.report().status)
        })
        .collect()
}

fn settled(run: Run) -> Vec<String> {
    match run.ending {
        Ending::Settled(fates) => short(&fates),
        other => panic!("not settled: {other:?}"),
    }
}

const EHLO: &str = "EHLO relay.example.org\r\n";
const MAIL: &str = "MAIL FROM:<a@example.org>\r\n";
const BODY: &str = "Subject: x\r\n\r\n..dot\r\n.\r\n";

/// Greeting and EHLO of a peer without extensions.
fn plain(rest: &[Step]) -> Vec<Step> {
    let mut script = vec![Peer("", "220 mx\r\n"), Peer(EHLO, PLAIN)];
    script.extend_from_slice(rest);
    script
}

#[test]
fn transaction_without_extensions_is_relayed_command_by_command() {
    let script = plain(&[
        Peer(MAIL, "250 ok\r\n"),
        Peer("RCPT TO:<r0@example.net>\r\n", "250 ok\r\n"),
        Peer("RCPT TO:<r1@example.net>\r\n", "250 ok\r\n"),
        Peer("DATA\r\n", "354 go\r\n"),
        Peer(BODY, "250 2.6.0 queued\r\n"),
    ]);
    let run = run(TlsLevel::May, 2, &script);
    assert_eq!(run.said, "QUIT\r\n");
    assert_eq!(settled(run), ["relayed 2.6.0", "relayed 2.6.0"]);
}

#[test]
fn transaction_with_starttls_and_pipelining_is_relayed_in_groups() {
    let envelope = "MAIL FROM:<a@example.org> SIZE=20 BODY=8BITMIME\r\nRCPT TO:<r0@example.net>\r\nRCPT \
                    TO:<r1@example.net>\r\nRCPT TO:<r2@example.net>\r\nDATA\r\n";
    let run = run(
        TlsLevel::Encrypt,
        3,
        &[
            Peer("", "220-mx\r\n220 ready\r\n"),
            Peer(EHLO, FULL),
            Peer("STARTTLS\r\n", "220 go\r\n"),
            Tls(true),
            Peer(EHLO, FULL),
            Peer(envelope, "250 ok\r\n550 5.1.1 who\r\n250 ok\r\n450 later\r\n354 go\r\n"),
            Peer(BODY, "250 ok\r\n"),
        ],
    );
    assert_eq!(
        settled(run),
        ["failed 5.1.1", "relayed 2.0.0", "deferred 4.0.0 elsewhere"]
    );
}

#[test]
fn replies_decide_recipients() {
    let rcpt = "RCPT TO:<r0@example.net>\r\n";
    for (rest, expected, said) in [
        (vec![Peer(MAIL, "550 5.7.1 no\r\n")], "failed 5.7.1", "QUIT\r\n"),
        (
            vec![Peer(MAIL, "451 4.3.0 no\r\n")],
            "deferred 4.3.0 elsewhere",
            "QUIT\r\n",
        ),
        (vec![Peer(MAIL, "421 4.3.2 bye\r\n")], "deferred 4.3.2 elsewhere", ""),
        (vec![Peer(MAIL, "354 what\r\n")], "deferred 4.5.0 elsewhere", ""),
        (vec![Peer(MAIL, "hello\r\n")], "deferred 4.5.0 elsewhere", ""),
        (vec![Lost(MAIL)], "deferred 4.4.2 elsewhere", ""),
        (vec![Silent(MAIL)], "deferred 4.4.2 elsewhere", ""),
        (
            vec![Peer(MAIL, "250 ok\r\n"), Peer(rcpt, "550 4.1.1 odd\r\n")],
            "failed 5.0.0",
            "QUIT\r\n",
        ),
        (
            vec![Peer(MAIL, "250 ok\r\n"), Peer(rcpt, "552 5.5.3 many\r\n")],
            "deferred 4.5.3",
            "QUIT\r\n",
        ),
        (
            vec![
                Peer(MAIL, "250 ok\r\n"),
                Peer(rcpt, "250 ok\r\n"),
                Peer("DATA\r\n", "554 no\r\n"),
            ],
            "failed 5.0.0",
            "QUIT\r\n",
        ),
        (
            vec![
                Peer(MAIL, "250 ok\r\n"),
                Peer(rcpt, "250 ok\r\n"),
                Peer("DATA\r\n", "250 what\r\n"),
            ],
            "deferred 4.5.0 elsewhere",
            "",
        ),
    ] {
        let run = run(TlsLevel::May, 1, &plain(&rest));
        assert_eq!(run.said, said);
        assert_eq!(settled(run), [expected]);
    }
}

#[test]
fn endings_after_the_final_dot_decide_all() {
    for (last, expected) in [
        (Peer(BODY, "550 5.6.0 spam\r\n"), "failed 5.6.0"),
        (Peer(BODY, "452 4.3.1 full\r\n"), "deferred 4.3.1 elsewhere"),
        (Lost(BODY), "deferred 4.4.2"),
        (Silent(BODY), "deferred 4.4.2"),
        (Peer(BODY, "garbage\r\n"), "deferred 4.5.0"),
    ] {
        let run = run(
            TlsLevel::May,
            1,
            &plain(&[
                Peer(MAIL, "250 ok\r\n"),
                Peer("RCPT TO:<r0@example.net>\r\n", "251 will forward\r\n"),
                Peer("DATA\r\n", "354\r\n"),
                last,
            ]),
        );
        assert_eq!(settled(run), [expected]);
    }
}

#[test]
fn greeting_that_refuses_defers_and_lets_another_host_try() {
    for (greeting, expected) in [
        ("554 5.3.2 no\r\n", "deferred 4.3.2 elsewhere"),
        ("521 no\r\n", "deferred 4.0.0 elsewhere"),
        ("450 no\r\n", "deferred 4.0.0 elsewhere"),
        ("421 no\r\n", "deferred 4.0.0 elsewhere"),
    ] {
        assert_eq!(settled(run(TlsLevel::May, 1, &[Peer("", greeting)])), [expected]);
    }
}

#[test]
fn peer_without_ehlo_gets_helo_and_no_tls() {
    let hello = [Peer("", "220 mx\r\n"), Peer(EHLO, "502 what\r\n")];
    let helo = "HELO relay.example.org\r\n";
    let script = [&hello[..], &[Peer(helo, "250 mx\r\n"), Lost(MAIL)]].concat();
    assert_eq!(settled(run(TlsLevel::May, 1, &script)), ["deferred 4.4.2 elsewhere"]);
    let script = [&hello[..], &[Peer(helo, "250 mx\r\n")]].concat();
    assert_eq!(
        settled(run(TlsLevel::Encrypt, 1, &script)),
        ["deferred 4.7.4 elsewhere"]
    );
}

#[test]
fn failing_tls_is_retried_in_plaintext_at_may_only() {
    let refused = [
        Peer("", "220 mx\r\n"),
        Peer(EHLO, FULL),
        Peer("STARTTLS\r\n", "454 no\r\n"),
    ];
    let broken = [
        Peer("", "220 mx\r\n"),
        Peer(EHLO, FULL),
        Peer("STARTTLS\r\n", "220 go\r\n"),
        Tls(false),
    ];
    for (script, status) in [(&refused[..], "4.7.4"), (&broken[..], "4.7.5")] {
        let may = run(TlsLevel::May, 1, script);
        assert!(matches!(may.ending, Ending::RetryInPlaintext(_)));
        let fates = settled(run(TlsLevel::Encrypt, 1, script));
        assert_eq!(fates, [format!("deferred {status} elsewhere")]);
    }
}

#[test]
fn octets_behind_the_starttls_reply_fail_the_session() {
    let script = [
        Peer("", "220 mx\r\n"),
        Peer(EHLO, FULL),
        Peer("STARTTLS\r\n", "220 go\r\n250 injected\r\n"),
    ];
    let run = run_once(TlsLevel::May, 1, &script, false);
    assert_eq!(settled(run), ["deferred 4.7.5 elsewhere"]);
}

#[test]
fn endless_reply_is_cut_in_the_report() {
    let now = Instant::now();
    let mut client = Client::new(options(TlsLevel::None), transaction(1), now);
    let mut reply = format!("554-{}\r\n", "x".repeat(1500)).repeat(100);
    reply.push_str("554 end\r\n");
    client.handle_bytes(now, reply.as_bytes());
    let Ending::Settled(fates) = client.take_ending() else {
        panic!("plaintext retry")
    };
    assert_eq!(fates[0].outcome.report().text.len(), 1000);
}

#[test]
fn message_over_the_announced_size_fails_without_being_sent() {
    let script = [Peer("", "220 mx\r\n"), Peer(EHLO, "250-mx\r\n250 SIZE 19\r\n")];
    assert_eq!(settled(run(TlsLevel::May, 1, &script)), ["failed 5.3.4"]);
}

#[test]
fn reply_in_the_midst_of_the_data_stands() {
    let now = Instant::now();
    let mut client = Client::new(options(TlsLevel::None), transaction(1), now);
    client.handle_bytes(now, b"220 mx\r\n250 mx\r\n250 ok\r\n250 ok\r\n354 go\r\n");
    client.handle_data_chunk(now, b"a\r\n");
    client.handle_bytes(now, b"552 5.3.4 too big\r\n");
    assert!(client.is_over());
    let Ending::Settled(fates) = client.take_ending() else {
        panic!("plaintext retry")
    };
    assert_eq!(short(&fates), ["failed 5.3.4"]);
}

#[test]
fn data_that_cannot_be_read_is_never_ended_by_a_dot() {
    let now = Instant::now();
    let mut client = Client::new(options(TlsLevel::None), transaction(1), now);
    client.handle_bytes(now, b"220 mx\r\n250 mx\r\n250 ok\r\n250 ok\r\n354 go\r\n");
    client.handle_data_chunk(now, b"a\r\n");
    client.handle_data_error("damaged");
    let mut sent = Vec::new();
    while let Some(action) = client.poll_action() {
        if let Action::Send(octets) = action {
            sent.extend(octets);
        }
    }
    assert!(sent.ends_with(b"a\r\n"));
    let Ending::Settled(fates) = client.take_ending() else {
        panic!("plaintext retry")
    };
    assert_eq!(short(&fates), ["deferred 4.3.0"]);
}
