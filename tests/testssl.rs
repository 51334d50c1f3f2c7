//! Debian's testssl.sh looks at both TLS listeners of the relay, over loopback and without the network: no finding above
//! LOW may be ours. Those that come from the certificates of `certs-example` are named in [`NOT_OURS`].

mod common;

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use common::{CERTIFICATES_ONLY, Relay, base_config, free_port};

/// Findings that the test's own certificates give rise to, each of which must come up.
const NOT_OURS: &[(&str, &str)] = &[
    (
        "cert_revocation",
        "the example PKI publishes no revocation list and has no responder",
    ),
    (
        "cert_validityPeriod",
        "the example certificates are valid for twenty years, so that the tests do not expire",
    ),
];

/// What must have been looked at, and found good: else a scan that saw nothing would pass.
const MUST_BE_GOOD: &[&str] = &[
    "SSLv2",
    "SSLv3",
    "TLS1_2",
    "TLS1_3",
    "cipherlist_NULL",
    "cipherlist_aNULL",
    "cipherlist_EXPORT",
    "cipherlist_STRONG",
    "cipher_order",
    "PFS",
    "cert_chain_of_trust",
    "cert_trust",
    "heartbleed",
    "CCS",
    "secure_renego",
    "secure_client_renego",
    "CRIME_TLS",
    "POODLE_SSL",
    "fallback_SCSV",
    "SWEET32",
    "FREAK",
    "DROWN",
    "LOGJAM",
    "BEAST",
    "LUCKY13",
    "RC4",
];

struct Finding {
    id: String,
    severity: String,
    text: String,
}

/// A relay with STARTTLS on its port and TLS from the first octet on another.
fn relay() -> (Relay, u16) {
    let mut relay = Relay::prepare(CERTIFICATES_ONLY, free_port());
    let implicit = free_port();
    let config = base_config(relay.port, free_port());
    relay.write_config(&format!(
        "{CERTIFICATES_ONLY}{SHORT}{config}[[listener]]\nname = \"submissions\"\naddress = \"127.0.0.1:{implicit}\"\n\
         smtpd_tls_wrappermode = true\n"
    ));
    relay.spawn();
    (relay, implicit)
}

/// Protocols, ciphers, forward secrecy, preferences, server defaults, vulnerabilities.
const CHECKS: &[&str] = &["-p", "-s", "-f", "-P", "-S", "-U"];

/// A connection that testssl.sh leaves open is ended by the relay.
const SHORT: &str = "smtpd_timeout = \"15s\"\nsmtpd_starttls_timeout = \"15s\"\n";

fn scan(relay: &Relay, port: u16, more: &[&str]) -> Vec<Finding> {
    let json = relay.file(&format!("testssl-{port}.json"));
    let output = Command::new("testssl")
        .args([
            "--quiet",
            "--warnings",
            "off",
            "--color",
            "0",
            "--nodns",
            "none",
            "--openssl",
            "/usr/bin/openssl",
        ])
        .args(["--openssl-timeout", "20"])
        .args(CHECKS)
        .arg("--add-ca")
        .arg(relay.file("CAcert.pem"))
        .arg("--jsonfile")
        .arg(&json)
        .args(more)
        .arg(format!("127.0.0.1:{port}"))
        // Everything is near: testssl.sh waits for a slow network by default.
        .envs([("MAX_WAITSOCK", "4"), ("HEARTBLEED_MAX_WAITSOCK", "3")])
        .envs([
            ("CCS_MAX_WAITSOCK", "3"),
            ("USLEEP_SND", "0.02"),
            ("USLEEP_REC", "0.05"),
        ])
        .current_dir(relay.directory.path())
        .stdin(Stdio::null())
        .output()
        .expect("testssl runs: tests/run installs it");
    let said = String::from_utf8_lossy(&output.stdout);
    let text = std::fs::read_to_string(&json).unwrap_or_else(|error| panic!("{error}: {said}"));
    let findings: Vec<serde_json::Value> =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let word = |finding: &serde_json::Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    findings
        .iter()
        .map(|finding| Finding {
            id: word(finding, "id"),
            severity: word(finding, "severity"),
            text: word(finding, "finding"),
        })
        .collect()
}

fn assert_good(port: &str, findings: &[Finding]) {
    let is_excused = |finding: &&Finding| NOT_OURS.iter().any(|(id, _)| *id == finding.id);
    // WARN is a check that testssl.sh could not make; MUST_BE_GOOD says which it must have made.
    let is_bad = |finding: &&Finding| !matches!(finding.severity.as_str(), "OK" | "INFO" | "LOW" | "DEBUG" | "WARN");
    let ours: Vec<String> = findings
        .iter()
        .filter(|finding| is_bad(finding) && !is_excused(finding))
        .map(|finding| format!("{} {}: {}", finding.severity, finding.id, finding.text))
        .collect();
    assert_eq!(ours, Vec::<String>::new(), "{port}");
    let found: BTreeSet<&str> = findings
        .iter()
        .filter(is_bad)
        .map(|finding| finding.id.as_str())
        .collect();
    for (id, reason) in NOT_OURS {
        assert!(found.contains(id), "{port}: {id} ({reason}) does not come up any more");
    }
    let good: BTreeSet<&str> = findings
        .iter()
        .filter(|finding| matches!(finding.severity.as_str(), "OK" | "INFO"))
        .filter_map(|finding| finding.id.split_whitespace().next())
        .collect();
    let missing: Vec<&&str> = MUST_BE_GOOD.iter().filter(|id| !good.contains(**id)).collect();
    assert!(missing.is_empty(), "{port}: not looked at: {missing:?} among {good:?}");
}

#[test]
fn testssl_finds_nothing_above_low_that_is_ours_on_either_listener() {
    let (relay, implicit) = relay();
    let scans = [
        ("STARTTLS", relay.port, &["--starttls", "smtp"][..]),
        ("implicit TLS", implicit, &[]),
    ];
    std::thread::scope(|scope| {
        let relay = &relay;
        let running = scans.map(|(name, port, how)| (name, scope.spawn(move || scan(relay, port, how))));
        for (name, scan) in running {
            assert_good(name, &scan.join().expect("scanned"));
        }
    });
}
