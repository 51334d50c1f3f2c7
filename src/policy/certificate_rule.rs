//! Certificate rules: conditions on what a verified certificate holds, as data.
//!
//! **Implements** `[[certificate_rule]]`: all conditions must hold, then the sender binding counts, then the action.
//! **Does not** look at a certificate that does not verify: such a rule has no opinion on it.

use std::sync::Arc;

pub use super::condition::{AlternativeName, Condition, Finding};
use super::condition::{Evidence, examine_all};
use super::limits::Limit;
use super::sender_binding::SenderBinding;
use crate::cert::certificate::Certificate;

/// One `[[certificate_rule]]`.
#[derive(Clone, Debug)]
pub struct CertificateRule {
    /// Its name, by which restriction lists refer to it.
    pub name: String,
    /// All must hold; without any it holds for every verified certificate.
    pub conditions: Vec<Condition>,
    /// What it leads to when all hold.
    pub action: RuleAction,
    /// Whose addresses the holder may send with; `None` leaves the sender free.
    pub sender: Option<Arc<SenderBinding>>,
    /// How much a holder may send.
    pub limits: Vec<Arc<Limit>>,
}

/// What a rule leads to when its conditions hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleAction {
    /// `permit`: ends the list.
    Permit,
    /// `reject`, with the rule's own text when it has one.
    Reject(Option<String>),
    /// `defer`, with the rule's own text when it has one.
    Defer(Option<String>),
    /// `continue`: the sender binding and the limits count, and the next restriction is asked.
    Continue,
}

impl CertificateRule {
    /// Asks every condition, also behind one that does not hold, so that all differences can be told. The issuers are
    /// those of the verified chain, the certificate's own first.
    pub fn findings(
        &self,
        certificate: &Certificate,
        issuers: &[Arc<Certificate>],
        now_unix_seconds: i64,
    ) -> Vec<Finding> {
        let evidence = Evidence {
            certificate,
            issuers,
            now_unix_seconds,
        };
        examine_all(&self.conditions, evidence)
    }
}
