//! The configuration: what is refused and how, what is accepted and as what, and the files we ship.
//!
//! **Implements** the error table in `config/*.toml` of this folder: each bad file says what must be said about it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use estafette::config::certificate_rules::keys;
use estafette::config::directives::{self, later};
use estafette::config::{Environment, Severity, load_text};
use estafette::outbound::settings::TlsLevel;
use estafette::session::extension::Extension;
use estafette::session::settings::TlsOffer;
use proptest::prelude::*;

#[path = "config/world.rs"]
mod world;

use world::{environment, good, load, shipped, warnings};

/// Compares a file with what the code says; with BLESS set, writes it instead.
fn assert_generated(name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, expected).unwrap();
    }
    assert_eq!(shipped(name), expected, "run this test with BLESS=1 to write {name}");
}

/// Each bad file holds comments `#! LINE KEY: words | more words`: what must be said, and nothing else may be.
#[test]
fn bad_file_is_refused_with_line_key_and_words() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let mut cases = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        for (n, case) in fs::read_to_string(&path).unwrap().split("\n#---\n").enumerate() {
            cases += 1;
            check_case(&format!("{} case {}", path.display(), n + 1), case);
        }
    }
    assert!(cases >= 180, "only {cases} cases");
}

fn check_case(name: &str, case: &str) {
    let wanted: Vec<&str> = case.lines().filter_map(|line| line.strip_prefix("#! ")).collect();
    let body: Vec<&str> = case.lines().filter(|line| !line.starts_with("#! ")).collect();
    assert!(!wanted.is_empty(), "{name}: says nothing about what it wants");
    let found = match load(&body.join("\n")) {
        Ok(loaded) => panic!("{name}: accepted\n{case}\n{:?}", loaded.settings),
        Err(found) => found,
    };
    let errors: Vec<_> = found.0.iter().filter(|d| d.severity == Severity::Error).collect();
    for want in &wanted {
        let (place, words) = want.split_once(": ").unwrap();
        let (line, key) = place.split_once(' ').unwrap();
        let is_said = errors.iter().any(|error| {
            let text = error.to_string();
            error.line == line.parse::<usize>().unwrap()
                && error.key == key.trim_matches('-')
                && words.split(" | ").all(|word| text.contains(word))
        });
        assert!(is_said, "{name}: nobody said {want:?}, but\n{found}");
    }
    assert_eq!(errors.len(), wanted.len(), "{name}: more errors than wanted\n{found}");
}

#[test]
fn all_errors_are_reported_at_once_in_the_order_of_the_file() {
    let found =
        load("smtpd_timeout = \"soon\"\nrelay_hots = \"x\"\nhopcount_limit = 0\n\n[[listener]]\nname = \"a\"\n")
            .unwrap_err();
    let lines: Vec<usize> = found.0.iter().map(|error| error.line).collect();
    assert_eq!(lines, [1, 2, 3, 5]);
    let text = found.to_string();
    for words in [
        "estafette.toml:1:17",
        "did you mean relayhost?",
        "hopcount_limit = 0",
        "no address",
    ] {
        assert!(text.contains(words), "{words} is missing in\n{text}");
    }
}

#[test]
fn diagnostic_shows_line_pointer_found_expected_and_hint() {
    let found = load("# comment\nsmtpd_tls_certfile = \"server.crt\"\n").unwrap_err();
    let error = &found.0[0];
    assert_eq!(
        (error.line, error.key.as_str(), error.found.as_str()),
        (2, "smtpd_tls_certfile", "smtpd_tls_certfile")
    );
    let text = error.to_string();
    for words in [
        "error: smtpd_tls_certfile: not a directive",
        "estafette.toml:2:1",
        "^^^^",
        "did you mean smtpd_tls_cert_file?",
    ] {
        assert!(text.contains(words), "{words} is missing in\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "plain text has no colours");
    assert!(error.render(true).contains('\u{1b}'));
}

#[test]
fn legacy_and_doubtful_values_are_accepted_with_a_warning() {
    const TLS: &str = "smtpd_tls_cert_file = \"c\"\nsmtpd_tls_CAfile = \"ca\"\nsmtpd_tls_ask_ccert = true\n";
    for (text, words) in [
        ("smtpd_use_tls = true", "smtpd_tls_security_level = \"may\""),
        ("smtpd_enforce_tls = true", "smtpd_tls_security_level = \"encrypt\""),
        ("smtp_use_tls = \"yes\"", "smtp_tls_security_level = \"may\""),
        (
            "smtpd_recipient_restrictions = [\"permit_mynetworks\", \"check_relay_domains\"]",
            "reject_unauth_destination",
        ),
        ("smtpd_tls_protocols = \">=TLSv1\"", "TLS 1.2 is the least"),
        (
            "smtpd_use_tls = true\nsmtpd_tls_security_level = \"may\"",
            "no effect beside",
        ),
        ("myhostname = \"relay\"", "fully qualified"),
        (
            "smtpd_use_tls = true\nsmtpd_relay_restrictions = [\"permit_tls_clientcerts\", \"reject\"]",
            "relay_clientcerts is empty",
        ),
    ] {
        let found = warnings(&format!("{text}\n{TLS}"));
        assert!(found.contains(words), "{text}: {words} is missing in\n{found}");
    }
}

#[test]
fn closed_regular_expressions_are_accepted_without_a_warning() {
    for end in ["$", "(/|$)", "/"] {
        let text = format!(
            "smtpd_tls_security_level = \"may\"\nsmtpd_tls_cert_file = \"c\"\nsmtpd_tls_CAfile = \"ca\"\n\
             smtpd_tls_ask_ccert = true\nsmtpd_relay_restrictions = [{{ CERTISSUER = '^/C=FR/O=CNRS/CN=CNRS-Plus{end}', \
             CERTSUBJECT = '/OU=UMR5168(/|$)', action = \"permit\" }}, \"reject\"]\n"
        );
        assert_eq!(warnings(&text), "", "{end}");
    }
}

#[test]
fn sendmail_line_is_a_whole_name_or_an_expression() {
    let text = "smtpd_tls_security_level = \"may\"\nsmtpd_tls_cert_file = \"c\"\nsmtpd_tls_CAfile = \"ca\"\n\
                smtpd_tls_ask_ccert = true\nsmtpd_relay_restrictions = [\"CERTISSUER:/C=FR/O=CNRS/CN=CNRS-Plus      RELAY\", \
                \"CERTISSUER:/C=FR/O=CNRS/CN=CNRS-Standard RELAY\", \"CERTSUBJECT:/OU=UMR5168(/|$) RELAY\", \"reject\"]\n";
    let loaded = good(text);
    let chain = &loaded.settings.listeners[0].session.chain;
    let words: Vec<String> = chain.relay.iter().map(ToString::to_string).collect();
    let expected = [
        "CERTISSUER:^/C=FR/O=CNRS/CN=CNRS-Plus$",
        "CERTISSUER:^/C=FR/O=CNRS/CN=CNRS-Standard$",
        "CERTSUBJECT:/OU=UMR5168(/|$)",
        "reject",
    ];
    assert_eq!(words, expected);
}

#[test]
fn values_are_read_in_all_their_spellings() {
    let loaded = good(
        "smtpd_timeout = 60\nmessage_size_limit = \"50 MiB\"\nrelay_domains = \"example.org, .example.net\"\n\
         smtpd_helo_required = \"yes\"\nsmtpd_forbid_bare_newline = true\nrelayhost = \"[smtp.example.net]:587\"\n\
         relay_clientcerts = [\"aabbccddeeff00112233445566778899AABBCCDDEEFF00112233445566778899\"]\n\
         mynetworks = \"127.0.0.0/8 192.0.2.0/24\"\nsmtpd_tls_mandatory_protocols = \"!SSLv2, !SSLv3, !TLSv1, !TLSv1.1\"\n",
    );
    let session = &loaded.settings.listeners[0].session;
    assert_eq!(session.timeout, Duration::from_mins(1));
    assert_eq!(session.message_size_octets_max, 52_428_800);
    assert!(session.hello_required);
    assert_eq!(session.chain.lists.destinations.len(), 2);
    assert_eq!(session.chain.lists.mynetworks, session.bare_newline_exclusions);
    assert_eq!(session.chain.lists.mynetworks.networks().len(), 2);
    assert!(session.chain.lists.relay_clientcerts[0].starts_with("AA:BB:CC:DD:EE:FF:00:11:"));
    assert_eq!(session.banner, "relay.example.org ESMTP Estafette");
    assert_eq!(
        loaded.settings.outbound.relayhost.unwrap().to_string(),
        "[smtp.example.net]:587"
    );
}

#[test]
fn extensions_are_hidden_by_keyword_and_by_network() {
    let loaded = good(
        "smtpd_discard_ehlo_keywords = \"DSN, silent-discard\"\nrelay_domains = [\"bücher.example\"]\n\
         [smtpd_discard_ehlo_keyword_address_maps]\n\"198.51.100.0/24\" = [\"chunking\"]\n\"198.51.100.7\" = []\n",
    );
    let session = &loaded.settings.listeners[0].session;
    for (peer, hides_dsn, hides_chunking) in [
        ("192.0.2.1", true, false),
        ("198.51.100.1", false, true),
        ("198.51.100.7", false, false),
    ] {
        let hidden = session.hidden.from(peer.parse().unwrap());
        assert_eq!(hidden.contains(Extension::Dsn), hides_dsn, "{peer}");
        assert_eq!(hidden.contains(Extension::Chunking), hides_chunking, "{peer}");
    }
    assert!(session.smtputf8 && session.require_tls);
    let destinations = &session.chain.lists.destinations;
    assert_eq!(destinations[0].domain.as_str(), "xn--bcher-kva.example");
}

#[test]
fn mynetworks_when_unset_is_loopback_and_own_addresses() {
    let loaded = good("");
    let networks = loaded.settings.listeners[0].session.chain.lists.mynetworks.networks();
    let texts: Vec<String> = networks.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["127.0.0.0/8", "::1/128", "192.0.2.7/32"]);
    let chain = &good("mynetworks = []\n").settings.listeners[0].session.chain;
    assert!(chain.lists.mynetworks.networks().is_empty());
}

#[test]
fn mynetworks_style_without_known_interfaces_is_refused() {
    let unknown = Environment {
        interfaces: Vec::new(),
        ..environment()
    };
    let load = |text: &str| load_text(Path::new("estafette.toml"), text, &unknown);
    let found = load("mynetworks_style = \"subnet\"\n").unwrap_err().to_string();
    assert!(
        found.contains("mynetworks_style: the networks of this machine are not known"),
        "{found}"
    );
    load("mynetworks_style = \"subnet\"\nmynetworks = [\"192.0.2.0/24\"]\n").unwrap();
    let subnet = good("mynetworks_style = \"subnet\"\n");
    let networks = subnet.settings.listeners[0].session.chain.lists.mynetworks.networks();
    assert_eq!(networks.last().unwrap().to_string(), "192.0.2.0/24");
}

#[test]
fn queue_takes_what_the_most_generous_listener_takes() {
    let text = "message_size_limit = 1000\n[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:2525\"\n\
                [[listener]]\nname = \"b\"\naddress = \"127.0.0.1:2526\"\nmessage_size_limit = ";
    for (size, largest) in [(500, 1000), (2000, 2000), (0, 0)] {
        let settings = good(&format!("{text}{size}\n")).settings;
        assert_eq!(settings.queue.message_size_octets_max, largest);
    }
}

#[test]
fn system_without_a_usable_host_name_is_refused() {
    for hostname in ["", "bad name"] {
        let environment = Environment {
            hostname: hostname.into(),
            ..environment()
        };
        let found = load_text(Path::new("estafette.toml"), "", &environment).unwrap_err();
        assert_eq!(
            (found.0.len(), found.0[0].key.as_str(), found.0[0].line),
            (1, "myhostname", 0)
        );
    }
}

#[test]
fn file_that_cannot_be_read_is_named() {
    let found = estafette::config::load(Path::new("no/such/estafette.toml"))
        .unwrap_err()
        .to_string();
    assert!(
        found.contains("no/such/estafette.toml") && found.contains("cannot be read"),
        "{found}"
    );
}

#[test]
fn recipient_list_alone_does_relay_control_as_in_postfix_1() {
    let chain = &good("").settings.listeners[0].session.chain;
    let words: Vec<String> = chain.relay.iter().map(ToString::to_string).collect();
    assert_eq!(words, ["permit_mynetworks", "permit_auth_destination", "reject"]);
    let old = good("smtpd_recipient_restrictions = [\"permit_mynetworks\", \"reject\"]\n");
    let chain = &old.settings.listeners[0].session.chain;
    assert_eq!((chain.relay.len(), chain.recipient.len()), (0, 2));
}

#[test]
fn listener_overrides_what_stands_at_the_top() {
    let loaded = good(
        "smtpd_banner = \"$myhostname\"\nsmtpd_tls_cert_file = \"server.pem\"\nsmtpd_tls_security_level = \"may\"\n\
         [[listener]]\nname = \"a\"\naddress = \"127.0.0.1:2525\"\nsocket_name = \"smtp\"\n\
         [[listener]]\nname = \"b\"\naddress = \"[::1]:2525\"\nmyhostname = \"other.example.org\"\n\
         smtpd_tls_wrappermode = true\nsmtpd_tls_mandatory_protocols = \">=TLSv1.3\"\n",
    );
    let [a, b] = loaded.settings.listeners.as_slice() else {
        panic!("two listeners")
    };
    assert_eq!((a.session.tls, b.session.tls), (TlsOffer::May, TlsOffer::Implicit));
    assert_eq!(
        (a.session.banner.as_str(), b.session.banner.as_str()),
        ("relay.example.org", "other.example.org")
    );
    assert_eq!(a.socket_name.as_deref(), Some("smtp"));
    let (a, b) = (a.tls.as_ref().unwrap(), b.tls.as_ref().unwrap());
    assert_eq!((a.tls12, b.tls12), (true, false));
    assert_eq!(a.key, Path::new("/etc/estafette/server.pem"));
}

#[test]
fn default_listeners_follow_inet_interfaces_and_inet_protocols() {
    let addresses =
        |text: &str| -> Vec<SocketAddr> { good(text).settings.listeners.iter().map(|l| l.address).collect() };
    assert_eq!(
        addresses(""),
        ["0.0.0.0:25".parse().unwrap(), "[::]:25".parse().unwrap()]
    );
    assert_eq!(addresses("inet_protocols = \"ipv4\""), ["0.0.0.0:25".parse().unwrap()]);
    let loopback = "inet_interfaces = \"loopback-only\"\ninet_protocols = [\"ipv6\"]";
    assert_eq!(addresses(loopback), ["[::1]:25".parse().unwrap()]);
}

#[test]
fn legacy_outbound_switch_sets_the_level() {
    let level = |text: &str| good(text).settings.outbound.tls_level;
    assert_eq!(level(""), TlsLevel::May);
    assert_eq!(level("smtp_use_tls = false"), TlsLevel::None);
    assert_eq!(level("smtp_use_tls = true"), TlsLevel::May);
    assert_eq!(
        level("smtp_use_tls = false\nsmtp_tls_security_level = \"encrypt\""),
        TlsLevel::Encrypt
    );
}

#[test]
fn tls_files_that_are_missing_or_open_are_refused_with_the_command_to_run() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("server.pem");
    let text =
        "smtpd_tls_security_level = \"may\"\nsmtpd_tls_cert_file = \"server.pem\"\nsmtpd_tls_CAfile = \"none.pem\"\n";
    let load = || {
        let environment = Environment {
            check_files: true,
            ..environment()
        };
        load_text(&folder.path().join("estafette.toml"), text, &environment)
    };
    fs::write(&key, "").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let found = load().unwrap_err().to_string();
    assert!(found.contains(&format!("chmod 600 {}", key.display())), "{found}");
    assert!(found.contains("smtpd_tls_CAfile: cannot read"), "{found}");
    // Private and readable, but with nothing in them: told in words too.
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    fs::write(folder.path().join("none.pem"), "").unwrap();
    let found = load().unwrap_err().to_string();
    assert!(found.contains("no private key in PEM form"), "{found}");
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("certs-example");
    fs::write(&key, fs::read(examples.join("sendmail.pem")).unwrap()).unwrap();
    fs::write(
        folder.path().join("none.pem"),
        fs::read(examples.join("CAcert.pem")).unwrap(),
    )
    .unwrap();
    assert!(load().unwrap().warnings.is_empty());
    // Our own certificate has expired: somebody must be told, and mail goes on.
    let expired = ["expired.key", "expired.pem"].map(|name| fs::read_to_string(examples.join(name)).unwrap());
    fs::write(&key, expired.concat()).unwrap();
    let warnings = load().unwrap().warnings;
    assert!(
        warnings
            .iter()
            .any(|warning| warning.to_string().contains("expired on")),
        "{warnings:?}"
    );
}

#[test]
fn copy_of_the_public_bundle_is_recognised_by_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = |name: &str, count: usize| {
        let mut text = String::new();
        for n in 0..count {
            writeln!(
                text,
                "-----BEGIN CERTIFICATE-----\nTUlJ{n:04}\n-----END CERTIFICATE-----"
            )
            .unwrap();
        }
        fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name)
    };
    let public = bundle("public.pem", 40);
    let key = bundle("server.pem", 1);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let environment = Environment {
        check_files: true,
        public_ca_bundles: vec![public],
        ..environment()
    };
    let text = "smtpd_tls_security_level = \"may\"\nsmtpd_tls_cert_file = \"server.pem\"\nsmtpd_tls_CAfile = \"ours.pem\"\n\
                smtpd_tls_ask_ccert = true\nsmtpd_relay_restrictions = [\"permit_tls_all_clientcerts\", \"reject\"]\n";
    let path = folder.path().join("estafette.toml");
    bundle("ours.pem", 9);
    let found = load_text(&path, text, &environment).unwrap_err().to_string();
    assert!(
        !found.contains("open relay"),
        "the certificates are no good, but not public: {found}"
    );
    bundle("ours.pem", 10);
    let found = load_text(&path, text, &environment).unwrap_err().to_string();
    assert!(
        found.contains("open relay") && found.contains("smtpd_tls_CAfile"),
        "{found}"
    );
}

#[test]
fn shipped_configurations_are_loaded() {
    good(&shipped("config/minimal.toml"));
    let campus = good(&shipped("config/campus.toml"));
    let offers: Vec<TlsOffer> = campus.settings.listeners.iter().map(|l| l.session.tls).collect();
    assert_eq!(offers, [TlsOffer::May, TlsOffer::Encrypt, TlsOffer::Implicit]);
    let warned: Vec<&str> = campus.warnings.iter().map(|warning| warning.key.as_str()).collect();
    assert_eq!(
        warned,
        ["smtpd_use_tls", "smtp_use_tls", "smtpd_recipient_restrictions"]
    );
    let outbound = &campus.settings.outbound_tls;
    assert_eq!(
        outbound.ca_file.as_deref(),
        Some(Path::new("/etc/estafette/CAcert.pem"))
    );
    let last = good(&shipped("config/campus.toml").replace("check_relay_domains", "reject"));
    assert_eq!(last.settings.listeners[0].session.chain.recipient.len(), 3);
}

#[test]
fn reference_configuration_shows_every_directive_with_its_default() {
    let mut expected = String::from(
        "# Every directive with its default. Take the # away to change one.\n\
         # Times: \"300s\", \"5d\" or seconds. Sizes: octets or \"50 MiB\". Lists: arrays, or one string as in main.cf.\n\
         # $name stands for the value of another directive. Relative paths start at the directory of this file.\n",
    );
    for directive in directives::implemented() {
        write!(
            expected,
            "\n# {}\n#{} = {}\n",
            directive.meaning, directive.name, directive.default
        )
        .unwrap();
    }
    expected.push_str(
        "\n# Listeners; with none, port 25 on inet_interfaces. A listener may override what stands above.\n\
         #\n#   [[listener]]\n#   name = \"submissions\"\n#   address = \"0.0.0.0:465\"\n#   socket_name = \"submissions\"\n\
         #   smtpd_tls_wrappermode = true\n\
         \n# Certificate rules; restriction lists refer to them by name: smtpd_relay_restrictions = [\"permit_mynetworks\", \"lab\", \"reject\"].\n\
         # docs/directives.md has all keys.\n\
         #\n#   [[certificate_rule]]\n#   name = \"lab\"\n#   issuer = { O = \"CNRS\", CN = [\"CNRS-Standard\", \"CNRS-Plus\"] }\n\
         #   subject = { OU = \"UMR5168\" }\n#   sender = \"certificate\"\n#   sender_domains = [\"example.org\"]\n\
         #   accepts = [\"alice.pem\"]\n#   refuses = [\"bob.pem\"]\n\
         #\n#   [[certificate_rule.limit]]\n#   messages = 200\n#   recipients = 2000\n#   time = \"1d\"\n#   burst = 2\n\
         #   on_exceed = \"hold\"\n",
    );
    assert_generated("config/estafette.toml", &expected);
    let uncommented: Vec<&str> = expected
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect();
    let names: BTreeSet<&str> = uncommented.iter().filter_map(|line| line.split(" = ").next()).collect();
    assert_eq!(
        names,
        directives::implemented().map(|directive| directive.name).collect()
    );
    let all = good(&uncommented.join("\n")).settings;
    assert_eq!(format!("{all:?}"), format!("{:?}", good(&expected).settings));
    assert_eq!(format!("{all:?}"), format!("{:?}", good("").settings));
}

/// The manual of `[[certificate_rule]]`: its words stand in the page only, the tables of keys come from the code.
fn certificate_rules_manual() -> String {
    let page = shipped("docs/directives.md");
    let start = page.find("\n## Certificate rules\n").expect("the section");
    let end = page.find("\n### Conditions\n").expect("the first table");
    let mut text = page[start..end].to_owned();
    for (title, keys) in [
        ("Conditions", keys::CONDITIONS),
        ("Rule", keys::RULE),
        ("Limit", keys::LIMIT),
    ] {
        write!(text, "\n### {title}\n\n| key | value | meaning |\n|---|---|---|\n").unwrap();
        for key in keys {
            let value = key.value.replace('|', "\\|");
            writeln!(text, "| `{}` | {value} | {} |", key.name, key.meaning).unwrap();
        }
    }
    text
}

#[test]
fn manual_table_is_the_table_of_the_code() {
    let mut expected = String::from(
        "# Directives\n\nThe names are those of main.cf. *Listener* directives may also stand in a `[[listener]]` table, which has\n\
         `name`, `address` and `socket_name` of its own.\n\n| directive | value | default | Postfix 3.12 | place | meaning |\n|---|---|---|---|---|---|\n",
    );
    for d in directives::implemented() {
        let (kind, place) = (d.kind.describe(), format!("{:?}", d.place).to_lowercase());
        writeln!(
            expected,
            "| `{}` | {kind} | `{}` | `{}` | {place} | {} |",
            d.name, d.default, d.postfix, d.meaning
        )
        .unwrap();
    }
    expected.push_str(&certificate_rules_manual());
    expected.push_str("\n## Known, not supported yet\n\nRefused with a message that says so.\n\n| directive | Postfix 3.12 | meaning |\n|---|---|---|\n");
    for known in later::DIRECTIVES {
        writeln!(
            expected,
            "| `{}` | `{}` | {} |",
            known.name, known.postfix, known.meaning
        )
        .unwrap();
    }
    assert_generated("docs/directives.md", &expected);
    let names: Vec<&str> = directives::names().collect();
    assert_eq!(
        names.len(),
        names.iter().collect::<BTreeSet<_>>().len(),
        "a name stands twice"
    );
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC*") {
        let _ = load(&text).map_err(|found| found.to_string());
    }

    #[test]
    fn arbitrary_values_never_panic(index in 0usize..80, value in "(\"[^\"\\\\]{0,20}\"|-?[0-9]{1,19}|true|\\[\"[$a-zé:/!.\\[]{0,12}\"\\]|\\{ a = 1 \\})") {
        let names: Vec<&str> = directives::implemented().map(|directive| directive.name).collect();
        let name = names[index % names.len()];
        let text = format!("{name} = {value}\n[[listener]]\nname = \"é\"\naddress = \"[::1]:0\"\n{name} = {value}\n");
        let _ = load(&text).map_err(|found| found.to_string());
    }
}

#[test]
fn few_certificates_of_the_public_store_are_told_and_a_listener_of_a_switched_off_family_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("certs-example");
    for name in ["CAcert.pem", "sendmail.pem"] {
        fs::write(folder.path().join(name), fs::read(examples.join(name)).unwrap()).unwrap();
        fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let environment = Environment {
        check_files: true,
        public_ca_bundles: vec![examples.join("CAcert.pem")],
        ..environment()
    };
    let head = "smtpd_tls_security_level = \"may\"\nsmtpd_tls_cert_file = \"sendmail.pem\"\nsmtpd_tls_CAfile = \"CAcert.pem\"\n\
                smtpd_tls_ask_ccert = true\nsmtpd_relay_restrictions = [\"permit_tls_all_clientcerts\", \"reject\"]\n";
    let path = folder.path().join("estafette.toml");
    let warnings = load_text(&path, head, &environment).unwrap().warnings;
    assert!(
        warnings.iter().any(|w| w.to_string().contains("public store")),
        "{warnings:?}"
    );
    let text = format!("{head}inet_protocols = [\"ipv4\"]\n[[listener]]\nname = \"six\"\naddress = \"[::1]:2525\"\n");
    let found = load_text(&path, &text, &environment).unwrap_err().to_string();
    assert!(found.contains("inet_protocols does not allow [::1]:2525"), "{found}");
}

#[test]
fn values_without_effect_are_told() {
    let text = "smtp_tls_wrappermode = true\nsmtp_tls_security_level = \"encrypt\"\nsmtpd_tls_ccert_verifydepth = 7\n\
                parent_domain_matches_subdomains = [\"relay_domains\", \"mynetworks\"]\n";
    let warnings = good(text).warnings;
    let keys = [
        "smtp_tls_wrappermode",
        "smtpd_tls_ccert_verifydepth",
        "parent_domain_matches_subdomains",
    ];
    for key in keys {
        assert_eq!(
            warnings.iter().filter(|warning| warning.key == key).count(),
            1,
            "{key}: {warnings:?}"
        );
    }
}
