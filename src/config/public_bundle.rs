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
    /// The directive that names a few public CAs, and how many: perhaps a campus CA that is installed in the system's
    /// store as well, perhaps a public one.
    pub few: Option<(&'static str, usize)>,
}

impl PublicTrust {
    /// Looks at `tls_append_default_CA`, `smtpd_tls_CAfile` and `smtpd_tls_CApath`.
    pub fn of(scope: &Scope, environment: &Environment) -> Self {
        if scope.boolean("tls_append_default_CA") {
            let why = "it trusts all public CAs of the system".to_owned();
            return Self {
                because: Some(("tls_append_default_CA", why)),
                few: None,
            };
        }
        let mut few = None;
        for name in ["smtpd_tls_CAfile", "smtpd_tls_CApath"] {
            let Some(path) = scope.path(name) else { continue };
            if is_public_path(&path, environment) {
                let why = format!("{} holds the public CAs of the system", path.display());
                return Self {
                    because: Some((name, why)),
                    few: None,
                };
            }
            let shared = if environment.check_files {
                shared_certificates(&path, environment)
            } else {
                0
            };
            if shared >= SHARED_CERTIFICATES_MIN {
                let why = format!(
                    "{} holds a copy of certificates of the system's public CAs",
                    path.display()
                );
                return Self {
                    because: Some((name, why)),
                    few: None,
                };
            }
            if shared > 0 {
                few = Some((name, shared));
            }
        }
        Self { because: None, few }
    }
}

/// Whether a file or directory is a bundle of public CAs, or a copy of one.
pub fn is_public(path: &Path, environment: &Environment) -> bool {
    is_public_path(path, environment)
        || environment.check_files && shared_certificates(path, environment) >= SHARED_CERTIFICATES_MIN
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

/// How many certificates a file or directory shares with a public bundle.
fn shared_certificates(path: &Path, environment: &Environment) -> usize {
    let own = certificates(path);
    let shared = |public: &PathBuf| own.intersection(&certificates(public)).count();
    environment
        .public_ca_bundles
        .iter()
        .map(shared)
        .max()
        .unwrap_or_default()
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
