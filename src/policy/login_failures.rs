//! Wrong passwords counted: by address, by login, and by both for whoever has proved once that the login is theirs.
//!
//! **Implements** `smtpd_sasl_failure_limit_address`, `smtpd_sasl_failure_limit_login`, `smtpd_sasl_failure_time`.
//! **Does not** know a clock, nor whether a password is right.
//!
//! An address from which a login has authenticated lately is trusted for that login: it has a count of its own and hears
//! nothing of what others do. So nobody can lock the holder of a login out by guessing at it from elsewhere, and a guesser
//! on the same network cannot either. Every other address shares the login's count, and has its own for all logins.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::net;

/// Entries of each table; past it those with the fewest failures go.
const ENTRIES_MAX: usize = 65_536;
/// How long an address is trusted for a login after its last success.
const TRUST_TIME: Duration = Duration::from_hours(30 * 24);
/// Verifications under way that do not yet count as failures: a mail program opens several connections at once.
const UNDER_WAY_FREE: u32 = 8;
/// Wrong passwords remembered of each entry: one that a program repeats is no new guess.
const REMEMBERED: usize = 8;
/// The wait after the first failure; it doubles with each.
const FIRST_DELAY: Duration = Duration::from_millis(500);
/// The longest wait.
const DELAY_MAX: Duration = Duration::from_secs(8);

/// The limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureLimits {
    /// `smtpd_sasl_failure_limit_address`; 0: none.
    pub address: u32,
    /// `smtpd_sasl_failure_limit_login`; 0: none.
    pub login: u32,
    /// `smtpd_sasl_failure_time`: how long failures count after the last one.
    pub time: Duration,
}

/// Who tries: counted under the address, or under the IPv6 network.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    network: IpAddr,
    login: String,
    /// A keyed digest of login and password, that tells a repetition from a guess.
    digest: u64,
    /// Whether the address was trusted for the login when the attempt was admitted.
    is_trusted: bool,
}

impl Attempt {
    /// An attempt. Of an IPv6 address its /64 counts: whoever has one address there has all.
    pub fn new(address: IpAddr, login: &str, digest: u64) -> Self {
        let network = match net::canonical(address) {
            IpAddr::V6(address) => {
                let network = u128::from(address) & !u128::from(u64::MAX);
                IpAddr::V6(Ipv6Addr::from(network))
            }
            v4 @ IpAddr::V4(_) => v4,
        };
        Self {
            network,
            login: login.to_lowercase(),
            digest,
            is_trusted: false,
        }
    }
}

/// Whether a password may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    /// After this wait. The attempt is under way until it is settled.
    After(Duration),
    /// The address has failed too often.
    AddressExceeded,
    /// The login has been failed at too often from addresses that it has never come from.
    LoginExceeded,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The password is right.
    Right,
    /// It is wrong.
    Wrong,
    /// Nobody knows.
    Unknown,
}

#[derive(Clone, Debug)]
struct Count {
    failures: u32,
    under_way: u32,
    last: Instant,
    wrong: [u64; REMEMBERED],
}

impl Count {
    const fn new(now: Instant) -> Self {
        Self {
            failures: 0,
            under_way: 0,
            last: now,
            wrong: [0; REMEMBERED],
        }
    }

    const fn exceeds(&self, limit: u32) -> bool {
        let used = self
            .failures
            .saturating_add(self.under_way.saturating_sub(UNDER_WAY_FREE));
        limit > 0 && used >= limit
    }

    fn forget_when_old(&mut self, time: Duration, now: Instant) {
        if now.saturating_duration_since(self.last) > time {
            self.failures = 0;
            self.wrong = [0; REMEMBERED];
        }
    }

    fn fail(&mut self, digest: u64, now: Instant) {
        self.last = now;
        if self.wrong.contains(&digest) {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        self.wrong.rotate_right(1);
        if let Some(first) = self.wrong.first_mut() {
            *first = digest;
        }
    }
}

/// What has failed lately, and who has succeeded.
#[derive(Clone, Debug, Default)]
pub struct LoginFailures {
    addresses: HashMap<IpAddr, Count>,
    logins: HashMap<String, Count>,
    /// By address and login, for whoever is trusted; with the last success.
    trusted: HashMap<(IpAddr, String), (Count, Instant)>,
}

impl LoginFailures {
    /// Whether an attempt may be made. Unless it is refused, it must be settled.
    pub fn admit(&mut self, attempt: &mut Attempt, limits: &FailureLimits, now: Instant) -> Admission {
        attempt.is_trusted = false;
        if let Some(count) = self.trusted_count(attempt, now) {
            attempt.is_trusted = true;
            count.forget_when_old(limits.time, now);
            if count.exceeds(limits.login) {
                return Admission::LoginExceeded;
            }
            count.under_way = count.under_way.saturating_add(1);
            return Admission::After(delay(count.failures));
        }
        make_room(&mut self.addresses, limits.time, now);
        make_room(&mut self.logins, limits.time, now);
        let address = self.addresses.entry(attempt.network).or_insert(Count::new(now));
        let login = self.logins.entry(attempt.login.clone()).or_insert(Count::new(now));
        for count in [&mut *address, &mut *login] {
            count.forget_when_old(limits.time, now);
        }
        if address.exceeds(limits.address) {
            return Admission::AddressExceeded;
        }
        if login.exceeds(limits.login) {
            return Admission::LoginExceeded;
        }
        for count in [&mut *address, &mut *login] {
            count.under_way = count.under_way.saturating_add(1);
        }
        Admission::After(delay(address.failures.max(login.failures)))
    }

    /// Takes the end of an attempt that was admitted.
    pub fn settle(&mut self, attempt: &Attempt, ending: Ending, now: Instant) {
        let settle = |count: &mut Count| {
            count.under_way = count.under_way.saturating_sub(1);
            if ending == Ending::Wrong {
                count.fail(attempt.digest, now);
            }
        };
        if attempt.is_trusted {
            if let Some((count, _)) = self.trusted.get_mut(&(attempt.network, attempt.login.clone())) {
                settle(count);
                // One who knows the password has not been guessing before.
                if ending == Ending::Right {
                    count.failures = 0;
                }
            }
        } else {
            let counts = [
                self.addresses.get_mut(&attempt.network),
                self.logins.get_mut(&attempt.login),
            ];
            counts.into_iter().flatten().for_each(settle);
        }
        if ending == Ending::Right {
            self.trust(attempt, now);
        }
    }

    fn trusted_count(&mut self, attempt: &Attempt, now: Instant) -> Option<&mut Count> {
        let (count, success) = self.trusted.get_mut(&(attempt.network, attempt.login.clone()))?;
        (now.saturating_duration_since(*success) <= TRUST_TIME).then_some(count)
    }

    fn trust(&mut self, attempt: &Attempt, now: Instant) {
        let key = (attempt.network, attempt.login.clone());
        if let Some((_, success)) = self.trusted.get_mut(&key) {
            *success = now;
            return;
        }
        if self.trusted.len() >= ENTRIES_MAX {
            let mut successes: Vec<Instant> = self.trusted.values().map(|(_, success)| *success).collect();
            successes.sort_unstable();
            let oldest = successes.get(ENTRIES_MAX / 8).copied().unwrap_or(now);
            self.trusted.retain(|_, (_, success)| *success > oldest);
        }
        self.trusted.insert(key, (Count::new(now), now));
    }
}

fn delay(failures: u32) -> Duration {
    match failures.checked_sub(1) {
        None => Duration::ZERO,
        Some(doubled) => FIRST_DELAY.saturating_mul(2_u32.saturating_pow(doubled)).min(DELAY_MAX),
    }
}

/// Makes room in a full table: what is old goes, then the eighth with the fewest failures, so that a flood of names cannot
/// wash out the count of the one that is attacked.
fn make_room<K: Hash + Eq>(table: &mut HashMap<K, Count>, time: Duration, now: Instant) {
    if table.len() < ENTRIES_MAX {
        return;
    }
    table.retain(|_, count| count.under_way > 0 || now.saturating_duration_since(count.last) <= time);
    if table.len() < ENTRIES_MAX / 8 * 7 {
        return;
    }
    let mut order: Vec<(u32, Instant)> = table.values().map(|count| (count.failures, count.last)).collect();
    order.sort_unstable();
    let least = order.get(ENTRIES_MAX / 8).copied();
    table.retain(|_, count| least.is_none_or(|least| (count.failures, count.last) > least));
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FailureLimits = FailureLimits {
        address: 20,
        login: 10,
        time: Duration::from_secs(900),
    };

    struct Bench {
        failures: LoginFailures,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                failures: LoginFailures::default(),
                now: Instant::now(),
            }
        }

        fn attempt(&mut self, address: &str, login: &str, password: u64, ending: Ending) -> Admission {
            let mut attempt = Attempt::new(address.parse().unwrap(), login, password);
            let admission = self.failures.admit(&mut attempt, &LIMITS, self.now);
            if matches!(admission, Admission::After(_)) {
                self.failures.settle(&attempt, ending, self.now);
            }
            admission
        }

        /// Wrong passwords until one is not taken any more.
        fn guesses(&mut self, address: &str, login: impl Fn(u64) -> String) -> (u64, Admission) {
            for n in 1..=1000 {
                let admission = self.attempt(address, &login(n), n, Ending::Wrong);
                if !matches!(admission, Admission::After(_)) {
                    return (n - 1, admission);
                }
            }
            panic!("no limit");
        }
    }

    const AT_ONCE: Admission = Admission::After(Duration::ZERO);

    #[test]
    fn guesses_at_one_login_end_at_its_limit_and_at_many_logins_at_that_of_the_address() {
        let mut bench = Bench::new();
        let one = bench.guesses("192.0.2.1", |_| "tim".into());
        assert_eq!(one, (10, Admission::LoginExceeded));
        let mut bench = Bench::new();
        let many = bench.guesses("192.0.2.1", |n| format!("user{n}"));
        assert_eq!(many, (20, Admission::AddressExceeded));
        assert_eq!(bench.attempt("192.0.2.2", "tim", 1, Ending::Right), AT_ONCE);
        bench.now += Duration::from_secs(901);
        assert_eq!(bench.attempt("192.0.2.1", "tim", 1, Ending::Right), AT_ONCE);
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_together() {
        let mut bench = Bench::new();
        let _ = bench.guesses("2001:db8:1:2::1", |n| format!("user{n}"));
        assert_eq!(
            bench.attempt("2001:db8:1:2:ffff::9", "tim", 1, Ending::Right),
            Admission::AddressExceeded
        );
        assert_eq!(bench.attempt("2001:db8:1:3::1", "tim", 1, Ending::Right), AT_ONCE);
    }

    #[test]
    fn holder_of_an_attacked_login_gets_in_from_where_it_has_been_before() {
        let mut bench = Bench::new();
        assert_eq!(bench.attempt("192.0.2.7", "tim", 1, Ending::Right), AT_ONCE);
        for n in 0..100_u32 {
            let _ = bench.attempt(&format!("198.51.100.{n}"), "tim", 100 + u64::from(n), Ending::Wrong);
        }
        assert_eq!(
            bench.attempt("203.0.113.1", "tim", 1, Ending::Right),
            Admission::LoginExceeded
        );
        assert_eq!(bench.attempt("192.0.2.7", "Tim", 1, Ending::Right), AT_ONCE);
        // Nor does a guesser behind the same address keep it out.
        let _ = bench.guesses("192.0.2.7", |n| format!("user{n}"));
        assert_eq!(bench.attempt("192.0.2.7", "tim", 1, Ending::Right), AT_ONCE);
    }

    #[test]
    fn trusted_address_may_not_guess_without_end_either() {
        let mut bench = Bench::new();
        assert_eq!(bench.attempt("192.0.2.7", "tim", 1, Ending::Right), AT_ONCE);
        let (count, admission) = bench.guesses("192.0.2.7", |_| "tim".into());
        assert_eq!((count, admission), (10, Admission::LoginExceeded));
    }

    #[test]
    fn delays_grow_and_a_repeated_wrong_password_is_no_new_guess() {
        let mut bench = Bench::new();
        let delays: Vec<Admission> = (1..=7)
            .map(|n| bench.attempt("192.0.2.1", "tim", n, Ending::Wrong))
            .collect();
        let expected = [0, 500, 1000, 2000, 4000, 8000, 8000].map(|ms| Admission::After(Duration::from_millis(ms)));
        assert_eq!(delays, expected);
        let mut bench = Bench::new();
        for _ in 0..100 {
            let admission = bench.attempt("192.0.2.1", "tim", 5, Ending::Wrong);
            assert!(matches!(admission, Admission::After(wait) if wait <= FIRST_DELAY));
        }
    }

    #[test]
    fn guesses_made_at_once_are_bounded_too() {
        let mut bench = Bench::new();
        let admitted = (1..=1000).filter(|n| {
            let mut attempt = Attempt::new("192.0.2.1".parse().unwrap(), "tim", *n);
            let admission = bench.failures.admit(&mut attempt, &LIMITS, bench.now);
            matches!(admission, Admission::After(_))
        });
        assert_eq!(admitted.count(), 18);
    }

    #[test]
    fn connections_of_one_program_leave_nothing_under_way() {
        let mut bench = Bench::new();
        let mut attempts = vec![Attempt::new("192.0.2.1".parse().unwrap(), "tim", 1); 5];
        for attempt in &mut attempts {
            assert_eq!(bench.failures.admit(attempt, &LIMITS, bench.now), AT_ONCE);
        }
        for attempt in &attempts {
            bench.failures.settle(attempt, Ending::Right, bench.now);
        }
        assert!(bench.failures.addresses.values().all(|count| count.under_way == 0));
        assert!(bench.failures.trusted.values().all(|(count, _)| count.under_way == 0));
    }

    #[test]
    fn unknown_outcome_counts_for_nothing() {
        let mut bench = Bench::new();
        for n in 0..100 {
            assert_eq!(bench.attempt("192.0.2.1", "tim", n, Ending::Unknown), AT_ONCE);
        }
    }

    #[test]
    fn flood_of_names_stays_within_the_bound_and_washes_nothing_out() {
        let mut bench = Bench::new();
        let _ = bench.guesses("192.0.2.1", |_| "tim".into());
        for n in 0..u32::try_from(ENTRIES_MAX + 10_000).unwrap() {
            let address = IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + n));
            let _ = bench.attempt(&address.to_string(), &format!("user{n}"), u64::from(n), Ending::Wrong);
        }
        assert!(bench.failures.addresses.len() <= ENTRIES_MAX && bench.failures.logins.len() <= ENTRIES_MAX);
        assert_eq!(
            bench.attempt("203.0.113.1", "tim", 1, Ending::Right),
            Admission::LoginExceeded
        );
    }
}
