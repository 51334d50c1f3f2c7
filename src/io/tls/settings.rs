//! Which files TLS is made of; the configuration fills these, `io::tls` reads the files.

use std::path::PathBuf;
use std::time::Duration;

/// The inbound side of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a directive of its own, named in the configuration"
)]
pub struct ServerTlsFiles {
    /// `smtpd_tls_cert_file`: the chain, leaf first; may hold the key as well.
    pub certificate: PathBuf,
    /// `smtpd_tls_key_file`; the same file as the certificate when not given.
    pub key: PathBuf,
    /// `smtpd_tls_CAfile`.
    pub ca_file: Option<PathBuf>,
    /// `smtpd_tls_CApath`.
    pub ca_path: Option<PathBuf>,
    /// `smtpd_tls_ask_ccert` or `smtpd_tls_req_ccert`.
    pub ask_client_certificate: bool,
    /// `smtpd_tls_ccert_verifydepth`: longest chain, intermediates counted.
    pub verify_depth: usize,
    /// `tls_append_default_CA`.
    pub append_default_ca: bool,
    /// `smtpd_tls_protocols` allows TLS 1.2.
    pub tls12: bool,
    /// Whether certificates have been taken back.
    pub revocation: RevocationSettings,
    /// `smtpd_tls_ccert_email_protection`: emailProtection alone is enough of an extended key usage.
    pub accept_email_protection: bool,
}

/// Revocation lists, the relay's own deny-list, OCSP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevocationSettings {
    /// `smtpd_tls_crl_files`: PEM or DER, one list or many in each.
    pub crl_files: Vec<PathBuf>,
    /// `smtpd_tls_crl_path`: a directory of such files.
    pub crl_path: Option<PathBuf>,
    /// `smtpd_tls_crl_policy` and `smtpd_tls_crl_grace_time`.
    pub crl_policy: CrlPolicy,
    /// `smtpd_tls_crl_issuer_policies`: for issuers by their one-line text.
    pub issuer_policies: Vec<(String, CrlPolicy)>,
    /// `smtpd_tls_crl_warning_time`: how long before it goes stale a list is warned of.
    pub crl_warning_time: Duration,
    /// `smtpd_tls_deny_list_file`.
    pub deny_list: Option<PathBuf>,
    /// `smtpd_tls_ocsp`.
    pub ocsp: OcspMode,
    /// `smtpd_tls_ocsp_timeout`.
    pub ocsp_timeout: Duration,
}

/// What a missing or stale revocation list means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CrlPolicy {
    /// Whether certificates count as verified without a list that is fresh.
    pub on_unknown: OnUnknown,
    /// How long past its nextUpdate a list still counts as fresh.
    pub grace: Duration,
}

/// `smtpd_tls_crl_policy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUnknown {
    /// `fail-closed`: they do not.
    #[default]
    FailClosed,
    /// `fail-open`: they do, and a warning is logged.
    FailOpen,
}

/// `smtpd_tls_ocsp`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OcspMode {
    /// Responders are not asked.
    #[default]
    Off,
    /// Asked in the background; no answer counts as good.
    Prefer,
    /// Waited for up to `smtpd_tls_ocsp_timeout`; without an answer the certificate is unverified.
    Require,
}

/// The outbound side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTlsFiles {
    /// `smtp_tls_cert_file` and `smtp_tls_key_file`: our certificate towards next hops.
    pub certificate_and_key: Option<(PathBuf, PathBuf)>,
    /// `smtp_tls_CAfile`.
    pub ca_file: Option<PathBuf>,
    /// `smtp_tls_CApath`.
    pub ca_path: Option<PathBuf>,
    /// `tls_append_default_CA`.
    pub append_default_ca: bool,
    /// `smtp_tls_protocols` allows TLS 1.2.
    pub tls12: bool,
}
