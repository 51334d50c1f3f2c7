//! From the directives of one scope to the settings of its sessions and its TLS files.

use std::path::PathBuf;
use std::sync::Arc;

use super::chain;
use super::defences;
use super::environment::Environment;
use super::error::{Complaint, Findings};
use super::files::{TlsFiles, check_tls_files};
use super::issuer_policies::IssuerPolicy;
use super::list_checks::{self, Lists};
use super::public_bundle::PublicTrust;
use super::sasl::{self, PasswordSource};
use super::scope::Scope;
use super::upstream;
use crate::io::tls::settings::{CrlPolicy, OcspMode, OnUnknown, RevocationSettings, ServerTlsFiles};
use crate::net::CidrSet;
use crate::session::extension::{Extensions, HiddenExtensions};
use crate::session::settings::{SessionSettings, TlsOffer};
use crate::wire::data::BareNewline;

/// What a listener is made of.
pub struct Server {
    /// Its sessions.
    pub session: SessionSettings,
    /// Its TLS files.
    pub tls: Option<ServerTlsFiles>,
    /// Who verifies passwords.
    pub passwords: Option<PasswordSource>,
}

/// The sessions, TLS files and passwords of the listener with this name; faults go to the findings.
pub fn build(listener: &str, scope: &Scope, environment: &Environment, findings: &mut Findings) -> Server {
    let offer = tls_offer(scope, findings);
    let lists = Lists::of(scope);
    let trust = PublicTrust::of(scope, environment);
    list_checks::check(&lists, scope, offer, &trust, findings);
    check_required_certificate(scope, offer, findings);
    tell_what_has_no_effect(scope, findings);
    upstream::check(scope, findings);
    let tls = tls_files(scope, offer, findings);
    if let Some(files) = tls.as_ref().filter(|_| environment.check_files) {
        check_tls_files(TlsFiles::Server(files), &|name| scope.span(name), findings);
    }
    Server {
        session: session(listener, scope, offer, &lists, environment),
        tls,
        passwords: sasl::source(scope, offer, environment, findings),
    }
}

fn session(
    listener: &str,
    scope: &Scope,
    offer: TlsOffer,
    lists: &Lists,
    environment: &Environment,
) -> SessionSettings {
    let require = scope.boolean("smtpd_tls_req_ccert");
    SessionSettings {
        listener: listener.into(),
        myhostname: scope.text("myhostname").unwrap_or_default().into(),
        banner: scope.text("smtpd_banner").unwrap_or_default().into(),
        tls: offer,
        ask_client_certificate: scope.boolean("smtpd_tls_ask_ccert") || require,
        require_client_certificate: require,
        tls_received_header: scope.boolean("smtpd_tls_received_header"),
        smtputf8: scope.boolean("smtputf8_enable"),
        require_tls: scope.boolean("requiretls_enable"),
        hidden: HiddenExtensions {
            from_all: Extensions::of_words(scope.words("smtpd_discard_ehlo_keywords").iter().map(String::as_str)),
            from_networks: scope
                .ehlo_keyword_maps("smtpd_discard_ehlo_keyword_address_maps")
                .to_vec(),
        },
        has_filters: !scope.milters("smtpd_milters").is_empty(),
        auth_external: scope.boolean("smtpd_tls_auth_external"),
        sasl: sasl::session(scope),
        chain: Arc::new(chain::build(scope, lists, environment)),
        message_size_octets_max: scope.number("message_size_limit"),
        recipients_max: scope.count("smtpd_recipient_limit"),
        hops_max: scope.count("hopcount_limit"),
        errors_max: scope.count("smtpd_hard_error_limit"),
        junk_commands_max: scope.count("smtpd_junk_command_limit"),
        hello_required: scope.boolean("smtpd_helo_required"),
        vrfy_disabled: scope.boolean("disable_vrfy_command"),
        timeout: scope.time("smtpd_timeout"),
        starttls_timeout: scope.time("smtpd_starttls_timeout"),
        xclient_hosts: CidrSet::new(scope.networks("smtpd_authorized_xclient_hosts").to_vec()),
        upstream_proxy: upstream::proxy(scope),
        bare_newline: match scope.text("smtpd_forbid_bare_newline") {
            Some("note") => BareNewline::Note,
            Some("reject") => BareNewline::Reject,
            _ => BareNewline::Normalize,
        },
        bare_newline_exclusions: CidrSet::new(scope.networks("smtpd_forbid_bare_newline_exclusions").to_vec()),
        defences: defences::build(scope),
    }
}

/// Intermediates that the verification of a chain follows at most, whatever the directive says.
const VERIFY_DEPTH_MAX: usize = 6;

/// Values that are good in Postfix and change nothing here: somebody who wrote them must not rely on them.
fn tell_what_has_no_effect(scope: &Scope, findings: &mut Findings) {
    let depth = "smtpd_tls_ccert_verifydepth";
    if scope.is_written(depth) && scope.count(depth) > VERIFY_DEPTH_MAX {
        let complaint = Complaint::new(
            format!("a chain of more than {VERIFY_DEPTH_MAX} intermediates never verifies"),
            "has no effect beyond that",
        );
        findings.warning(
            depth,
            scope.span(depth),
            complaint.hint(format!("write {depth} = {VERIFY_DEPTH_MAX}")),
        );
    }
    let parents = "parent_domain_matches_subdomains";
    let works = ["relay_domains", "smtpd_access_maps"];
    let other = scope.words(parents).iter().find(|list| !works.contains(&list.as_str()));
    if let Some(other) = other.filter(|_| scope.is_written(parents)) {
        let complaint = Complaint::new(
            format!("\"{other}\" has no effect here"),
            "only \"relay_domains\" is looked at",
        );
        findings.warning(parents, scope.span(parents), complaint.hint("take the others out"));
    }
}

/// `smtpd_tls_security_level` wins over the two old directives, as in Postfix.
fn tls_offer(scope: &Scope, findings: &mut Findings) -> TlsOffer {
    const LEVEL: &str = "smtpd_tls_security_level";
    let level = scope.is_written(LEVEL);
    // A listener's own level hides an old directive at the top, which may still count for other listeners.
    let is_overridden = |old: &str| scope.is_own(LEVEL) && !scope.is_own(old);
    for (old, new) in [("smtpd_use_tls", "may"), ("smtpd_enforce_tls", "encrypt")] {
        if scope.is_written(old) && !is_overridden(old) {
            let complaint = if level {
                Complaint::new(
                    "has no effect beside smtpd_tls_security_level",
                    "an old directive, ignored",
                )
                .hint("take it out")
            } else {
                Complaint::new("an old directive, deprecated in Postfix 3.9", "an old directive")
                    .hint(format!("write smtpd_tls_security_level = \"{new}\" for {old} = true"))
            };
            findings.warning(old, scope.span(old), complaint);
        }
    }
    if scope.boolean("smtpd_tls_wrappermode") {
        return TlsOffer::Implicit;
    }
    match scope.text(LEVEL) {
        Some("may") => TlsOffer::May,
        Some("encrypt") => TlsOffer::Encrypt,
        _ if level => TlsOffer::None,
        _ if scope.boolean("smtpd_enforce_tls") => TlsOffer::Encrypt,
        _ if scope.boolean("smtpd_use_tls") => TlsOffer::May,
        _ => TlsOffer::None,
    }
}

/// A certificate can be required only where TLS is.
fn check_required_certificate(scope: &Scope, offer: TlsOffer, findings: &mut Findings) {
    const KEY: &str = "smtpd_tls_req_ccert";
    if scope.boolean(KEY) && matches!(offer, TlsOffer::None | TlsOffer::May) {
        let complaint = Complaint::new(
            "a certificate cannot be required where TLS is not: plaintext clients would pass without one",
            "needs smtpd_tls_security_level = \"encrypt\" or smtpd_tls_wrappermode = true",
        );
        let hint = "write smtpd_tls_ask_ccert = true to ask for one, or smtpd_tls_security_level = \"encrypt\"";
        findings.error(KEY, scope.span(KEY), complaint.hint(hint));
    }
}

fn tls_files(scope: &Scope, offer: TlsOffer, findings: &mut Findings) -> Option<ServerTlsFiles> {
    if offer == TlsOffer::None {
        return None;
    }
    let Some(certificate) = scope.path("smtpd_tls_cert_file") else {
        if scope.is_good("smtpd_tls_cert_file") {
            complain_of_missing_certificate(scope, findings);
        }
        return None;
    };
    let versions = match offer {
        TlsOffer::None | TlsOffer::May => "smtpd_tls_protocols",
        TlsOffer::Encrypt | TlsOffer::Implicit => "smtpd_tls_mandatory_protocols",
    };
    Some(ServerTlsFiles {
        key: scope.path("smtpd_tls_key_file").unwrap_or_else(|| certificate.clone()),
        certificate,
        ca_file: scope.path("smtpd_tls_CAfile"),
        ca_path: scope.path("smtpd_tls_CApath"),
        ask_client_certificate: scope.boolean("smtpd_tls_ask_ccert") || scope.boolean("smtpd_tls_req_ccert"),
        verify_depth: scope.count("smtpd_tls_ccert_verifydepth"),
        append_default_ca: scope.boolean("tls_append_default_CA"),
        tls12: scope.tls12(versions),
        revocation: revocation(scope),
        accept_email_protection: scope.boolean("smtpd_tls_ccert_email_protection"),
    })
}

fn revocation(scope: &Scope) -> RevocationSettings {
    RevocationSettings {
        crl_files: scope.words("smtpd_tls_crl_files").iter().map(PathBuf::from).collect(),
        crl_path: scope.path("smtpd_tls_crl_path"),
        crl_policy: CrlPolicy {
            on_unknown: match scope.text("smtpd_tls_crl_policy") {
                Some("fail-open") => OnUnknown::FailOpen,
                _ => OnUnknown::FailClosed,
            },
            grace: scope.time("smtpd_tls_crl_grace_time"),
        },
        issuer_policies: issuer_policies(scope),
        crl_warning_time: scope.time("smtpd_tls_crl_warning_time"),
        deny_list: scope.path("smtpd_tls_deny_list_file"),
        ocsp: match scope.text("smtpd_tls_ocsp") {
            Some("prefer") => OcspMode::Prefer,
            Some("require") => OcspMode::Require,
            _ => OcspMode::Off,
        },
        ocsp_timeout: scope.time("smtpd_tls_ocsp_timeout"),
    }
}

/// A policy without a grace time has that of `smtpd_tls_crl_grace_time`.
fn issuer_policies(scope: &Scope) -> Vec<(String, CrlPolicy)> {
    let policy = |listed: &IssuerPolicy| {
        let grace = listed.grace.unwrap_or_else(|| scope.time("smtpd_tls_crl_grace_time"));
        let on_unknown = listed.on_unknown;
        (listed.issuer.clone(), CrlPolicy { on_unknown, grace })
    };
    scope
        .issuer_policies("smtpd_tls_crl_issuer_policies")
        .iter()
        .map(policy)
        .collect()
}

fn complain_of_missing_certificate(scope: &Scope, findings: &mut Findings) {
    let reasons = [
        "smtpd_tls_wrappermode",
        "smtpd_tls_security_level",
        "smtpd_enforce_tls",
        "smtpd_use_tls",
    ];
    let reason = reasons
        .into_iter()
        .find(|name| scope.is_written(name))
        .unwrap_or(reasons[1]);
    let complaint = Complaint::new(
        "TLS is offered, but there is no server certificate",
        "needs smtpd_tls_cert_file",
    );
    let hint = "write smtpd_tls_cert_file = \"server.crt\" and smtpd_tls_key_file = \"server.key\"";
    findings.error(reason, scope.span(reason), complaint.hint(hint));
}
