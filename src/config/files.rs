//! The files that TLS needs: whether they are there, readable, and private when they must be.
//!
//! **Does not** read certificates or keys: `io::tls` does.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::error::{Complaint, Findings, Span};
use crate::io::tls::settings::{ClientTlsFiles, ServerTlsFiles};

/// Where the directives that name the files are written.
pub type Places<'a> = &'a dyn Fn(&str) -> Option<Span>;

/// The TLS files of one listener or of deliveries.
#[derive(Clone, Copy, Debug)]
pub enum TlsFiles<'a> {
    /// `smtpd_tls_*`.
    Server(&'a ServerTlsFiles),
    /// `smtp_tls_*`.
    Client(&'a ClientTlsFiles),
}

/// Checks that the files are there and readable, and that nobody else can read or write the key.
pub fn check_tls_files(files: TlsFiles<'_>, places: Places<'_>, findings: &mut Findings) {
    let (certificate, key, ca_file, ca_path) = match files {
        TlsFiles::Server(server) => (
            Some(&server.certificate),
            Some(&server.key),
            server.ca_file.as_ref(),
            server.ca_path.as_ref(),
        ),
        TlsFiles::Client(client) => (
            client.certificate_and_key.as_ref().map(|(certificate, _)| certificate),
            client.certificate_and_key.as_ref().map(|(_, key)| key),
            client.ca_file.as_ref(),
            client.ca_path.as_ref(),
        ),
    };
    let names = match files {
        TlsFiles::Server(_) => [
            "smtpd_tls_cert_file",
            "smtpd_tls_key_file",
            "smtpd_tls_CAfile",
            "smtpd_tls_CApath",
        ],
        TlsFiles::Client(_) => [
            "smtp_tls_cert_file",
            "smtp_tls_key_file",
            "smtp_tls_CAfile",
            "smtp_tls_CApath",
        ],
    };
    let mut check = |name: &str, path: Option<&std::path::PathBuf>, check: fn(&Path) -> Option<Complaint>| {
        if let Some(complaint) = path.and_then(|path| check(path)) {
            findings.error(name, places(name), complaint);
        }
    };
    let [certificate_name, key_name, ca_file_name, ca_path_name] = names;
    check(certificate_name, certificate, file_fault);
    check(key_name, key, key_fault);
    check(ca_file_name, ca_file, file_fault);
    check(ca_path_name, ca_path, directory_fault);
}

fn file_fault(path: &Path) -> Option<Complaint> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Some(Complaint::new(
            format!("{} is a directory", path.display()),
            "expected a file",
        )),
        Ok(_) => std::fs::File::open(path)
            .err()
            .map(|error| unreadable(path, &error, "a file")),
        Err(error) => Some(unreadable(path, &error, "a file")),
    }
}

fn directory_fault(path: &Path) -> Option<Complaint> {
    std::fs::read_dir(path)
        .err()
        .map(|error| unreadable(path, &error, "a directory"))
}

/// Group read is let through, so that a key can belong to root and the daemon's group.
fn key_fault(path: &Path) -> Option<Complaint> {
    let fault = file_fault(path);
    if fault.is_some() {
        return fault;
    }
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o037 != 0).then(|| {
        let message = format!("the private key {} is open to others (mode {mode:04o})", path.display());
        Complaint::new(message, "expected a file for its owner only").hint(format!("chmod 600 {}", path.display()))
    })
}

fn unreadable(path: &Path, error: &std::io::Error, what: &str) -> Complaint {
    let message = format!("cannot read {}: {error}", path.display());
    Complaint::new(message, format!("expected {what} that can be read"))
}
