//! Clients that are not ours resume a session with the running relay: the certificate is judged anew.
//!
//! The certificate expires between the two connections, so that the same ticket has to lead to another verdict.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use rcgen::date_time_ymd;

use super::authority::{Authority, new_key, person, write_key};
use super::common::sink::Sink;
use super::common::{CERTIFICATES_ONLY, Relay, wait_until};
use super::pki::now;

/// Seconds that the certificate lives. The first may be too few on a machine that is busy.
const LIVES_SECONDS: [u64; 3] = [3, 12, 48];

const VERSIONS: [&str; 2] = ["1.2", "1.3"];

/// A relay that trusts an authority of this test, and the authority.
fn relay(sink: &Sink) -> (Relay, Authority) {
    let authority = Authority::root(&[("C", "FR"), ("O", "CNRS"), ("CN", "Brief")]);
    let mut relay = Relay::prepare(CERTIFICATES_ONLY, sink.port);
    let mut bundle = std::fs::read_to_string(relay.file("CAcert.pem")).expect("the bundle");
    bundle.push_str(&authority.pem);
    std::fs::write(relay.file("CAcert.pem"), bundle).expect("written");
    let config = std::fs::read_to_string(relay.file("estafette.toml")).expect("the configuration");
    // openssl s_client reads everything that it is to say at once, and waits for no reply.
    relay.write_config(&format!("smtpd_forbid_unauth_pipelining = false\n{config}"));
    relay.spawn();
    (relay, authority)
}

/// Writes brief.pem and brief.key, and returns until when the certificate is valid.
fn issue_brief(authority: &Authority, directory: &Path, seconds: u64) -> i64 {
    let until = u64::try_from(now()).expect("past 1970") + seconds;
    let key = new_key();
    let mut params = person(&[("C", "FR"), ("O", "CNRS"), ("OU", "UMR5168"), ("CN", "Brief")]);
    params.not_after = date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(until);
    std::fs::write(directory.join("brief.pem"), authority.issue_pem(&params, &key)).expect("written");
    write_key(directory, "brief", &key);
    i64::try_from(until).expect("a date")
}

/// Has a client come while its certificate is valid, and again when it is not: `first` starts the client and returns what
/// it said until now, `second` lets it come again.
fn come_twice<T>(first: impl Fn(&Relay) -> (T, String), second: impl Fn(&Relay, T) -> String) {
    let sink = Sink::start();
    let (relay, authority) = relay(&sink);
    for seconds in LIVES_SECONDS {
        let until = issue_brief(&authority, relay.directory.path(), seconds);
        let (client, said) = first(&relay);
        if now() >= until {
            continue;
        }
        assert_eq!(said.matches("250 2.1.5 Ok").count(), VERSIONS.len(), "{said}");
        wait_until("the certificate has expired", || now() > until);
        let said = second(&relay, client);
        let refused = "554 5.7.1 <bob@example.net>: Relay access denied (your certificate has expired)";
        assert_eq!(said.matches(refused).count(), VERSIONS.len(), "{said}");
        assert_resumed(&relay);
        return;
    }
    panic!("the clients took longer than the certificate lived");
}

/// The log tells of a resumed session for each version, and that its certificate was judged at that time.
fn assert_resumed(relay: &Relay) {
    for version in VERSIONS {
        let protocol = format!("TLSv{version}");
        let marks = ["tls.started", &protocol, "\"resumed\":true", "certificate has expired"];
        wait_until("the log tells of the resumed session", || {
            let log = relay.log_text();
            log.lines().any(|line| marks.iter().all(|mark| line.contains(mark)))
        });
    }
}

/// What `openssl s_client` and the relay say in one connection.
fn s_client(relay: &Relay, version: &str, session: &str) -> String {
    let option = format!("-tls{}", version.replace('.', "_"));
    let file = format!("session-{version}");
    let mut client = Command::new("openssl")
        .args([
            "s_client",
            "-starttls",
            "smtp",
            "-connect",
            &relay.address().to_string(),
        ])
        .args([&option, "-cert", "brief.pem", "-key", "brief.key", session, &file])
        // Otherwise a line that begins with R asks for a new handshake.
        .args(["-nocommands", "-ign_eof", "-crlf"])
        .current_dir(relay.directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the openssl program: run tests/run");
    let mut input = client.stdin.take().expect("piped");
    input
        .write_all(b"EHLO laptop.example.org\nMAIL FROM:<alice@example.org>\nRCPT TO:<bob@example.net>\nQUIT\n")
        .expect("written");
    let output = client.wait_with_output().expect("it ends");
    drop(input);
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn openssl_that_resumes_is_judged_anew() {
    let once = |relay: &Relay, session: &str, expected: &str| {
        let said = VERSIONS.map(|version| s_client(relay, version, session));
        for (version, said) in VERSIONS.iter().zip(&said) {
            assert!(said.contains(&format!("{expected}, TLSv{version}")), "{said}");
        }
        said.concat()
    };
    come_twice(
        |relay| ((), once(relay, "-sess_out", "New")),
        |relay, ()| once(relay, "-sess_in", "Reused"),
    );
}

/// smtplib, which takes the session of its first connection into the second.
const SMTPLIB: &str = r#"
import smtplib, ssl, sys

class Context(ssl.SSLContext):
    last = None
    def wrap_socket(self, *arguments, **named):
        return super().wrap_socket(*arguments, session=self.last, **named)

def come(context):
    with smtplib.SMTP("127.0.0.1", int(sys.argv[1]), "laptop.example.org") as client:
        client.starttls(context=context)
        client.ehlo()
        client.mail("alice@example.org")
        code, text = client.rcpt("bob@example.net")
        print("reused" if client.sock.session_reused else "new", code, text.decode())
        context.last = client.sock.session

contexts = []
for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    context = Context(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain("brief.pem", "brief.key")
    contexts.append(context)
for context in contexts:
    come(context)
print("done", flush=True)
sys.stdin.readline()
for context in contexts:
    come(context)
"#;

#[test]
fn smtplib_that_resumes_is_judged_anew() {
    come_twice(
        |relay| {
            let mut client = Command::new("python3")
                .args(["-c", SMTPLIB, &relay.port.to_string()])
                .current_dir(relay.directory.path())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("python3: run tests/run");
            let mut lines = BufReader::new(client.stdout.take().expect("piped")).lines();
            let mut said = String::new();
            for line in lines.by_ref().map_while(Result::ok).take_while(|line| line != "done") {
                said.push_str(&line);
                said.push('\n');
            }
            ((client, lines), said)
        },
        |_, (mut client, lines)| {
            drop(client.stdin.take());
            let said: Vec<String> = lines.map_while(Result::ok).collect();
            assert!(client.wait().expect("it ends").success());
            assert!(said.iter().all(|line| line.starts_with("reused")), "{said:?}");
            said.join("\n")
        },
    );
}
