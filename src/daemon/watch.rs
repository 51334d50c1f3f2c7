//! The watch on what takes certificates back: revocation lists and the deny-list, read again when they have changed.
//!
//! **Implements** the log of revocation lists and their ages. Live sessions notice a change by themselves, at their next
//! octets.
//! **Does not** end sessions, nor read certificates and keys again: that is what a reload is for.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::cert::revocation_list::RevocationList;
use crate::io::clock;
use crate::io::tls::crl_files::CrlEvent;
use crate::io::tls::deny_list::DenyList;
use crate::io::tls::error::TlsFileError;
use crate::io::tls::judge::{self, Judge, SharedRevocation};
use crate::io::tls::ocsp::Responders;
use crate::io::tls::settings::ServerTlsFiles;
use crate::observe::{log, metrics};
use crate::time::Timestamp;

/// How often the deny-list is looked at: `estafette cert revoke` must take effect at the next MAIL.
const DENY_LIST_INTERVAL: Duration = Duration::from_secs(1);

/// In every how many rounds the files of revocation lists are looked at.
const LISTS_EVERY: u64 = 3;

/// What the judges of a daemon share, and the judges in force.
#[derive(Default)]
pub(super) struct Watch {
    responders: Arc<Responders>,
    deny_lists: Mutex<HashMap<PathBuf, WatchedDenyList>>,
    judges: ArcSwap<Vec<Arc<Judge>>>,
    has_reloaded: Notify,
}

struct WatchedDenyList {
    list: Arc<DenyList>,
    /// What was last logged against it.
    fault: Option<String>,
}

impl Watch {
    /// What a new judge for these files shares with the others. A deny-list that is known is not read again.
    ///
    /// # Errors
    /// The deny-list cannot be read.
    pub(super) fn shared(&self, files: &ServerTlsFiles) -> Result<SharedRevocation, TlsFileError> {
        let deny_list = files.revocation.deny_list.as_deref();
        Ok(SharedRevocation {
            deny_list: deny_list.map(|path| self.deny_list(path)).transpose()?,
            responders: Arc::clone(&self.responders),
        })
    }

    fn deny_list(&self, path: &Path) -> Result<Arc<DenyList>, TlsFileError> {
        let mut deny_lists = self.deny_lists.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = deny_lists.get(path) {
            return Ok(Arc::clone(&known.list));
        }
        let list = judge::deny_list(path)?;
        let watched = WatchedDenyList {
            list: Arc::clone(&list),
            fault: None,
        };
        deny_lists.insert(path.to_owned(), watched);
        Ok(list)
    }

    /// From now on watches the files of these judges.
    pub(super) fn follow(&self, judges: Vec<Arc<Judge>>) {
        self.deny_lists
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|_, watched| {
                let is_same = |list: &Arc<DenyList>| Arc::ptr_eq(list, &watched.list);
                judges.iter().filter_map(|judge| judge.deny_list()).any(is_same)
            });
        self.judges.store(Arc::new(judges));
        self.has_reloaded.notify_one();
    }

    /// Looks at the files every few seconds, and at once after a reload, until `stopping` is cancelled.
    pub(super) async fn run(self: Arc<Self>, stopping: CancellationToken) {
        for round in 0_u64.. {
            let watch = Arc::clone(&self);
            let with_lists = round % LISTS_EVERY == 0;
            // Reading and verifying a large list takes a while.
            let _ = tokio::task::spawn_blocking(move || watch.look(with_lists)).await;
            tokio::select! {
                () = stopping.cancelled() => return,
                () = self.has_reloaded.notified() => {
                    let watch = Arc::clone(&self);
                    let _ = tokio::task::spawn_blocking(move || watch.look(true)).await;
                }
                () = tokio::time::sleep(DENY_LIST_INTERVAL) => {}
            }
        }
    }

    fn look(&self, with_lists: bool) {
        self.look_at_deny_lists();
        if !with_lists {
            return;
        }
        let now = clock::unix_seconds();
        for judge in self.judges.load().iter() {
            for event in judge.refresh_lists(now) {
                tell(judge, &event);
            }
        }
    }

    fn look_at_deny_lists(&self) {
        let mut deny_lists = self.deny_lists.lock().unwrap_or_else(PoisonError::into_inner);
        for (path, watched) in deny_lists.iter_mut() {
            match watched.list.refresh() {
                Ok(has_changed) => {
                    watched.fault = None;
                    if has_changed {
                        log::deny_list_changed(path);
                    }
                }
                Err(why) => {
                    if watched.fault.as_ref() != Some(&why) {
                        log::deny_list_refused(path, &why);
                    }
                    watched.fault = Some(why);
                }
            }
        }
    }

    /// Counters, and the ages of the lists in force.
    pub(super) fn metrics(&self) -> String {
        let judges = self.judges.load();
        let lists: Vec<_> = judges.iter().flat_map(|judge| judge.revocation_lists()).collect();
        let lists = lists.iter().map(|verified| -> &RevocationList { &verified.list });
        metrics::text(lists, clock::unix_seconds())
    }
}

fn tell(judge: &Judge, event: &CrlEvent) {
    match event {
        CrlEvent::Loaded(verified) => log::crl_loaded(&verified.path, &verified.list),
        CrlEvent::Refused { path, why } => log::crl_refused(path, why),
        CrlEvent::Expiring(verified) => log::crl_expiring(&verified.path, &verified.list),
        CrlEvent::Stale(verified) => {
            let counts_until = Timestamp::from_seconds(judge.stale_from(verified));
            log::crl_stale(&verified.path, &verified.list, counts_until);
        }
    }
}
