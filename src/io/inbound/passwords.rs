//! AUTH with a password, beyond the session: what the password service takes, and what it says of a login.

use super::driver::{Driver, Flow};
use super::wire::Wire;
use crate::io::authenticator::Place;
use crate::io::clock;
use crate::queue::Store;
use crate::session::password::{PasswordFault, Verification};
use crate::wire::sasl::Credentials;

impl<S: Store> Driver<'_, S> {
    /// Tells the session what the password service takes; only one that has never been heard is waited for.
    pub(super) async fn hear_mechanisms(&mut self) {
        if let Some(authenticator) = &self.inbound.authenticator {
            let mechanisms = authenticator.mechanisms().await;
            self.session.handle_mechanisms(mechanisms);
        }
    }

    /// Has a login verified, once everything is said. A stop does not wait for it.
    pub(super) async fn authenticate(&mut self, credentials: Credentials) -> Flow {
        self.notice_new_peer();
        let place = Place {
            remote: self.peer,
            local: self.local,
            is_secured: matches!(self.wire, Wire::Tls(_)),
        };
        let verification = match &self.inbound.authenticator {
            Some(authenticator) => tokio::select! {
                verification = authenticator.verify(credentials, place) => verification,
                () = self.stopping.cancelled() => unavailable("the relay is stopping"),
            },
            None => unavailable("no password service is configured"),
        };
        self.session.handle_authenticated(verification, clock::now());
        Flow::Continue
    }
}

fn unavailable(why: &str) -> Verification {
    Verification::Wrong(PasswordFault::Unavailable(why.to_owned()))
}
