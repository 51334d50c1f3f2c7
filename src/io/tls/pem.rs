//! PEM files: certificates and private keys. The only file that names rustls-pemfile.
//!
//! **Implements** RFC 7468 reading, and a check that a private key is private: no bit for others, and for the group
//! at most read (Debian's `ssl-cert` group keeps keys at 0640).
//! **Does not** read encrypted keys, as Postfix does not either, nor `TRUSTED CERTIFICATE`.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::error::TlsFileError;
use crate::cert::decode;
use crate::cert::revocation_list;

/// Every bit that lets somebody beside the owner, and the group by reading, come at a key.
const EXPOSING_BITS: u32 = 0o037;

/// The largest file of certificates or a key, octets: a bundle of a thousand roots fits, a device does not.
const FILE_OCTETS_MAX: u64 = 16 << 20;

/// What DER begins with, and no text does that has a PEM section on its first line.
const DER_SEQUENCE: u8 = 0x30;

/// The largest file of revocation lists, octets.
const LIST_OCTETS_MAX: u64 = 64 << 20;

/// All certificates of a file in their order; other PEM sections are passed over.
///
/// # Errors
/// The file cannot be read, its PEM is broken, or it holds no certificate.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let (text, _) = read(path)?;
    let found: Result<Vec<_>, _> = rustls_pemfile::certs(&mut text.as_slice()).collect();
    let found = found.map_err(|e| broken(path, &e))?;
    if found.is_empty() {
        return Err(TlsFileError::NoCertificate {
            path: path.to_owned(),
            found: describe_labels(&text),
        });
    }
    Ok(found)
}

/// All certificates of a file in PEM, or the one of a file in DER, as browsers and Windows write it.
///
/// # Errors
/// As [`certificates`].
pub fn certificates_in_either_form(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let (octets, _) = read(path)?;
    if octets.first() != Some(&DER_SEQUENCE) {
        return certificates(path);
    }
    if decode::decode(&octets).is_ok() {
        return Ok(vec![CertificateDer::from(octets)]);
    }
    Err(TlsFileError::NoCertificate {
        path: path.to_owned(),
        found:
            "found DER that is no certificate; take it out of PKCS #12 with `openssl pkcs12 -in OLD -nokeys -out NEW`"
                .into(),
    })
}

/// The first private key of a file: PKCS#8, PKCS#1 or SEC1. The certificate may stand in the same file.
///
/// # Errors
/// The file cannot be read, is open to others, its PEM is broken, or it holds no key.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFileError> {
    let (text, mode) = read(path)?;
    if mode & EXPOSING_BITS != 0 {
        return Err(TlsFileError::KeyExposed {
            path: path.to_owned(),
            mode,
        });
    }
    rustls_pemfile::private_key(&mut text.as_slice())
        .map_err(|e| broken(path, &e))?
        .ok_or_else(|| TlsFileError::NoPrivateKey {
            path: path.to_owned(),
            found: describe_labels(&text),
        })
}

/// All revocation lists of a file in their order, as DER: PEM sections, or the whole file when that is DER.
///
/// # Errors
/// The file cannot be read, is too large, its PEM is broken, or it holds no list.
pub fn revocation_lists(path: &Path) -> Result<Vec<Vec<u8>>, TlsFileError> {
    // Read again and again while the relay runs: a FIFO would hold it up for ever.
    let is_file = std::fs::metadata(path).map(|about| about.is_file());
    if matches!(is_file, Ok(false)) {
        return Err(TlsFileError::NoRevocationList {
            path: path.to_owned(),
            found: "it is no regular file; name the file that your issuer's list is kept in".to_owned(),
        });
    }
    let (octets, _) = read_up_to(path, LIST_OCTETS_MAX)?;
    if octets.first() == Some(&DER_SEQUENCE) {
        if revocation_list::is_list(&octets) {
            return Ok(vec![octets]);
        }
        return Err(TlsFileError::NoRevocationList {
            path: path.to_owned(),
            found: "it is damaged, or DER of something else; get it anew from its issuer".to_owned(),
        });
    }
    let found: Result<Vec<_>, _> = rustls_pemfile::crls(&mut octets.as_slice()).collect();
    let found = found.map_err(|e| broken(path, &e))?;
    if found.is_empty() {
        return Err(TlsFileError::NoRevocationList {
            path: path.to_owned(),
            found: describe_labels(&octets),
        });
    }
    Ok(found.iter().map(|list| list.as_ref().to_vec()).collect())
}

/// The contents of a file of certificates or a key and its permission bits.
fn read(path: &Path) -> Result<(Vec<u8>, u32), TlsFileError> {
    read_up_to(path, FILE_OCTETS_MAX)
}

/// The contents of a file and its permission bits, both of the same open file.
fn read_up_to(path: &Path, octets_max: u64) -> Result<(Vec<u8>, u32), TlsFileError> {
    let read = || {
        let file = std::fs::File::open(path)?;
        let mode = file.metadata()?.permissions().mode() & 0o7777;
        let mut text = Vec::new();
        file.take(octets_max.saturating_add(1)).read_to_end(&mut text)?;
        Ok((text, mode))
    };
    let (text, mode) = read().map_err(|source| TlsFileError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > octets_max {
        return Err(TlsFileError::TooLarge {
            path: path.to_owned(),
            octets_max,
        });
    }
    Ok((text, mode))
}

fn broken(path: &Path, error: &std::io::Error) -> TlsFileError {
    TlsFileError::BrokenPem {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

/// `found ENCRYPTED PRIVATE KEY; decrypt it with openssl pkey`: the reader passes over what it does not know.
fn describe_labels(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut labels: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----"))
        .collect();
    labels.dedup();
    if labels.is_empty() {
        return "no PEM section in it; convert DER with `openssl x509 -inform DER` or `openssl pkey -inform DER`"
            .into();
    }
    let advice = labels
        .iter()
        .find_map(|label| match *label {
            "ENCRYPTED PRIVATE KEY" => Some("; decrypt it with `openssl pkey -in OLD -out NEW`"),
            "TRUSTED CERTIFICATE" | "X509 CERTIFICATE" => Some("; convert it with `openssl x509 -in OLD -out NEW`"),
            "DSA PRIVATE KEY" => Some("; DSA is not supported, use RSA or ECDSA"),
            _ => None,
        })
        .unwrap_or_default();
    format!("found {}{advice}", labels.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str, mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("writing it");
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).expect("its mode");
        file
    }

    fn key_pem() -> String {
        rcgen::KeyPair::generate().expect("a key").serialize_pem()
    }

    #[test]
    fn empty_result_names_the_labels_found_and_what_to_do() {
        let encrypted = file(
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n",
            0o600,
        );
        let error = private_key(encrypted.path()).expect_err("no key").to_string();
        assert!(
            error.contains("found ENCRYPTED PRIVATE KEY; decrypt it with `openssl pkey"),
            "{error}"
        );
        let error = certificates(file(&key_pem(), 0o600).path()).expect_err("no certificate");
        assert!(error.to_string().contains("found PRIVATE KEY"), "{error}");
        let error = certificates(file("", 0o600).path()).expect_err("nothing");
        assert!(error.to_string().contains("no PEM section"), "{error}");
    }

    #[test]
    fn key_open_to_others_is_refused_with_the_command_that_repairs_it() {
        let text = key_pem();
        for mode in [0o644, 0o604, 0o660, 0o620, 0o610, 0o601] {
            let file = file(&text, mode);
            let error = private_key(file.path()).expect_err("exposed").to_string();
            let command = format!("chmod 600 {}", file.path().display());
            assert!(
                error.contains(&command) && error.contains(&format!("{mode:04o}")),
                "{error}"
            );
        }
        for mode in [0o600, 0o400, 0o640, 0o440] {
            assert!(private_key(file(&text, mode).path()).is_ok(), "{mode:o}");
        }
    }

    #[test]
    fn list_that_is_a_fifo_is_refused_and_not_waited_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("list.crl");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        let error = revocation_lists(&path).expect_err("no list").to_string();
        assert!(error.contains("no regular file"), "{error}");
    }

    #[test]
    fn missing_file_is_named() {
        let error = certificates(Path::new("/nonexistent/server.crt")).expect_err("missing");
        assert_eq!(error.path(), Path::new("/nonexistent/server.crt"));
    }
}
