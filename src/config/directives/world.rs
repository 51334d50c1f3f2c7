//! Whom a listener asks, and who may speak for its clients.

use super::kind::{Directive, Kind, Place};

/// Whom a listener asks, and who may speak for its clients.
pub const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "resolver_addresses",
        default: "[]",
        postfix: "-",
        meaning: "name servers to ask, with a port when it is not 53; empty: those of /etc/resolv.conf",
        kind: Kind::NameServers,
        place: Place::Global,
    },
    Directive {
        name: "smtpd_upstream_proxy_protocol",
        default: "\"\"",
        postfix: "empty",
        meaning: "whoever connects sends a PROXY header (version 1 or 2) first, which names the client: haproxy",
        kind: Kind::Choice(&["haproxy"]),
        place: Place::Listener,
    },
    Directive {
        name: "smtpd_upstream_proxy_timeout",
        default: "\"5s\"",
        postfix: "5s",
        meaning: "time that the PROXY header may take",
        kind: Kind::Time(1),
        place: Place::Listener,
    },
    Directive {
        name: "smtpd_upstream_proxy_hosts",
        default: "[]",
        postfix: "-",
        meaning: "networks of the load balancers that send the PROXY header; whoever else connects there is turned away",
        kind: Kind::Networks,
        place: Place::Listener,
    },
    Directive {
        name: "smtpd_authorized_xclient_hosts",
        default: "[]",
        postfix: "empty",
        meaning: "networks of the proxies that may say with XCLIENT whom they speak for; their certificates do not count for others",
        kind: Kind::Networks,
        place: Place::Listener,
    },
    Directive {
        name: "smtpd_policy_service_try_limit",
        default: "2",
        postfix: "2",
        meaning: "attempts at a policy service until its default action counts",
        kind: Kind::Count(1, 10),
        place: Place::Global,
    },
    Directive {
        name: "smtpd_policy_service_retry_delay",
        default: "\"1s\"",
        postfix: "1s",
        meaning: "pause before another attempt at a policy service",
        kind: Kind::Time(0),
        place: Place::Global,
    },
    Directive {
        name: "smtpd_policy_service_max_idle",
        default: "\"300s\"",
        postfix: "300s",
        meaning: "time after which an idle connection to a policy service is not used again",
        kind: Kind::Time(1),
        place: Place::Global,
    },
    Directive {
        name: "smtpd_policy_service_max_ttl",
        default: "\"1000s\"",
        postfix: "1000s",
        meaning: "time after which any connection to a policy service is not used again",
        kind: Kind::Time(1),
        place: Place::Global,
    },
    Directive {
        name: "smtpd_policy_service_request_limit",
        default: "0",
        postfix: "0",
        meaning: "requests over one connection to a policy service; 0: no limit",
        kind: Kind::Count(0, 1_000_000),
        place: Place::Global,
    },
];
