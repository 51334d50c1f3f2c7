//! Who is let in, what each network may do, and who has to go: what all sessions of a daemon share.
//!
//! **Implements** the limits of [`crate::policy::session_places`] and [`crate::policy::client_rates`] for sessions that run,
//! and turns at TLS handshakes: only so many are worked on at a time, and only one of each network.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::clock;
use super::introductions::Introductions;
use super::turns::{Turn, Turns};
use crate::net;
use crate::policy::client_rates::{ClientRates, RateEvent, RateExceeded};
use crate::policy::message_memory::{Holder, MessageMemory};
use crate::policy::session_places::{ClientShare, Entry, SessionPlaces, Standing, network_of};
use crate::session::Session;
use crate::session::settings::{SessionSettings, TlsOffer};

/// What all listeners share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionSettings {
    /// `default_process_limit`.
    pub sessions_max: usize,
    /// `smtpd_stranger_session_share`.
    pub strangers_percent: usize,
    /// `anvil_rate_time_unit`.
    pub rate_time_unit: Duration,
    /// `smtpd_mail_data_memory_limit`; 0 means no limit.
    pub mail_data_octets_max: u64,
}

impl Default for AdmissionSettings {
    fn default() -> Self {
        Self {
            sessions_max: 2_000,
            strangers_percent: 80,
            rate_time_unit: Duration::from_mins(1),
            mail_data_octets_max: 128 * 1024 * 1024,
        }
    }
}

/// What all sessions share.
#[derive(Debug)]
pub struct Admission {
    state: Mutex<State>,
    stress: watch::Sender<bool>,
    /// The public-key work of handshakes.
    handshakes: Turns,
    /// Who waits for its PROXY header.
    pub introductions: Introductions,
}

#[derive(Debug)]
struct State {
    places: SessionPlaces,
    rates: ClientRates,
    memory: MessageMemory,
    /// How a session is told to make room.
    tokens: HashMap<u64, CancellationToken>,
}

impl State {
    fn configure(&mut self, settings: &AdmissionSettings) {
        self.places.resize(settings.sessions_max, settings.strangers_percent);
        self.rates.set_unit(settings.rate_time_unit);
        let octets_max = settings.mail_data_octets_max;
        self.memory.configure(octets_max, settings.strangers_percent);
    }

    fn shed(&self, number: Option<u64>) {
        if let Some(token) = number.and_then(|number| self.tokens.get(&number)) {
            token.cancel();
        }
    }

    fn shed_surplus(&mut self) {
        while let Some(number) = self.places.shed_surplus() {
            self.shed(Some(number));
        }
    }
}

impl Default for Admission {
    fn default() -> Self {
        Self::new(&AdmissionSettings::default())
    }
}

/// Why somebody is refused before any session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `default_process_limit`.
    Full,
    /// `smtpd_client_connection_count_limit`: has, may have.
    Sessions(u64, u64),
    /// `smtpd_client_connection_rate_limit`, or for a listener that begins in TLS
    /// `smtpd_client_new_tls_session_rate_limit`.
    Rate(RateExceeded),
}

impl Refusal {
    /// The directive that refuses.
    pub const fn directive(self) -> &'static str {
        match self {
            Self::Full => "default_process_limit",
            Self::Sessions(..) => "smtpd_client_connection_count_limit",
            Self::Rate(exceeded) => exceeded.event.directive(),
        }
    }
}

impl Admission {
    /// Nobody is here yet.
    pub fn new(settings: &AdmissionSettings) -> Self {
        let mut state = State {
            places: SessionPlaces::new(settings.sessions_max, settings.strangers_percent),
            rates: ClientRates::default(),
            memory: MessageMemory::default(),
            tokens: HashMap::new(),
        };
        state.configure(settings);
        Self {
            state: Mutex::new(state),
            stress: watch::Sender::new(false),
            handshakes: handshakes(),
            introductions: Introductions::default(),
        }
    }

    /// Takes other settings. Strangers that have become too many are told to make room.
    pub fn configure(&self, settings: &AdmissionSettings) {
        let mut state = self.lock();
        state.configure(settings);
        state.shed_surplus();
        self.tell_stress(&mut state);
    }

    /// Lets a peer in, or not. Another session may be told to make room.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn enter(self: &Arc<Self>, peer: IpAddr, settings: &SessionSettings) -> Result<Place, Refusal> {
        let peer = net::canonical(peer);
        let defences = &settings.defences;
        let client = defences.rates.network(peer);
        let is_spared = defences.rate_exceptions.contains(peer);
        let standing = if settings.chain.lists.mynetworks.contains(peer) {
            Standing::Known
        } else {
            Standing::Stranger
        };
        let share = (!is_spared).then_some(ClientShare {
            client,
            limit: defences.rates.sessions,
        });
        let (now, token) = (clock::now(), CancellationToken::new());
        let mut state = self.lock();
        for event in [RateEvent::Connection, RateEvent::TlsSession] {
            let is_due = event == RateEvent::Connection || settings.tls == TlsOffer::Implicit;
            if is_due
                && !is_spared
                && let Some(exceeded) = state.rates.count(client, event, &defences.rates, now.wall)
            {
                return Err(Refusal::Rate(exceeded));
            }
        }
        let number = match state.places.enter(peer, share, standing, now.monotonic) {
            Entry::Full => return Err(Refusal::Full),
            Entry::ClientFull { count, limit } => return Err(Refusal::Sessions(count, limit)),
            Entry::Admitted { number, shed } => {
                state.shed(shed);
                number
            }
        };
        state.tokens.insert(number, token.clone());
        self.tell_stress(&mut state);
        drop(state);
        Ok(Place {
            admission: Arc::clone(self),
            number,
            network: network_of(peer),
            told_to_leave: token,
            progress: 0,
            standing,
            held_octets: 0,
        })
    }

    /// Whether sessions are short, and every change of that.
    pub fn stress(&self) -> watch::Receiver<bool> {
        self.stress.subscribe()
    }

    /// Sessions now, and the strangers among them.
    pub fn sessions(&self) -> (usize, usize) {
        let state = self.lock();
        (state.places.len(), state.places.strangers())
    }

    fn tell_stress(&self, state: &mut State) {
        let is_stressed = state.places.is_stressed();
        self.stress
            .send_if_modified(|told| std::mem::replace(told, is_stressed) != is_stressed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one session; dropping it leaves.
#[derive(Debug)]
pub struct Place {
    admission: Arc<Admission>,
    number: u64,
    network: IpNet,
    /// Cancelled when the session has to make room.
    pub told_to_leave: CancellationToken,
    progress: u64,
    standing: Standing,
    /// Of mail data in memory, as they are counted.
    held_octets: u64,
}

impl Place {
    /// Notes how far the session has come and who holds it.
    pub fn update(&mut self, session: &Session) {
        let standing = if session.is_stranger() {
            Standing::Stranger
        } else {
            Standing::Known
        };
        let progress = session.progress();
        if (standing, progress) == (self.standing, self.progress) {
            return;
        }
        let is_promoted = standing != self.standing;
        (self.standing, self.progress) = (standing, progress);
        let mut state = self.admission.lock();
        state.places.update(self.number, standing, clock::now().monotonic);
        if is_promoted {
            self.admission.tell_stress(&mut state);
        }
    }

    /// Notes how many octets of mail data the session has in memory; false when it may not have so many. Strangers may be told
    /// to make room.
    #[must_use]
    pub fn hold(&mut self, octets: usize) -> bool {
        let octets = MessageMemory::counted(octets as u64);
        if octets == self.held_octets {
            return true;
        }
        let mut state = self.admission.lock();
        let holder = Holder {
            standing: self.standing,
            network: self.network,
        };
        let hold = state.memory.hold(self.number, octets, holder);
        for number in hold.shed {
            state.places.shed_for_memory(number);
            state.shed(Some(number));
        }
        if hold.is_granted {
            self.held_octets = octets;
        }
        hold.is_granted
    }

    /// Counts an event of a client: that of the connection, or whoever XCLIENT named.
    pub fn count(&self, event: RateEvent, client: IpAddr, settings: &SessionSettings) -> Option<RateExceeded> {
        let rates = &settings.defences.rates;
        let client = rates.network(net::canonical(client));
        let mut state = self.admission.lock();
        state.rates.count(client, event, rates, clock::timestamp())
    }

    /// Sessions that a client has, as they are counted for `smtpd_client_connection_count_limit`.
    pub fn client_sessions(&self, client: IpAddr, settings: &SessionSettings) -> u64 {
        let client = settings.defences.rates.network(net::canonical(client));
        self.admission.lock().places.of_client(&client)
    }

    /// Waits for the turn to work on a handshake; it lasts until it is dropped.
    pub async fn handshake_turn(&self) -> Turn<'_> {
        self.admission.handshakes.turn(self.network).await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.admission.lock();
        state.places.leave(self.number);
        state.memory.leave(self.number);
        state.tokens.remove(&self.number);
        state.shed_surplus();
        self.admission.tell_stress(&mut state);
    }
}

/// Half of the processors at a time, so that handshakes cannot take the other half from sessions that are through.
fn handshakes() -> Turns {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Turns::new((processors / 2).max(1), 1)
}
