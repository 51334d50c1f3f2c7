//! Notifications and extensions with Debian's Postfix as next hop, in front of us, and both; and with its `smtp-sink`, which knows
//! little.
//!
//! **Bugs**: only root can start Postfix.

mod common;
#[allow(dead_code, reason = "others use the rest")]
#[path = "common/postfix.rs"]
mod postfix;

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::client::Client;
use common::{LOOPBACK, Relay, free_port, wait_until};
use postfix::Instance;

const PLAIN: &str = "Subject: hello\r\n\r\nthe body\r\n";

/// A Postfix that keeps mail for example.org in a maildir, throws mail for example.net away, and refuses `gone`.
struct Back {
    port: u16,
    /// Told to stop before its directory goes.
    _postfix: Instance,
    directory: tempfile::TempDir,
}

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    directory
}

impl Back {
    fn start(more: &str) -> Self {
        let (directory, port) = (directory(), free_port());
        let mail = directory.path().join("mail");
        fs::create_dir(&mail).expect("made");
        std::os::unix::fs::chown(&mail, Some(65534), Some(65534)).expect("chown");
        let main_cf = format!(
            "myhostname = back.example
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = check_recipient_access inline:{{gone@example.net=REJECT}}, permit_mynetworks, reject
transport_maps = inline:{{ {{ example.net = discard: }} }}
virtual_mailbox_domains = example.org
virtual_mailbox_base = {}
virtual_mailbox_maps = static:box/
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
smtputf8_enable = yes
{more}
",
            mail.display()
        );
        let services = format!("127.0.0.1:{port} inet n - n - - smtpd\nvirtual unix - n n - - virtual");
        let at = ([127, 0, 0, 1], port).into();
        let postfix = Instance::start(directory.path(), &main_cf, &services, at, &[]);
        Self {
            port,
            _postfix: postfix.unwrap_or_else(|error| panic!("{error}")),
            directory,
        }
    }

    /// What example.org has got.
    fn mail(&self) -> Vec<String> {
        let new = self.directory.path().join("mail/box/new");
        let files = fs::read_dir(new).into_iter().flatten().flatten();
        files
            .map(|file| String::from_utf8(fs::read(file.path()).expect("mail")).expect("UTF-8"))
            .collect()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("maillog")).unwrap_or_default()
    }

    /// The one message that example.org gets.
    fn only_mail(&self, relay: &Relay) -> String {
        self.all_mail(relay, 1).remove(0)
    }

    /// So many messages that example.org gets; another one would come before the last one, which is waited for.
    fn all_mail(&self, relay: &Relay, count: usize) -> Vec<String> {
        let shown = || format!("{}\n{}", self.log(), relay.log_text());
        wait_until("reports", || {
            assert!(!self.log().contains("fatal:"), "{}", shown());
            self.mail().len() >= count
        });
        wait_until("nothing is queued any more", || relay.queued().is_empty());
        let marker = "Subject: the last one\r\n\r\nx\r\n";
        say(relay.port, "<z@example.com>", &["<z@example.org>"], marker);
        wait_until("the last message", || {
            self.mail().iter().any(|mail| mail.contains("the last one"))
        });
        let mut mail = self.mail();
        mail.retain(|mail| !mail.contains("the last one"));
        assert_eq!(mail.len(), count, "{mail:#?}\n{}", shown());
        mail
    }
}

/// Sends a message; the paths come with their parameters.
fn say(port: u16, from: &str, to: &[&str], data: &str) {
    let mut client = Client::connect(([127, 0, 0, 1], port).into()).expect("connected");
    let hello = client.say("EHLO client.example").expect("EHLO");
    assert_eq!(hello.code, 250, "{}", hello.text);
    for command in std::iter::once(format!("MAIL FROM:{from}")).chain(to.iter().map(|to| format!("RCPT TO:{to}"))) {
        let reply = client.say(&command).expect("a reply");
        assert_eq!(reply.code, 250, "{command}: {}", reply.text);
    }
    assert_eq!(client.say("DATA").expect("DATA").code, 354);
    let reply = client.say(&format!("{data}.")).expect("the end");
    assert_eq!(reply.code, 250, "{}", reply.text);
}

fn assert_holds(report: &str, texts: &[&str]) {
    for text in texts {
        assert!(report.contains(text), "{text:?} is not in\n{report}");
    }
}

const ASKED: &str = "<a@example.org> RET=HDRS ENVID=QQ+2B314";
const SUCCESS: &str = "<b@example.net> NOTIFY=SUCCESS ORCPT=rfc822;b+2Bx@example.net";

#[test]
fn postfix_with_dsn_is_told_all_that_was_asked_and_reports_alone() {
    let back = Back::start("");
    let relay = Relay::start(LOOPBACK, back.port);
    say(relay.port, ASKED, &[SUCCESS], PLAIN);
    let report = back.only_mail(&relay);
    assert_holds(
        &report,
        &[
            "<MAILER-DAEMON@back.example>",
            "Reporting-MTA: dns; back.example",
            "Original-Envelope-Id: QQ+314",
            "Original-Recipient: rfc822;b+x@example.net",
            "Final-Recipient: rfc822; b@example.net",
            "Content-Type: text/rfc822-headers",
        ],
    );
    assert!(!report.contains("the body"), "{report}");
    assert!(!relay.log_text().contains("success.told"), "{}", relay.log_text());
}

#[test]
fn postfix_that_hides_dsn_is_told_nothing_and_the_relay_reports() {
    let back = Back::start("smtpd_discard_ehlo_keywords = dsn");
    let relay = Relay::start(LOOPBACK, back.port);
    say(relay.port, ASKED, &[SUCCESS], PLAIN);
    let report = back.only_mail(&relay);
    assert_holds(
        &report,
        &[
            "Return-Path: <>",
            "Subject: Successful Mail Delivery Report",
            "Content-Type: multipart/report; report-type=delivery-status",
            "Content-Type: message/delivery-status",
            "Reporting-MTA: dns; relay.example.org",
            "Original-Envelope-Id: QQ+314",
            "Original-Recipient: rfc822; b+x@example.net",
            "Final-Recipient: rfc822; b@example.net",
            "Action: relayed",
            "Status: 2.0.0",
            "Remote-MTA: dns; 127.0.0.1",
            "Diagnostic-Code: smtp; 250 2.0.0 Ok: queued as",
        ],
    );
    assert!(!report.contains("the body"), "{report}");
}

/// A Postfix that relays everything to us.
fn front(relay: &Relay) -> (u16, Instance, tempfile::TempDir) {
    let (directory, port) = (directory(), free_port());
    let main_cf = format!(
        "myhostname = front.example\nmynetworks = 127.0.0.0/8\nsmtpd_relay_restrictions = permit_mynetworks, reject\n\
         relayhost = [127.0.0.1]:{}\n",
        relay.port
    );
    let service = format!("127.0.0.1:{port} inet n - n - - smtpd");
    let postfix = Instance::start(directory.path(), &main_cf, &service, ([127, 0, 0, 1], port).into(), &[]);
    (port, postfix.unwrap_or_else(|error| panic!("{error}")), directory)
}

#[test]
fn success_is_reported_once_from_postfix_through_us_to_postfix() {
    let back = Back::start("");
    let relay = Relay::start(LOOPBACK, back.port);
    let (port, _front, _directory) = front(&relay);
    say(port, ASKED, &[SUCCESS], PLAIN);
    let report = back.only_mail(&relay);
    assert_holds(
        &report,
        &[
            "Reporting-MTA: dns; back.example",
            "Original-Envelope-Id: QQ+314",
            "Original-Recipient: rfc822;b+x@example.net",
        ],
    );
}

#[test]
fn refused_recipients_are_reported_as_each_asked_and_with_what_ret_asked() {
    let back = Back::start("");
    let relay = Relay::start(LOOPBACK, back.port);
    let gone = "<gone@example.net> NOTIFY=FAILURE ORCPT=rfc822;first@example.com";
    for ret in ["FULL", "HDRS"] {
        let from = format!("<{ret}@example.org> RET={ret} ENVID={ret}");
        say(relay.port, &from, &[gone, "<b@example.net> NOTIFY=NEVER"], PLAIN);
    }
    for report in back.all_mail(&relay, 2) {
        let is_whole = report.contains("To: FULL@example.org");
        assert_holds(
            &report,
            &[
                "Subject: Undelivered Mail Returned to Sender",
                if is_whole {
                    "Original-Envelope-Id: FULL"
                } else {
                    "Original-Envelope-Id: HDRS"
                },
                "Original-Recipient: rfc822; first@example.com",
                "Final-Recipient: rfc822; gone@example.net",
                "Action: failed",
                "Status: 5.7.1",
            ],
        );
        assert_eq!(report.contains("the body"), is_whole, "{report}");
        assert!(!report.contains("b@example.net"), "{report}");
    }
}

#[test]
fn postfix_without_smtputf8_has_the_message_returned_and_readable() {
    let back = Back::start("smtputf8_enable = no");
    let relay = Relay::start(LOOPBACK, back.port);
    let data = "Subject: b\u{fc}cher\r\n\r\nx\r\n";
    say(
        relay.port,
        "<a@example.org> SMTPUTF8 BODY=8BITMIME",
        &["<jos\u{e9}@example.net>"],
        data,
    );
    let report = back.only_mail(&relay);
    assert_holds(
        &report,
        &[
            "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit",
            "<jos\u{e9}@example.net>: SMTPUTF8 is required",
            "Content-Type: message/delivery-status",
            "Final-Recipient: utf-8; jos\\x{E9}@example.net",
            "Action: failed",
            "Status: 5.6.7",
            "SMTPUTF8 is required, but was not offered",
            "Content-Type: message/global",
            "Content-Transfer-Encoding: base64",
        ],
    );
    assert!(!back.log().contains("jos"), "nothing of it went there: {}", back.log());
}

#[test]
fn sender_with_a_utf8_address_is_told_in_utf8() {
    let back = Back::start("");
    let relay = Relay::start(LOOPBACK, back.port);
    let from = "<jos\u{e9}@example.org> SMTPUTF8";
    say(
        relay.port,
        from,
        &["<gone@example.net>"],
        "Subject: b\u{fc}cher\r\n\r\nx\r\n",
    );
    let report = back.only_mail(&relay);
    assert_holds(
        &report,
        &[
            "To: jos\u{e9}@example.org",
            "Content-Type: message/global-delivery-status",
            "Final-Recipient: rfc822; gone@example.net",
            "Content-Type: message/global\n",
            "Subject: b\u{fc}cher",
        ],
    );
}

#[test]
fn postfix_without_8bitmime_gets_the_message_converted() {
    let back = Back::start("smtpd_discard_ehlo_keywords = 8bitmime");
    let relay = Relay::start(LOOPBACK, back.port);
    let data = "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
                Content-Transfer-Encoding: 8bit\r\n\r\ncaf\u{e9}\r\n";
    say(relay.port, "<a@example.com> BODY=8BITMIME", &["<b@example.org>"], data);
    let mail = back.only_mail(&relay);
    assert!(mail.is_ascii());
    assert_holds(&mail, &["Content-Transfer-Encoding: quoted-printable", "\ncaf=C3=A9\n"]);
}

/// Postfix's `smtp-sink`, which keeps each message in a file.
struct SmtpSink {
    port: u16,
    directory: tempfile::TempDir,
    child: Child,
}

impl SmtpSink {
    fn start(options: &[&str]) -> Self {
        let (directory, port) = (directory(), free_port());
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("smtp-sink");
        // It insists on another user than root, who has to be able to write there.
        let mode = fs::Permissions::from_mode(0o777);
        fs::set_permissions(directory.path(), mode).expect("chmod");
        if fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
            command.args(["-u", "nobody"]);
        }
        let child = command
            .env("PATH", path)
            .args(options)
            .arg("-d")
            .arg(directory.path().join("mail."))
            .args([&format!("127.0.0.1:{port}"), "10"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("smtp-sink runs: run tests/run");
        wait_until("smtp-sink listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { port, directory, child }
    }

    /// Messages that have come whole, with the lines that smtp-sink puts before them.
    fn mail(&self) -> Vec<String> {
        let files = fs::read_dir(self.directory.path()).expect("the directory").flatten();
        let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        let mail = files.map(|file| read(&file.path()));
        mail.filter(|mail| mail.contains("Subject:")).collect()
    }

    fn wait_for(&self, count: usize) -> Vec<String> {
        wait_until("mail", || {
            self.mail().len() >= count && self.mail().iter().all(|mail| mail.ends_with('\n'))
        });
        let mut mail = self.mail();
        mail.sort_by_key(|mail| mail.contains("X-Mail-Args: <>"));
        assert_eq!(mail.len(), count, "{mail:#?}");
        mail
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn smtp_sink_without_dsn_gets_chunks_as_data_and_the_sender_a_report() {
    let sink = SmtpSink::start(&["-N"]);
    let relay = Relay::start(LOOPBACK, sink.port);
    let body = "Subject: chunks\r\n\r\n.\r\n..\r\nQUIT\r\n";
    let (first, last) = body.split_at(20);
    let mut client = Client::connect(relay.address()).expect("connected");
    let hello = client.say("EHLO client.example").expect("EHLO");
    assert!(!hello.text.contains("BINARYMIME"), "{}", hello.text);
    let refused = client
        .say("MAIL FROM:<a@example.org> BODY=BINARYMIME")
        .expect("a reply");
    assert!((500..600).contains(&refused.code), "{}", refused.text);
    for command in [
        "MAIL FROM:<a@example.org> ENVID=x SIZE=34",
        "RCPT TO:<b@example.net> NOTIFY=SUCCESS",
    ] {
        assert_eq!(client.say(command).expect("a reply").code, 250);
    }
    client
        .write(format!("BDAT {}\r\n{first}", first.len()).as_bytes())
        .expect("a chunk");
    assert_eq!(client.read_reply().expect("a reply").code, 250);
    client
        .write(format!("BDAT {} LAST\r\n{last}", last.len()).as_bytes())
        .expect("a chunk");
    assert_eq!(client.read_reply().expect("a reply").code, 250);
    let mail = sink.wait_for(2);
    assert_holds(
        &mail[0],
        &[
            "X-Mail-Args: <a@example.org>",
            "X-Rcpt-Args: <b@example.net>\n",
            "\n.\n..\nQUIT\n",
        ],
    );
    assert!(!mail[0].contains("NOTIFY"), "{}", mail[0]);
    assert_holds(
        &mail[1],
        &[
            "X-Rcpt-Args: <a@example.org>\n",
            "Action: relayed\n",
            "Original-Envelope-Id: x\n",
        ],
    );
}

#[test]
fn smtp_sink_without_8bitmime_or_esmtp_gets_seven_bits() {
    for options in [&["-8"], &["-e"]] {
        let sink = SmtpSink::start(options);
        let relay = Relay::start(LOOPBACK, sink.port);
        let data = "Subject: x\r\n\r\ncaf\u{e9}\r\n";
        say(relay.port, "<a@example.org> BODY=8BITMIME", &["<b@example.net>"], data);
        let mail = sink.wait_for(1);
        assert!(mail[0].is_ascii(), "{}", mail[0]);
        assert_holds(&mail[0], &["\ncaf=C3=A9\n"]);
        assert!(!mail[0].contains("BODY="), "{}", mail[0]);
    }
}

#[test]
fn smtp_sink_with_dsn_is_told_what_was_asked() {
    let sink = SmtpSink::start(&[]);
    let relay = Relay::start(LOOPBACK, sink.port);
    say(relay.port, ASKED, &[SUCCESS], PLAIN);
    let mail = sink.wait_for(1);
    assert_holds(
        &mail[0],
        &[
            " RET=HDRS ENVID=QQ+2B314\n",
            "X-Rcpt-Args: <b@example.net> NOTIFY=SUCCESS ORCPT=rfc822;b+2Bx@example.net\n",
        ],
    );
}

#[test]
fn signed_message_that_cannot_be_converted_comes_back_by_a_next_hop_without_8bitmime() {
    let sink = SmtpSink::start(&["-8"]);
    let relay = Relay::start(LOOPBACK, sink.port);
    let data = "Subject: signed\r\nMIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n\
                --b\r\n\r\ncaf\u{e9}\r\n--b\r\n\r\nsignature\r\n--b--\r\n";
    say(relay.port, "<a@example.org> BODY=8BITMIME", &["<b@example.net>"], data);
    let mail = sink.wait_for(1);
    assert_holds(
        &mail[0],
        &[
            "X-Rcpt-Args: <a@example.org>",
            "Status: 5.6.3",
            "Content-Type: text/rfc822-headers",
            "Subject: signed",
        ],
    );
    assert!(mail[0].is_ascii(), "{}", mail[0]);
    assert!(!mail[0].contains("--b--"), "{}", mail[0]);
}
