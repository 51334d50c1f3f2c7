//! Every text that this server can say, and nothing else; the refusals of policy stand in `policy`.
//!
//! **Implements** RFC 5321 section 4.2.2 and the codes of RFC 3463; the wording is Postfix's where it has one, so
//! that postmasters and their scripts recognise it.

use super::action::QueueRefusal;
use super::event::{BareOctet, CertificateFault, MessageFault};
use super::extension::Extension;
use super::settings::{SessionSettings, TlsOffer};
use crate::cert::identity::Identity;
use crate::mail::queue_id::QueueId;
use crate::policy::stage::Stage;
use crate::wire::command::{CommandError, PathArgumentError, Verb};
use crate::wire::parameters::ParameterError;
use crate::wire::path::PathError;
use crate::wire::reply::Reply;

mod authentication;
mod defence;
mod filter;
mod policy;
mod restriction;
mod xclient;

pub(super) use authentication::*;
pub(super) use defence::{barred, busy, protocol_error, rate_exceeded, unsynchronised};
pub use defence::{busy_at_the_door, too_many_connections};
pub use filter::{filter_defers, filter_rejects, filter_shuts_down, filter_unavailable, header_too_long};
use policy::{limit_exceeded, policy};
pub use policy::{reply_for, stage_refusal};
use xclient::XCLIENT;
pub(super) use xclient::{attribute_expected, bad_attribute, insufficient_authorization, unknown_attribute};

/// 220 on connecting.
pub(super) fn greeting(settings: &SessionSettings) -> Reply {
    Reply::bare(220, vec![settings.banner.clone()])
}

/// The answer to HELO.
pub(super) fn hello(settings: &SessionSettings) -> Reply {
    Reply::bare(250, vec![settings.myhostname.clone()])
}

/// The answer to EHLO: the extensions that are offered, AUTH with these mechanisms.
pub(super) fn extensions(settings: &SessionSettings, mechanisms: &[&str], offers: impl Fn(Extension) -> bool) -> Reply {
    let announced = [
        (Extension::Pipelining, "PIPELINING".into()),
        (Extension::Size, format!("SIZE {}", settings.message_size_octets_max)),
        (Extension::StartTls, "STARTTLS".into()),
        (Extension::Auth, format!("AUTH {}", mechanisms.join(" "))),
        (Extension::Xclient, XCLIENT.into()),
        (Extension::EnhancedStatusCodes, "ENHANCEDSTATUSCODES".into()),
        (Extension::EightBitMime, "8BITMIME".into()),
        (Extension::Dsn, "DSN".into()),
        (Extension::SmtpUtf8, "SMTPUTF8".into()),
        (Extension::Chunking, "CHUNKING".into()),
        (Extension::RequireTls, "REQUIRETLS".into()),
        // RFC 9422 section 4: only what is a limit, and the same for everybody. There is none on messages or domains.
        (Extension::Limits, format!("LIMITS RCPTMAX={}", settings.recipients_max)),
    ];
    let announced = announced.into_iter().filter(|(extension, _)| offers(*extension));
    let lines = std::iter::once(settings.myhostname.clone()).chain(announced.map(|(_, line)| line));
    Reply::bare(250, lines.collect())
}

/// 354 behind DATA.
pub(super) fn start_data() -> Reply {
    Reply::bare(354, vec!["End data with <CR><LF>.<CR><LF>".into()])
}

/// 250 behind the final dot.
pub(super) fn queued(id: QueueId) -> Reply {
    Reply::new(250, (2, 0, 0), format!("Ok: queued as {id}"))
}

/// BDAT of a chunk behind which more are to come.
pub(super) fn chunk_taken(octets: u64) -> Reply {
    Reply::new(250, (2, 0, 0), format!("Ok: {octets} bytes"))
}

/// BDAT behind one that was refused.
pub(super) fn chunk_discarded(octets: u64) -> Reply {
    let text = format!("Discarded {octets} bytes after earlier error");
    Reply::new(551, (5, 0, 0), text)
}

/// BDAT without a length: the connection is closed (521 of RFC 7504).
pub(super) fn bad_chunk() -> Reply {
    Reply::new(521, (5, 5, 4), "Syntax: BDAT count [LAST]")
}

/// What must not be said between chunks: RFC 3030 section 2 leaves BDAT, RSET and what takes no part in a transaction.
pub(super) fn between_chunks(verb: Verb) -> Option<Reply> {
    match verb {
        Verb::Mail => Some(nested_mail()),
        Verb::Rcpt => Some(bad_sequence("Error: RCPT after BDAT")),
        Verb::Data => Some(bad_sequence("Error: DATA after BDAT")),
        Verb::Auth | Verb::StartTls | Verb::Xclient => Some(transaction_in_progress()),
        _ => None,
    }
}

/// 250 behind the final dot of a message that a content filter has thrown away: its sender is not to know.
pub(super) fn queued_in_name(id: Option<QueueId>) -> Reply {
    id.map_or_else(ok, queued)
}

/// RSET and NOOP.
pub(super) fn ok() -> Reply {
    Reply::new(250, (2, 0, 0), "Ok")
}

/// MAIL.
pub(super) fn sender_ok() -> Reply {
    Reply::new(250, (2, 1, 0), "Ok")
}

/// QUIT.
pub(super) fn bye() -> Reply {
    Reply::new(221, (2, 0, 0), "Bye")
}

/// STARTTLS.
pub(super) fn ready_for_tls() -> Reply {
    Reply::new(220, (2, 0, 0), "Ready to start TLS")
}

/// VRFY: RFC 5321 section 3.5.3, we do not say who exists.
pub(super) fn cannot_verify(argument: &str) -> Reply {
    Reply::new(
        252,
        (2, 0, 0),
        format!("{argument}: cannot verify, but will try to deliver"),
    )
}

/// HELP.
pub(super) fn help() -> Reply {
    Reply::new(
        214,
        (2, 0, 0),
        "Commands: EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY STARTTLS AUTH HELP QUIT",
    )
}

/// VRFY or EXPN that is switched off.
pub(super) fn disabled(verb: &str) -> Reply {
    Reply::new(502, (5, 5, 1), format!("{verb} command is disabled"))
}

/// A line that is no command.
pub(super) fn not_a_command(why: CommandError) -> Reply {
    match why {
        CommandError::ControlCharacter | CommandError::Empty => Reply::new(500, (5, 5, 2), "Error: bad syntax"),
        // RFC 3463 section 3.6: X.5.2 is for a command that is not recognised, X.5.1 for one that may not be said now.
        CommandError::Unknown => Reply::new(500, (5, 5, 2), "Error: command not recognized"),
    }
}

/// A line without an end in sight.
pub(super) fn line_too_long() -> Reply {
    Reply::new(500, (5, 5, 2), "Error: line too long")
}

/// A bad or missing argument: how the command is written.
pub(super) fn usage(syntax: &str) -> Reply {
    Reply::new(501, (5, 5, 4), format!("Syntax: {syntax}"))
}

/// Any command behind a refused connection, in Postfix's words.
pub(super) fn denied(peer: &str) -> Reply {
    Reply::new(503, (5, 7, 0), format!("Error: access denied for {peer}"))
}

/// A command out of sequence.
fn bad_sequence(what: &str) -> Reply {
    Reply::new(503, (5, 5, 1), what)
}

/// Before EHLO.
pub(super) fn say_ehlo_first() -> Reply {
    bad_sequence("Say EHLO first")
}

/// RCPT or DATA before MAIL.
pub(super) fn need_mail() -> Reply {
    bad_sequence("Error: need MAIL command")
}

/// DATA before RCPT.
pub(super) fn need_rcpt() -> Reply {
    bad_sequence("Error: need RCPT command")
}

/// MAIL within a transaction.
pub(super) fn nested_mail() -> Reply {
    bad_sequence("Error: nested MAIL command")
}

/// STARTTLS within TLS.
pub(super) fn tls_already_active() -> Reply {
    bad_sequence("Error: TLS already active")
}

/// DATA when every RCPT was refused.
pub(super) fn no_valid_recipients() -> Reply {
    Reply::new(554, (5, 5, 1), "Error: no valid recipients")
}

/// A command of an extension that is not announced.
pub(super) fn not_implemented() -> Reply {
    Reply::new(502, (5, 5, 1), "Error: command not implemented")
}

/// `smtpd_tls_security_level = encrypt`.
pub(super) fn must_start_tls() -> Reply {
    Reply::new(530, (5, 7, 0), "Must issue a STARTTLS command first")
}

/// A bad reverse-path (5.1.7) or the wrong form of MAIL.
pub(super) fn bad_reverse_path(why: PathArgumentError) -> Reply {
    match why {
        PathArgumentError::Keyword => usage("MAIL FROM:<address>"),
        PathArgumentError::Path(why) => bad_path(why, (5, 1, 7), "sender"),
    }
}

/// A bad forward-path (5.1.3) or the wrong form of RCPT.
pub(super) fn bad_forward_path(why: PathArgumentError) -> Reply {
    match why {
        PathArgumentError::Keyword => usage("RCPT TO:<address>"),
        PathArgumentError::Path(why) => bad_path(why, (5, 1, 3), "recipient"),
    }
}

fn bad_path(why: PathError, status: (u8, u16, u16), whose: &str) -> Reply {
    match why {
        PathError::NotAscii => undeclared_utf8(&format!("Bad {whose} address: {why}")),
        _ => Reply::new(501, status, format!("Bad {whose} address: {why}")),
    }
}

/// VRFY of an address that is not ASCII.
pub(super) fn cannot_verify_utf8() -> Reply {
    undeclared_utf8(&PathError::NotAscii.to_string())
}

/// RFC 6531 section 3.5.
fn undeclared_utf8(text: &str) -> Reply {
    Reply::new(553, (5, 6, 7), text)
}

/// A bad parameter.
pub(super) fn bad_parameter(why: &ParameterError) -> Reply {
    let code = match why {
        ParameterError::Unknown(_) | ParameterError::BinaryMime => 555,
        ParameterError::BadValue(_) | ParameterError::Repeated(_) => 501,
    };
    Reply::new(code, (5, 5, 4), format!("Error: {why}"))
}

/// `smtpd_recipient_limit`.
pub(super) fn too_many_recipients() -> Reply {
    Reply::new(452, (4, 5, 3), "Error: too many recipients")
}

/// `message_size_limit`.
pub(super) fn too_big() -> Reply {
    Reply::new(552, (5, 3, 4), "Error: message size exceeds fixed limit")
}

/// A message that was not taken behind its DATA; `estafette explain` prints the same.
pub fn message_fault(fault: &MessageFault, settings: &SessionSettings, reference: &str) -> Reply {
    match fault {
        MessageFault::TooBig => too_big(),
        MessageFault::HeaderTooBig => Reply::new(552, (5, 3, 4), "Error: header field size exceeds fixed limit"),
        MessageFault::TooManyHops => Reply::new(554, (5, 4, 6), "Error: too many hops"),
        MessageFault::BareNewline(which) => {
            Reply::new(550, (5, 5, 2), format!("message rejected: bare {which} received"))
        }
        MessageFault::FromHeader(why) => policy(550, (5, 7, 1), &format!("From header rejected: {why}"), reference),
        MessageFault::FromNotOwned(mailbox) => {
            let text = format!("From address rejected: <{mailbox}> is not owned by the holder of the certificate");
            policy(550, (5, 7, 1), &text, reference)
        }
        MessageFault::Restriction(stage, verdict) => {
            let subject = if *stage == Stage::Data {
                "DATA"
            } else {
                "END-OF-MESSAGE"
            };
            stage_refusal(*stage, verdict, subject, reference)
        }
        MessageFault::Filter(refusal) => refusal.reply.clone(),
        MessageFault::Limit(exceeded) => limit_exceeded(&exceeded.limit, reference),
        MessageFault::Queue(refusal) => queue_refusal(*refusal, settings),
    }
}

/// A command line that ended in a bare LF, under `reject`.
pub(super) fn bare_newline_in_command() -> Reply {
    let which = BareOctet::Lf;
    Reply::new(550, (5, 5, 2), format!("Error: bare {which} received"))
}

/// The queue's refusal.
pub(super) fn queue_refusal(refusal: QueueRefusal, settings: &SessionSettings) -> Reply {
    match refusal {
        QueueRefusal::NoSpace | QueueRefusal::NoMemory => no_space(),
        QueueRefusal::Failed => Reply::new(451, (4, 3, 0), "Error: queue file write error"),
        QueueRefusal::Closed => shutting_down(settings),
    }
}

/// `queue_minfree`.
pub(super) fn no_space() -> Reply {
    Reply::new(452, (4, 3, 1), "Insufficient system storage")
}

/// SIGTERM.
pub(super) fn shutting_down(settings: &SessionSettings) -> Reply {
    closing(
        settings,
        (4, 3, 2),
        "Service shutting down, closing transmission channel",
    )
}

/// RFC 5321 section 4.5.3.2.
pub(super) fn timeout(settings: &SessionSettings) -> Reply {
    closing(settings, (4, 4, 2), "Error: timeout exceeded")
}

/// `smtpd_hard_error_limit`.
pub(super) fn too_many_errors(settings: &SessionSettings) -> Reply {
    closing(settings, (4, 7, 0), "Error: too many errors")
}

/// What such a client is told before any recipient: `smtpd_tls_security_level = encrypt` answers MAIL in plaintext,
/// `smtpd_tls_req_ccert` whatever is said first after a handshake without a verified certificate.
pub fn before_recipients(settings: &SessionSettings, identity: &Identity, reference: &str) -> Option<Reply> {
    if matches!(identity, Identity::Plaintext) {
        return (settings.tls == TlsOffer::Encrypt).then(must_start_tls);
    }
    let fault = settings.unwelcome(identity)?;
    Some(certificate_required(settings, fault, reference))
}

/// `smtpd_tls_req_ccert`: no certificate, or one that does not verify.
pub(super) fn certificate_required(settings: &SessionSettings, fault: CertificateFault, reference: &str) -> Reply {
    let text = match fault {
        CertificateFault::Unverified(why) => format!("Error: Client certificate not trusted ({why})"),
        CertificateFault::NotShown => "Error: No client certificate presented".to_owned(),
    };
    policy(421, (4, 7, 1), &format!("{} {text}", settings.myhostname), reference)
}

fn closing(settings: &SessionSettings, status: (u8, u16, u16), text: &str) -> Reply {
    Reply::new(421, status, format!("{} {text}", settings.myhostname))
}

/// Another protocol, in Postfix's words.
pub(super) fn foreign_protocol() -> Reply {
    Reply::new(221, (2, 7, 0), "Error: I can break rules, too. Goodbye.")
}
