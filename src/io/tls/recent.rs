//! Verdicts of late: a holder who comes again with the same chain need not have its signatures checked anew.
//!
//! **Implements** that a kept verdict counts only while nothing it was made of has changed: the same octets were
//! presented, no revocation list, deny-list or responder's answer is newer, and the time lies within what was judged.
//! **Does not** keep refusals: strangers could fill it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use rustls::pki_types::CertificateDer;

use crate::cert::identity::Identity;

/// Verdicts kept; when there are more, all are forgotten.
const VERDICTS_MAX: usize = 1024;
/// The longest chain whose verdict is kept, octets: it bounds the memory of all.
const CHAIN_OCTETS_MAX: usize = 16 * 1024;

/// SHA-256 over every presented certificate with its length.
type ChainDigest = [u8; 32];

/// The verdicts of one judge.
#[derive(Debug, Default)]
pub(super) struct RecentVerdicts {
    kept: Mutex<HashMap<ChainDigest, Verdict>>,
}

#[derive(Clone, Debug)]
struct Verdict {
    identity: Identity,
    generation: u64,
    from_unix_seconds: i64,
    until_unix_seconds: i64,
}

impl RecentVerdicts {
    /// The verdict on this chain and until when it holds, if it was judged under `generation` and holds at `now`.
    pub(super) fn find(&self, digest: &ChainDigest, generation: u64, now: i64) -> Option<(Identity, i64)> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let verdict = kept.get(digest)?;
        let is_of_now = (verdict.from_unix_seconds..verdict.until_unix_seconds).contains(&now);
        (verdict.generation == generation && is_of_now).then(|| (verdict.identity.clone(), verdict.until_unix_seconds))
    }

    /// Keeps a verdict made at `now` under `generation`, which was read before it was made.
    pub(super) fn keep(&self, digest: ChainDigest, identity: &Identity, generation: u64, (now, until): (i64, i64)) {
        if !matches!(identity, Identity::Verified { .. }) {
            return;
        }
        let verdict = Verdict {
            identity: identity.clone(),
            generation,
            from_unix_seconds: now,
            until_unix_seconds: until,
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= VERDICTS_MAX {
            kept.clear();
        }
        kept.insert(digest, verdict);
    }
}

/// What a chain is known by; `None` for one that is too long to be kept.
pub(super) fn digest(presented: &[CertificateDer<'_>]) -> Option<ChainDigest> {
    let octets: usize = presented.iter().map(|der| der.len()).sum();
    if octets > CHAIN_OCTETS_MAX {
        return None;
    }
    let mut context = Context::new(&SHA256);
    for der in presented {
        context.update(&(der.len() as u64).to_be_bytes());
        context.update(der);
    }
    context.finish().as_ref().try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cert::decode;
    use crate::cert::identity::Why;

    fn leaf() -> CertificateDer<'static> {
        let pem = include_bytes!("../../../certs-example/alice.pem");
        rustls_pemfile::certs(&mut &pem[..]).next().unwrap().unwrap()
    }

    fn verified() -> Identity {
        Identity::Verified {
            certificate: Arc::new(decode::decode(&leaf()).unwrap()),
            chain: Vec::new(),
        }
    }

    #[test]
    fn verdict_is_found_within_its_time_and_generation_only() {
        let verdicts = RecentVerdicts::default();
        let key = digest(&[leaf()]).unwrap();
        verdicts.keep(key, &verified(), 7, (100, 200));
        assert_eq!(verdicts.find(&key, 7, 100), Some((verified(), 200)));
        assert_eq!(verdicts.find(&key, 7, 199), Some((verified(), 200)));
        for (generation, now) in [(8, 100), (7, 99), (7, 200)] {
            assert_eq!(verdicts.find(&key, generation, now), None, "{generation} {now}");
        }
    }

    #[test]
    fn refusal_is_not_kept() {
        let verdicts = RecentVerdicts::default();
        let key = digest(&[leaf()]).unwrap();
        let refused = Identity::Unverified {
            why: Why::Expired,
            certificate: None,
        };
        verdicts.keep(key, &refused, 7, (100, 200));
        assert_eq!(verdicts.find(&key, 7, 150), None);
    }

    #[test]
    fn chains_that_differ_have_different_digests_and_long_ones_none() {
        let halves = [CertificateDer::from(vec![1, 2]), CertificateDer::from(vec![3])];
        let others = [CertificateDer::from(vec![1]), CertificateDer::from(vec![2, 3])];
        assert_ne!(digest(&halves), digest(&others));
        assert_eq!(digest(&[CertificateDer::from(vec![0; CHAIN_OCTETS_MAX + 1])]), None);
    }

    #[test]
    fn verdicts_are_bounded() {
        let verdicts = RecentVerdicts::default();
        for number in 0..VERDICTS_MAX as u64 * 2 {
            let key = digest(&[CertificateDer::from(number.to_be_bytes().to_vec())]).unwrap();
            verdicts.keep(key, &verified(), 0, (0, 10));
        }
        assert!(verdicts.kept.lock().unwrap().len() <= VERDICTS_MAX);
    }
}
