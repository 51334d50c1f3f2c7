//! How much memory messages on their way in may take.

use super::kind::{Directive, Kind, Place};

/// Memory.
pub const DIRECTIVES: &[Directive] = &[Directive {
    name: "smtpd_mail_data_memory_limit",
    default: "134217728",
    postfix: "-",
    meaning: "octets of mail data of all sessions that may be in memory until it is on disk; past smtpd_stranger_session_share percent of it strangers are told 452, and for others those of the network that holds most are told 421; 0: no limit",
    kind: Kind::Size,
    place: Place::Global,
}];
