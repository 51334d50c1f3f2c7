//! The certificate holders of the dialogues: the certificates of `certs-example`, judged without a handshake.

use std::sync::Arc;

use estafette::cert::identity::{Identity, Why};
use estafette::mail::trace_header::TlsDescription;
use estafette::session::password::{PasswordFault, Verification};
use estafette::wire::sasl::Credentials;

use crate::script::example_certificate;

/// The identity that `tls certificate=NAME` or `judged certificate=NAME` stands for.
pub(crate) fn identity(name: &str) -> Identity {
    let unverified = |file, why| Identity::Unverified {
        why,
        certificate: Some(Arc::new(example_certificate(file))),
    };
    match name {
        "none" => Identity::NoCertificate,
        "alice" => Identity::Verified {
            certificate: Arc::new(example_certificate("alice")),
            chain: Vec::new(),
        },
        "alice-untrusted" => unverified("alice", Why::UnknownIssuer),
        "expired" => unverified("expired", Why::Expired),
        "revoked" => unverified("alice", Why::Revoked),
        "unknown-issuer" => unverified("rogue", Why::UnknownIssuer),
        other => panic!("unknown certificate {other:?}"),
    }
}

/// What a handshake with a client of our own library negotiates.
pub(crate) fn tls(name: &str) -> TlsDescription {
    let has_certificate = name != "none";
    let signature = || String::from("ECDSA (prime256v1)");
    let digest = || String::from("SHA256");
    TlsDescription {
        protocol: "TLSv1.3".into(),
        cipher: "TLS_AES_256_GCM_SHA384".into(),
        cipher_bits: 256,
        key_exchange: Some("X25519MLKEM768".into()),
        server_signature: Some(signature()),
        server_digest: Some(digest()),
        client_signature: has_certificate.then(signature),
        client_digest: has_certificate.then(digest),
        server_name: Some("localhost".into()),
        resumed: false,
    }
}

/// What a service that knows these passwords says; one without any cannot say anything.
pub(crate) fn verify(passwords: &[(String, String)], credentials: Credentials) -> Verification {
    let is_right = |(login, password): &(String, String)| {
        *login == credentials.login && password.as_bytes() == credentials.password.octets()
    };
    Verification::Wrong(match credentials.authorization.as_str() {
        _ if passwords.is_empty() => PasswordFault::Unavailable("nobody knows".into()),
        _ if !passwords.iter().any(is_right) => PasswordFault::Credentials(None),
        other if !other.is_empty() && other != credentials.login => PasswordFault::NotAuthorized(other.into()),
        _ => return Verification::Right(credentials.login),
    })
}
