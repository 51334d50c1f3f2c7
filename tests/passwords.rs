//! Passwords end to end: the embedded file, `estafette passwd`, limits of guesses, real mail clients from Debian.

mod common;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::client::{Client, Reply};
use common::sink::Sink;
use common::{BINARY, Relay, wait_until};

/// The rights of a submission listener: a certificate, or a password.
const SUBMISSION: &str = "mynetworks = [\"192.0.2.0/24\"]\n\
     smtpd_relay_restrictions = [\"permit_tls_all_clientcerts\", \"permit_sasl_authenticated\", \"reject\"]\n\
     smtpd_sasl_auth_enable = true\n\
     smtpd_sasl_type = \"file\"\n\
     smtpd_sasl_path = \"passwords\"\n\
     smtpd_sasl_authenticated_header = true\n";
const MESSAGE: &str = "From: tim@example.org\r\nSubject: x\r\n\r\nHello";
/// `tim` and `secret`.
const RIGHT: &str = "AUTH PLAIN AHRpbQBzZWNyZXQ=";

fn text(output: &Output) -> String {
    let (out, error) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(error))
}

/// `estafette passwd` with this standard input.
fn passwd(file: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(BINARY)
        .args(["passwd", "--file"])
        .arg(file)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command runs");
    let mut stdin = child.stdin.take().expect("piped");
    // One that reads nothing may be gone already.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

/// A relay where tim's password is "secret".
fn submission(more: &str, sink: &Sink) -> Relay {
    let mut relay = Relay::prepare(&format!("{more}{SUBMISSION}"), sink.port);
    let added = passwd(&relay.file("passwords"), &["tim", "--stdin"], "secret\n");
    assert!(added.status.success(), "{}", text(&added));
    relay.spawn();
    relay
}

fn session(relay: &Relay, certificate: Option<&str>) -> (Client, Reply) {
    let mut client = Client::connect(relay.address()).expect("connects");
    let before = client.say("EHLO laptop.example.org").expect("EHLO");
    assert!(!before.text.contains("AUTH"), "{}", before.text);
    let mut client = client.start_tls(relay.directory.path(), certificate).expect("TLS");
    let hello = client.say("EHLO laptop.example.org").expect("EHLO");
    (client, hello)
}

fn plain(login: &str, password: &str) -> String {
    let message = format!("\0{login}\0{password}");
    format!("AUTH PLAIN {}", estafette::wire::base64::encode(message.as_bytes()))
}

#[test]
fn listener_serves_certificate_holders_without_auth_and_others_with_their_password() {
    let sink = Sink::start();
    let relay = submission("", &sink);
    let (mut alice, hello) = session(&relay, Some("alice"));
    assert!(
        hello.text.contains("250-AUTH PLAIN LOGIN EXTERNAL\r\n"),
        "{}",
        hello.text
    );
    let reply = alice
        .send("alice@example.org", &["bob@example.net"], MESSAGE)
        .expect("sent");
    assert_eq!(reply.code, 250, "{}", reply.text);

    let (mut tim, hello) = session(&relay, None);
    assert!(hello.text.contains("250-AUTH PLAIN LOGIN\r\n"), "{}", hello.text);
    let reply = tim
        .send("tim@example.org", &["bob@example.net"], MESSAGE)
        .expect("answered");
    assert_eq!(reply.code, 554, "{}", reply.text);
    tim.say("RSET").expect("RSET");
    let reply = tim.say(RIGHT).expect("answered");
    assert_eq!(reply.text, "235 2.7.0 Authentication successful\r\n");
    let reply = tim
        .send("tim@example.org", &["bob@example.net"], MESSAGE)
        .expect("sent");
    assert_eq!(reply.code, 250, "{}", reply.text);
    wait_until("delivered", || sink.count() == 2);
    let delivered = |from: &str| {
        let messages = sink.messages();
        let message = messages.iter().find(|message| message.reverse_path == from);
        String::from_utf8(message.expect("delivered").data.clone()).expect("ASCII")
    };
    let tims = delivered("tim@example.org");
    assert!(
        tims.contains("\r\n\t(Authenticated sender: tim)\r\n\tby relay.example.org (Estafette) with ESMTPSA id "),
        "{tims}"
    );
    let alices = delivered("alice@example.org");
    assert!(
        alices.contains("with ESMTPS id ") && !alices.contains("Authenticated"),
        "{alices}"
    );

    // Log, journal and explain name the login; nothing names the password.
    let log = relay.log_text();
    let queued = log
        .lines()
        .find(|line| line.contains("message.queued") && line.contains("\"login\":\"tim\""));
    assert!(queued.is_some(), "{log}");
    assert!(
        log.contains("authentication.succeeded") && !log.contains("secret"),
        "{log}"
    );
    let found = relay.command(&["why"], &["--login", "tim", "--json"]);
    assert!(text(&found).contains("authenticated as tim"), "{}", text(&found));
    assert!(text(&found).contains("\"login\":\"tim\""), "{}", text(&found));
    let client = [
        "--client-address",
        "198.51.100.7",
        "--mail-from",
        "tim@example.org",
        "--rcpt-to",
        "bob@example.net",
    ];
    let explained = relay.command(&["explain"], &[&client[..], &["--login", "tim"]].concat());
    assert!(
        text(&explained).contains("permit: authenticated as tim"),
        "{}",
        text(&explained)
    );
    assert_eq!(explained.status.code(), Some(0));
    let nobody = relay.command(&["explain"], &client);
    assert!(
        text(&nobody).contains("not authenticated with a password"),
        "{}",
        text(&nobody)
    );
    assert_eq!(nobody.status.code(), Some(1));
}

#[test]
fn debian_clients_send_with_their_password_and_not_with_a_wrong_one() {
    let sink = Sink::start();
    let relay = submission("", &sink);
    let port = relay.port.to_string();
    let ca = relay.file("CAcert.pem");
    let ca = ca.to_str().expect("UTF-8");
    let message = relay.file("message.eml");
    fs::write(&message, format!("{MESSAGE}\r\n")).expect("written");
    let message = message.to_str().expect("UTF-8");
    let msmtp = |password: &str| {
        let script = r#"printf '%s' "$3" | msmtp --host=localhost --port="$1" --tls=on --tls-starttls=on --tls-trust-file="$2" \
            --auth="$4" --user=tim --passwordeval="echo $5" --from=tim@example.org bob@example.net"#;
        let mut command = Command::new("sh");
        command.args([
            "-c",
            script,
            "sh",
            &port,
            ca,
            "Subject: x\n\nHello\n",
            "plain",
            password,
        ]);
        command
    };
    let python = |password: &str| {
        let script = "import smtplib, ssl, sys\n\
             port, ca, password = int(sys.argv[1]), sys.argv[2], sys.argv[3]\n\
             with smtplib.SMTP('localhost', port) as smtp:\n    \
                 smtp.starttls(context=ssl.create_default_context(cafile=ca))\n    \
                 smtp.login('tim', password)\n    \
                 smtp.sendmail('tim@example.org', ['bob@example.net'], 'Subject: x\\n\\nHello')\n";
        let mut command = Command::new("python3");
        command.args(["-c", script, &port, ca, password]);
        command
    };
    let swaks = |mechanism: &str, password: &str| {
        let mut command = Command::new("swaks");
        command.args([
            "--server",
            &format!("127.0.0.1:{port}"),
            "--tls",
            "--helo",
            "laptop.example.org",
        ]);
        command.args(["--from", "tim@example.org", "--to", "bob@example.net"]);
        command.args(["--auth", mechanism, "--auth-user", "tim", "--auth-password", password]);
        command
    };
    let curl = |mechanism: &str, password: &str| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--ipv4", "--ssl-reqd", "--cacert", ca]);
        command.args(["--url", &format!("smtp://localhost:{port}"), "--upload-file", message]);
        command.args(["--mail-from", "tim@example.org", "--mail-rcpt", "bob@example.net"]);
        command.args([
            "--user",
            &format!("tim:{password}"),
            "--login-options",
            &format!("AUTH={mechanism}"),
        ]);
        command
    };
    let mut right = [
        swaks("PLAIN", "secret"),
        swaks("LOGIN", "secret"),
        curl("PLAIN", "secret"),
        curl("LOGIN", "secret"),
        msmtp("secret"),
        python("secret"),
    ];
    for (number, command) in right.iter_mut().enumerate() {
        let output = command.output().expect("run tests/run");
        assert!(output.status.success(), "{command:?}: {}", text(&output));
        wait_until("delivered", || sink.count() == number + 1);
    }
    for command in &mut [swaks("LOGIN", "wrong"), curl("PLAIN", "wrong"), python("wrong")] {
        let output = command.output().expect("run tests/run");
        assert!(!output.status.success(), "{command:?}: {}", text(&output));
    }
    assert_eq!(sink.count(), 6);
}

#[test]
fn guesses_are_slowed_refused_and_recorded_and_the_holder_still_gets_in() {
    let sink = Sink::start();
    let relay = submission(
        "smtpd_sasl_failure_limit_login = 2\nsmtpd_sasl_failure_limit_address = 4\n",
        &sink,
    );
    // The address is known for tim from now on.
    let (mut holder, _) = session(&relay, None);
    assert_eq!(holder.say(RIGHT).expect("answered").code, 235);

    let (mut guesser, _) = session(&relay, None);
    let began = std::time::Instant::now();
    for n in 1..=2 {
        let reply = guesser.say(&plain("bob", &format!("guess{n}"))).expect("answered");
        assert!(
            reply
                .text
                .starts_with("535 5.7.8 Error: authentication failed: login or password is wrong [ref "),
            "{}",
            reply.text
        );
    }
    assert!(began.elapsed() >= std::time::Duration::from_millis(500), "slowed");
    let reply = guesser.say(&plain("bob", "guess3")).expect("answered");
    assert!(
        reply
            .text
            .starts_with("454 4.7.0 Temporary authentication failure: too many failures, try again later [ref "),
        "{}",
        reply.text
    );
    for n in 1..=2 {
        let reply = guesser.say(&plain("carol", &format!("guess{n}"))).expect("answered");
        assert_eq!(reply.code, 535, "{}", reply.text);
    }
    let reply = guesser.say(&plain("dave", "guess")).expect("answered");
    assert!(
        reply
            .text
            .starts_with("421 4.7.0 relay.example.org Error: too many failed logins from your address [ref "),
        "{}",
        reply.text
    );
    assert!(guesser.is_closed());
    // Behind the same address, tim is not kept out by what others do.
    let (mut holder, _) = session(&relay, None);
    assert_eq!(holder.say(RIGHT).expect("answered").code, 235);

    let found = relay.command(&["why"], &["--verdict", "reject", "--json"]);
    assert!(
        text(&found).contains("\"decided_by\":\"AUTH PLAIN\""),
        "{}",
        text(&found)
    );
    let found = relay.command(&["why"], &["--verdict", "defer", "--json"]);
    assert!(
        text(&found).contains("\"decided_by\":\"smtpd_sasl_failure_limit_login\""),
        "{}",
        text(&found)
    );
    assert!(!relay.log_text().contains("guess1"), "no password is logged");
}

#[test]
fn changed_file_counts_from_the_reload_on_and_a_wrong_one_changes_nothing() {
    let sink = Sink::start();
    let relay = submission("", &sink);
    let file = relay.file("passwords");
    assert!(passwd(&file, &["ann", "--stdin"], "other").status.success());
    let ann = plain("ann", "other");
    let say = |line: &str| session(&relay, None).0.say(line).expect("answered").code;
    assert_eq!(say(&ann), 535);
    assert!(relay.command(&["reload"], &[]).status.success());
    assert_eq!(say(&ann), 235);
    let good = fs::read(&file).expect("readable");
    fs::write(&file, [&good[..], b"ann:x\n"].concat()).expect("written");
    let refused = relay.command(&["reload"], &[]);
    assert!(
        text(&refused).contains("passwords:4: expected login:$argon2id$"),
        "{}",
        text(&refused)
    );
    assert_eq!(say(&ann), 235);
    let checked = relay.command(&["check"], &[]);
    assert!(
        text(&checked).contains("passwords:4: expected login:$argon2id$"),
        "{}",
        text(&checked)
    );
}

#[test]
fn passwd_keeps_comments_order_mode_and_refuses_what_is_no_login_or_password() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("passwords");
    let read = || fs::read_to_string(&file).expect("readable");
    let mode = || fs::metadata(&file).expect("there").permissions().mode() & 0o7777;
    assert!(passwd(&file, &["tim", "--stdin"], "secret\n").status.success());
    assert_eq!(mode(), 0o600);
    fs::write(&file, format!("# staff\n{}\n# guests\n", read().trim_end())).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("chmod");
    assert!(passwd(&file, &["zoé@example.org", "--stdin"], "x\r\n").status.success());
    let before = read();
    let replaced = passwd(&file, &["tim", "--stdin"], "new");
    assert!(text(&replaced).starts_with("replaced tim in "), "{}", text(&replaced));
    assert_eq!(mode(), 0o640);
    let names = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| line.split(':').next().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(names(&read()), names(&before));
    assert_eq!(read().lines().next(), Some("# staff"));
    let verify = |login: &str, password: &str| passwd(&file, &["--verify", login, "--stdin"], password).status.code();
    assert_eq!((verify("tim", "new"), verify("tim", "secret")), (Some(0), Some(1)));
    assert_eq!(
        (verify("zoé@example.org", "x"), verify("nobody", "x")),
        (Some(0), Some(1))
    );
    assert_eq!(text(&passwd(&file, &["--list"], "")), "tim\nzoé@example.org\n");
    for (arguments, input) in [
        (["a:b", "--stdin"], "x"),
        (["", "--stdin"], "x"),
        (["a\tb", "--stdin"], "x"),
        ([" a", "--stdin"], "x"),
        (["#a", "--stdin"], "x"),
        (["a", "--stdin"], ""),
        (["a", "--stdin"], "x\ny\n"),
        (["a", "--stdin"], "x\0y"),
    ] {
        let before = read();
        let refused = passwd(&file, &arguments, input);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {}", text(&refused));
        assert_eq!(read(), before);
    }
    let gone = passwd(&file, &["--delete", "tim"], "");
    assert!(gone.status.success() && !read().contains("tim:"), "{}", text(&gone));
    assert_eq!(passwd(&file, &["--delete", "tim"], "").status.code(), Some(1));
    assert!(
        fs::read_dir(directory.path()).expect("listed").count() == 1,
        "nothing is left beside it"
    );
    fs::write(&file, "tim:plaintext\n").expect("written");
    let refused = passwd(&file, &["ann", "--stdin"], "x");
    assert!(
        text(&refused).contains("line 1: expected login:$argon2id$"),
        "{}",
        text(&refused)
    );
    assert_eq!(read(), "tim:plaintext\n");
}

#[test]
fn passwd_asks_twice_on_a_terminal_that_does_not_show_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("passwords");
    let script = r"
import os, pty, sys, time
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], [sys.argv[1], 'passwd', '--file', sys.argv[2], 'tim'])
heard = b''
for answer in sys.argv[3:]:
    while not heard.endswith(b': '):
        heard += os.read(terminal, 1024)
    os.write(terminal, answer.encode() + b'\n')
    heard += os.read(terminal, 1024)
try:
    while True:
        more = os.read(terminal, 1024)
        if not more:
            break
        heard += more
except OSError:
    pass
sys.stdout.buffer.write(heard)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";
    let ask = |answers: &[&str]| {
        let mut command = Command::new("python3");
        command.args(["-c", script, BINARY]).arg(&file).args(answers);
        command.output().expect("python3")
    };
    let differ = ask(&["one", "two"]);
    assert!(
        text(&differ).contains("the two differ, nothing was changed"),
        "{}",
        text(&differ)
    );
    assert!(!differ.status.success() && !file.exists());
    let same = ask(&["hidden", "hidden"]);
    assert!(same.status.success(), "{}", text(&same));
    assert!(!text(&same).contains("hidden"), "{}", text(&same));
    let right = passwd(&file, &["--verify", "tim", "--stdin"], "hidden");
    assert_eq!(right.status.code(), Some(0));
}
