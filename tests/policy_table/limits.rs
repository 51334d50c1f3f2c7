//! Limits per holder: who is charged, when a limit acts, when it stops.

use std::sync::Arc;
use std::time::Duration;

use estafette::cert::certificate::{Certificate, NameOf};
use estafette::policy::limits::{Allowance, Amount, Charge, Counters, Exceeded, Holder, Limit, OnExceed};
use estafette::time::Timestamp;

use crate::holders::{NOW_SECONDS, alice_with, name};

/// Ten messages an hour per certificate, twice that in a burst, then hold.
pub fn ten_an_hour() -> Limit {
    Limit {
        name: "lab/1".into(),
        per: Holder::Certificate,
        messages: Some(10),
        recipients: None,
        octets: None,
        window: Duration::from_hours(1),
        burst_percent: 200,
        on_exceed: OnExceed::Hold,
    }
}

pub fn messages(messages: u64) -> Amount {
    Amount {
        messages,
        recipients: messages,
        octets: 1000,
    }
}

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(NOW_SECONDS + seconds)
}

/// The counters of one test, and who sends.
struct Bench {
    counters: Counters,
    certificate: Arc<Certificate>,
}

impl Bench {
    fn of(certificate: Certificate) -> Self {
        Self {
            counters: Counters::default(),
            certificate: Arc::new(certificate),
        }
    }

    fn alice() -> Self {
        Self::of(alice_with(|_| {}))
    }

    fn charge(&mut self, limits: &[&Limit], amount: Amount, seconds: i64) -> Option<Exceeded> {
        let charge = Charge {
            limits: limits.iter().map(|limit| Arc::new((*limit).clone())).collect(),
            certificate: Arc::clone(&self.certificate),
            amount,
        };
        match self.counters.charge(&charge, at(seconds)) {
            Allowance::Within => None,
            Allowance::Exceeded(exceeded) => Some(*exceeded),
        }
    }

    /// As [`Bench::charge`] for messages, with whether it is news when it is exceeded.
    fn send(&mut self, limit: &Limit, count: u64, seconds: i64) -> Option<bool> {
        self.charge(&[limit], messages(count), seconds)
            .map(|exceeded| exceeded.is_news)
    }
}

#[test]
fn burst_is_tolerated_then_the_limit_acts_until_usage_is_back_at_the_amount() {
    let (mut bench, limit) = (Bench::alice(), ten_an_hour());
    assert_eq!(bench.send(&limit, 10, 0), None);
    assert_eq!(bench.send(&limit, 10, 600), None);
    assert_eq!(bench.send(&limit, 1, 900), Some(true));
    assert_eq!(bench.send(&limit, 1, 901), Some(false));
    // The first ten are forgotten: twelve are left, beyond the amount although within the burst.
    assert_eq!(bench.send(&limit, 1, 3900), Some(false));
    // The ten behind them too: three are left.
    assert_eq!(bench.send(&limit, 1, 4500), None);
    // Beyond the burst anew is news anew.
    assert_eq!(bench.send(&limit, 20, 4501), Some(true));
}

#[test]
fn holder_who_keeps_trying_stays_beyond_the_limit() {
    let (mut bench, limit) = (Bench::alice(), ten_an_hour());
    assert_eq!(bench.send(&limit, 21, 0), Some(true));
    for tenth in 1..100 {
        assert_eq!(bench.send(&limit, 2, tenth * 360), Some(false), "{tenth}");
    }
    assert_eq!(bench.send(&limit, 1, 99 * 360 + 3900), None);
}

#[test]
fn one_holder_who_rests_starts_anew_with_a_burst() {
    let (mut bench, limit) = (Bench::alice(), ten_an_hour());
    assert_eq!(bench.send(&limit, 21, 0), Some(true));
    assert_eq!(bench.send(&limit, 20, 86_400), None);
    assert_eq!(bench.send(&limit, 1, 86_401), Some(true));
}

#[test]
fn each_kind_of_usage_is_limited_and_told_in_words() {
    let limit = |change: fn(&mut Limit)| {
        let mut limit = Limit {
            messages: None,
            ..ten_an_hour()
        };
        change(&mut limit);
        limit
    };
    for (limit, usage) in [
        (
            limit(|l| l.messages = Some(5)),
            "12 messages in 1h, 5 allowed, burst 2.0",
        ),
        (
            limit(|l| l.recipients = Some(59)),
            "120 recipients in 1h, 59 allowed, burst 2.0",
        ),
        (
            limit(|l| {
                l.octets = Some(400);
                l.burst_percent = 125;
                l.window = Duration::from_mins(90);
            }),
            "1200 octets in 1h 30m, 400 allowed, burst 1.25",
        ),
        (
            limit(|l| {
                l.messages = Some(12);
                l.octets = Some(1199);
                l.burst_percent = 50;
            }),
            "1200 octets in 1h, 1199 allowed",
        ),
    ] {
        let amount = Amount {
            messages: 12,
            recipients: 120,
            octets: 1200,
        };
        let exceeded = Bench::alice().charge(&[&limit], amount, 0).expect("it is exceeded");
        assert_eq!(exceeded.usage, usage);
        assert_eq!(
            exceeded.holder,
            "certificate 0A:1B of \"/C=FR/O=CNRS/CN=CNRS-Standard\""
        );
    }
    let unlimited = limit(|_| {});
    let all = Amount {
        messages: u64::MAX,
        recipients: u64::MAX,
        octets: u64::MAX,
    };
    assert_eq!(Bench::alice().charge(&[&unlimited], all, 0), None);
    let at_most = limit(|l| l.octets = Some(u64::MAX));
    assert_eq!(Bench::alice().charge(&[&at_most], all, 0), None);
    let nothing = limit(|l| l.messages = Some(0));
    assert!(Bench::alice().charge(&[&nothing], messages(1), 0).is_some());
}

#[test]
fn usage_is_added_up_per_certificate_attribute_or_issuer() {
    let per = |per| Limit { per, ..ten_an_hour() };
    let ou = || Holder::Attribute(NameOf::Subject, "OU".into());
    let other = |change: fn(&mut Certificate)| alice_with(change);
    let same_lab = other(|c| c.serial = "02".into());
    let other_lab = other(|c| {
        c.serial = "03".into();
        c.subject = name(&[("OU", "LBBE")]);
    });
    let other_issuer = other(|c| c.issuer = name(&[("CN", "CNRS-Plus")]));
    let renewed = other(|c| c.fingerprint = "DD:EE".into());
    for (holder, second, shares, words) in [
        (Holder::Certificate, &same_lab, false, ""),
        (Holder::Certificate, &other_issuer, false, ""),
        (
            Holder::Certificate,
            &renewed,
            true,
            "certificate 0A:1B of \"/C=FR/O=CNRS/CN=CNRS-Standard\"",
        ),
        (ou(), &same_lab, true, "OU=\"UMR5168\""),
        (ou(), &other_lab, false, ""),
        (
            Holder::Attribute(NameOf::Subject, "2.5.4.11".into()),
            &same_lab,
            true,
            "OU=\"UMR5168\"",
        ),
        (
            Holder::Attribute(NameOf::Issuer, "o".into()),
            &other_lab,
            true,
            "issuer O=\"CNRS\"",
        ),
        (
            Holder::Issuer,
            &other_lab,
            true,
            "issuer \"/C=FR/O=CNRS/CN=CNRS-Standard\"",
        ),
        (Holder::Issuer, &other_issuer, false, ""),
        // Nobody has a UID, so each counts by itself.
        (Holder::Attribute(NameOf::Subject, "UID".into()), &same_lab, false, ""),
    ] {
        let (mut bench, limit) = (Bench::alice(), per(holder.clone()));
        assert_eq!(bench.send(&limit, 20, 0), None);
        bench.certificate = Arc::new(second.clone());
        let exceeded = bench.charge(&[&limit], messages(1), 1);
        assert_eq!(exceeded.map(|e| e.holder).unwrap_or_default(), words, "{holder:?}");
        assert_eq!(shares, !words.is_empty());
    }
}

#[test]
fn every_value_of_an_attribute_is_a_holder_and_counts_once() {
    let limit = Limit {
        per: Holder::Attribute(NameOf::Subject, "OU".into()),
        ..ten_an_hour()
    };
    let mut bench = Bench::of(alice_with(|c| {
        c.subject = name(&[("OU", "A"), ("OU", "B"), ("OU", "A")]);
    }));
    assert_eq!(bench.send(&limit, 20, 0), None);
    bench.certificate = Arc::new(alice_with(|c| c.subject = name(&[("OU", "B")])));
    assert_eq!(bench.send(&limit, 1, 1), Some(true));
}

#[test]
fn names_that_only_look_alike_are_different_holders() {
    let limit = Limit {
        per: Holder::Attribute(NameOf::Subject, "OU".into()),
        ..ten_an_hour()
    };
    let long = "x".repeat(5000);
    let values = ["A", "a", "A ", "A\"", "A\\22", &long, &format!("{long}y")];
    let mut bench = Bench::alice();
    for value in values {
        bench.certificate = Arc::new(alice_with(|c| c.subject = name(&[("OU", value)])));
        assert_eq!(bench.send(&limit, 20, 0), None, "{}", &value[..1]);
    }
    let exceeded = bench.charge(&[&limit], messages(1), 0).expect("it is exceeded");
    assert!(exceeded.holder.chars().count() < 400);
}

#[test]
fn strictest_limit_wins_and_all_are_charged() {
    let named = |name: &str, on_exceed| Limit {
        name: name.into(),
        on_exceed,
        ..ten_an_hour()
    };
    let hold = named("a", OnExceed::Hold);
    let defer = named("b", OnExceed::Defer);
    let reject = named("c", OnExceed::Reject);
    let mut bench = Bench::alice();
    let told = |exceeded: Option<Exceeded>| exceeded.map(|e| (e.limit.on_exceed, e.is_news));
    for order in [
        [&hold, &defer, &reject],
        [&reject, &hold, &defer],
        [&defer, &reject, &hold],
    ] {
        let mut bench = Bench::alice();
        let exceeded = bench.charge(&order, messages(21), 0);
        assert_eq!(told(exceeded), Some((OnExceed::Reject, true)));
    }
    assert!(bench.charge(&[&hold, &defer], messages(21), 0).is_some());
    // The limit that was passed over acts all the same, and is told when its turn comes.
    assert_eq!(
        told(bench.charge(&[&hold], messages(1), 1)),
        Some((OnExceed::Hold, true))
    );
    assert_eq!(
        told(bench.charge(&[&hold, &defer], messages(1), 1)),
        Some((OnExceed::Defer, false))
    );
    assert_eq!(
        told(bench.charge(&[&hold], messages(1), 1)),
        Some((OnExceed::Hold, false))
    );
}

#[test]
fn counters_survive_a_reload_that_changes_the_limit() {
    let mut bench = Bench::alice();
    assert_eq!(bench.send(&ten_an_hour(), 15, 0), None);
    let longer = Limit {
        window: Duration::from_hours(24),
        ..ten_an_hour()
    };
    assert_eq!(bench.send(&longer, 5, 1), None);
    assert_eq!(bench.send(&longer, 1, 7200), Some(true));
    let higher = Limit {
        messages: Some(100),
        ..ten_an_hour()
    };
    assert_eq!(bench.send(&higher, 1, 7201), None);
    let renamed = Limit {
        name: "lab/2".into(),
        ..ten_an_hour()
    };
    assert_eq!(bench.send(&renamed, 20, 7201), None);
}

#[test]
fn clock_set_back_neither_frees_a_holder_nor_locks_him_for_ever() {
    let (mut bench, limit) = (Bench::alice(), ten_an_hour());
    let year = 31_536_000;
    assert_eq!(bench.send(&limit, 21, year), Some(true));
    assert_eq!(bench.send(&limit, 1, 0), Some(false));
    assert_eq!(bench.send(&limit, 0, 3900), None);
    assert_eq!(bench.send(&limit, 10, 3901), None);
}
