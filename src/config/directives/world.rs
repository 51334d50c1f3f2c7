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
];
