//! Real peers from Debian: swaks, openssl s_client, curl, msmtp and Python's smtplib as clients, Postfix's smtp-source
//! as load and smtp-sink as next hop. A peer that is missing is a failure: `tests/run` installs them.

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output, Stdio};

use common::sink::Sink;
use common::{BINARY, CERTIFICATES_ONLY, LOOPBACK, Relay, free_port, wait_until};

fn run(command: &mut Command) -> Output {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    command
        .env("PATH", path)
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}: run tests/run"))
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn swaks(relay: &Relay, certificate: Option<&str>) -> Output {
    let mut command = Command::new("swaks");
    command.args([
        "--server",
        &relay.address().to_string(),
        "--tls",
        "--helo",
        "laptop.example.org",
    ]);
    command.args(["--from", "alice@example.org", "--to", "bob@example.net"]);
    if let Some(name) = certificate {
        command.arg("--tls-cert").arg(relay.file(&format!("{name}.pem")));
        command.arg("--tls-key").arg(relay.file(&format!("{name}.key")));
    }
    run(&mut command)
}

#[test]
fn swaks_with_a_certificate_is_relayed_and_without_one_refused_and_explain_says_why() {
    let sink = Sink::start();
    let relay = Relay::start(CERTIFICATES_ONLY, sink.port);
    let with = swaks(&relay, Some("alice"));
    assert!(
        with.status.success() && text(&with).contains("250 2.0.0 Ok: queued as"),
        "{}",
        text(&with)
    );
    let without = swaks(&relay, None);
    assert!(
        !without.status.success() && text(&without).contains("554 5.7.1 <bob@example.net>: Relay access denied"),
        "{}",
        text(&without)
    );
    let rogue = swaks(&relay, Some("rogue"));
    assert!(
        text(&rogue).contains("certificate issuer is not trusted here"),
        "{}",
        text(&rogue)
    );
    wait_until("delivered", || sink.count() == 1);

    let client = [
        "--client-address",
        "198.51.100.7",
        "--mail-from",
        "alice@example.org",
        "--rcpt-to",
        "bob@example.net",
    ];
    let alice = relay.file("alice.pem");
    let alice = alice.to_str().expect("UTF-8");
    let permitted = relay.command(&["explain"], &[&client[..], &["--client-cert", alice]].concat());
    assert_eq!(permitted.status.code(), Some(0), "{}", text(&permitted));
    assert!(
        text(&permitted).contains("verdict    permit by permit_tls_all_clientcerts"),
        "{}",
        text(&permitted)
    );
    let refused = relay.command(&["explain"], &[&client[..], &["--json"]].concat());
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    let json: serde_json::Value = serde_json::from_slice(&refused.stdout).expect("JSON");
    assert_eq!(json["permitted"], false);
    assert_eq!(json["recipients"][0]["decided_by"], "reject");
    assert!(
        json["recipients"][0]["reply"]
            .as_str()
            .is_some_and(|reply| reply.starts_with("554 5.7.1 "))
    );
}

#[test]
fn openssl_s_client_shows_its_certificate_and_is_relayed() {
    let sink = Sink::start();
    let relay = Relay::start(CERTIFICATES_ONLY, sink.port);
    for version in ["-tls1_2", "-tls1_3"] {
        let mut child = Command::new("openssl")
            .args([
                "s_client",
                "-starttls",
                "smtp",
                "-quiet",
                "-crlf",
                version,
                "-connect",
                &relay.address().to_string(),
                "-cert",
            ])
            .arg(relay.file("alice.pem"))
            .arg("-key")
            .arg(relay.file("alice.key"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl runs");
        let mut stdin = child.stdin.take().expect("piped");
        let lines = "EHLO laptop.example.org\nMAIL FROM:<alice@example.org>\nRCPT TO:<bob@example.net>\nDATA\nSubject: x\n\nHello\n.\nQUIT\n";
        stdin.write_all(lines.as_bytes()).expect("written");
        let output = child.wait_with_output().expect("ends");
        drop(stdin);
        assert!(text(&output).contains("queued as"), "{version}: {}", text(&output));
    }
    wait_until("delivered", || sink.count() == 2);
}

/// How the delivered message says that it came in, in the relay's trace header.
fn protocol_of(sink: &Sink, number: usize) -> String {
    wait_until("delivered", || sink.count() > number);
    let data = String::from_utf8_lossy(&sink.messages()[number].data).into_owned();
    let (_, rest) = data.split_once("(Estafette) with ").expect("our trace header");
    rest.split(' ').next().unwrap_or_default().to_owned()
}

fn curl(relay: &Relay, more: &[&str]) -> Output {
    let message = relay.file("message.eml");
    fs::write(&message, "Subject: from curl\r\n\r\nHello\r\n").expect("written");
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--show-error",
        "--url",
        &format!("smtp://localhost:{}", relay.port),
        "--ipv4",
        "--ssl-reqd",
    ]);
    command
        .arg("--cacert")
        .arg(relay.file("CAcert.pem"))
        .arg("--cert")
        .arg(relay.file("alice.pem"));
    command
        .arg("--key")
        .arg(relay.file("alice.key"))
        .arg("--upload-file")
        .arg(&message);
    command.args(["--mail-from", "alice@example.org", "--mail-rcpt", "bob@example.net"]);
    run(command.args(more))
}

#[test]
fn curl_shows_its_certificate_and_is_relayed_with_auth_external_and_without() {
    let sink = Sink::start();
    let relay = Relay::start(CERTIFICATES_ONLY, sink.port);
    let external = ["--login-options", "AUTH=EXTERNAL"];
    let as_alice = [&external[..], &["--user", "alice@example.org:"]].concat();
    let as_mallory = [&external[..], &["--user", "mallory@example.net:"]].concat();
    for (number, (more, protocol)) in [(&[][..], "ESMTPS"), (&external, "ESMTPSA"), (&as_alice, "ESMTPSA")]
        .into_iter()
        .enumerate()
    {
        let output = curl(&relay, more);
        assert!(output.status.success(), "{more:?}: {}", text(&output));
        assert_eq!(protocol_of(&sink, number), protocol, "{more:?}");
    }
    let output = curl(&relay, &as_mallory);
    assert_eq!(output.status.code(), Some(67), "login denied: {}", text(&output));
    let logged = || relay.log_text().contains("\"authentication.rejected\"");
    wait_until("recorded", logged);
}

#[test]
fn python_smtplib_shows_its_certificate_and_is_relayed() {
    let sink = Sink::start();
    let relay = Relay::start(CERTIFICATES_ONLY, sink.port);
    let script = r"
import smtplib, ssl, sys
port, folder = int(sys.argv[1]), sys.argv[2]
context = ssl.create_default_context(cafile=folder + '/CAcert.pem')
context.load_cert_chain(folder + '/alice.pem', folder + '/alice.key')
with smtplib.SMTP('localhost', port) as smtp:
    smtp.starttls(context=context)
    smtp.sendmail('alice@example.org', ['bob@example.net', 'carol@example.net'], 'Subject: x\r\n\r\n.dot\r\n..dots\r\n')
";
    let mut command = Command::new("python3");
    command
        .args(["-c", script, &relay.port.to_string()])
        .arg(relay.directory.path());
    let output = run(&mut command);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(protocol_of(&sink, 0), "ESMTPS", "permission follows from the handshake");
    assert!(sink.messages()[0].data.ends_with(b"\r\n\r\n.dot\r\n..dots\r\n"));
}

fn msmtp(relay: &Relay, more: &str) -> Output {
    let config = relay.file("msmtprc");
    let here = relay.directory.path().display();
    let lines = format!(
        "account default\nhost localhost\nport {}\nfrom alice@example.org\ntls on\ntls_starttls on\ntls_trust_file {here}/CAcert.pem\n\
         tls_cert_file {here}/alice.pem\ntls_key_file {here}/alice.key\n{more}",
        relay.port
    );
    fs::write(&config, lines).expect("written");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).expect("chmod");
    let mut child = Command::new("msmtp")
        .arg("--file")
        .arg(&config)
        .arg("bob@example.net")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("msmtp runs");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(b"Subject: from msmtp\n\nHello\n").expect("written");
    drop(stdin);
    child.wait_with_output().expect("ends")
}

#[test]
fn msmtp_shows_its_certificate_and_is_relayed_with_auth_external_and_without() {
    let sink = Sink::start();
    let relay = Relay::start(CERTIFICATES_ONLY, sink.port);
    // Without a user msmtp 1.8 sends nothing where RFC 4954 wants `=`, and does not answer the challenge.
    for (number, (more, protocol)) in [
        ("auth off\n", "ESMTPS"),
        ("auth external\nuser alice@example.org\n", "ESMTPSA"),
    ]
    .into_iter()
    .enumerate()
    {
        let output = msmtp(&relay, more);
        assert!(output.status.success(), "{more}: {}", text(&output));
        assert_eq!(protocol_of(&sink, number), protocol, "{more}");
    }
    let output = msmtp(&relay, "auth external\nuser mallory@example.net\n");
    assert!(
        text(&output).contains("your certificate does not name this authorization identity"),
        "{}",
        text(&output)
    );
}

struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Postfix's smtp-sink on this port, with the user it asks root to name.
fn smtp_sink(port: u16, options: &[&str]) -> Command {
    let mut command = Command::new("/usr/sbin/smtp-sink");
    if nix::unistd::geteuid().is_root() {
        command.args(["-u", "root"]);
    }
    command
        .args(options)
        .args([&format!("127.0.0.1:{port}"), "100"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Has Postfix's smtp-source send so many messages over ten connections at a time.
fn smtp_source(relay: &Relay, messages: &str) {
    let mut command = Command::new("smtp-source");
    command
        .args(["-s", "10", "-m", messages, "-l", "4096"])
        .args(["-f", "a@example.org", "-t", "b@example.net"])
        .arg(format!("127.0.0.1:{}", relay.port));
    let output = run(&mut command);
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn postfix_smtp_source_and_smtp_sink_stand_on_either_side() {
    let port = free_port();
    let folder = tempfile::tempdir().expect("temporary directory");
    let mut sink = smtp_sink(port, &["-d", "message."]);
    let _sink = Background(sink.current_dir(folder.path()).spawn().expect("smtp-sink runs"));
    let relay = Relay::start(LOOPBACK, port);
    smtp_source(&relay, "200");
    let count = || fs::read_dir(folder.path()).map_or(0, Iterator::count);
    wait_until("all 200 delivered", || count() >= 200);
    wait_until("settled", || relay.queued().is_empty());
}

#[test]
fn smtp_sink_counts_far_fewer_sessions_than_messages_and_a_quit_for_each() {
    let port = free_port();
    let counts = tempfile::NamedTempFile::new().expect("a file");
    let mut sink = smtp_sink(port, &["-c"]);
    let output = counts.reopen().expect("the file");
    let _sink = Background(sink.stdout(output).spawn().expect("smtp-sink runs"));
    let mut relay = Relay::start(LOOPBACK, port);
    smtp_source(&relay, "500");
    wait_until("settled", || {
        relay.log_text().matches("delivery.relayed").count() >= 500 && relay.queued().is_empty()
    });
    wait_until("\"reused\":true", || relay.log_text().contains("\"reused\":true"));
    assert!(relay.terminate().success());
    // `sess=10 quit=10 mesg=500`, written over itself again and again.
    let last = || {
        let text = fs::read_to_string(counts.path()).expect("the counts");
        let line = text
            .rsplit('\r')
            .find(|line| line.contains("mesg="))
            .unwrap_or_default();
        let number = |name: &str| {
            line.split(name)
                .nth(1)?
                .split_whitespace()
                .next()?
                .parse::<usize>()
                .ok()
        };
        (
            number("sess=").unwrap_or(0),
            number("quit=").unwrap_or(0),
            number("mesg=").unwrap_or(0),
        )
    };
    wait_until("a QUIT for each session", || last().0 == last().1 && last().2 == 500);
    assert!((1..=50).contains(&last().0), "{:?}", last());
}

#[test]
fn systemd_units_are_good() {
    let folder = tempfile::tempdir().expect("temporary directory");
    let units = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/systemd");
    for name in ["estafette.service", "estafette.socket"] {
        // The binary is not installed where the unit expects it, nor the documentation.
        let unit = fs::read_to_string(units.join(name))
            .expect("unit")
            .replace("/usr/bin/estafette", BINARY);
        let unit: String = unit
            .lines()
            .filter(|line| !line.starts_with("Documentation="))
            .map(|line| format!("{line}\n"))
            .collect();
        fs::write(folder.path().join(name), unit).expect("written");
    }
    let mut command = Command::new("systemd-analyze");
    command
        .arg("verify")
        .args(["estafette.service", "estafette.socket"].map(|name| folder.path().join(name)));
    let output = run(&mut command);
    assert!(
        output.status.success() && text(&output).trim().is_empty(),
        "{}",
        text(&output)
    );
}
