//! The words of restriction lists: those that work, old spellings, those that do not work yet.
//!
//! **Does not** know classes, nor what stands behind a word: `restrictions` and `restriction_arguments` do.

use std::sync::Arc;

use super::error::{Complaint, Span};
use super::expand::expand;
use super::nearest::nearest;
use super::reader::{Reader, Word};
use super::restriction_arguments as arguments;
use crate::policy::restriction::Restriction;
use crate::policy::sender_binding::SenderBinding;
use crate::policy::word;

/// One restriction and where it is written.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The restriction.
    pub restriction: Restriction,
    /// Its place; `None` in a default.
    pub span: Option<Span>,
}

impl Listed {
    /// The restriction and what stands in it.
    pub(super) fn with_inner(&self) -> impl Iterator<Item = &Restriction> {
        self.restriction.with_inner().into_iter()
    }
}

/// The word that looks at a directive too.
const SENDER_MISMATCH: &str = "reject_sender_certificate_mismatch";

/// The word that belongs to the restriction behind it.
pub(super) const WARN_IF_REJECT: &str = "warn_if_reject";

/// Old spellings that Postfix still knows, and what they are called now.
const OLD: [(&str, &str); 4] = [
    ("reject_invalid_hostname", "reject_invalid_helo_hostname"),
    ("reject_non_fqdn_hostname", "reject_non_fqdn_helo_hostname"),
    ("reject_unknown_client", "reject_unknown_client_hostname"),
    ("reject_unknown_hostname", "reject_unknown_helo_hostname"),
];

/// Words of Postfix that do not work yet.
const LATER: [&str; 14] = [
    "check_cert",
    "check_client_a_access",
    "check_client_mx_access",
    "check_client_ns_access",
    "check_etrn_access",
    "check_helo_mx_access",
    "check_helo_ns_access",
    "check_recipient_mx_access",
    "check_recipient_ns_access",
    "check_sender_mx_access",
    "check_sender_ns_access",
    "permit_mx_backup",
    "permit_naked_ip_address",
    "sleep",
];

const EXPECTED: &str = "expected a restriction such as \"permit_mynetworks\", \"CERTISSUER:<regex>\" or \"reject\", or the name of a \
                        [[certificate_rule]]";

/// Whether a word has a meaning in restriction lists, so that nothing else can be called that.
pub fn is_known_word(word: &str) -> bool {
    let sendmail = ["CERTISSUER", "CERTSUBJECT"];
    names().any(|known| known == word) || sendmail.contains(&word)
}

fn names() -> impl Iterator<Item = &'static str> {
    let words = Restriction::SIMPLE.iter().map(|restriction| restriction.0);
    let more = word::Word::ALL.into_iter().map(word::Word::name);
    words
        .chain(more)
        .chain(arguments::names())
        .chain([SENDER_MISMATCH, WARN_IF_REJECT])
        .chain(OLD.into_iter().map(|(old, _)| old))
        .chain(LATER)
}

/// What a word of a list leads to.
pub(super) enum Found {
    Restriction(Restriction),
    /// A certificate rule with an error, which is said where the rule is.
    Wrong,
    Nothing,
}

/// The restriction that is one word, or the certificate rule of that name.
pub(super) fn find(reader: &mut Reader<'_>, word: &Word) -> Found {
    let mut text = word.text.as_str();
    if let Some((_, now)) = OLD.iter().find(|(old, _)| *old == text) {
        let complaint = Complaint::new(format!("\"{text}\" is an old word"), format!("means \"{now}\""));
        reader.warning(word.span.clone(), complaint.hint(format!("write \"{now}\"")));
        text = now;
    }
    if text == SENDER_MISMATCH {
        return Found::Restriction(Restriction::RejectSenderCertificateMismatch(Arc::new(SenderBinding {
            rule: SENDER_MISMATCH.into(),
            certificate_addresses: true,
            allows_null_sender: allows_null_sender(reader),
            ..SenderBinding::default()
        })));
    }
    if let Some(restriction) = Restriction::simple(text) {
        if matches!(restriction, Restriction::CheckRelayDomains) {
            warn_check_relay_domains(reader, word);
        }
        return Found::Restriction(restriction);
    }
    match reader.rules.get(text) {
        Some(defined) => match defined.rule(allows_null_sender(reader)) {
            Some(rule) => Found::Restriction(Restriction::Rule(rule)),
            None => Found::Wrong,
        },
        None => Found::Nothing,
    }
}

/// `smtpd_certificate_null_sender` where the list is asked; a wrong value has its own error.
pub(super) fn allows_null_sender(reader: &Reader<'_>) -> bool {
    const KEY: &str = "smtpd_certificate_null_sender";
    let text = (reader.lookup)(KEY).and_then(|text| expand(&text, reader.lookup, &mut vec![KEY.to_owned()]).ok());
    text.is_some_and(|text| text.trim() == "permit")
}

/// Whether the next word belongs to this one, which does not work yet.
pub(super) fn is_later_with_argument(word: &str) -> bool {
    (word.starts_with("check_") || word == "sleep") && LATER.contains(&word)
}

/// A word that is none.
pub(super) fn complain(reader: &mut Reader<'_>, word: &Word) {
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
