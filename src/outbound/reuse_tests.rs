//! Dialogues of several transactions over one session.

use std::time::Instant;

use super::client::Client;
use super::client_demands::{SevenBit, Surveyed};
use super::client_state::{Action, Ending};
use super::client_tests::{options, short, transaction};
use super::settings::TlsLevel;

const MAIL: &str = "MAIL FROM:<a@example.org> SIZE=20\r\n";
const RCPT: &str = "RCPT TO:<r0@example.net>\r\n";
const DATA: &[u8] = b"Subject: x\r\n\r\n.dot\r\n";
const BODY: &str = "Subject: x\r\n\r\n..dot\r\n.\r\n";
const GROUP: &str = "MAIL FROM:<a@example.org> SIZE=20\r\nRCPT TO:<r0@example.net>\r\nDATA\r\n";

/// A client, and what it has said since it was last asked.
struct Session {
    client: Client,
    now: Instant,
}

impl Session {
    /// Has said EHLO, and is told this behind the greeting.
    fn begun(hello: &str) -> Self {
        let now = Instant::now();
        let client = Client::new(options(TlsLevel::None), transaction(1), now);
        let mut session = Self { client, now };
        assert_eq!(session.hear("220 mx\r\n"), "EHLO relay.example.org\r\n");
        session.client.handle_bytes(now, hello.as_bytes());
        session
    }

    /// Has relayed one message with PIPELINING and is idle.
    fn idle() -> Self {
        let mut session = Self::begun("250-mx\r\n250-SIZE 1000\r\n250 PIPELINING\r\n");
        assert_eq!(session.said(), GROUP);
        assert_eq!(session.hear("250 ok\r\n250 ok\r\n354 go\r\n"), BODY);
        assert_eq!(session.hear("250 ok\r\n"), "");
        assert_eq!(session.ending(), ["relayed 2.0.0"]);
        assert!(session.client.is_idle());
        session
    }

    fn hear(&mut self, reply: &str) -> String {
        self.client.handle_bytes(self.now, reply.as_bytes());
        self.said()
    }

    /// Carries out what the client wants; the mail data comes as a whole.
    fn said(&mut self) -> String {
        let mut said = String::new();
        while let Some(action) = self.client.poll_action() {
            match action {
                Action::Send(octets) => said.push_str(std::str::from_utf8(&octets).unwrap()),
                Action::WantData => self.client.handle_data_chunk(self.now, DATA),
                Action::Survey => {
                    let (is_header_ascii, seven_bit) = (true, SevenBit::AsItIs);
                    let surveyed = Surveyed {
                        is_header_ascii,
                        seven_bit,
                    };
                    self.client.handle_survey(self.now, surveyed);
                }
                Action::StartTls => panic!("no TLS here"),
                Action::Close => said.push_str("(close)"),
            }
        }
        said
    }

    fn again(&mut self, recipients: usize) -> String {
        self.client.begin(transaction(recipients), self.now);
        self.said()
    }

    fn ending(&mut self) -> Vec<String> {
        assert!(self.client.is_settled());
        match self.client.take_ending() {
            Ending::Settled(fates) => short(&fates),
            Ending::RetryInPlaintext(_) => vec!["in plaintext".into()],
            Ending::Stale => vec!["stale".into()],
        }
    }

    fn end(&mut self) -> String {
        self.client.end();
        self.said()
    }
}

#[test]
fn second_message_is_sent_without_greeting_and_ehlo() {
    let mut session = Session::idle();
    assert_eq!(session.client.poll_timeout(), None);
    for _ in 0..3 {
        assert_eq!(session.again(1), GROUP);
        assert_eq!(session.hear("250 ok\r\n250 ok\r\n354 go\r\n"), BODY);
        assert_eq!(session.hear("250 2.6.0 queued\r\n"), "");
        assert_eq!(session.ending(), ["relayed 2.6.0"]);
    }
    assert_eq!(session.client.reuses(), 3);
    assert_eq!(session.end(), "QUIT\r\n(close)");
    assert!(session.client.is_over());
}

#[test]
fn second_message_without_pipelining_goes_command_by_command() {
    let mut session = Session::begun("250 mx\r\n");
    for _ in 0..2 {
        assert_eq!(session.said(), "MAIL FROM:<a@example.org>\r\n");
        assert_eq!(session.hear("250 ok\r\n"), RCPT);
        assert_eq!(session.hear("250 ok\r\n"), "DATA\r\n");
        assert_eq!(session.hear("354 go\r\n"), BODY);
        assert_eq!(session.hear("250 ok\r\n"), "");
        assert_eq!(session.ending(), ["relayed 2.0.0"]);
        session.client.begin(transaction(1), session.now);
    }
}

#[test]
fn refusals_leave_the_session_in_order_and_are_reset_only_behind_an_open_transaction() {
    for (replies, said, fate, next) in [
        // MAIL refused: nothing is open.
        ("550 5.7.1 no\r\n503 x\r\n503 x\r\n", "", "failed 5.7.1", GROUP),
        // RCPT refused: the transaction is open, and DATA is refused for it.
        ("250 ok\r\n550 5.1.1 who\r\n503 x\r\n", "", "failed 5.1.1", "RSET\r\n"),
        // RFC 2920 section 3.1: 354 in spite of it is answered with a lone dot.
        (
            "250 ok\r\n550 5.1.1 who\r\n354 go\r\n",
            ".\r\n",
            "failed 5.1.1",
            "RSET\r\n",
        ),
        (
            "250 ok\r\n250 ok\r\n451 4.3.0 no\r\n",
            "",
            "deferred 4.3.0 elsewhere",
            "RSET\r\n",
        ),
        // Refused behind the final dot: the transaction is over.
        ("250 ok\r\n250 ok\r\n354 go\r\n", BODY, "failed 5.6.0", GROUP),
    ] {
        let mut session = Session::idle();
        assert_eq!(session.again(1), GROUP);
        assert_eq!(session.hear(replies), said);
        if !said.is_empty() {
            assert_eq!(session.hear("550 5.6.0 no\r\n"), "");
        }
        assert_eq!(session.ending(), [fate], "{replies}");
        assert!(session.client.is_idle());
        assert_eq!(session.again(1), next, "{replies}");
        if next == "RSET\r\n" {
            assert_eq!(session.hear("250 flushed\r\n"), GROUP);
        }
    }
}

#[test]
fn lone_dot_that_is_taken_for_a_message_ends_the_session() {
    let mut session = Session::idle();
    session.again(1);
    assert_eq!(session.hear("250 ok\r\n550 5.1.1 who\r\n354 go\r\n"), ".\r\n");
    assert_eq!(session.hear("250 queued\r\n"), "");
    assert_eq!(session.ending(), ["failed 5.1.1"]);
    assert!(!session.client.is_idle());
    assert_eq!(session.end(), "QUIT\r\n(close)");
}

#[test]
fn kept_session_that_ends_before_a_recipient_is_taken_is_stale() {
    let closing: [(&str, bool); 7] = [
        ("", true),
        ("421 4.4.2 idle too long\r\n", false),
        ("250 ok\r\n", true),
        ("250 ok\r\n421 4.3.2 down\r\n", false),
        ("250 ok\r\n450 4.2.1 busy\r\n421 bye\r\n", false),
        // The first is one too many for the message before: nothing here answers what it seems to answer.
        (
            "250 ok\r\n451 4.3.0 no\r\n503 5.5.1 MAIL?\r\n503 5.5.1 MAIL?\r\n",
            false,
        ),
        (
            "452 4.5.3 too many messages in this session\r\n503 x\r\n503 x\r\n503 x\r\n",
            false,
        ),
    ];
    for (replies, closes) in closing {
        let mut session = Session::idle();
        session.client.begin(transaction(2), session.now);
        session.said();
        let said = session.hear(replies);
        assert!(["", "(close)"].contains(&said.as_str()), "{said}");
        if closes {
            session.client.handle_eof();
        }
        assert_eq!(session.ending(), ["stale"], "{replies}");
        assert!(!session.client.is_idle());
    }
}

#[test]
fn first_message_of_a_session_is_never_stale() {
    let mut session = Session::begun("250-mx\r\n250 PIPELINING\r\n");
    session.said();
    session.client.handle_eof();
    assert_eq!(session.ending(), ["deferred 4.4.2 elsewhere"]);
    let mut session = Session::begun("250-mx\r\n250 PIPELINING\r\n");
    session.said();
    assert_eq!(session.hear("450 4.7.1 grey\r\n503 x\r\n503 x\r\n"), "");
    assert_eq!(session.ending(), ["deferred 4.7.1 elsewhere"]);
}

#[test]
fn loss_behind_a_taken_recipient_or_the_final_dot_is_no_staleness() {
    for (replies, fate) in [
        ("250 ok\r\n250 ok\r\n", "deferred 4.4.2 elsewhere"),
        ("250 ok\r\n250 ok\r\n354 go\r\n", "deferred 4.4.2"),
        // All is decided: another connection would only ask again.
        ("250 ok\r\n550 5.1.1 who\r\n", "failed 5.1.1"),
    ] {
        let mut session = Session::idle();
        session.again(1);
        session.hear(replies);
        session.client.handle_eof();
        assert_eq!(session.ending(), [fate], "{replies}");
        assert!(session.client.is_over());
    }
    let mut session = Session::idle();
    session.again(1);
    session.hear("250 ok\r\n250 ok\r\n354 go\r\n");
    session.hear("421 4.3.2 going down\r\n");
    assert_eq!(session.ending(), ["deferred 4.3.2 elsewhere"]);
}

#[test]
fn session_out_of_step_takes_no_other_message() {
    for (last, idle_then) in [
        ("250 ok\r\n250 again\r\n", ""),
        ("250 ok\r\n25", ""),
        ("250 ok\r\ngarbage\r\n", ""),
        ("250 ok\r\n", "421 4.4.2 timeout\r\n"),
        ("250 ok\r\n", "2"),
    ] {
        let mut session = Session::idle();
        session.again(1);
        session.hear("250 ok\r\n250 ok\r\n354 go\r\n");
        session.hear(last);
        session.hear(idle_then);
        assert_eq!(session.ending(), ["relayed 2.0.0"], "{last}{idle_then}");
        assert!(!session.client.is_idle(), "{last}{idle_then}");
        session.client.begin(transaction(1), session.now);
        assert!(!session.said().contains("MAIL"));
        assert_eq!(session.ending(), ["stale"]);
    }
    for replies in ["354 what\r\n", "250 ok\r\n354 what\r\n", "nonsense\r\n"] {
        let mut session = Session::idle();
        session.again(1);
        session.hear(replies);
        assert_eq!(session.ending(), ["deferred 4.5.0 elsewhere"], "{replies}");
        assert!(session.client.is_over());
    }
    let mut session = Session::idle();
    session.again(1);
    let late = session.client.poll_timeout().unwrap();
    session.client.handle_timeout(late);
    assert_eq!(session.ending(), ["deferred 4.4.2 elsewhere"]);
    assert!(session.client.is_over());
}

#[test]
fn message_too_big_for_the_peer_leaves_the_session_to_others() {
    let mut session = Session::begun("250-mx\r\n250 SIZE 19\r\n");
    assert_eq!(session.said(), "");
    assert_eq!(session.ending(), ["failed 5.3.4"]);
    let mut small = transaction(1);
    small.size_octets = 19;
    session.client.begin(small, session.now);
    assert_eq!(session.said(), MAIL.replace("20", "19"));
}

#[test]
fn more_recipients_than_a_group_holds_are_sent_in_several_with_data_last() {
    let mut session = Session::idle();
    let first = session.again(60);
    assert_eq!((first.matches("RCPT").count(), first.contains("DATA")), (49, false));
    let second = session.hear(&"250 ok\r\n".repeat(50));
    assert_eq!(second.matches("RCPT").count(), 11);
    assert!(second.ends_with("DATA\r\n"));
    assert_eq!(session.hear(&("250 ok\r\n".repeat(11) + "354 go\r\n")), BODY);
    session.hear("250 ok\r\n");
    assert_eq!(session.ending(), ["relayed 2.0.0"; 60]);
}

#[test]
fn data_of_another_length_than_announced_gets_no_final_dot() {
    for pieces in [&[DATA, b"more\r\n"].concat()[..], b"short\r\n"] {
        let mut session = Session::begun("250-mx\r\n250 PIPELINING\r\n");
        session
            .client
            .handle_bytes(session.now, b"250 ok\r\n250 ok\r\n354 go\r\n");
        while session.client.poll_action() != Some(Action::WantData) {}
        session.client.handle_data_chunk(session.now, pieces);
        let was_over = session.client.is_over();
        if !was_over {
            session.client.handle_data_chunk(session.now, b"");
        }
        let said: Vec<Action> = std::iter::from_fn(|| session.client.poll_action()).collect();
        assert!(!format!("{said:?}").contains("46, 13, 10"), "{said:?}");
        assert_eq!(session.ending(), ["deferred 4.3.0"]);
    }
}
