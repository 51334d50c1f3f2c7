//! Commands that are counted for the peer's network before they are obeyed.
//!
//! **Implements** `smtpd_client_message_rate_limit`, `smtpd_client_recipient_rate_limit`, `smtpd_client_auth_rate_limit`,
//! `smtpd_client_new_tls_session_rate_limit`, `smtpd_client_event_limit_exceptions`.
//! **Does not** count: the driver does.

use std::sync::Arc;

use super::action::Action;
use super::connection::Connection;
use super::event::Event;
use super::replies;
use super::settings::TlsOffer;
use super::state::State;
use crate::policy::client_rates::{RateEvent, RateExceeded};
use crate::time::Now;
use crate::wire::command::{Command, Verb};

impl State {
    /// Obeys a command, once it is counted where a limit says so.
    pub(super) fn on_command(self, command: &Command, connection: &mut Connection, now: Now) -> Self {
        let event = self.rate_event(command.verb, connection);
        let Some(event) = event.filter(|event| connection.is_limited(*event)) else {
            return self.obey(command, connection, now);
        };
        connection.actions.push_back(Action::Count(event));
        Self::Counting(Box::new((self, command.clone())))
    }

    /// Takes the answer to [`Action::Count`].
    pub(super) fn on_counted(self, exceeded: Option<RateExceeded>, connection: &mut Connection, now: Now) -> Self {
        let Self::Counting(counted) = self else {
            return self;
        };
        let (before, command) = *counted;
        let state = match exceeded {
            None => before.obey(&command, connection, now),
            Some(exceeded) => {
                let reply =
                    replies::rate_exceeded(exceeded.event, &connection.peer_in_words(), connection.peer_address());
                connection.events.push_back(Event::RateExceeded {
                    origin: Arc::clone(&connection.origin),
                    exceeded,
                });
                before.refuse(reply, connection)
            }
        };
        state.after_command(connection, now)
    }

    /// What a command is counted as, where it would be obeyed: behind a failed BDAT as in Ready.
    fn rate_event(&self, verb: Verb, connection: &Connection) -> Option<RateEvent> {
        let settings = &connection.settings;
        let offers_tls = matches!(settings.tls, TlsOffer::May | TlsOffer::Encrypt) && connection.tls.is_none();
        match (verb, self) {
            (Verb::Mail, Self::Ready(greeting) | Self::Failed(greeting))
                if greeting.allows_mail(settings.hello_required) =>
            {
                Some(RateEvent::Message)
            }
            (Verb::Rcpt, Self::Mail(..)) => Some(RateEvent::Recipient),
            (Verb::Auth, Self::Ready(_) | Self::Failed(_)) => Some(RateEvent::Authentication),
            (Verb::StartTls, Self::Ready(_) | Self::Mail(..) | Self::Failed(_)) if offers_tls => {
                Some(RateEvent::TlsSession)
            }
            _ => None,
        }
    }
}
