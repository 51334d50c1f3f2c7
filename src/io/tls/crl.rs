//! The revocation lists in force, and what they say of a certificate.
//!
//! **Implements** RFC 5280 section 6.3 for complete lists: each is bound to its issuer's name *and* key, since an
//! authority with a new key keeps its name; of several lists of one scope the newest counts.
//! **Does not** decide what a missing or stale list means: `super::revocation` does.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::cert::certificate::Certificate;
use crate::cert::revocation_list::{RevocationList, Revoked};

/// A list whose signature has been verified.
#[derive(Debug)]
pub struct VerifiedList {
    /// The list.
    pub list: RevocationList,
    /// SHA-256 of its issuer's SubjectPublicKeyInfo.
    pub key_fingerprint: String,
    /// The file it was read from.
    pub path: PathBuf,
}

/// What the lists say of a certificate.
#[derive(Debug)]
pub(super) enum Status<'a> {
    /// It is on one, fresh or not: what was taken back stays so.
    Revoked(&'a VerifiedList, Revoked),
    /// It is on none, and this one tells of it; the freshest if there are several.
    Listed(&'a VerifiedList),
    /// No list tells of it.
    Missing,
}

/// The lists in force, by the key of their issuer.
#[derive(Debug, Default)]
pub(super) struct Lists {
    by_key: HashMap<String, Vec<Arc<VerifiedList>>>,
}

impl Lists {
    /// Of several lists of the same issuer, key and scope only the newest is kept.
    pub(super) fn of(all: impl Iterator<Item = Arc<VerifiedList>>) -> Self {
        let mut by_key: HashMap<String, Vec<Arc<VerifiedList>>> = HashMap::new();
        for new in all {
            let lists = by_key.entry(new.key_fingerprint.clone()).or_default();
            let twin = lists
                .iter_mut()
                .find(|old| old.list.issuer == new.list.issuer && old.list.scope == new.list.scope);
            match twin {
                Some(old) if old.list.this_update_seconds < new.list.this_update_seconds => *old = new,
                Some(_) => {}
                None => lists.push(new),
            }
        }
        Self { by_key }
    }

    /// Every list in force, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<VerifiedList>> {
        self.by_key.values().flatten()
    }

    /// What is known of a certificate that `issuer` has issued.
    pub(super) fn status(&self, certificate: &Certificate, issuer: &Certificate) -> Status<'_> {
        let mut freshest: Option<&VerifiedList> = None;
        let lists = self.by_key.get(&issuer.public_key_fingerprint);
        for verified in lists.into_iter().flatten() {
            if verified.list.issuer != certificate.issuer || !verified.list.scope.covers(certificate) {
                continue;
            }
            if let Some(entry) = verified.list.entry(certificate) {
                return Status::Revoked(verified, entry);
            }
            if freshest.is_none_or(|other| verified.next_update() > other.next_update()) {
                freshest = Some(verified);
            }
        }
        freshest.map_or(Status::Missing, Status::Listed)
    }
}

impl VerifiedList {
    /// nextUpdate; a list without one never goes stale.
    pub(super) fn next_update(&self) -> i64 {
        self.list.next_update_seconds.unwrap_or(i64::MAX)
    }
}
