//! Real peers that use the extensions: Python's smtplib and curl as clients with SMTPUTF8, DSN and BDAT, and Debian's
//! Postfix as a relay in front of us.
//!
//! **Bugs**: only root can start Postfix.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::sink::Sink;
use common::{LOOPBACK, Relay, wait_until};

fn run(command: &mut Command) -> Output {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    command
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}: run tests/run"))
}

fn text(output: &Output) -> String {
    let (out, error) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(error))
}

fn python(relay: &Relay, script: &str) {
    let output = run(Command::new("python3").args(["-c", script, &relay.port.to_string()]));
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn python_sends_chunks_in_one_piece_and_the_message_is_relayed_whole() {
    let sink = Sink::start();
    let relay = Relay::start(LOOPBACK, sink.port);
    let script = r"
import smtplib, sys
body = b'Subject: chunks\r\n\r\n' + b'.\r\nQUIT\r\n' * 20000
with smtplib.SMTP('127.0.0.1', int(sys.argv[1])) as smtp:
    smtp.ehlo('client.example')
    assert smtp.has_extn('chunking') and not smtp.has_extn('binarymime')
    sizes = [1, 0, 7, 100000, len(body) - 100008]
    speech = b'MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\n'
    for n, size in enumerate(sizes):
        last = b' LAST' if n == len(sizes) - 1 else b''
        speech += b'BDAT %d%s\r\n' % (size, last) + body[:size]
        body = body[size:]
    smtp.sock.sendall(speech)
    replies = [smtp.getreply() for _ in range(7)]
    assert [code for code, _ in replies] == [250] * 7, replies
    assert replies[5 - 1][1] == b'2.0.0 Ok: 7 bytes', replies
";
    python(&relay, script);
    wait_until("delivered", || sink.count() == 1);
    let data = &sink.messages()[0].data;
    assert!(data.ends_with(&b".\r\nQUIT\r\n".repeat(20_000)));
    assert!(String::from_utf8_lossy(data).contains("(Estafette) with ESMTP id "));
}

#[test]
fn python_sends_utf8_addresses_and_what_needs_no_utf8_is_relayed_in_a_labels() {
    let sink = Sink::start();
    let relay = Relay::start(LOOPBACK, sink.port);
    let script = r"
import email.message, email.policy, smtplib, sys
def send(sender, recipient, subject):
    message = email.message.EmailMessage(policy=email.policy.SMTPUTF8)
    message['From'], message['To'], message['Subject'] = sender, recipient, subject
    message.set_content('x')
    with smtplib.SMTP('127.0.0.1', int(sys.argv[1])) as smtp:
        smtp.ehlo('client.example')
        smtp.send_message(message)
send('a@example.org', 'b@example.net', 'plain')
send('jos\u00e9@b\u00fccher.example', 'b@example.net', 'utf8')
with smtplib.SMTP('127.0.0.1', int(sys.argv[1])) as smtp:
    smtp.ehlo('client.example')
    smtp.mail('a@b\u00fccher.example', ['SMTPUTF8', 'SIZE=10', 'BODY=8BITMIME'])
    assert smtp.rcpt('b@b\u00fccher.example')[0] == 250
    assert smtp.data('Subject: domain\r\n\r\nx\r\n')[0] == 250
";
    python(&relay, script);
    wait_until("queued", || relay.log_text().matches("message.queued").count() == 3);
    wait_until("delivered", || {
        sink.messages()
            .iter()
            .any(|one| one.reverse_path == "a@xn--bcher-kva.example")
    });
    let messages = sink.messages();
    let domain = messages
        .iter()
        .find(|one| one.reverse_path == "a@xn--bcher-kva.example");
    let domain = domain.expect("delivered");
    assert_eq!(domain.forward_paths, ["b@xn--bcher-kva.example"]);
    assert!(String::from_utf8_lossy(&domain.data).contains("(Estafette) with UTF8SMTP id "));
    wait_until("josé@xn--bcher-kva.example", || {
        relay.log_text().contains("josé@xn--bcher-kva.example")
    });
}

#[test]
fn curl_sends_with_utf8_and_python_with_requests_for_notification() {
    let sink = Sink::start();
    let relay = Relay::start(LOOPBACK, sink.port);
    let message = relay.file("message.eml");
    fs::write(&message, "Subject: from curl\r\n\r\nHello\r\n").expect("written");
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--url",
        &format!("smtp://{}/client.example", relay.address()),
    ]);
    curl.args(["--mail-from", "josé@example.org", "--mail-rcpt", "bob@example.net"]);
    let output = run(curl.arg("--upload-file").arg(&message));
    assert!(output.status.success(), "{}", text(&output));
    let script = r"
import smtplib, sys
with smtplib.SMTP('127.0.0.1', int(sys.argv[1])) as smtp:
    smtp.ehlo('client.example')
    assert smtp.has_extn('dsn') and smtp.esmtp_features['limits'] == 'RCPTMAX=1000'
    wishes = ['NOTIFY=SUCCESS,DELAY', 'ORCPT=rfc822;bob+2Bx@example.net']
    smtp.sendmail('a@example.org', 'bob@example.net', 'Subject: x\r\n\r\nx\r\n', ['RET=HDRS', 'ENVID=QQ314159'], wishes)
";
    python(&relay, script);
    wait_until("queued", || relay.log_text().matches("message.queued").count() == 2);
    wait_until("josé@example.org", || relay.log_text().contains("josé@example.org"));
}

/// A Postfix of its own that relays everything to us.
struct Postfix {
    directory: tempfile::TempDir,
}

impl Postfix {
    fn start(relay: &Relay) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let at = directory.path();
        for folder in ["queue", "data"] {
            fs::create_dir(at.join(folder)).expect("made");
        }
        let owned = run(Command::new("chown").arg("postfix").arg(at.join("data")));
        assert!(owned.status.success(), "{}", text(&owned));
        let open = run(Command::new("chmod").arg("755").arg(at));
        assert!(open.status.success(), "{}", text(&open));
        let main = format!(
            "compatibility_level = 3.6\nmyhostname = front.example\nmydestination =\nqueue_directory = {0}/queue\ndata_directory = {0}/data\n\
             relayhost = [127.0.0.1]:{1}\nsmtp_tls_security_level = none\ninet_interfaces = loopback-only\nmaillog_file = {0}/log\n\
             maillog_file_prefixes = /\nsmtputf8_enable = yes\nsmtp_host_lookup = native\nalias_maps =\nalternate_config_directories = {0}\n",
            at.display(),
            relay.port
        );
        fs::write(at.join("main.cf"), main).expect("written");
        let services = [
            "postlog unix-dgram n - n - 1 postlogd",
            "pickup unix n - n 60 1 pickup",
            "cleanup unix n - n - 0 cleanup",
            "qmgr unix n - n 300 1 qmgr",
            "rewrite unix - - n - - trivial-rewrite",
            "bounce unix - - n - 0 bounce",
            "defer unix - - n - 0 bounce",
            "trace unix - - n - 0 bounce",
            "smtp unix - - n - - smtp",
            "relay unix - - n - - smtp",
            "error unix - - n - - error",
            "retry unix - - n - - error",
            "showq unix n - n - - showq",
            "anvil unix - - n - 1 anvil",
            "scache unix - - n - 1 scache",
            "proxymap unix - - n - - proxymap",
            "tlsmgr unix - - n 1000 1 tlsmgr",
            "flush unix n - n 1000 0 flush",
        ];
        fs::write(at.join("master.cf"), services.join("\n") + "\n").expect("written");
        let started = Self::command(at, &["start"]);
        assert!(started.status.success(), "{}", text(&started));
        Self { directory }
    }

    fn command(at: &Path, words: &[&str]) -> Output {
        run(Command::new("postfix").arg("-c").arg(at).args(words))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let _ = Self::command(self.directory.path(), &["stop"]);
    }
}

#[test]
fn postfix_relays_to_us_with_utf8_eight_bits_and_requests_for_notification() {
    let sink = Sink::start();
    let relay = Relay::start(LOOPBACK, sink.port);
    let postfix = Postfix::start(&relay);
    let at = postfix.directory.path();
    let send = |arguments: &[&str], message: &str| {
        let file = at.join("message");
        fs::write(&file, message).expect("written");
        let mut command = Command::new("/usr/sbin/sendmail");
        command.env("MAIL_CONFIG", at).args(arguments);
        command.stdin(fs::File::open(file).expect("the message"));
        let output = command.output().expect("Postfix's sendmail runs: run tests/run");
        assert!(output.status.success(), "{}", text(&output));
    };
    send(
        &[
            "-N",
            "success,delay",
            "-V",
            "QQ314159",
            "-f",
            "a@example.org",
            "b@example.net",
        ],
        "Subject: plain\n\nx\n",
    );
    send(
        &["-f", "josé@example.org", "b@example.net"],
        "Subject: bücher\n\nbücher\n",
    );
    let sent = || postfix.log().matches("status=sent").count();
    let deadline_shows = || format!("{}\n{}", postfix.log(), relay.log_text());
    wait_until("relayed by Postfix", || {
        assert!(!postfix.log().contains("status=bounced"), "{}", deadline_shows());
        sent() == 2
    });
    assert!(postfix.log().contains("250 2.0.0 Ok: queued as"), "{}", postfix.log());
    wait_until("josé@example.org", || relay.log_text().contains("josé@example.org"));
    wait_until("delivered", || {
        sink.messages().iter().any(|one| one.reverse_path == "a@example.org")
    });
}
