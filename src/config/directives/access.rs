//! Directives of access tables, reply codes of restriction lists, and what policy services are told.

use super::kind::{Directive, Kind, Place};

/// In the order of the reference configuration.
pub const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "smtpd_null_access_lookup_key",
        default: "\"<>\"",
        postfix: "<>",
        meaning: "the key of access tables that stands for the null reverse-path",
        kind: Kind::Text,
        place: Place::Listener,
    },
    Directive {
        name: "access_map_defer_code",
        default: "450",
        postfix: "450",
        meaning: "reply code of DEFER, DEFER_IF_PERMIT and DEFER_IF_REJECT of an access table or a policy service",
        kind: Kind::Count(400, 499),
        place: Place::Listener,
    },
    Directive {
        name: "multi_recipient_bounce_reject_code",
        default: "550",
        postfix: "550",
        meaning: "reply code of reject_multi_recipient_bounce",
        kind: Kind::Count(400, 599),
        place: Place::Listener,
    },
    Directive {
        name: "reject_code",
        default: "554",
        postfix: "554",
        meaning: "reply code of the word reject",
        kind: Kind::Count(400, 599),
        place: Place::Listener,
    },
    Directive {
        name: "defer_code",
        default: "450",
        postfix: "450",
        meaning: "reply code of the word defer",
        kind: Kind::Count(400, 499),
        place: Place::Listener,
    },
    Directive {
        name: "smtpd_policy_service_policy_context",
        default: "\"\"",
        postfix: "empty",
        meaning: "told to policy services as policy_context, so that one service can tell the lists apart that ask it",
        kind: Kind::Text,
        place: Place::Listener,
    },
];
