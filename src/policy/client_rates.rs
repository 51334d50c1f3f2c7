//! How often a client may do what: connections, sessions at once, messages, recipients, AUTH, TLS handshakes.
//!
//! **Implements** anvil(8) of Postfix: `smtpd_client_connection_count_limit`, `smtpd_client_connection_rate_limit`,
//! `smtpd_client_message_rate_limit`, `smtpd_client_recipient_rate_limit`, `smtpd_client_auth_rate_limit`,
//! `smtpd_client_new_tls_session_rate_limit`, `smtpd_client_ipv4_prefix_length`, `smtpd_client_ipv6_prefix_length`,
//! `anvil_rate_time_unit`.
//! **Does not** know exceptions, nor what is answered.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::time::Timestamp;

/// Networks remembered at a time.
pub const CLIENTS_MAX: usize = 65_536;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RateEvent {
    /// A connection was accepted.
    Connection,
    /// MAIL.
    Message,
    /// RCPT.
    Recipient,
    /// AUTH.
    Authentication,
    /// STARTTLS, or a connection to a listener that begins in TLS.
    TlsSession,
}

impl RateEvent {
    /// The directive that limits it.
    pub const fn directive(self) -> &'static str {
        match self {
            Self::Connection => "smtpd_client_connection_rate_limit",
            Self::Message => "smtpd_client_message_rate_limit",
            Self::Recipient => "smtpd_client_recipient_rate_limit",
            Self::Authentication => "smtpd_client_auth_rate_limit",
            Self::TlsSession => "smtpd_client_new_tls_session_rate_limit",
        }
    }

    const fn place(self) -> usize {
        self as usize
    }
}

/// The limits of one listener; 0 means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// `smtpd_client_connection_count_limit`.
    pub sessions: u64,
    /// `smtpd_client_connection_rate_limit`.
    pub connections: u64,
    /// `smtpd_client_message_rate_limit`.
    pub messages: u64,
    /// `smtpd_client_recipient_rate_limit`.
    pub recipients: u64,
    /// `smtpd_client_auth_rate_limit`.
    pub authentications: u64,
    /// `smtpd_client_new_tls_session_rate_limit`.
    pub tls_sessions: u64,
    /// `smtpd_client_ipv4_prefix_length`.
    pub ipv4_prefix: u8,
    /// `smtpd_client_ipv6_prefix_length`.
    pub ipv6_prefix: u8,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            sessions: 0,
            connections: 0,
            messages: 0,
            recipients: 0,
            authentications: 0,
            tls_sessions: 0,
            ipv4_prefix: 32,
            ipv6_prefix: 64,
        }
    }
}

impl RateLimits {
    /// How many events of a kind a network may have in a time unit.
    pub const fn of(&self, event: RateEvent) -> u64 {
        match event {
            RateEvent::Connection => self.connections,
            RateEvent::Message => self.messages,
            RateEvent::Recipient => self.recipients,
            RateEvent::Authentication => self.authentications,
            RateEvent::TlsSession => self.tls_sessions,
        }
    }

    /// The network that an address is counted under.
    pub fn network(&self, address: IpAddr) -> IpNet {
        let prefix = match address {
            IpAddr::V4(_) => self.ipv4_prefix,
            IpAddr::V6(_) => self.ipv6_prefix,
        };
        IpNet::new(address, prefix).map_or_else(|_| IpNet::from(address), |network| network.trunc())
    }
}

/// A limit that is exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateExceeded {
    /// What was counted.
    pub event: RateEvent,
    /// How many there were in this time unit, this one included.
    pub count: u64,
    /// How many there may be.
    pub limit: u64,
}

/// What one network did in its current time unit.
#[derive(Clone, Copy, Debug, Default)]
struct Client {
    began: Timestamp,
    counts: [u64; 5],
}

impl Client {
    fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// What every network did lately. At most [`CLIENTS_MAX`] networks are remembered: past that the quietest ones are
/// forgotten first, so that a client cannot have its own counts forgotten by coming from many addresses once each.
#[derive(Debug, Default)]
pub struct ClientRates {
    clients: HashMap<IpNet, Client>,
    unit: Duration,
}

impl ClientRates {
    /// `anvil_rate_time_unit`.
    pub fn set_unit(&mut self, unit: Duration) {
        self.unit = unit;
    }

    /// Counts an event of a network, and says when that makes more than the limit. An event over the limit counts too, as
    /// in Postfix: whoever goes on stays refused. Events without a limit are not counted.
    pub fn count(
        &mut self,
        network: IpNet,
        event: RateEvent,
        limits: &RateLimits,
        now: Timestamp,
    ) -> Option<RateExceeded> {
        let limit = limits.of(event);
        if limit == 0 {
            return None;
        }
        if self.clients.len() >= CLIENTS_MAX && !self.clients.contains_key(&network) {
            self.forget_quiet(now);
        }
        let fresh = Client {
            began: now,
            ..Client::default()
        };
        let is_over = self.is_over(now);
        let client = self.clients.entry(network).or_insert(fresh);
        if is_over(client) {
            *client = fresh;
        }
        let count = client.counts.get_mut(event.place())?;
        *count = count.saturating_add(1);
        (*count > limit).then_some(RateExceeded {
            event,
            count: *count,
            limit,
        })
    }

    /// Networks remembered.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether no network is remembered.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Whether the time unit of a client has passed; a clock set back ends it too.
    fn is_over(&self, now: Timestamp) -> impl Fn(&Client) -> bool + use<> {
        let unit = self.unit;
        move |client| now < client.began || now.since(client.began) >= unit
    }

    /// Makes room: whoever's time unit has passed goes, and if that is less than a quarter, of the rest whoever did least.
    fn forget_quiet(&mut self, now: Timestamp) {
        let is_over = self.is_over(now);
        self.clients.retain(|_, client| !is_over(client));
        let room = CLIENTS_MAX / 4;
        let keep = CLIENTS_MAX.saturating_sub(room);
        if self.clients.len() <= keep {
            return;
        }
        let mut by_total: BTreeMap<u64, usize> = BTreeMap::new();
        for client in self.clients.values() {
            let number = by_total.entry(client.total()).or_default();
            *number = number.saturating_add(1);
        }
        // Up to this many events a network is forgotten; of those with exactly as many, only what is needed.
        let mut surplus = self.clients.len().saturating_sub(keep);
        let mut last_total = 0;
        for (total, number) in by_total {
            last_total = total;
            if number >= surplus {
                break;
            }
            surplus = surplus.saturating_sub(number);
        }
        self.clients.retain(|_, client| {
            let total = client.total();
            if total == last_total && surplus > 0 {
                surplus = surplus.saturating_sub(1);
                return false;
            }
            total >= last_total
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> RateLimits {
        RateLimits {
            connections: 3,
            ..RateLimits::default()
        }
    }

    fn table() -> ClientRates {
        let mut table = ClientRates::default();
        table.set_unit(Duration::from_mins(1));
        table
    }

    fn address(n: u32) -> IpNet {
        IpNet::from(IpAddr::from((0x0a00_0000 + n).to_be_bytes()))
    }

    #[test]
    fn events_past_the_limit_are_told_until_the_unit_has_passed() {
        let mut table = table();
        let mut count = |at| table.count(address(1), RateEvent::Connection, &limits(), Timestamp(at));
        assert_eq!([count(0), count(1), count(2)], [None; 3]);
        let exceeded = count(59_999).expect("exceeded");
        assert_eq!((exceeded.count, exceeded.limit), (4, 3));
        assert_eq!(count(60_000), None);
    }

    #[test]
    fn event_without_a_limit_is_not_remembered() {
        let mut table = table();
        assert_eq!(
            table.count(address(1), RateEvent::Message, &limits(), Timestamp(0)),
            None
        );
        assert!(table.is_empty());
    }

    #[test]
    fn ipv6_addresses_of_one_network_count_together() {
        let limits = limits();
        let one: IpAddr = "2001:db8::1".parse().unwrap();
        let other: IpAddr = "2001:db8::ffff:1".parse().unwrap();
        let far: IpAddr = "2001:db8:0:1::1".parse().unwrap();
        assert_eq!(limits.network(one), limits.network(other));
        assert_ne!(limits.network(one), limits.network(far));
        assert_eq!(limits.network("192.0.2.1".parse().unwrap()).to_string(), "192.0.2.1/32");
    }

    #[test]
    fn client_with_many_addresses_does_not_make_itself_forgotten() {
        let mut table = table();
        let greedy = address(0);
        let now = Timestamp(5);
        for _ in 0..4 {
            let _ = table.count(greedy, RateEvent::Connection, &limits(), now);
        }
        for n in 1..200_000 {
            let _ = table.count(address(n), RateEvent::Connection, &limits(), now);
            assert!(table.len() <= CLIENTS_MAX);
        }
        let exceeded = table.count(greedy, RateEvent::Connection, &limits(), now);
        assert_eq!(exceeded.map(|exceeded| exceeded.count), Some(5));
    }
}
