//! What a rule wants a certificate to hold, as far as it can be read off the rule: the values an outsider would forge.
//!
//! **Implements** the conditions of a `[[certificate_rule]]`, and the attributes and literals of a regular expression over
//! the one-line text.
//! **Does not** find a text that matches every expression: a value that goes on behind its literal (`UMR[0-9]+`) is known by
//! its beginning only.

use regex::Regex;

use crate::cert::certificate::{Certificate, NameOf};
use crate::cert::name::oid_of;
use crate::policy::certificate_rule::{AlternativeName, Condition};
use crate::policy::restriction::Restriction;

/// The most ways through the `any` conditions of one rule that are looked at.
const WAYS_MAX: usize = 64;

/// What one rule wants, one way through its alternatives.
#[derive(Clone, Debug, Default)]
pub(super) struct Mention {
    /// Of the subject, in the rule's order.
    pub(super) subject: Vec<Wanted>,
    /// Of the issuer.
    pub(super) issuer: Vec<Wanted>,
    /// Literals that stand for no attribute.
    pub(super) texts: Vec<String>,
    /// Alternative names, as globs.
    pub(super) alternative_names: Vec<(AlternativeName, Vec<String>)>,
    extended_key_usages: Vec<String>,
    policies: Vec<String>,
    key_usages: Vec<String>,
    key_algorithm: Option<String>,
    key_bits: u32,
}

/// An attribute and the values that would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Dotted OID.
    pub(super) oid: String,
    /// At least one.
    pub(super) values: Vec<String>,
    /// Whether the values are whole: nothing in the rule goes on behind them.
    pub(super) is_whole: bool,
}

impl Mention {
    /// What the restriction wants; empty when it looks at no name.
    pub(super) fn of(restriction: &Restriction) -> Vec<Self> {
        match restriction {
            Restriction::Certificate(rule) => {
                let mut mention = Self::default();
                for (of, regex) in [(NameOf::Issuer, &rule.issuer), (NameOf::Subject, &rule.subject)] {
                    if let Some(regex) = regex {
                        mention.read_regex(of, regex);
                    }
                }
                vec![mention]
            }
            Restriction::Rule(rule) => expand(vec![Self::default()], &rule.conditions),
            _ => Vec::new(),
        }
    }

    /// Gives a certificate what the rule wants beside names: anybody can ask an authority for that much.
    pub(super) fn equip(&self, certificate: &mut Certificate) {
        certificate
            .extended_key_usages
            .extend(self.extended_key_usages.iter().cloned());
        certificate.policies.extend(self.policies.iter().cloned());
        certificate.key_usages.extend(self.key_usages.iter().cloned());
        if let Some(algorithm) = &self.key_algorithm {
            certificate.key_algorithm.clone_from(algorithm);
        }
        certificate.key_bits = certificate.key_bits.max(self.key_bits);
    }

    fn names(&mut self, of: NameOf) -> &mut Vec<Wanted> {
        match of {
            NameOf::Issuer => &mut self.issuer,
            NameOf::Subject => &mut self.subject,
        }
    }

    /// Adds a condition that has no alternatives.
    fn add(&mut self, condition: &Condition) {
        match condition {
            Condition::Attribute { of, attribute, any_of } => {
                if let Some(oid) = oid_of(attribute).filter(|_| !any_of.is_empty()) {
                    let wanted = Wanted {
                        oid: oid.to_owned(),
                        values: any_of.clone(),
                        is_whole: true,
                    };
                    self.names(*of).push(wanted);
                }
            }
            Condition::Text { of, regex } => self.read_regex(*of, regex),
            Condition::AlternativeName { kind, any_of } if !any_of.is_empty() => {
                self.alternative_names.push((*kind, any_of.clone()));
            }
            Condition::ExtendedKeyUsage(oids) => self.extended_key_usages.extend(oids.iter().cloned()),
            Condition::Policy(oids) => self.policies.extend(oids.iter().cloned()),
            Condition::KeyUsage(names) => self.key_usages.extend(names.iter().cloned()),
            Condition::KeyAlgorithm(names) => self.key_algorithm = names.first().cloned(),
            Condition::KeyBitsMin(bits) => self.key_bits = self.key_bits.max(*bits),
            // What is known of one certificate only, and what a stranger satisfies by holding nothing.
            Condition::AlternativeName { .. }
            | Condition::Serial(_)
            | Condition::Fingerprint(_)
            | Condition::PublicKeyFingerprint(_)
            | Condition::IssuedBy { .. }
            | Condition::ValidForSeconds(_)
            | Condition::Not(_)
            | Condition::Any(_) => {}
        }
    }

    fn read_regex(&mut self, of: NameOf, regex: &Regex) {
        let (wanted, texts) = read_expression(regex.as_str());
        self.names(of).extend(wanted);
        self.texts.extend(texts);
    }
}

/// Every way through the conditions.
fn expand(mut ways: Vec<Mention>, conditions: &[Condition]) -> Vec<Mention> {
    for condition in conditions {
        if let Condition::Any(alternatives) = condition {
            let all = alternatives
                .iter()
                .flat_map(|inside| expand(ways.clone(), inside))
                .take(WAYS_MAX);
            ways = all.collect();
        } else {
            for way in &mut ways {
                way.add(condition);
            }
        }
    }
    ways
}

/// A run of literal characters of an expression, and whether something may go on behind it.
#[derive(Debug, Default)]
struct Literal {
    text: String,
    goes_on: bool,
}

/// The attributes of an expression with their values, and the literals without an attribute.
fn read_expression(expression: &str) -> (Vec<Wanted>, Vec<String>) {
    let mut wanted: Vec<Wanted> = Vec::new();
    let mut texts = Vec::new();
    // An attribute whose values stand in an alternation behind it: `/OU=(A|B)`.
    let mut open: Option<String> = None;
    for literal in literals(expression) {
        let pieces: Vec<&str> = literal.text.split(['/', '+']).collect();
        for (n, piece) in pieces.iter().enumerate() {
            if n > 0 {
                open = None;
            }
            let mut attribute = piece.split_once('=').and_then(|(name, _)| oid_of(name));
            // Behind an attribute's name, or what is left of one.
            let value = piece.rsplit_once('=').map_or(*piece, |(_, value)| value);
            if let Some(oid) = attribute.filter(|_| value.is_empty()) {
                open = Some(oid.to_owned());
            }
            if value.len() < 2 && attribute.is_none() || value.is_empty() {
                continue;
            }
            attribute = attribute.or(open.as_deref());
            match (attribute, wanted.last_mut()) {
                (Some(oid), Some(last)) if open.is_some() && last.oid == oid => last.values.push(value.to_owned()),
                (Some(oid), _) => wanted.push(Wanted {
                    oid: oid.to_owned(),
                    values: vec![value.to_owned()],
                    is_whole: n + 1 < pieces.len() || !literal.goes_on,
                }),
                (None, _) => texts.push(value.to_owned()),
            }
        }
    }
    (wanted, texts)
}

/// The literal runs of an expression, in order. Classes and repetitions end a run; a character that may be absent is not
/// part of it.
fn literals(expression: &str) -> Vec<Literal> {
    let mut all = vec![Literal::default()];
    let end = |all: &mut Vec<Literal>, goes_on: bool| {
        if let Some(last) = all.last_mut() {
            last.goes_on = goes_on;
        }
        all.push(Literal::default());
    };
    let mut characters = expression.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => match characters.next() {
                Some(escaped) if !escaped.is_ascii_alphanumeric() => push(&mut all, escaped),
                Some('b' | 'A' | 'z') | None => end(&mut all, false),
                Some(_) => end(&mut all, true),
            },
            '*' | '?' | '{' => {
                if let Some(last) = all.last_mut() {
                    last.text.pop();
                }
                end(&mut all, true);
                if c == '{' {
                    let _ = characters.by_ref().find(|c| *c == '}');
                }
            }
            '+' | '.' => end(&mut all, true),
            '[' => {
                end(&mut all, true);
                let _ = characters.by_ref().find(|c| *c == ']');
            }
            '^' | '$' | '(' | ')' | '|' => end(&mut all, false),
            c => push(&mut all, c),
        }
    }
    all.retain(|literal| !literal.text.is_empty());
    all
}

fn push(all: &mut [Literal], c: char) {
    if let Some(last) = all.last_mut() {
        last.text.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_and_literals_of_expressions_are_read() {
        let read = |expression: &str| {
            let (wanted, texts) = read_expression(expression);
            let shown = wanted.iter().map(|w| {
                let end = if w.is_whole { "" } else { ".." };
                format!("{}={}{end}", crate::cert::name::short_name(&w.oid), w.values.join("|"))
            });
            format!("{} {}", shown.collect::<Vec<_>>().join(" "), texts.join(" "))
        };
        for (expression, shown) in [
            ("^/C=FR/O=CNRS/CN=CNRS-Plus$", "C=FR O=CNRS CN=CNRS-Plus "),
            ("/OU=UMR5168(/|$)", "OU=UMR5168 "),
            ("/OU=(UMR5168|UMR7638)/", "OU=UMR5168|UMR7638 "),
            ("/OU=UMR[0-9]+/", "OU=UMR.. "),
            ("UMR5168", " UMR5168"),
            ("/O=Caf\\.e/", "O=Caf.e "),
            ("/OU=UMR5168?/CN=", "OU=UMR516.. "),
        ] {
            assert_eq!(read(expression), shown, "{expression}");
        }
    }
}
