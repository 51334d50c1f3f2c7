//! OCSP: asking the responder that a client's certificate names, and keeping what it said.
//!
//! **Implements** RFC 6960 over plain HTTP, for `smtpd_tls_ocsp`. An answer counts only when the issuer, or a responder it
//! delegated, has signed it, and until its nextUpdate; "revoked" stays until the responder says otherwise.
//! **Does not** ask for anybody whose chain does not verify: the address to ask stands in the certificate.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::ocsp_exchange::ask;
use crate::cert::certificate::Certificate;
use crate::cert::decode;
use crate::cert::ocsp::{Answer, CertificateId, Said};
use crate::observe::log;

/// The most certificates of which something is kept.
const KNOWN_MAX: usize = 10_000;
/// The most responders of one certificate that are asked, one after the other.
const RESPONDERS_MAX: usize = 2;
/// How long after a failure, or an answer "unknown", nobody is asked again about a certificate, and how long a responder
/// that failed rests, seconds: a dead one must not delay every session.
const BACK_OFF_SECONDS: i64 = 60;
/// The most responders that rest at a time.
const RESTING_MAX: usize = 1_000;
/// The longest time a question may take, whatever the configuration says: the clock must not overflow.
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);

/// What is known of certificates from their responders; shared by every listener, bounded.
#[derive(Debug, Default)]
pub struct Responders {
    known: Mutex<HashMap<Key, Known>>,
    /// Held by whoever asks about a certificate: the others wait and take over the answer.
    asking: Mutex<HashMap<Key, Weak<tokio::sync::Mutex<()>>>>,
    /// Responders that failed, and when they may be asked again, seconds since 1970.
    resting: Mutex<HashMap<String, i64>>,
    generation: AtomicU64,
}

/// What a responder said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OcspStatus {
    /// It vouches for the certificate until then (seconds since 1970).
    Good {
        /// nextUpdate.
        until_unix_seconds: i64,
    },
    /// The certificate has been revoked.
    Revoked,
    /// No answer that counts is at hand.
    Unknown,
}

/// The issuer's public key fingerprint, and the serial.
type Key = (String, String);

/// What is kept of one certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    /// The last answer that counted, good or revoked.
    answer: Option<Answer>,
    /// When somebody may be asked again, seconds since 1970.
    ask_again: i64,
}

/// What a responder is asked, and when.
struct Question<'a> {
    subject: String,
    id: CertificateId,
    issuer: &'a [u8],
    now_unix_seconds: i64,
}

impl Known {
    fn status(self, now_unix_seconds: i64) -> OcspStatus {
        match self.answer {
            Some(Answer {
                said: Said::Revoked, ..
            }) => OcspStatus::Revoked,
            Some(Answer {
                said: Said::Good,
                until_unix_seconds,
            }) if now_unix_seconds <= until_unix_seconds => OcspStatus::Good { until_unix_seconds },
            _ => OcspStatus::Unknown,
        }
    }
}

impl Responders {
    /// What is known of a leaf whose direct issuer is `issuer`.
    pub fn status(&self, leaf: &Certificate, issuer: &Certificate, now_unix_seconds: i64) -> OcspStatus {
        let known = self.known().get(&key(leaf, issuer)).copied();
        known.map_or(OcspStatus::Unknown, |known| known.status(now_unix_seconds))
    }

    /// Changes with every answer that changes what is known.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Asks the responders that the leaf names, unless an answer that still counts is at hand, for at most `timeout`.
    /// `leaf` and `issuer` are DER. Cancel-safe: what was not answered is not kept.
    pub async fn ask(&self, leaf: &[u8], issuer: &[u8], timeout: Duration, now_unix_seconds: i64) {
        let (Ok(certificate), Ok(issuing)) = (decode::decode(leaf), decode::decode(issuer)) else {
            return;
        };
        let (key, timeout) = (key(&certificate, &issuing), timeout.min(TIMEOUT_MAX));
        let deadline = Instant::now() + timeout;
        if self.is_settled(&key, now_unix_seconds) {
            return;
        }
        let gate = self.gate(&key);
        let Ok(_held) = timeout_at(deadline, gate.lock()).await else {
            return;
        };
        // Whoever held it before has the answer, or the failure; or gave up, and left too little time to judge by.
        let is_late = deadline.saturating_duration_since(Instant::now()) < timeout / 2;
        if is_late || self.is_settled(&key, now_unix_seconds) {
            return;
        }
        let Ok(id) = CertificateId::of(leaf, issuer) else {
            return;
        };
        let question = Question {
            subject: certificate.subject.one_line(),
            id,
            issuer,
            now_unix_seconds,
        };
        let named = responders(&certificate);
        if named.is_empty() {
            log::ocsp_failed(&question.subject, "", "the certificate names no http:// responder");
        }
        let is_awake = |responder: &&str| !self.rests(responder, now_unix_seconds);
        let awake: Vec<&str> = named.iter().copied().filter(is_awake).collect();
        // While all rest, nothing new is learnt about the certificate.
        if named.is_empty() || !awake.is_empty() {
            let answer = self.ask_in_turn(&awake, &question, deadline).await;
            self.keep(key, answer, now_unix_seconds);
        }
    }

    /// Asks one responder after the other until one answers; each has an equal share of the time that is left.
    async fn ask_in_turn(&self, responders: &[&str], question: &Question<'_>, deadline: Instant) -> Option<Answer> {
        let mut left = u32::try_from(responders.len()).unwrap_or(u32::MAX);
        for responder in responders {
            let now = Instant::now();
            let share = deadline.saturating_duration_since(now) / left;
            left -= 1;
            if let Some(answer) = self.ask_one(responder, question, now + share).await {
                return Some(answer);
            }
        }
        None
    }

    async fn ask_one(&self, responder: &str, question: &Question<'_>, deadline: Instant) -> Option<Answer> {
        let asked = ask(responder, &question.id, question.issuer, question.now_unix_seconds);
        let (why, is_outage) = match timeout_at(deadline, asked).await {
            Ok(Ok(answer)) => {
                log::ocsp_answered(&question.subject, responder, answer);
                return Some(answer);
            }
            Ok(Err(error)) => (error.to_string(), error.is_outage()),
            Err(_) => ("it did not answer in time (smtpd_tls_ocsp_timeout)".into(), true),
        };
        log::ocsp_failed(&question.subject, responder, &why);
        if is_outage {
            self.rest(responder, question.now_unix_seconds);
        }
        None
    }

    fn rests(&self, responder: &str, now_unix_seconds: i64) -> bool {
        let until = self.resting().get(responder).copied();
        until.is_some_and(|until| now_unix_seconds < until)
    }

    fn rest(&self, responder: &str, now_unix_seconds: i64) {
        let mut resting = self.resting();
        resting.retain(|_, until| now_unix_seconds < *until);
        if resting.len() < RESTING_MAX {
            resting.insert(responder.to_owned(), now_unix_seconds.saturating_add(BACK_OFF_SECONDS));
        }
    }

    /// Whether nobody need be asked now.
    fn is_settled(&self, key: &Key, now_unix_seconds: i64) -> bool {
        let known = self.known().get(key).copied();
        known.is_some_and(|known| now_unix_seconds < known.ask_again)
    }

    /// What is held while asking about a certificate; gone when nobody asks.
    fn gate(&self, key: &Key) -> Arc<tokio::sync::Mutex<()>> {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = asking.get(key).and_then(Weak::upgrade) {
            return gate;
        }
        asking.retain(|_, gate| gate.strong_count() > 0);
        let gate = Arc::default();
        asking.insert(key.clone(), Arc::downgrade(&gate));
        gate
    }

    /// Keeps an answer or, without one, the failure.
    fn keep(&self, key: Key, answer: Option<Answer>, now_unix_seconds: i64) {
        let mut known = self.known();
        let before = known.get(&key).copied();
        let counts = answer.filter(|answer| answer.said != Said::Unknown);
        let after = match (counts, answer) {
            (Some(counts), _) => Known {
                answer: Some(counts),
                ask_again: counts.until_unix_seconds.saturating_add(1),
            },
            // A responder that no longer knows a certificate vouches for it no more; one that fails changes nothing.
            (None, said) => Known {
                answer: before
                    .and_then(|before| before.answer)
                    .filter(|answer| said.is_none() || answer.said == Said::Revoked),
                ask_again: now_unix_seconds.saturating_add(BACK_OFF_SECONDS),
            },
        };
        if before.is_none() {
            make_room(&mut known, now_unix_seconds);
        }
        known.insert(key, after);
        if before.and_then(|before| before.answer) != after.answer {
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn resting(&self) -> MutexGuard<'_, HashMap<String, i64>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Key, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The responders to ask, in this order.
fn responders(certificate: &Certificate) -> Vec<&str> {
    let is_http = |url: &&str| {
        url.get(..7)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"))
    };
    let urls = certificate.ocsp_responders.iter().map(String::as_str).filter(is_http);
    urls.take(RESPONDERS_MAX).collect()
}

fn key(leaf: &Certificate, issuer: &Certificate) -> Key {
    (issuer.public_key_fingerprint.clone(), leaf.serial.clone())
}

/// Drops what is past, and when that is not enough the certificate to be asked about soonest; "revoked" goes last.
fn make_room(known: &mut HashMap<Key, Known>, now_unix_seconds: i64) {
    if known.len() < KNOWN_MAX {
        return;
    }
    known
        .retain(|_, known| known.status(now_unix_seconds) != OcspStatus::Unknown || now_unix_seconds < known.ask_again);
    if known.len() < KNOWN_MAX {
        return;
    }
    let rank = |known: &Known| (known.status(now_unix_seconds) == OcspStatus::Revoked, known.ask_again);
    let soonest = known
        .iter()
        .min_by_key(|(_, known)| rank(known))
        .map(|(key, _)| key.clone());
    soonest.and_then(|key| known.remove(&key));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(said: Said, until_unix_seconds: i64) -> Answer {
        Answer {
            said,
            until_unix_seconds,
        }
    }

    fn named(name: &str) -> Key {
        ("issuer".into(), name.into())
    }

    fn status(responders: &Responders, now: i64) -> OcspStatus {
        responders.known()[&named("a")].status(now)
    }

    #[test]
    fn good_lapses_and_revoked_stays_until_a_newer_word() {
        let responders = Responders::default();
        responders.keep(named("a"), Some(answer(Said::Good, 100)), 0);
        assert_eq!(
            status(&responders, 100),
            OcspStatus::Good {
                until_unix_seconds: 100
            }
        );
        assert_eq!(status(&responders, 101), OcspStatus::Unknown);
        assert!(!responders.is_settled(&named("a"), 101));
        responders.keep(named("a"), Some(answer(Said::Revoked, 200)), 101);
        responders.keep(named("a"), None, 300);
        assert_eq!(status(&responders, 301), OcspStatus::Revoked);
        assert_eq!(responders.generation(), 2);
        responders.keep(named("a"), Some(answer(Said::Good, 500)), 400);
        assert_eq!(
            status(&responders, 400),
            OcspStatus::Good {
                until_unix_seconds: 500
            }
        );
    }

    #[test]
    fn failure_is_remembered_for_the_back_off_only() {
        let responders = Responders::default();
        for said in [None, Some(answer(Said::Unknown, 1000))] {
            responders.keep(named("a"), said, 0);
            assert!(responders.is_settled(&named("a"), BACK_OFF_SECONDS - 1));
            assert!(!responders.is_settled(&named("a"), BACK_OFF_SECONDS));
        }
        assert_eq!(responders.generation(), 0);
    }

    #[test]
    fn memory_is_bounded_and_revoked_certificates_go_last() {
        let responders = Responders::default();
        responders.keep(named("a"), Some(answer(Said::Revoked, 1)), 0);
        for n in 0..=KNOWN_MAX {
            responders.keep(named(&n.to_string()), Some(answer(Said::Good, 1000)), 0);
        }
        assert_eq!(responders.known().len(), KNOWN_MAX);
        assert_eq!(status(&responders, 0), OcspStatus::Revoked);
    }
}
