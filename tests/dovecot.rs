//! Passwords checked by a real Dovecot from Debian, and by services that are none.

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::client::{Client, Reply};
use common::sink::Sink;
use common::{PATIENCE, Relay, free_port, wait_until};

const UNAVAILABLE: &str =
    "454 4.7.0 Temporary authentication failure: passwords cannot be checked now, try again later";
const RIGHT: &str = "235 2.7.0 Authentication successful\r\n";

fn policy(path: &str) -> String {
    format!(
        "mynetworks = [\"192.0.2.0/24\"]\n\
         smtpd_relay_restrictions = [\"permit_tls_all_clientcerts\", \"permit_sasl_authenticated\", \"reject\"]\n\
         smtpd_sasl_auth_enable = true\n\
         smtpd_sasl_path = \"{path}\"\n\
         smtpd_sasl_authenticated_header = true\n"
    )
}

fn session(relay: &Relay) -> (Client, Reply) {
    let mut client = Client::connect(relay.address()).expect("connects");
    client.say("EHLO laptop.example.org").expect("EHLO");
    let mut client = client.start_tls(relay.directory.path(), None).expect("TLS");
    let hello = client.say("EHLO laptop.example.org").expect("EHLO");
    (client, hello)
}

fn base64(text: &str) -> String {
    estafette::wire::base64::encode(text.as_bytes())
}

fn plain(login: &str, password: &str) -> String {
    format!("AUTH PLAIN {}", base64(&format!("\0{login}\0{password}")))
}

fn say_login(client: &mut Client, login: &str, password: &str) -> Reply {
    assert_eq!(client.say("AUTH LOGIN").expect("answered").code, 334);
    assert_eq!(client.say(&base64(login)).expect("answered").code, 334);
    client.say(&base64(password)).expect("answered")
}

/// A Dovecot with its own configuration in its own directory.
struct Dovecot {
    directory: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

impl Dovecot {
    fn start(mechanisms: &str) -> Self {
        // Its workers run as other users.
        let mode = fs::Permissions::from_mode(0o755);
        let directory = tempfile::Builder::new()
            .permissions(mode)
            .tempdir_in("/tmp")
            .expect("a directory");
        let port = free_port();
        let at = directory.path().display();
        let config = format!(
            "base_dir = {at}/run\nstate_dir = {at}/state\nlog_path = {at}/log\nprotocols =\nssl = no\nlisten = 127.0.0.1\n\
             auth_mechanisms = {mechanisms}\nauth_failure_delay = 0\n\
             service anvil {{\n  unix_listener anvil-auth-penalty {{\n    mode = 0\n  }}\n}}\n\
             passdb {{\n  driver = passwd-file\n  args = scheme=PLAIN username_format=%u {at}/users\n}}\n\
             userdb {{\n  driver = static\n  args = uid=65534 gid=65534 home=/nonexistent\n}}\n\
             service auth {{\n  unix_listener auth-client {{\n    mode = 0666\n  }}\n  inet_listener {{\n    port = {port}\n  }}\n}}\n"
        );
        fs::write(directory.path().join("dovecot.conf"), config).expect("written");
        fs::write(
            directory.path().join("users"),
            "tim:{PLAIN}secret::::::\nann:{PLAIN}secret::::::user=ann@example.org\n",
        )
        .expect("written");
        let mut dovecot = Self {
            directory,
            port,
            child: None,
        };
        dovecot.run();
        dovecot
    }

    fn run(&mut self) {
        let child = Command::new("/usr/sbin/dovecot")
            .args(["-F", "-c"])
            .arg(self.directory.path().join("dovecot.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Dovecot runs: run tests/run");
        self.child = Some(child);
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(self.socket()).is_err() {
            assert!(Instant::now() < deadline, "Dovecot does not listen: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = Command::new("kill")
                .args(["-s", "TERM", &child.id().to_string()])
                .status();
            let _ = child.wait();
        }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("run/auth-client")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        self.stop();
    }
}

#[test]
fn dovecot_verifies_plain_and_login_over_its_socket_and_over_tcp() {
    let dovecot = Dovecot::start("plain login");
    let sink = Sink::start();
    let socket = dovecot.socket().display().to_string();
    for path in [
        socket.clone(),
        format!("unix:{socket}"),
        format!("inet:127.0.0.1:{}", dovecot.port),
    ] {
        let relay = Relay::start(&policy(&path), sink.port);
        let (mut client, hello) = session(&relay);
        assert!(
            hello.text.contains("250-AUTH PLAIN LOGIN\r\n"),
            "{path}: {}\n{}",
            hello.text,
            dovecot.log()
        );
        let wrong = client.say(&plain("tim", "wrong")).expect("answered");
        assert!(
            wrong
                .text
                .starts_with("535 5.7.8 Error: authentication failed: login or password is wrong [ref "),
            "{}",
            wrong.text
        );
        let right = client.say(&plain("tim", "secret")).expect("answered");
        assert_eq!(right.text, RIGHT, "{}", dovecot.log());
        let reply = client
            .send("tim@example.org", &["bob@example.net"], "Subject: x\r\n\r\nHello")
            .expect("sent");
        assert_eq!(reply.code, 250, "{}", reply.text);
        let (mut client, _) = session(&relay);
        assert_eq!(say_login(&mut client, "tim", "secret").text, RIGHT, "{}", dovecot.log());
        let (mut client, _) = session(&relay);
        assert_eq!(say_login(&mut client, "tim", "wrong").code, 535, "{}", dovecot.log());
        let reply = client.say(&plain("nobody", "secret")).expect("answered");
        assert_eq!(reply.code, 535);
    }
    let log = dovecot.log();
    assert!(!log.contains("BUG") && !log.contains("Error"), "{log}");
}

#[test]
fn dovecot_has_the_last_word_on_names_and_accounts() {
    let dovecot = Dovecot::start("plain login");
    let sink = Sink::start();
    let relay = Relay::start(&policy(&dovecot.socket().display().to_string()), sink.port);
    let (mut client, _) = session(&relay);
    assert_eq!(client.say(&plain("ann", "secret")).expect("answered").text, RIGHT);
    client
        .send("ann@example.org", &["bob@example.net"], "Subject: x\r\n\r\nHello")
        .expect("sent");
    wait_until("delivered", || sink.count() == 1);
    let message = String::from_utf8(sink.messages().remove(0).data).expect("ASCII");
    assert!(message.contains("(Authenticated sender: ann@example.org)"), "{message}");
    let (mut client, _) = session(&relay);
    let other = client
        .say(&format!("AUTH PLAIN {}", base64("root\0tim\0secret")))
        .expect("answered");
    assert_eq!(other.code, 535, "{}", other.text);
}

#[test]
fn only_mechanisms_of_dovecot_are_announced_and_taken() {
    let dovecot = Dovecot::start("plain cram-md5");
    let sink = Sink::start();
    let relay = Relay::start(&policy(&dovecot.socket().display().to_string()), sink.port);
    let (mut client, hello) = session(&relay);
    assert!(hello.text.contains("250-AUTH PLAIN\r\n"), "{}", hello.text);
    let reply = client.say("AUTH LOGIN").expect("answered");
    assert_eq!(reply.text, "504 5.5.4 Error: unrecognized authentication mechanism\r\n");
    assert_eq!(client.say(&plain("tim", "secret")).expect("answered").text, RIGHT);
}

#[test]
fn dovecot_that_is_away_is_a_temporary_failure_and_is_found_again() {
    let mut dovecot = Dovecot::start("plain login");
    let sink = Sink::start();
    let relay = Relay::start(&policy(&dovecot.socket().display().to_string()), sink.port);
    let (mut client, _) = session(&relay);
    assert_eq!(client.say(&plain("tim", "secret")).expect("answered").text, RIGHT);
    dovecot.stop();
    let (mut client, hello) = session(&relay);
    // It works again as soon as Dovecot does: people are not told to set up their programs without a password.
    assert!(hello.text.contains("250-AUTH PLAIN LOGIN\r\n"), "{}", hello.text);
    // Its auth process may outlive it for a moment, with the connection that it has.
    let deadline = Instant::now() + PATIENCE;
    let mut reply = client.say(&plain("tim", "secret")).expect("answered");
    while reply.text == RIGHT && Instant::now() < deadline {
        reply = session(&relay).0.say(&plain("tim", "secret")).expect("answered");
    }
    assert!(reply.text.starts_with(UNAVAILABLE), "{}", reply.text);
    wait_until("logged", || relay.log_text().contains("the password service"));
    dovecot.run();
    let (mut client, _) = session(&relay);
    let deadline = Instant::now() + PATIENCE;
    while client.say(&plain("tim", "secret")).expect("answered").text != RIGHT {
        assert!(Instant::now() < deadline, "{}", relay.log_text());
        std::thread::sleep(Duration::from_millis(200));
        client = session(&relay).0;
    }
}

/// A service on a unix socket that does this with each connection; it ends with the test.
fn fake(path: &Path, act: impl Fn(UnixStream) + Send + Sync + 'static) -> Arc<AtomicUsize> {
    let listener = UnixListener::bind(path).expect("bound");
    let connections = Arc::new(AtomicUsize::new(0));
    let (counted, act) = (Arc::clone(&connections), Arc::new(act));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            counted.fetch_add(1, Ordering::Relaxed);
            let act = Arc::clone(&act);
            std::thread::spawn(move || act(stream));
        }
    });
    connections
}

const HANDSHAKE: &str =
    "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\tx\nDONE\n";

/// Shakes hands and answers each AUTH with what `answer` makes of its number.
fn scripted(mut stream: UnixStream, answer: impl Fn(&str) -> String) {
    let _ = stream.write_all(HANDSHAKE.as_bytes());
    let reader = BufReader::new(stream.try_clone().expect("a socket"));
    for line in reader.lines().map_while(Result::ok) {
        let mut words = line.split('\t');
        if matches!(words.next(), Some("AUTH" | "CONT")) {
            let _ = stream.write_all(answer(words.next().unwrap_or_default()).as_bytes());
        }
    }
}

/// What a session hears with such a service; it is the relay's own business that others are served meanwhile.
fn hears(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("auth");
    let answer = Arc::new(answer);
    fake(&path, move |stream| scripted(stream, |id| answer(id)));
    let sink = Sink::start();
    let relay = Relay::start(&policy(&path.display().to_string()), sink.port);
    let (mut client, _) = session(&relay);
    client.say(&plain("tim", "secret")).expect("answered").text
}

#[test]
fn answers_with_reasons_are_said_in_words() {
    for (answer, said) in [
        (
            "FAIL\t%\tuser=tim\tcode=user_disabled\n",
            "535 5.7.8 Error: authentication failed: the account is disabled",
        ),
        (
            "FAIL\t%\tcode=pass_expired\n",
            "535 5.7.8 Error: authentication failed: the password has expired",
        ),
        (
            "FAIL\t%\treason=ask\u{1}nhelp\n",
            "535 5.7.8 Error: authentication failed: ask?help",
        ),
        ("FAIL\t%\ttemp\n", UNAVAILABLE),
        ("OK\t%\tuser=tim\n", "235 2.7.0 "),
    ] {
        let heard = hears(|id| answer.replace('%', id));
        assert!(heard.starts_with(said), "{answer}: {heard}");
    }
}

#[test]
fn answers_that_are_none_let_nobody_in() {
    let long = format!("OK\t%\tuser={}\n", "x".repeat(100_000));
    for answer in [
        "220 hello\n",
        "OK\n",
        "OK\t\u{0}%\n",
        "CONT\t%\tUGFzc3dvcmQ6\n",
        long.as_str(),
    ] {
        let answer = answer.to_owned();
        let heard = hears(move |id| answer.replace('%', id));
        assert!(heard.starts_with(UNAVAILABLE), "{heard}");
    }
}

#[test]
fn answer_to_another_request_lets_nobody_in() {
    // OK for a number that nobody has, then the true answer.
    let heard = hears(|id| format!("OK\t4000000000\tuser=tim\nOK\t0\tuser=tim\nFAIL\t{id}\n"));
    assert!(heard.starts_with("535 5.7.8 "), "{heard}");
}

#[test]
fn service_that_is_silent_or_garbage_or_endless_at_the_handshake_keeps_nobody_else_waiting() {
    type Act = (&'static str, fn(UnixStream));
    let acts: [Act; 3] = [
        ("silent", |mut stream| {
            let _ = stream.read_to_end(&mut Vec::new());
        }),
        ("garbage", |mut stream| {
            let _ = stream.write_all(b"\xff\x00HTTP/1.1 400\r\n\r\n");
        }),
        ("endless", |mut stream| {
            // Until the relay has had enough.
            while stream.write_all(b"SPID\t1\n").is_ok() {}
        }),
    ];
    for (name, act) in acts {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("auth");
        fake(&path, act);
        let sink = Sink::start();
        let relay = Relay::start(&policy(&path.display().to_string()), sink.port);
        // The first session waits a second at most; the others not at all.
        let _ = session(&relay);
        let began = Instant::now();
        let mut client = Client::connect(relay.address()).expect("connects");
        client.say("EHLO laptop.example.org").expect("EHLO");
        let mut client = client.start_tls(relay.directory.path(), Some("alice")).expect("TLS");
        client.say("EHLO laptop.example.org").expect("EHLO");
        let reply = client
            .send("alice@example.org", &["bob@example.net"], "Subject: x\r\n\r\nHello")
            .expect("sent");
        assert_eq!(reply.code, 250, "{name}: {}", reply.text);
        assert!(
            began.elapsed() < Duration::from_secs(4),
            "{name}: {:?}",
            began.elapsed()
        );
        let (mut client, hello) = session(&relay);
        assert!(!hello.text.contains("AUTH"), "{name}: {}", hello.text);
        let reply = client.say(&plain("tim", "secret")).expect("answered");
        assert!(reply.text.starts_with(UNAVAILABLE), "{name}: {}", reply.text);
    }
}

#[test]
fn logins_share_one_connection() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("auth");
    let connections = fake(&path, |stream| scripted(stream, |id| format!("OK\t{id}\tuser=tim\n")));
    let sink = Sink::start();
    let relay = Relay::start(&policy(&path.display().to_string()), sink.port);
    let mut clients: Vec<Client> = (0..8).map(|_| session(&relay).0).collect();
    for client in &mut clients {
        client
            .write(format!("{}\r\n", plain("tim", "secret")).as_bytes())
            .expect("written");
    }
    for client in &mut clients {
        assert_eq!(client.read_reply().expect("answered").text, RIGHT);
    }
    assert!(relay.command(&["reload"], &[]).status.success());
    assert_eq!(
        session(&relay).0.say(&plain("tim", "secret")).expect("answered").text,
        RIGHT
    );
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}
