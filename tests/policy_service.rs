//! The client of policy services against Debian's postgrey, policyd-spf, and services that misbehave.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use estafette::io::policy_service::{PolicyClient, PolicyConnections};
use estafette::policy::question::{Endpoint, PolicyService};

/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

fn service(endpoint: Endpoint, timeout: Duration) -> PolicyService {
    PolicyService {
        endpoint,
        timeout,
        default_action: "451 4.3.5 Server configuration problem".into(),
        context: String::new(),
    }
}

fn client() -> PolicyClient {
    PolicyClient::new(PolicyConnections {
        retry_delay: Duration::from_millis(10),
        ..PolicyConnections::default()
    })
}

fn attributes() -> Vec<(&'static str, String)> {
    [
        ("request", "smtpd_access_policy"),
        ("protocol_state", "RCPT"),
        ("protocol_name", "ESMTP"),
        ("helo_name", "client.example"),
        ("queue_id", ""),
        ("sender", "a@example.org"),
        ("recipient", "b@example.net"),
        ("recipient_count", "0"),
        ("client_address", "192.0.2.10"),
        ("client_name", "client.example"),
        ("reverse_client_name", "client.example"),
        ("instance", "s1.1"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .to_vec()
}

/// A service on a port of its own that does this with each connection; with how many came.
fn fake(behave: impl Fn(TcpStream) + Send + Sync + 'static) -> (Endpoint, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = listener.local_addr().expect("bound").port();
    let count = Arc::new(AtomicUsize::new(0));
    let (counted, behave) = (Arc::clone(&count), Arc::new(behave));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::SeqCst);
            let behave = Arc::clone(&behave);
            std::thread::spawn(move || behave(stream));
        }
    });
    (Endpoint::Inet("127.0.0.1".into(), port), count)
}

/// Reads one request; false at the end of the stream.
fn read_request(stream: &mut TcpStream) -> bool {
    let mut request = Vec::new();
    let mut octet = [0];
    while !request.ends_with(b"\n\n") {
        match stream.read(&mut octet) {
            Ok(1) => request.push(octet[0]),
            _ => return false,
        }
    }
    true
}

fn answering(requests_max: usize) -> impl Fn(TcpStream) + Send + Sync {
    move |mut stream| {
        let mut left = requests_max;
        while left > 0 && read_request(&mut stream) {
            let _ = stream.write_all(b"action=dunno\n\n");
            left -= 1;
        }
    }
}

#[tokio::test]
async fn connection_is_kept_and_a_dead_one_replaced() {
    let (client, asked) = (client(), attributes());
    let (endpoint, count) = fake(answering(usize::MAX));
    let kept = service(endpoint, PATIENCE);
    for _ in 0..5 {
        assert_eq!(client.ask(&kept, &asked).await, Ok("dunno".into()));
    }
    assert_eq!(count.load(Ordering::SeqCst), 1);

    let (endpoint, count) = fake(answering(1));
    let closing = service(endpoint, PATIENCE);
    for _ in 0..3 {
        assert_eq!(client.ask(&closing, &asked).await, Ok("dunno".into()));
    }
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn request_limit_and_idle_time_end_a_connection() {
    let (endpoint, count) = fake(answering(usize::MAX));
    let service = service(endpoint, PATIENCE);
    for (settings, connections) in [
        (
            PolicyConnections {
                requests_max: 2,
                ..PolicyConnections::default()
            },
            2,
        ),
        (
            PolicyConnections {
                idle_max: Duration::ZERO,
                ..PolicyConnections::default()
            },
            4,
        ),
        (
            PolicyConnections {
                age_max: Duration::ZERO,
                ..PolicyConnections::default()
            },
            4,
        ),
    ] {
        let client = PolicyClient::new(settings);
        let before = count.load(Ordering::SeqCst);
        for _ in 0..4 {
            assert_eq!(client.ask(&service, &attributes()).await, Ok("dunno".into()));
        }
        assert_eq!(count.load(Ordering::SeqCst) - before, connections);
    }
}

#[tokio::test]
async fn service_that_misbehaves_is_a_failure_in_words_and_in_time() {
    let silence = |mut stream: TcpStream| while read_request(&mut stream) {};
    let garbage = |mut stream: TcpStream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"220 wrong port\r\n\n\n");
    };
    let huge = |mut stream: TcpStream| {
        read_request(&mut stream);
        while stream.write_all(&[b'x'; 1000]).is_ok() {}
    };
    let midway = |mut stream: TcpStream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"action=o");
    };
    let drip = |mut stream: TcpStream| {
        read_request(&mut stream);
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let (client, asked) = (client(), attributes());
    for ((endpoint, count), why) in [
        (fake(silence), "no reply within"),
        (fake(garbage), "malformed"),
        (fake(huge), "more than"),
        (fake(midway), "closed within the reply"),
        (fake(drip), "no reply within"),
    ] {
        let begun = Instant::now();
        let outcome = client.ask(&service(endpoint, Duration::from_secs(1)), &asked).await;
        let error = outcome.expect_err("no action");
        assert!(error.contains(why), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{why}: {:?}", begun.elapsed());
        assert_eq!(count.load(Ordering::SeqCst), 2, "{why}: tried twice");
    }
    for endpoint in [
        Endpoint::Inet("127.0.0.1".into(), 9),
        Endpoint::Unix("/nonexistent/policy".into()),
    ] {
        let error = client
            .ask(&service(endpoint, PATIENCE), &asked)
            .await
            .expect_err("nobody");
        assert!(error.contains("cannot connect"), "{error}");
    }
}

/// Killed when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn postgrey_defers_the_first_time_and_not_after_its_delay() {
    let directory = tempfile::tempdir().expect("a directory");
    let port = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = port.local_addr().expect("bound");
    drop(port);
    let user = Command::new("id").arg("-un").output().expect("id");
    let user = String::from_utf8_lossy(&user.stdout).trim().to_owned();
    let group = Command::new("id").arg("-gn").output().expect("id");
    let group = String::from_utf8_lossy(&group.stdout).trim().to_owned();
    let postgrey = Command::new("/usr/sbin/postgrey")
        .arg(format!("--inet={}", address.port()))
        .args(["--delay=1", "--greylist-text=Greylisted by postgrey"])
        .arg(format!("--dbdir={}", directory.path().display()))
        .args([format!("--user={user}"), format!("--group={group}")])
        .arg(format!("--pidfile={}", directory.path().join("pid").display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("postgrey: run tests/run");
    let _postgrey = Running(postgrey);
    wait_for(address);
    let service = service(Endpoint::Inet("127.0.0.1".into(), address.port()), PATIENCE);
    let (client, asked) = (client(), attributes());
    let first = client.ask(&service, &asked).await.expect("an action");
    assert!(
        first.to_ascii_uppercase().starts_with("DEFER_IF_PERMIT") && first.contains("Greylisted"),
        "{first}"
    );
    let deadline = Instant::now() + PATIENCE;
    loop {
        let action = client.ask(&service, &asked).await.expect("an action");
        if !action.contains("Greylisted") {
            let word = action.to_ascii_uppercase();
            assert!(word.starts_with("DUNNO") || word.starts_with("PREPEND"), "{action}");
            break;
        }
        assert!(Instant::now() < deadline, "greylisted for ever: {action}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

fn wait_for(address: SocketAddr) {
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "nobody listens on {address}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What Postfix's spawn(8) does: a process for each connection, with the socket as its standard input and output.
fn spawn_behind(socket: &Path, program: &'static str) {
    let listener = UnixListener::bind(socket).expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let output = stream.try_clone().expect("a socket");
            let child = Command::new(program)
                .stdin(Stdio::from(std::os::fd::OwnedFd::from(stream)))
                .stdout(Stdio::from(std::os::fd::OwnedFd::from(output)))
                .stderr(Stdio::null())
                .spawn();
            let mut child = child.expect("policyd-spf: run tests/run");
            std::thread::spawn(move || child.wait());
        }
    });
}

#[tokio::test]
async fn policyd_spf_behind_a_unix_socket_names_an_action() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("policy");
    spawn_behind(&socket, "/usr/bin/policyd-spf");
    let service = service(Endpoint::Unix(socket), PATIENCE);
    let (client, mut asked) = (client(), attributes());
    // It leaves loopback out without asking the DNS.
    for (name, value) in &mut asked {
        if *name == "client_address" {
            *value = "127.0.0.1".into();
        }
    }
    for _ in 0..2 {
        let action = client.ask(&service, &asked).await.expect("an action");
        let word = action.to_ascii_lowercase();
        assert!(word.starts_with("dunno") || word.starts_with("prepend"), "{action}");
    }
}
