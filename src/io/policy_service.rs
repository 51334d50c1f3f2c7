//! Asks policy services (`check_policy_service`), over connections that are kept.
//!
//! **Implements** the client of SMTPD_POLICY_README: one request at a time on a connection, `smtpd_policy_service_try_limit`,
//! `smtpd_policy_service_retry_delay`, `smtpd_policy_service_max_idle`, `smtpd_policy_service_max_ttl`,
//! `smtpd_policy_service_request_limit`.
//! **Does not** decide what a service that fails means: the list does, by `smtpd_policy_service_default_action`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;

use super::clock;
use crate::policy::question::{Endpoint, PolicyService};
use crate::wire::policy_delegation::{REPLY_OCTETS_MAX, reply, request};

/// Connections to one service at a time; the next session waits for one, within its time limit.
const CONNECTIONS_MAX: usize = 100;

/// How connections to policy services are kept and tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyConnections {
    /// `smtpd_policy_service_try_limit`.
    pub tries_max: usize,
    /// `smtpd_policy_service_retry_delay`.
    pub retry_delay: Duration,
    /// `smtpd_policy_service_max_idle`.
    pub idle_max: Duration,
    /// `smtpd_policy_service_max_ttl`.
    pub age_max: Duration,
    /// `smtpd_policy_service_request_limit`; 0 is no limit.
    pub requests_max: usize,
}

impl Default for PolicyConnections {
    fn default() -> Self {
        Self {
            tries_max: 2,
            retry_delay: Duration::from_secs(1),
            idle_max: Duration::from_mins(5),
            age_max: Duration::from_secs(1000),
            requests_max: 0,
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection between two requests.
struct Kept {
    stream: Box<dyn Stream>,
    opened: Instant,
    used: Instant,
    requests: usize,
}

/// What is known of one service.
struct Place {
    turns: Semaphore,
    kept: Mutex<Vec<Kept>>,
}

/// The connections to all policy services.
pub struct PolicyClient {
    settings: PolicyConnections,
    places: Mutex<HashMap<Endpoint, Arc<Place>>>,
}

impl PolicyClient {
    /// No connection yet.
    pub fn new(settings: PolicyConnections) -> Self {
        Self {
            settings,
            places: Mutex::default(),
        }
    }

    /// The action that a service names. A kept connection that turns out to be dead costs no try. Each try may take
    /// `smtpd_policy_service_timeout`. Cancel-safe: a connection given up in the middle is closed.
    ///
    /// # Errors
    /// In words.
    pub async fn ask(&self, service: &PolicyService, attributes: &[(&'static str, String)]) -> Result<String, String> {
        let octets = request(attributes);
        let place = self.place(&service.endpoint);
        let mut tries = 0;
        loop {
            let tried = self.try_once(service, &place, &octets);
            let outcome = tokio::time::timeout(service.timeout, tried).await;
            let why = match outcome {
                Ok(Ok(action)) => return Ok(action),
                Ok(Err(why)) => why,
                Err(_elapsed) => format!("no reply within {} s", service.timeout.as_secs()),
            };
            tries += 1;
            if tries >= self.settings.tries_max {
                return Err(why);
            }
            tokio::time::sleep(self.settings.retry_delay).await;
        }
    }

    fn place(&self, endpoint: &Endpoint) -> Arc<Place> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.entry(endpoint.clone()).or_insert_with(|| {
            Arc::new(Place {
                turns: Semaphore::new(CONNECTIONS_MAX),
                kept: Mutex::default(),
            })
        });
        Arc::clone(place)
    }

    async fn try_once(&self, service: &PolicyService, place: &Place, octets: &[u8]) -> Result<String, String> {
        let _turn = place.turns.acquire().await;
        while let Some(kept) = self.take(place) {
            // The service may have closed it meanwhile, and may not have seen the request: another one is asked.
            if let Ok(action) = self.exchange(kept, place, octets).await {
                return Ok(action);
            }
        }
        let opened = clock::now().monotonic;
        let fresh = Kept {
            stream: connect(&service.endpoint).await?,
            opened,
            used: opened,
            requests: 0,
        };
        self.exchange(fresh, place, octets).await
    }

    /// The connection used last that may still be used.
    fn take(&self, place: &Place) -> Option<Kept> {
        let now = clock::now().monotonic;
        let mut kept = place.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|one| {
            let is_idle = now.saturating_duration_since(one.used) >= self.settings.idle_max;
            let is_old = now.saturating_duration_since(one.opened) >= self.settings.age_max;
            !is_idle && !is_old
        });
        kept.pop()
    }

    async fn exchange(&self, mut kept: Kept, place: &Place, octets: &[u8]) -> Result<String, String> {
        let action = converse(&mut kept.stream, octets).await?;
        kept.requests += 1;
        kept.used = clock::now().monotonic;
        if self.settings.requests_max == 0 || kept.requests < self.settings.requests_max {
            place.kept.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
        }
        Ok(action)
    }
}

async fn connect(endpoint: &Endpoint) -> Result<Box<dyn Stream>, String> {
    let failed = |error: std::io::Error| format!("cannot connect: {error}");
    Ok(match endpoint {
        Endpoint::Unix(path) => Box::new(UnixStream::connect(path).await.map_err(failed)?),
        Endpoint::Inet(host, port) => Box::new(TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?),
    })
}

async fn converse(stream: &mut (impl Stream + ?Sized), octets: &[u8]) -> Result<String, String> {
    let failed = |error: std::io::Error| error.to_string();
    stream.write_all(octets).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let mut said = Vec::new();
    loop {
        if let Some(action) = reply(&said).map_err(|error| error.to_string())? {
            return Ok(action);
        }
        let room = REPLY_OCTETS_MAX.saturating_sub(said.len());
        let read = (&mut *stream)
            .take(room as u64)
            .read_buf(&mut said)
            .await
            .map_err(failed)?;
        if read == 0 {
            return Err(String::from("the connection was closed within the reply"));
        }
    }
}
