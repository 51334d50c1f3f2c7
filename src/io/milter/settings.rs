//! What the configuration says of content filters, checked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::net::CidrSet;
use crate::wire::milter::options::MacroStage;

/// The filters of a listener: `smtpd_milters` and what belongs to it.
#[derive(Clone, Debug, Default)]
pub struct Filters {
    /// In the order in which they are asked.
    pub milters: Vec<Milter>,
    /// The macros sent at each stage: `milter_connect_macros` and the others.
    pub macros: BTreeMap<MacroStage, Vec<String>>,
    /// `milter_macro_daemon_name`.
    pub daemon_name: String,
    /// `milter_macro_v`.
    pub version_text: String,
    /// `myhostname`.
    pub myhostname: String,
    /// `smtpd_milter_maps`: clients of which no filter is told.
    pub disabled: CidrSet,
    /// `message_size_limit`, octets: no body that a filter puts in its place is larger; 0 means no limit.
    pub message_octets_max: u64,
}

/// One filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Milter {
    /// As it is written: `inet:host:port`, `unix:/path`.
    pub name: String,
    /// Where it is.
    pub endpoint: Endpoint,
    /// `milter_default_action`, or its own.
    pub default_action: DefaultAction,
    /// `milter_connect_timeout`, or its own.
    pub connect_timeout: Duration,
    /// `milter_command_timeout`, or its own.
    pub command_timeout: Duration,
    /// `milter_content_timeout`, or its own.
    pub content_timeout: Duration,
    /// `milter_protocol`, or its own.
    pub version: u32,
}

/// Where a filter listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `inet:host:port`.
    Inet(String, u16),
    /// `unix:/path`.
    Unix(PathBuf),
}

/// `milter_default_action`: what becomes of mail when a filter fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAction {
    /// As if there were no such filter.
    Accept,
    /// 550.
    Reject,
    /// 451.
    TempFail,
    /// Taken, and on hold.
    Quarantine,
    /// 421, and the session ends.
    Shutdown,
}
