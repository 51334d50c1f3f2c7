//! The directives against peers that do not keep to the protocol, or want more than their share.

use super::forbidden_commands;
use super::scope::Scope;
use crate::io::admission::AdmissionSettings;
use crate::net::CidrSet;
use crate::policy::client_rates::RateLimits;
use crate::session::defences::{Defences, GreetAction};

/// The defences of one listener.
pub fn build(scope: &Scope) -> Defences {
    Defences {
        soft_errors_max: scope.count("smtpd_soft_error_limit"),
        error_sleep: scope.time("smtpd_error_sleep_time"),
        forbid_unauth_pipelining: scope.boolean("smtpd_forbid_unauth_pipelining"),
        forbidden_commands: forbidden_commands::build(scope.words("smtpd_forbidden_commands")),
        header_field_octets_max: scope.number("header_size_limit"),
        per_request_deadline: scope.boolean("smtpd_per_request_deadline"),
        data_rate_octets_min: scope.number("smtpd_min_data_rate"),
        greet_wait: scope.time("postscreen_greet_wait"),
        greet_action: match scope.text("postscreen_greet_action") {
            Some("drop") => GreetAction::Drop,
            Some("enforce") => GreetAction::Enforce,
            _ => GreetAction::Ignore,
        },
        rates: rates(scope),
        rate_exceptions: CidrSet::new(scope.networks("smtpd_client_event_limit_exceptions").to_vec()),
    }
}

/// What all listeners share.
pub fn admission(top: &Scope) -> AdmissionSettings {
    AdmissionSettings {
        sessions_max: top.count("default_process_limit"),
        strangers_percent: top.count("smtpd_stranger_session_share"),
        rate_time_unit: top.time("anvil_rate_time_unit"),
        mail_data_octets_max: top.number("smtpd_mail_data_memory_limit"),
    }
}

fn rates(scope: &Scope) -> RateLimits {
    let prefix = |name: &str| u8::try_from(scope.number(name)).unwrap_or(u8::MAX);
    RateLimits {
        sessions: scope.number("smtpd_client_connection_count_limit"),
        connections: scope.number("smtpd_client_connection_rate_limit"),
        messages: scope.number("smtpd_client_message_rate_limit"),
        recipients: scope.number("smtpd_client_recipient_rate_limit"),
        authentications: scope.number("smtpd_client_auth_rate_limit"),
        tls_sessions: scope.number("smtpd_client_new_tls_session_rate_limit"),
        ipv4_prefix: prefix("smtpd_client_ipv4_prefix_length"),
        ipv6_prefix: prefix("smtpd_client_ipv6_prefix_length"),
    }
}
