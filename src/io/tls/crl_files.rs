//! The files of revocation lists: read and verified at load, watched afterwards.
//!
//! **Implements** `smtpd_tls_crl_files`, `smtpd_tls_crl_path`, `smtpd_tls_crl_warning_time`. A file that has changed for
//! the better takes the place of what was read before; one that has become unreadable, broken or is gone does not.
//! **Does not** log: what happened is told as events.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::authorities::Authorities;
use super::crl::{Lists, VerifiedList};
use super::error::{ListFault, TlsFileError};
use super::file_stamp::FileStamp;
use super::pem;
use super::settings::RevocationSettings;
use super::signature::{self, SignatureFault};
use crate::cert::certificate::Certificate;
use crate::cert::decode;
use crate::cert::revocation_list;
use crate::cert::signed::Signed;
use crate::time::Timestamp;

/// How far a list may be ahead of our clock, seconds.
const CLOCK_TOLERANCE_SECONDS: i64 = 300;

/// After how long a refused file is read again although it has not changed: a list of the future may count then.
const RETRY_SECONDS: i64 = 300;

/// How often a list that is about to go stale, or is stale, is told of again.
const TELL_SECONDS: i64 = 86_400;

/// What happened to revocation lists.
#[derive(Clone, Debug)]
pub enum CrlEvent {
    /// A list is in force.
    Loaded(Arc<VerifiedList>),
    /// A file is not used; what was read from it before stays.
    Refused {
        /// The file, or the directory.
        path: PathBuf,
        /// In words.
        why: String,
    },
    /// nextUpdate comes within `smtpd_tls_crl_warning_time`.
    Expiring(Arc<VerifiedList>),
    /// nextUpdate is past.
    Stale(Arc<VerifiedList>),
}

/// An authority that may have signed a list.
#[derive(Debug)]
struct Signer {
    certificate: Arc<Certificate>,
    key: Vec<u8>,
}

#[derive(Debug, Default)]
struct WatchedFile {
    stamp: FileStamp,
    lists: Vec<Arc<VerifiedList>>,
    /// Why the file as it is now is not used, and when that was found.
    fault: Option<(String, i64)>,
}

#[derive(Debug, Default)]
struct Watched {
    files: BTreeMap<PathBuf, WatchedFile>,
    /// Why the directory cannot be read.
    directory_fault: Option<String>,
    /// By the fingerprint of each list that has been told of: what was told of its age, and when.
    told: HashMap<String, (Age, i64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    Fresh,
    Expiring,
    Stale,
}

/// The revocation lists of one judge.
#[derive(Debug)]
pub(super) struct CrlFiles {
    files: Vec<PathBuf>,
    directory: Option<PathBuf>,
    warning_seconds: i64,
    signers: Vec<Signer>,
    lists: ArcSwap<Lists>,
    watched: Mutex<Watched>,
    generation: AtomicU64,
}

impl CrlFiles {
    /// Reads every file; `None` when no directive names any.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub(super) fn load(
        settings: &RevocationSettings,
        authorities: &Authorities,
        now_unix_seconds: i64,
    ) -> Result<Option<Self>, Vec<TlsFileError>> {
        if settings.crl_files.is_empty() && settings.crl_path.is_none() {
            return Ok(None);
        }
        let files = Self {
            files: settings.crl_files.clone(),
            directory: settings.crl_path.clone(),
            warning_seconds: i64::try_from(settings.crl_warning_time.as_secs()).unwrap_or(i64::MAX),
            signers: signers(authorities),
            lists: ArcSwap::default(),
            watched: Mutex::default(),
            generation: AtomicU64::new(0),
        };
        let mut errors = Vec::new();
        let mut watched = Watched::default();
        let paths = files.paths().unwrap_or_else(|error| {
            errors.push(error);
            files.files.clone()
        });
        for path in paths {
            let stamp = FileStamp::of(&path);
            match files.read(&path, &[], now_unix_seconds) {
                Ok(lists) => {
                    let file = WatchedFile {
                        stamp,
                        lists,
                        fault: None,
                    };
                    watched.files.insert(path, file);
                }
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        files.lists.store(Arc::new(watched.lists()));
        Ok(Some(Self {
            watched: Mutex::new(watched),
            ..files
        }))
    }

    /// The lists in force.
    pub(super) fn lists(&self) -> Arc<Lists> {
        self.lists.load_full()
    }

    /// Changes whenever the lists have.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Looks whether files have changed, and how old the lists are. Tells every load and every refusal once, every age
    /// once a day.
    pub(super) fn refresh(&self, now_unix_seconds: i64) -> Vec<CrlEvent> {
        let mut events = Vec::new();
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let mut paths: Vec<PathBuf> = watched.files.keys().cloned().collect();
        match self.paths() {
            Ok(found) => {
                watched.directory_fault = None;
                paths.extend(found.into_iter().filter(|path| !watched.files.contains_key(path)));
            }
            Err(error) => {
                let why = error.to_string();
                if watched.directory_fault.as_ref() != Some(&why) {
                    events.push(refused(error.path(), &why));
                }
                watched.directory_fault = Some(why);
            }
        }
        let mut has_changed = false;
        for path in paths {
            let file = watched.files.entry(path.clone()).or_default();
            has_changed |= self.refresh_file(&path, file, now_unix_seconds, &mut events);
        }
        if has_changed {
            self.lists.store(Arc::new(watched.lists()));
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        self.tell_ages(&mut watched, now_unix_seconds, &mut events);
        events
    }

    /// Whether the lists of a file are others than before.
    fn refresh_file(&self, path: &Path, file: &mut WatchedFile, now: i64, events: &mut Vec<CrlEvent>) -> bool {
        let stamp = FileStamp::of(path);
        let is_due = file.fault.as_ref().is_some_and(|(_, at)| now - at >= RETRY_SECONDS);
        if stamp == file.stamp && !is_due {
            return false;
        }
        file.stamp = stamp;
        let read = self.read(path, &file.lists, now).map_err(|error| error.to_string());
        let read = read.and_then(|lists| match what_is_lost(&file.lists, &lists) {
            Some(why) => Err(why),
            None => Ok(lists),
        });
        match read {
            Ok(lists) => {
                file.fault = None;
                let is_other = |(old, new): (&Arc<VerifiedList>, &Arc<VerifiedList>)| {
                    old.list.fingerprint != new.list.fingerprint || old.key_fingerprint != new.key_fingerprint
                };
                let has_changed = lists.len() != file.lists.len() || file.lists.iter().zip(&lists).any(is_other);
                file.lists = lists;
                has_changed
            }
            Err(why) => {
                if file.fault.as_ref().is_none_or(|(known, _)| *known != why) || !is_due {
                    events.push(refused(path, &why));
                }
                file.fault = Some((why, now));
                false
            }
        }
    }

    fn tell_ages(&self, watched: &mut Watched, now: i64, events: &mut Vec<CrlEvent>) {
        let lists = self.lists();
        watched
            .told
            .retain(|fingerprint, _| lists.iter().any(|verified| verified.list.fingerprint == *fingerprint));
        for verified in lists.iter() {
            let fingerprint = verified.list.fingerprint.clone();
            let (told, at) = watched.told.entry(fingerprint).or_insert_with(|| {
                events.push(CrlEvent::Loaded(Arc::clone(verified)));
                (Age::Fresh, now)
            });
            let age = match verified.next_update().saturating_sub(now) {
                ..0 => Age::Stale,
                left if left <= self.warning_seconds => Age::Expiring,
                _ => Age::Fresh,
            };
            if age == *told && now - *at < TELL_SECONDS {
                continue;
            }
            (*told, *at) = (age, now);
            match age {
                Age::Fresh => {}
                Age::Expiring => events.push(CrlEvent::Expiring(Arc::clone(verified))),
                Age::Stale => events.push(CrlEvent::Stale(Arc::clone(verified))),
            }
        }
    }

    /// The files named, and the regular files of the directory.
    fn paths(&self) -> Result<Vec<PathBuf>, TlsFileError> {
        let mut paths = self.files.clone();
        if let Some(directory) = &self.directory {
            let entries: Result<Vec<_>, _> = std::fs::read_dir(directory).and_then(Iterator::collect);
            let entries = entries.map_err(|source| TlsFileError::Unreadable {
                path: directory.clone(),
                source,
            })?;
            let mut found: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).collect();
            found.retain(|path| path.is_file() && !paths.contains(path));
            found.sort();
            paths.extend(found);
        }
        Ok(paths)
    }

    /// `held` are the lists that the file had before.
    fn read(&self, path: &Path, held: &[Arc<VerifiedList>], now: i64) -> Result<Vec<Arc<VerifiedList>>, TlsFileError> {
        let is_listed = self.files.iter().any(|file| file == path);
        let lists = match pem::revocation_lists(path) {
            Ok(lists) => lists,
            // Certificates and notes may lie in a directory too.
            Err(TlsFileError::NoRevocationList { .. }) if !is_listed && held.is_empty() => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let verified = lists.iter().enumerate().map(|(n, der)| {
            let verified = self.verify(path, der, now);
            verified.map(Arc::new).map_err(|fault| TlsFileError::RevocationList {
                path: path.to_owned(),
                position: n + 1,
                fault,
            })
        });
        verified.collect()
    }

    /// Decodes a list and finds the authority whose key has signed it.
    fn verify(&self, path: &Path, der: &[u8], now: i64) -> Result<VerifiedList, ListFault> {
        let list = revocation_list::decode(der)?;
        let signed = Signed::of(der).ok_or(revocation_list::ListError::Malformed)?;
        let issuer = list.issuer.one_line();
        if list.this_update_seconds > now.saturating_add(CLOCK_TOLERANCE_SECONDS) {
            return Err(ListFault::NotYetValid {
                issuer,
                this_update_seconds: list.this_update_seconds,
            });
        }
        let mut fault = ListFault::UnknownIssuer { issuer: issuer.clone() };
        for signer in self.signers.iter().filter(|s| s.certificate.subject == list.issuer) {
            match signature::verify(&signer.key, &signed) {
                Ok(()) if may_sign_lists(&signer.certificate) => {
                    return Ok(VerifiedList {
                        list,
                        key_fingerprint: signer.certificate.public_key_fingerprint.clone(),
                        path: path.to_owned(),
                    });
                }
                Ok(()) => fault = ListFault::NotASigner { issuer: issuer.clone() },
                Err(SignatureFault::Unsupported) => fault = ListFault::WeakAlgorithm { issuer: issuer.clone() },
                Err(SignatureFault::Bad) if matches!(fault, ListFault::NotASigner { .. }) => {}
                Err(SignatureFault::Bad) => fault = ListFault::BadSignature { issuer: issuer.clone() },
            }
        }
        Err(fault)
    }
}

impl Watched {
    fn lists(&self) -> Lists {
        Lists::of(self.files.values().flat_map(|file| file.lists.iter().cloned()))
    }
}

fn refused(path: &Path, why: &str) -> CrlEvent {
    CrlEvent::Refused {
        path: path.to_owned(),
        why: why.to_owned(),
    }
}

/// RFC 5280 section 4.2.1.3: with the extension, cRLSign must be asserted.
fn may_sign_lists(certificate: &Certificate) -> bool {
    let usages = &certificate.key_usages;
    usages.is_empty() || usages.iter().any(|usage| usage == "cRLSign")
}

fn signers(authorities: &Authorities) -> Vec<Signer> {
    let anchors = authorities.anchor_details.iter().map(|anchor| &anchor.der);
    let all = anchors.chain(&authorities.pool);
    let signers = all.filter_map(|der| {
        Some(Signer {
            certificate: Arc::new(decode::decode(der).ok()?),
            key: decode::subject_public_key_info(der).ok()?,
        })
    });
    signers.collect()
}

/// Why a changed file is not taken although its lists are sound: it would undo what is in force, as one does that is cut
/// between two lists or put back from a backup. A reload takes it, on purpose.
fn what_is_lost(old: &[Arc<VerifiedList>], new: &[Arc<VerifiedList>]) -> Option<String> {
    old.iter().find_map(|old| {
        let issuer = old.list.issuer.one_line();
        let is_of_it =
            |new: &&Arc<VerifiedList>| new.list.issuer == old.list.issuer && new.key_fingerprint == old.key_fingerprint;
        let same_scope = new
            .iter()
            .filter(is_of_it)
            .filter(|new| new.list.scope == old.list.scope);
        match same_scope.map(|new| new.list.this_update_seconds).max() {
            None if !new.iter().any(|new| is_of_it(&new)) => Some(format!(
                "the list of {issuer} is no longer in it; to do without it, reload"
            )),
            Some(newest) if newest < old.list.this_update_seconds => Some(format!(
                "the list of {issuer} in it is of {}, older than the one in force; to go back to it, reload",
                Timestamp::from_seconds(newest)
            )),
            _ => None,
        }
    })
}
