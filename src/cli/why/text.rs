//! A recorded decision as people read it: whole, or on one line.

use crate::cert::name::printable;
use crate::cli::trace_text;
use crate::observe::decision::{Decision, Kind};
use crate::time::Timestamp;

/// Everything that is known of a decision.
pub(super) fn whole(decision: &Decision) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| text.push_str(&format!("{name:<12} {}\n", printable(value)));
    line("time", &decision.time);
    match decision.kind {
        Kind::Recipient => line("decision", "on a recipient"),
        Kind::Message => line("decision", "on a message"),
        Kind::Refusal => line("decision", "before or beside the recipients"),
    }
    if let Some(reference) = &decision.reference {
        line("reference", reference);
    }
    if let Some(queue_id) = &decision.queue_id {
        line("queue id", queue_id);
    }
    line("session", &decision.session_id);
    line("listener", &decision.listener);
    line("client", &decision.peer);
    match &decision.why {
        Some(why) => line("identity", &format!("{}: {why}", decision.identity)),
        None => line("identity", &decision.identity),
    }
    if let Some(certificate) = &decision.certificate {
        line("  issuer", &certificate.issuer);
        line("  subject", &certificate.subject);
        line("  serial", &certificate.serial);
        line("  sha256", &certificate.sha256);
        line(
            "  valid",
            &format!(
                "{} to {}",
                Timestamp::from_seconds(certificate.not_before_unix_seconds),
                Timestamp::from_seconds(certificate.not_after_unix_seconds)
            ),
        );
        for address in &certificate.mail_addresses {
            line("  mail", address);
        }
        for name in &certificate.user_principal_names {
            line("  upn", name);
        }
    }
    if let Some(login) = &decision.login {
        line("login", login);
    }
    if let Some(reverse_path) = &decision.reverse_path {
        line("mail from", &format!("<{reverse_path}>"));
    }
    for forward_path in &decision.forward_paths {
        line("rcpt to", &format!("<{forward_path}>"));
    }
    if let Some(octets) = decision.size_octets {
        line("size", &format!("{octets} octets"));
    }
    text.push_str(&trace_text::steps(&decision.trace));
    text.push_str(&format!("{:<12} {}\n", "verdict", verdict(decision)));
    if let Some(reply) = &decision.reply {
        text.push_str(&format!("{:<12} {}\n", "reply", printable(reply)));
    }
    if decision.is_shortened {
        text.push_str("note         the record was too long; some of it was left out\n");
    }
    text
}

/// `permit by RULE: because`.
fn verdict(decision: &Decision) -> String {
    let mut text = decision.verdict.word().to_owned();
    if !decision.decided_by.is_empty() {
        text.push_str(&format!(" by {}", printable(&decision.decided_by)));
    }
    if !decision.because.is_empty() {
        text.push_str(&format!(": {}", printable(&decision.because)));
    }
    text
}

/// The decision on one line: time, verdict, reference or queue id, envelope, rule, who.
pub(super) fn one_line(decision: &Decision) -> String {
    let id = decision.queue_id.as_ref().or(decision.reference.as_ref());
    let word = match decision.kind {
        Kind::Message => "queued",
        Kind::Recipient | Kind::Refusal => "",
    };
    let who = decision
        .certificate
        .as_ref()
        .map_or(decision.identity.as_str(), |certificate| &certificate.subject);
    let to = match decision.forward_paths.as_slice() {
        [] => String::new(),
        [one] => format!(" -> <{one}>"),
        [first, rest @ ..] => format!(" -> <{first}> and {} more", rest.len()),
    };
    let from = decision.reverse_path.as_ref().map(|path| format!(" <{path}>"));
    let text = format!(
        "{} {:<6} {word:<6} {}{}{to} by {}, {who}, from {}",
        decision.time,
        decision.verdict.word(),
        id.map_or("-", String::as_str),
        from.unwrap_or_default(),
        decision.decided_by,
        decision.peer
    );
    format!("{}\n", printable(&text))
}
