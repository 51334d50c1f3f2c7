//! What deliveries are told by the configuration, checked already.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::capabilities::EhloKeywords;
use crate::net::NextHop;

/// Directives of the outbound side.
#[derive(Clone, Debug)]
pub struct OutboundSettings {
    /// `myhostname`.
    pub myhostname: String,
    /// `mydomain`: where mail for `<postmaster>` goes without a relayhost.
    pub mydomain: String,
    /// `smtp_helo_name`.
    pub hello_name: String,
    /// `relayhost`.
    pub relayhost: Option<NextHop>,
    /// `smtp_tls_security_level`.
    pub tls_level: TlsLevel,
    /// `smtp_tls_wrappermode`: TLS from the first octet.
    pub tls_wrapper: bool,
    /// `inet_protocols` allows IPv4.
    pub ipv4: bool,
    /// `inet_protocols` allows IPv6.
    pub ipv6: bool,
    /// `smtp_bind_address` and `smtp_bind_address6`.
    pub bind_addresses: Vec<IpAddr>,
    /// `smtp_discard_ehlo_keywords`.
    pub discarded_keywords: Arc<EhloKeywords>,
    /// `disable_mime_output_conversion`.
    pub eight_bit_mail: EightBitMail,
    /// `smtp_connect_timeout`.
    pub connect_timeout: Duration,
    /// `smtp_helo_timeout`: greeting, EHLO, STARTTLS, MAIL and RCPT.
    pub hello_timeout: Duration,
    /// `smtp_data_xfer_timeout`: each piece of mail data.
    pub data_transfer_timeout: Duration,
    /// `smtp_data_done_timeout`: the reply to the final dot.
    pub data_done_timeout: Duration,
    /// `default_destination_recipient_limit`: recipients per transaction.
    pub recipients_per_transaction_max: usize,
    /// `smtp_destination_concurrency_limit`: parallel deliveries per destination.
    pub destination_concurrency_max: usize,
    /// Connections kept for later messages.
    pub reuse: ConnectionReuse,
    /// `initial_destination_concurrency`: parallel deliveries to a destination of which nothing is known yet.
    pub initial_destination_concurrency: usize,
    /// `smtp_mx_session_limit`.
    pub mx_sessions_max: usize,
    /// `smtp_mx_address_limit`.
    pub mx_addresses_max: usize,
    /// `bounce_size_limit`: octets of the original returned in a bounce.
    pub bounce_octets_max: usize,
    /// Addresses and ports this relay listens on, to recognise its own loop.
    pub own_endpoints: Vec<std::net::SocketAddr>,
}

/// What becomes of eight-bit mail for a next hop without 8BITMIME.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum EightBitMail {
    /// It is converted.
    #[default]
    Converted,
    /// It goes as it is.
    AsItIs,
}

/// When a connection is kept for later messages, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionReuse {
    /// `smtp_connection_cache_on_demand`.
    pub is_on: bool,
    /// `smtp_tls_connection_reuse`.
    pub under_tls: bool,
    /// `smtp_connection_cache_time_limit`: the longest a connection waits unused.
    pub idle_max: Duration,
    /// `smtp_connection_reuse_time_limit`: counted from when it was made.
    pub age_max: Duration,
    /// `smtp_connection_reuse_count_limit`: transactions after the first; 0 for no limit.
    pub count_max: usize,
}

impl Default for ConnectionReuse {
    /// The defaults of the directives.
    fn default() -> Self {
        Self {
            is_on: true,
            under_tls: true,
            idle_max: Duration::from_secs(2),
            age_max: Duration::from_secs(300),
            count_max: 0,
        }
    }
}

/// `smtp_tls_security_level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsLevel {
    /// Never.
    None,
    /// When offered; the certificate is not looked at.
    May,
    /// Always; the certificate is not looked at.
    Encrypt,
    /// Always; the chain must verify and name the MX host.
    Verify,
    /// Always; the chain must verify and name the next-hop domain.
    Secure,
}
