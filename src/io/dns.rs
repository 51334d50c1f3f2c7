//! The DNS: mail exchangers and addresses of hosts, names of addresses, texts.
//!
//! **Implements** the lookups of RFC 5321 section 5.1 over hickory-resolver, `smtp_host_lookup = dns` of postconf(5):
//! names are asked for as they stand, without search domains and without /etc/hosts; only `localhost` is known here.
//! **Does not** order or judge what it finds: `outbound::route` does.
//! **Bugs** resolv.conf is read once, when the resolver is made; a reload makes a new one.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

use crate::net;
use crate::outbound::route::{LookupError, MailExchanger};
use crate::wire::domain::Domain;

/// How long one query may take before it is repeated.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
/// Queries per name server.
const QUERY_ATTEMPTS: usize = 2;
/// An end to a lookup with all its servers, attempts and aliases.
const LOOKUP_TIMEOUT: Duration = Duration::from_mins(1);

/// Answers that are kept and shared by all who ask; failures are not kept.
const CACHED_ANSWERS_MAX: u64 = 8192;
/// How long an answer is kept at most, whatever its records allow.
const POSITIVE_TTL_MAX: Duration = Duration::from_hours(1);
/// How long it is kept at most that there is no answer.
const NEGATIVE_TTL_MAX: Duration = Duration::from_mins(5);

/// Whoever answers for names.
pub trait Resolver: Send + Sync + 'static {
    /// The MX records of a domain, in no order. Cancel-safe.
    ///
    /// # Errors
    /// [`LookupError`].
    fn mx(&self, domain: &str) -> impl Future<Output = Result<Vec<MailExchanger>, LookupError>> + Send;

    /// The addresses of a host in the families asked for, one or more. Cancel-safe.
    ///
    /// # Errors
    /// [`LookupError`]; a family that fails is no error as long as the other answers.
    fn addresses(
        &self,
        host: &str,
        ipv4: bool,
        ipv6: bool,
    ) -> impl Future<Output = Result<Vec<IpAddr>, LookupError>> + Send;
}

/// The resolver of this machine.
pub struct SystemResolver {
    inner: Result<TokioResolver, String>,
}

impl SystemResolver {
    /// These name servers (`resolver_addresses`), or without any those of resolv.conf.
    pub fn new(servers: &[SocketAddr]) -> Self {
        if servers.is_empty() {
            Self::from_system()
        } else {
            Self::with_servers(servers)
        }
    }

    /// The name servers of resolv.conf. Without a usable file every lookup fails for now: mail waits, and nothing else
    /// stops.
    pub fn from_system() -> Self {
        let inner = TokioResolver::builder_tokio().and_then(|mut builder| {
            set_options(builder.options_mut());
            builder.build()
        });
        Self {
            inner: inner.map_err(|error| format!("resolv.conf: {error}")),
        }
    }

    /// One name server.
    pub fn with_server(server: SocketAddr) -> Self {
        Self::with_servers(&[server])
    }

    /// These name servers, asked over UDP, and over TCP for what UDP does not hold.
    pub fn with_servers(servers: &[SocketAddr]) -> Self {
        let server = |address: &SocketAddr| {
            let mut ways = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
            for way in &mut ways {
                way.port = address.port();
            }
            NameServerConfig::new(address.ip(), true, ways)
        };
        let servers = servers.iter().map(server).collect();
        let mut builder = TokioResolver::builder_with_config(
            ResolverConfig::from_parts(None, Vec::new(), servers),
            TokioRuntimeProvider::default(),
        );
        set_options(builder.options_mut());
        Self {
            inner: builder.build().map_err(|error| error.to_string()),
        }
    }

    async fn lookup(&self, name: &str, kind: RecordType) -> Result<Vec<Record>, LookupError> {
        let resolver = self.inner.as_ref().map_err(|why| LookupError::Temporary(why.clone()))?;
        // The trailing dot keeps the search domains of resolv.conf out.
        let absolute = format!("{}.", name.trim_end_matches('.'));
        // What cannot be asked for cannot be there either: longer than 255 octets, or with a label longer than 63.
        let absolute = Name::from_utf8(absolute).map_err(|_| LookupError::NotFound)?;
        match tokio::time::timeout(LOOKUP_TIMEOUT, resolver.lookup(absolute, kind)).await {
            Ok(Ok(answer)) => Ok(answer.answers().to_vec()),
            Ok(Err(error)) => Err(lookup_error(&error)),
            Err(_) => Err(LookupError::Temporary("no answer in time".into())),
        }
    }

    async fn lookup_addresses(&self, host: &str, kind: RecordType, wanted: bool) -> Result<Vec<IpAddr>, LookupError> {
        if !wanted {
            return Err(LookupError::NoRecords);
        }
        let records = self.lookup(host, kind).await?;
        some_of(&records, address_of)
    }
}

fn set_options(options: &mut ResolverOpts) {
    options.use_hosts_file = ResolveHosts::Never;
    options.timeout = QUERY_TIMEOUT;
    options.attempts = QUERY_ATTEMPTS;
    options.cache_size = CACHED_ANSWERS_MAX;
    options.positive_max_ttl = Some(POSITIVE_TTL_MAX);
    options.negative_max_ttl = Some(NEGATIVE_TTL_MAX);
}

fn address_of(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    }
}

fn lookup_error(error: &NetError) -> LookupError {
    let code = match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => none.response_code,
        _ => return LookupError::Temporary(error.to_string()),
    };
    match code {
        ResponseCode::NXDomain => LookupError::NotFound,
        ResponseCode::NoError => LookupError::NoRecords,
        code => LookupError::Temporary(code.to_string()),
    }
}

impl Resolver for SystemResolver {
    async fn mx(&self, domain: &str) -> Result<Vec<MailExchanger>, LookupError> {
        let records = self.lookup(domain, RecordType::MX).await?;
        some_of(&records, |data| match data {
            RData::MX(mx) => Some(MailExchanger {
                preference: mx.preference,
                host: mx.exchange.to_ascii().trim_end_matches('.').to_ascii_lowercase(),
            }),
            _ => None,
        })
    }

    async fn addresses(&self, host: &str, ipv4: bool, ipv6: bool) -> Result<Vec<IpAddr>, LookupError> {
        if host == "localhost" {
            return Ok(localhost(ipv4, ipv6));
        }
        let (v6, v4) = tokio::join!(
            self.lookup_addresses(host, RecordType::AAAA, ipv6),
            self.lookup_addresses(host, RecordType::A, ipv4),
        );
        both(v6, v4)
    }
}

impl SystemResolver {
    /// The names that the DNS gives an address, one or more, in no order; what is no host name is left out. Cancel-safe.
    ///
    /// # Errors
    /// [`LookupError`].
    pub async fn pointers(&self, address: IpAddr) -> Result<Vec<Domain>, LookupError> {
        let reverse = Name::from(net::canonical(address)).to_ascii();
        let records = self.lookup(&reverse, RecordType::PTR).await?;
        some_of(&records, |data| match data {
            RData::PTR(name) => Domain::parse(name.0.to_ascii().trim_end_matches('.')),
            _ => None,
        })
    }

    /// The texts of a name, one or more; the parts of each are put together. Cancel-safe.
    ///
    /// # Errors
    /// [`LookupError`].
    pub async fn texts(&self, name: &str) -> Result<Vec<String>, LookupError> {
        let records = self.lookup(name, RecordType::TXT).await?;
        some_of(&records, |data| match data {
            RData::TXT(text) => Some(String::from_utf8_lossy(&text.txt_data.concat()).into_owned()),
            _ => None,
        })
    }
}

/// What is wanted of the records, or that there is none of it.
fn some_of<T>(records: &[Record], wanted: impl Fn(&RData) -> Option<T>) -> Result<Vec<T>, LookupError> {
    let found: Vec<T> = records.iter().filter_map(|record| wanted(&record.data)).collect();
    if found.is_empty() {
        return Err(LookupError::NoRecords);
    }
    Ok(found)
}

/// RFC 6761 section 6.3: name resolution "SHOULD recognize localhost names as special and SHOULD always return the IP
/// loopback address".
fn localhost(ipv4: bool, ipv6: bool) -> Vec<IpAddr> {
    let v6 = ipv6.then_some(IpAddr::V6(Ipv6Addr::LOCALHOST));
    let v4 = ipv4.then_some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    v6.into_iter().chain(v4).collect()
}

/// Addresses win; then a failure that may pass; then the denial that says most.
fn both(
    v6: Result<Vec<IpAddr>, LookupError>,
    v4: Result<Vec<IpAddr>, LookupError>,
) -> Result<Vec<IpAddr>, LookupError> {
    match (v6, v4) {
        (Ok(mut addresses), Ok(more)) => {
            addresses.extend(more);
            Ok(addresses)
        }
        (Ok(addresses), Err(_)) | (Err(_), Ok(addresses)) => Ok(addresses),
        (Err(error @ LookupError::Temporary(_)), Err(_)) | (Err(_), Err(error @ LookupError::Temporary(_))) => {
            Err(error)
        }
        (Err(LookupError::NotFound), Err(_)) | (Err(_), Err(LookupError::NotFound)) => Err(LookupError::NotFound),
        (Err(error), Err(_)) => Err(error),
    }
}
