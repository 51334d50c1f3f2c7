//! The values of macros: what the session knows, under Sendmail's names.
//!
//! **Implements** the macros of Postfix's MILTER_README and those that Sendmail adds: `{verify}`, `{cn_subject}`,
//! `{cn_issuer}`. `{cert_subject}` and `{cert_issuer}` are whole names on one line, as in Sendmail; Postfix has their CN there.
//! **Does not** give the names of a certificate that is not verified: a filter may take them for proof, and Postfix has none
//! then either.

use std::net::SocketAddr;

use super::settings::Filters;
use crate::cert::identity::Identity;
use crate::mail::queue_id::QueueId;
use crate::net;
use crate::policy::question::{Found, PeerNames};
use crate::policy::stage::Stage;
use crate::session::filter::Consultation;
use crate::wire::domain::Domain;
use crate::wire::path::ReversePath;
use crate::wire::reply::Reply;
use crate::wire::xtext;

/// What there is to know at one stage.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// What the session knows.
    pub consultation: &'a Consultation,
    /// The peer's name, looked up.
    pub peer_name: Option<&'a Domain>,
    /// What the DNS says of its address, once that is known.
    pub names: Option<&'a PeerNames>,
    /// Our address, as the peer sees it.
    pub local: Option<SocketAddr>,
    /// Sessions that the client has.
    pub client_sessions: u64,
    /// The draft's id, once there is one.
    pub id: Option<QueueId>,
    /// Where mail to the reverse-path would go.
    pub mail_host: Option<&'a str>,
    /// Where mail to the forward-path goes.
    pub recipient_host: Option<&'a str>,
    /// Message-ID, at the end of the message.
    pub message_id: Option<&'a str>,
    /// What was answered to a recipient that a list refused.
    pub refused: Option<&'a Reply>,
}

impl Known<'_> {
    /// The names that have a value, with it.
    pub(super) fn pairs(&self, filters: &Filters, names: &[String]) -> Vec<(String, String)> {
        let pair = |name: &String| {
            let bare = name.trim_start_matches('{').trim_end_matches('}');
            let value = self.value(filters, bare)?;
            let name = if bare.len() == 1 {
                bare.to_owned()
            } else {
                format!("{{{bare}}}")
            };
            Some((name, value))
        };
        names.iter().filter_map(pair).collect()
    }

    /// The name of the client as the CONNECT event gives it: its address in brackets when nobody knows one.
    pub(super) fn hostname(&self) -> String {
        let name = self.peer_name.or(self.consultation.peer_name.as_ref());
        name.map_or_else(|| format!("[{}]", self.client().ip()), |name| name.as_str().to_owned())
    }

    /// Its name as macros give it.
    fn client_name(&self) -> String {
        let name = self.peer_name.or(self.consultation.peer_name.as_ref());
        name.map_or_else(|| "unknown".into(), |name| name.as_str().to_owned())
    }

    /// The name of its address, whether or not it leads back.
    fn client_ptr(&self) -> String {
        let client_name = self.client_name();
        match self.names.map(|names| &names.reverse) {
            // XCLIENT may have named the client otherwise.
            Some(Found::Records(names)) if client_name == "unknown" => {
                names.first().map_or(client_name, |name| name.as_str().to_owned())
            }
            _ => client_name,
        }
    }

    /// Sendmail's `${_}`: the name of the address, and whether somebody else can have given it.
    fn client_in_words(&self) -> String {
        let (name, address) = (self.client_ptr(), self.client().ip());
        let doubt = if name == self.client_name() {
            ""
        } else {
            " (may be forged)"
        };
        format!("{name} [{address}]{doubt}")
    }

    /// Sendmail's `${client_resolve}`.
    fn client_resolve(&self) -> Option<&'static str> {
        if self.client_name() != "unknown" {
            return Some("OK");
        }
        let names = self.names?;
        Some(match (&names.reverse, &names.verified) {
            (Found::Failed(_), _) | (_, Found::Failed(_)) => "TEMP",
            (Found::Records(_), _) => "FORGED",
            _ => "FAIL",
        })
    }

    /// The client's address.
    pub(super) fn client(&self) -> SocketAddr {
        let peer = self.consultation.peer;
        SocketAddr::new(net::canonical(peer.ip()), peer.port())
    }

    // tidy: table
    fn value(&self, filters: &Filters, name: &str) -> Option<String> {
        let tls = self.consultation.tls.as_ref();
        let certificate = self.consultation.identity.verified();
        match name {
            "j" | "if_name" => Some(filters.myhostname.clone()),
            "v" => Some(filters.version_text.clone()),
            "daemon_name" => Some(filters.daemon_name.clone()),
            "daemon_addr" | "if_addr" => Some(net::canonical(self.local?.ip()).to_string()),
            "daemon_port" => Some(self.local?.port().to_string()),
            "_" => Some(self.client_in_words()),
            "client_name" => Some(self.client_name()),
            "client_ptr" => Some(self.client_ptr()),
            "client_resolve" => self.client_resolve().map(str::to_owned),
            "client_connections" => Some(self.client_sessions.to_string()),
            "client_addr" => Some(self.client().ip().to_string()),
            "client_port" => Some(self.client().port().to_string()),
            "tls_version" => Some(tls?.protocol.clone()),
            "cipher" => Some(tls?.cipher.clone()),
            "cipher_bits" => Some(tls?.cipher_bits.to_string()),
            "cert_subject" => Some(certificate?.subject.one_line()),
            "cert_issuer" => Some(certificate?.issuer.one_line()),
            "cn_subject" => certificate?.subject.common_name().map(str::to_owned),
            "cn_issuer" => certificate?.issuer.common_name().map(str::to_owned),
            "verify" => Some(verify(&self.consultation.identity).to_owned()),
            "i" => Some(self.id?.to_string()),
            "auth_type" => self.auth_type().map(str::to_owned),
            "auth_authen" => self.auth_name(),
            "auth_author" => self.auth_author(),
            "auth_ssf" => self.auth_type().and(tls).map(|tls| tls.cipher_bits.to_string()),
            "mail_addr" => Some(self.consultation.reverse_path.as_ref()?.to_string()),
            "mail_host" => match self.consultation.reverse_path.as_ref()? {
                ReversePath::Null => Some(String::new()),
                ReversePath::Mailbox(_) => self.mail_host.map(str::to_owned),
            },
            "mail_mailer" => self.consultation.reverse_path.as_ref().map(|_| "smtp".into()),
            "rcpt_addr" => match self.refused {
                Some(reply) => Some(reply.lines.join(" ")),
                None => Some(self.consultation.forward_path.as_ref()?.to_string()),
            },
            "rcpt_host" => match self.refused {
                Some(reply) => reply.status.map(|status| status.to_string()),
                None => self.recipient_host.map(str::to_owned),
            },
            "rcpt_mailer" => {
                self.consultation.forward_path.as_ref()?;
                Some(if self.refused.is_some() { "error" } else { "smtp" }.into())
            }
            "msg_id" => self.message_id.map(str::to_owned),
            _ => None,
        }
    }

    fn auth_type(&self) -> Option<&'static str> {
        let consultation = self.consultation;
        match (&consultation.login, consultation.is_authenticated) {
            (Some(_), _) => Some(consultation.login_mechanism),
            (None, true) => Some("EXTERNAL"),
            (None, false) => None,
        }
    }

    /// AUTH of MAIL: whom the client says the message is from (RFC 4954 section 5). It counts from whoever has proved a name.
    fn auth_author(&self) -> Option<String> {
        self.auth_type()?;
        let is_mail = self.consultation.stage == Stage::Mail;
        let mut words = self.consultation.parameters.iter().filter(|_| is_mail);
        let value = words.find_map(|word| {
            let (key, value) = word.split_once('=')?;
            key.eq_ignore_ascii_case("AUTH").then_some(value)
        })?;
        let decoded = String::from_utf8(xtext::decode(value)?).ok()?;
        (!decoded.contains(char::is_control)).then_some(decoded)
    }

    /// The login, or what the certificate of an AUTH EXTERNAL names first.
    fn auth_name(&self) -> Option<String> {
        self.auth_type()?;
        let of_certificate = || {
            let certificate = self.consultation.identity.certificate()?;
            let address = certificate.mail_addresses.first().cloned();
            address.or_else(|| certificate.subject.common_name().map(str::to_owned))
        };
        self.consultation.login.clone().or_else(of_certificate)
    }
}

/// Sendmail's `${verify}`.
const fn verify(identity: &Identity) -> &'static str {
    match identity {
        Identity::Plaintext => "NONE",
        Identity::NoCertificate => "NO",
        Identity::Unverified { .. } => "FAIL",
        Identity::Verified { .. } => "OK",
    }
}
