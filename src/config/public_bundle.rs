//! Whether the CAs that a listener trusts are the public ones of the system.
//!
//! **Implements** recognition by path and by content: a copy of the bundle is the bundle.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::scope::Scope;

/// Certificates that a file must share with a public bundle to count as one.
const SHARED_CERTIFICATES_MIN: usize = 10;

/// Whether public CAs are trusted, and by which directive.
#[derive(Clone, Debug, Default)]
pub struct PublicTrust {
    /// The directive and the reason.
    pub because: Option<(&'static str, String)>,
}

impl PublicTrust {
    /// Looks at `tls_append_default_CA`, `smtpd_tls_CAfile` and `smtpd_tls_CApath`.
    pub fn of(scope: &Scope, environment: &Environment) -> Self {
        if scope.boolean("tls_append_default_CA") {
            let why = "it trusts all public CAs of the system".to_owned();
            return Self {
                because: Some(("tls_append_default_CA", why)),
            };
        }
        for name in ["smtpd_tls_CAfile", "smtpd_tls_CApath"] {
            let Some(path) = scope.path(name) else { continue };
            if is_public_path(&path, environment) {
                let why = format!("{} holds the public CAs of the system", path.display());
                return Self {
                    because: Some((name, why)),
                };
            }
            if environment.check_files && shares_certificates(&path, environment) {
                let why = format!(
                    "{} holds a copy of certificates of the system's public CAs",
                    path.display()
                );
                return Self {
                    because: Some((name, why)),
                };
            }
        }
        Self::default()
    }
}

fn is_public_path(path: &Path, environment: &Environment) -> bool {
    let same = canonical(path);
    environment
        .public_ca_bundles
        .iter()
        .any(|public| path == public || same == canonical(public))
}

fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

fn shares_certificates(path: &Path, environment: &Environment) -> bool {
    let own = certificates(path);
    let shares = |public: &PathBuf| own.intersection(&certificates(public)).count() >= SHARED_CERTIFICATES_MIN;
    own.len() >= SHARED_CERTIFICATES_MIN && environment.public_ca_bundles.iter().any(shares)
}

/// The base64 texts of all certificates of a file, or of the files of a directory.
fn certificates(path: &Path) -> HashSet<String> {
    let Ok(directory) = std::fs::read_dir(path) else {
        return of_file(path);
    };
    directory.flatten().flat_map(|entry| of_file(&entry.path())).collect()
}

fn of_file(path: &Path) -> HashSet<String> {
    if !path.is_file() {
        return HashSet::new();
    }
    let octets = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&octets);
    let body = |block: &str| {
        let (body, _) = block.split_once("-----END")?;
        Some(body.split_whitespace().collect::<String>())
    };
    text.split("-----BEGIN CERTIFICATE-----")
        .skip(1)
        .filter_map(body)
        .collect()
}
