//! The lines of a session.
//!
//! What a peer chose is logged as a string, never with `%`: the text form quotes strings, so that a quoted local-part
//! such as `"x decided_by=y"` cannot pass for a field.

use tracing::{debug, info, warn};

use crate::cert::identity::Identity;
use crate::mail::queue_id::QueueId;
use crate::mail::trace_header::TlsDescription;
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
            $($fields)*,
            $name
        )
    }};
}

/// Logs one event.
pub fn session_event(event: &Event) {
    match event {
        Event::SessionOpened { origin } => line!(
            debug,
            origin,
            "session.opened",
            fingerprint = origin.fingerprint.as_deref()
        ),
        Event::TlsStarted { origin, tls, identity } => tls_started(origin, tls, identity),
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
        Event::MessageQueued {
            origin,
            id,
            size_octets,
            reverse_path,
            forward_paths,
            decided_by,
            references: _,
            hold,
        } => {
            line!(info, origin, "message.queued", queue_id = %id, fingerprint = origin.fingerprint.as_deref().unwrap_or_default(), size_octets, reverse_path = reverse_path.to_string(), recipients = forward_paths.len(), decided_by);
            message_held(origin, *id, hold.as_deref());
        }
        Event::MessageRejected {
            origin,
            reverse_path,
            forward_paths,
            size_octets,
            because,
            reference: _,
            reply,
        } => {
            let (recipients, because) = (forward_paths.len(), because.to_string());
            let (reverse_path, reply) = (reverse_path.to_string(), reply.to_string());
            line!(
                info,
                origin,
                "message.rejected",
                reverse_path,
                recipients,
                size_octets,
                because,
                reply
            );
        }
        Event::CommandRejected { origin, reply } => line!(debug, origin, "command.rejected", reply = reply.to_string()),
        Event::BareNewlineSeen { origin, place, which } => bare_newline_seen(origin, *place, *which),
        Event::SessionClosed {
            origin,
            because,
            messages_queued,
        } => {
            line!(
                debug,
                origin,
                "session.closed",
                because = because.to_string(),
                messages_queued
            );
        }
    }
}

fn tls_started(origin: &Origin, tls: &TlsDescription, who: &Identity) {
    let because = match who {
        Identity::Unverified { why, .. } => why.to_string(),
        _ => String::new(),
    };
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

/// Mail that is taken and not delivered: a human must look.
fn message_held(origin: &Origin, id: QueueId, hold: Option<&str>) {
    if let Some(because) = hold {
        line!(warn, origin, "message.held", queue_id = %id, because);
    }
}

fn bare_newline_seen(origin: &Origin, place: BareNewlinePlace, which: BareOctet) {
    let place = match place {
        BareNewlinePlace::Command => "command",
        BareNewlinePlace::MailData => "mail data",
    };
    line!(warn, origin, "bare_newline.seen", place, which = which.to_string());
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
        Opinion::Reject | Opinion::Pass => {
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
