//! What a policy service is told, by us and by Debian's Postfix in the same situation.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use super::common::client::Client;
use super::common::sink::Sink;
use super::common::{BINARY, Relay, base_config, copy_certificates, free_port};
use super::name_server::NameServer;
use super::postfix::Instance;
use hickory_resolver::proto::op::ResponseCode;

/// Names and values of one request, in order.
type Request = Vec<(String, String)>;

/// A service that says DUNNO and keeps what it is told.
struct Recorder {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Request>>>,
}

impl Recorder {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let heard = Arc::<Mutex<Vec<Request>>>::default();
        let kept = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || serve(stream, &kept));
            }
        });
        Self { address, heard }
    }

    fn heard(&self) -> Vec<Request> {
        self.heard.lock().expect("heard").clone()
    }
}

fn serve(mut stream: TcpStream, kept: &Mutex<Vec<Request>>) {
    let (mut text, mut octet) = (Vec::new(), [0]);
    while let Ok(1) = stream.read(&mut octet) {
        text.push(octet[0]);
        if text.ends_with(b"\n\n") {
            let lines = String::from_utf8(std::mem::take(&mut text)).expect("UTF-8");
            let split = |line: &str| {
                line.split_once('=')
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
            };
            let request: Option<Request> = lines.lines().filter(|line| !line.is_empty()).map(split).collect();
            kept.lock().expect("kept").push(request.expect("name=value"));
            if stream.write_all(b"action=DUNNO\n\n").is_err() {
                return;
            }
        }
    }
}

fn value<'a>(request: &'a Request, name: &str) -> &'a str {
    let found = request.iter().find(|(known, _)| known == name);
    &found.unwrap_or_else(|| panic!("no {name} in {request:?}")).1
}

/// A message in plaintext, and one of Alice's in TLS, each with a SIZE; the second has two recipients.
fn dialogue(address: SocketAddr, certificates: &std::path::Path) {
    let mut client = Client::connect(address).expect("connected");
    for line in [
        "EHLO a.example",
        "MAIL FROM:<a@sender.example> SIZE=100",
        "RCPT TO:<b@campus.example>",
        "DATA",
    ] {
        let reply = client.say(line).expect("a reply");
        assert!(reply.code < 400, "{line}: {}", reply.text);
    }
    let reply = client.say("Subject: x\r\n\r\nx\r\n.").expect("a reply");
    assert_eq!(reply.code, 250, "{}", reply.text);
    client.say("QUIT").expect("QUIT");

    let mut client = Client::connect(address).expect("connected");
    client.say("EHLO a.example").expect("EHLO");
    let mut client = client.start_tls(certificates, Some("alice")).expect("TLS");
    for line in [
        "EHLO a.example",
        "MAIL FROM:<>",
        "RCPT TO:<b@campus.example>",
        "RCPT TO:<c@campus.example>",
        "DATA",
    ] {
        let reply = client.say(line).expect("a reply");
        assert!(reply.code < 400, "{line}: {}", reply.text);
    }
    let reply = client.say("Subject: x\r\n\r\nx\r\n.").expect("a reply");
    assert_eq!(reply.code, 250, "{}", reply.text);
    client.say("QUIT").expect("QUIT");
}

/// What must differ, since it names this session, this machine's sockets, or the TLS library's choice.
const OF_THEIR_OWN: [&str; 9] = [
    // This Postfix looks no names up.
    "client_name",
    "reverse_client_name",
    "client_port",
    "server_port",
    "instance",
    "queue_id",
    // The end of the data: a trace header of its own length is counted in one of them.
    "size",
    // One suite of TLS 1.3 or another.
    "encryption_cipher",
    "encryption_keysize",
];

#[test]
fn services_are_told_what_postfix_tells_them_in_its_order() {
    let (ours, theirs) = (Recorder::start(), Recorder::start());
    let sink = Sink::start();
    let list = |name: &str, address: SocketAddr| {
        format!("{name} = [\"{{ check_policy_service inet:{address} }}\"]\n")
            .replace("{ ", "")
            .replace(" }", "")
    };
    let lists: String = [
        "smtpd_recipient_restrictions",
        "smtpd_data_restrictions",
        "smtpd_end_of_data_restrictions",
    ]
    .map(|name| list(name, ours.address))
    .concat()
    .replacen("\"]", "\", \"permit_auth_destination\", \"reject\"]", 1);
    let relay = Relay::start(
        &format!(
            "relay_domains = [\"campus.example\"]\nresolver_addresses = [\"127.0.0.1:9\"]\nsmtpd_policy_service_policy_context = \"inbound\"\n{lists}\
             smtpd_relay_restrictions = [\"permit_auth_destination\", \"reject\"]\n"
        ),
        sink.port,
    );
    dialogue(relay.address(), relay.directory.path());

    let directory = tempfile::tempdir().expect("a directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    copy_certificates(directory.path());
    let here = directory.path().join("postfix");
    fs::create_dir(&here).expect("a directory");
    let (place, service, port) = (directory.path().display(), theirs.address, free_port());
    let main_cf = format!(
        "myhostname = relay.example.org\nrelay_domains = campus.example\nrelay_transport = discard:\ndefault_transport = discard:\n\
         smtpd_policy_service_policy_context = inbound\nsmtpd_relay_restrictions = permit_auth_destination, reject\n\
         smtpd_recipient_restrictions = check_policy_service inet:{service}\nsmtpd_data_restrictions = check_policy_service inet:{service}\n\
         smtpd_end_of_data_restrictions = check_policy_service inet:{service}\nsmtpd_tls_security_level = may\n\
         smtpd_tls_cert_file = {place}/server.crt\nsmtpd_tls_key_file = {place}/server.key\nsmtpd_tls_CAfile = {place}/CAcert.pem\n\
         smtpd_tls_ask_ccert = yes\nsmtpd_tls_fingerprint_digest = sha256\n"
    );
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let listener = format!("127.0.0.1:{port} inet n - n - - smtpd\n");
    let _postfix = Instance::start(&here, &main_cf, &listener, address, &[]).unwrap_or_else(|error| panic!("{error}"));
    dialogue(address, directory.path());

    let (ours, theirs) = (ours.heard(), theirs.heard());
    assert_eq!(ours.len(), 7, "RCPT, DATA and the end of each message");
    assert_eq!(theirs.len(), ours.len(), "{theirs:?}");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let names = |request: &Request| request.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(ours), names(theirs), "{}", value(theirs, "protocol_state"));
        for ((name, our), (_, their)) in ours.iter().zip(theirs) {
            let is_own = OF_THEIR_OWN.contains(&name.as_str());
            assert!(
                is_own || our == their,
                "{name} at {}: {our:?}, Postfix says {their:?}",
                value(ours, "protocol_state")
            );
            // Its queue file is there from the first recipient on, ours once DATA is taken.
            let is_early = name == "queue_id" && value(ours, "protocol_state") != "END-OF-MESSAGE";
            assert_eq!(
                our.is_empty() || is_early,
                their.is_empty() || is_early,
                "{name} at {}: {our:?}, Postfix says {their:?}",
                value(ours, "protocol_state")
            );
        }
    }
    // One instance for a message, and two for two.
    let instances: Vec<&str> = ours.iter().map(|request| value(request, "instance")).collect();
    assert!(instances[..3].iter().all(|one| one == &instances[0]), "{instances:?}");
    assert_ne!(instances[0], instances[3]);
}

/// The mechanism that was used, AUTH= of MAIL, and the address that a proxy says the client has reached.
#[test]
fn services_are_told_of_the_login_and_of_the_address_reached() {
    let (recorder, sink) = (Recorder::start(), Sink::start());
    let names = NameServer::start(|_, _| Err(ResponseCode::NXDomain));
    let (service, names) = (recorder.address, names.address);
    let base = format!(
        "mynetworks = [\"192.0.2.0/24\"]\nsmtpd_sasl_auth_enable = true\nsmtpd_sasl_type = \"file\"\nsmtpd_sasl_path = \"passwords\"\n\
         smtpd_authorized_xclient_hosts = [\"127.0.0.1\"]\nresolver_addresses = [\"{names}\"]\n\
         smtpd_relay_restrictions = [\"permit_sasl_authenticated\", \"reject\"]\n\
         smtpd_sender_restrictions = [{{ check_policy_service = \"inet:{service}\", policy_context = \"senders\" }}]\n"
    );
    let mut relay = Relay::prepare(&base, sink.port);
    let proxied = free_port();
    let config = format!(
        "{base}{}[[listener]]\nname = \"proxied\"\naddress = \"127.0.0.1:{proxied}\"\nsmtpd_upstream_proxy_protocol = \"haproxy\"\n\
         smtpd_upstream_proxy_hosts = [\"127.0.0.1\"]\nsmtpd_forbid_unauth_pipelining = false\n",
        base_config(relay.port, sink.port)
    );
    relay.write_config(&config);
    let added = std::process::Command::new("sh")
        .args(["-c", "echo secret | \"$0\" passwd --file \"$1\" tim --stdin", BINARY])
        .arg(relay.file("passwords"))
        .output();
    assert!(added.expect("a shell").status.success());
    relay.spawn();
    let base64 = |text: &str| estafette::wire::base64::encode(text.as_bytes());
    for (lines, method) in [
        (vec![format!("AUTH PLAIN {}", base64("\0tim\0secret"))], "PLAIN"),
        (vec!["AUTH LOGIN".to_owned(), base64("tim"), base64("secret")], "LOGIN"),
    ] {
        let mut client = Client::connect(relay.address()).expect("connected");
        client.say("EHLO a.example").expect("EHLO");
        let mut client = client.start_tls(relay.directory.path(), None).expect("TLS");
        client.say("EHLO a.example").expect("EHLO");
        for line in &lines {
            let reply = client.say(line).expect("a reply");
            assert!(reply.code < 400, "{line}: {}", reply.text);
        }
        client
            .say("MAIL FROM:<tim@sender.example> AUTH=tim+2B@sender.example")
            .expect("MAIL");
        assert_eq!(client.say("RCPT TO:<b@example.net>").expect("RCPT").code, 250);
        let heard = recorder.heard();
        let request = heard.last().expect("asked");
        assert_eq!(value(request, "sasl_method"), method);
        assert_eq!(value(request, "sasl_username"), "tim");
        assert_eq!(value(request, "sasl_sender"), "tim+2B@sender.example");
        assert_eq!(value(request, "policy_context"), "senders");
        assert_eq!(value(request, "server_address"), "127.0.0.1");
        assert_eq!(value(request, "server_port"), relay.port.to_string());
    }
    let mut client = Client::connect(relay.address()).expect("connected");
    client.say("EHLO proxy.example").expect("EHLO");
    let named = client
        .say("XCLIENT ADDR=203.0.113.9 PORT=4711 LOGIN=eve DESTADDR=IPv6:2001:db8::25 DESTPORT=587")
        .expect("XCLIENT");
    assert_eq!(named.code, 220, "{}", named.text);
    client.say("EHLO a.example").expect("EHLO");
    client.say("MAIL FROM:<eve@sender.example>").expect("MAIL");
    assert_eq!(client.say("RCPT TO:<b@example.net>").expect("RCPT").code, 250);
    let request = recorder.heard().pop().expect("asked");
    for (name, expected) in [
        ("client_address", "203.0.113.9"),
        ("client_port", "4711"),
        ("sasl_method", "XCLIENT"),
        ("sasl_username", "eve"),
        ("server_address", "2001:db8::25"),
        ("server_port", "587"),
    ] {
        assert_eq!(value(&request, name), expected, "{name}");
    }
    let mut client = Client::connect_silently(SocketAddr::from(([127, 0, 0, 1], proxied))).expect("connected");
    client
        .write(b"PROXY TCP4 203.0.113.8 198.51.100.25 4712 25\r\n")
        .expect("a header");
    assert_eq!(client.read_reply().expect("a greeting").code, 220);
    client.say("EHLO a.example").expect("EHLO");
    client.say("MAIL FROM:<eve@sender.example>").expect("MAIL");
    assert_eq!(client.say("RCPT TO:<b@example.net>").expect("RCPT").code, 554);
    let request = recorder.heard().pop().expect("asked");
    assert_eq!(value(&request, "client_address"), "203.0.113.8");
    assert_eq!(value(&request, "server_address"), "198.51.100.25");
    assert_eq!(value(&request, "server_port"), "25");
}
