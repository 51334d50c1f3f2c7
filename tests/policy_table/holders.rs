//! Certificates as the tests on policy need them.

use std::sync::Arc;

use estafette::cert::certificate::Certificate;
use estafette::cert::identity::Identity;
use estafette::cert::name::{Attribute, DistinguishedName, Rdn, oid_of};

pub fn name(attributes: &[(&str, &str)]) -> DistinguishedName {
    let rdn = |(short, value): &(&str, &str)| {
        Rdn(vec![Attribute {
            oid: oid_of(short).expect("known").into(),
            value: (*value).into(),
        }])
    };
    DistinguishedName(attributes.iter().map(rdn).collect())
}

pub fn certificate(issuer: &str, subject: &[(&str, &str)]) -> Arc<Certificate> {
    Arc::new(Certificate {
        version: 3,
        serial: "01".into(),
        issuer: name(&[("C", "FR"), ("O", "CNRS"), ("CN", issuer)]),
        subject: name(subject),
        not_before_seconds: 0,
        not_after_seconds: i64::MAX,
        mail_addresses: Vec::new(),
        dns_names: Vec::new(),
        user_principal_names: Vec::new(),
        key_usages: Vec::new(),
        extended_key_usages: Vec::new(),
        policies: Vec::new(),
        ocsp_responders: Vec::new(),
        crl_distribution_points: Vec::new(),
        is_ca: false,
        fingerprint: "AA:BB".into(),
        public_key_fingerprint: "CC:DD".into(),
        key_algorithm: "ECDSA".into(),
        key_bits: 256,
    })
}

pub fn verified(issuer: &str, subject: &[(&str, &str)]) -> Identity {
    Identity::Verified {
        certificate: certificate(issuer, subject),
        chain: Vec::new(),
    }
}

pub fn alice() -> Identity {
    verified(
        "CNRS-Standard",
        &[("C", "FR"), ("O", "CNRS"), ("OU", "UMR5168"), ("CN", "Alice Martin")],
    )
}

/// A certificate of CNRS-Standard for Alice with every extension, changed at will.
pub fn alice_with(change: impl FnOnce(&mut Certificate)) -> Certificate {
    let subject = [("C", "FR"), ("O", "CNRS"), ("OU", "UMR5168"), ("CN", "Alice Martin")];
    let mut certificate = (*certificate("CNRS-Standard", &subject)).clone();
    certificate.serial = "0A:1B".into();
    certificate.mail_addresses = vec!["Alice.Martin@cnrs.example".into()];
    certificate.dns_names = vec!["laptop.lab.example".into()];
    certificate.user_principal_names = vec!["alice@ad.example".into()];
    certificate.key_usages = vec!["digitalSignature".into(), "nonRepudiation".into()];
    certificate.extended_key_usages = vec!["1.3.6.1.5.5.7.3.2".into()];
    certificate.policies = vec!["1.2.250.1.1".into()];
    certificate.not_after_seconds = NOW_SECONDS + 86_400;
    change(&mut certificate);
    certificate
}

/// 2026-11-24 09:00:00 UTC.
pub const NOW_SECONDS: i64 = 1_795_510_800;

/// The same, verified, with its issuer.
pub fn verified_as(certificate: Certificate) -> Identity {
    Identity::Verified {
        certificate: Arc::new(certificate),
        chain: vec![issuer()],
    }
}

/// The certificate of CNRS-Standard.
pub fn issuer() -> Arc<Certificate> {
    let mut issuer = (*certificate("CNRS", &[("C", "FR"), ("O", "CNRS"), ("CN", "CNRS-Standard")])).clone();
    issuer.is_ca = true;
    issuer.public_key_fingerprint = "EE:FF".into();
    Arc::new(issuer)
}
