//! The lines of a session.
//!
//! What a peer chose is logged as a string, never with `%`: the text form quotes strings, so that a quoted local-part
//! such as `"x decided_by=y"` cannot pass for a field.

use tracing::{debug, info, warn};

use super::metrics;
use crate::cert::identity::Identity;
use crate::mail::trace_header::TlsDescription;
use crate::policy::limits::Exceeded;
use crate::policy::verdict::{Opinion, Verdict};
use crate::session::event::{BareNewlinePlace, BareOctet, Event, Origin};
use crate::wire::path::{ForwardPath, ReversePath};
use crate::wire::reply::Reply;

/// Writes an event with the fields that every line of a session carries.
macro_rules! line {
    ($level:ident, $origin:expr, $name:literal, $($fields:tt)*) => {{
        let origin: &Origin = $origin;
        $level!(
            session_id = origin.session_id,
            listener = origin.listener,
            peer = %origin.peer,
            identity = origin.identity,
            issuer = origin.issuer.as_deref().unwrap_or_default(),
            subject = origin.subject.as_deref().unwrap_or_default(),
            login = origin.login.as_deref(),
            $($fields)*,
            $name
        )
    }};
}

/// Logs and counts one event.
// tidy: table
pub fn session_event(event: &Event) {
    metrics::session_event(event);
    match event {
        Event::SessionOpened { origin } => {
            let fingerprint = origin.fingerprint.as_deref();
            line!(debug, origin, "session.opened", fingerprint);
        }
        Event::TlsStarted { origin, tls, identity } => tls_started(origin, tls, identity),
        Event::IdentityChanged {
            origin,
            before,
            identity,
        } => identity_changed(origin, before, identity),
        Event::ClientNamed { origin, proxy, login } => {
            let login = login.as_deref().unwrap_or_default();
            line!(info, origin, "client.named", proxy = %proxy, login);
        }
        Event::SessionRejected {
            origin,
            reference,
            because,
            reply,
        } => {
            let (because, reply) = (because.to_string(), reply.to_string());
            line!(info, origin, "session.rejected", reference, because, reply);
        }
        Event::StageRejected {
            origin,
            reference,
            stage,
            hello,
            reverse_path,
            verdict,
            reply,
        } => {
            let (because, reply) = (verdict.because().to_string(), reply.to_string());
            let (decided_by, stage) = (verdict.decided_by(), stage.word());
            let reverse_path = reverse_path.as_ref().map(ToString::to_string).unwrap_or_default();
            line!(
                info,
                origin,
                "command.refused",
                reference,
                stage,
                hello,
                reverse_path,
                decided_by,
                because,
                reply
            );
        }
        Event::Authenticated { origin, mechanism } => {
            let mechanism = mechanism.name();
            line!(info, origin, "authentication.succeeded", mechanism);
        }
        Event::FilterRejected {
            origin,
            reference,
            stage,
            reverse_path,
            forward_path,
            refusal,
        } => {
            let reverse_path = reverse_path.as_ref().map(ToString::to_string).unwrap_or_default();
            let forward_path = forward_path.as_ref().map(ToString::to_string).unwrap_or_default();
            let (because, reply, stage) = (refusal.to_string(), refusal.reply.to_string(), stage.word());
            line!(
                info,
                origin,
                "filter.rejected",
                reference,
                stage,
                reverse_path,
                forward_path,
                because,
                reply
            );
        }
        Event::AuthenticationRejected {
            origin,
            reference,
            because,
            reply,
        } => {
            let (because, reply) = (because.to_string(), reply.to_string());
            line!(info, origin, "authentication.rejected", reference, because, reply);
        }
        Event::CommandRejected { origin, reply } => line!(debug, origin, "command.rejected", reply = reply.to_string()),
        Event::BareNewlineSeen { origin, place, which } => bare_newline_seen(origin, *place, *which),
        Event::SpokeOutOfTurn { origin, after } => line!(info, origin, "client.out_of_turn", after),
        Event::RateExceeded { origin, exceeded } => {
            let (limit, count, most) = (exceeded.event.directive(), exceeded.count, exceeded.limit);
            line!(warn, origin, "client_rate.exceeded", limit, count, most);
        }
        Event::SessionClosed {
            origin,
            because,
            messages_queued,
        } => {
            let because = because.to_string();
            line!(debug, origin, "session.closed", because, messages_queued);
        }
        Event::RestrictionWarned { origin, verdict } => restrictions_warned(origin, verdict),
        Event::RecipientDecided { .. }
        | Event::LimitExceeded { .. }
        | Event::MessageQueued { .. }
        | Event::MessageDiscarded { .. }
        | Event::MessageRejected { .. } => message_event(event),
    }
}

/// Logs what happened to a message.
// tidy: table
// tidy: table
fn message_event(event: &Event) {
    match event {
        Event::RecipientDecided {
            origin,
            reference,
            reverse_path,
            forward_path,
            verdict,
            reply,
        } => {
            recipient_decided(origin, reference, (reverse_path, forward_path), verdict, reply);
        }
        Event::LimitExceeded {
            origin,
            reference,
            reverse_path,
            forward_paths,
            exceeded,
        } => limit_exceeded(
            origin,
            reference.as_deref().unwrap_or_default(),
            (reverse_path, forward_paths.len()),
            exceeded,
        ),
        Event::MessageQueued {
            origin,
            id,
            size_octets,
            reverse_path,
            forward_paths,
            decided_by,
            references,
            hold,
        } => {
            let fingerprint = origin.fingerprint.as_deref().unwrap_or_default();
            let (recipients, reverse_path) = (forward_paths.len(), reverse_path.to_string());
            let references = some_of(references);
            let hold = hold.as_deref().unwrap_or_default();
            line!(info, origin, "message.queued", queue_id = %id, fingerprint, size_octets, reverse_path, recipients, decided_by, references, hold);
        }
        Event::MessageDiscarded {
            origin,
            reference,
            id,
            decided_by,
            because,
            size_octets,
            reverse_path,
            forward_paths,
            reply,
        } => {
            let queue_id = id.map(|id| id.to_string()).unwrap_or_default();
            let (recipients, reverse_path, reply) = (forward_paths.len(), reverse_path.to_string(), reply.to_string());
            line!(
                info,
                origin,
                "message.discarded",
                reference,
                queue_id,
                decided_by,
                because,
                reverse_path,
                recipients,
                size_octets,
                reply
            );
        }
        Event::MessageRejected {
            origin,
            reverse_path,
            forward_paths,
            size_octets,
            because,
            reference,
            reply,
        } => {
            let (recipients, because) = (forward_paths.len(), because.to_string());
            let (reverse_path, reply) = (reverse_path.to_string(), reply.to_string());
            let reference = reference.as_deref().unwrap_or_default();
            line!(
                info,
                origin,
                "message.rejected",
                reference,
                reverse_path,
                recipients,
                size_octets,
                because,
                reply
            );
        }
        _ => {}
    }
}

/// References in one field; of many the first ones, since a line has to end somewhere.
fn some_of(references: &[String]) -> String {
    const REFERENCES_MAX: usize = 20;
    let more = if references.len() > REFERENCES_MAX { " .." } else { "" };
    let shown: Vec<&str> = references.iter().take(REFERENCES_MAX).map(String::as_str).collect();
    format!("{}{more}", shown.join(" "))
}

fn identity_changed(origin: &Origin, before: &Identity, identity: &Identity) {
    let because = unverified_because(identity);
    let fingerprint = origin.fingerprint.as_deref().unwrap_or_default();
    let before = before.state();
    if identity.verified().is_some() {
        line!(info, origin, "identity.changed", fingerprint, before, because);
    } else {
        line!(warn, origin, "identity.changed", fingerprint, before, because);
    }
}

fn limit_exceeded(
    origin: &Origin,
    reference: &str,
    (reverse_path, recipients): (&ReversePath, usize),
    exceeded: &Exceeded,
) {
    let (holder, usage, limit) = (&exceeded.holder, &exceeded.usage, &exceeded.limit.name);
    let reverse_path = reverse_path.to_string();
    let on_exceed = exceeded.limit.on_exceed.word();
    macro_rules! exceeded {
        ($level:ident) => {
            line!(
                $level,
                origin,
                "limit.exceeded",
                reference,
                reverse_path,
                recipients,
                holder,
                limit,
                usage,
                on_exceed
            )
        };
    }
    // Once a limit acts, every further message says so again: the first one is the news.
    if exceeded.is_news {
        exceeded!(warn);
    } else {
        exceeded!(info);
    }
}

fn unverified_because(identity: &Identity) -> String {
    match identity {
        Identity::Unverified { why, .. } => why.to_string(),
        _ => String::new(),
    }
}

fn tls_started(origin: &Origin, tls: &TlsDescription, who: &Identity) {
    let because = unverified_because(who);
    let fingerprint = origin.fingerprint.as_deref().unwrap_or_default();
    let key_exchange = tls.key_exchange.as_deref().unwrap_or_default();
    let (protocol, cipher, resumed) = (&tls.protocol, &tls.cipher, tls.resumed);
    line!(
        info,
        origin,
        "tls.started",
        fingerprint,
        protocol,
        cipher,
        key_exchange,
        resumed,
        because
    );
}

fn bare_newline_seen(origin: &Origin, place: BareNewlinePlace, which: BareOctet) {
    let place = match place {
        BareNewlinePlace::Command => "command",
        BareNewlinePlace::MailData => "mail data",
    };
    line!(warn, origin, "bare_newline.seen", place, which = which.to_string());
}

/// `warn_if_reject`, and WARN of a table.
fn restrictions_warned(origin: &Origin, verdict: &Verdict) {
    for step in verdict.trace.iter().filter(|step| step.opinion == Opinion::Warn) {
        let (list, restriction, because) = (step.list, step.restriction.as_str(), step.because.to_string());
        line!(warn, origin, "restriction.warned", list, restriction, because);
    }
}

fn recipient_decided(
    origin: &Origin,
    reference: &str,
    (reverse_path, forward_path): (&ReversePath, &ForwardPath),
    verdict: &Verdict,
    reply: &Reply,
) {
    // As text and not by Display: the text format quotes it then, and a name with spaces cannot pose as more fields.
    let (reverse_path, forward_path) = (reverse_path.to_string(), forward_path.to_string());
    let (decided_by, because) = (verdict.decided_by(), verdict.because().to_string());
    restrictions_warned(origin, verdict);
    match verdict.opinion {
        Opinion::Permit => {
            line!(
                info,
                origin,
                "recipient.permitted",
                reverse_path,
                forward_path,
                decided_by,
                because
            );
        }
        Opinion::Defer => {
            line!(
                info,
                origin,
                "recipient.deferred",
                reference,
                reverse_path,
                forward_path,
                decided_by,
                because,
                reply = reply.to_string()
            );
        }
        _ => {
            line!(
                info,
                origin,
                "recipient.rejected",
                reference,
                reverse_path,
                forward_path,
                decided_by,
                because,
                reply = reply.to_string()
            );
        }
    }
}
