//! From a TOML text to checked settings.
//!
//! **Implements** the names of main.cf with typed values, `[[listener]]` tables that override them as master.cf's
//! `-o` does, and the collection of all errors before anything listens.
//! **Does not** read main.cf itself, nor the contents of certificates.

pub mod client;
pub mod directives;
pub mod environment;
pub mod error;
pub mod expand;
pub mod file;
pub mod files;
pub mod list_checks;
pub mod listener;
pub mod names;
pub mod nearest;
pub mod public_bundle;
pub mod reader;
pub mod restrictions;
pub mod scope;
pub mod server;
pub mod settings;
pub mod value;

use std::path::Path;
use std::sync::Arc;

pub use environment::Environment;
pub use error::{Diagnostic, Diagnostics, Severity};
pub use settings::{ListenerSettings, Loaded, LogFormat, LogLevel, LogSettings, Settings};

use error::{Complaint, Findings, Source};
use file::RawFile;
use scope::{Defaults, Layers, Scope};

use crate::wire::domain::Domain;

/// Reads the file and checks it against this machine.
///
/// # Errors
/// Everything that is wrong, or that the file cannot be read.
pub fn load(path: &Path) -> Result<Loaded, Diagnostics> {
    match std::fs::read_to_string(path) {
        Ok(text) => load_text(path, &text, &Environment::of_system()),
        Err(error) => {
            let mut findings = findings_of(path, "");
            let complaint = Complaint::new(format!("cannot be read: {error}"), "expected a TOML file in UTF-8");
            findings.error("", None, complaint.hint("name another file with --config"));
            Err(findings.finish().err().unwrap_or(Diagnostics(Vec::new())))
        }
    }
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
    let top_layers = Layers {
        own: None,
        top: &file.directives,
        defaults: &defaults,
        environment,
        directory: path.parent().unwrap_or(Path::new("")),
    };
    let top = Scope::read(&top_layers, findings);
    check_hostname(&top, findings);
    let mut listeners = Vec::new();
    for endpoint in listener::endpoints(file, &top, environment, findings) {
        let layers = Layers {
            own: endpoint.own,
            ..top_layers
        };
        let scope = Scope::read(&layers, findings);
        let (session, tls) = server::build(&endpoint.name, &scope, environment, findings);
        listeners.push(ListenerSettings {
            name: endpoint.name,
            address: endpoint.address,
            session: Arc::new(session),
            tls,
            socket_name: endpoint.socket_name,
        });
    }
    let addresses: Vec<_> = listeners.iter().map(|listener| listener.address).collect();
    let sizes = listeners
        .iter()
        .map(|listener| listener.session.message_size_octets_max);
    // 0 means no limit, so it is the largest of all.
    let largest = sizes.max_by_key(|size| size.wrapping_sub(1)).unwrap_or_default();
    Settings {
        outbound: client::outbound(&top, &addresses, environment, findings),
        outbound_tls: client::tls_files(&top, environment, findings),
        queue: client::queue(&top, largest, findings),
        log: client::log(&top),
        shutdown_timeout: top.time("shutdown_timeout"),
        listeners,
    }
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
