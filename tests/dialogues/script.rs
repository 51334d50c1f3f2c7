//! The dialogue files: one step a line.
//!
//! **Implements** the form described in `tests/dialogues/README.md`. **Does not** run a script: the runners do, so
//! that one file proves the session whole, byte by byte, and over a real connection.

#[path = "filters.rs"]
mod filters;
#[path = "outside.rs"]
mod outside;
#[path = "rules.rs"]
mod rules;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use estafette::cert::certificate::Certificate;
use estafette::cert::decode::decode;
use estafette::config::{Environment, directives, forbidden_commands, load_text};
use estafette::net::{CidrSet, parse_network};
use estafette::policy::certificate_rule::CertificateRule;
use estafette::policy::chain::Chain;
use estafette::policy::facts::DestinationPattern;
use estafette::policy::restriction::{Action, CertificateMatch, Restriction};
use estafette::policy::stage::Stage;
use estafette::policy::word::Word;
use estafette::session::defences::{Defences, GreetAction};
use estafette::session::extension::{Extensions, HiddenExtensions};
use estafette::session::filter::FilterVerdict;
use estafette::session::password::SaslSettings;
use estafette::session::settings::{SessionSettings, TlsOffer};
use estafette::time::parse_duration;
use estafette::wire::data::BareNewline;
use estafette::wire::domain::Domain;
use estafette::wire::sasl::PasswordMechanisms;
pub(crate) use outside::Outside;
use regex::Regex;

/// A dialogue file, read.
pub(crate) struct Script {
    /// The file's name.
    pub(crate) name: String,
    /// The listener it runs against.
    pub(crate) settings: SessionSettings,
    /// In order; the first one connects.
    pub(crate) steps: Vec<(usize, Step)>,
    /// `passwords LOGIN:PASSWORD..`: those who have one.
    pub(crate) passwords: Vec<(String, String)>,
    /// What the DNS and policy services say.
    pub(crate) outside: Outside,
    /// The lines of a configuration whose lists are taken.
    config: String,
    /// `whole`: it is about octets that arrive together, and means nothing byte by byte.
    pub(crate) is_whole: bool,
    /// Certificate rules that a `chain` may name.
    rules: Vec<Arc<CertificateRule>>,
}

/// One line of a dialogue.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// `connect ADDRESS`.
    Connect(IpAddr),
    /// `S: LINE`: exactly this line is said next; `*` stands for anything.
    Server(String),
    /// `C: LINE`, several of them joined: octets sent in one piece.
    Client(Vec<u8>),
    /// `early: LINE`: sent before the greeting; comes right behind `connect`.
    Early(Vec<u8>),
    /// `paused TIME`: how late replies came since the last `paused`.
    Paused(Duration),
    /// `tls certificate=NAME`: the handshake succeeds.
    Tls(String),
    /// `judged certificate=NAME`: the certificate that was shown is judged anew.
    Judged(String),
    /// `queue ok|full|failed|closed|append-full|commit-full`: what the queue answers from now on.
    Queue(String),
    /// `queued: CONTENT`: a message was queued with this content, our trace header left out.
    Queued(Vec<u8>),
    /// `trace: HEADER`: the trace header of the message; `*` stands for anything.
    Trace(String),
    /// `envelope REVERSE-PATH FORWARD-PATHS.. by RESTRICTION`.
    Envelope(String),
    /// `held: REASON`: the message waits on hold; `*` stands for anything.
    Held(String),
    /// `filter STAGE VERDICT`: what the content filters say at that stage from now on.
    Filter(Stage, FilterVerdict),
    /// `demands WORDS`: what the queued message asks of the next hop.
    Demands(String),
    /// `nothing queued`: no message was committed since the last `queued`.
    NothingQueued,
    /// `timeout`: the deadline passes.
    Timeout,
    /// `eof`: the client closes.
    Eof,
    /// `shutdown`: the relay is told to stop.
    Shutdown,
    /// `closed`: the server has closed.
    Closed,
}

impl Script {
    /// Reads a file's text; panics with its name and line on a mistake, as a test may.
    pub(crate) fn parse(name: &str, text: &str) -> Self {
        let mut script = Self {
            name: name.to_owned(),
            settings: default_settings(),
            steps: Vec::new(),
            passwords: Vec::new(),
            outside: Outside::default(),
            config: String::new(),
            is_whole: false,
            rules: Vec::new(),
        };
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let known = script.read_setting(line) || script.read_step(number, line);
            assert!(known, "{name}:{number}: what is {line:?}?");
        }
        script
    }

    fn read_setting(&mut self, line: &str) -> bool {
        if line == "whole" {
            self.is_whole = true;
        } else if let Some(words) = line.strip_prefix("chain ") {
            let named = |word: &str| self.rules.iter().find(|rule| rule.name == word);
            let restriction = |word| match named(word) {
                Some(rule) => Restriction::Rule(Arc::clone(rule)),
                None => restriction(word),
            };
            let restrictions = words.split_whitespace().map(restriction).collect();
            Arc::make_mut(&mut self.settings.chain).recipient = restrictions;
        } else if let Some(line) = line.strip_prefix("config ") {
            self.config.push_str(line);
            self.config.push('\n');
        } else if let Some(record) = line.strip_prefix("dns ") {
            self.outside.dns(record);
        } else if let Some(action) = line.strip_prefix("policy ") {
            self.outside.policy(action);
        } else if let Some(words) = line.strip_prefix("rule ") {
            self.rules.push(Arc::new(rules::parse(words)));
        } else if let Some(words) = line.strip_prefix("passwords ") {
            let pair = |word: &str| {
                word.split_once(':')
                    .map(|(login, password)| (login.into(), password.into()))
            };
            self.passwords = words
                .split_whitespace()
                .map(|word| pair(word).expect("LOGIN:PASSWORD"))
                .collect();
        } else if let Some(rest) = line.strip_prefix("set ") {
            let (key, value) = rest.split_once(' ').expect("set KEY VALUE");
            set(&mut self.settings, key, value.trim());
        } else {
            return false;
        }
        true
    }

    fn read_step(&mut self, number: usize, line: &str) -> bool {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let step = match (word, rest) {
            ("connect", rest) => {
                if !self.config.is_empty() {
                    self.settings.chain = configured(&self.name, &self.config);
                }
                let mut words = rest.split_whitespace();
                let address = words.next().expect("an address").parse().expect("an address");
                if words.next() == Some("mynetworks") {
                    Arc::make_mut(&mut self.settings.chain).lists.mynetworks = networks(words);
                }
                Step::Connect(address)
            }
            ("S:", line) => Step::Server(line.to_owned()),
            ("C:", line) => {
                let octets = match line.strip_suffix("\\c") {
                    Some(open) => unescape(open),
                    None => unescape(&format!("{line}\\r\\n")),
                };
                if let Some((_, Step::Client(block))) = self.steps.last_mut() {
                    block.extend(octets);
                    return true;
                }
                Step::Client(octets)
            }
            ("early:", line) => Step::Early(unescape(&format!("{line}\\r\\n"))),
            ("paused", time) => Step::Paused(parse_duration(time).expect("a time")),
            ("tls", rest) => Step::Tls(rest.strip_prefix("certificate=").expect("certificate=").to_owned()),
            ("judged", rest) => Step::Judged(rest.strip_prefix("certificate=").expect("certificate=").to_owned()),
            ("queue", rest) => Step::Queue(rest.to_owned()),
            ("queued:", content) => Step::Queued(unescape(content)),
            ("trace:", header) => Step::Trace(String::from_utf8(unescape(header)).expect("ASCII")),
            ("demands", rest) => Step::Demands(rest.to_owned()),
            ("envelope", rest) => Step::Envelope(rest.to_owned()),
            ("held:", reason) => Step::Held(reason.to_owned()),
            ("filter", rest) => {
                self.settings.has_filters = true;
                let (stage, verdict) = filters::parse(rest);
                Step::Filter(stage, verdict)
            }
            ("nothing", "queued") => Step::NothingQueued,
            ("timeout", "") => Step::Timeout,
            ("eof", "") => Step::Eof,
            ("shutdown", "") => Step::Shutdown,
            ("closed", "") => Step::Closed,
            _ => return false,
        };
        self.steps.push((number, step));
        true
    }
}

/// Every dialogue file, in order of name.
pub(crate) fn scripts() -> Vec<Script> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the dialogues are there")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "smtp"))
        .collect();
    files.sort();
    let read = |path: &PathBuf| {
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        Script::parse(&name, &std::fs::read_to_string(path).expect("a readable file"))
    };
    files.iter().map(read).collect()
}

/// A certificate of `certs-example`.
pub(crate) fn example_certificate(name: &str) -> Certificate {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("certs-example/{name}.pem"));
    let pem = std::fs::read(path).expect("a readable file");
    let der = rustls_pemfile::certs(&mut pem.as_slice()).next();
    let der = der.expect("a certificate").expect("PEM");
    decode(&der).expect("a certificate")
}

/// Whether a text is what a pattern with `*` says.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text
            .strip_prefix(head)
            .is_some_and(|rest| (0..=rest.len()).any(|at| rest.get(at..).is_some_and(|rest| matches(tail, rest)))),
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        octets.extend_from_slice(plain.as_bytes());
        let (octet, length) = match escape.as_bytes().first() {
            Some(b'r') => (b'\r', 1),
            Some(b'n') => (b'\n', 1),
            Some(b't') => (b'\t', 1),
            Some(b'\\') => (b'\\', 1),
            Some(b'x') => (u8::from_str_radix(&escape[1..3], 16).expect("\\xHH"), 3),
            Some(b'*') => {
                // `\*COUNT*CHARACTER`: that many of it.
                let (count, tail) = escape[1..].split_once('*').expect("\\*COUNT*CHARACTER");
                let octet = tail.as_bytes()[0];
                octets.extend(std::iter::repeat_n(octet, count.parse().expect("a count")));
                rest = &tail[1..];
                continue;
            }
            _ => panic!("unknown escape in {text:?}"),
        };
        octets.push(octet);
        rest = &escape[length..];
    }
    octets.extend_from_slice(rest.as_bytes());
    octets
}

/// The lists of a configuration.
fn configured(name: &str, text: &str) -> Arc<Chain> {
    let environment = Environment {
        hostname: "relay.example".into(),
        interfaces: vec!["127.0.0.1/8".parse().expect("a network")],
        ipv6: false,
        check_files: false,
        public_ca_bundles: Vec::new(),
    };
    let text = format!("mynetworks = [\"127.0.0.0/8\"]\n{text}");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues/estafette.toml");
    let loaded = load_text(&directory, &text, &environment).unwrap_or_else(|found| panic!("{name}: {found}"));
    Arc::clone(&loaded.settings.listeners[0].session.chain)
}

fn networks<'a>(words: impl Iterator<Item = &'a str>) -> CidrSet {
    CidrSet::new(words.map(|word| parse_network(word).expect("a network")).collect())
}

fn restriction(word: &str) -> Restriction {
    let (action, plain) = match word.strip_prefix('!') {
        Some(plain) => (Action::Reject, plain),
        None => (Action::Permit, word),
    };
    let regex = |text: &str| Some(Regex::new(text).expect("a regular expression"));
    if let Some(issuer) = plain.strip_prefix("CERTISSUER:") {
        let (issuer, subject) = (regex(issuer), None);
        return Restriction::Certificate(CertificateMatch {
            issuer,
            subject,
            action,
        });
    }
    if let Some(subject) = plain.strip_prefix("CERTSUBJECT:") {
        let (issuer, subject) = (None, regex(subject));
        return Restriction::Certificate(CertificateMatch {
            issuer,
            subject,
            action,
        });
    }
    match word {
        "permit_mynetworks" => Restriction::PermitMynetworks,
        "permit_tls_all_clientcerts" => Restriction::PermitTlsAllClientcerts,
        "permit_tls_clientcerts" => Restriction::PermitTlsClientcerts,
        "permit_sasl_authenticated" => Restriction::Word(Word::PermitSaslAuthenticated),
        "permit_auth_destination" => Restriction::PermitAuthDestination,
        "reject_unauth_destination" => Restriction::RejectUnauthDestination,
        "permit" => Restriction::Permit,
        "reject" => Restriction::Reject,
        "defer" => Restriction::Defer,
        other => panic!("unknown restriction {other:?}"),
    }
}

fn set(settings: &mut SessionSettings, key: &str, value: &str) {
    let number = || value.parse::<usize>().expect("a number");
    let yes = value == "yes";
    match key {
        "bare_newline" => {
            settings.bare_newline = match value {
                "normalize" => BareNewline::Normalize,
                "note" => BareNewline::Note,
                "reject" => BareNewline::Reject,
                other => panic!("unknown value {other:?}"),
            }
        }
        "bare_newline_exclusions" => settings.bare_newline_exclusions = networks(value.split_whitespace()),
        "xclient_hosts" => settings.xclient_hosts = networks(value.split_whitespace()),
        "passwords" => {
            settings.sasl.is_enabled = true;
            settings.sasl.without_tls |= value == "without_tls";
            settings.sasl.mechanisms = match value {
                "none" => None,
                "yes" | "without_tls" => Some(PasswordMechanisms::BOTH),
                other => panic!("unknown value {other:?}"),
            }
        }
        "password_realm" => value.clone_into(&mut settings.sasl.realm),
        "noplaintext" => settings.sasl.in_tls = !yes,
        "authenticated_header" => settings.sasl.authenticated_header = yes,
        "auth_exceptions" => settings.sasl.exceptions = networks(value.split_whitespace()),
        "tls" => {
            settings.tls = match value {
                "none" => TlsOffer::None,
                "may" => TlsOffer::May,
                "encrypt" => TlsOffer::Encrypt,
                "implicit" => TlsOffer::Implicit,
                other => panic!("unknown value {other:?}"),
            }
        }
        "relay_domains" => {
            let pattern = |word| DestinationPattern {
                domain: Domain::parse(word).expect("a domain"),
                subdomains: true,
            };
            Arc::make_mut(&mut settings.chain).lists.destinations = value.split_whitespace().map(pattern).collect();
        }
        "relay_clientcerts" => {
            let fingerprint = |name| example_certificate(name).fingerprint;
            Arc::make_mut(&mut settings.chain).lists.relay_clientcerts =
                value.split_whitespace().map(fingerprint).collect();
        }
        "smtputf8" => settings.smtputf8 = yes,
        "require_tls" => settings.require_tls = yes,
        "hidden" => settings.hidden.from_all = Extensions::of_words(value.split_whitespace()),
        "hidden_from" => {
            let (network, words) = value.split_once(' ').expect("a network and words");
            let network = parse_network(network).expect("a network");
            let hidden = Extensions::of_words(words.split_whitespace());
            settings.hidden.from_networks.push((network, hidden));
        }
        "require_client_certificate" => settings.require_client_certificate = yes,
        "auth_external" => settings.auth_external = yes,
        "tls_received_header" => settings.tls_received_header = yes,
        "hello_required" => settings.hello_required = yes,
        "vrfy_disabled" => settings.vrfy_disabled = yes,
        "message_size_octets_max" => settings.message_size_octets_max = value.parse().expect("a number"),
        "recipients_max" => settings.recipients_max = number(),
        "hops_max" => settings.hops_max = number(),
        "errors_max" => settings.errors_max = number(),
        "junk_commands_max" => settings.junk_commands_max = number(),
        other => set_defence(&mut settings.defences, other, value),
    }
}

fn set_defence(defences: &mut Defences, key: &str, value: &str) {
    let number = || value.parse().expect("a number");
    let time = || parse_duration(value).expect("a time");
    match key {
        "soft_errors_max" => defences.soft_errors_max = number(),
        "error_sleep" => defences.error_sleep = time(),
        "forbid_unauth_pipelining" => defences.forbid_unauth_pipelining = value == "yes",
        "header_field_octets_max" => defences.header_field_octets_max = value.parse().expect("a number"),
        "greet_wait" => defences.greet_wait = time(),
        "greet_action" => {
            defences.greet_action = match value {
                "ignore" => GreetAction::Ignore,
                "enforce" => GreetAction::Enforce,
                "drop" => GreetAction::Drop,
                other => panic!("unknown value {other:?}"),
            }
        }
        "messages_rate" => defences.rates.messages = value.parse().expect("a number"),
        "recipients_rate" => defences.rates.recipients = value.parse().expect("a number"),
        "authentications_rate" => defences.rates.authentications = value.parse().expect("a number"),
        "tls_sessions_rate" => defences.rates.tls_sessions = value.parse().expect("a number"),
        "rate_exceptions" => defences.rate_exceptions = networks(value.split_whitespace()),
        other => panic!("unknown setting {other:?}"),
    }
}

/// As most listeners have them, but that commands may be sent ahead: most dialogues say a message in one piece.
fn default_defences() -> Defences {
    let directive = directives::find("smtpd_forbidden_commands").expect("a directive");
    let entries: Vec<String> = directive
        .default
        .trim_matches(['[', ']'])
        .split(", ")
        .map(|entry| entry.trim_matches('"').to_owned())
        .collect();
    Defences {
        forbidden_commands: forbidden_commands::build(&entries),
        ..Defences::default()
    }
}

/// A listener as most dialogues want it.
pub(crate) fn default_settings() -> SessionSettings {
    SessionSettings {
        listener: "dialogue".into(),
        myhostname: "relay.example".into(),
        banner: "relay.example ESMTP".into(),
        tls: TlsOffer::May,
        ask_client_certificate: true,
        require_client_certificate: false,
        tls_received_header: true,
        auth_external: true,
        sasl: SaslSettings {
            in_tls: true,
            ..SaslSettings::default()
        },
        has_filters: false,
        smtputf8: true,
        require_tls: true,
        hidden: HiddenExtensions::default(),
        chain: Arc::new(Chain {
            recipient: vec![
                Restriction::PermitMynetworks,
                Restriction::PermitTlsAllClientcerts,
                Restriction::Reject,
            ],
            ..Chain::default()
        }),
        message_size_octets_max: 10_240_000,
        recipients_max: 1000,
        hops_max: 50,
        errors_max: 20,
        junk_commands_max: 100,
        hello_required: true,
        vrfy_disabled: false,
        timeout: Duration::from_mins(5),
        starttls_timeout: Duration::from_mins(5),
        xclient_hosts: CidrSet::default(),
        upstream_proxy: None,
        bare_newline: BareNewline::Normalize,
        bare_newline_exclusions: CidrSet::default(),
        defences: default_defences(),
    }
}
