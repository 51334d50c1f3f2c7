//! AUTH EXTERNAL: the client says that its certificate is to count. It counts anyway.
//!
//! **Implements** RFC 4954 sections 3 and 4 and the EXTERNAL mechanism of RFC 4422 appendix A,
//! `smtpd_tls_auth_external`.
//! **Does not** give any right: identity, decisions and log are those of the certificate, with AUTH and without.

use super::connection::Connection;
use super::event::{AuthenticationFault, CertificateFault};
use super::replies;
use crate::cert::certificate::Certificate;
use crate::cert::identity::Identity;
use crate::policy::sender_binding::certificate_addresses;
use crate::wire::base64;
use crate::wire::reply::Reply;

/// How much of an authorization identity that is refused is recorded: a response may be long.
const RECORDED_CHARACTERS_MAX: usize = 256;

/// What a response holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Response {
    /// `*`: the client has thought better of it.
    Cancelled,
    /// The authorization identity; empty: whoever the certificate names.
    AuthorizationIdentity(String),
}

/// Whether AUTH may be said like this; the response when it came along.
///
/// # Errors
/// The refusal.
pub(super) fn check(connection: &Connection, argument: &str) -> Result<Option<Response>, Reply> {
    let mut words = argument.split_ascii_whitespace();
    let Some(mechanism) = words.next() else {
        return Err(replies::usage("AUTH mechanism"));
    };
    if !connection.settings.auth_external {
        return Err(replies::authentication_not_enabled());
    }
    if connection.is_authenticated {
        return Err(replies::already_authenticated());
    }
    if !mechanism.eq_ignore_ascii_case("EXTERNAL") {
        return Err(replies::unknown_mechanism());
    }
    if matches!(connection.identity, Identity::Plaintext) {
        return Err(replies::encryption_required());
    }
    match (words.next(), words.next()) {
        (None, _) => Ok(None),
        (Some("*"), None) => Err(replies::bad_response()),
        (Some(response), None) => read_response(response.as_bytes()).map(Some),
        (Some(_), Some(_)) => Err(replies::usage("AUTH mechanism [initial-response]")),
    }
}

/// Reads a response, in a line of its own or behind AUTH. RFC 4422 appendix A.1: the authorization identity is a text
/// without NUL.
///
/// # Errors
/// The refusal.
pub(super) fn read_response(text: &[u8]) -> Result<Response, Reply> {
    let octets = match text {
        b"*" => return Ok(Response::Cancelled),
        b"=" => Some(Vec::new()),
        text => base64::decode(text),
    };
    octets
        .and_then(|octets| String::from_utf8(octets).ok())
        .filter(|identity| !identity.contains('\0'))
        .map(Response::AuthorizationIdentity)
        .ok_or_else(replies::bad_response)
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
        || certificate.dns_names.iter().any(|host| host.eq_ignore_ascii_case(name))
        || subject.one_line() == name
        || subject.rfc4514() == name
        || subject.common_name() == Some(name)
        || subject.values("UID").any(|user| user == name)
}

/// The letter case of a domain does not count, that of a local-part does (RFC 5321 section 2.4).
fn is_same_address(one: &str, other: &str) -> bool {
    match (one.rsplit_once('@'), other.rsplit_once('@')) {
        (Some((local_part, domain)), Some((other_local_part, other_domain))) => {
            local_part == other_local_part && domain.eq_ignore_ascii_case(other_domain)
        }
        _ => one == other,
    }
}
