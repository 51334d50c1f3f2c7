//! The peer's certificate judged anew in a session that is open.
//!
//! **Implements** that revocation, expiry, a reload and new restriction lists take effect at the next EHLO, AUTH or MAIL.
//! **Does not** touch a transaction under way: it ends as it began.

use super::connection::Connection;
use super::event::{CertificateFault, Event};
use crate::cert::identity::Identity;

/// Takes the renewal that waits, if there is one. Returns why the peer has to go, under `smtpd_tls_req_ccert`.
pub(super) fn apply(connection: &mut Connection) -> Option<CertificateFault> {
    let (identity, chain) = connection.renewal.take()?;
    connection.chain = chain;
    let before = connection.identity.clone();
    let unwelcome = connection.settings.unwelcome(&identity);
    connection.identify(identity);
    let identity = connection.identity.clone();
    if standing(&before) != standing(&identity) {
        connection.events.push_back(Event::IdentityChanged {
            origin: connection.origin.clone(),
            before: Box::new(before),
            identity: Box::new(identity),
        });
    }
    unwelcome
}

/// What of an identity is told when it changes.
fn standing(identity: &Identity) -> (&'static str, Option<CertificateFault>) {
    (identity.state(), CertificateFault::of(identity))
}
