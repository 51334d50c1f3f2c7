//! From a TOML text to checked settings.
//!
//! **Implements** the names of main.cf with typed values, `[[listener]]` tables that override them as master.cf's
//! `-o` does, and the collection of all errors before anything listens.
//! **Does not** read main.cf itself, nor the contents of certificates.

pub mod anchoring;
pub mod certificate_rules;
pub mod chain;
pub mod classes;
pub mod client;
pub mod defences;
pub mod directives;
pub mod ehlo_keywords;
pub mod environment;
pub mod error;
pub mod expand;
pub mod file;
pub mod files;
pub mod filters;
pub mod forbidden_commands;
pub mod issuer_policies;
pub mod list_checks;
pub mod list_openness;
pub mod list_reach;
pub mod listener;
pub mod milters;
pub mod name_regex;
pub mod names;
pub mod nearest;
pub mod public_bundle;
pub mod reader;
pub mod restriction_arguments;
pub mod restriction_words;
pub mod restrictions;
pub mod sasl;
pub mod scope;
pub mod server;
pub mod settings;
pub mod strangers;
pub mod table_files;
mod table_openness;
pub mod tables;
pub mod upstream;
pub mod value;
mod world_networks;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use environment::Environment;
pub use error::{Diagnostic, Diagnostics, Severity};
pub use settings::{ListenerSettings, Loaded, LogFormat, LogLevel, LogSettings, Settings};

use certificate_rules::defined::RuleSet;
use error::{Complaint, Findings, Source};
use file::RawFile;
use scope::{Defaults, Layers, Scope};

use crate::io::clock;
use crate::policy::reached::reached;
use crate::policy::restriction::Restriction;
use crate::policy::stage::List;
use crate::wire::domain::Domain;

/// Largest configuration file, octets: a wrong name such as a device must not fill the memory.
const FILE_OCTETS_MAX: u64 = 4 * 1024 * 1024;

/// Where the queue is, and by default the deny-list.
const QUEUE_DIRECTORY: &str = "queue_directory";

/// Reads the file and checks it against this machine.
///
/// # Errors
/// Everything that is wrong, or that the file cannot be read.
pub fn load(path: &Path) -> Result<Loaded, Diagnostics> {
    load_text(path, &read_text(path)?, &Environment::of_system())
}

/// `queue_directory` alone: an expired certificate must not keep an operator from looking at the queue.
///
/// # Errors
/// The file cannot be read, is not TOML, or the directive itself is wrong.
pub fn queue_directory(path: &Path) -> Result<PathBuf, Diagnostics> {
    path_alone(path, QUEUE_DIRECTORY)
}

/// `smtpd_tls_deny_list_file` alone: nothing may keep a postmaster from taking a certificate back.
///
/// # Errors
/// As [`queue_directory`].
pub fn deny_list_file(path: &Path) -> Result<PathBuf, Diagnostics> {
    path_alone(path, "smtpd_tls_deny_list_file")
}

/// `smtpd_sasl_path` at the top alone, as a password file: it may be made before the configuration is whole.
///
/// # Errors
/// As [`queue_directory`].
pub fn password_file(path: &Path) -> Result<PathBuf, Diagnostics> {
    path_alone(path, "smtpd_sasl_path")
}

/// One directive that is a path, whatever else is wrong with the file.
fn path_alone(path: &Path, key: &str) -> Result<PathBuf, Diagnostics> {
    let text = read_text(path)?;
    let mut findings = findings_of(path, &text);
    if let Some(file) = file::read(&mut findings) {
        let (defaults, environment) = (Defaults::read(), Environment::of_system());
        let layers = Layers {
            own: None,
            top: &file.directives,
            defaults: &defaults,
            environment: &environment,
            directory: path.parent().unwrap_or(Path::new("")),
            rules: &RuleSet::default(),
        };
        let scope = Scope::read(&layers, &mut findings);
        // What the path is made of must be right too.
        let written = file.directives.get(key).map(|located| located.value.as_reference());
        let is_part = |name: &str| name == QUEUE_DIRECTORY && written.as_ref().is_none_or(|text| text.contains(name));
        findings.retain(|name| name == key || is_part(name));
        match scope.path(key) {
            Some(found) if findings.errors() == 0 => return Ok(found),
            None if findings.errors() == 0 => {
                let complaint = Complaint::new("is empty: there is nothing to work on", "expected a path");
                findings.error(key, scope.span(key), complaint);
            }
            _ => {}
        }
    }
    Err(findings.finish().err().unwrap_or(Diagnostics(Vec::new())))
}

/// The whole text of the file, which must be UTF-8 and not endless.
fn read_text(path: &Path) -> Result<String, Diagnostics> {
    let failed = |message: String| {
        let mut findings = findings_of(path, "");
        let complaint = Complaint::new(message, "expected a TOML file in UTF-8");
        findings.error("", None, complaint.hint("name another file with --config"));
        findings.finish().err().unwrap_or(Diagnostics(Vec::new()))
    };
    let mut octets = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_OCTETS_MAX + 1).read_to_end(&mut octets))
        .map_err(|error| failed(format!("cannot be read: {error}")))?;
    if octets.len() as u64 > FILE_OCTETS_MAX {
        return Err(failed(format!("is larger than {FILE_OCTETS_MAX} octets")));
    }
    String::from_utf8(octets).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..at).unwrap_or_default();
        let line = before.split(|octet| *octet == b'\n').count();
        failed(format!("is not UTF-8: octet {} on line {line}", at + 1))
    })
}

/// Checks a text as if it stood in the file; relative paths start at the file's directory.
///
/// # Errors
/// Everything that is wrong.
pub fn load_text(path: &Path, text: &str, environment: &Environment) -> Result<Loaded, Diagnostics> {
    let mut findings = findings_of(path, text);
    let Some(file) = file::read(&mut findings) else {
        return Err(findings.finish().err().unwrap_or(Diagnostics(Vec::new())));
    };
    names::check(&file, &mut findings);
    let settings = build(path, &file, environment, &mut findings);
    let warnings = findings.finish()?;
    Ok(Loaded { settings, warnings })
}

fn findings_of(path: &Path, text: &str) -> Findings {
    Findings::new(Source {
        path: path.to_path_buf(),
        text: text.into(),
    })
}

fn build(path: &Path, file: &RawFile, environment: &Environment, findings: &mut Findings) -> Settings {
    let defaults = Defaults::read();
    let layers_without_rules = Layers {
        own: None,
        top: &file.directives,
        defaults: &defaults,
        environment,
        directory: path.parent().unwrap_or(Path::new("")),
        rules: &RuleSet::default(),
    };
    let rules = read_rules(file, &layers_without_rules, findings);
    let top_layers = Layers {
        rules: &rules,
        ..layers_without_rules
    };
    let top = Scope::read(&top_layers, findings);
    check_hostname(&top, findings);
    let mut listeners = Vec::new();
    let mut are_lists_good = true;
    for endpoint in listener::endpoints(file, &top, environment, findings) {
        let layers = Layers {
            own: endpoint.own,
            ..top_layers
        };
        let scope = Scope::read(&layers, findings);
        are_lists_good &= LISTS.iter().all(|name| scope.is_good(name));
        let filters = filters::filters(&scope);
        let mut server = server::build(&endpoint.name, &scope, environment, findings);
        Arc::make_mut(&mut server.session.chain).lists.server = Some(endpoint.address);
        listeners.push(ListenerSettings {
            name: endpoint.name,
            filters: (!filters.milters.is_empty()).then(|| Arc::new(filters)),
            address: endpoint.address,
            session: Arc::new(server.session),
            tls: server.tls,
            passwords: server.passwords,
            socket_name: endpoint.socket_name,
        });
    }
    if are_lists_good && !listeners.is_empty() {
        check_rules_are_asked(&rules, &listeners, &top, findings);
    }
    if environment.check_files {
        let authorities: Vec<PathBuf> = listeners
            .iter()
            .filter_map(|listener| listener.tls.as_ref()?.ca_file.clone())
            .collect();
        certificate_rules::examples::prove_all(&rules, &authorities, clock::unix_seconds(), findings);
    }
    let addresses: Vec<_> = listeners.iter().map(|listener| listener.address).collect();
    let sizes = listeners
        .iter()
        .map(|listener| listener.session.message_size_octets_max);
    // 0 means no limit, so it is the largest of all.
    let largest = sizes.max_by_key(|size| size.wrapping_sub(1)).unwrap_or_default();
    Settings {
        failure_limits: sasl::failure_limits(&top),
        outbound: client::outbound(&top, &addresses, environment, findings),
        outbound_tls: client::tls_files(&top, environment, findings),
        queue: client::queue(&top, largest, findings),
        policy_connections: upstream::policy_connections(&top),
        resolver_addresses: client::resolver_addresses(&top),
        log: client::log(&top),
        journal_octets_max: top.number("decision_journal_size_limit"),
        admission: defences::admission(&top),
        shutdown_timeout: top.time("shutdown_timeout"),
        certificate_rules: rules.in_use().collect(),
        listeners,
    }
}

/// The lists that restrictions stand in.
const LISTS: [&str; 7] = [
    List::Client.name(),
    List::Hello.name(),
    List::Sender.name(),
    List::Relay.name(),
    List::Recipient.name(),
    List::Data.name(),
    List::EndOfData.name(),
];

fn read_rules(file: &RawFile, layers: &Layers<'_>, findings: &mut Findings) -> RuleSet {
    let names: Vec<&'static str> = directives::implemented().map(|directive| directive.name).collect();
    let context = certificate_rules::fields::Context {
        lookup: &|name| layers.text(name),
        names: &names,
        directory: layers.directory,
        environment: layers.environment,
        rules: layers.rules,
    };
    certificate_rules::read(&file.certificate_rules, context, findings)
}

fn check_rules_are_asked(rules: &RuleSet, listeners: &[ListenerSettings], top: &Scope, findings: &mut Findings) {
    let chains = listeners.iter().map(|listener| &listener.session.chain);
    let asked = chains.flat_map(|chain| {
        let lists = List::ALL.into_iter().flat_map(|list| chain.list(list));
        lists.flat_map(|restriction| reached(restriction, &chain.lists.named))
    });
    let asked: Vec<Restriction> = asked.collect();
    let written = LISTS
        .iter()
        .flat_map(|name| top.restrictions(name))
        .map(|listed| &listed.restriction);
    certificate_rules::usage::check(rules, asked.iter(), written, findings);
}

/// Other servers look the name up; one label tells them nothing.
fn check_hostname(top: &Scope, findings: &mut Findings) {
    const KEY: &str = "myhostname";
    if !top.is_good(KEY) {
        return;
    }
    let complaint = |message: String| {
        Complaint::new(message, "expected a fully qualified name").hint("write myhostname = \"relay.example.org\"")
    };
    match top.text(KEY) {
        None => findings.error(KEY, top.span(KEY), complaint("the system has no host name".into())),
        Some(name) if Domain::parse(name).is_none() => {
            findings.error(KEY, top.span(KEY), complaint(format!("\"{name}\" is not a host name")));
        }
        Some(name) if !name.contains('.') => {
            let message = format!("\"{name}\" is not a fully qualified name, which other servers insist on");
            findings.warning(KEY, top.span(KEY), complaint(message));
        }
        Some(_) => {}
    }
}
