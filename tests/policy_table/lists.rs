//! Every word of the restriction lists, in every list, at every stage: the reply in Postfix's wording, and the reason.

use super::world::{Situation, Words, World};
use estafette::policy::stage::{List, Stage};
use estafette::policy::verdict::Opinion;

/// A word that refuses in some situation.
#[derive(Clone, Copy)]
struct Row {
    /// As it is written in a list, with what the list needs beside it.
    word: &'static str,
    /// Further lines of the configuration.
    beside: &'static str,
    situation: Situation,
    /// The stage from which on there is something to refuse.
    from: Stage,
    /// What it says; `{subject}` is that of the list.
    reply: &'static str,
    /// A part of the reason.
    because: &'static str,
}

const fn row(word: &'static str, situation: Situation, from: Stage, reply: &'static str, because: &'static str) -> Row {
    Row {
        word,
        beside: "",
        situation,
        from,
        reply,
        because,
    }
}

const fn beside(beside: &'static str, row: Row) -> Row {
    Row { beside, ..row }
}

const USUAL: Situation = Situation::USUAL;
const MAPS: &str = "relay_recipient_maps = { \"b@campus.example\" = \"x\" }\n";
const LOGINS: &str = "smtpd_sender_login_maps = { \"a@sender.example\" = \"alice\" }\n";

/// Whether the DNS knows the peer, HELO and both domains is the situation's.
#[rustfmt::skip]
fn rows() -> Vec<Row> {
    use Stage::{Connect, Hello, Mail, Recipient};
    let strange = |line: &'static str| Situation { dns: line, ..USUAL };
    vec![
        row("defer_if_permit", USUAL, Connect, "450 4.7.0 {subject} rejected: defer_if_permit requested", "unconditional"),
        row("reject_plaintext_session", USUAL, Connect, "450 4.7.1 {subject} rejected: Session encryption is required", "not encrypted"),
        row("reject_unauth_pipelining", Situation { pipelines: true, ..USUAL }, Connect,
            "503 5.5.0 {subject} rejected: Improper use of SMTP command pipelining", "sent more"),
        row("reject_multi_recipient_bounce", Situation { sender: "", recipients: 2, ..USUAL }, Recipient,
            "550 5.5.3 {subject} rejected: Multi-recipient bounce", "more than one recipient"),
        beside("multi_recipient_bounce_reject_code = 551\n", row("reject_multi_recipient_bounce", Situation { sender: "", recipients: 2, ..USUAL },
            Recipient, "551 5.5.3 {subject} rejected: Multi-recipient bounce", "more than one recipient")),
        beside(MAPS, row("reject_unlisted_recipient", Situation { recipient: "c@campus.example", ..USUAL }, Recipient,
            "550 5.1.1 <c@campus.example>: Recipient address rejected: User unknown in relay recipient table", "not in relay_recipient_maps")),
        beside(MAPS, row("reject_unlisted_sender", Situation { sender: "c@campus.example", ..USUAL }, Mail,
            "550 5.1.0 <c@campus.example>: Sender address rejected: User unknown in relay recipient table", "not in relay_recipient_maps")),
        beside(LOGINS, row("reject_sender_login_mismatch", USUAL, Mail,
            "553 5.7.1 <a@sender.example>: Sender address rejected: not logged in", "nobody logged in")),
        beside(LOGINS, row("reject_unauthenticated_sender_login_mismatch", USUAL, Mail,
            "553 5.7.1 <a@sender.example>: Sender address rejected: not logged in", "nobody logged in")),
        beside(LOGINS, row("reject_known_sender_login_mismatch", Situation { login: Some("bob"), ..USUAL }, Mail,
            "553 5.7.1 <a@sender.example>: Sender address rejected: not owned by user bob", "not owned by bob")),
        beside(LOGINS, row("reject_authenticated_sender_login_mismatch", Situation { login: Some("bob"), ..USUAL }, Mail,
            "553 5.7.1 <a@sender.example>: Sender address rejected: not owned by user bob", "not owned by bob")),
        row("reject_invalid_helo_hostname", Situation { hello: "a!b", ..USUAL }, Hello,
            "501 5.5.2 <a!b>: Helo command rejected: Invalid name", "not a host name"),
        row("reject_non_fqdn_helo_hostname", Situation { hello: "printer", ..USUAL }, Hello,
            "504 5.5.2 <printer>: Helo command rejected: need fully-qualified hostname", "not fully qualified"),
        row("reject_non_fqdn_sender", Situation { sender: "a@sender", ..USUAL }, Mail,
            "504 5.5.2 <a@sender>: Sender address rejected: need fully-qualified address", "not fully qualified"),
        row("reject_non_fqdn_recipient", Situation { recipient: "b@campus", ..USUAL }, Recipient,
            "504 5.5.2 <b@campus>: Recipient address rejected: need fully-qualified address", "not fully qualified"),
        row("reject_unknown_client_hostname", strange("198.51.100.1 PTR nxdomain"), Connect,
            "450 4.7.25 Client host rejected: cannot find your hostname, [198.51.100.1]", "no name that leads back"),
        row("reject_unknown_reverse_client_hostname", strange("198.51.100.1 PTR nxdomain"), Connect,
            "450 4.7.25 Client host rejected: cannot find your reverse hostname, [198.51.100.1]", "no name in the DNS"),
        beside("unknown_client_reject_code = 550\n", row("reject_unknown_client_hostname", strange("198.51.100.1 PTR nxdomain"), Connect,
            "550 5.7.25 Client host rejected: cannot find your hostname, [198.51.100.1]", "no name that leads back")),
        row("reject_unknown_helo_hostname", strange("client.example A nxdomain"), Hello,
            "450 4.7.1 <client.example>: Helo command rejected: Host not found", "neither an address"),
        row("reject_unknown_sender_domain", strange("sender.example MX nxdomain"), Mail,
            "450 4.1.8 <a@sender.example>: Sender address rejected: Domain not found", "no mail exchanger"),
        row("reject_unknown_sender_domain", strange("sender.example MX 0 ."), Mail,
            "550 5.7.27 <a@sender.example>: Sender address rejected: Domain sender.example does not accept mail (nullMX)", "null MX"),
        row("reject_unknown_recipient_domain", Situation { recipient: "b@nowhere.example", ..USUAL }, Recipient,
            "450 4.1.2 <b@nowhere.example>: Recipient address rejected: Domain not found", "no mail exchanger"),
        row("reject_unknown_recipient_domain", Situation { recipient: "b@null.example", dns: "null.example MX 0 .", ..USUAL }, Recipient,
            "556 5.1.10 <b@null.example>: Recipient address rejected: Domain null.example does not accept mail (nullMX)", "null MX"),
        row("reject_rbl_client list.example", strange("1.100.51.198.list.example A 127.0.0.2"), Connect,
            "554 5.7.1 Service unavailable; Client host [198.51.100.1] blocked using list.example", "listed in list.example"),
        row("reject_rhsbl_client list.example", strange("client.example.list.example A 127.0.0.2"), Connect,
            "554 5.7.1 Service unavailable; Client host [client.example] blocked using list.example", "listed in list.example"),
        row("reject_rhsbl_reverse_client list.example", strange("client.example.list.example A 127.0.0.2"), Connect,
            "554 5.7.1 Service unavailable; Unverified Client host [client.example] blocked using list.example", "listed in list.example"),
        row("reject_rhsbl_helo list.example", strange("client.example.list.example A 127.0.0.2"), Hello,
            "554 5.7.1 Service unavailable; Helo command [client.example] blocked using list.example", "listed in list.example"),
        row("reject_rhsbl_sender list.example", strange("sender.example.list.example A 127.0.0.2"), Mail,
            "554 5.7.1 Service unavailable; Sender address [a@sender.example] blocked using list.example", "listed in list.example"),
        row("reject_rhsbl_recipient list.example=127.0.0.[2..4]", strange("campus.example.list.example A 127.0.0.3"), Recipient,
            "554 5.7.1 Service unavailable; Recipient address [b@campus.example] blocked using list.example", "listed in list.example"),
        row("reject_unauth_destination", Situation { recipient: "b@elsewhere.example", ..USUAL }, Recipient,
            "554 5.7.1 <b@elsewhere.example>: Relay access denied", "elsewhere.example"),
        row("defer_unauth_destination", Situation { recipient: "b@elsewhere.example", ..USUAL }, Recipient,
            "454 4.7.1 <b@elsewhere.example>: Relay access denied", "elsewhere.example"),
        row("check_policy_service inet:127.0.0.1:10023", Situation { service: "451 4.7.9 Come back", ..USUAL }, Connect,
            "451 4.7.9 {subject} rejected: Come back", "451 4.7.9 Come back"),
        row("check_policy_service inet:127.0.0.1:10023", Situation { service: "fail", ..USUAL }, Connect,
            "451 4.3.5 {subject} rejected: Server configuration problem", "connection refused"),
        row("check_policy_service inet:127.0.0.1:10023", Situation { service: "FILTER smtp:x", ..USUAL }, Connect,
            "451 4.3.5 Server configuration error", "FILTER smtp:x"),
        row("check_client_access inline", Situation { table: ("client.example", "REJECT"), ..USUAL }, Connect,
            "554 5.7.1 <client.example[198.51.100.1]>: Client host rejected: Access denied", "client.example"),
        row("check_client_access inline", Situation { table: ("198.51.100", "REJECT go"), ..USUAL }, Connect,
            "554 5.7.1 <client.example[198.51.100.1]>: Client host rejected: go", "198.51.100"),
        row("check_reverse_client_hostname_access inline", Situation { table: ("example", "550 5.7.9 no"), ..USUAL }, Connect,
            "550 5.7.9 <client.example[198.51.100.1]>: Unverified Client host rejected: no", "example"),
        row("check_helo_access inline", Situation { table: ("client.example", "DEFER"), ..USUAL }, Hello,
            "450 4.7.1 <client.example>: Helo command rejected: Access denied", "client.example"),
        row("check_sender_access inline", Situation { table: ("a@", "DEFER_IF_PERMIT 4.2.0 Greylisted"), ..USUAL }, Mail,
            "450 4.2.0 <a@sender.example>: Sender address rejected: Greylisted", "a@"),
        beside("smtpd_null_access_lookup_key = \"nobody\"\n", row("check_sender_access inline",
            Situation { sender: "", table: ("nobody", "550 5.1.1 no bounces"), ..USUAL }, Mail,
            "550 5.1.0 <>: Sender address rejected: no bounces", "nobody")),
        row("check_sender_access inline", Situation { sender: "\"a b\"@sender.example", table: ("a b@sender.example", "REJECT"), ..USUAL }, Mail,
            "554 5.7.1 <\"a b\"@sender.example>: Sender address rejected: Access denied", "a b@sender.example"),
        beside("access_map_reject_code = 550\n", row("check_recipient_access inline", Situation { table: ("campus.example", "REJECT 5.1.7 no"), ..USUAL },
            Recipient, "550 5.1.3 <b@campus.example>: Recipient address rejected: no", "campus.example")),
        row("check_recipient_access inline", Situation { recipient: "b@[192.0.2.1]", table: ("[192.0.2.1]", "REJECT"), ..USUAL }, Recipient,
            "554 5.7.1 <b@[192.0.2.1]>: Recipient address rejected: Access denied", "[192.0.2.1]"),
        beside("access_map_defer_code = 451\n", row("check_sasl_access inline", Situation { login: Some("bob"), table: ("bob", "DEFER locked"), ..USUAL },
            Connect, "451 4.7.1 <bob>: SASL login name rejected: locked", "bob")),
        row("check_ccert_access inline", Situation { certificate: true, table: ("aa:bb", "REJECT stolen"), ..USUAL }, Connect,
            "554 5.7.1 <AA:BB>: Client certificate rejected: stolen", "AA:BB"),
        row("check_ccert_access { inline, { search_order = pubkey_fingerprint } }", Situation { certificate: true, table: ("cc:dd", "REJECT"), ..USUAL },
            Connect, "554 5.7.1 <AA:BB>: Client certificate rejected: Access denied", "CC:DD"),
        row("check_sender_access inline", Situation { table: ("sender.example", "reject_plaintext_session"), ..USUAL }, Mail,
            "450 4.7.1 {subject} rejected: Session encryption is required", "not encrypted"),
        row("check_sender_access inline", Situation { table: ("sender.example", "strict"), ..USUAL }, Mail,
            "450 4.7.1 {subject} rejected: Session encryption is required", "not encrypted"),
        row("strict", USUAL, Connect, "450 4.7.1 {subject} rejected: Session encryption is required", "not encrypted"),
        row("reject_sender_certificate_mismatch", Situation { certificate: true, ..USUAL }, Mail,
            "553 5.7.1 <a@sender.example>: Sender address rejected: not owned by the holder of the certificate", "a@sender.example"),
    ]
}

#[test]
fn refusing_words_refuse_in_every_list_in_the_wording_of_postfix() {
    for (n, row) in rows().into_iter().enumerate() {
        let words = Words::of(row.word, row.beside, &row.situation);
        for list in List::ALL {
            for delay in [true, false] {
                let world = words.in_list(list, delay);
                let place = format!("row {n}: {} in {}, delay {delay}", row.word, list.name());
                let outcome = world.outcome(&row.situation);
                if world.stage < row.from {
                    assert!(!outcome.refuses(), "{place}: {outcome:?}");
                    continue;
                }
                let subject = world.subject(&row.situation);
                let expected = row.reply.replace("{subject}", &subject);
                assert_eq!(outcome.reply, format!("{expected} [ref r]"), "{place}");
                let because = outcome.verdict.because().to_string();
                assert!(because.contains(row.because), "{place}: {because}");
            }
        }
    }
}

#[test]
fn warn_if_reject_spares_in_every_list_and_stands_in_the_trace() {
    // What defers is a refusal, too; the end of a list that decides on relaying is not the word's.
    for (n, row) in rows().into_iter().enumerate() {
        let word = format!("warn_if_reject {}", row.word);
        let words = Words::of(&word, row.beside, &row.situation);
        for list in List::ALL {
            let outcome = words.in_list(list, true).outcome(&row.situation);
            let warned = |step: &estafette::policy::verdict::Step| {
                step.opinion == Opinion::Warn && step.because.to_string().contains(row.because)
            };
            let place = format!("row {n}: {word} in {}", list.name());
            assert!(outcome.verdict.trace.iter().any(warned), "{place}: {outcome:?}");
            // What the words say that ends a list that decides is not theirs.
            let is_the_end = row.reply.contains("Relay access denied");
            assert!(
                is_the_end || outcome.reply != format!("{} [ref r]", row.reply),
                "{place}"
            );
        }
    }
}

#[test]
fn unconditional_words_refuse_with_their_own_codes() {
    for (word, beside, reply, relay) in [
        (
            "reject",
            "",
            "554 5.7.1 {subject} rejected: Access denied",
            "554 5.7.1 <b@campus.example>: Relay access denied",
        ),
        (
            "reject",
            "reject_code = 550\n",
            "550 5.7.1 {subject} rejected: Access denied",
            "550 5.7.1 <b@campus.example>: Relay access denied",
        ),
        (
            "defer",
            "",
            "450 4.3.2 {subject} rejected: Try again later",
            "450 4.7.1 <b@campus.example>: Relay access denied",
        ),
        (
            "defer",
            "defer_code = 451\n",
            "451 4.3.2 {subject} rejected: Try again later",
            "451 4.7.1 <b@campus.example>: Relay access denied",
        ),
    ] {
        let words = Words::of(word, beside, &USUAL);
        for list in List::ALL {
            let world = words.in_list(list, true);
            let outcome = world.outcome(&USUAL);
            let expected = if list.permits_recipients() { relay } else { reply };
            let expected = expected.replace("{subject}", &world.subject(&USUAL));
            assert_eq!(
                outcome.reply,
                format!("{expected} [ref r]"),
                "{word} in {}",
                list.name()
            );
        }
    }
}

/// Words that permit: behind them nothing of their list is asked, and of the others everything.
#[test]
fn permitting_words_end_their_own_list_only() {
    let elsewhere = Situation {
        recipient: "b@elsewhere.example",
        ..USUAL
    };
    let campus = Situation {
        peer: "192.0.2.9",
        ..elsewhere
    };
    let listed = Situation {
        dns: "1.100.51.198.list.example A 127.0.0.2",
        ..USUAL
    };
    let named = Situation {
        dns: "client.example.list.example A 127.0.0.2",
        ..USUAL
    };
    let holder = Situation {
        certificate: true,
        ..elsewhere
    };
    for (word, situation) in [
        ("permit_mynetworks", campus),
        (
            "permit_inet_interfaces",
            Situation {
                peer: "127.0.0.1",
                ..elsewhere
            },
        ),
        (
            "permit_sasl_authenticated",
            Situation {
                login: Some("bob"),
                ..elsewhere
            },
        ),
        ("permit_tls_all_clientcerts", holder),
        ("permit_tls_clientcerts", holder),
        ("CERTISSUER:^/C=FR/O=CNRS/CN=CNRS-Standard$", holder),
        ("CERTSUBJECT:/OU=UMR5168(/|$)", holder),
        ("lab", holder),
        ("permit_auth_destination", USUAL),
        ("check_relay_domains", USUAL),
        ("permit_dnswl_client list.example", listed),
        ("permit_rhswl_client list.example", named),
        (
            "check_client_access inline",
            Situation {
                table: ("198.51.100.1", "OK"),
                ..elsewhere
            },
        ),
        (
            "check_ccert_access inline",
            Situation {
                table: ("aa:bb", "RELAY"),
                ..holder
            },
        ),
        (
            "check_sasl_access inline",
            Situation {
                login: Some("bob"),
                table: ("bob", "OK"),
                ..elsewhere
            },
        ),
        (
            "check_recipient_access inline",
            Situation {
                table: ("b@elsewhere.example", "OK"),
                ..elsewhere
            },
        ),
        (
            "check_recipient_access inline",
            Situation {
                table: ("b@elsewhere.example", "DISCARD spam"),
                ..elsewhere
            },
        ),
        (
            "check_client_access inline",
            Situation {
                table: ("198.51.100.1", "1794000000"),
                ..elsewhere
            },
        ),
    ] {
        let behind = if word == "check_relay_domains" { "" } else { ", reject" };
        let words = Words::of(&format!("{word}{behind}"), "", &situation);
        for list in List::ALL {
            let outcome = words.in_list(list, true).outcome(&situation);
            let place = format!("{word} in {}: {outcome:?}", list.name());
            if list.permits_recipients() {
                assert!(outcome.verdict.is_permit(), "{place}");
            } else if matches!(list, List::Data | List::EndOfData) {
                assert!(!outcome.refuses(), "{place}");
            } else {
                // The relay list, which knows nothing of the word, decides.
                let is_ours = situation.recipient.ends_with("@campus.example") || situation.peer == "192.0.2.9";
                assert_eq!(outcome.verdict.is_permit(), is_ours, "{place}");
            }
        }
    }
}

#[test]
fn permission_of_a_table_does_not_hold_for_source_routes_nor_unverified_names() {
    let routed = Situation {
        recipient: "b%elsewhere.example@campus.example",
        table: ("campus.example", "OK"),
        ..USUAL
    };
    let with = |action| Situation {
        table: ("campus.example", action),
        ..routed
    };
    let listed = Situation {
        recipient: "b%elsewhere.example@campus.example",
        dns: "1.100.51.198.list.example A 127.0.0.2",
        ..USUAL
    };
    for (word, situation) in [
        ("check_recipient_access inline", routed),
        ("check_recipient_access inline", with("permit")),
        ("check_recipient_access inline", with("everybody")),
        ("check_recipient_access inline", with("DUNNO")),
        ("permit_dnswl_client list.example", listed),
    ] {
        let outcome = World::of(List::Relay, word, "", &situation).outcome(&situation);
        assert!(outcome.reply.starts_with("554 5.7.1 "), "{word}: {outcome:?}");
    }
    // What is thrown away is, whoever permits it behind the table.
    let words = "check_recipient_access inline, permit_mynetworks, reject";
    let discarded = Situation {
        peer: "192.0.2.9",
        ..with("DISCARD spam")
    };
    let outcome = World::of(List::Relay, words, "", &discarded).outcome(&discarded);
    assert!(outcome.verdict.is_permit(), "{outcome:?}");
    assert_eq!(outcome.verdict.obligations.discard.as_deref(), Some("spam"));
    for action in ["OK", "permit", "everybody"] {
        let named = Situation {
            table: ("client.example", action),
            ..USUAL
        };
        let word = "check_reverse_client_hostname_access inline";
        let outcome = World::of(List::Client, word, "", &named).outcome(&named);
        assert_eq!(
            outcome.reply, "451 4.3.5 Server configuration error [ref r]",
            "{action}"
        );
    }
}

/// The DNS fails: what would be permitted is refused for now, in words that name what failed; a permission behind it in the
/// same list or in another does not help, and what is refused for good stays so.
#[test]
fn failed_question_is_a_refusal_for_now_whatever_permits_behind_it() {
    let failing = |dns| Situation { dns, ..USUAL };
    for (word, situation, name) in [
        (
            "reject_unknown_client_hostname",
            failing("198.51.100.1 PTR fail"),
            "198.51.100.1",
        ),
        (
            "reject_unknown_reverse_client_hostname",
            failing("198.51.100.1 PTR fail"),
            "198.51.100.1",
        ),
        (
            "reject_unknown_helo_hostname",
            failing("client.example MX fail"),
            "client.example",
        ),
        (
            "reject_unknown_sender_domain",
            failing("sender.example MX fail"),
            "sender.example",
        ),
        (
            "reject_unknown_recipient_domain",
            Situation {
                recipient: "b@broken.example",
                ..failing("broken.example MX fail")
            },
            "broken.example",
        ),
        (
            "reject_rbl_client list.example",
            failing("1.100.51.198.list.example A fail"),
            "1.100.51.198.list.example",
        ),
        (
            "reject_rhsbl_client list.example",
            failing("client.example.list.example A fail"),
            "client.example.list.example",
        ),
        (
            "reject_rhsbl_client list.example",
            failing("198.51.100.1 PTR fail"),
            "198.51.100.1",
        ),
        (
            "reject_rhsbl_reverse_client list.example",
            failing("198.51.100.1 PTR fail"),
            "198.51.100.1",
        ),
        (
            "reject_rhsbl_helo list.example",
            failing("client.example.list.example A fail"),
            "client.example.list.example",
        ),
        (
            "reject_rhsbl_sender list.example",
            failing("sender.example.list.example A fail"),
            "sender.example.list.example",
        ),
        (
            "reject_rhsbl_recipient list.example",
            failing("campus.example.list.example A fail"),
            "campus.example.list.example",
        ),
        (
            "check_client_access inline",
            Situation {
                table: ("elsewhere.example", "REJECT"),
                ..failing("198.51.100.1 PTR fail")
            },
            "198.51.100.1",
        ),
        (
            "check_reverse_client_hostname_access inline",
            Situation {
                table: ("elsewhere.example", "REJECT"),
                ..failing("198.51.100.1 PTR fail")
            },
            "198.51.100.1",
        ),
    ] {
        let (plain, permitting) = (
            Words::of(word, "", &situation),
            Words::of(&format!("{word}, permit"), "", &situation),
        );
        let is_ours = situation.recipient == USUAL.recipient;
        for list in List::ALL {
            let words = if list.permits_recipients() { &plain } else { &permitting };
            let outcome = words.in_list(list, true).outcome(&situation);
            let place = format!("{word} in {}: {outcome:?}", list.name());
            if !is_ours && !matches!(list, List::Data | List::EndOfData) {
                assert!(outcome.refuses(), "{place}");
                continue;
            }
            assert!(outcome.reply.starts_with("450 4.4.3 "), "{place}");
            let named = format!("DNS lookup of {name} failed, try again later [ref r]");
            assert!(outcome.reply.ends_with(&named), "{place}");
        }
        if is_ours {
            let foreign = Situation {
                recipient: "b@elsewhere.example",
                ..situation
            };
            let outcome = World::of(List::Sender, word, "", &foreign).outcome(&foreign);
            let is_about_recipient = word.starts_with("reject_rhsbl_recipient");
            assert!(
                is_about_recipient || outcome.reply.starts_with("554 5.7.1 <b@elsewhere.example>"),
                "{word}: {outcome:?}"
            );
        }
    }
}

/// A list of good clients that does not answer: what is refused later for good may have been good.
#[test]
fn failed_list_of_good_clients_turns_a_later_refusal_into_one_for_now() {
    for (word, dns) in [
        ("permit_dnswl_client list.example", "1.100.51.198.list.example A fail"),
        ("permit_rhswl_client list.example", "client.example.list.example A fail"),
        ("defer_if_reject", ""),
    ] {
        let situation = Situation { dns, ..USUAL };
        let refusing = Words::of(&format!("{word}, reject"), "", &situation);
        let alone = Words::of(word, "", &situation);
        for list in [List::Client, List::Hello, List::Sender, List::Data, List::EndOfData] {
            let outcome = refusing.in_list(list, true).outcome(&situation);
            assert_eq!(
                outcome.verdict.opinion,
                Opinion::Defer,
                "{word} in {}: {outcome:?}",
                list.name()
            );
            let outcome = alone.in_list(list, true).outcome(&situation);
            assert!(!outcome.refuses(), "{word} in {}: {outcome:?}", list.name());
        }
    }
}
