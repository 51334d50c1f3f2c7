//! Which hosts to try for a route: asks the DNS what `outbound::route` wants to know.

use std::net::{IpAddr, SocketAddr};

use super::channel::is_local;
use crate::io::dns::Resolver;
use crate::outbound::route::{LookupError, MailExchanger, Route, RouteError, Target, exchangers, targets};
use crate::outbound::settings::OutboundSettings;

/// The most exchangers of a domain whose addresses are asked for. An answer may hold hundreds, each with a lookup that
/// takes a minute to fail, and a delivery holds its place all the while.
const EXCHANGERS_MAX: usize = 20;

/// The targets of a route, best first. Cancel-safe.
///
/// # Errors
/// [`RouteError`].
pub async fn plan<R: Resolver>(
    settings: &OutboundSettings,
    resolver: &R,
    route: &Route,
    seed: u64,
) -> Result<Vec<Target>, RouteError> {
    let result = find(settings, resolver, route, seed).await;
    match &settings.relayhost {
        Some(_) => result.map_err(RouteError::of_relayhost),
        None => result,
    }
}

async fn find<R: Resolver>(
    settings: &OutboundSettings,
    resolver: &R,
    route: &Route,
    seed: u64,
) -> Result<Vec<Target>, RouteError> {
    let hosts = match route {
        Route::Address(address) => return targets(settings, route, &[of_address(*address)], &is_local),
        Route::Name { name, mx_lookup, .. } if *mx_lookup => {
            let answer = match resolver.mx(name).await {
                // What RFC 5321 section 5.1 calls an implicit MX: the host must be looked up even so.
                Err(LookupError::NoRecords) => Ok(Vec::new()),
                other => other,
            };
            exchangers(settings, name, answer, seed)?
        }
        Route::Name { name, .. } => vec![best(name)],
    };
    let mut answers = Vec::new();
    for exchanger in hosts.into_iter().take(EXCHANGERS_MAX) {
        let answer = addresses(settings, resolver, &exchanger.host).await;
        answers.push((exchanger, answer));
    }
    targets(settings, route, &answers, &is_local)
}

/// The addresses of a host; an MX record or a relayhost that is an address in spite of RFC 5321 is taken as one.
async fn addresses<R: Resolver>(
    settings: &OutboundSettings,
    resolver: &R,
    host: &str,
) -> Result<Vec<IpAddr>, LookupError> {
    match host.parse::<IpAddr>() {
        Ok(address) => Ok(vec![address]),
        Err(_) => resolver.addresses(host, settings.ipv4, settings.ipv6).await,
    }
}

fn best(host: &str) -> MailExchanger {
    MailExchanger {
        preference: 0,
        host: host.to_owned(),
    }
}

fn of_address(address: SocketAddr) -> (MailExchanger, Result<Vec<IpAddr>, LookupError>) {
    (best(&address.ip().to_string()), Ok(vec![address.ip()]))
}
