//! Certificate rules that are accepted, and as what.

#[path = "config/world.rs"]
mod world;

use std::path::Path;
use std::time::Duration;

use estafette::config::certificate_rules::{describe, keys};
use estafette::config::{Environment, Loaded, load_text};
use estafette::io::tls::settings::OnUnknown;
use estafette::policy::certificate_rule::{CertificateRule, RuleAction};
use estafette::policy::limits::{Holder, OnExceed};
use estafette::policy::restriction::Restriction;
use proptest::prelude::*;
use world::{environment, good, shipped, warnings};

const TLS: &str = "smtpd_tls_security_level = \"may\"\nsmtpd_tls_cert_file = \"server.crt\"\nsmtpd_tls_ask_ccert = true\n\
                   smtpd_tls_CAfile = \"CAcert.pem\"\n";

/// A file with one rule that the relay list of every listener names.
fn with_rule(rule: &str) -> String {
    format!("{TLS}smtpd_relay_restrictions = [\"lab\", \"reject\"]\n[[certificate_rule]]\nname = \"lab\"\n{rule}")
}

fn rule(text: &str) -> CertificateRule {
    let loaded = good(&with_rule(text));
    CertificateRule::clone(&loaded.settings.certificate_rules[0].rule)
}

/// What the lists of the first listener say of a binding to the certificate's addresses.
fn allows_null_sender(loaded: &Loaded) -> Vec<bool> {
    let listeners = &loaded.settings.listeners;
    let restrictions = listeners.iter().flat_map(|listener| &listener.session.chain.relay);
    let binding = |restriction: &Restriction| match restriction {
        Restriction::Rule(rule) => Some(rule.sender.as_ref()?.allows_null_sender),
        Restriction::RejectSenderCertificateMismatch(binding) => Some(binding.allows_null_sender),
        _ => None,
    };
    restrictions.filter_map(binding).collect()
}

#[test]
fn conditions_are_read_in_all_their_spellings() {
    let fingerprint = "aa".repeat(32);
    for (text, expected) in [
        ("", "any verified certificate".to_owned()),
        ("subject = { OU = \"UMR5168\" }", "subject.OU = \"UMR5168\"".into()),
        (
            "issuer = { O = \"CNRS\", \"2.5.4.3\" = [\"CNRS-Standard\", \"CNRS-Plus\"] }",
            "issuer.2.5.4.3 = \"CNRS-Standard\" or \"CNRS-Plus\", issuer.O = \"CNRS\"".into(),
        ),
        ("subject = { OU = \" $x, y\" }", "subject.OU = \" $x, y\"".into()),
        (
            "issuer_regex = '^/C=FR/O=CNRS(/|$)'\nsubject_regex = \"/OU=UMR[0-9]+(/|$)\"",
            "issuer_regex = \"^/C=FR/O=CNRS(/|$)\", subject_regex = \"/OU=UMR[0-9]+(/|$)\"".into(),
        ),
        (
            "mail_address = \"*@example.org\"\ndns_name = [\"a.example.org\", \"*.example.org\"]\nuser_principal_name = \"alice\"",
            "mail_address = \"*@example.org\", dns_name = \"a.example.org\" or \"*.example.org\", \
             user_principal_name = \"alice\""
                .into(),
        ),
        (
            "extended_key_usage = [\"clientAuth\", \"1.3.6.1.5.5.7.3.4\", \"1.3.6.1.4.1.311.20.2.2\"]\npolicy = \"1.3.6.1.4.1.7650.1\"",
            "extended_key_usage = \"clientAuth\" or \"emailProtection\" or \"smartcardLogon\", \
             policy = \"1.3.6.1.4.1.7650.1\""
                .into(),
        ),
        (
            "key_usage = [\"contentCommitment\", \"DigitalSignature\"]",
            "key_usage = \"nonRepudiation\" or \"digitalSignature\"".into(),
        ),
        (
            "serial = [\"0a1b\", \"00:01:FF\", \"0\\u0030\"]",
            "serial = \"0A:1B\" or \"01:FF\" or \"00\"".into(),
        ),
        (
            &format!("fingerprint = \"{fingerprint}\"\npublic_key_fingerprint = [\"{fingerprint}\"]"),
            {
                let upper = vec!["AA"; 32].join(":");
                format!("fingerprint = \"{upper}\", public_key_fingerprint = \"{upper}\"")
            },
        ),
        (
            "issuer_file = \"issuers/plus.crt\"\nkey_algorithm = [\"rsa\", \"Ed25519\"]\nvalid_for = \"7d\"",
            "key_algorithm = \"RSA\" or \"Ed25519\", issuer_file = \"issuers/plus.crt\", valid_for = 7d".into(),
        ),
        (
            "any = [{ key_algorithm = \"RSA\", key_bits_min = 3072 }, { key_algorithm = \"ECDSA\" }]\nnot = { serial = \"01\" }",
            "not (serial = \"01\"), any (key_algorithm = \"RSA\", key_bits_min = 3072 | key_algorithm = \"ECDSA\")"
                .into(),
        ),
    ] {
        assert_eq!(describe::conditions(&rule(text).conditions), expected, "{text}");
    }
}

#[test]
fn actions_keep_their_text() {
    assert_eq!(rule("").action, RuleAction::Permit);
    let text = "action = \"reject\"\ntext = \"Ask the helpdesk, room 12.\"";
    assert_eq!(
        rule(text).action,
        RuleAction::Reject(Some("Ask the helpdesk, room 12.".into()))
    );
    assert_eq!(rule("action = \"defer\"").action, RuleAction::Defer(None));
    let going_on = "action = \"continue\"\nsender = \"certificate\"";
    assert_eq!(rule(going_on).action, RuleAction::Continue);
}

#[test]
fn binding_and_limits_become_values() {
    let rule = rule(
        "sender = \"certificate\"\nsender_domains = [\"example.org\", \".example.net\"]\n\
         sender_addresses = [\"Desk@Example.COM\"]\nfrom_header = true\n\
         [[certificate_rule.limit]]\nper = \"subject.OU\"\nmessages = 100\nrecipients = 1000\noctets = \"1 GiB\"\n\
         time = \"1h\"\nburst = 1.5\non_exceed = \"hold\"\n\
         [[certificate_rule.limit]]\ntime = 60\nmessages = 1\n",
    );
    let sender = rule.sender.as_ref().unwrap();
    assert!(sender.certificate_addresses && sender.from_header && !sender.allows_null_sender);
    assert_eq!(sender.rule, "lab");
    let domains: Vec<(String, bool)> = sender.domains.iter().map(|(d, s)| (d.to_string(), *s)).collect();
    assert_eq!(
        domains,
        [("example.org".to_owned(), false), ("example.net".to_owned(), true)]
    );
    assert_eq!(sender.addresses.len(), 1);
    let [first, second] = rule.limits.as_slice() else {
        panic!("two limits")
    };
    assert_eq!((first.name.as_str(), second.name.as_str()), ("lab/1", "lab/2"));
    assert!(matches!(&first.per, Holder::Attribute(_, attribute) if attribute == "OU"));
    assert_eq!(
        (first.messages, first.recipients, first.octets),
        (Some(100), Some(1000), Some(1 << 30))
    );
    assert_eq!((first.burst_percent, first.on_exceed), (150, OnExceed::Hold));
    assert_eq!((&second.per, second.burst_percent), (&Holder::Certificate, 100));
    assert_eq!(
        (second.window, second.on_exceed),
        (Duration::from_mins(1), OnExceed::Defer)
    );
    assert_eq!(
        describe::limit(first),
        "100 messages, 1000 recipients, 1073741824 octets in 1h per subject.OU, burst 1.50, then hold"
    );
    let words = describe::binding(sender);
    assert!(
        words.starts_with("MAIL FROM and From: the addresses of the certificate, *@example.org"),
        "{words}"
    );
}

#[test]
fn null_sender_follows_the_rule_then_the_directive_of_the_listener() {
    let listeners = "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:2525\"\n\
                     [[listener]]\nname = \"b\"\naddress = \"127.0.0.1:2526\"\nsmtpd_certificate_null_sender = \"permit\"\n";
    let of = |rule: &str| allows_null_sender(&good(&format!("{}{listeners}", with_rule(rule))));
    assert_eq!(of("sender = \"certificate\"\n"), [false, true]);
    assert_eq!(
        of("sender = \"certificate\"\nnull_sender = \"reject\"\n"),
        [false, false]
    );
    assert_eq!(
        of("sender_domains = [\"example.org\"]\nnull_sender = \"permit\"\n"),
        [true, true]
    );
    let word = "smtpd_relay_restrictions = [\"reject_sender_certificate_mismatch\", \"permit_tls_all_clientcerts\", \"reject\"]\n";
    assert_eq!(
        allows_null_sender(&good(&format!("{TLS}{word}{listeners}"))),
        [false, true]
    );
}

#[test]
fn rule_is_named_in_lists_between_other_words_and_in_one_string() {
    let text = format!(
        "{TLS}smtpd_recipient_restrictions = \"permit_mynetworks, lab other, reject\"\n\
         [[certificate_rule]]\nname = \"lab\"\nsubject = {{ OU = \"a\" }}\n[[certificate_rule]]\nname = \"other\"\naction = \"reject\"\n"
    );
    let loaded = good(&text);
    let words: Vec<String> = loaded.settings.listeners[0]
        .session
        .chain
        .recipient
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(words, ["permit_mynetworks", "lab", "other", "reject"]);
    assert_eq!(warnings(&text), "");
}

#[test]
fn fault_in_a_rule_is_said_once_however_often_the_rule_is_named() {
    let text = format!(
        "{TLS}smtpd_relay_restrictions = [\"lab\", \"reject\"]\nsmtpd_recipient_restrictions = [\"lab\", \"reject\"]\n\
         [[certificate_rule]]\nname = \"lab\"\nvalid_for = \"soon\"\n"
    );
    let found = world::load(&text).unwrap_err();
    assert_eq!(found.0.len(), 1, "{found}");
}

#[test]
fn rule_that_leaves_something_to_a_later_one_does_not_hide_it() {
    for (first, second) in [
        ("subject = { OU = \"a\" }", "subject = { OU = [\"a\", \"b\"] }"),
        ("subject = { OU = \"a\" }", "issuer = { OU = \"a\" }"),
        ("key_bits_min = 3072", "key_bits_min = 2048"),
        (
            "action = \"continue\"\nsender = \"certificate\"",
            "subject = { OU = \"a\" }",
        ),
        (
            "subject = { OU = \"a\" }\nvalid_for = \"1d\"",
            "subject = { OU = \"a\" }",
        ),
    ] {
        let text = with_rule(first).replace("[\"lab\",", "[\"lab\", \"other\",");
        assert_eq!(
            warnings(&format!("{text}\n[[certificate_rule]]\nname = \"other\"\n{second}\n")),
            ""
        );
    }
}

#[test]
fn rule_that_one_listener_asks_is_no_dead_rule() {
    let text = format!(
        "{}[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:2525\"\nsmtpd_relay_restrictions = [\"reject\"]\n\
         [[listener]]\nname = \"b\"\naddress = \"127.0.0.1:2526\"\n",
        with_rule("subject = { OU = \"x\" }\n")
    );
    assert_eq!(warnings(&text), "");
}

#[test]
fn rule_that_says_whose_certificates_is_no_open_relay_with_public_authorities() {
    for rule in [
        "subject = { O = \"CNRS\" }",
        "issuer = { CN = \"CNRS-Plus\" }\nkey_bits_min = 2048",
        "mail_address = \"*@example.org\"",
        "dns_name = \"*.lab.example.org\"",
        "serial = \"01\"",
        "policy = \"1.3.6.1.4.1.7650.1\"",
        "subject_regex = \"^/C=FR/O=CNRS(/|$)\"",
        "any = [{ subject = { OU = \"x\" } }, { mail_address = \"a@example.org\", valid_for = \"1d\" }]",
        "key_bits_min = 2048\naction = \"reject\"",
        "action = \"continue\"\nsender = \"certificate\"",
    ] {
        let text = with_rule(rule).replacen("[[", "tls_append_default_CA = true\n[[", 1);
        assert_eq!(warnings(&text), "", "{rule}");
    }
}

#[test]
fn issuer_policies_take_their_grace_time_or_the_common_one() {
    let loaded = good(&format!(
        "{TLS}smtpd_tls_crl_grace_time = \"2h\"\nsmtpd_tls_crl_issuer_policies = [\"/C=FR/O=CNRS/CN=CNRS Plus fail-open\", \
         \"/C=FR/O=CNRS/CN=CNRS-Standard fail-closed 7d\"]\n"
    ));
    let revocation = &loaded.settings.listeners[0].tls.as_ref().unwrap().revocation;
    let [plus, standard] = revocation.issuer_policies.as_slice() else {
        panic!("two policies")
    };
    assert_eq!(
        (plus.0.as_str(), plus.1.on_unknown),
        ("/C=FR/O=CNRS/CN=CNRS Plus", OnUnknown::FailOpen)
    );
    assert_eq!(plus.1.grace, Duration::from_hours(2));
    assert_eq!(
        (standard.1.on_unknown, standard.1.grace),
        (OnUnknown::FailClosed, Duration::from_hours(168))
    );
}

#[test]
fn file_that_a_rule_names_is_refused_when_it_is_not_what_it_should_be() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("certs-example");
    let path = examples.join("estafette.toml");
    let environment = Environment {
        check_files: true,
        public_ca_bundles: Vec::new(),
        ..environment()
    };
    for (rule, words) in [
        ("issuer_file = \"none.pem\"", "issuer_file: "),
        ("issuer_file = \"alice.key\"", "found"),
        ("issuer_file = \"alice.pem\"", "is not the certificate of a CA"),
        ("accepts = [\"none.pem\"]", "none.pem: No such file"),
        ("refuses = [\"alice.key\"]", "refuses: "),
    ] {
        let text = with_rule(rule).replace("server.crt", "sendmail.pem");
        let found = load_text(&path, &text, &environment).unwrap_err();
        let rule_errors: Vec<String> = found
            .0
            .iter()
            .filter(|found| !found.key.starts_with("smtpd_"))
            .map(ToString::to_string)
            .collect();
        assert!(
            rule_errors.len() == 1 && rule_errors[0].contains(words),
            "{rule}: {found}"
        );
    }
}

proptest! {
    #[test]
    fn arbitrary_values_never_panic(
        index in 0usize..80,
        value in "(\"[^\"\\\\]{0,20}\"|-?[0-9]{1,19}|[0-9]\\.[0-9]{1,4}|true|\\[\"[$a-zé:/!.*\\[]{0,12}\"\\]|\\{ OU = \"[a-z]{0,3}\" \\}|\\[\\{ serial = \"0[0-9A-F]\" \\}\\])",
    ) {
        let all: Vec<&keys::Key> = [keys::CONDITIONS, keys::RULE].into_iter().flatten().collect();
        let name = all[index % all.len()].name;
        let limit = keys::LIMIT[index % keys::LIMIT.len()].name;
        for text in [format!("{name} = {value}\n"), format!("[[certificate_rule.limit]]\n{limit} = {value}\n")] {
            let _ = world::load(&with_rule(&text)).map_err(|found| found.to_string());
        }
    }
}

#[test]
fn example_in_the_reference_configuration_is_good() {
    let reference = shipped("config/estafette.toml");
    let (_, tables) = reference.split_once("#   [[certificate_rule]]").unwrap();
    let example: String = tables
        .lines()
        .filter_map(|line| line.strip_prefix("#   "))
        .map(|line| format!("{line}\n"))
        .collect();
    let text = with_rule("").replace("[[certificate_rule]]\nname = \"lab\"\n", "[[certificate_rule]]\n");
    let loaded = good(&format!("{text}{example}"));
    assert_eq!(loaded.settings.certificate_rules.len(), 1);
    assert_eq!(loaded.settings.certificate_rules[0].rule.limits.len(), 1);
}

#[test]
fn example_in_the_manual_is_good() {
    let manual = shipped("docs/directives.md");
    let (_, rest) = manual.split_once("```toml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let loaded = good(&format!("{TLS}{example}"));
    assert_eq!(loaded.settings.certificate_rules.len(), 1);
}
