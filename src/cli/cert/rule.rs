//! A rule for a certificate, ready to paste into the configuration.
//!
//! **Implements** `[[certificate_rule]]` as TOML with every value escaped, and Sendmail's `CERTISSUER:` and
//! `CERTSUBJECT:` as expressions that match this name and no longer one.

use crate::cert::certificate::Certificate;
use crate::cert::name::{DistinguishedName, is_printable, short_name};

/// A rule for the holder of a certificate; for a certification authority, one for whomever it issues certificates to.
pub(super) fn snippet(certificate: &Certificate) -> String {
    let head = format!(
        "[[certificate_rule]]\nname = {}\naction = \"permit\"\n",
        quoted(&rule_name(&certificate.subject))
    );
    if certificate.is_ca {
        return head + &for_issued_by(&certificate.subject);
    }
    head + &for_holder(certificate)
}

/// Everybody whose certificate this authority issued.
fn for_issued_by(authority: &DistinguishedName) -> String {
    let attributes = attributes("issuer", authority);
    let regex = expression(authority);
    format!(
        "{attributes}# Everybody with a certificate that it issued directly. The same by a regular expression:\n\
         # issuer_regex = {}\n# Or, in a list of restrictions instead of a rule:\n#   {}\n",
        quoted(&regex),
        quoted(&format!("CERTISSUER:{regex}"))
    )
}

/// Conditions on issuer and subject. Everything else that could be asked stands in comments behind them.
fn for_holder(certificate: &Certificate) -> String {
    let c = certificate;
    let mut text = String::new();
    for (key, name) in [("issuer", &c.issuer), ("subject", &c.subject)] {
        text.push_str(&attributes(key, name));
    }
    text.push_str("# Every attribute named must hold: leave CN out to let a whole OU in. These hold too:\n");
    for (key, name) in [("issuer_regex", &c.issuer), ("subject_regex", &c.subject)] {
        text.push_str(&format!("# {key} = {}\n", quoted(&expression(name))));
    }
    for (key, values) in [
        ("mail_address", &c.mail_addresses),
        ("dns_name", &c.dns_names),
        ("user_principal_name", &c.user_principal_names),
        ("extended_key_usage", &c.extended_key_usages),
        ("policy", &c.policies),
        ("key_usage", &c.key_usages),
        ("serial", &vec![c.serial.clone()]),
        ("fingerprint", &vec![c.fingerprint.clone()]),
        ("public_key_fingerprint", &vec![c.public_key_fingerprint.clone()]),
        ("key_algorithm", &vec![c.key_algorithm.clone()]),
    ] {
        // These three take globs: a `*` that the certificate holds would match others.
        let is_glob = key.ends_with("_address") || key.ends_with("_name");
        let would_match_others = is_glob && values.iter().any(|value| value.contains('*'));
        if !values.is_empty() && !would_match_others {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            text.push_str(&format!("# {key} = {}\n", one_or_many(&values)));
        }
    }
    if c.key_bits > 0 {
        text.push_str(&format!("# key_bits_min = {}\n", c.key_bits));
    }
    text.push_str("# Or, in a list of restrictions instead of a rule:\n");
    for (word, name) in [("CERTISSUER", &c.issuer), ("CERTSUBJECT", &c.subject)] {
        text.push_str(&format!("#   {}\n", quoted(&format!("{word}:{}", expression(name)))));
    }
    text
}

/// `cert-alice-martin`: a name of a rule must not be the name of a restriction.
fn rule_name(subject: &DistinguishedName) -> String {
    let name = subject.common_name().unwrap_or("holder").to_lowercase();
    let words: Vec<&str> = name
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    format!("cert-{}", words.join("-"))
}

/// `subject = { OU = "UMR5168", CN = "Alice Martin" }`; a type that stands several times has several values.
fn attributes(key: &str, name: &DistinguishedName) -> String {
    let mut types: Vec<&str> = Vec::new();
    for attribute in name.0.iter().flat_map(|rdn| &rdn.0) {
        if !types.contains(&attribute.oid.as_str()) {
            types.push(&attribute.oid);
        }
    }
    let pairs: Vec<String> = types
        .iter()
        .map(|oid| {
            let values: Vec<&str> = name.values(oid).collect();
            let short = short_name(oid);
            let bare = if short.contains('.') {
                quoted(short)
            } else {
                short.to_owned()
            };
            format!("{bare} = {}", one_or_many(&values))
        })
        .collect();
    if pairs.is_empty() {
        return String::new();
    }
    format!("{key} = {{ {} }}\n", pairs.join(", "))
}

fn one_or_many(values: &[&str]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| self::quoted(value)).collect();
    match quoted.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

/// An expression that matches the one-line text of this name and nothing else.
fn expression(name: &DistinguishedName) -> String {
    // A minus sign is special inside brackets only, and the names of authorities are full of them.
    let escaped = regex::escape(&name.one_line()).replace("\\-", "-");
    format!("^{escaped}$")
}

/// A basic string of TOML. Controls and marks that reorder text are written by their numbers.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if is_printable(c) => out.push(c),
            c => out.push_str(&format!("\\U{:08X}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::name::{Attribute, Rdn};
    use proptest::prelude::*;

    fn name(oids: &[&str], value: &str) -> DistinguishedName {
        let attribute = |oid: &&str| {
            Rdn(vec![Attribute {
                oid: (*oid).into(),
                value: value.into(),
            }])
        };
        DistinguishedName(oids.iter().map(attribute).collect())
    }

    proptest! {
        #[test]
        fn any_name_makes_toml_that_gives_its_values_back(value in any::<String>()) {
            let text = attributes("subject", &name(&["2.5.4.11", "1.2.3", "2.5.4.11"], &value));
            let table: toml::Table = text.parse().expect("TOML");
            prop_assert_eq!(table["subject"]["1.2.3"].as_str(), Some(value.as_str()));
            prop_assert_eq!(table["subject"]["OU"][1].as_str(), Some(value.as_str()));
        }

        #[test]
        fn any_name_makes_an_expression_that_matches_it_alone(value in any::<String>()) {
            let name = name(&["2.5.4.3"], &value);
            let line = name.one_line();
            let regex = regex::Regex::new(&expression(&name)).expect("a regex");
            prop_assert!(regex.is_match(&line));
            for longer in [format!("{line}x"), format!("x{line}"), format!("{line}\n")] {
                prop_assert!(!regex.is_match(&longer));
            }
        }
    }

    #[test]
    fn rule_is_named_after_the_holder() {
        assert_eq!(rule_name(&name(&["2.5.4.3"], "Alice  O'Martin")), "cert-alice-o-martin");
        assert_eq!(rule_name(&DistinguishedName::default()), "cert-holder");
    }
}
