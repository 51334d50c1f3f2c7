//! Names that are no directive, not yet one, or in the wrong place.

use super::directives::kind::Place;
use super::directives::{self, later};
use super::error::{Complaint, Findings};
use super::file::{RawFile, RawTable, RawValue};
use super::listener::KEYS;
use super::nearest::nearest;

/// Checks every key of the file.
pub fn check(file: &RawFile, findings: &mut Findings) {
    let classes = classes(&file.directives);
    check_table(&file.directives, None, &classes, findings);
    for listener in &file.listeners {
        let mut classes = classes.clone();
        classes.extend(self::classes(&listener.table));
        check_table(&listener.table, Some(&KEYS), &classes, findings);
    }
}

/// The keys that `smtpd_restriction_classes` names, as in main.cf.
fn classes(table: &RawTable) -> Vec<String> {
    match table.get("smtpd_restriction_classes").map(|located| &located.value) {
        None | Some(RawValue::Table(_)) => Vec::new(),
        Some(names) => {
            let names = names.as_reference();
            let names = names.split(|c: char| c == ',' || c.is_whitespace());
            names.map(str::to_owned).collect()
        }
    }
}

/// `own` are the keys that only a listener has; `None` at the top.
fn check_table(table: &RawTable, own: Option<&[&'static str]>, classes: &[String], findings: &mut Findings) {
    for (key, span, _) in table.iter() {
        if own.is_some_and(|own| own.contains(&key)) {
            continue;
        }
        let is_class = directives::find(key).is_none() && classes.iter().any(|class| class == key);
        if is_class {
            continue;
        }
        let complaint = match directives::find(key) {
            Some(directive) if own.is_some() && directive.place == Place::Global => {
                Complaint::new("holds for all listeners", "expected before the first [[listener]]")
                    .hint("move it to the top of the file")
            }
            Some(_) => continue,
            None if later::DIRECTIVES.iter().any(|known| known.name == key) => not_yet(key),
            None => unknown(key, own),
        };
        findings.error(key, Some(span.clone()), complaint);
    }
}

fn not_yet(key: &str) -> Complaint {
    let instead = match key {
        "smtpd_tls_chain_files" => "write smtpd_tls_cert_file and smtpd_tls_key_file instead",
        "smtp_tls_chain_files" => "write smtp_tls_cert_file and smtp_tls_key_file instead",
        "smtp_destination_concurrency_limit" => "write default_destination_concurrency_limit instead",
        "smtp_tls_policy_maps" => "write smtp_tls_security_level for all destinations instead",
        "transport_maps" => "write relayhost for all destinations instead",
        _ => "take it out; what it would do is not done",
    };
    Complaint::new("known, but not supported yet", "not supported by this version").hint(instead)
}

fn unknown(key: &str, own: Option<&[&'static str]>) -> Complaint {
    let names = directives::names().chain(own.unwrap_or_default().iter().copied());
    let hint = match nearest(key, names) {
        Some(near) => format!("did you mean {near}?"),
        None if key == "certificate_rule" => {
            "write [[certificate_rule]] on a line of its own: rules belong to no listener, the lists that name them do"
                .into()
        }
        None if KEYS.contains(&key) => "it belongs into a [[listener]] table".into(),
        None => "docs/directives.md lists the names".into(),
    };
    Complaint::new("not a directive", "expected the name of a directive").hint(hint)
}
