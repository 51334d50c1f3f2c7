//! STARTTLS, and the peer's certificate judged: behind the handshake, and anew when something has changed.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::driver::{Driver, Flow, Judged};
use super::wire::Wire;
use crate::cert::identity::Identity;
use crate::io::clock;
use crate::observe::log;
use crate::queue::Store;
use crate::session::defences::STRESS_TIMEOUT;

impl<S: Store> Driver<'_, S> {
    /// Judges the peer anew when a reload, a revocation list, the deny-list, an OCSP answer or time has changed what it
    /// was judged by. The session takes the new verdict at its next EHLO, AUTH or
    /// MAIL.
    pub(super) async fn renew_identity(&mut self) {
        let now = clock::unix_seconds();
        let current = self.listener.load_full();
        let is_reloaded = !Arc::ptr_eq(&current, &self.judged.inbound);
        // A listener that no longer offers TLS judges nobody; what its sessions began with still does.
        let Some(tls) = current.tls.as_ref().or(self.inbound.tls.as_ref()) else {
            if is_reloaded {
                self.session
                    .handle_identity(Identity::Plaintext, Arc::clone(&current.session.chain));
                self.judged.inbound = current;
            }
            return;
        };
        let generation = tls.generation();
        if !is_reloaded && generation == self.judged.generation && now < self.judged.until_unix_seconds {
            return;
        }
        let identity = match &self.judged.presented {
            None => Identity::Plaintext,
            presented => {
                let at_most = self.inbound.session.timeout;
                // Boxed: rare, and large beside all else that a session keeps.
                Box::pin(tls.ask_responders(presented.as_deref(), at_most)).await;
                let (identity, until_unix_seconds) = tls.examine(presented.as_deref(), now);
                self.judged.until_unix_seconds = until_unix_seconds;
                identity
            }
        };
        self.judged.generation = generation;
        self.session
            .handle_identity(identity, Arc::clone(&current.session.chain));
        self.judged.inbound = current;
    }

    /// The handshake, once everything is said, and the judgement.
    pub(super) async fn upgrade(&mut self) -> Flow {
        let (Some(tls), Wire::Plain(stream)) =
            (self.inbound.tls.clone(), std::mem::replace(&mut self.wire, Wire::Gone))
        else {
            self.session.handle_eof(clock::now());
            return Flow::Closed;
        };
        let limit = self.inbound.session.starttls_timeout;
        let stress = self.inbound.admission.stress();
        let finished = tokio::select! {
            finished = tls.handshake(stream, self.place.handshake_turn()) => finished,
            why = too_long(limit, self.session.is_stranger(), stress) => Err((why, None)),
            // Nothing can be said in the midst of a handshake, so a stop does not wait for it.
            () = self.stopping.cancelled() => {
                self.session.handle_shutdown(clock::now());
                return Flow::Closed;
            }
        };
        match finished {
            Ok(stream) => {
                let connection = stream.get_ref().1;
                let description = tls.describe(connection);
                let presented = connection.peer_certificates().unwrap_or_default();
                let presented: Vec<_> = presented.iter().map(|der| der.clone().into_owned()).collect();
                // Taken first: what changes from here on is judged anew.
                let generation = tls.generation();
                self.wire = Wire::Tls(Box::new(stream));
                let at_most = self.inbound.session.starttls_timeout;
                tls.ask_responders(Some(&presented), at_most).await;
                let (identity, until_unix_seconds) = tls.examine(Some(&presented), clock::unix_seconds());
                self.judged = Judged {
                    inbound: Arc::clone(&self.inbound),
                    presented: Some(presented),
                    generation,
                    until_unix_seconds,
                };
                self.session.handle_tls(identity, description, clock::now());
                Flow::Continue
            }
            Err((error, stream)) => {
                // An alert is on its way to the peer.
                self.wire = stream.map_or(Wire::Gone, Wire::Plain);
                let why = error.to_string();
                log::tls_failed(&self.session_id, &self.inbound.session.listener, self.peer, &why);
                self.session.handle_eof(clock::now());
                Flow::Closed
            }
        }
    }
}

/// Returns when a handshake has lasted for `smtpd_starttls_timeout`, or, that of a stranger while sessions are short, for
/// [`STRESS_TIMEOUT`].
async fn too_long(limit: Duration, is_stranger: bool, mut stress: watch::Receiver<bool>) -> io::Error {
    let hurried = async {
        tokio::time::sleep(STRESS_TIMEOUT).await;
        if !is_stranger || stress.wait_for(|is_stressed| *is_stressed).await.is_err() {
            pending::<()>().await;
        }
    };
    let why = tokio::select! {
        () = tokio::time::sleep(limit) => "the handshake took too long",
        () = hurried => "the handshake took too long while sessions are short",
    };
    io::Error::other(why)
}
