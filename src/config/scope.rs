//! The directives as one listener sees them: its own table over the file's top over the defaults.
//!
//! **Implements** the override of master.cf's `-o`, and the three values that Postfix computes when they are not set:
//! `myhostname`, `mydomain`, `mynetworks`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::certificate_rules::defined::RuleSet;
use super::classes::Classes;
use super::directives::{self, kind::Directive};
use super::environment::Environment;
use super::error::{Complaint, Findings, Span};
use super::file::{Located, RawTable, RawValue, read_value};
use super::issuer_policies::IssuerPolicy;
use super::milters::ListedMilter;
use super::reader::Reader;
use super::restriction_words::Listed;
use super::restrictions::Named;
use super::value::{self, ListedDomain, Value};
use crate::net::NextHop;
use crate::policy::restriction::Restriction;
use crate::policy::table::Table;
use crate::session::extension::Extensions;

/// The defaults, read from the table of directives once.
#[derive(Debug)]
pub struct Defaults(BTreeMap<&'static str, Located>);

impl Defaults {
    /// Reads them.
    pub fn read() -> Self {
        let located = |directive: &Directive| Some((directive.name, read_value(directive.default)?));
        Self(directives::implemented().filter_map(located).collect())
    }
}

/// What the unchecked values come from.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    /// The listener's own table.
    pub own: Option<&'a RawTable>,
    /// The top of the file.
    pub top: &'a RawTable,
    /// What nobody wrote.
    pub defaults: &'a Defaults,
    /// The machine.
    pub environment: &'a Environment,
    /// The directory of the file.
    pub directory: &'a Path,
    /// The certificate rules that restriction lists may name.
    pub rules: &'a RuleSet,
}

impl<'a> Layers<'a> {
    fn written(&self, name: &str) -> Option<(Span, &'a Located)> {
        let own = self.own.and_then(|own| Some((own.key_span(name)?, own.get(name)?)));
        own.or_else(|| Some((self.top.key_span(name)?, self.top.get(name)?)))
    }

    fn raw(&self, name: &str) -> Option<&'a Located> {
        let default = || self.defaults.0.get(name);
        self.written(name).map(|(_, located)| located).or_else(default)
    }

    /// The list of a restriction class: in the table of classes, or as a key of its own where its name is listed.
    fn class(&self, name: &str) -> Option<&'a Located> {
        let located = self.raw("smtpd_restriction_classes")?;
        if let RawValue::Table(table) = &located.value {
            return table.get(name);
        }
        let names = located.value.as_reference();
        let mut names = names.split(|c: char| c == ',' || c.is_whitespace());
        names
            .any(|listed| listed == name)
            .then(|| self.written(name))?
            .map(|(_, located)| located)
    }

    /// The unexpanded text of a directive, as `$name` refers to it.
    pub fn text(&self, name: &str) -> Option<String> {
        if name == "mail_name" {
            return Some("Estafette".into());
        }
        let located = self.raw(name)?;
        let text = located.value.as_reference();
        if !text.trim().is_empty() || located.value.kind() != "a string" {
            return Some(text);
        }
        Some(match name {
            "myhostname" => self.environment.hostname.clone(),
            "mydomain" => parent_domain(&self.text("myhostname")?),
            "mynetworks" => {
                let style = self.text("mynetworks_style")?;
                let networks = self.environment.networks(&style).unwrap_or_default();
                let texts: Vec<String> = networks.iter().map(ToString::to_string).collect();
                texts.join(", ")
            }
            _ => String::new(),
        })
    }
}

/// A host name without its first label; a name of one label has no parent and stands for itself.
fn parent_domain(name: &str) -> String {
    match name.split_once('.') {
        Some((_, parent)) if parent.contains('.') => parent.into(),
        _ => name.into(),
    }
}

/// All directives of one scope, read and typed.
#[derive(Debug)]
pub struct Scope {
    values: BTreeMap<&'static str, Entry>,
}

#[derive(Debug)]
struct Entry {
    value: Option<Value>,
    /// Where the value is written, when it is.
    span: Option<Span>,
    /// Whether it is written in the listener's own table.
    is_own: bool,
}

impl Scope {
    /// Reads every directive; what is wrong goes to the findings and counts as not set.
    pub fn read(layers: &Layers<'_>, findings: &mut Findings) -> Self {
        let names: Vec<&'static str> = directives::implemented().map(|directive| directive.name).collect();
        let lookup = |name: &str| layers.text(name);
        let class = |name: &str| layers.class(name).cloned();
        let classes = Classes::new(&class);
        let mut values = BTreeMap::new();
        for directive in directives::implemented() {
            let Some(located) = layers.raw(directive.name) else {
                continue;
            };
            let written = layers.written(directive.name);
            let mut reader = Reader {
                key: directive.name,
                in_file: written.is_some(),
                lookup: &lookup,
                names: &names,
                directory: layers.directory,
                rules: layers.rules,
                classes: Some(&classes),
                findings,
            };
            let value = value::read(&mut reader, directive.kind, located);
            let span = written.map(|(_, located)| located.span.clone());
            let is_own = layers.own.is_some_and(|own| own.get(directive.name).is_some());
            values.insert(directive.name, Entry { value, span, is_own });
        }
        let mut scope = Self { values };
        scope.compute(layers, findings);
        scope
    }

    /// Fills in what is computed when it is not set.
    fn compute(&mut self, layers: &Layers<'_>, findings: &mut Findings) {
        for name in ["myhostname", "mydomain"] {
            if self.text(name).is_none() && self.is_good(name) {
                let computed = layers.text(name).filter(|text| !text.is_empty());
                self.put(name, Value::Text(computed));
            }
        }
        if self.networks_set().is_some() || !self.is_good("mynetworks") {
            return;
        }
        let style = self.text("mynetworks_style").unwrap_or("host").to_owned();
        if let Some(networks) = layers.environment.networks(&style) {
            self.put("mynetworks", Value::Networks(Some(networks)));
        } else {
            let complaint = Complaint::new(
                format!("the networks of this machine are not known, so \"{style}\" cannot be worked out"),
                "expected \"host\", or mynetworks",
            );
            let hint = "write mynetworks = [\"127.0.0.0/8\", \"[::1]/128\", ...] with your networks";
            findings.error("mynetworks_style", self.span("mynetworks_style"), complaint.hint(hint));
        }
    }

    fn put(&mut self, name: &str, value: Value) {
        if let Some(entry) = self.values.get_mut(name) {
            entry.value = Some(value);
        }
    }

    fn value(&self, name: &str) -> Option<&Value> {
        debug_assert!(self.values.contains_key(name), "{name} is in the table");
        self.values.get(name)?.value.as_ref()
    }

    /// Whether the value could be read.
    pub fn is_good(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// Whether it is written in the file, here or at the top.
    pub fn is_written(&self, name: &str) -> bool {
        self.span(name).is_some()
    }

    /// Whether it is written in the listener's own table.
    pub fn is_own(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|entry| entry.is_own)
    }

    /// Where its value is written.
    pub fn span(&self, name: &str) -> Option<Span> {
        self.values.get(name)?.span.clone()
    }

    /// A boolean; false when it could not be read.
    pub fn boolean(&self, name: &str) -> bool {
        matches!(self.value(name), Some(Value::Boolean(true)))
    }

    /// A count or octets; 0 when it could not be read.
    pub fn number(&self, name: &str) -> u64 {
        match self.value(name) {
            Some(Value::Number(number)) => *number,
            _ => 0,
        }
    }

    /// A count.
    pub fn count(&self, name: &str) -> usize {
        usize::try_from(self.number(name)).unwrap_or(usize::MAX)
    }

    /// A time; zero when it could not be read.
    pub fn time(&self, name: &str) -> Duration {
        match self.value(name) {
            Some(Value::Time(duration)) => *duration,
            _ => Duration::ZERO,
        }
    }

    /// A text, a name or a choice.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.value(name) {
            Some(Value::Text(text)) => text.as_deref(),
            _ => None,
        }
    }

    /// A path, absolute or relative to the working directory of the process.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    /// Several words.
    pub fn words(&self, name: &str) -> &[String] {
        match self.value(name) {
            Some(Value::Words(words)) => words,
            _ => &[],
        }
    }

    fn networks_set(&self) -> Option<&[IpNet]> {
        match self.value("mynetworks") {
            Some(Value::Networks(Some(networks))) => Some(networks),
            _ => None,
        }
    }

    /// Networks.
    pub fn networks(&self, name: &str) -> &[IpNet] {
        match self.value(name) {
            Some(Value::Networks(Some(networks))) => networks,
            _ => &[],
        }
    }

    /// Domains.
    pub fn domains(&self, name: &str) -> &[ListedDomain] {
        match self.value(name) {
            Some(Value::Domains(domains)) => domains,
            _ => &[],
        }
    }

    /// A next hop.
    pub fn next_hop(&self, name: &str) -> Option<&NextHop> {
        match self.value(name) {
            Some(Value::NextHop(next_hop)) => next_hop.as_ref(),
            _ => None,
        }
    }

    /// An address.
    pub fn address(&self, name: &str) -> Option<IpAddr> {
        match self.value(name) {
            Some(Value::Address(address)) => *address,
            _ => None,
        }
    }

    /// Whether TLS 1.2 is allowed.
    pub fn tls12(&self, name: &str) -> bool {
        matches!(self.value(name), Some(Value::Tls12(true)))
    }

    /// What the revocation lists of single issuers mean.
    pub fn issuer_policies(&self, name: &str) -> &[IssuerPolicy] {
        match self.value(name) {
            Some(Value::IssuerPolicies(policies)) => policies,
            _ => &[],
        }
    }

    /// Content filters.
    pub fn milters(&self, name: &str) -> &[ListedMilter] {
        match self.value(name) {
            Some(Value::Milters(milters)) => milters,
            _ => &[],
        }
    }

    /// What tables and policy services may name.
    pub fn named(&self, name: &str) -> &[(String, Arc<[Restriction]>)] {
        let named: Option<&Named> = match self.value(name) {
            Some(Value::Classes(named)) => Some(named),
            _ => None,
        };
        named.map_or(&[], Vec::as_slice)
    }

    /// Look-up tables.
    pub fn tables(&self, name: &str) -> &[Arc<Table>] {
        match self.value(name) {
            Some(Value::Tables(tables)) => tables,
            _ => &[],
        }
    }

    /// Extensions by network.
    pub fn ehlo_keyword_maps(&self, name: &str) -> &[(IpNet, Extensions)] {
        match self.value(name) {
            Some(Value::EhloKeywordMaps(maps)) => maps,
            _ => &[],
        }
    }

    /// A restriction list.
    pub fn restrictions(&self, name: &str) -> &[Listed] {
        match self.value(name) {
            Some(Value::Restrictions(list)) => list,
            _ => &[],
        }
    }
}
