//! Real handshakes over loopback: our server with our client and with `openssl s_client`.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use estafette::cert::identity::{Identity, Why};
use estafette::io::tls::client::{ClientTls, ServerCheck};
use estafette::io::tls::error::TlsFileError;
use estafette::io::tls::server::ServerTls;
use estafette::mail::trace_header::TlsDescription;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::pki::{Pki, now, set_mode};

/// What our server saw of one connection.
struct Seen {
    identity: Identity,
    /// The same connection judged forty years on.
    much_later: Identity,
    description: TlsDescription,
}

impl Seen {
    fn why(&self) -> Option<Why> {
        match self.identity {
            Identity::Unverified { why, .. } => Some(why),
            _ => None,
        }
    }
}

/// A listener and the task that serves its next connection: greets and closes.
struct Server {
    tls: Arc<ServerTls>,
    listener: TcpListener,
}

impl Server {
    async fn start(files: &estafette::io::tls::settings::ServerTlsFiles) -> Self {
        let tls = ServerTls::load(files, now()).unwrap_or_else(|e| panic!("{e:?}"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        Self {
            tls: Arc::new(tls),
            listener,
        }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().expect("an address").port()
    }

    async fn serve_one(&self) -> std::io::Result<Seen> {
        let (stream, _) = self.listener.accept().await?;
        let turn = std::future::ready(());
        let handshake = self.tls.handshake(stream, turn).await;
        let mut stream = handshake.map_err(|(error, _)| error)?;
        let connection = stream.get_ref().1;
        let seen = Seen {
            identity: self.tls.judge(connection, now()),
            much_later: self.tls.judge(connection, now() + 40 * 366 * 86_400),
            description: self.tls.describe(connection),
        };
        stream.write_all(b"220 hello\r\n").await?;
        stream.flush().await?;
        stream.shutdown().await?;
        Ok(seen)
    }

    /// One connection of our own client, which reads the greeting.
    async fn meet(&self, client: &ClientTls, check: &ServerCheck) -> (std::io::Result<Seen>, std::io::Result<String>) {
        let client = async {
            let stream = TcpStream::connect(("127.0.0.1", self.port())).await?;
            let mut stream = client.connect(stream, "relay.example.org", check).await?;
            let mut greeting = String::new();
            stream.read_to_string(&mut greeting).await?;
            Ok(greeting)
        };
        tokio::join!(self.serve_one(), client)
    }

    /// One connection of `openssl s_client`, and what it printed.
    async fn meet_openssl(&self, arguments: &[&str]) -> (Seen, String) {
        let mut client = tokio::process::Command::new("openssl")
            .args(["s_client", "-connect", &format!("127.0.0.1:{}", self.port())])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the openssl program");
        // Held open: s_client leaves when its standard input ends, perhaps before the tickets came.
        let input = client.stdin.take();
        let (seen, output) = tokio::join!(self.serve_one(), client.wait_with_output());
        drop(input);
        let output = output.expect("its output");
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (seen.unwrap_or_else(|e| panic!("{e}: {text}")), text)
    }
}

fn client(pki: &Pki, certificate: Option<&str>) -> ClientTls {
    ClientTls::load(&pki.client_files(certificate), now()).unwrap_or_else(|e| panic!("{e:?}"))
}

fn names(names: &[&str]) -> ServerCheck {
    ServerCheck::Names(names.iter().map(|name| (*name).to_owned()).collect())
}

/// `-cert` and `-key` for `openssl s_client`.
fn shown(pki: &Pki, name: &str, key: &str) -> [String; 4] {
    let text = |path: PathBuf| path.to_str().expect("UTF-8").to_owned();
    let certificate = text(pki.path(&format!("{name}.pem")));
    let key = text(pki.path(&format!("{key}.key")));
    ["-cert".into(), certificate, "-key".into(), key]
}

#[tokio::test]
async fn client_with_a_trusted_certificate_is_verified_and_described() {
    let pki = Pki::example();
    let server = Server::start(&pki.server_files()).await;
    let (seen, greeting) = server
        .meet(&client(&pki, Some("alice")), &names(&["relay.example.org"]))
        .await;
    assert_eq!(greeting.expect("a greeting"), "220 hello\r\n");
    let seen = seen.expect("a handshake");
    let subject = seen.identity.verified().expect("verified").subject.one_line();
    assert_eq!(subject, "/C=FR/O=CNRS/OU=UMR5168/CN=Alice Martin");
    let description = TlsDescription {
        protocol: "TLSv1.3".into(),
        cipher: "TLS_AES_256_GCM_SHA384".into(),
        cipher_bits: 256,
        key_exchange: Some("X25519MLKEM768".into()),
        server_signature: Some("ECDSA (prime256v1)".into()),
        server_digest: Some("SHA256".into()),
        client_signature: Some("ECDSA (prime256v1)".into()),
        client_digest: Some("SHA256".into()),
        server_name: Some("relay.example.org".into()),
        resumed: false,
    };
    assert_eq!(seen.description, description);
}

#[tokio::test]
async fn client_without_a_certificate_has_none_whether_asked_or_not() {
    let pki = Pki::example();
    let mut files = pki.server_files();
    let server = Server::start(&files).await;
    let (seen, _) = server.meet(&client(&pki, None), &ServerCheck::Any).await;
    let seen = seen.expect("a handshake");
    assert_eq!(
        (&seen.identity, seen.description.client_signature),
        (&Identity::NoCertificate, None)
    );
    files.ask_client_certificate = false;
    let server = Server::start(&files).await;
    let (seen, _) = server.meet(&client(&pki, Some("alice")), &ServerCheck::Any).await;
    assert_eq!(seen.expect("a handshake").identity, Identity::NoCertificate);
}

#[tokio::test]
async fn rogue_and_expired_certificates_complete_the_handshake_unverified() {
    let pki = Pki::example();
    let server = Server::start(&pki.server_files()).await;
    for (name, expected) in [("rogue", Why::UnknownIssuer), ("expired", Why::Expired)] {
        for version in ["-tls1_3", "-tls1_2"] {
            let shown = shown(&pki, name, name);
            let arguments: Vec<&str> = shown.iter().map(String::as_str).chain([version]).collect();
            let (seen, text) = server.meet_openssl(&arguments).await;
            assert_eq!(seen.why(), Some(expected), "{name} {version}");
            assert!(text.contains("220 hello"), "{text}");
        }
    }
}

#[tokio::test]
async fn odd_certificates_prove_their_key_in_both_versions() {
    let pki = Pki::odd();
    let example = Pki::example();
    let mut files = example.server_files();
    files.ca_file = Some(pki.path("ca.pem"));
    let server = Server::start(&files).await;
    let cases = [
        ("ok", "person", None, "ECDSA (prime256v1)"),
        ("rsa", "rsa", None, "RSA"),
        ("version-one", "person", Some(Why::OldVersion), "ECDSA (prime256v1)"),
        ("sha1", "person", Some(Why::WeakAlgorithm), "ECDSA (prime256v1)"),
    ];
    for (name, key, expected, signature) in cases {
        for (version, protocol) in [("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2")] {
            let shown = shown(&pki, name, key);
            // OpenSSL itself would not show a SHA-1 certificate at its default level.
            let lenient = ["-cipher", "DEFAULT@SECLEVEL=0", version];
            let arguments: Vec<&str> = shown.iter().map(String::as_str).chain(lenient).collect();
            let (seen, text) = server.meet_openssl(&arguments).await;
            assert_eq!(seen.why(), expected, "{name} {version}: {text}");
            assert_eq!(seen.description.protocol, protocol);
            let described = seen.description.client_signature.expect("a signature");
            assert!(described.starts_with(signature), "{name}: {described}");
        }
    }
}

#[tokio::test]
async fn certificate_without_its_key_breaks_the_handshake() {
    let pki = Pki::example();
    // alice's certificate with rogue's key: only rustls' own resolver would send this pair, so it is put together here.
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = estafette::io::tls::pem::private_key(&pki.path("rogue.key")).expect("a key");
    let key = provider.key_provider.load_private_key(key).expect("a usable key");
    let stolen = rustls::sign::CertifiedKey::new(pki.chain("alice"), key);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(pki.chain("CAcert").remove(0)).expect("the root");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider.clone()))
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_root_certificates(roots.clone())
            .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(stolen.clone())));
        let server = Server::start(&pki.server_files()).await;
        let thief = async {
            let stream = TcpStream::connect(("127.0.0.1", server.port())).await?;
            let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
            let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config))
                .connect(name, stream)
                .await?;
            stream.read_u8().await
        };
        let (seen, thief) = tokio::join!(server.serve_one(), thief);
        assert!(seen.is_err() && thief.is_err(), "{version:?}");
    }
}

#[tokio::test]
async fn resumed_session_is_judged_again() {
    let pki = Pki::example();
    let server = Server::start(&pki.server_files()).await;
    let session = pki.path("session");
    let session = session.to_str().expect("UTF-8");
    for version in ["-tls1_3", "-tls1_2"] {
        let shown = shown(&pki, "alice", "alice");
        let with = |option| {
            shown
                .iter()
                .map(String::as_str)
                .chain([version, option, session])
                .collect::<Vec<_>>()
        };
        let (first, _) = server.meet_openssl(&with("-sess_out")).await;
        assert!(!first.description.resumed && first.identity.verified().is_some());
        let (second, text) = server.meet_openssl(&with("-sess_in")).await;
        assert!(second.description.resumed, "{version}: {text}");
        assert_eq!(second.identity, first.identity);
        assert_eq!(second.description.server_signature, None);
        let expired = matches!(second.much_later, Identity::Unverified { why: Why::Expired, .. });
        assert!(expired, "{:?}", second.much_later);
    }
}

#[tokio::test]
async fn client_resumes_a_session_under_its_own_check_only() {
    let pki = Pki::example();
    let server = Server::start(&pki.server_files()).await;
    let client = client(&pki, Some("relay-client"));
    let localhost = names(&["localhost"]);
    for (check, expected) in [
        (ServerCheck::Any, false),
        (localhost.clone(), false),
        (ServerCheck::Any, true),
        (localhost, true),
        (names(&["localhost", "other.example"]), false),
    ] {
        let seen = server.meet(&client, &check).await.0.expect("a handshake");
        assert_eq!(seen.description.resumed, expected, "{check:?}");
        assert!(seen.identity.verified().is_some());
    }
    let (_, refused) = server.meet(&client, &names(&["another.example"])).await;
    assert!(refused.is_err_and(|why| why.to_string().contains("name mismatch")));
}

#[tokio::test]
async fn authorities_of_the_bundle_are_named_to_the_client() {
    let pki = Pki::example();
    let server = Server::start(&pki.server_files()).await;
    let (_, text) = server
        .meet_openssl(&["-tls1_2", "-servername", "relay.example.org"])
        .await;
    for name in ["CN = CNRS2", "CN = CNRS-Standard", "CN = CNRS-Plus"] {
        let hints = text
            .split("Acceptable client certificate CA names")
            .nth(1)
            .unwrap_or_default();
        assert!(hints.contains(name), "{name}: {text}");
    }
}

#[tokio::test]
async fn older_version_is_refused_where_it_is_not_allowed() {
    let pki = Pki::example();
    let mut files = pki.server_files();
    files.tls12 = false;
    let server = Server::start(&files).await;
    let mut client_files = pki.client_files(None);
    let modern = ClientTls::load(&client_files, now()).unwrap_or_else(|e| panic!("{e:?}"));
    assert!(server.meet(&modern, &ServerCheck::Any).await.0.is_ok());
    let mut old = pki.server_files();
    old.tls12 = true;
    client_files.tls12 = false;
    let only13 = ClientTls::load(&client_files, now()).unwrap_or_else(|e| panic!("{e:?}"));
    let seen = Server::start(&old)
        .await
        .meet(&only13, &ServerCheck::Any)
        .await
        .0
        .expect("a handshake");
    assert_eq!(seen.description.protocol, "TLSv1.3");
    let refused = tokio::process::Command::new("openssl")
        .args([
            "s_client",
            "-tls1_2",
            "-connect",
            &format!("127.0.0.1:{}", server.port()),
        ])
        .stdin(Stdio::null())
        .output();
    let (seen, refused) = tokio::join!(server.serve_one(), refused);
    assert!(seen.is_err() && !refused.expect("the openssl program").status.success());
}

#[tokio::test]
async fn server_that_does_not_verify_is_refused_in_words() {
    let pki = Pki::example();
    let server = Server::start(&pki.server_files()).await;
    let ours = client(&pki, None);
    let mut stranger = pki.client_files(None);
    stranger.ca_file = Some(pki.path("Rogue.crt"));
    let stranger = ClientTls::load(&stranger, now()).unwrap_or_else(|e| panic!("{e:?}"));
    let cases = [
        (&ours, names(&["relay.example.org."]), None),
        (&ours, names(&["wrong.example.org", "Relay.Example.Org"]), None),
        (&ours, names(&[".example.org"]), None),
        (&ours, names(&["127.0.0.1"]), None),
        (&stranger, ServerCheck::Any, None),
        (
            &ours,
            names(&["mx.example.net"]),
            Some("server certificate not verified: name mismatch: wanted mx.example.net"),
        ),
        (
            &ours,
            names(&[".relay.example.org"]),
            Some("server certificate not verified: name mismatch: wanted .relay.example.org"),
        ),
        (
            &ours,
            names(&[]),
            Some("server certificate not verified: name mismatch: wanted "),
        ),
        (
            &stranger,
            names(&["relay.example.org"]),
            Some("server certificate not verified: certificate issuer is not trusted here"),
        ),
    ];
    for (client, check, expected) in cases {
        let (_, greeting) = server.meet(client, &check).await;
        let error = greeting.err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), expected, "{check:?}");
    }
    assert!(ours.has_anchors());
    let mut none = pki.client_files(None);
    none.ca_file = None;
    assert!(
        !ClientTls::load(&none, now())
            .unwrap_or_else(|e| panic!("{e:?}"))
            .has_anchors()
    );
}

#[tokio::test]
async fn self_signed_server_in_the_bundle_is_trusted_and_elsewhere_not() {
    let odd = Pki::odd();
    let example = Pki::example();
    let mut files = example.server_files();
    files.certificate = odd.path("self-server.pem");
    files.key = odd.path("person.key");
    let server = Server::start(&files).await;
    let mut client_files = example.client_files(None);
    client_files.ca_file = Some(odd.path("self-server.pem"));
    let listed = ClientTls::load(&client_files, now()).unwrap_or_else(|e| panic!("{e:?}"));
    let check = names(&["mx.example.org"]);
    assert!(server.meet(&listed, &check).await.1.is_ok());
    let directory = tempfile::tempdir().expect("a directory");
    for name in ["self-server.pem", "root.pem"] {
        std::fs::copy(odd.path(name), directory.path().join(name)).expect("copying");
    }
    client_files.ca_file = None;
    client_files.ca_path = Some(directory.path().to_owned());
    let lying_there = ClientTls::load(&client_files, now()).unwrap_or_else(|e| panic!("{e:?}"));
    let error = server
        .meet(&lying_there, &check)
        .await
        .1
        .expect_err("not trusted")
        .to_string();
    assert_eq!(
        error,
        "server certificate not verified: certificate issuer is not trusted here"
    );
}

#[tokio::test]
async fn host_that_is_no_name_is_reached_without_server_name_indication() {
    let pki = Pki::example();
    let server = Server::start(&pki.server_files()).await;
    let client = client(&pki, None);
    for (host, expected) in [
        ("not a name", None),
        ("127.0.0.1", None),
        ("mx_1.example.net.", Some("mx_1.example.net")),
    ] {
        let connect = async {
            let stream = TcpStream::connect(("127.0.0.1", server.port())).await?;
            client.connect(stream, host, &ServerCheck::Any).await?.read_u8().await
        };
        let (seen, greeting) = tokio::join!(server.serve_one(), connect);
        assert!(greeting.is_ok(), "{host}");
        assert_eq!(seen.expect("a handshake").description.server_name.as_deref(), expected);
    }
}

#[test]
fn combined_file_serves_and_unsound_files_are_all_reported() {
    let pki = Pki::example();
    let mut files = pki.server_files();
    files.certificate = pki.path("sendmail.pem");
    files.key = pki.path("sendmail.pem");
    let tls = ServerTls::load(&files, now()).unwrap_or_else(|e| panic!("{e:?}"));
    assert_eq!(tls.certificate().subject.common_name(), Some("relay.example.org"));
    set_mode(&files.key, 0o644);
    files.ca_file = Some(pki.path("missing.pem"));
    let errors = ServerTls::load(&files, now()).err().expect("errors");
    assert!(
        matches!(
            &errors[..],
            [TlsFileError::KeyExposed { .. }, TlsFileError::Unreadable { .. }]
        ),
        "{errors:?}"
    );

    let mut files = pki.server_files();
    files.key = pki.path("alice.key");
    let errors = ServerTls::load(&files, now()).err().expect("errors");
    assert!(matches!(&errors[..], [TlsFileError::KeyMismatch { .. }]), "{errors:?}");
    files.certificate = pki.path("expired.pem");
    files.key = pki.path("expired.key");
    // Our own dates stop no mail, but are told.
    let expired = ServerTls::load(&files, now()).unwrap_or_else(|e| panic!("{e:?}"));
    let fault = expired.certificate_fault().map(ToString::to_string).expect("a fault");
    assert!(fault.contains("expired on 2002-01-01"), "{fault}");
    files = pki.server_files();
    (files.ca_file, files.ca_path) = (None, None);
    let too_early = ServerTls::load(&files, 0).unwrap_or_else(|e| panic!("{e:?}"));
    assert!(matches!(
        too_early.certificate_fault(),
        Some(TlsFileError::NotYetValid { .. })
    ));
}
