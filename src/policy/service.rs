//! What a policy service is told.
//!
//! **Implements** the attributes of Postfix's SMTPD_POLICY_README, in its order.

use std::sync::Arc;

use super::asker::{Asked, Asker};
use super::question::{Answer as Heard, PolicyService, Question};
use super::stage::Stage;
use crate::cert::name::DistinguishedName;
use crate::net;
use crate::wire::xtext;

/// Octets of one value at most; a longer one is cut.
const VALUE_OCTETS_MAX: usize = 2048;

impl Asker<'_> {
    /// `check_policy_service`.
    pub(super) fn ask_service(&self, service: &Arc<PolicyService>) -> Asked {
        let question = Question::Service {
            service: Arc::clone(service),
            attributes: self.attributes(&self.reverse_name()?, &service.context),
        };
        let said = match self.facts.answers.of(&question) {
            Some(Heard::Service(said)) => said.clone(),
            Some(_) => Err("the answer is of another kind".to_owned()),
            None => return Err(Box::new(question)),
        };
        Ok(self.act_on_service(&said, &service.default_action))
    }

    fn attributes(&self, reverse_name: &str, context: &str) -> Vec<(&'static str, String)> {
        let mut all = self.of_client(reverse_name);
        all.extend(self.of_transaction());
        all.extend(self.of_login());
        all.extend(self.of_tls());
        all.push(("policy_context", context.to_owned()));
        all.into_iter().map(|(name, value)| (name, one_line(&value))).collect()
    }

    fn of_client(&self, reverse_name: &str) -> Vec<(&'static str, String)> {
        let facts = self.facts;
        let protocol = if facts.is_extended { "ESMTP" } else { "SMTP" };
        let server = facts.server.or(self.lists.server);
        let server_address = server.map(|at| net::canonical(at.ip()).to_string());
        vec![
            ("request", "smtpd_access_policy".to_owned()),
            ("protocol_state", facts.stage.word().to_owned()),
            ("protocol_name", protocol.to_owned()),
            ("client_address", facts.peer.to_string()),
            ("client_name", self.client_name_known()),
            ("client_port", port(facts.peer_port)),
            ("reverse_client_name", reverse_name.to_owned()),
            ("server_address", server_address.unwrap_or_default()),
            ("server_port", server.map_or_else(String::new, |at| port(at.port()))),
            ("helo_name", facts.hello.to_owned()),
        ]
    }

    fn of_transaction(&self) -> Vec<(&'static str, String)> {
        let facts = self.facts;
        let is_late = matches!(facts.stage, Stage::Data | Stage::EndOfData);
        let recipient_count = if is_late { facts.recipients } else { 0 };
        let sender = facts.reverse_path.map(ToString::to_string);
        let recipient = facts.forward_path.map(ToString::to_string);
        vec![
            ("sender", sender.unwrap_or_default()),
            ("recipient", recipient.unwrap_or_default()),
            ("recipient_count", recipient_count.to_string()),
            ("queue_id", facts.queue_id.to_owned()),
            ("instance", facts.instance.to_owned()),
            ("size", facts.size_octets.unwrap_or_default().to_string()),
            ("etrn_domain", String::new()),
            ("stress", if facts.is_stressed { "yes" } else { "" }.to_owned()),
        ]
    }

    fn of_login(&self) -> Vec<(&'static str, String)> {
        let facts = self.facts;
        let method = facts.login.map(|_| facts.login_mechanism).unwrap_or_default();
        vec![
            ("sasl_method", method.to_owned()),
            ("sasl_username", facts.login.unwrap_or_default().to_owned()),
            ("sasl_sender", facts.login_sender.to_owned()),
        ]
    }

    /// The names only of a certificate that verified; the fingerprints of every one, since the handshake proves the key.
    fn of_tls(&self) -> Vec<(&'static str, String)> {
        let certificate = self.facts.identity.certificate();
        let verified = self.facts.identity.verified();
        let (protocol, cipher, bits) = self.facts.tls.unwrap_or_default();
        let shown = |text: Option<String>| text.unwrap_or_default();
        let common_name = |name: &DistinguishedName| xtext::encode(name.common_name().unwrap_or_default());
        vec![
            ("ccert_subject", shown(verified.map(|one| common_name(&one.subject)))),
            ("ccert_issuer", shown(verified.map(|one| common_name(&one.issuer)))),
            (
                "ccert_fingerprint",
                shown(certificate.map(|one| one.fingerprint.clone())),
            ),
            (
                "ccert_pubkey_fingerprint",
                shown(certificate.map(|one| one.public_key_fingerprint.clone())),
            ),
            ("encryption_protocol", protocol.to_owned()),
            ("encryption_cipher", cipher.to_owned()),
            ("encryption_keysize", bits.to_string()),
        ]
    }
}

/// A port; nothing when it is not known.
fn port(number: u16) -> String {
    if number == 0 { String::new() } else { number.to_string() }
}

/// A value ends with its line, so that nobody can add attributes with a line end of their own.
fn one_line(value: &str) -> String {
    let end = value.floor_char_boundary(VALUE_OCTETS_MAX);
    let cut = value.get(..end).unwrap_or_default();
    cut.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
