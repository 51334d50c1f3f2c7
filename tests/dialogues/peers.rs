//! The certificate holders of the dialogues, without a certificate.

use std::sync::Arc;

use estafette::cert::certificate::Certificate;
use estafette::cert::identity::{Identity, Why};
use estafette::cert::name::{Attribute, DistinguishedName, Rdn, oid_of};
use estafette::mail::trace_header::TlsDescription;

/// The identity that `tls certificate=NAME` stands for.
pub(crate) fn identity(name: &str) -> Identity {
    let alice = Arc::new(certificate("Alice Martin"));
    let unverified = |why| Identity::Unverified {
        why,
        certificate: Some(Arc::clone(&alice)),
    };
    match name {
        "none" => Identity::NoCertificate,
        "alice" => Identity::Verified {
            certificate: alice,
            chain: Vec::new(),
        },
        "expired" => unverified(Why::Expired),
        "revoked" => unverified(Why::Revoked),
        "unknown-issuer" => unverified(Why::UnknownIssuer),
        other => panic!("unknown certificate {other:?}"),
    }
}

/// What every handshake here negotiates.
pub(crate) fn tls() -> TlsDescription {
    TlsDescription {
        protocol: "TLSv1.3".into(),
        cipher: "TLS_AES_256_GCM_SHA384".into(),
        cipher_bits: 256,
        key_exchange: Some("X25519MLKEM768".into()),
        server_signature: None,
        server_digest: None,
        client_signature: None,
        client_digest: None,
        server_name: None,
        resumed: false,
    }
}

fn name(rdns: &[(&str, &str)]) -> DistinguishedName {
    let rdn = |(short, value): &(&str, &str)| {
        let oid = oid_of(short).expect("a known short name").to_owned();
        let value = (*value).to_owned();
        Rdn(vec![Attribute { oid, value }])
    };
    DistinguishedName(rdns.iter().map(rdn).collect())
}

fn certificate(common_name: &str) -> Certificate {
    Certificate {
        version: 3,
        serial: "01".into(),
        issuer: name(&[("C", "FR"), ("O", "CNRS"), ("CN", "CNRS-Plus")]),
        subject: name(&[("C", "FR"), ("O", "CNRS"), ("OU", "UMR5168"), ("CN", common_name)]),
        not_before_seconds: 0,
        not_after_seconds: i64::MAX,
        mail_addresses: Vec::new(),
        dns_names: Vec::new(),
        user_principal_names: Vec::new(),
        extended_key_usages: Vec::new(),
        policies: Vec::new(),
        is_ca: false,
        fingerprint: "AA:01".into(),
        public_key_fingerprint: "BB:01".into(),
        key_algorithm: "ECDSA".into(),
        key_bits: 256,
    }
}
