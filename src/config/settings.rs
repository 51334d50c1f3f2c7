//! The checked configuration: what the daemon is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::certificate_rules::defined::CheckedRule;
use super::error::Diagnostic;
use super::sasl::PasswordSource;
use crate::io::admission::AdmissionSettings;
use crate::io::milter::settings::Filters;
use crate::io::policy_service::PolicyConnections;
use crate::io::tls::settings::{ClientTlsFiles, ServerTlsFiles};
use crate::outbound::settings::OutboundSettings;
use crate::policy::login_failures::FailureLimits;
use crate::queue::settings::QueueSettings;
use crate::session::settings::SessionSettings;

/// Everything that the configuration says, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen, and how sessions go there; at least one.
    pub listeners: Vec<ListenerSettings>,
    /// `[[certificate_rule]]`, in the order of the file.
    pub certificate_rules: Vec<CheckedRule>,
    /// `smtpd_sasl_failure_limit_address` and its like.
    pub failure_limits: FailureLimits,
    /// Deliveries.
    pub outbound: OutboundSettings,
    /// TLS of deliveries.
    pub outbound_tls: ClientTlsFiles,
    /// The queue.
    pub queue: QueueSettings,
    /// How connections to policy services are kept.
    pub policy_connections: PolicyConnections,
    /// `resolver_addresses`; none: those of resolv.conf.
    pub resolver_addresses: Vec<SocketAddr>,
    /// The log.
    pub log: LogSettings,
    /// `decision_journal_size_limit`, octets; 0 keeps no journal.
    pub journal_octets_max: u64,
    /// How sessions are shared out.
    pub admission: AdmissionSettings,
    /// `shutdown_timeout`: how long sessions get to finish on SIGTERM.
    pub shutdown_timeout: Duration,
}

/// One listener.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// `name`, unique.
    pub name: String,
    /// `address`, unique.
    pub address: SocketAddr,
    /// What its sessions are told.
    pub session: Arc<SessionSettings>,
    /// Its content filters; `None` without any.
    pub filters: Option<Arc<Filters>>,
    /// Its TLS files; `None` when it offers no TLS.
    pub tls: Option<ServerTlsFiles>,
    /// Who verifies passwords; `None` when none is taken.
    pub passwords: Option<PasswordSource>,
    /// `socket_name`: the `FileDescriptorName=` of a socket that systemd opened for it.
    pub socket_name: Option<String>,
}

/// `log_format` and `log_level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// `log_format`.
    pub format: LogFormat,
    /// `log_level`.
    pub level: LogLevel,
}

/// `log_format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// `log_level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// A human must act now.
    Error,
    /// Look this week.
    Warn,
    /// One line per message per stage.
    Info,
    /// One line per command.
    Debug,
    /// Everything.
    Trace,
}

/// A configuration that can be used, and what somebody should look at all the same.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Old spellings, doubtful regular expressions and the like.
    pub warnings: Vec<Diagnostic>,
}
