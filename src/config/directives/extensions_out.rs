//! What deliveries believe of a next hop's extensions.

use super::kind::{Directive, Kind, Place};

/// The keywords of extensions that deliveries use.
const KEYWORDS: &[&str] = &[
    "8bitmime",
    "dsn",
    "limits",
    "pipelining",
    "requiretls",
    "size",
    "smtputf8",
    "starttls",
];

/// What deliveries believe of a next hop's extensions.
pub const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "smtp_discard_ehlo_keywords",
        default: "[]",
        postfix: "empty",
        meaning: "EHLO keywords of next hops that are not believed, as in [\"dsn\", \"smtputf8\"]",
        kind: Kind::Choices(KEYWORDS),
        place: Place::Global,
    },
    Directive {
        name: "disable_mime_output_conversion",
        default: "false",
        postfix: "no",
        meaning: "send 8-bit mail as it is to a next hop without 8BITMIME, not converted to quoted-printable and base64",
        kind: Kind::Boolean,
        place: Place::Global,
    },
];
