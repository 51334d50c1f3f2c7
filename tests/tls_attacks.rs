//! Attacks on the TLS of a listener, with `openssl s_client` and by hand: renegotiation, truncation, old versions and
//! ciphers, plaintext behind STARTTLS, early data.
//!
//! **Bugs**: no tool offers export ciphers any more, so that those are asked for in a ClientHello written here.

mod common;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::client::Client;
use common::{CERTIFICATES_ONLY, PATIENCE, Relay, free_port, wait_until};

/// `openssl s_client` under way, and what it and the relay have said.
struct OpenSsl {
    child: Child,
    said: Arc<Mutex<Vec<u8>>>,
}

impl OpenSsl {
    fn connect(relay: &Relay, arguments: &[&str]) -> Self {
        let mut child = Command::new("openssl")
            .args([
                "s_client",
                "-starttls",
                "smtp",
                "-connect",
                &relay.address().to_string(),
            ])
            .args(arguments)
            .current_dir(relay.directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("openssl runs");
        let said = Arc::new(Mutex::new(Vec::new()));
        listen(child.stdout.take().expect("piped"), &said);
        listen(child.stderr.take().expect("piped"), &said);
        Self { child, said }
    }

    /// Types a line.
    fn say(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        // It may have gone by itself, which the test then sees.
        let _ = stdin.write_all(format!("{line}\n").as_bytes());
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().expect("said")).into_owned()
    }

    fn wait_for(&self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.text().contains(words) {
            assert!(Instant::now() < deadline, "{words:?} was never said:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for its end, typing nothing more; everything that was said.
    fn end(mut self) -> String {
        drop(self.child.stdin.take());
        wait_until("openssl ends", || self.child.try_wait().expect("wait").is_some());
        // What it said last is on its way through a thread.
        let mut before = self.text();
        loop {
            std::thread::sleep(Duration::from_millis(50));
            let now = self.text();
            if now == before {
                return now;
            }
            before = now;
        }
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(mut from: impl std::io::Read + Send + 'static, said: &Arc<Mutex<Vec<u8>>>) {
    let said = Arc::clone(said);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            said.lock().expect("said").extend_from_slice(&buffer[..count]);
        }
    });
}

/// A relay for certificate holders, whose next hop is never there; the end of each session is logged.
fn relay() -> Relay {
    Relay::start(&format!("{CERTIFICATES_ONLY}log_level = \"debug\"\n"), free_port())
}

/// A relay still serves whoever comes by after an attack.
fn assert_serves(relay: &Relay) {
    let client = Client::connect(relay.address()).expect("a greeting");
    let mut client = start_tls(client, relay.directory.path());
    let reply = client.say("EHLO laptop.example.org").expect("a reply");
    assert_eq!(reply.code, 250, "{}", reply.text);
}

fn start_tls(mut client: Client, directory: &Path) -> Client {
    client.say("EHLO laptop.example.org").expect("a reply");
    client.start_tls(directory, Some("alice")).expect("a handshake")
}

const ALICE: [&str; 4] = ["-cert", "alice.pem", "-key", "alice.key"];

#[test]
fn renegotiation_in_tls_1_2_is_refused_and_gives_nothing_new() {
    // The refusal, an alert, goes out with the next thing that the relay has to say: here that the time is over.
    let policy = format!("{CERTIFICATES_ONLY}smtpd_timeout = \"2s\"\n");
    let relay = Relay::start(&policy, free_port());
    let mut openssl = OpenSsl::connect(&relay, &["-tls1_2", "-crlf"]);
    openssl.wait_for("Verify return code");
    assert!(
        openssl.text().contains("Secure Renegotiation IS supported"),
        "{}",
        openssl.text()
    );
    openssl.say("R");
    openssl.wait_for("RENEGOTIATING");
    openssl.wait_for("no renegotiation");
    drop(openssl);
    assert_eq!(relay.log_text().matches("\"tls.started\"").count(), 1, "one handshake");
    assert_serves(&relay);
}

#[test]
fn old_tls_versions_are_refused_before_any_handshake() {
    let relay = relay();
    for version in ["-tls1", "-tls1_1"] {
        // Without its own refusal: OpenSSL speaks these at security level 0 only.
        let openssl = OpenSsl::connect(&relay, &[version, "-cipher", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]);
        let text = openssl.end();
        assert!(text.contains("SSL alert number"), "{version}: {text}");
        assert!(text.contains("Cipher is (NONE)"), "{version}: {text}");
    }
    assert!(!relay.log_text().contains("\"tls.started\""), "{}", relay.log_text());
    assert_serves(&relay);
}

/// Exactly what these ciphers are in TLS, for a ClientHello of our own: no library offers export ciphers any more.
const WEAK_CIPHERS: &[(&str, u16)] = &[
    ("TLS_RSA_WITH_NULL_SHA", 0x0002),
    ("TLS_RSA_EXPORT_WITH_RC4_40_MD5", 0x0003),
    ("TLS_RSA_WITH_RC4_128_SHA", 0x0005),
    ("TLS_RSA_EXPORT_WITH_DES40_CBC_SHA", 0x0008),
    ("TLS_RSA_WITH_3DES_EDE_CBC_SHA", 0x000a),
    ("TLS_DHE_RSA_EXPORT_WITH_DES40_CBC_SHA", 0x0014),
    ("TLS_DH_anon_WITH_AES_128_CBC_SHA", 0x0034),
    ("TLS_RSA_WITH_AES_128_GCM_SHA256", 0x009c),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", 0xc009),
    ("TLS_ECDH_anon_WITH_AES_128_CBC_SHA", 0xc018),
];

/// A ClientHello of TLS 1.2 (RFC 5246 section 7.4.1.2) with one cipher suite, the curves and signatures that we have.
fn client_hello(cipher: u16) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([0x42; 32]);
    body.push(0);
    body.extend([0, 2]);
    body.extend(cipher.to_be_bytes());
    body.extend([1, 0]);
    let extensions: &[&[u8]] = &[
        // supported_groups: secp256r1.
        &[0, 10, 0, 4, 0, 2, 0, 23],
        // ec_point_formats: uncompressed.
        &[0, 11, 0, 2, 1, 0],
        // signature_algorithms: ecdsa_secp256r1_sha256.
        &[0, 13, 0, 4, 0, 2, 4, 3],
        // extended_master_secret.
        &[0, 23, 0, 0],
    ];
    let extensions = extensions.concat();
    body.extend(u16::try_from(extensions.len()).expect("short").to_be_bytes());
    body.extend(extensions);
    let length = u16::try_from(body.len()).expect("short");
    let mut record = vec![22, 3, 1];
    record.extend((length + 4).to_be_bytes());
    record.extend([1, 0]);
    record.extend(length.to_be_bytes());
    record.extend(body);
    record
}

/// What the relay answers to these octets behind STARTTLS.
fn answer_behind_starttls(relay: &Relay, octets: &[u8]) -> Vec<u8> {
    let mut client = Client::connect(relay.address()).expect("a greeting");
    client.say("EHLO laptop.example.org").expect("a reply");
    assert_eq!(client.say("STARTTLS").expect("a reply").code, 220);
    client.write(octets).expect("written");
    client.read_end().expect("a clean end")
}

#[test]
fn weak_ciphers_are_refused_with_handshake_failure() {
    let relay = relay();
    for (name, cipher) in WEAK_CIPHERS {
        let answer = answer_behind_starttls(&relay, &client_hello(*cipher));
        // RFC 5246 section 7.2: an alert record, fatal, handshake_failure (40).
        assert!(
            answer.first() == Some(&21) && answer.ends_with(&[2, 40]),
            "{name}: {answer:?}"
        );
    }
    // The same greeting with a good cipher is answered: what is refused above is the cipher.
    let mut stream = TcpStream::connect(relay.address()).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let mut said = [0; 512];
    let _ = stream.read(&mut said).expect("a greeting");
    stream.write_all(b"EHLO a\r\n").expect("written");
    let _ = stream.read(&mut said).expect("a reply");
    stream.write_all(b"STARTTLS\r\n").expect("written");
    let _ = stream.read(&mut said).expect("a reply");
    stream.write_all(&client_hello(0xc02b)).expect("written");
    let count = stream.read(&mut said).expect("a ServerHello");
    assert_eq!((said[0], said[5]), (22, 2), "{:?}", &said[..count]);
    assert_serves(&relay);
}

/// A message that is cut off within DATA, over TLS, and what the queue holds of it after the session's end.
fn truncate(relay: &Relay, cut: impl FnOnce(&mut Client)) {
    let client = Client::connect(relay.address()).expect("a greeting");
    let mut client = start_tls(client, relay.directory.path());
    for (line, code) in [
        ("EHLO laptop.example.org", 250),
        ("MAIL FROM:<alice@example.org>", 250),
        ("RCPT TO:<bob@example.net>", 250),
        ("DATA", 354),
    ] {
        assert_eq!(client.say(line).expect("a reply").code, code, "{line}");
    }
    client.write(b"Subject: half\r\n\r\nPay 1000\r\n").expect("written");
    cut(&mut client);
    let ended = || relay.log_text().matches("\"session.closed\"").count() >= 1;
    wait_until("the session ends", ended);
    assert!(relay.queued().is_empty(), "a truncated message was queued");
    assert!(!relay.log_text().contains("\"message.queued\""), "{}", relay.log_text());
}

#[test]
fn tls_truncated_within_data_queues_nothing() {
    let relay = relay();
    // The connection ends without close_notify, as an attacker on the path can end it.
    truncate(&relay, |client| {
        client.tcp().shutdown(Shutdown::Write).expect("a socket");
    });
    assert_serves(&relay);
}

#[test]
fn tls_truncated_behind_the_last_line_but_before_the_dot_queues_nothing() {
    let relay = relay();
    truncate(&relay, |client| {
        client.write(b".").expect("written");
        client.tcp().shutdown(Shutdown::Both).expect("a socket");
    });
}

#[test]
fn tls_ended_in_order_within_data_queues_nothing_either() {
    let relay = relay();
    truncate(&relay, |client| client.finish().expect("close_notify"));
}

#[test]
fn tls_ended_within_a_chunk_and_plaintext_behind_it_queue_nothing() {
    let relay = relay();
    let client = Client::connect(relay.address()).expect("a greeting");
    let mut client = start_tls(client, relay.directory.path());
    for line in [
        "EHLO laptop.example.org",
        "MAIL FROM:<alice@example.org>",
        "RCPT TO:<bob@example.net>",
    ] {
        assert_eq!(client.say(line).expect("a reply").code, 250, "{line}");
    }
    client.write(b"BDAT 6 LAST\r\nPay 1").expect("written");
    client.close_tls().expect("close_notify");
    // The octet that would complete the chunk, and a command, in plaintext: neither is the client's any more. The relay may
    // have closed already.
    let _ = client.tcp().write_all(b"\nNOOP plaintext.example\r\n");
    let ended = || relay.log_text().matches("\"session.closed\"").count() >= 1;
    wait_until("the session ends", ended);
    assert!(relay.queued().is_empty(), "a truncated message was queued");
    assert!(!relay.log_text().contains("\"message.queued\""), "{}", relay.log_text());
    assert_serves(&relay);
}

#[test]
fn record_that_does_not_decrypt_ends_the_session_and_queues_nothing() {
    let relay = relay();
    truncate(&relay, |client| {
        // An application data record that nobody has encrypted: it ends the mail data, if it were believed.
        client
            .tcp()
            .write_all(b"\x17\x03\x03\x00\x15\r\n.\r\n0123456789abcdef")
            .expect("written");
    });
}

#[test]
fn plaintext_behind_starttls_is_no_command_and_no_handshake() {
    let relay = relay();
    let garbage: &[&[u8]] = &[
        b"EHLO injected.example\r\nMAIL FROM:<injected@example.org>\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        &[0; 64],
        &[0xff; 64],
        // A handshake record longer than RFC 8446 section 5.1 allows, and one that is all there is of a ClientHello.
        b"\x16\x03\x01\xff\xff\x01",
        b"\x16\x03\x01\x00\x05\x01\xff\xff\xff\xff",
        // SSLv2's ClientHello.
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x01\x00\x80\x02\x00\x80\x03\x00\x80",
    ];
    for octets in garbage {
        let mut client = Client::connect(relay.address()).expect("a greeting");
        client.say("EHLO laptop.example.org").expect("a reply");
        assert_eq!(client.say("STARTTLS").expect("a reply").code, 220);
        client.write(octets).expect("written");
        client.tcp().shutdown(Shutdown::Write).expect("a socket");
        let answer = client.read_end().unwrap_or_default();
        // Nothing, or an alert: never a reply.
        assert!(answer.is_empty() || answer[0] == 21, "{octets:?}: {answer:?}");
    }
    assert!(!relay.log_text().contains("injected"), "{}", relay.log_text());
    assert_serves(&relay);
}

#[test]
fn early_data_is_not_offered_and_not_taken() {
    let relay = relay();
    let mut first = OpenSsl::connect(
        &relay,
        &[&ALICE[..], &["-tls1_3", "-crlf", "-sess_out", "session.pem"]].concat(),
    );
    first.wait_for("Post-Handshake New Session Ticket arrived");
    assert!(first.text().contains("Max Early Data: 0"), "{}", first.text());
    first.say("QUIT");
    let text = first.end();
    assert!(relay.file("session.pem").is_file(), "{text}");
    std::fs::write(relay.file("early"), "MAIL FROM:<early@example.org>\r\n").expect("written");
    let resumed = ["-tls1_3", "-crlf", "-sess_in", "session.pem", "-early_data", "early"];
    let mut second = OpenSsl::connect(&relay, &[&ALICE[..], &resumed].concat());
    second.wait_for("Reused, TLSv1.3");
    second.say("QUIT");
    let text = second.end();
    assert!(!text.contains("Early data was accepted"), "{text}");
    assert!(
        text.contains("Early data was not sent") || text.contains("Early data was rejected"),
        "{text}"
    );
    assert!(!relay.log_text().contains("early@example.org"), "{}", relay.log_text());
}
