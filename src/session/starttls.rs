//! STARTTLS: from plaintext to TLS, and what must not cross with it.
//!
//! **Implements** RFC 3207 section 4, `smtpd_tls_req_ccert`, `smtpd_tls_wrappermode`.

use std::sync::Arc;

use super::action::Action;
use super::connection::Connection;
use super::event::{CertificateFault, Event};
use super::limits::Wait;
use super::replies;
use super::settings::TlsOffer;
use crate::cert::identity::Identity;
use crate::mail::trace_header::TlsDescription;
use crate::policy::question::Answers;
use crate::time::Now;
use crate::wire::reply::Reply;

/// Whether STARTTLS may be said now.
///
/// # Errors
/// The refusal.
pub(super) fn check(connection: &Connection, argument: &str) -> Result<(), Reply> {
    if connection.tls.is_some() {
        Err(replies::tls_already_active())
    } else if !matches!(connection.settings.tls, TlsOffer::May | TlsOffer::Encrypt) {
        Err(replies::not_implemented())
    } else if argument.is_empty() {
        Ok(())
    } else {
        Err(replies::usage("STARTTLS"))
    }
}

/// Leaves plaintext behind. RFC 3207 section 4.2: "The server MUST discard any knowledge obtained from the client,
/// such as the argument to the EHLO command, which was not obtained from the TLS negotiation itself." Octets sent
/// behind STARTTLS were not under TLS and go as well; whoever calls this replaces the whole state.
pub(super) fn begin(connection: &mut Connection, now: Now) {
    connection.input.clear();
    connection.actions.push_back(Action::UpgradeTls);
    connection.wait(Wait::Handshake, now);
}

/// Takes what the handshake told. Returns why a peer has to go that had to show a verified certificate.
pub(super) fn finish(connection: &mut Connection, identity: Identity, tls: TlsDescription) -> Option<CertificateFault> {
    // Octets handed in between were not under TLS either, nor was what was judged before.
    connection.input.clear();
    connection.renewal = None;
    (connection.login, connection.login_mechanism) = (None, "");
    connection.is_authenticated = false;
    connection.answers = Answers::default();
    let unwelcome = connection.settings.unwelcome(&identity);
    connection.identify(identity);
    connection.events.push_back(Event::TlsStarted {
        origin: Arc::clone(&connection.origin),
        tls: Box::new(tls.clone()),
        identity: Box::new(connection.identity.clone()),
    });
    connection.tls = Some(tls);
    connection.progress = connection.progress.saturating_add(1);
    unwelcome
}
