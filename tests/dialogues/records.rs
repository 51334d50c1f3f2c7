//! What a session leaves behind for the log: who, what was decided, why, and what was answered.

use estafette::cert::identity::Why;
use estafette::mail::from_header::FromFault;
use estafette::policy::verdict::Because;
use estafette::session::event::{BareNewlinePlace, BareOctet, CertificateFault, CloseReason, Event, MessageFault};

use crate::script::Script;
use crate::{Way, run};

const HELLO: &str = "S: 220 *\nC: EHLO a\nS: 250-*\nS: 250-*\nS: 250-*\nS: 250-*\nS: 250-*\nS: 250-*\nS: 250-*\nS: 250-*\n\
                     S: 250-*\nS: 250 *\n";

/// EHLO within TLS, where REQUIRETLS is announced as well.
fn hello_in_tls() -> String {
    HELLO
        .replacen("S: 220 *\n", "", 1)
        .replacen("S: 250-*\n", "S: 250-*\nS: 250-*\n", 1)
}
const DATA: &str = "C: MAIL FROM:<a@example.org>\nC: RCPT TO:<b@example.net>\nC: DATA\n";

fn events(text: &str) -> Vec<Event> {
    run(&Script::parse("records", text), Way::Whole)
}

#[test]
fn refused_recipient_is_recorded_with_the_reference_of_its_reply() {
    let all = events(&format!(
        "connect 192.0.2.10\n{HELLO}{DATA}S: 250 *\nS: 554 *[ref s1-1]\nS: 554 5.5.1 *\neof\nclosed"
    ));
    let [
        Event::SessionOpened { .. },
        Event::RecipientDecided {
            origin,
            reference,
            forward_path,
            verdict,
            reply,
            ..
        },
        Event::CommandRejected { .. },
        Event::SessionClosed { because, .. },
    ] = all.as_slice()
    else {
        panic!("{all:?}");
    };
    assert_eq!(reference, "s1-1");
    assert!(reply.to_string().ends_with("[ref s1-1]"));
    assert_eq!(forward_path.to_string(), "b@example.net");
    assert_eq!(
        (verdict.decided_by(), verdict.because()),
        ("reject", &Because::Unconditional)
    );
    assert_eq!((origin.identity, origin.issuer.as_deref()), ("plaintext", None));
    assert_eq!(*because, CloseReason::Lost);
}

#[test]
fn queued_message_is_recorded_with_the_certificate_that_let_it_in() {
    let hello = hello_in_tls();
    let all = events(&format!(
        "connect 192.0.2.10\n{HELLO}C: STARTTLS\nS: 220 *\ntls certificate=alice\n{hello}{DATA}S: 250 *\nS: 250 *\n\
         S: 354 *\nC: 123\nC: .\nS: 250 *\nqueued: 123\\r\\n\neof\nclosed"
    ));
    let queued = all.iter().find_map(|event| match event {
        Event::MessageQueued {
            origin,
            size_octets,
            decided_by,
            ..
        } => Some((origin, *size_octets, decided_by.as_str())),
        _ => None,
    });
    let (origin, size_octets, decided_by) = queued.expect("the message is recorded");
    assert_eq!((size_octets, decided_by), (5, "permit_tls_all_clientcerts"));
    assert_eq!(origin.identity, "verified");
    assert_eq!(origin.issuer.as_deref(), Some("/C=FR/O=CNRS/CN=CNRS-Standard"));
    assert_eq!(
        origin.subject.as_deref(),
        Some("/C=FR/O=CNRS/OU=UMR5168/CN=Alice Martin")
    );
    assert!(
        all.iter()
            .any(|event| matches!(event, Event::TlsStarted { tls, .. } if tls.protocol == "TLSv1.3"))
    );
}

/// Up to the EHLO in TLS of alice, whom a rule lets through.
fn alice(rule: &str) -> String {
    let hello = hello_in_tls();
    format!(
        "rule people {rule}\nchain people reject\nconnect 192.0.2.10\n{HELLO}C: STARTTLS\nS: 220 *\n\
         tls certificate=alice\n{hello}"
    )
}

#[test]
fn queued_message_names_its_decisions_and_why_it_is_on_hold() {
    let all = events(&format!(
        "{}C: MAIL FROM:<a@example.org>\nC: RCPT TO:<b@example.net>\nC: RCPT TO:<c@example.net>\nC: DATA\n\
         S: 250 *\nS: 250 *\nS: 250 *\nS: 354 *\nC: x\nC: .\nS: 250 *\nheld: *\nqueued: x\\r\\n\neof\nclosed",
        alice("recipients=1 on_exceed=hold")
    ));
    let exceeded = all.iter().find_map(|event| match event {
        Event::LimitExceeded {
            reference, exceeded, ..
        } => Some((reference, exceeded)),
        _ => None,
    });
    let (reference, exceeded) = exceeded.expect("the limit is recorded");
    assert_eq!((reference, exceeded.is_news), (&None, true));
    let Some(Event::MessageQueued { references, hold, .. }) = all.iter().rev().nth(1) else {
        panic!("{all:?}");
    };
    assert_eq!(references, &["s1-1", "s1-2"]);
    let words = format!("limit people/1: {}: 2 recipients in 1h, 1 allowed", exceeded.holder);
    assert_eq!(hold.as_deref(), Some(words.as_str()));
}

#[test]
fn refusals_of_a_message_are_recorded_with_the_reference_of_their_reply() {
    let rejected = |rule: &str, end: &str| {
        let all = events(&format!("{}{DATA}S: 250 *\nS: 250 *\n{end}eof\nclosed", alice(rule)));
        let rejected = all.iter().find_map(|event| match event {
            Event::MessageRejected {
                because,
                reference,
                reply,
                forward_paths,
                ..
            } => Some((
                because.clone(),
                reference.clone(),
                reply.to_string(),
                forward_paths.len(),
            )),
            _ => None,
        });
        let (because, reference, reply, recipients) = rejected.expect("the refusal is recorded");
        assert_eq!((reference.as_deref(), recipients), (Some("s1-2"), 1));
        assert!(reply.ends_with("[ref s1-2]"), "{reply}");
        (because, all)
    };
    let (because, _) = rejected("sender_domain=example.org from_header", "S: 354 *\nC: .\nS: 550 *\n");
    assert_eq!(because, MessageFault::FromHeader(FromFault::Missing));
    let (because, all) = rejected("messages=0 on_exceed=reject", "S: 554 *\n");
    assert!(matches!(because, MessageFault::Limit(_)), "{because:?}");
    let exceeded = all
        .iter()
        .any(|event| matches!(event, Event::LimitExceeded { reference, .. } if reference.as_deref() == Some("s1-2")));
    assert!(exceeded, "{all:?}");
}

#[test]
fn changed_identity_is_recorded_once_and_the_refused_session_with_its_reference() {
    let all = events(&format!(
        "set require_client_certificate yes\n{}judged certificate=alice\nC: MAIL FROM:<a@example.org>\nS: 250 *\n\
         C: RSET\nS: 250 *\njudged certificate=alice-untrusted\nC: MAIL FROM:<a@example.org>\nS: 421 *[ref s1-1]\nclosed",
        alice("")
    ));
    let [
        ..,
        Event::TlsStarted { .. },
        Event::IdentityChanged {
            origin,
            before,
            identity,
        },
        Event::SessionRejected { reference, because, .. },
        Event::SessionClosed { .. },
    ] = all.as_slice()
    else {
        panic!("{all:?}");
    };
    assert_eq!((before.state(), identity.state()), ("verified", "unverified"));
    assert_eq!(origin.identity, "unverified");
    assert_eq!(reference, "s1-1");
    assert_eq!(*because, CertificateFault::Unverified(Why::UnknownIssuer));
}

/// Thunderbird on a desk says no AUTH, on Android it insists on it: the log must not tell them apart.
#[test]
fn authentication_changes_nothing_of_what_is_recorded() {
    let recorded = |authentication: &str| {
        events(&format!(
            "{}{authentication}{DATA}S: 250 *\nS: 250 *\nS: 354 *\nC: x\nC: .\nS: 250 *\nqueued: x\\r\\n\neof\nclosed",
            alice("sender_domain=example.org")
        ))
    };
    let without = recorded("");
    assert_eq!(without.len(), 5, "{without:?}");
    assert_eq!(recorded("C: AUTH EXTERNAL =\nS: 235 *\n"), without);
}

#[test]
fn bare_newline_is_recorded_under_note_and_reject_only() {
    let seen = |policy: &str, exclusions: &str, end: &str| {
        let all = events(&format!(
            "set bare_newline {policy}\nset bare_newline_exclusions {exclusions}\nchain permit\nconnect 192.0.2.10\n\
             {HELLO}{DATA}S: 250 *\nS: 250 *\nS: 354 *\nC: x\\ny\nC: .\n{end}"
        ));
        let noted = all.iter().any(|event| {
            matches!(
                event,
                Event::BareNewlineSeen {
                    place: BareNewlinePlace::MailData,
                    which: BareOctet::Lf,
                    ..
                }
            )
        });
        let fault = MessageFault::BareNewline(BareOctet::Lf);
        let rejected = all
            .iter()
            .any(|event| matches!(event, Event::MessageRejected { because, .. } if *because == fault));
        (noted, rejected)
    };
    let taken = "S: 250 *\nqueued: x\\r\\ny\\r\\n";
    assert_eq!(seen("normalize", "198.51.100.0/24", taken), (false, false));
    assert_eq!(seen("note", "198.51.100.0/24", taken), (true, false));
    assert_eq!(seen("reject", "192.0.2.0/24", taken), (false, false));
    assert_eq!(
        seen("reject", "198.51.100.0/24", "S: 550 *\nclosed\nnothing queued"),
        (true, true)
    );
}
