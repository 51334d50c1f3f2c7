//! The certificate rules that a file defines, by name.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::error::Span;
use crate::policy::certificate_rule::CertificateRule;

/// One `[[certificate_rule]]` that has a name.
#[derive(Clone, Debug)]
pub struct Defined {
    /// Its name.
    pub name: String,
    /// Where the name is written.
    pub span: Span,
    /// The rule; `None` when something in it is wrong, which the findings say.
    pub rule: Option<Arc<CertificateRule>>,
    /// The same with the null reverse-path allowed, when the rule leaves that to `smtpd_certificate_null_sender`.
    pub with_null_sender: Option<Arc<CertificateRule>>,
    /// Its examples.
    pub examples: Vec<Example>,
}

/// A certificate that proves a rule.
#[derive(Clone, Debug)]
pub struct Example {
    /// `accepts` or `refuses`.
    pub key: &'static str,
    /// As written.
    pub file: String,
    /// The file.
    pub path: PathBuf,
    /// Where it is written.
    pub span: Span,
}

/// A rule of a configuration that can be used, with the files that prove it, as written.
#[derive(Clone, Debug)]
pub struct CheckedRule {
    /// The rule.
    pub rule: Arc<CertificateRule>,
    /// `accepts`.
    pub accepts: Vec<String>,
    /// `refuses`.
    pub refuses: Vec<String>,
}

/// All rules of a file.
#[derive(Clone, Debug, Default)]
pub struct RuleSet(pub Vec<Defined>);

impl RuleSet {
    /// The rule of that name, good or not.
    pub fn get(&self, name: &str) -> Option<&Defined> {
        self.0.iter().find(|defined| defined.name == name)
    }

    /// Their names, for suggestions.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|defined| defined.name.as_str())
    }

    /// Those that are good, as commands list them.
    pub fn in_use(&self) -> impl Iterator<Item = CheckedRule> {
        let checked = |defined: &Defined| {
            let files = |key: &str| {
                let of_key = defined.examples.iter().filter(|example| example.key == key);
                of_key.map(|example| example.file.clone()).collect()
            };
            Some(CheckedRule {
                rule: defined.rule.clone()?,
                accepts: files("accepts"),
                refuses: files("refuses"),
            })
        };
        self.0.iter().filter_map(checked)
    }
}

impl Defined {
    /// The rule as it counts where `smtpd_certificate_null_sender` says this.
    pub fn rule(&self, allows_null_sender: bool) -> Option<Arc<CertificateRule>> {
        let permissive = self.with_null_sender.as_ref().filter(|_| allows_null_sender);
        permissive.or(self.rule.as_ref()).cloned()
    }
}
