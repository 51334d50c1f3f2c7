//! What a restriction on the holder's certificate answers.
//!
//! **Implements** the outcome of a `[[certificate_rule]]` and of `reject_sender_certificate_mismatch` for a certificate that
//! verified: conditions, then the sender, then the action.

use std::sync::Arc;

use super::certificate_rule::{CertificateRule, Finding, RuleAction};
use super::facts::Facts;
use super::refusal::Denied;
use super::sender_binding::SenderBinding;
use super::verdict::{Because, Obligations, Opinion, Refusal};
use crate::cert::certificate::Certificate;
use crate::wire::path::ReversePath;

/// An opinion with all that follows from it.
pub(super) struct Answer {
    pub(super) opinion: Opinion,
    pub(super) because: Because,
    /// What the reply says when this refuses.
    pub(super) refusal: Refusal,
    /// What a permission is bound to, whoever gives it.
    pub(super) obligations: Obligations,
    /// Restrictions and classes that are asked next, by name.
    pub(super) then: Vec<String>,
}

impl Answer {
    /// A refusal with codes of its own; for now when its code says so.
    pub(super) fn denied(denied: Denied, because: Because) -> Self {
        let opinion = if denied.is_transient() {
            Opinion::Defer
        } else {
            Opinion::Reject
        };
        Self::with_refusal(opinion, denied, because)
    }

    /// Refused for now unless something else refuses for good.
    pub(super) fn defer_if_permit(denied: Denied, because: Because) -> Self {
        Self::with_refusal(Opinion::DeferIfPermit, denied, because)
    }

    /// An opinion with what a refusal would say.
    pub(super) fn with_refusal(opinion: Opinion, denied: Denied, because: Because) -> Self {
        Self {
            refusal: Refusal::Denied(Box::new(denied)),
            ..Self::from((opinion, because))
        }
    }
}

impl From<(Opinion, Because)> for Answer {
    fn from((opinion, because): (Opinion, Because)) -> Self {
        Self {
            opinion,
            because,
            refusal: Refusal::default(),
            obligations: Obligations::default(),
            then: Vec::new(),
        }
    }
}

/// Asks a rule of a verified certificate.
pub(super) fn ask_rule(rule: &CertificateRule, certificate: &Certificate, facts: &Facts<'_>) -> Answer {
    let findings = rule.findings(certificate, facts.identity.issuers(), facts.now_unix_seconds);
    if !findings.iter().all(|finding| finding.holds) {
        return Answer::from((Opinion::Pass, Because::Conditions(findings)));
    }
    if rule.sender.is_some() && facts.reverse_path.is_none() {
        return not_known();
    }
    let because = match &rule.sender {
        Some(binding) => sender(binding, certificate, facts, findings),
        None => Because::Conditions(findings),
    };
    if matches!(because, Because::SenderNotOwned { .. }) {
        return not_owned(because);
    }
    let (opinion, text) = match &rule.action {
        RuleAction::Permit => (Opinion::Permit, None),
        RuleAction::Continue => (Opinion::Pass, None),
        RuleAction::Reject(text) => (Opinion::Reject, text.clone()),
        RuleAction::Defer(text) => (Opinion::Defer, text.clone()),
    };
    Answer {
        opinion,
        because,
        refusal: text.map_or(Refusal::RelayDenied, Refusal::Text),
        obligations: Obligations {
            from_header: rule.sender.as_ref().map(with_from_header).unwrap_or_default(),
            limits: rule.limits.clone(),
            ..Obligations::default()
        },
        then: Vec::new(),
    }
}

/// Asks `reject_sender_certificate_mismatch` of a verified certificate.
pub(super) fn ask_binding(binding: &Arc<SenderBinding>, certificate: &Certificate, facts: &Facts<'_>) -> Answer {
    if facts.reverse_path.is_none() {
        return not_known();
    }
    let because = sender(binding, certificate, facts, Vec::new());
    if matches!(because, Because::SenderNotOwned { .. }) {
        return not_owned(because);
    }
    let mut answer = Answer::from((Opinion::Pass, because));
    answer.obligations.from_header = with_from_header(binding);
    answer
}

/// Before MAIL there is no sender to look at.
fn not_known() -> Answer {
    Answer::from((Opinion::Pass, Because::NotKnownYet))
}

fn sender(binding: &SenderBinding, certificate: &Certificate, facts: &Facts<'_>, conditions: Vec<Finding>) -> Because {
    let reverse_path = facts.reverse_path.unwrap_or(&ReversePath::Null);
    let sender = reverse_path.to_string();
    if binding.owns_reverse_path(certificate, reverse_path) {
        return Because::SenderOwned { sender, conditions };
    }
    Because::SenderNotOwned {
        sender,
        owned: binding.owned_in_words(certificate),
        conditions,
    }
}

fn not_owned(because: Because) -> Answer {
    Answer {
        refusal: Refusal::SenderNotOwned,
        ..Answer::from((Opinion::Reject, because))
    }
}

fn with_from_header(binding: &Arc<SenderBinding>) -> Vec<Arc<SenderBinding>> {
    let asks = binding.from_header.then(|| Arc::clone(binding));
    asks.into_iter().collect()
}
