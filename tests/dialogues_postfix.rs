//! Holds the dialogues in `tests/dialogues/*.smtp` with Debian's Postfix, under the same settings as directives of main.cf.
//! Where it answers otherwise, `tests/dialogues/postfix-differences.toml` says why: what is not listed there fails, and so
//! does what is listed and is no longer so.
//!
//! **Bugs**: only root can start Postfix. Elsewhere this fails, unless `ESTAFETTE_POSTFIX` is `left-out`.

mod common;
#[path = "dialogues_postfix/conversation.rs"]
mod conversation;
#[allow(dead_code, reason = "the bench uses the rest")]
#[path = "common/postfix.rs"]
mod postfix;
#[path = "dialogues/script.rs"]
mod script;
#[path = "dialogues_postfix/table.rs"]
mod table;
#[path = "dialogues_postfix/translate.rs"]
mod translate;

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use conversation::{Difference, hold};
use postfix::Instance;
use script::{Script, scripts};
use table::Table;
use translate::{Directives, Refusal};

/// Dialogues that are held at a time.
const AT_A_TIME: usize = 16;

const FILE: &str = "tests/dialogues/postfix-differences.toml";
const PAGE: &str = "docs/migrating-from-postfix.md";
/// What stands around the generated section.
const BEGIN: &str = "<!-- generated from tests/dialogues/postfix-differences.toml -->\n";
const END: &str = "<!-- end of the generated section -->\n";

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_default()
}

fn table() -> Table {
    toml::from_str(&read(FILE)).unwrap_or_else(|error| panic!("{FILE}: {error}"))
}

fn is_blessed() -> bool {
    std::env::var_os("BLESS").is_some()
}

/// Reasons, with a dialogue that is left out.
type LeftOut = Vec<(&'static str, String)>;

/// Dialogues with the directives they are held under, and those left out.
fn translated() -> (Vec<(Script, Directives)>, LeftOut) {
    let (mut held, mut left_out, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for script in scripts() {
        let text = read(&format!("tests/dialogues/{}", script.name));
        match translate::directives(&script.name, &text) {
            Ok(directives) => held.push((script, directives)),
            Err(Refusal::Reason(reason)) => left_out.push((reason, script.name)),
            Err(Refusal::Unknown(what)) => unknown.push(format!("{}: {what}", script.name)),
        }
    }
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
    (held, left_out)
}

/// A Postfix with a port for each set of directives.
struct Bench {
    /// Told to stop before its directory goes.
    _postfix: Instance,
    ports: BTreeMap<Directives, u16>,
    certificates: tempfile::TempDir,
}

impl Bench {
    fn start(dialogues: &[(Script, Directives)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        common::copy_certificates(directory.path());
        let mut ports = BTreeMap::new();
        for (_, directives) in dialogues {
            ports.entry(directives.clone()).or_insert_with(common::free_port);
        }
        let listeners: String = ports
            .iter()
            .map(|(directives, port)| listener(*port, directives))
            .collect();
        let first = address(*ports.values().next().expect("dialogues"));
        let here = directory.path().join("postfix");
        fs::create_dir(&here).expect("a directory");
        let main_cf = main_cf(&directory.path().display().to_string());
        let postfix = Instance::start(&here, &main_cf, &listeners, first, &[]);
        let postfix = postfix.unwrap_or_else(|error| panic!("{error}"));
        // Its master opens one port after the other.
        for port in ports.values() {
            common::wait_until("Postfix listens", || TcpStream::connect(address(*port)).is_ok());
        }
        Self {
            _postfix: postfix,
            ports,
            certificates: directory,
        }
    }

    /// All dialogues, in order of name.
    fn hold(&self, dialogues: &[(Script, Directives)]) -> Vec<(String, Vec<Difference>)> {
        let next = AtomicUsize::new(0);
        let heard = Mutex::new(BTreeMap::new());
        std::thread::scope(|scope| {
            for _ in 0..AT_A_TIME {
                scope.spawn(|| {
                    while let Some((script, directives)) = dialogues.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let differences = hold(script, address(self.ports[directives]), self.certificates.path());
                        heard.lock().expect("heard").insert(script.name.clone(), differences);
                    }
                });
            }
        });
        heard.into_inner().expect("heard").into_iter().collect()
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A service for the connections, and its own for what is decided behind it: where an address goes, what is stored.
fn listener(port: u16, directives: &Directives) -> String {
    let options: String = directives
        .iter()
        .map(|(key, value)| format!(" -o {{ {key} = {value} }}"))
        .collect();
    let (cleanup, rewrite) = (format!("cleanup{port}"), format!("rewrite{port}"));
    let services = format!(" -o cleanup_service_name={cleanup} -o rewrite_service_name={rewrite}");
    format!(
        "127.0.0.1:{port} inet n - n - - smtpd{options}{services}\n\
         {cleanup} unix n - n - 0 cleanup{options}{services}\n\
         {rewrite} unix - - n - - trivial-rewrite{options}\n"
    )
}

fn main_cf(certificates: &str) -> String {
    format!(
        "myhostname = relay.example
smtpd_banner = $myhostname ESMTP
inet_protocols = all
# The client's address is that of the dialogue.
smtpd_upstream_proxy_protocol = haproxy
# What is taken is thrown away.
default_transport = discard:
relay_transport = discard:
local_transport = discard:
smtpd_relay_restrictions =
smtpd_error_sleep_time = 0
smtpd_client_event_limit_exceptions = static:all
smtpd_forbid_unauth_pipelining = no
smtpd_tls_cert_file = {certificates}/server.crt
smtpd_tls_key_file = {certificates}/server.key
smtpd_tls_CAfile = {certificates}/CAcert.pem
smtpd_tls_ask_ccert = yes
smtpd_tls_fingerprint_digest = sha256
smtpd_tls_session_cache_database =
"
    )
}

/// Compares a file with what it should be; with BLESS set, writes it first.
fn assert_written(name: &str, expected: &str) {
    if is_blessed() {
        fs::write(path(name), expected).expect("written");
    }
    assert_eq!(
        read(name),
        expected,
        "{name} is not what was observed: run this test with BLESS=1, and give each new row its reason"
    );
}

fn page(table: &Table) -> String {
    let page = read(PAGE);
    let (head, rest) = page.split_once(BEGIN).expect("the section begins");
    let (_, tail) = rest.split_once(END).expect("the section ends");
    format!("{head}{BEGIN}\n{}\n{END}{tail}", table.to_markdown())
}

#[test]
fn postfix_answers_the_dialogues_as_we_do_or_the_difference_is_listed() {
    if std::env::var("ESTAFETTE_POSTFIX").is_ok_and(|value| value == "left-out") {
        assert!(!nix::unistd::geteuid().is_root(), "root can start Postfix");
        return;
    }
    let (dialogues, left_out) = translated();
    assert!(dialogues.len() >= 55, "only {} dialogues", dialogues.len());
    let bench = Bench::start(&dialogues);
    let known = table();
    let heard = bench.hold(&dialogues);
    fs::copy(
        bench.certificates.path().join("postfix/maillog"),
        "/tmp/compare-maillog",
    )
    .expect("log");
    let observed = known.observed(&heard).with_left_out(left_out);
    assert_written(FILE, &observed.to_toml());
    assert_written(PAGE, &page(&observed));
    assert_eq!(
        observed.unexplained(),
        Vec::<String>::new(),
        "{FILE}: rows without a reason"
    );
}

#[test]
fn dialogues_left_out_of_the_comparison_are_those_listed_with_their_reason() {
    if is_blessed() {
        return;
    }
    let (_, left_out) = translated();
    let known = table();
    let expected = Table::default().with_left_out(left_out).left_out;
    assert_eq!(format!("{:#?}", known.left_out), format!("{expected:#?}"));
    assert_eq!(known.unexplained(), Vec::<String>::new());
    assert_eq!(read(PAGE), page(&known), "run this test with BLESS=1 to write {PAGE}");
}
