//! What is said to peers that send too much, too soon, or in too many sessions; the wording is that of smtpd(8) and
//! postscreen(8).

use std::net::IpAddr;

use crate::policy::client_rates::RateEvent;
use crate::session::settings::SessionSettings;
use crate::wire::reply::Reply;

/// `smtpd_forbid_unauth_pipelining`.
pub fn unsynchronised() -> Reply {
    Reply::new(554, (5, 5, 0), "Error: SMTP protocol synchronization")
}

/// `postscreen_greet_action = drop`.
pub fn protocol_error() -> Reply {
    Reply::new(521, (5, 5, 1), "Protocol error")
}

/// `postscreen_greet_action = enforce`, at RCPT.
pub fn barred() -> Reply {
    Reply::new(550, (5, 5, 1), "Protocol error")
}

/// A session that makes room for others.
pub fn busy(settings: &SessionSettings) -> Reply {
    busy_at_the_door(&settings.myhostname)
}

/// `default_process_limit`: no room for another session.
pub fn busy_at_the_door(myhostname: &str) -> Reply {
    Reply::new(421, (4, 3, 2), format!("{myhostname} All server ports are busy"))
}

/// `smtpd_client_connection_count_limit`, `smtpd_client_connection_rate_limit`: before any session.
pub fn too_many_connections(myhostname: &str, peer: IpAddr) -> Reply {
    let text = format!("{myhostname} Error: too many connections from {peer}");
    Reply::new(421, (4, 7, 0), text)
}

/// A command past `smtpd_client_*_rate_limit`.
pub fn rate_exceeded(event: RateEvent, peer: &str, address: IpAddr) -> Reply {
    let text = |what: &str| format!("Error: {what} from {address}");
    match event {
        RateEvent::Connection => Reply::new(421, (4, 7, 0), text("too many connections")),
        RateEvent::Message => Reply::new(450, (4, 7, 1), text("too much mail")),
        RateEvent::Recipient => Reply::new(450, (4, 7, 1), text("too many recipients")),
        RateEvent::Authentication => Reply::new(450, (4, 7, 1), text("too many AUTH commands")),
        RateEvent::TlsSession => Reply::new(454, (4, 7, 0), format!("Error: too many new TLS sessions from {peer}")),
    }
}
