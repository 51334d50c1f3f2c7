//! How much a holder may send: limits, and the counters they are held against.
//!
//! **Implements** `[[certificate_rule.limit]]`: messages, recipients and octets per time for a certificate, an attribute
//! of its subject or its issuer; a burst up to a factor is tolerated, beyond it the limit acts until usage is back at or
//! under the plain amount. Within any span of `time` no more than the amount times `burst` is let through.
//! **Does not** read a clock, nor survive a restart; a reload keeps the counters.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};

pub use super::usage::Amount;
use super::usage::Usage;
use super::wording;
use crate::cert::certificate::{Certificate, NameOf};
use crate::cert::name::{oid_of, short_name};
use crate::time::{Timestamp, print_duration};

/// One `[[certificate_rule.limit]]`. What is `None` is not limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The rule and the limit's number in it, from 1: `students/1`. Counters are kept under this name.
    pub name: String,
    /// Whose usage is added up.
    pub per: Holder,
    /// Messages per window.
    pub messages: Option<u64>,
    /// Recipients per window.
    pub recipients: Option<u64>,
    /// Octets of mail data per window.
    pub octets: Option<u64>,
    /// `time`: the window.
    pub window: Duration,
    /// `burst`: the amounts times this may come before `on_exceed` acts, in percent (100: no burst).
    pub burst_percent: u32,
    /// What happens beyond.
    pub on_exceed: OnExceed,
}

/// Whose usage is added up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Each certificate, by issuer and serial.
    Certificate,
    /// Each value of an attribute of the subject or the issuer; a certificate without it counts by itself.
    Attribute(NameOf, String),
    /// Everybody of one issuer.
    Issuer,
}

/// What happens beyond a limit; the strictest comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnExceed {
    /// 250, and the message waits on hold for the postmaster.
    Hold,
    /// 450 4.7.1.
    Defer,
    /// 554 5.7.1.
    Reject,
}

impl OnExceed {
    /// As it is written in the configuration.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Defer => "defer",
            Self::Reject => "reject",
        }
    }
}

/// A charge: these limits, this holder, this much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Each once.
    pub limits: Vec<Arc<Limit>>,
    /// The holder.
    pub certificate: Arc<Certificate>,
    /// How much.
    pub amount: Amount,
}

/// Whether a charge is within its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Allowance {
    /// Within all.
    Within,
    /// Beyond this one, the strictest first: Reject, then Defer, then Hold.
    Exceeded(Box<Exceeded>),
}

/// A limit that was exceeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// Which.
    pub limit: Arc<Limit>,
    /// Whose usage it is: `certificate 0A:1B of "/C=FR/.."`, `OU="UMR5168"`, `issuer "/C=FR/.."`.
    pub holder: String,
    /// The usage that exceeds it, in words: `121 messages in 1h, 40 allowed, burst 3.0`.
    pub usage: String,
    /// Whether it is told for the first time since the limit began to act on this holder: worth a warning.
    pub is_news: bool,
}

/// The most pairs of a limit and a holder that are counted at a time; beyond it the least used eighth is forgotten, those
/// on which a limit acts last.
pub const HOLDERS_MAX: usize = 100_000;

/// The counters of all holders.
#[derive(Debug)]
pub struct Counters {
    accounts: HashMap<Key, Account>,
    accounts_max: usize,
}

/// SHA-256 of the limit's name and the holder: the same size however long a name is.
type Key = [u8; 32];

/// One holder under one limit.
#[derive(Debug)]
struct Account {
    usage: Usage,
    /// Whether the limit acts.
    is_exceeded: bool,
    /// Whether that was told.
    is_told: bool,
    /// The part of what is allowed that was used at the last charge, in thousandths.
    share: u64,
    charged_at: Timestamp,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            accounts: HashMap::new(),
            accounts_max: HOLDERS_MAX,
        }
    }
}

impl Counters {
    /// Adds a charge to its holders under every limit and says whether they are within. What is refused is charged too: a
    /// holder who keeps trying stays beyond the limit.
    pub fn charge(&mut self, charge: &Charge, now: Timestamp) -> Allowance {
        let mut strictest: Option<(&Arc<Limit>, Key, String, Amount)> = None;
        for limit in &charge.limits {
            for party in parties(&limit.per, &charge.certificate) {
                let key = key_of(&limit.name, &party);
                let account = self.account(key, limit, now);
                let usage = account.charge(limit, charge.amount, now);
                let is_stricter = strictest
                    .as_ref()
                    .is_none_or(|(other, ..)| limit.on_exceed > other.on_exceed);
                if account.is_exceeded && is_stricter {
                    strictest = Some((limit, key, party.words, usage));
                }
            }
        }
        let Some((limit, key, holder, usage)) = strictest else {
            return Allowance::Within;
        };
        let was_told = self
            .accounts
            .get_mut(&key)
            .map(|account| std::mem::replace(&mut account.is_told, true));
        Allowance::Exceeded(Box::new(Exceeded {
            limit: Arc::clone(limit),
            holder,
            usage: in_words(limit, usage),
            is_news: was_told == Some(false),
        }))
    }

    fn account(&mut self, key: Key, limit: &Limit, now: Timestamp) -> &mut Account {
        if self.accounts.len() >= self.accounts_max && !self.accounts.contains_key(&key) {
            self.make_room(now);
        }
        self.accounts.entry(key).or_insert_with(|| Account {
            usage: Usage::new(limit.window),
            is_exceeded: false,
            is_told: false,
            share: 0,
            charged_at: now,
        })
    }

    /// Forgets what no longer counts, then the least used down to seven eighths, so that the work is done once for many.
    fn make_room(&mut self, now: Timestamp) {
        self.accounts.retain(|_, account| !account.usage.is_over(now));
        let kept = self.accounts_max.saturating_sub(self.accounts_max.div_euclid(8).max(1));
        if self.accounts.len() <= kept {
            return;
        }
        let mut ranks: Vec<_> = self
            .accounts
            .iter()
            .map(|(key, account)| (account.rank(), *key))
            .collect();
        ranks.sort_unstable_by_key(|(rank, key)| (Reverse(*rank), *key));
        for (_, key) in ranks.iter().skip(kept) {
            self.accounts.remove(key);
        }
    }
}

impl Account {
    /// Adds a charge and says what counts with it.
    fn charge(&mut self, limit: &Limit, amount: Amount, now: Timestamp) -> Amount {
        let before = self.usage.now(limit.window, now);
        if self.is_exceeded && !is_beyond(limit, before, 100) {
            self.is_exceeded = false;
            self.is_told = false;
        }
        self.usage.add(amount, now);
        let with_it = before.plus(amount);
        self.is_exceeded |= is_beyond(limit, with_it, limit.burst_percent);
        self.share = share(limit, with_it);
        self.charged_at = now;
        with_it
    }

    /// The higher, the longer it is kept.
    const fn rank(&self) -> (bool, u64, Timestamp) {
        (self.is_exceeded, self.share, self.charged_at)
    }
}

/// The kinds of usage: the word, what is allowed, what is used.
fn kinds(limit: &Limit, usage: Amount) -> [(&'static str, Option<u64>, u64); 3] {
    [
        ("messages", limit.messages, usage.messages),
        ("recipients", limit.recipients, usage.recipients),
        ("octets", limit.octets, usage.octets),
    ]
}

/// The amount times the factor; a factor under one counts as one.
fn allowed(amount: u64, percent: u32) -> u64 {
    let product = u128::from(amount).saturating_mul(u128::from(percent.max(100)));
    u64::try_from(product.div_euclid(100)).unwrap_or(u64::MAX)
}

fn is_beyond(limit: &Limit, usage: Amount, percent: u32) -> bool {
    let beyond =
        |(_, amount, used): (_, Option<u64>, u64)| amount.is_some_and(|amount| used > allowed(amount, percent));
    kinds(limit, usage).into_iter().any(beyond)
}

/// The part of the allowed amount that is used, of the kind that is used most.
fn share(limit: &Limit, usage: Amount) -> u64 {
    let thousandths = |(_, amount, used): (_, Option<u64>, u64)| {
        amount.map(|amount| used.saturating_mul(1000).div_euclid(amount.max(1)))
    };
    kinds(limit, usage)
        .into_iter()
        .filter_map(thousandths)
        .max()
        .unwrap_or(0)
}

/// The kind that exceeds the burst, or else the plain amount.
fn in_words(limit: &Limit, usage: Amount) -> String {
    let first_beyond = |percent: u32| {
        let limited = kinds(limit, usage)
            .into_iter()
            .filter_map(|(kind, amount, used)| Some((kind, amount?, used)));
        limited
            .into_iter()
            .find(|(_, amount, used)| *used > allowed(*amount, percent))
    };
    let Some((kind, amount, used)) = first_beyond(limit.burst_percent).or_else(|| first_beyond(100)) else {
        return "within the limit".into();
    };
    let window = print_duration(limit.window);
    let burst = match limit.burst_percent {
        ..=100 => String::new(),
        percent => format!(
            ", burst {}.{}",
            percent.div_euclid(100),
            hundredths(percent.rem_euclid(100))
        ),
    };
    format!("{used} {kind} in {window}, {amount} allowed{burst}")
}

/// `0`, `5`, `25`: what stands behind the point.
fn hundredths(rest: u32) -> String {
    let digits = format!("{rest:02}");
    digits.strip_suffix('0').map_or(digits.clone(), str::to_owned)
}

/// Somebody whose usage is added up.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Party {
    /// Exact, whatever its length; only its digest is kept.
    identity: String,
    words: String,
}

/// Whose usage a certificate adds to; each once.
fn parties(per: &Holder, certificate: &Certificate) -> Vec<Party> {
    let issuer = certificate.issuer.one_line();
    let issuer_words = wording::escaped_name(&issuer);
    let by_itself = || Party {
        identity: format!("certificate\0{issuer}\0{}", certificate.serial),
        words: wording::bounded(format!("certificate {} of {issuer_words}", certificate.serial)),
    };
    match per {
        Holder::Certificate => vec![by_itself()],
        Holder::Issuer => vec![Party {
            identity: format!("issuer\0{issuer}"),
            words: format!("issuer {issuer_words}"),
        }],
        Holder::Attribute(of, attribute) => {
            let mut parties = attribute_parties(*of, attribute, certificate);
            if parties.is_empty() {
                parties.push(by_itself());
            }
            parties
        }
    }
}

fn attribute_parties(of: NameOf, attribute: &str, certificate: &Certificate) -> Vec<Party> {
    let oid = oid_of(attribute).unwrap_or(attribute);
    let prefix = match of {
        NameOf::Subject => "",
        NameOf::Issuer => "issuer ",
    };
    let party = |value: &str| Party {
        identity: format!("{}\0{oid}\0{value}", of.word()),
        words: format!("{prefix}{}={}", short_name(oid), wording::value(value)),
    };
    let mut parties: Vec<Party> = certificate.name(of).values(attribute).map(party).collect();
    parties.sort_unstable();
    parties.dedup();
    parties
}

fn key_of(limit: &str, party: &Party) -> Key {
    let mut context = Context::new(&SHA256);
    for part in [limit.as_bytes(), b"\0", party.identity.as_bytes()] {
        context.update(part);
    }
    Key::try_from(context.finish().as_ref()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit() -> Limit {
        Limit {
            name: "lab/1".into(),
            per: Holder::Certificate,
            messages: Some(10),
            recipients: Some(1000),
            octets: None,
            window: Duration::from_hours(1),
            burst_percent: 100,
            on_exceed: OnExceed::Defer,
        }
    }

    fn send(counters: &mut Counters, holder: u16, messages: u64, seconds: i64) -> bool {
        let mut key = Key::default();
        key[..2].copy_from_slice(&holder.to_be_bytes());
        let amount = Amount {
            messages,
            ..Amount::default()
        };
        let (limit, now) = (limit(), Timestamp::from_seconds(seconds));
        let account = counters.account(key, &limit, now);
        account.charge(&limit, amount, now);
        !account.is_exceeded
    }

    fn counters(accounts_max: usize) -> Counters {
        Counters {
            accounts_max,
            ..Counters::default()
        }
    }

    #[test]
    fn holders_are_bounded_and_those_beyond_a_limit_are_forgotten_last() {
        let mut counters = counters(16);
        assert!(!send(&mut counters, 0, 11, 0));
        assert!(send(&mut counters, 1, 9, 0));
        for holder in 2..2000 {
            assert!(send(&mut counters, holder, 1, i64::from(holder)));
            assert!(counters.accounts.len() <= 16);
        }
        assert!(!send(&mut counters, 0, 1, 2000), "it is still beyond its limit");
        assert!(!send(&mut counters, 1, 2, 2000), "it is still close to its limit");
        assert!(send(&mut counters, 2, 10, 2000), "it was forgotten");
    }

    #[test]
    fn holders_whose_usage_is_past_make_room_first() {
        let mut counters = counters(16);
        for holder in 0..15 {
            assert!(!send(&mut counters, holder, 11, 0));
        }
        assert!(send(&mut counters, 15, 1, 3900));
        assert!(send(&mut counters, 16, 1, 3901));
        assert_eq!(counters.accounts.len(), 2);
        assert!(send(&mut counters, 15, 9, 3902));
        assert!(!send(&mut counters, 15, 1, 3902));
    }

    #[test]
    fn place_for_one_holder_is_enough_to_go_on() {
        for accounts_max in [0, 1, 2] {
            let mut counters = counters(accounts_max);
            for holder in 0..100 {
                assert!(send(&mut counters, holder, 10, 0));
                assert!(!send(&mut counters, holder, 1, 0));
                assert!(counters.accounts.len() <= accounts_max.max(1));
            }
        }
    }

    #[test]
    fn factors_are_printed_as_they_are_written() {
        let printed = |percent| {
            let limit = Limit {
                burst_percent: percent,
                ..limit()
            };
            let usage = Amount {
                messages: 1_000_000,
                ..Amount::default()
            };
            in_words(&limit, usage)
        };
        assert_eq!(printed(100), "1000000 messages in 1h, 10 allowed");
        for (percent, words) in [(101, "1.01"), (125, "1.25"), (150, "1.5"), (300, "3.0"), (1000, "10.0")] {
            assert_eq!(
                printed(percent),
                format!("1000000 messages in 1h, 10 allowed, burst {words}")
            );
        }
    }
}
