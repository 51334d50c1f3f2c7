//! Restriction lists: words and certificate rules, each with its place.
//!
//! **Implements** the words of [`Restriction`], Sendmail's `CERTISSUER:` and `CERTSUBJECT:` lines with regular
//! expressions, and inline tables when both must hold.
//! **Does not** judge whether a list is safe: `list_checks` does.

use std::sync::Arc;

use regex::Regex;

use super::error::{Complaint, Span};
use super::expand::expand;
use super::file::{Located, RawTable, RawValue};
use super::name_regex;
use super::nearest::nearest;
use super::reader::{Reader, Word};
use crate::policy::restriction::{Action, CertificateMatch, Restriction};
use crate::policy::sender_binding::SenderBinding;

/// One restriction and where it is written.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The restriction.
    pub restriction: Restriction,
    /// Its place; `None` in a default.
    pub span: Option<Span>,
}

/// The word that looks at a directive too.
const SENDER_MISMATCH: &str = "reject_sender_certificate_mismatch";

/// The other words that work.
const WORDS: [(&str, Restriction); 11] = [
    ("permit_mynetworks", Restriction::PermitMynetworks),
    ("permit_tls_all_clientcerts", Restriction::PermitTlsAllClientcerts),
    ("permit_tls_clientcerts", Restriction::PermitTlsClientcerts),
    ("permit_sasl_authenticated", Restriction::PermitSaslAuthenticated),
    ("permit_auth_destination", Restriction::PermitAuthDestination),
    ("reject_unauth_destination", Restriction::RejectUnauthDestination),
    ("defer_unauth_destination", Restriction::DeferUnauthDestination),
    ("check_relay_domains", Restriction::CheckRelayDomains),
    ("permit", Restriction::Permit),
    ("reject", Restriction::Reject),
    ("defer", Restriction::Defer),
];

/// Words of Postfix that do not work yet.
const LATER: [&str; 40] = [
    "check_ccert_access",
    "check_cert",
    "check_client_access",
    "check_client_a_access",
    "check_client_mx_access",
    "check_client_ns_access",
    "check_etrn_access",
    "check_helo_access",
    "check_helo_mx_access",
    "check_helo_ns_access",
    "check_policy_service",
    "check_recipient_access",
    "check_recipient_mx_access",
    "check_recipient_ns_access",
    "check_reverse_client_hostname_access",
    "check_sasl_access",
    "check_sender_access",
    "check_sender_mx_access",
    "check_sender_ns_access",
    "defer_if_permit",
    "defer_if_reject",
    "permit_inet_interfaces",
    "permit_mx_backup",
    "permit_naked_ip_address",
    "reject_invalid_helo_hostname",
    "reject_invalid_hostname",
    "reject_multi_recipient_bounce",
    "reject_non_fqdn_helo_hostname",
    "reject_non_fqdn_hostname",
    "reject_non_fqdn_recipient",
    "reject_non_fqdn_sender",
    "reject_rbl_client",
    "reject_sender_login_mismatch",
    "reject_unauth_pipelining",
    "reject_unknown_client_hostname",
    "reject_unknown_recipient_domain",
    "reject_unknown_sender_domain",
    "reject_unlisted_recipient",
    "reject_unlisted_sender",
    "warn_if_reject",
];

const EXPECTED: &str = "expected a restriction such as \"permit_mynetworks\", \"CERTISSUER:<regex>\" or \"reject\", or the name of a \
                        [[certificate_rule]]";

/// Whether a word has a meaning in restriction lists, so that nothing else can be called that.
pub fn is_known_word(word: &str) -> bool {
    let sendmail = ["CERTISSUER", "CERTSUBJECT"];
    names().any(|known| known == word) || sendmail.contains(&word)
}

fn names() -> impl Iterator<Item = &'static str> {
    let words = WORDS.iter().map(|(word, _)| *word);
    words.chain([SENDER_MISMATCH]).chain(LATER)
}

/// Reads a restriction list: an array of strings and inline tables, or one string as in main.cf.
pub fn read(reader: &mut Reader<'_>, located: &Located) -> Option<Vec<Listed>> {
    match &located.value {
        RawValue::Text(text) if text.contains("CERTISSUER:") || text.contains("CERTSUBJECT:") => {
            let complaint = Complaint::new(
                "a certificate rule inside one long string",
                "expected an array of strings",
            );
            let hint = "write [\"permit_mynetworks\", \"CERTISSUER:...\", \"reject\"]: a regular expression may hold \
                        commas and spaces";
            reader.error(reader.place(&located.span), complaint.hint(hint));
            None
        }
        RawValue::Text(_) => read_elements(reader, std::slice::from_ref(located)),
        RawValue::List(elements) => read_elements(reader, elements),
        _ => reader.mismatch(located, "an array of restrictions"),
    }
}

/// Reads all elements, so that every fault is found; nothing when one was wrong.
fn read_elements(reader: &mut Reader<'_>, elements: &[Located]) -> Option<Vec<Listed>> {
    let mut list = Vec::new();
    let mut is_whole = true;
    for element in elements {
        match read_element(reader, element) {
            Some(mut found) => list.append(&mut found),
            None => is_whole = false,
        }
    }
    is_whole.then_some(list)
}

fn read_element(reader: &mut Reader<'_>, element: &Located) -> Option<Vec<Listed>> {
    let span = reader.place(&element.span);
    let restriction = match &element.value {
        RawValue::Table(table) => from_table(reader, table, &element.span)?,
        RawValue::Text(text) => {
            let trimmed = text.trim();
            let issuer = trimmed.strip_prefix("CERTISSUER:");
            let Some(rule) = issuer.or_else(|| trimmed.strip_prefix("CERTSUBJECT:")) else {
                return from_words(reader, text, &element.span);
            };
            from_access_line(reader, rule, issuer.is_some(), &element.span)?
        }
        _ => return reader.mismatch(element, "a restriction: a string or an inline table"),
    };
    Some(vec![Listed { restriction, span }])
}

fn from_words(reader: &mut Reader<'_>, text: &str, span: &Span) -> Option<Vec<Listed>> {
    let words = reader.split(text, span)?;
    let mut list = Vec::new();
    let mut is_whole = true;
    for word in &words {
        match from_word(reader, &word.text) {
            Found::Restriction(restriction) => {
                if matches!(restriction, Restriction::CheckRelayDomains) {
                    warn_check_relay_domains(reader, word);
                }
                list.push(Listed {
                    restriction,
                    span: word.span.clone(),
                });
            }
            Found::WrongRule => is_whole = false,
            Found::Nothing => {
                is_whole = false;
                complain_of_word(reader, word);
                if takes_argument(&word.text) {
                    break;
                }
            }
        }
    }
    is_whole.then_some(list)
}

/// What a word of a list leads to.
enum Found {
    Restriction(Restriction),
    /// A certificate rule with an error, which is said where the rule is.
    WrongRule,
    Nothing,
}

fn from_word(reader: &Reader<'_>, text: &str) -> Found {
    if text == SENDER_MISMATCH {
        return Found::Restriction(Restriction::RejectSenderCertificateMismatch(Arc::new(SenderBinding {
            rule: SENDER_MISMATCH.into(),
            certificate_addresses: true,
            allows_null_sender: allows_null_sender(reader),
            ..SenderBinding::default()
        })));
    }
    if let Some((_, restriction)) = WORDS.iter().find(|(word, _)| *word == text) {
        return Found::Restriction(restriction.clone());
    }
    match reader.rules.get(text) {
        Some(defined) => match defined.rule(allows_null_sender(reader)) {
            Some(rule) => Found::Restriction(Restriction::Rule(rule)),
            None => Found::WrongRule,
        },
        None => Found::Nothing,
    }
}

/// `smtpd_certificate_null_sender` where the list is asked; a wrong value has its own error.
fn allows_null_sender(reader: &Reader<'_>) -> bool {
    const KEY: &str = "smtpd_certificate_null_sender";
    let text = (reader.lookup)(KEY).and_then(|text| expand(&text, reader.lookup, &mut vec![KEY.to_owned()]).ok());
    text.is_some_and(|text| text.trim() == "permit")
}

/// Whether the next word belongs to this one (`check_client_access hash:...`, `warn_if_reject ...`).
fn takes_argument(word: &str) -> bool {
    (word.starts_with("check_") && LATER.contains(&word)) || matches!(word, "reject_rbl_client" | "warn_if_reject")
}

fn complain_of_word(reader: &mut Reader<'_>, word: &Word) {
    let text = word.text.as_str();
    let complaint = if LATER.contains(&text) {
        Complaint::new(format!("\"{text}\" is known, but not supported yet"), EXPECTED)
            .hint("take it out; what it would have permitted is then not permitted")
    } else {
        let mut names: Vec<&str> = names().chain(["CERTISSUER:", "CERTSUBJECT:"]).collect();
        names.extend(reader.rules.names());
        let near = nearest(text, names);
        Complaint::new(format!("\"{text}\" is not a restriction"), EXPECTED)
            .maybe_hint(near.map(|near| format!("did you mean \"{near}\"?")))
    };
    reader.error(word.span.clone(), complaint);
}

fn warn_check_relay_domains(reader: &mut Reader<'_>, word: &Word) {
    let complaint = Complaint::new(
        "\"check_relay_domains\" is an old word, removed from Postfix in 3.9",
        "permits authorised destinations, rejects all others",
    );
    let hint = "write \"reject_unauth_destination\", which Postfix kept; here a list must also decide at its end: \
                \"permit_auth_destination\", \"reject\"";
    reader.warning(word.span.clone(), complaint.hint(hint));
}

/// What follows `CERTISSUER:` or `CERTSUBJECT:`; the value column of Sendmail's access file may stand behind it.
fn from_access_line(reader: &mut Reader<'_>, rule: &str, is_issuer: bool, span: &Span) -> Option<Restriction> {
    let pattern = match rule.rsplit_once(char::is_whitespace) {
        Some((key, "RELAY")) => sendmail_key(key.trim_end()),
        Some((_, "SUBJECT")) => {
            let complaint = Complaint::new("SUBJECT is not supported here", "expected RELAY or nothing");
            let hint = "write { CERTISSUER = \"...\", CERTSUBJECT = \"...\" }: both must match";
            reader.error(reader.place(span), complaint.hint(hint));
            return None;
        }
        _ => rule.to_owned(),
    };
    let regex = Some(name_regex::read(reader, &pattern, span)?);
    let (issuer, subject) = if is_issuer { (regex, None) } else { (None, regex) };
    Some(Restriction::Certificate(CertificateMatch {
        issuer,
        subject,
        action: Action::Permit,
    }))
}

/// A key of Sendmail's access file is a whole name; one that is written as an expression stays one.
fn sendmail_key(key: &str) -> String {
    const SPECIAL: [char; 13] = ['^', '$', '*', '+', '?', '(', ')', '[', ']', '{', '}', '|', '\\'];
    if key.starts_with('/') && !key.contains(SPECIAL) {
        format!("^{}$", key.replace('.', r"\."))
    } else {
        key.to_owned()
    }
}

fn from_table(reader: &mut Reader<'_>, table: &RawTable, span: &Span) -> Option<Restriction> {
    const KEYS: [&str; 3] = ["CERTISSUER", "CERTSUBJECT", "action"];
    let mut is_whole = true;
    for (key, key_span, _) in table.iter().filter(|(key, ..)| !KEYS.contains(key)) {
        is_whole = false;
        let hint = nearest(key, KEYS).map(|near| format!("did you mean {near}?"));
        let complaint = Complaint::new(format!("\"{key}\" is not a key of a certificate rule"), EXPECTED_TABLE);
        reader.error(reader.place(key_span), complaint.maybe_hint(hint));
    }
    let issuer = table.get("CERTISSUER").map(|located| table_regex(reader, located));
    let subject = table.get("CERTSUBJECT").map(|located| table_regex(reader, located));
    let action = table.get("action").map_or(Some(Action::Permit), |l| action(reader, l));
    if issuer.is_none() && subject.is_none() && is_whole {
        let complaint = Complaint::new("neither CERTISSUER nor CERTSUBJECT is given", EXPECTED_TABLE);
        reader.error(reader.place(span), complaint);
        return None;
    }
    let rule = CertificateMatch {
        issuer: issuer.map_or(Some(None), |found| found.map(Some))?,
        subject: subject.map_or(Some(None), |found| found.map(Some))?,
        action: action?,
    };
    is_whole.then_some(Restriction::Certificate(rule))
}

const EXPECTED_TABLE: &str =
    "expected { CERTISSUER = \"<regex>\", CERTSUBJECT = \"<regex>\", action = \"permit\" | \"reject\" | \"defer\" }";

fn table_regex(reader: &mut Reader<'_>, located: &Located) -> Option<Regex> {
    match &located.value {
        RawValue::Text(text) => name_regex::read(reader, text.trim(), &located.span),
        _ => reader.mismatch(located, "a regular expression in a string"),
    }
}

fn action(reader: &mut Reader<'_>, located: &Located) -> Option<Action> {
    let RawValue::Text(text) = &located.value else {
        return reader.mismatch(located, "\"permit\", \"reject\" or \"defer\"");
    };
    match text.as_str() {
        "permit" | "RELAY" => Some(Action::Permit),
        "reject" => Some(Action::Reject),
        "defer" => Some(Action::Defer),
        _ => {
            let near = nearest(text, ["permit", "reject", "defer"]).map(|near| format!("did you mean \"{near}\"?"));
            reader.wrong(
                reader.place(&located.span),
                text,
                "\"permit\", \"reject\" or \"defer\"",
                near,
            )
        }
    }
}
