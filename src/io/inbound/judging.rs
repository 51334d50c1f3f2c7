//! STARTTLS, and the peer's certificate judged: behind the handshake, and anew when something has changed.

use std::sync::Arc;

use super::driver::{Driver, Flow, Judged};
use super::wire::Wire;
use crate::cert::identity::Identity;
use crate::io::clock;
use crate::observe::log;
use crate::queue::Store;

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
                tls.ask_responders(presented.as_deref(), at_most).await;
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

    pub(super) async fn upgrade(&mut self) -> Flow {
        if let Flow::Closed = self.flush().await {
            return Flow::Closed;
        }
        let (Some(tls), Wire::Plain(stream)) =
            (self.inbound.tls.clone(), std::mem::replace(&mut self.wire, Wire::Gone))
        else {
            self.session.handle_eof(clock::now());
            return Flow::Closed;
        };
        let handshake = tls.acceptor().accept(stream).into_fallible();
        let finished = tokio::select! {
            finished = tokio::time::timeout(self.inbound.session.starttls_timeout, handshake) => finished,
            // Nothing can be said in the midst of a handshake, so a stop does not wait for it.
            () = self.stopping.cancelled() => {
                self.session.handle_shutdown(clock::now());
                return Flow::Closed;
            }
        };
        match finished {
            Ok(Ok(stream)) => {
                let connection = stream.get_ref().1;
                let description = tls.describe(connection);
                let presented = connection.peer_certificates().unwrap_or_default();
                let presented: Vec<_> = presented.iter().map(|der| der.clone().into_owned()).collect();
                // Taken first: what changes from here on is judged anew.
                let generation = tls.generation();
                let at_most = self.inbound.session.starttls_timeout;
                tls.ask_responders(Some(&presented), at_most).await;
                let (identity, until_unix_seconds) = tls.examine(Some(&presented), clock::unix_seconds());
                self.judged = Judged {
                    inbound: Arc::clone(&self.inbound),
                    presented: Some(presented),
                    generation,
                    until_unix_seconds,
                };
                self.wire = Wire::Tls(Box::new(stream));
                self.session.handle_tls(identity, description, clock::now());
                Flow::Continue
            }
            failed => {
                let why = match failed {
                    Ok(Err((error, stream))) => {
                        // An alert is on its way to the peer.
                        self.wire = Wire::Plain(stream);
                        error.to_string()
                    }
                    _ => String::from("the handshake took too long"),
                };
                log::tls_failed(&self.session_id, &self.inbound.session.listener, self.peer, &why);
                self.session.handle_eof(clock::now());
                Flow::Closed
            }
        }
    }
}
