//! `smtpd_tls_crl_issuer_policies`: what a missing or stale revocation list of a single issuer means.
//!
//! **Implements** strings such as `/C=FR/O=CNRS/CN=CNRS-Plus fail-closed 7d`: the issuer's one-line text, which may hold
//! spaces, a policy, and a grace time or none.

use std::time::Duration;

use super::error::Complaint;
use super::file::{Located, RawValue};
use super::nearest::nearest;
use super::reader::Reader;
use crate::cert::name::{oid_of, short_name};
use crate::io::tls::settings::OnUnknown;
use crate::time::parse_duration;

/// One issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerPolicy {
    /// Its one-line text.
    pub issuer: String,
    /// Whether its certificates count as verified without a list that is fresh.
    pub on_unknown: OnUnknown,
    /// Its grace time, when it has one of its own.
    pub grace: Option<Duration>,
}

const EXPECTED: &str = "an issuer and a policy, such as \"/C=FR/O=CNRS/CN=CNRS-Plus fail-closed 7d\"";

/// Reads an array of strings, or one string.
pub fn read(reader: &mut Reader<'_>, located: &Located) -> Option<Vec<IssuerPolicy>> {
    let elements = match &located.value {
        RawValue::List(elements) => elements.as_slice(),
        RawValue::Text(text) if text.trim().is_empty() => return Some(Vec::new()),
        _ => std::slice::from_ref(located),
    };
    let mut found: Vec<IssuerPolicy> = Vec::new();
    let mut is_whole = true;
    for element in elements {
        let Some(policy) = read_element(reader, element) else {
            is_whole = false;
            continue;
        };
        if found.iter().any(|other| other.issuer == policy.issuer) {
            let message = format!("\"{}\" stands twice", policy.issuer);
            let complaint = Complaint::new(message, "expected one policy for an issuer");
            reader.error(reader.place(&element.span), complaint.hint("take one of them out"));
            is_whole = false;
        }
        found.push(policy);
    }
    is_whole.then_some(found)
}

fn read_element(reader: &mut Reader<'_>, element: &Located) -> Option<IssuerPolicy> {
    let RawValue::Text(text) = &element.value else {
        return reader.mismatch(element, EXPECTED);
    };
    let (issuer, on_unknown, grace) = match split(text) {
        Ok(parts) => parts,
        Err(hint) => return reader.wrong(reader.place(&element.span), text, EXPECTED, Some(hint)),
    };
    if let Some(hint) = name_fault(issuer) {
        let expected = "an issuer's one-line text such as \"/C=FR/O=CNRS/CN=CNRS-Plus\"";
        return reader.wrong(reader.place(&element.span), issuer, expected, Some(hint));
    }
    Some(IssuerPolicy {
        issuer: issuer.into(),
        on_unknown,
        grace,
    })
}

/// The issuer, the policy and the grace time, from the end: only the issuer may hold spaces.
fn split(text: &str) -> Result<(&str, OnUnknown, Option<Duration>), String> {
    let missing = || "write fail-closed or fail-open behind the issuer".to_owned();
    let (head, last) = text.trim().rsplit_once(char::is_whitespace).ok_or_else(missing)?;
    if let Some(on_unknown) = policy(last) {
        return Ok((head.trim_end(), on_unknown, None));
    }
    let before = head.trim_end().rsplit_once(char::is_whitespace);
    let Some((issuer, on_unknown)) = before.and_then(|(issuer, word)| Some((issuer, policy(word)?))) else {
        let near = nearest(last, ["fail-closed", "fail-open"]).map(|near| format!("did you mean \"{near}\"?"));
        return Err(near.unwrap_or_else(missing));
    };
    match parse_duration(last) {
        Ok(grace) => Ok((issuer.trim_end(), on_unknown, Some(grace))),
        Err(error) => Err(format!("\"{last}\" is no grace time: {error}")),
    }
}

fn policy(word: &str) -> Option<OnUnknown> {
    match word {
        "fail-closed" => Some(OnUnknown::FailClosed),
        "fail-open" => Some(OnUnknown::FailOpen),
        _ => None,
    }
}

/// What to do about a text that no certificate's name is printed as; `None` when it is one.
fn name_fault(issuer: &str) -> Option<String> {
    let Some(rest) = issuer.strip_prefix('/') else {
        return Some(
            "write it in certificate order with / before each attribute; estafette cert show prints it".into(),
        );
    };
    for attribute in rest.split(['/', '+']) {
        let Some((name, _)) = attribute.split_once('=') else {
            return Some(format!(
                "\"{attribute}\" is no attribute; inside a value / is written \\2F, + is \\2B"
            ));
        };
        match oid_of(name).map(short_name) {
            Some(printed) if printed == name => {}
            Some(printed) => {
                return Some(format!(
                    "write {printed} instead of {name}, as certificates are printed"
                ));
            }
            None => return Some(format!("{name} is no attribute type")),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuer_with_spaces_is_split_from_its_policy_and_grace_time() {
        let grace = Some(Duration::from_hours(168));
        for (text, expected) in [
            ("/O=A B/CN=C D fail-open", ("/O=A B/CN=C D", OnUnknown::FailOpen, None)),
            ("/CN=A  fail-closed\t7d ", ("/CN=A", OnUnknown::FailClosed, grace)),
            (
                "/CN=fail-open 7d fail-open",
                ("/CN=fail-open 7d", OnUnknown::FailOpen, None),
            ),
        ] {
            assert_eq!(split(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "/CN=A",
            "/CN=A fail-opne",
            "/CN=A fail-open 7",
            "/CN=A fail-open soon",
            "fail-open",
        ] {
            assert!(split(text).is_err(), "{text}");
        }
    }

    #[test]
    fn name_that_no_certificate_is_printed_as_is_refused() {
        for name in ["/C=FR/O=CNRS/CN=CNRS-Plus", "/CN=x+UID=y", "/1.2.3=x", "/CN=a\\2Fb"] {
            assert_eq!(name_fault(name), None, "{name}");
        }
        for name in ["", "CN=CNRS-Plus,O=CNRS", "/C=FR/CNRS", "/E=a@b", "/cn=x", "/XX=y"] {
            assert!(name_fault(name).is_some(), "{name}");
        }
    }
}
