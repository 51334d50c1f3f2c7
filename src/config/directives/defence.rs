//! Against peers that do not keep to the protocol, or want more than their share.

use super::kind::{Directive, Kind, Place};

const fn limit(name: &'static str, default: &'static str, meaning: &'static str) -> Directive {
    Directive {
        name,
        default,
        postfix: default,
        meaning,
        kind: Kind::Count(0, 1_000_000_000),
        place: Place::Listener,
    }
}

/// Against peers that do not keep to the protocol, or want more than their share.
pub const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "default_process_limit",
        default: "2000",
        postfix: "100",
        meaning: "SMTP sessions of all listeners together; past it the idlest stranger is told 421, or who comes is",
        kind: Kind::Count(10, 100_000),
        place: Place::Global,
    },
    Directive {
        name: "smtpd_stranger_session_share",
        default: "80",
        postfix: "-",
        meaning: "percent of default_process_limit for peers outside mynetworks without a verified certificate or login",
        kind: Kind::Count(1, 99),
        place: Place::Global,
    },
    Directive {
        name: "anvil_rate_time_unit",
        default: "\"60s\"",
        postfix: "60s",
        meaning: "the time unit of smtpd_client_*_rate_limit",
        kind: Kind::Time(1),
        place: Place::Global,
    },
    limit(
        "smtpd_client_connection_count_limit",
        "50",
        "sessions of one client at a time; 0: no limit",
    ),
    limit(
        "smtpd_client_connection_rate_limit",
        "0",
        "connections of one client in a time unit; 0: no limit",
    ),
    limit(
        "smtpd_client_message_rate_limit",
        "0",
        "MAIL commands of one client in a time unit; 0: no limit",
    ),
    limit(
        "smtpd_client_recipient_rate_limit",
        "0",
        "RCPT commands of one client in a time unit; 0: no limit",
    ),
    limit(
        "smtpd_client_auth_rate_limit",
        "0",
        "AUTH commands of one client in a time unit; 0: no limit",
    ),
    limit(
        "smtpd_client_new_tls_session_rate_limit",
        "0",
        "TLS handshakes of one client in a time unit; 0: no limit",
    ),
    Directive {
        name: "smtpd_client_event_limit_exceptions",
        default: "[\"$mynetworks\"]",
        postfix: "$mynetworks",
        meaning: "clients that the limits of smtpd_client_* spare",
        kind: Kind::Networks,
        place: Place::Listener,
    },
    Directive {
        name: "smtpd_client_ipv4_prefix_length",
        default: "32",
        postfix: "32",
        meaning: "IPv4 addresses of a network this long are one client",
        kind: Kind::Count(0, 32),
        place: Place::Listener,
    },
    Directive {
        name: "smtpd_client_ipv6_prefix_length",
        default: "64",
        postfix: "84",
        meaning: "IPv6 addresses of a network this long are one client",
        kind: Kind::Count(0, 128),
        place: Place::Listener,
    },
    Directive {
        name: "smtpd_soft_error_limit",
        default: "10",
        postfix: "10",
        meaning: "errors from which on every reply waits for smtpd_error_sleep_time",
        kind: Kind::Count(1, 1_000_000),
        place: Place::Listener,
    },
    Directive {
        name: "smtpd_error_sleep_time",
        default: "\"1s\"",
        postfix: "1s",
        meaning: "how late a reply comes after smtpd_soft_error_limit errors; 0 never",
        kind: Kind::Time(0),
        place: Place::Listener,
    },
    Directive {
        name: "smtpd_forbid_unauth_pipelining",
        default: "true",
        postfix: "yes",
        meaning: "end sessions that send ahead where RFC 2920 forbids it: before the greeting, before EHLO is answered, behind HELO, EHLO, DATA, NOOP, VRFY; holders of a verified certificate are spared",
        kind: Kind::Boolean,
        place: Place::Listener,
    },
    Directive {
        name: "smtpd_forbidden_commands",
        default: "[\"CONNECT\", \"GET\", \"POST\", \"PUT\", \"HEAD\", \"OPTIONS\", \"DELETE\", \"PATCH\", \"TRACE\", \"PRI\", \"/^SSH-/\", \"/^[^A-Z]/\"]",
        postfix: "CONNECT GET POST regexp:{{/^[^A-Z]/ Bogus}}",
        meaning: "first words, or /regular expressions/ on them whatever the letter case, that end a session at once; a header field does always",
        kind: Kind::Commands,
        place: Place::Listener,
    },
    Directive {
        name: "smtpd_per_request_deadline",
        default: "true",
        postfix: "no (yes under stress)",
        meaning: "the time limit is for a whole command and, with smtpd_min_data_rate, for the message; false: for each read, but for strangers under stress",
        kind: Kind::Boolean,
        place: Place::Listener,
    },
    Directive {
        name: "smtpd_min_data_rate",
        default: "500",
        postfix: "500",
        meaning: "octets a second of mail data that smtpd_per_request_deadline asks for",
        kind: Kind::Count(1, 1_000_000_000),
        place: Place::Listener,
    },
    Directive {
        name: "header_size_limit",
        default: "102400",
        postfix: "102400",
        meaning: "largest header field, octets with its continuation lines; a message with a larger one is refused with 552, which Postfix cuts short instead; 0: no limit",
        kind: Kind::Size,
        place: Place::Listener,
    },
    Directive {
        name: "postscreen_greet_wait",
        default: "\"0s\"",
        postfix: "6s (2s under stress)",
        meaning: "how long a client outside mynetworks waits for the greeting; 0 greets at once",
        kind: Kind::Time(0),
        place: Place::Listener,
    },
    Directive {
        name: "postscreen_greet_action",
        default: "\"ignore\"",
        postfix: "ignore",
        meaning: "a client that speaks within postscreen_greet_wait: ignore (and log), enforce (refuse its recipients), drop; smtpd_forbid_unauth_pipelining still ends its session",
        kind: Kind::Choice(&["ignore", "enforce", "drop"]),
        place: Place::Listener,
    },
];
