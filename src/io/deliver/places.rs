//! The places that can take the mail of a route, remembered for a moment: a lookup per message would cost more than the
//! message.
//!
//! **Implements** the certificate names of `smtp_tls_security_level` `verify` and `secure`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::connection::now;
use super::plan::plan;
use crate::io::dns::Resolver;
use crate::io::tls::client::ServerCheck;
use crate::outbound::route::{Route, RouteError, Target};
use crate::outbound::settings::{OutboundSettings, TlsLevel};

/// How long an answer is used; little beyond the shortest times to live in use.
const KEPT: Duration = Duration::from_secs(10);
/// Routes remembered.
const ROUTES_MAX: usize = 1000;
/// Orders of the exchangers of one preference that are remembered. RFC 5321 section 5.1: "the sender-SMTP MUST randomize
/// them to spread the load".
const ORDERS: u64 = 8;

/// One address of one host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The host's name, or its address in text; the name for SNI.
    pub host: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// What its certificate must show; it depends on the route as well.
    pub check: ServerCheck,
}

impl Place {
    /// As reports name it: `host[address]:port`.
    pub fn remote(&self) -> String {
        format!("{}[{}]:{}", self.host, self.address.ip(), self.address.port())
    }
}

/// The places of the routes that were asked for lately.
#[derive(Default)]
pub struct Places {
    known: Mutex<HashMap<Route, Vec<Known>>>,
}

#[derive(Clone)]
struct Known {
    order: u64,
    until: Instant,
    places: Arc<[Arc<Place>]>,
}

impl Places {
    /// The places of a route, best first. Failures are not remembered. Cancel-safe.
    ///
    /// # Errors
    /// [`RouteError`].
    pub async fn of<R: Resolver>(
        &self,
        settings: &OutboundSettings,
        resolver: &R,
        route: &Route,
        seed: u64,
    ) -> Result<Arc<[Arc<Place>]>, RouteError> {
        let order = match route {
            Route::Name { mx_lookup: true, .. } => seed % ORDERS,
            _ => 0,
        };
        if let Some(places) = self.known(route, order) {
            return Ok(places);
        }
        let targets = plan(settings, resolver, route, seed).await?;
        let places: Arc<[Arc<Place>]> = places(settings, route, &targets).into();
        self.remember(route, order, &places);
        Ok(places)
    }

    fn known(&self, route: &Route, order: u64) -> Option<Arc<[Arc<Place>]>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.get(route)?.iter().find(|known| known.order == order)?;
        (now() < found.until).then(|| Arc::clone(&found.places))
    }

    fn remember(&self, route: &Route, order: u64, places: &Arc<[Arc<Place>]>) {
        let now = now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= ROUTES_MAX && !known.contains_key(route) {
            known.retain(|_, orders| orders.iter().any(|known| now < known.until));
            if known.len() >= ROUTES_MAX {
                known.clear();
            }
        }
        let orders = known.entry(route.clone()).or_default();
        orders.retain(|known| known.order != order);
        orders.push(Known {
            order,
            until: now + KEPT,
            places: Arc::clone(places),
        });
    }
}

/// Every address of every host, in order.
fn places(settings: &OutboundSettings, route: &Route, targets: &[Target]) -> Vec<Arc<Place>> {
    let of_target = |target: &Target| {
        let check = check(settings, route, &target.host);
        let host = target.host.clone();
        target.addresses.clone().into_iter().map(move |address| {
            Arc::new(Place {
                host: host.clone(),
                address,
                check: check.clone(),
            })
        })
    };
    targets.iter().flat_map(of_target).collect()
}

fn check(settings: &OutboundSettings, route: &Route, host: &str) -> ServerCheck {
    match settings.tls_level {
        TlsLevel::None | TlsLevel::May | TlsLevel::Encrypt => ServerCheck::Any,
        TlsLevel::Verify => ServerCheck::Names(vec![host.to_owned()]),
        TlsLevel::Secure => {
            let domain = route.name();
            ServerCheck::Names(vec![domain.clone(), format!(".{domain}")])
        }
    }
}
