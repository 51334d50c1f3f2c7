//! AUTH: its place in the dialogue.
//!
//! **Implements** RFC 4954 section 4: where AUTH may stand, the exchange of challenges, and what becomes of its outcome.
//! **Does not** check a credential: `auth` does, and for a password whoever the driver asks.

use std::sync::Arc;

use super::action::Action;
use super::auth::{self, Exchange};
use super::connection::Connection;
use super::event::{AuthenticationFault, CloseReason, Event};
use super::hello::Greeting;
use super::limits::Wait;
use super::password::{Claim, PasswordFault, Verification};
use super::state::State;
use super::{renewal, replies};
use crate::time::Now;
use crate::wire::sasl::{Credentials, login_of};

impl State {
    pub(super) fn on_auth(self, argument: &str, connection: &mut Connection, now: Now) -> Self {
        let greeting = match self {
            Self::Ready(greeting) if greeting.allows_mail(connection.settings.hello_required) => greeting,
            Self::Mail(..) => return self.refuse(replies::transaction_in_progress(), connection),
            other => return other.refuse(replies::say_ehlo_first(), connection),
        };
        if let Some(fault) = renewal::apply(connection) {
            return Self::turn_away(connection, fault);
        }
        match auth::check(connection, argument) {
            Ok((exchange, Some(response))) => Self::respond(greeting, exchange, response.as_bytes(), connection, now),
            // Without a verified certificate no response can help.
            Ok((Exchange::External, None)) if connection.identity.verified().is_none() => {
                Self::authorize(greeting, "", connection)
            }
            Ok((exchange, None)) => Self::ask(greeting, exchange, connection),
            Err(reply) => Self::Ready(greeting).refuse(reply, connection),
        }
    }

    pub(super) fn after_response(self) -> Self {
        match self {
            Self::Authenticating(greeting, _) => Self::Ready(greeting),
            other => other,
        }
    }

    pub(super) fn on_response(self, text: &[u8], connection: &mut Connection, now: Now) -> Self {
        let Self::Authenticating(greeting, exchange) = self else {
            return self;
        };
        if let Some(fault) = renewal::apply(connection) {
            return Self::turn_away(connection, fault);
        }
        Self::respond(greeting, exchange, text, connection, now)
    }

    fn ask(greeting: Greeting, exchange: Exchange, connection: &mut Connection) -> Self {
        let challenge = exchange.challenge();
        Self::Authenticating(greeting, exchange).answer(&challenge, connection)
    }

    fn respond(greeting: Greeting, exchange: Exchange, text: &[u8], connection: &mut Connection, now: Now) -> Self {
        let octets = match auth::decode(text) {
            Ok(Some(octets)) => octets,
            Ok(None) => return Self::Ready(greeting).refuse(replies::authentication_cancelled(), connection),
            Err(reply) => return Self::Ready(greeting).refuse(reply, connection),
        };
        let octets = octets.octets();
        let credentials = match exchange {
            Exchange::External => match auth::authorization_identity(octets) {
                Some(name) => return Self::authorize(greeting, &name, connection),
                None => None,
            },
            Exchange::LoginName => match login_of(octets) {
                Some(login) => return Self::ask(greeting, Exchange::LoginPassword(login), connection),
                None => None,
            },
            Exchange::Plain => Credentials::of_plain(octets),
            Exchange::LoginPassword(login) => Credentials::of_login(login, octets),
        };
        match credentials {
            Some(credentials) => Self::verify(greeting, credentials, connection, now),
            None => Self::Ready(greeting).refuse(replies::bad_response(), connection),
        }
    }

    /// EXTERNAL: the certificate decides.
    fn authorize(greeting: Greeting, name: &str, connection: &mut Connection) -> Self {
        match auth::authorize(&connection.identity, name) {
            Ok(()) => {
                connection.is_authenticated = true;
                Self::Ready(greeting).answer(&replies::authenticated(), connection)
            }
            Err(because) => Self::Ready(greeting).fail(because, connection),
        }
    }

    fn verify(greeting: Greeting, credentials: Credentials, connection: &mut Connection, now: Now) -> Self {
        let credentials = credentials.within(&connection.settings.sasl.realm);
        let claim = Claim {
            mechanism: credentials.mechanism,
            login: credentials.login.clone(),
        };
        connection
            .actions
            .push_back(Action::Authenticate(Box::new(credentials)));
        connection.wait(Wait::Answer, now);
        Self::Verifying(greeting, claim)
    }

    /// Takes the answer to [`Action::Authenticate`].
    pub(super) fn on_authenticated(self, verification: Verification, connection: &mut Connection) -> Self {
        let Self::Verifying(greeting, claim) = self else {
            return self;
        };
        let ready = Self::Ready(greeting);
        let fault = match verification {
            Verification::Right(login) => {
                connection.log_in(login, claim.mechanism);
                connection.events.push_back(Event::Authenticated {
                    origin: Arc::clone(&connection.origin),
                    mechanism: claim.mechanism,
                });
                return ready.answer(&replies::authenticated(), connection);
            }
            Verification::Wrong(fault) => fault,
        };
        let is_end = fault == PasswordFault::AddressExceeded;
        let state = ready.fail(
            AuthenticationFault::Password {
                mechanism: claim.mechanism,
                login: claim.login,
                fault,
            },
            connection,
        );
        if is_end {
            Self::close(connection, CloseReason::TooManyFailedLogins)
        } else {
            state
        }
    }

    /// Says and records that AUTH failed.
    fn fail(self, because: AuthenticationFault, connection: &mut Connection) -> Self {
        let reference = connection.next_reference();
        let reply = replies::authentication_failed(&because, &connection.settings, &reference);
        connection.send(&reply);
        connection.counters.error();
        connection.events.push_back(Event::AuthenticationRejected {
            origin: Arc::clone(&connection.origin),
            reference,
            because,
            reply,
        });
        self
    }
}
