//! AUTH: its place in the dialogue.
//!
//! **Implements** RFC 4954 section 4: where AUTH may stand, the exchange of challenges, and what becomes of its outcome.
//! **Does not** check a credential: `auth` does.

use std::sync::Arc;

use super::auth::{self, Response};
use super::connection::Connection;
use super::event::Event;
use super::hello::Greeting;
use super::state::State;
use super::{renewal, replies};

impl State {
    pub(super) fn on_auth(self, argument: &str, connection: &mut Connection) -> Self {
        let greeting = match self {
            Self::Ready(greeting) if greeting.allows_mail(connection.settings.hello_required) => greeting,
            Self::Mail(..) => return self.refuse(replies::transaction_in_progress(), connection),
            other => return other.refuse(replies::say_ehlo_first(), connection),
        };
        if let Some(fault) = renewal::apply(connection) {
            return Self::turn_away(connection, fault);
        }
        match auth::check(connection, argument) {
            Ok(Some(response)) => Self::authenticate(greeting, response, connection),
            // Without a verified certificate no response can help.
            Ok(None) if connection.identity.verified().is_none() => {
                Self::authenticate(greeting, Response::AuthorizationIdentity(String::new()), connection)
            }
            Ok(None) => Self::Authenticating(greeting).answer(&replies::empty_challenge(), connection),
            Err(reply) => Self::Ready(greeting).refuse(reply, connection),
        }
    }

    pub(super) fn after_response(self) -> Self {
        match self {
            Self::Authenticating(greeting) => Self::Ready(greeting),
            other => other,
        }
    }

    pub(super) fn on_response(self, text: &[u8], connection: &mut Connection) -> Self {
        let Self::Authenticating(greeting) = self else {
            return self;
        };
        if let Some(fault) = renewal::apply(connection) {
            return Self::turn_away(connection, fault);
        }
        match auth::read_response(text) {
            Ok(response) => Self::authenticate(greeting, response, connection),
            Err(reply) => Self::Ready(greeting).refuse(reply, connection),
        }
    }

    fn authenticate(greeting: Greeting, response: Response, connection: &mut Connection) -> Self {
        let ready = Self::Ready(greeting);
        let Response::AuthorizationIdentity(name) = response else {
            return ready.refuse(replies::authentication_cancelled(), connection);
        };
        let Err(because) = auth::authorize(&connection.identity, &name) else {
            connection.is_authenticated = true;
            return ready.answer(&replies::authenticated(), connection);
        };
        let reference = connection.next_reference();
        let reply = replies::authentication_failed(&because, &reference);
        connection.send(&reply);
        connection.counters.error();
        connection.events.push_back(Event::AuthenticationRejected {
            origin: Arc::clone(&connection.origin),
            reference,
            because,
            reply,
        });
        ready
    }
}
