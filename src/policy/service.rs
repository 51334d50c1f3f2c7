//! What a policy service is told.
//!
//! **Implements** the attributes of Postfix's SMTPD_POLICY_README, in its order.

use std::sync::Arc;

use super::asker::{Asked, Asker};
use super::question::{Answer as Heard, PolicyService, Question};
use super::stage::Stage;

/// Octets of one value at most; a longer one is cut.
const VALUE_OCTETS_MAX: usize = 2048;

impl Asker<'_> {
    /// `check_policy_service`.
    pub(super) fn ask_service(&self, service: &Arc<PolicyService>) -> Asked {
        let question = Question::Service {
            service: Arc::clone(service),
            attributes: self.attributes(&self.reverse_name()?),
        };
        let said = match self.facts.answers.of(&question) {
            Some(Heard::Service(said)) => said.clone(),
            Some(_) => Err("the answer is of another kind".to_owned()),
            None => return Err(Box::new(question)),
        };
        Ok(self.act_on_service(&said, &service.default_action))
    }

    fn attributes(&self, reverse_name: &str) -> Vec<(&'static str, String)> {
        let mut all = self.of_transaction(reverse_name);
        all.extend(self.of_session());
        all.into_iter().map(|(name, value)| (name, one_line(&value))).collect()
    }

    fn of_transaction(&self, reverse_name: &str) -> Vec<(&'static str, String)> {
        let facts = self.facts;
        let is_late = matches!(facts.stage, Stage::Data | Stage::EndOfData);
        let recipient_count = if is_late { facts.recipients } else { 0 };
        vec![
            ("request", "smtpd_access_policy".to_owned()),
            ("protocol_state", facts.stage.word().to_owned()),
            (
                "protocol_name",
                if facts.is_extended { "ESMTP" } else { "SMTP" }.to_owned(),
            ),
            ("helo_name", facts.hello.to_owned()),
            ("queue_id", facts.queue_id.to_owned()),
            (
                "sender",
                facts.reverse_path.map(ToString::to_string).unwrap_or_default(),
            ),
            (
                "recipient",
                facts.forward_path.map(ToString::to_string).unwrap_or_default(),
            ),
            ("recipient_count", recipient_count.to_string()),
            ("client_address", facts.peer.to_string()),
            ("client_name", self.client_name_known()),
            ("reverse_client_name", reverse_name.to_owned()),
            ("instance", facts.instance.to_owned()),
            ("sasl_method", facts.login_mechanism.to_owned()),
            ("sasl_username", facts.login.unwrap_or_default().to_owned()),
            ("sasl_sender", String::new()),
            ("size", facts.size_octets.unwrap_or_default().to_string()),
        ]
    }

    fn of_session(&self) -> Vec<(&'static str, String)> {
        let facts = self.facts;
        let certificate = facts.identity.certificate();
        let verified = facts.identity.verified();
        let (protocol, cipher, bits) = facts.tls.unwrap_or_default();
        let shown = |text: Option<String>| text.unwrap_or_default();
        let port = facts.peer_port;
        vec![
            ("ccert_subject", shown(verified.map(|one| one.subject.one_line()))),
            ("ccert_issuer", shown(verified.map(|one| one.issuer.one_line()))),
            (
                "ccert_fingerprint",
                shown(certificate.map(|one| one.fingerprint.clone())),
            ),
            ("encryption_protocol", protocol.to_owned()),
            ("encryption_cipher", cipher.to_owned()),
            ("encryption_keysize", bits.to_string()),
            ("etrn_domain", String::new()),
            ("stress", String::new()),
            (
                "ccert_pubkey_fingerprint",
                shown(certificate.map(|one| one.public_key_fingerprint.clone())),
            ),
            ("client_port", shown((port != 0).then(|| port.to_string()))),
            ("policy_context", String::new()),
            ("server_address", shown(self.lists.server.map(|at| at.ip().to_string()))),
            ("server_port", shown(self.lists.server.map(|at| at.port().to_string()))),
        ]
    }
}

/// A value ends with its line, so that nobody can add attributes with a line end of their own.
fn one_line(value: &str) -> String {
    let end = value.floor_char_boundary(VALUE_OCTETS_MAX);
    let cut = value.get(..end).unwrap_or_default();
    cut.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
