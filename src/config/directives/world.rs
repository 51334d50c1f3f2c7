//! Whom a listener asks, and who may speak for its clients.

use super::kind::{Directive, Kind, Place};

/// Whom a listener asks, and who may speak for its clients.
pub const DIRECTIVES: &[Directive] = &[Directive {
    name: "resolver_addresses",
    default: "[]",
    postfix: "-",
    meaning: "name servers to ask, with a port when it is not 53; empty: those of /etc/resolv.conf",
    kind: Kind::NameServers,
    place: Place::Global,
}];
