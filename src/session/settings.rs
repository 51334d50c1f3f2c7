//! What the server dialogue is told by the configuration, checked already.

use std::sync::Arc;
use std::time::Duration;

use super::defences::Defences;
use super::event::CertificateFault;
use super::extension::HiddenExtensions;
use super::password::SaslSettings;
use crate::cert::identity::Identity;
use crate::net::CidrSet;
use crate::policy::chain::Chain;
use crate::wire::data::BareNewline;

/// The settings of one listener; shared by its sessions and replaced as a whole on reload.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a directive of its own, named in the configuration"
)]
pub struct SessionSettings {
    /// The listener's name, for logs.
    pub listener: String,
    /// `myhostname`.
    pub myhostname: String,
    /// `smtpd_banner` with its references expanded, without the code.
    pub banner: String,
    /// `smtpd_tls_security_level` and `smtpd_tls_wrappermode`.
    pub tls: TlsOffer,
    /// `smtpd_tls_ask_ccert`, or implied by `smtpd_tls_req_ccert`.
    pub ask_client_certificate: bool,
    /// `smtpd_tls_req_ccert`: refuse after the handshake, in words, whoever shows no verified certificate.
    pub require_client_certificate: bool,
    /// `smtpd_tls_auth_external`: AUTH EXTERNAL for whoever holds a verified certificate.
    pub auth_external: bool,
    /// AUTH with a password.
    pub sasl: SaslSettings,
    /// `smtpd_tls_received_header`.
    pub tls_received_header: bool,
    /// `smtputf8_enable`.
    pub smtputf8: bool,
    /// `requiretls_enable`.
    pub require_tls: bool,
    /// `smtpd_discard_ehlo_keywords` and `smtpd_discard_ehlo_keyword_address_maps`.
    pub hidden: HiddenExtensions,
    /// `smtpd_milters`: whether there are content filters to ask.
    pub has_filters: bool,
    /// All restriction lists and what they refer to.
    pub chain: Arc<Chain>,
    /// `message_size_limit`, octets; 0 means no limit.
    pub message_size_octets_max: u64,
    /// `smtpd_recipient_limit`.
    pub recipients_max: usize,
    /// `hopcount_limit`: Received headers a message may carry.
    pub hops_max: usize,
    /// `smtpd_hard_error_limit`: errors before the session is ended.
    pub errors_max: usize,
    /// `smtpd_junk_command_limit`: NOOP, VRFY, RSET, HELP between deliveries before they count as errors.
    pub junk_commands_max: usize,
    /// `smtpd_helo_required`.
    pub hello_required: bool,
    /// `disable_vrfy_command`.
    pub vrfy_disabled: bool,
    /// `smtpd_timeout`: an upper bound on the RFC 5321 section 4.5.3.2 time limits.
    pub timeout: Duration,
    /// `smtpd_starttls_timeout`.
    pub starttls_timeout: Duration,
    /// `smtpd_authorized_xclient_hosts`: who may say XCLIENT.
    pub xclient_hosts: CidrSet,
    /// `smtpd_upstream_proxy_protocol`: whoever connects sends a PROXY header first. For the driver: a session begins behind it.
    pub upstream_proxy: Option<UpstreamProxy>,
    /// `smtpd_forbid_bare_newline`.
    pub bare_newline: BareNewline,
    /// `smtpd_forbid_bare_newline_exclusions`.
    pub bare_newline_exclusions: CidrSet,
    /// Against peers that do not keep to the protocol.
    pub defences: Defences,
}

impl SessionSettings {
    /// Whether a message of so many octets is over `message_size_limit`.
    pub const fn is_too_big(&self, octets: u64) -> bool {
        self.message_size_octets_max > 0 && octets > self.message_size_octets_max
    }

    /// Why a peer in TLS has to go, under `smtpd_tls_req_ccert`.
    pub fn unwelcome(&self, identity: &Identity) -> Option<CertificateFault> {
        let is_encrypted = !matches!(identity, Identity::Plaintext);
        CertificateFault::of(identity).filter(|_| self.require_client_certificate && is_encrypted)
    }
}

/// `smtpd_upstream_proxy_protocol = haproxy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamProxy {
    /// `smtpd_upstream_proxy_hosts`: who may send the header; nobody else is served.
    pub hosts: CidrSet,
    /// `smtpd_upstream_proxy_timeout`.
    pub timeout: Duration,
}

/// What a listener offers of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsOffer {
    /// `none`: STARTTLS is not announced.
    None,
    /// `may`: STARTTLS is announced.
    May,
    /// `encrypt`: MAIL before STARTTLS is refused with 530.
    Encrypt,
    /// `smtpd_tls_wrappermode`: TLS from the first octet.
    Implicit,
}
