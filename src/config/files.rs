//! The files that TLS needs: whether they are there, readable, private when they must be, and good for their purpose.
//!
//! **Does not** understand certificates or keys itself: `io::tls` reads them, exactly as the daemon will.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::error::{Complaint, Findings, Span};
use super::nearest::nearest;
use crate::cert::name::DistinguishedName;
use crate::io::clock;
use crate::io::tls::client::ClientTls;
use crate::io::tls::error::TlsFileError;
use crate::io::tls::judge::Judge;
use crate::io::tls::server::ServerTls;
use crate::io::tls::settings::{ClientTlsFiles, ServerTlsFiles};
use crate::time::Timestamp;

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

/// Checks that the files are there and readable, that nobody else can read or write the key, and then that TLS can be
/// made of them: a key that fits its certificate, nothing expired, authorities that are authorities.
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
    let [certificate_name, key_name, ca_file_name, ca_path_name] = names;
    let mut given = vec![
        (
            certificate_name,
            certificate,
            file_fault as fn(&Path) -> Option<Complaint>,
        ),
        (key_name, key, key_fault),
        (ca_file_name, ca_file, file_fault),
        (ca_path_name, ca_path, directory_fault),
    ];
    if let TlsFiles::Server(server) = files {
        let revocation = &server.revocation;
        let lists = revocation.crl_files.iter();
        given.extend(lists.map(|list| ("smtpd_tls_crl_files", Some(list), file_fault as _)));
        given.push(("smtpd_tls_crl_path", revocation.crl_path.as_ref(), directory_fault));
    }
    let mut are_readable = true;
    for (name, path, fault) in &given {
        if let Some(complaint) = path.and_then(|path| fault(path)) {
            findings.error(name, places(name), complaint);
            are_readable = false;
        }
    }
    if are_readable {
        let mut named: Vec<(&'static str, &Path)> = given
            .iter()
            .filter_map(|(name, path, _)| Some((*name, path.as_ref()?.as_path())))
            .collect();
        if let TlsFiles::Server(server) = files
            && let Some(path) = &server.revocation.deny_list
        {
            named.push(("smtpd_tls_deny_list_file", path));
        }
        check_contents(files, &named, places, findings);
    }
}

/// Has `io::tls` make what the daemon will make, and puts each error where its file is named.
fn check_contents(files: TlsFiles<'_>, named: &[(&'static str, &Path)], places: Places<'_>, findings: &mut Findings) {
    let now = clock::unix_seconds();
    // An exact match first: a directory may hold files that are named by themselves.
    let name_of = |faulty: &Path| {
        let exact = named.iter().find(|(_, path)| faulty == *path);
        let inside = named.iter().find(|(_, path)| faulty.starts_with(path));
        exact.or(inside).or(named.first()).map_or("", |(name, _)| *name)
    };
    let told = |fault: &TlsFileError| (name_of(fault.path()), fault.to_string());
    let loaded = match files {
        TlsFiles::Server(server) => ServerTls::load(server, now).map(|tls| {
            complain_of_stale_lists(tls.authorities(), now, &name_of, places, findings);
            complain_of_missing_lists(tls.authorities(), places, findings);
            complain_of_unknown_issuers(tls.authorities(), server, places, findings);
            tls.certificate_fault().map(told)
        }),
        TlsFiles::Client(client) => ClientTls::load(client, now).map(|tls| tls.certificate_fault().map(told)),
    };
    match loaded {
        Ok(None) => {}
        Ok(Some((name, fault))) => {
            let complaint = Complaint::new(fault, "expected a certificate that is valid now")
                .hint("it is used all the same; peers that verify refuse it");
            findings.warning(name, places(name), complaint);
        }
        Err(errors) => {
            for error in errors {
                let (name, text) = told(&error);
                let complaint = Complaint::new(text, "expected a file that TLS can use");
                findings.error(name, places(name), complaint);
            }
        }
    }
}

/// Lists that are past their nextUpdate, with what that means for whom.
fn complain_of_stale_lists(
    judge: &Judge,
    now: i64,
    name_of: &dyn Fn(&Path) -> &'static str,
    places: Places<'_>,
    findings: &mut Findings,
) {
    for verified in judge.revocation_lists() {
        let Some(next_update) = verified.list.next_update_seconds.filter(|next| *next < now) else {
            continue;
        };
        let (path, issuer) = (verified.path.display(), verified.list.issuer.one_line());
        let due = Timestamp::from_seconds(next_update);
        let message = format!("{path}: the revocation list of {issuer} was due to be renewed on {due}");
        let until = Timestamp::from_seconds(judge.stale_from(&verified));
        let hint = format!("fetch the present one; this one counts until {until}, then smtpd_tls_crl_policy decides");
        let name = name_of(&verified.path);
        let complaint = Complaint::new(message, "expected a list before its nextUpdate").hint(hint);
        findings.warning(name, places(name), complaint);
    }
}

/// Authorities whose certificates all are refused, because fail-closed wants a list of each.
fn complain_of_missing_lists(judge: &Judge, places: Places<'_>, findings: &mut Findings) {
    let lists = judge.revocation_lists();
    let has_list = |issuer: &DistinguishedName| lists.iter().any(|verified| verified.list.issuer == *issuer);
    let lists_name = ["smtpd_tls_crl_files", "smtpd_tls_crl_path"]
        .into_iter()
        .find(|name| places(name).is_some())
        .unwrap_or("smtpd_tls_crl_files");
    for issuer in judge.authority_names() {
        if !judge.needs_list_of(&issuer) || has_list(&issuer) {
            continue;
        }
        let issuer = issuer.one_line();
        let message = format!(
            "there is no revocation list of {issuer}: every certificate it issued is refused, and every one below"
        );
        let hint = format!("add its list, or write smtpd_tls_crl_issuer_policies = [\"{issuer} fail-open\"]");
        let complaint = Complaint::new(message, "expected a list of every authority under fail-closed");
        findings.warning(lists_name, places(lists_name), complaint.hint(hint));
    }
}

/// Policies for issuers that no authority here is called: most often a slip of the pen.
fn complain_of_unknown_issuers(judge: &Judge, server: &ServerTlsFiles, places: Places<'_>, findings: &mut Findings) {
    const KEY: &str = "smtpd_tls_crl_issuer_policies";
    let names: Vec<String> = judge
        .authority_names()
        .iter()
        .map(DistinguishedName::one_line)
        .collect();
    for (issuer, _) in &server.revocation.issuer_policies {
        if names.contains(issuer) {
            continue;
        }
        let hint = match nearest(issuer, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("the authorities are {}", names.join(", ")),
        };
        let message = format!("\"{issuer}\" is no authority in smtpd_tls_CAfile or smtpd_tls_CApath");
        let complaint = Complaint::new(message, "counts only for a chain that a client completes itself");
        findings.warning(KEY, places(KEY), complaint.hint(hint));
    }
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
