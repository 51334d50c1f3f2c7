//! AUTH: which mechanism is asked for, and EXTERNAL, with which the client says that its certificate is to count.
//!
//! **Implements** RFC 4954 sections 3 and 4 and the EXTERNAL mechanism of RFC 4422 appendix A,
//! `smtpd_tls_auth_external`.
//! **Does not** give a right to EXTERNAL: identity, decisions and log are those of the certificate, with it and without.

use super::connection::Connection;
use super::event::{AuthenticationFault, CertificateFault};
use super::replies;
use crate::cert::certificate::Certificate;
use crate::cert::identity::Identity;
use crate::policy::sender_binding::certificate_addresses;
use crate::wire::base64;
use crate::wire::domain::Domain;
use crate::wire::reply::Reply;
use crate::wire::sasl::{PasswordMechanism, Secret};

/// How much of an authorization identity that is refused is recorded: a response may be long.
const RECORDED_CHARACTERS_MAX: usize = 256;

/// An exchange of challenges and responses: which response comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    /// The authorization identity of EXTERNAL.
    External,
    /// The whole of PLAIN.
    Plain,
    /// The first of LOGIN.
    LoginName,
    /// The second of LOGIN, behind this name.
    LoginPassword(String),
}

impl Exchange {
    /// What asks for the response. The words of LOGIN are those that clients look for.
    pub(super) fn challenge(&self) -> Reply {
        replies::challenge(match self {
            Self::External | Self::Plain => "",
            Self::LoginName => "Username:",
            Self::LoginPassword(_) => "Password:",
        })
    }
}

/// Whether AUTH may be said like this; with the response when it came along.
///
/// # Errors
/// The refusal.
pub(super) fn check<'a>(connection: &Connection, argument: &'a str) -> Result<(Exchange, Option<&'a str>), Reply> {
    let mut words = argument.split_ascii_whitespace();
    let Some(mechanism) = words.next() else {
        return Err(replies::usage("AUTH mechanism"));
    };
    let settings = &connection.settings;
    if !(settings.auth_external || settings.sasl.is_enabled) || connection.is_auth_exception() {
        return Err(replies::authentication_not_enabled());
    }
    if connection.is_authenticated {
        return Err(replies::already_authenticated());
    }
    let exchange = exchange(connection, mechanism)?;
    match (words.next(), words.next()) {
        (None, _) => Ok((exchange, None)),
        (Some("*"), None) => Err(replies::bad_response()),
        (response, None) => Ok((exchange, response)),
        (Some(_), Some(_)) => Err(replies::usage("AUTH mechanism [initial-response]")),
    }
}

/// How the exchange of this mechanism begins.
fn exchange(connection: &Connection, mechanism: &str) -> Result<Exchange, Reply> {
    let is_encrypted = connection.tls.is_some();
    if mechanism.eq_ignore_ascii_case("EXTERNAL") && connection.settings.auth_external {
        return if is_encrypted {
            Ok(Exchange::External)
        } else {
            Err(replies::encryption_required())
        };
    }
    let sasl = &connection.settings.sasl;
    // A service that has not been heard is asked: it may be there by now.
    let is_taken = |mechanism: &PasswordMechanism| connection.mechanisms.is_none_or(|known| known.has(*mechanism));
    let mechanism = PasswordMechanism::of(mechanism).filter(is_taken);
    match mechanism {
        Some(mechanism) if sasl.takes_passwords(is_encrypted) => Ok(match mechanism {
            PasswordMechanism::Plain => Exchange::Plain,
            PasswordMechanism::Login => Exchange::LoginName,
        }),
        Some(_) if sasl.takes_passwords(true) => Err(replies::encryption_required()),
        _ => Err(replies::unknown_mechanism()),
    }
}

/// The octets of a response, in a line of its own or behind AUTH, where `=` stands for none; `None` when the client has
/// thought better of it.
///
/// # Errors
/// The refusal.
pub(super) fn decode(text: &[u8]) -> Result<Option<Secret>, Reply> {
    let octets = match text {
        b"*" => return Ok(None),
        b"=" => Some(Vec::new()),
        text => base64::decode(text),
    };
    octets
        .map(|octets| Some(Secret::new(octets)))
        .ok_or_else(replies::bad_response)
}

/// Reads the response of EXTERNAL. RFC 4422 appendix A.1: the authorization identity is a text without NUL; the empty one
/// is whoever the certificate names.
pub(super) fn authorization_identity(octets: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(octets).ok()?;
    (!text.contains('\0')).then(|| text.to_owned())
}

/// Whether the holder of the session may act as this authorization identity.
///
/// # Errors
/// Why not.
pub(super) fn authorize(identity: &Identity, authorization_identity: &str) -> Result<(), AuthenticationFault> {
    match (CertificateFault::of(identity), identity.verified()) {
        (Some(fault), _) => Err(fault.into()),
        (None, Some(certificate)) if !is_named(certificate, authorization_identity) => {
            let recorded = authorization_identity.chars().take(RECORDED_CHARACTERS_MAX);
            Err(AuthenticationFault::NotNamed(recorded.collect()))
        }
        (None, _) => Ok(()),
    }
}

/// Whether the certificate names such an identity: an address, a user principal name, a host, its subject in either text
/// form, its common name or user id. The empty one is whoever it names.
fn is_named(certificate: &Certificate, name: &str) -> bool {
    let subject = &certificate.subject;
    let principals = certificate.user_principal_names.iter().map(String::as_str);
    name.is_empty()
        || certificate_addresses(certificate)
            .chain(principals)
            .any(|address| is_same_address(address, name))
        || certificate.dns_names.iter().any(|host| is_same_domain(host, name))
        || subject.one_line() == name
        || subject.rfc4514() == name
        || subject.common_name() == Some(name)
        || subject.values("UID").any(|user| user == name)
}

/// A domain is the same in any letter case and in U-labels as in A-labels; the letter case of a local-part counts (RFC 5321
/// section 2.4).
fn is_same_address(one: &str, other: &str) -> bool {
    match (one.rsplit_once('@'), other.rsplit_once('@')) {
        (Some((local_part, domain)), Some((other_local_part, other_domain))) => {
            local_part == other_local_part && is_same_domain(domain, other_domain)
        }
        _ => one == other,
    }
}

fn is_same_domain(one: &str, other: &str) -> bool {
    let is_same_name = || Domain::parse(one).is_some_and(|name| Domain::parse(other) == Some(name));
    one.eq_ignore_ascii_case(other) || is_same_name()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_the_same_in_u_labels_and_in_a_labels() {
        for (one, other, is_same) in [
            ("a@Example.ORG", "a@example.org", true),
            ("A@example.org", "a@example.org", false),
            ("a@caf\u{e9}.example", "a@xn--caf-dma.example", true),
            ("a@caf\u{e9}.example", "a@cafe.example", false),
            ("a@[192.0.2.1]", "a@[192.0.2.1]", true),
            ("a", "a@example.org", false),
        ] {
            assert_eq!(is_same_address(one, other), is_same, "{one} {other}");
        }
    }
}
