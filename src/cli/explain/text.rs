//! An explanation as people read it.

use super::arguments::ExplainArguments;
use super::decision::{Answer, Decision};
use crate::cert::examination::ExaminationStep;
use crate::cert::identity::Identity;
use crate::cert::name::printable;
use crate::cli::trace_text;
use crate::config::certificate_rules::describe;
use crate::observe::decision;
use crate::time::Timestamp;

/// The whole explanation.
pub(super) fn text(decision: &Decision<'_>, arguments: &ExplainArguments) -> String {
    let listener = decision.listener;
    let mut text = format!("listener     {} ({})\n", listener.name, listener.address);
    text.push_str(&format!(
        "client       {} helo={}\n",
        arguments.client_address,
        printable(&arguments.helo)
    ));
    if arguments.at.is_some() {
        text.push_str(&format!("at           {}\n", decision.at));
    }
    push_identity(&mut text, decision, arguments);
    if let Some(login) = &arguments.login {
        text.push_str(&format!("login        {}\n", printable(login)));
    }
    for verdict in &decision.early {
        text.push_str(&trace_text::steps(&decision::trace(verdict)));
    }
    if let Some(reply) = &decision.before {
        text.push_str(&format!(
            "  reply      {reply}\n  verdict    refused before any recipient\n"
        ));
        return text;
    }
    text.push_str(&format!("mail from    <{}>\n", decision.reverse_path));
    for answer in &decision.answers {
        push_answer(&mut text, answer, arguments);
    }
    text
}

fn push_identity(text: &mut String, decision: &Decision<'_>, arguments: &ExplainArguments) {
    let (identity, listener) = (&decision.examination.identity, decision.listener);
    text.push_str(&format!("identity     {}\n", describe(identity)));
    if let Some(certificate) = identity.certificate() {
        text.push_str(&format!("  issuer     {}\n", certificate.issuer.one_line()));
        text.push_str(&format!("  subject    {}\n", certificate.subject.one_line()));
        text.push_str(&format!("  sha256     {}\n", certificate.fingerprint));
    }
    push_checks(text, &decision.examination.steps);
    if decision.examination.until_unix_seconds != i64::MAX {
        let until = Timestamp::from_seconds(decision.examination.until_unix_seconds);
        text.push_str(&format!(
            "  until      {until}: then it is judged anew, also within a session\n"
        ));
    }
    if arguments.client_cert.is_some() && !listener.session.ask_client_certificate {
        text.push_str("  note       this listener does not ask for a certificate (smtpd_tls_ask_ccert)\n");
    } else if arguments.resumed && arguments.client_cert.is_some() {
        text.push_str("  resumed    the certificate of the first handshake is judged anew: the verdict is the same\n");
    }
}

/// The checks under the certificate that each is about.
fn push_checks(text: &mut String, steps: &[ExaminationStep]) {
    let mut about = None;
    for step in steps {
        if about != Some(&step.certificate) {
            text.push_str(&format!("  checks     {}\n", step.certificate));
            about = Some(&step.certificate);
        }
        let (check, outcome, detail) = (step.check.word(), step.outcome.to_string(), printable(&step.detail));
        text.push_str(&format!("    {check:<17} {outcome:<10} {detail}\n"));
    }
}

fn push_answer(text: &mut String, answer: &Answer, arguments: &ExplainArguments) {
    let verdict = &answer.verdict;
    text.push_str(&format!("rcpt to      <{}>\n", answer.forward_path));
    text.push_str(&trace_text::steps(&decision::trace(verdict)));
    text.push_str(&format!(
        "  verdict    {} by {}\n",
        verdict.opinion.word(),
        verdict.decided_by()
    ));
    text.push_str(&format!("  reply      {}\n", answer.reply));
    if !verdict.is_permit() {
        return;
    }
    for late in &answer.late {
        text.push_str(&trace_text::steps(&decision::trace(late)));
        if late.is_refusal() {
            text.push_str(&format!(
                "  verdict    {} by {} at the message\n",
                late.opinion.word(),
                late.decided_by()
            ));
        }
    }
    for limit in &verdict.obligations.limits {
        text.push_str(&format!(
            "  limit      {}: {}\n",
            printable(&limit.name),
            printable(&describe::limit(limit))
        ));
    }
    for binding in &answer.from_header {
        let rule = printable(&binding.rule);
        if arguments.from_header.is_empty() {
            text.push_str(&format!(
                "  from       {rule} asks that the From header field names the holder's addresses only (--from-header)\n"
            ));
        } else if let Some(reply) = &binding.reply {
            text.push_str(&format!(
                "  from       reject by {rule} at the end of the message\n  reply      {reply}\n"
            ));
        } else {
            text.push_str(&format!(
                "  from       permit by {rule}: every address is the holder's\n"
            ));
        }
    }
}

fn describe(identity: &Identity) -> String {
    match identity {
        Identity::Unverified { why, .. } => format!("unverified: {why}"),
        Identity::Verified { chain, .. } => {
            let issuers: Vec<_> = chain.iter().map(|issuer| issuer.subject.one_line()).collect();
            format!("verified by {}", issuers.join(" <- "))
        }
        other => other.state().to_owned(),
    }
}
