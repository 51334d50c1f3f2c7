//! Verifies logins: guesses are slowed and counted, then the password file or Dovecot is asked.
//!
//! **Implements** `smtpd_sasl_type`, and the order in which an attempt is admitted, waits, is verified and counted.
//! **Does not** decide how many failures are too many: `policy::login_failures` does.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::dovecot_auth::{DovecotAuth, Question};
use super::password_file::PasswordFile;
use crate::policy::login_failures::{Admission, Attempt, Ending, FailureLimits, LoginFailures};
use crate::session::password::{PasswordFault, Verification};
use crate::wire::dovecot_auth::{Answer, Refusal};
use crate::wire::sasl::{Credentials, PasswordMechanisms};

/// Hashes computed at a time: each takes a thread that waits for the disk otherwise, and memory.
const HASHES_AT_A_TIME: usize = 2;
/// How long an attempt waits for its turn.
const TURN_TIME_MAX: Duration = Duration::from_secs(15);

/// One turn for each hash that is computed, whatever listener asks for it.
static TURNS: Semaphore = Semaphore::const_new(HASHES_AT_A_TIME);
/// The key of the digests that tell a repeated password from a guess; another one in each process.
static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Who knows the passwords.
#[derive(Clone, Debug)]
pub enum PasswordService {
    /// The embedded file.
    File(Arc<PasswordFile>),
    /// Dovecot.
    Dovecot(Arc<DovecotAuth>),
}

/// Verifies the logins of one listener.
#[derive(Debug)]
pub struct Authenticator {
    service: PasswordService,
    limits: FailureLimits,
    failures: Arc<Mutex<LoginFailures>>,
}

/// The session that a login comes from.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The client's address.
    pub remote: SocketAddr,
    /// Our address, when it is known.
    pub local: Option<SocketAddr>,
    /// Whether the session is in TLS.
    pub is_secured: bool,
}

impl Authenticator {
    /// Verifies with this service; failures are counted together with those of every other listener.
    pub const fn new(service: PasswordService, limits: FailureLimits, failures: Arc<Mutex<LoginFailures>>) -> Self {
        Self {
            service,
            limits,
            failures,
        }
    }

    /// What the service takes; `None` when it has not been heard.
    pub async fn mechanisms(&self) -> Option<PasswordMechanisms> {
        match &self.service {
            PasswordService::File(_) => Some(PasswordMechanisms::BOTH),
            PasswordService::Dovecot(dovecot) => dovecot.mechanisms().await,
        }
    }

    /// Verifies a login. Takes as long as the failures before it make it wait. Cancel-safe: an attempt that is dropped
    /// counts as one that nobody knows the end of.
    pub async fn verify(&self, credentials: Credentials, place: Place) -> Verification {
        let digest = KEY.hash_one((&credentials.login, credentials.password.octets()));
        let attempt = Attempt::new(place.remote.ip(), &credentials.login, digest);
        let mut admitted = match self.admit(attempt) {
            Ok(admitted) => admitted,
            Err(fault) => return Verification::Wrong(fault),
        };
        tokio::time::sleep(admitted.wait).await;
        let verification = match &self.service {
            PasswordService::File(file) => verify_with_file(file, credentials).await,
            PasswordService::Dovecot(dovecot) => verify_with_dovecot(dovecot, credentials, place).await,
        };
        admitted.ending = match &verification {
            Verification::Right(_) => Ending::Right,
            Verification::Wrong(PasswordFault::Unavailable(_)) => Ending::Unknown,
            Verification::Wrong(_) => Ending::Wrong,
        };
        verification
    }

    fn admit(&self, mut attempt: Attempt) -> Result<Admitted<'_>, PasswordFault> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        match failures.admit(&mut attempt, &self.limits, Instant::now()) {
            Admission::After(wait) => Ok(Admitted {
                failures: &self.failures,
                attempt,
                wait,
                ending: Ending::Unknown,
            }),
            Admission::AddressExceeded => Err(PasswordFault::AddressExceeded),
            Admission::LoginExceeded => Err(PasswordFault::LoginExceeded),
        }
    }
}

/// An attempt under way, settled when it is dropped.
struct Admitted<'a> {
    failures: &'a Mutex<LoginFailures>,
    attempt: Attempt,
    wait: Duration,
    ending: Ending,
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.settle(&self.attempt, self.ending, Instant::now());
    }
}

async fn verify_with_file(file: &Arc<PasswordFile>, credentials: Credentials) -> Verification {
    let Ok(Ok(turn)) = timeout(TURN_TIME_MAX, TURNS.acquire()).await else {
        return unavailable("too many logins wait for their hash to be computed");
    };
    let file = Arc::clone(file);
    let verified = tokio::task::spawn_blocking(move || {
        let is_right = file.verify(&credentials.login, credentials.password.octets());
        // Kept until here: the thread goes on when the session is gone.
        drop(turn);
        (is_right, credentials)
    });
    match verified.await {
        Ok((false, _)) => Verification::Wrong(PasswordFault::Credentials(None)),
        Ok((true, credentials)) => match credentials.authorization {
            other if !other.is_empty() && other != credentials.login => {
                Verification::Wrong(PasswordFault::NotAuthorized(other))
            }
            _ => Verification::Right(credentials.login),
        },
        Err(error) => unavailable(&error.to_string()),
    }
}

async fn verify_with_dovecot(dovecot: &DovecotAuth, credentials: Credentials, place: Place) -> Verification {
    let login = credentials.login.clone();
    let question = Question {
        remote: place.remote,
        local: place.local,
        is_secured: place.is_secured,
        credentials,
    };
    match dovecot.ask(question).await {
        Ok(Answer::Right(user)) => {
            let user = user.and_then(|user| crate::wire::sasl::login_of(user.as_bytes()));
            Verification::Right(user.unwrap_or(login))
        }
        Ok(Answer::Wrong(refusal)) => Verification::Wrong(match refusal {
            Refusal::Credentials(reason) => PasswordFault::Credentials(reason),
            Refusal::Disabled => PasswordFault::Disabled,
            Refusal::Expired => PasswordFault::Expired,
            Refusal::Temporary(reason) => PasswordFault::Unavailable(format!(
                "the password service could not find out{}",
                reason.map(|reason| format!(": {reason}")).unwrap_or_default()
            )),
        }),
        // Answered by the connection itself; it never gets here.
        Ok(Answer::Challenge) => unavailable("the password service asked for more than the mechanism has"),
        Err(error) => unavailable(&error.to_string()),
    }
}

fn unavailable(why: &str) -> Verification {
    Verification::Wrong(PasswordFault::Unavailable(why.to_owned()))
}
