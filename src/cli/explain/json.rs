//! An explanation as one JSON object; docs/explain.md lists its fields.

use serde_json::{Value, json};

use super::arguments::ExplainArguments;
use super::decision::{Answer, Decision};
use super::limit;
use crate::cert::examination::ExaminationStep;
use crate::cert::identity::Identity;
use crate::observe::decision::{self, CertificateRecord};
use crate::time::Timestamp;

/// The whole explanation.
pub(super) fn to_json(decision: &Decision<'_>, arguments: &ExplainArguments) -> Value {
    let examination = &decision.examination;
    let certificate = examination.identity.certificate();
    let why = match &examination.identity {
        Identity::Unverified { why, .. } => Some(why.to_string()),
        _ => None,
    };
    let until = examination.until_unix_seconds;
    let until = (until != i64::MAX).then(|| Timestamp::from_seconds(until).to_string());
    let chain = examination.identity.issuers().iter();
    json!({
        "listener": decision.listener.name,
        "client_address": arguments.client_address.to_string(),
        "helo": arguments.helo,
        "at": decision.at.to_string(),
        "resumed": arguments.resumed,
        "login": arguments.login,
        "identity": examination.identity.state(),
        "why": why,
        "issuer": certificate.map(|c| c.issuer.one_line()),
        "subject": certificate.map(|c| c.subject.one_line()),
        "sha256": certificate.map(|c| c.fingerprint.clone()),
        "certificate": certificate.map(CertificateRecord::of),
        "chain": chain.map(|issuer| issuer.subject.one_line()).collect::<Vec<_>>(),
        "checks": examination.steps.iter().map(check).collect::<Vec<_>>(),
        "until": until,
        "reverse_path": decision.reverse_path.to_string(),
        "permitted": decision.is_permit(),
        "trace": decision.early.iter().flat_map(decision::trace).collect::<Vec<_>>(),
        "reply": decision.before.as_ref().map(ToString::to_string),
        "recipients": decision.asked().map(|answer| recipient(answer, arguments)).collect::<Vec<_>>(),
    })
}

fn check(step: &ExaminationStep) -> Value {
    json!({
        "certificate": step.certificate,
        "check": step.check.word(),
        "outcome": step.outcome.to_string(),
        "detail": step.detail,
    })
}

fn recipient(answer: &Answer, arguments: &ExplainArguments) -> Value {
    let verdict = &answer.verdict;
    let from_header = answer.from_header.iter().map(|binding| {
        json!({
            "rule": binding.rule,
            "permitted": (!arguments.from_header.is_empty()).then_some(binding.not_owned.is_empty()),
            "not_owned": binding.not_owned.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "reply": binding.reply.as_ref().map(ToString::to_string),
        })
    });
    json!({
        "forward_path": answer.forward_path.to_string(),
        "verdict": verdict.opinion.word(),
        "decided_by": verdict.decided_by(),
        "because": verdict.because().to_string(),
        "reply": answer.reply.to_string(),
        "trace": decision::trace(verdict),
        "trace_of_data": answer.late.iter().flat_map(decision::trace).collect::<Vec<_>>(),
        "limits": verdict.obligations.limits.iter().map(|charged| limit::to_json(charged)).collect::<Vec<_>>(),
        "from_header": from_header.collect::<Vec<_>>(),
    })
}
