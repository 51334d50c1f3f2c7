//! Which files TLS is made of; the configuration fills these, `io::tls` reads the files.

use std::path::PathBuf;

/// The inbound side of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
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
