//! The certification authorities of one side: trust anchors, and intermediates that complete chains.
//!
//! **Implements** `smtpd_tls_CAfile`, `smtpd_tls_CApath`, `tls_append_default_CA` and their smtp_ twins: self-signed
//! certificates are anchors, the others a pool, because most clients send the leaf alone.
//! **Does not** accept an intermediate as an anchor (OpenSSL's partial_chain), nor an expired root, which webpki
//! itself would not notice: the judge looks again, for a root that expires while the relay runs.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, TrustAnchor};

use super::error::TlsFileError;
use super::pem;
use super::provider::check_validity;
use crate::cert::certificate::Certificate;
use crate::cert::decode;

/// Whose certificates these authorities vouch for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Clients: every anchor must be a CA.
    Clients,
    /// Servers: a next hop's own self-signed certificate may stand in the file (not merely in the directory, where
    /// Debian keeps the machine's own).
    Servers,
}

/// Where authorities are read from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sources<'a> {
    /// A bundle.
    pub(super) ca_file: Option<&'a Path>,
    /// A directory, with or without hash links.
    pub(super) ca_path: Option<&'a Path>,
    /// Whether the system's public store is added.
    pub(super) append_default_ca: bool,
}

/// Anchors and the pool.
#[derive(Debug, Default)]
pub(super) struct Authorities {
    /// For webpki, in step with `anchor_details`.
    pub(super) anchors: Vec<TrustAnchor<'static>>,
    /// What webpki leaves out: it looks at neither dates nor path length of an anchor.
    pub(super) anchor_details: Vec<AnchorDetails>,
    /// Intermediates.
    pub(super) pool: Vec<CertificateDer<'static>>,
    /// Subjects of the CAfile's certificates, without their outer SEQUENCE: the hints of a CertificateRequest.
    pub(super) hint_subjects: Vec<Vec<u8>>,
    /// By DER: each counts once.
    origins: HashMap<Vec<u8>, Origin>,
}

/// An anchor, decoded.
#[derive(Debug)]
pub(super) struct AnchorDetails {
    pub(super) certificate: Arc<Certificate>,
    pub(super) path_length: Option<u32>,
    pub(super) der: CertificateDer<'static>,
}

/// Where a certificate was found. One that cannot serve is an error where the operator listed it, and is passed over
/// where it merely lies in a directory or the system's store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The bundle.
    File,
    /// The directory.
    Directory,
    /// The system's store.
    System,
}

impl Authorities {
    /// Reads all sources.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub(super) fn load(
        sources: Sources<'_>,
        purpose: Purpose,
        now_unix_seconds: i64,
    ) -> Result<Self, Vec<TlsFileError>> {
        let mut authorities = Self::default();
        let mut errors = Vec::new();
        if let Some(path) = sources.ca_file {
            authorities.add_file(path, purpose, now_unix_seconds, &mut errors);
        }
        if let Some(path) = sources.ca_path {
            authorities.add_directory(path, purpose, now_unix_seconds, &mut errors);
        }
        if let Some(path) = sources.ca_file.or(sources.ca_path)
            && authorities.anchors.is_empty()
            && errors.is_empty()
        {
            errors.push(TlsFileError::NoAnchor { path: path.to_owned() });
        }
        if sources.append_default_ca {
            authorities.add_system_store(purpose, now_unix_seconds);
        }
        if errors.is_empty() {
            Ok(authorities)
        } else {
            Err(errors)
        }
    }

    /// Where a certificate was found; `None` when it is no authority of ours.
    pub(super) fn origin(&self, der: &[u8]) -> Option<Origin> {
        self.origins.get(der).copied()
    }

    fn add_file(&mut self, path: &Path, purpose: Purpose, now: i64, errors: &mut Vec<TlsFileError>) {
        let certificates = match pem::certificates(path) {
            Ok(certificates) => certificates,
            Err(error) => return errors.push(error),
        };
        for (n, der) in certificates.into_iter().enumerate() {
            if let Ok(parsed) = webpki::anchor_from_trusted_cert(&der) {
                self.hint_subjects.push(parsed.subject.as_ref().to_vec());
            }
            let added = self.add(path, n + 1, der, purpose, Origin::File, now);
            errors.extend(added.err());
        }
    }

    /// Every regular file that holds PEM certificates; hash links lead to the same ones and count once.
    fn add_directory(&mut self, path: &Path, purpose: Purpose, now: i64, errors: &mut Vec<TlsFileError>) {
        let unreadable = |source| TlsFileError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let entries: Result<Vec<_>, _> = std::fs::read_dir(path).and_then(Iterator::collect);
        let mut files: Vec<_> = match entries {
            Ok(entries) => entries.iter().map(std::fs::DirEntry::path).collect(),
            Err(source) => return errors.push(unreadable(source)),
        };
        files.sort();
        for file in files.iter().filter(|file| file.is_file()) {
            match pem::certificates(file) {
                Ok(certificates) => {
                    for (n, der) in certificates.into_iter().enumerate() {
                        let added = self.add(file, n + 1, der, purpose, Origin::Directory, now);
                        errors.extend(added.err());
                    }
                }
                // A README or a CRL may lie there too.
                Err(TlsFileError::NoCertificate { .. }) => {}
                Err(error) => errors.push(error),
            }
        }
    }

    /// The distribution's store is not the operator's to repair: what cannot serve there is passed over.
    fn add_system_store(&mut self, purpose: Purpose, now: i64) {
        let store = Path::new("the system's certificate store");
        for (n, der) in rustls_native_certs::load_native_certs().certs.into_iter().enumerate() {
            let _ = self.add(store, n + 1, der, purpose, Origin::System, now);
        }
    }

    fn add(
        &mut self,
        path: &Path,
        position: usize,
        der: CertificateDer<'static>,
        purpose: Purpose,
        origin: Origin,
        now: i64,
    ) -> Result<(), TlsFileError> {
        let is_listed = origin == Origin::File;
        match self.origins.entry(der.as_ref().to_vec()) {
            Entry::Occupied(_) => return Ok(()),
            Entry::Vacant(free) => free.insert(origin),
        };
        let malformed = || TlsFileError::Malformed {
            path: path.to_owned(),
            position,
        };
        let (certificate, is_self_signed) = match (decode::decode(&der), decode::is_self_signed(&der)) {
            (Ok(certificate), Ok(is_self_signed)) => (certificate, is_self_signed),
            _ if !is_listed => return Ok(()),
            _ => return Err(malformed()),
        };
        if !is_self_signed {
            // webpki ranks a pool member it cannot parse above "unknown issuer" and would hide the true reason.
            if certificate.is_ca && webpki::EndEntityCert::try_from(&der).is_ok() {
                self.pool.push(der);
            }
            return Ok(());
        }
        // A version 1 certificate has no basic constraints; OpenSSL takes a self-signed one for a CA.
        let is_listed_server = purpose == Purpose::Servers && is_listed;
        let may_be_anchor = certificate.is_ca || certificate.version == 1 || is_listed_server;
        if !may_be_anchor {
            if !is_listed {
                return Ok(());
            }
            return Err(TlsFileError::NotAnAuthority {
                path: path.to_owned(),
                name: certificate.subject.one_line(),
            });
        }
        check_validity(path, &certificate, now)?;
        let anchor = webpki::anchor_from_trusted_cert(&der)
            .map_err(|_| malformed())?
            .to_owned();
        let path_length = decode::path_length_constraint(&der).map_err(|_| malformed())?;
        self.anchors.push(anchor);
        self.anchor_details.push(AnchorDetails {
            certificate: Arc::new(certificate),
            path_length,
            der,
        });
        Ok(())
    }
}
