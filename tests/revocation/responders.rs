//! OCSP as the judge goes by it: `smtpd_tls_ocsp = prefer` and `require`, against the responder of OpenSSL.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use estafette::cert::identity::{Identity, Why};
use estafette::io::tls::server::ServerTls;
use estafette::io::tls::settings::OcspMode;
use rcgen::CustomExtension;

use super::common::{PATIENCE, free_port};
use super::pki::{Authority, Holder, World, element, now};

const GOOD: u64 = 0x51;
const REVOKED: u64 = 0x52;

/// id-pe-authorityInfoAccess.
const AUTHORITY_INFO_ACCESS: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 1, 1];
/// id-ad-ocsp, DER.
const OCSP: &[u8] = &[0x06, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 1];

/// An `openssl ocsp` that knows one certificate as good and one as revoked; stopped when dropped.
struct Responder(Child);

impl Responder {
    fn start(world: &World, port: u16) -> Self {
        let index = format!(
            "V\t460101000000Z\t\t{GOOD:02X}\tunknown\t/CN=a\nR\t460101000000Z\t260101000000Z\t{REVOKED:02X}\tunknown\t/CN=b\n"
        );
        world.write("index.txt", index);
        world.write("root.pem", &world.root.pem);
        world.write("root.key", world.root.key_pem());
        let mut child = Command::new("openssl")
            .current_dir(world.path(""))
            .args(["ocsp", "-index", "index.txt", "-CA", "root.pem", "-rsigner", "root.pem"])
            .args(["-rkey", "root.key", "-nmin", "5", "-port", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("openssl runs");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let first = lines.next().expect("a line").expect("text");
        assert!(first.contains("waiting for OCSP client"), "{first}");
        // Somebody must go on reading.
        std::thread::spawn(move || lines.count());
        Self(child)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A holder whose certificate names a responder on this port.
fn holder(authority: &Authority, serial: u64, port: u16) -> Holder {
    authority.holder_with("Alice", serial, |params| {
        let url = element(0x86, format!("http://127.0.0.1:{port}").as_bytes());
        let access = element(0x30, &element(0x30, &[OCSP, &url].concat()));
        let extension = CustomExtension::from_oid_content(AUTHORITY_INFO_ACCESS, access);
        params.custom_extensions.push(extension);
    })
}

fn server(world: &World, ocsp: OcspMode) -> ServerTls {
    let own = world.root.holder("relay", 3);
    world.write("server.crt", own.pem);
    world.write("server.key", own.key);
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(world.path("server.key"), private).expect("chmod");
    let mut files = world.files(&[]);
    files.certificate = world.path("server.crt");
    files.key = world.path("server.key");
    files.revocation.ocsp = ocsp;
    files.revocation.ocsp_timeout = Duration::from_secs(5);
    ServerTls::load(&files, now()).expect("sound files")
}

fn why(server: &ServerTls, holder: &Holder) -> Option<Why> {
    match server.examine(Some(std::slice::from_ref(&holder.der)), now()).0 {
        Identity::Verified { .. } => None,
        Identity::Unverified { why, .. } => Some(why),
        other => panic!("{other:?}"),
    }
}

/// Why a holder is refused once its responder has been asked.
async fn asked(server: &ServerTls, holder: &Holder) -> Option<Why> {
    server
        .ask_responders(Some(std::slice::from_ref(&holder.der)), PATIENCE)
        .await;
    why(server, holder)
}

#[tokio::test(flavor = "multi_thread")]
async fn required_responder_vouches_or_nobody_is_verified() {
    let world = World::new();
    let port = free_port();
    let responder = Responder::start(&world, port);
    let server = server(&world, OcspMode::Require);
    let (alice, bob) = (holder(&world.root, GOOD, port), holder(&world.root, REVOKED, port));
    assert_eq!(why(&server, &alice), Some(Why::OcspUnknown));
    let before = server.generation();
    assert_eq!(asked(&server, &alice).await, None);
    assert_ne!(server.generation(), before, "a session judged before is judged anew");
    assert_eq!(asked(&server, &bob).await, Some(Why::Revoked));
    assert_eq!(
        asked(&server, &world.root.holder("Carol", 9)).await,
        Some(Why::OcspUnknown)
    );
    let (_, until) = server.examine(Some(std::slice::from_ref(&alice.der)), now());
    assert!(until < now() + 400, "{until}");
    drop(responder);
    assert_eq!(asked(&server, &alice).await, None, "the answer is kept");
    assert_eq!(
        asked(&server, &holder(&world.root, 77, port)).await,
        Some(Why::OcspUnknown)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn preferred_responder_is_not_waited_for_and_its_word_counts_afterwards() {
    let world = World::new();
    let port = free_port();
    let _responder = Responder::start(&world, port);
    let server = server(&world, OcspMode::Prefer);
    let bob = holder(&world.root, REVOKED, port);
    assert_eq!(asked(&server, &world.root.holder("Carol", 9)).await, None);
    let before = server.generation();
    server
        .ask_responders(Some(std::slice::from_ref(&bob.der)), PATIENCE)
        .await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while server.generation() == before {
        assert!(tokio::time::Instant::now() < deadline, "no answer");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(why(&server, &bob), Some(Why::Revoked));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_about_a_chain_that_does_not_verify() {
    let world = World::new();
    let stranger = Authority::root("Stranger");
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = listener.local_addr().expect("bound").port();
    let server = server(&world, OcspMode::Require);
    let mallory = holder(&stranger, GOOD, port);
    assert_eq!(asked(&server, &mallory).await, Some(Why::UnknownIssuer));
    listener.set_nonblocking(true).expect("non-blocking");
    assert!(listener.accept().is_err(), "nobody has called");
}

#[tokio::test(flavor = "multi_thread")]
async fn required_responder_that_says_nothing_is_waited_for_within_the_time_of_the_session() {
    let world = World::new();
    let mute = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = mute.local_addr().expect("bound").port();
    let server = server(&world, OcspMode::Require);
    let alice = holder(&world.root, GOOD, port);
    let begun = std::time::Instant::now();
    server
        .ask_responders(Some(std::slice::from_ref(&alice.der)), Duration::from_millis(200))
        .await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(why(&server, &alice), Some(Why::OcspUnknown));
}
