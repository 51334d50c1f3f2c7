//! From the directives about passwords to the settings of sessions and of whoever verifies.
//!
//! **Implements** the errors that keep a listener from announcing what cannot work, and the warning about passwords before
//! TLS.

use std::path::PathBuf;
use std::sync::Arc;

use super::environment::Environment;
use super::error::{Complaint, Findings};
use super::restriction_words::Listed;
use super::scope::Scope;
use crate::io::dovecot_auth::Endpoint;
use crate::io::password_file::{PasswordFile, PasswordFileError};
use crate::net::CidrSet;
use crate::policy::login_failures::FailureLimits;
use crate::policy::restriction::Restriction;
use crate::policy::word::Word;
use crate::session::password::SaslSettings;
use crate::session::settings::TlsOffer;
use crate::wire::sasl::PasswordMechanisms;

const ENABLE: &str = "smtpd_sasl_auth_enable";
const PATH: &str = "smtpd_sasl_path";
const AUTH_ONLY: &str = "smtpd_tls_auth_only";
const TLS_OPTIONS: &str = "smtpd_sasl_tls_security_options";

/// Who verifies the passwords of a listener.
#[derive(Clone, Debug)]
pub enum PasswordSource {
    /// `smtpd_sasl_type = "file"`, read already.
    File(Arc<PasswordFile>),
    /// `smtpd_sasl_type = "dovecot"`.
    Dovecot(Endpoint),
}

/// What sessions are told.
pub fn session(scope: &Scope) -> SaslSettings {
    let allows_plaintext = |options: &str| !scope.words(options).iter().any(|word| word == "noplaintext");
    SaslSettings {
        is_enabled: scope.boolean(ENABLE),
        without_tls: !scope.boolean(AUTH_ONLY)
            && scope.is_good(AUTH_ONLY)
            && allows_plaintext("smtpd_sasl_security_options"),
        in_tls: allows_plaintext(TLS_OPTIONS),
        exceptions: CidrSet::new(scope.networks("smtpd_sasl_exceptions_networks").to_vec()),
        realm: scope.text("smtpd_sasl_local_domain").unwrap_or_default().to_owned(),
        authenticated_header: scope.boolean("smtpd_sasl_authenticated_header"),
        mechanisms: is_file(scope).then_some(PasswordMechanisms::BOTH),
    }
}

/// The limits of guesses.
pub fn failure_limits(top: &Scope) -> FailureLimits {
    let count = |name| u32::try_from(top.number(name)).unwrap_or(u32::MAX);
    FailureLimits {
        address: count("smtpd_sasl_failure_limit_address"),
        login: count("smtpd_sasl_failure_limit_login"),
        time: top.time("smtpd_sasl_failure_time"),
    }
}

/// Who verifies; `None` where no password is taken. Faults go to the findings.
pub fn source(
    scope: &Scope,
    offer: TlsOffer,
    environment: &Environment,
    findings: &mut Findings,
) -> Option<PasswordSource> {
    if !scope.boolean(ENABLE) {
        tell_of_words_without_effect(scope, findings);
        return None;
    }
    check_tls(scope, offer, findings);
    let Some(path) = scope.text(PATH) else {
        if scope.is_good(PATH) {
            let complaint = Complaint::new(
                "nobody knows the passwords: smtpd_sasl_path is empty",
                "needs smtpd_sasl_path",
            );
            let hint = "write smtpd_sasl_path = \"/run/dovecot/auth-client\", or smtpd_sasl_type = \"file\" and \
                        smtpd_sasl_path = \"passwords\", a file made by estafette passwd";
            findings.error(ENABLE, scope.span(ENABLE), complaint.hint(hint));
        }
        return None;
    };
    if is_file(scope) {
        return read_file(scope, path, environment, findings).map(PasswordSource::File);
    }
    Some(PasswordSource::Dovecot(match path.strip_prefix("inet:") {
        Some(address) => Endpoint::Tcp(address.to_owned()),
        None => Endpoint::Unix(PathBuf::from(path)),
    }))
}

/// `permit_sasl_authenticated` where no password is taken: harmless, and the default of Postfix, but it permits nobody.
fn tell_of_words_without_effect(scope: &Scope, findings: &mut Findings) {
    for list in ["smtpd_relay_restrictions", "smtpd_recipient_restrictions"] {
        let is_word = |listed: &&Listed| matches!(listed.restriction, Restriction::Word(Word::PermitSaslAuthenticated));
        if let Some(listed) = scope.restrictions(list).iter().find(is_word) {
            let message = "\"permit_sasl_authenticated\" permits nobody: this listener takes no passwords";
            let complaint = Complaint::new(message, "needs smtpd_sasl_auth_enable");
            let hint = "write smtpd_sasl_auth_enable = true, or take it out";
            findings.warning(list, listed.span.clone(), complaint.hint(hint));
        }
    }
}

fn is_file(scope: &Scope) -> bool {
    scope.text("smtpd_sasl_type") == Some("file")
}

fn check_tls(scope: &Scope, offer: TlsOffer, findings: &mut Findings) {
    let settings = session(scope);
    if settings.without_tls && offer != TlsOffer::Implicit {
        let complaint = Complaint::new(
            "passwords may cross the network unencrypted: whoever listens can send as their holders",
            "true unless every client is on a network of your own",
        );
        findings.warning(AUTH_ONLY, scope.span(AUTH_ONLY), complaint.hint("take it out"));
    }
    if offer == TlsOffer::None && !settings.without_tls {
        let complaint = Complaint::new(
            "AUTH can never be offered: this listener offers no TLS, and passwords are taken in TLS only",
            "needs TLS",
        );
        let hint = "write smtpd_tls_security_level = \"may\" and smtpd_tls_cert_file";
        findings.error(ENABLE, scope.span(ENABLE), complaint.hint(hint));
    } else if !settings.in_tls && !settings.without_tls {
        let key = if scope.is_written(TLS_OPTIONS) {
            TLS_OPTIONS
        } else {
            "smtpd_sasl_security_options"
        };
        let complaint = Complaint::new(
            "AUTH can never be offered: PLAIN and LOGIN are plaintext mechanisms, in TLS too",
            "switches both off",
        );
        let hint = "write smtpd_sasl_tls_security_options = [\"noanonymous\"]: TLS hides the password";
        findings.error(key, scope.span(key), complaint.hint(hint));
    }
}

fn read_file(
    scope: &Scope,
    path: &str,
    environment: &Environment,
    findings: &mut Findings,
) -> Option<Arc<PasswordFile>> {
    if let Some(kind) = ["inet:", "unix:"].into_iter().find(|kind| path.starts_with(kind)) {
        let complaint = Complaint::new(format!("\"{kind}\" is no file"), "expected the path of a password file");
        findings.error(PATH, scope.span(PATH), complaint);
        return None;
    }
    if !environment.check_files {
        return Some(Arc::new(PasswordFile::empty()));
    }
    let complaint = |message: String| Complaint::new(message, "expected a file made by estafette passwd");
    match PasswordFile::read(path.as_ref()) {
        Ok(file) => {
            if file.is_readable_by_all {
                let complaint = complaint(format!("{path} is readable by everybody on this machine"));
                findings.warning(PATH, scope.span(PATH), complaint.hint(format!("chmod 600 {path}")));
            }
            Some(Arc::new(file))
        }
        Err(PasswordFileError::Line(line, fault)) => {
            findings.error(PATH, scope.span(PATH), complaint(format!("{path}:{line}: {fault}")));
            None
        }
        Err(error) => {
            let hint = format!("make it with: estafette passwd --file {path} LOGIN");
            findings.error(PATH, scope.span(PATH), complaint(format!("{path} {error}")).hint(hint));
            None
        }
    }
}
