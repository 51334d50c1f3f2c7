//! Which extensions of SMTP the listeners announce.

use super::kind::{Directive, Kind, Place};

/// Which extensions of SMTP the listeners announce.
pub const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "smtputf8_enable",
        default: "true",
        postfix: "yes (compat>=1)",
        meaning: "announce SMTPUTF8 and take addresses and headers in UTF-8",
        kind: Kind::Boolean,
        place: Place::Listener,
    },
    Directive {
        name: "requiretls_enable",
        default: "true",
        postfix: "yes",
        meaning: "announce REQUIRETLS within TLS: mail that may only go on over verified TLS",
        kind: Kind::Boolean,
        place: Place::Listener,
    },
    Directive {
        name: "smtpd_discard_ehlo_keywords",
        default: "[]",
        postfix: "empty",
        meaning: "extensions that are neither announced nor taken; silent-discard changes nothing, since hiding is never logged",
        kind: Kind::EhloKeywords,
        place: Place::Listener,
    },
    Directive {
        name: "smtpd_discard_ehlo_keyword_address_maps",
        default: "{}",
        postfix: "empty",
        meaning: "the same for clients in these networks, instead of smtpd_discard_ehlo_keywords; the narrowest network counts",
        kind: Kind::EhloKeywordMaps,
        place: Place::Listener,
    },
];
