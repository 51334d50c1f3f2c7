//! From the directives to the settings of deliveries, the queue and the log.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::environment::Environment;
use super::error::{Complaint, Findings};
use super::files::{TlsFiles, check_tls_files};
use super::scope::Scope;
use super::settings::{LogFormat, LogLevel, LogSettings};
use crate::io::tls::settings::ClientTlsFiles;
use crate::outbound::capabilities::EhloKeywords;
use crate::outbound::settings::{ConnectionReuse, EightBitMail, OutboundSettings, TlsLevel};
use crate::queue::settings::QueueSettings;

/// Which protocols `inet_protocols` allows: IPv4, IPv6.
pub fn protocols(scope: &Scope) -> (bool, bool) {
    let words = scope.words("inet_protocols");
    let has = |word: &str| words.is_empty() || words.iter().any(|found| found == word || found == "all");
    (has("ipv4"), has("ipv6"))
}

/// Deliveries.
pub fn outbound(
    scope: &Scope,
    listening: &[SocketAddr],
    environment: &Environment,
    findings: &mut Findings,
) -> OutboundSettings {
    let (ipv4, ipv6) = protocols(scope);
    let bind = ["smtp_bind_address", "smtp_bind_address6"];
    let myhostname = scope.text("myhostname").unwrap_or_default();
    OutboundSettings {
        myhostname: myhostname.into(),
        mydomain: scope.text("mydomain").unwrap_or(myhostname).into(),
        discarded_keywords: Arc::new(EhloKeywords::new(
            scope.words("smtp_discard_ehlo_keywords").iter().map(String::as_str),
        )),
        eight_bit_mail: if scope.boolean("disable_mime_output_conversion") {
            EightBitMail::AsItIs
        } else {
            EightBitMail::Converted
        },
        hello_name: scope.text("smtp_helo_name").unwrap_or(myhostname).into(),
        relayhost: scope.next_hop("relayhost").cloned(),
        tls_level: tls_level(scope, findings),
        tls_wrapper: scope.boolean("smtp_tls_wrappermode"),
        ipv4,
        ipv6,
        bind_addresses: bind.into_iter().filter_map(|name| scope.address(name)).collect(),
        connect_timeout: scope.time("smtp_connect_timeout"),
        hello_timeout: scope.time("smtp_helo_timeout"),
        data_transfer_timeout: scope.time("smtp_data_xfer_timeout"),
        data_done_timeout: scope.time("smtp_data_done_timeout"),
        recipients_per_transaction_max: scope.count("default_destination_recipient_limit"),
        reuse: ConnectionReuse {
            is_on: scope.boolean("smtp_connection_cache_on_demand"),
            under_tls: scope.boolean("smtp_tls_connection_reuse"),
            idle_max: scope.time("smtp_connection_cache_time_limit"),
            age_max: scope.time("smtp_connection_reuse_time_limit"),
            count_max: scope.count("smtp_connection_reuse_count_limit"),
        },
        destination_concurrency_max: scope.count("smtp_destination_concurrency_limit"),
        initial_destination_concurrency: scope.count("initial_destination_concurrency"),
        mx_sessions_max: scope.count("smtp_mx_session_limit"),
        mx_addresses_max: scope.count("smtp_mx_address_limit"),
        bounce_octets_max: scope.count("bounce_size_limit"),
        own_endpoints: own_endpoints(listening, environment),
    }
}

/// `smtp_tls_security_level` wins over `smtp_use_tls`, as in Postfix.
fn tls_level(scope: &Scope, findings: &mut Findings) -> TlsLevel {
    const LEVEL: &str = "smtp_tls_security_level";
    const OLD: &str = "smtp_use_tls";
    let is_written = scope.is_written(LEVEL);
    if scope.is_written(OLD) {
        let complaint = if is_written {
            Complaint::new(format!("has no effect beside {LEVEL}"), "an old directive, ignored").hint("take it out")
        } else {
            Complaint::new("an old directive, deprecated in Postfix 3.9", "an old directive").hint(format!(
                "write {LEVEL} = \"may\" for {OLD} = true, or \"none\" for false"
            ))
        };
        findings.warning(OLD, scope.span(OLD), complaint);
    }
    let level = match scope.text(LEVEL) {
        _ if !is_written && scope.is_written(OLD) && !scope.boolean(OLD) => TlsLevel::None,
        Some("none") => TlsLevel::None,
        Some("encrypt") => TlsLevel::Encrypt,
        Some("verify") => TlsLevel::Verify,
        Some("secure") => TlsLevel::Secure,
        _ => TlsLevel::May,
    };
    let has_ca = scope.text("smtp_tls_CAfile").is_some()
        || scope.text("smtp_tls_CApath").is_some()
        || scope.boolean("tls_append_default_CA");
    if level >= TlsLevel::Verify && !has_ca {
        let complaint = Complaint::new(
            "no server can be verified, since no CA is trusted",
            "needs smtp_tls_CAfile or smtp_tls_CApath",
        );
        let hint = "write smtp_tls_CAfile = \"/etc/ssl/certs/ca-certificates.crt\", or your own CAs";
        findings.error(LEVEL, scope.span(LEVEL), complaint.hint(hint));
    }
    if scope.boolean("smtp_tls_wrappermode") && level < TlsLevel::Encrypt {
        let complaint = Complaint::new(
            "TLS from the first octet is never opportunistic",
            "needs smtp_tls_security_level = \"encrypt\" or stricter",
        );
        findings.error(
            "smtp_tls_wrappermode",
            scope.span("smtp_tls_wrappermode"),
            complaint.hint("write smtp_tls_security_level = \"encrypt\""),
        );
    }
    if scope.boolean("smtp_tls_wrappermode") && scope.next_hop("relayhost").is_none() {
        let complaint = Complaint::new(
            "every mail exchanger would be spoken TLS to from the first octet, and hardly one answers on port 25",
            "meant for a relayhost",
        );
        let hint = "write relayhost = \"[smtp.example.net]:465\"";
        findings.warning(
            "smtp_tls_wrappermode",
            scope.span("smtp_tls_wrappermode"),
            complaint.hint(hint),
        );
    }
    level
}

/// A wildcard address stands for all own addresses of its family.
fn own_endpoints(listening: &[SocketAddr], environment: &Environment) -> Vec<SocketAddr> {
    let mut endpoints = Vec::new();
    let mut add = |address: IpAddr, port: u16| {
        let endpoint = SocketAddr::new(address, port);
        if !endpoints.contains(&endpoint) {
            endpoints.push(endpoint);
        }
    };
    for listener in listening {
        add(listener.ip(), listener.port());
        if listener.ip().is_unspecified() {
            let loopback = match listener.ip() {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            };
            add(loopback, listener.port());
            let own = environment.interfaces.iter().map(ipnet::IpNet::addr);
            own.filter(|address| address.is_ipv4() == listener.is_ipv4())
                .for_each(|address| add(address, listener.port()));
        }
    }
    endpoints
}

/// TLS of deliveries.
pub fn tls_files(scope: &Scope, environment: &Environment, findings: &mut Findings) -> ClientTlsFiles {
    let certificate = scope.path("smtp_tls_cert_file");
    let key = scope.path("smtp_tls_key_file");
    if certificate.is_none() && key.is_some() && scope.is_good("smtp_tls_cert_file") {
        let complaint = Complaint::new("a key without its certificate", "needs smtp_tls_cert_file");
        findings.error(
            "smtp_tls_key_file",
            scope.span("smtp_tls_key_file"),
            complaint.hint("write smtp_tls_cert_file, or take the key out"),
        );
    }
    let is_opportunistic = !matches!(
        scope.text("smtp_tls_security_level"),
        Some("encrypt" | "verify" | "secure")
    );
    let versions = if is_opportunistic {
        "smtp_tls_protocols"
    } else {
        "smtp_tls_mandatory_protocols"
    };
    let files = ClientTlsFiles {
        certificate_and_key: certificate.map(|certificate| {
            let key = key.unwrap_or_else(|| certificate.clone());
            (certificate, key)
        }),
        ca_file: scope.path("smtp_tls_CAfile"),
        ca_path: scope.path("smtp_tls_CApath"),
        append_default_ca: scope.boolean("tls_append_default_CA"),
        tls12: scope.tls12(versions),
    };
    if environment.check_files {
        check_tls_files(TlsFiles::Client(&files), &|name| scope.span(name), findings);
    }
    files
}

/// The queue; it takes what the most generous listener takes, whose `message_size_limit` is given.
pub fn queue(scope: &Scope, message_size_octets_max: u64, findings: &mut Findings) -> QueueSettings {
    let settings = QueueSettings {
        directory: scope.path("queue_directory").unwrap_or_default(),
        inline_octets_max: scope.number("queue_inline_limit"),
        minfree_octets: scope.number("queue_minfree"),
        message_size_octets_max,
        minimal_backoff: scope.time("minimal_backoff_time"),
        maximal_backoff: scope.time("maximal_backoff_time"),
        lifetime: scope.time("maximal_queue_lifetime"),
        bounce_lifetime: scope.time("bounce_queue_lifetime"),
        run_delay: scope.time("queue_run_delay"),
        delay_warning: scope.time("delay_warning_time"),
        in_flow_delay: scope.time("in_flow_delay"),
    };
    let are_good = scope.is_good("minimal_backoff_time") && scope.is_good("maximal_backoff_time");
    if are_good && settings.minimal_backoff > settings.maximal_backoff {
        let complaint = Complaint::new(
            "the first retry would come later than the longest wait between retries",
            "expected at most maximal_backoff_time",
        );
        let written = ["minimal_backoff_time", "maximal_backoff_time"];
        let key = written
            .into_iter()
            .find(|name| scope.is_written(name))
            .unwrap_or(written[0]);
        let hint = format!("raise maximal_backoff_time to {}s", settings.minimal_backoff.as_secs());
        findings.error(key, scope.span(key), complaint.hint(hint));
    }
    if scope.text("queue_directory").is_none() && scope.is_good("queue_directory") {
        let complaint = Complaint::new("the queue must be kept somewhere", "expected a directory");
        findings.error(
            "queue_directory",
            scope.span("queue_directory"),
            complaint.hint("write \"/var/lib/estafette\""),
        );
    }
    settings
}

/// The name servers.
pub fn resolver_addresses(scope: &Scope) -> Vec<SocketAddr> {
    let words = scope.words("resolver_addresses").iter();
    words.filter_map(|word| word.parse().ok()).collect()
}

/// The log.
pub fn log(scope: &Scope) -> LogSettings {
    LogSettings {
        format: match scope.text("log_format") {
            Some("json") => LogFormat::Json,
            _ => LogFormat::Text,
        },
        level: match scope.text("log_level") {
            Some("error") => LogLevel::Error,
            Some("warn") => LogLevel::Warn,
            Some("debug") => LogLevel::Debug,
            Some("trace") => LogLevel::Trace,
            _ => LogLevel::Info,
        },
    }
}
