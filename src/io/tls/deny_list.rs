//! The relay's own deny-list: certificates that the postmaster has taken back, whatever their issuer says.
//!
//! **Implements** `smtpd_tls_deny_list_file` and what `estafette cert revoke` writes: entries by serial and issuer, or by
//! fingerprint. It is read again when the file has changed; a broken file keeps what was read before, and so does a file
//! that has vanished: whoever wants to clear the list empties it.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::file_stamp::FileStamp;
use crate::cert::certificate::Certificate;
use crate::cert::denied::Denied;

/// The largest file read, octets; some fifty thousand entries.
pub(super) const FILE_OCTETS_MAX: u64 = 16 << 20;

/// The list of a running daemon, shared by every listener.
#[derive(Debug, Default)]
pub struct DenyList {
    /// Empty for a list without a file, which denies nobody.
    path: PathBuf,
    denied: ArcSwap<Denied>,
    generation: AtomicU64,
    /// The file as it was looked at last, whether or not it could be read.
    looked_at: Mutex<FileStamp>,
}

/// A certificate that was taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Why, in the postmaster's words: `lost`. Empty when the entry has none.
    pub reason: String,
    /// When, seconds since 1970; 0 when the entry does not say.
    pub since_unix_seconds: i64,
}

impl DenyList {
    /// Reads the file; one that does not exist is empty.
    ///
    /// # Errors
    /// The file cannot be read or a line of it is wrong; in words that name the line.
    pub fn load(path: &Path) -> Result<Self, String> {
        let looked_at = FileStamp::of(path);
        let denied = match read(path)? {
            Some(octets) => parse(path, &octets)?,
            None => Denied::default(),
        };
        Ok(Self {
            path: path.to_owned(),
            denied: ArcSwap::from_pointee(denied),
            generation: AtomicU64::new(0),
            looked_at: Mutex::new(looked_at),
        })
    }

    /// Whether this certificate was taken back, leaf or issuer.
    pub fn denial(&self, certificate: &Certificate) -> Option<Denial> {
        let denied = self.denied.load();
        denied.entry(certificate).map(|entry| Denial {
            reason: entry.reason.clone(),
            since_unix_seconds: entry.since_unix_seconds.unwrap_or(0),
        })
    }

    /// Changes with every change of the list.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Reads the file again if it has changed. Returns whether the list has changed.
    ///
    /// Cheap enough to be called every second: a file that has not changed costs one `stat`.
    ///
    /// # Errors
    /// As [`DenyList::load`], or the file has vanished; the list stays as it was. Each is told once, until the file
    /// changes again.
    pub fn refresh(&self) -> Result<bool, String> {
        if self.path.as_os_str().is_empty() {
            return Ok(false);
        }
        let mut looked_at = self.looked_at.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = FileStamp::of(&self.path);
        if *looked_at == stamp {
            return Ok(false);
        }
        *looked_at = stamp;
        let Some(octets) = read(&self.path)? else {
            return self.vanished();
        };
        let denied = parse(&self.path, &octets)?;
        if denied == **self.denied.load() {
            return Ok(false);
        }
        self.denied.store(denied.into());
        self.generation.fetch_add(1, Ordering::AcqRel);
        Ok(true)
    }

    /// A file deleted by mistake must not let a stolen certificate in again.
    fn vanished(&self) -> Result<bool, String> {
        let count = self.denied.load().entries().len();
        if count == 0 {
            return Ok(false);
        }
        let (path, entries) = (self.path.display(), if count == 1 { "entry" } else { "entries" });
        Err(format!(
            "{path} has vanished: what it denied ({count} {entries}) stays denied until the relay starts anew; to clear \
             the list, make the file empty: `: > {path}`"
        ))
    }
}

/// The contents; nothing when the file does not exist.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let failed = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied => "; the relay's user must be able to read it",
            _ => "",
        };
        format!("{}: {error}{hint}", path.display())
    };
    // Opening a named pipe would wait for somebody to write to it.
    match fs::metadata(path) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(format!("{} is not a file", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    }
    let file = File::open(path).map_err(failed)?;
    let mut octets = Vec::new();
    let count = file
        .take(FILE_OCTETS_MAX + 1)
        .read_to_end(&mut octets)
        .map_err(failed)?;
    if count as u64 > FILE_OCTETS_MAX {
        return Err(format!("{} is larger than {FILE_OCTETS_MAX} octets", path.display()));
    }
    Ok(Some(octets))
}

/// The entries; an error names file and line.
pub(super) fn parse(path: &Path, octets: &[u8]) -> Result<Denied, String> {
    Denied::read(octets).map_err(|error| format!("{}: {error}", path.display()))
}
