//! Certification authorities and certificates, made by rcgen in the test.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SerialNumber, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// One that issues certificates, and its own certificate.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate.
    pub(crate) der: CertificateDer<'static>,
    /// The same as PEM.
    pub(crate) pem: String,
    /// Its serial number.
    pub(crate) serial: SerialNumber,
}

impl Authority {
    /// A root.
    pub(crate) fn root(names: &[(&str, &str)]) -> Self {
        let (params, key) = (ca_params(names), new_key());
        let own = params.self_signed(&key).expect("a root");
        Self::of(&own, params, key)
    }

    /// An authority under this one, with what `alter` changes.
    pub(crate) fn subordinate(&self, names: &[(&str, &str)], alter: impl FnOnce(&mut CertificateParams)) -> Self {
        let (mut params, key) = (ca_params(names), new_key());
        alter(&mut params);
        let own = params.signed_by(&key, &self.issuer).expect("an authority");
        Self::of(&own, params, key)
    }

    /// An authority whose certificate says that it is none.
    pub(crate) fn pretender(&self, names: &[(&str, &str)]) -> Self {
        self.subordinate(names, |params| params.is_ca = IsCa::ExplicitNoCa)
    }

    fn of(own: &rcgen::Certificate, params: CertificateParams, key: KeyPair) -> Self {
        Self {
            der: own.der().clone(),
            pem: own.pem(),
            serial: params.serial_number.clone().expect("given"),
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate on the key.
    pub(crate) fn issue(&self, params: &CertificateParams, key: &KeyPair) -> CertificateDer<'static> {
        self.sign(params, key).der().clone()
    }

    /// The same as PEM.
    pub(crate) fn issue_pem(&self, params: &CertificateParams, key: &KeyPair) -> String {
        self.sign(params, key).pem()
    }

    fn sign(&self, params: &CertificateParams, key: &KeyPair) -> rcgen::Certificate {
        params.signed_by(key, &self.issuer).expect("a certificate")
    }

    /// A revocation list that names these serial numbers; it is good until the year `until`.
    pub(crate) fn revocation_list(&self, until: i32, serials: &[&SerialNumber]) -> String {
        let revoked = serials.iter().map(|serial| rcgen::RevokedCertParams {
            serial_number: (*serial).clone(),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = rcgen::CertificateRevocationListParams {
            this_update: date_time_ymd(2021, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: next_serial(),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).expect("a list").pem().expect("PEM")
    }

    /// Writes NAME.pem and NAME.key.
    pub(crate) fn write(&self, directory: &Path, name: &str) {
        std::fs::write(directory.join(format!("{name}.pem")), &self.pem).expect("written");
        write_key(directory, name, self.issuer.key());
    }
}

/// Writes NAME.key.
pub(crate) fn write_key(directory: &Path, name: &str, key: &KeyPair) {
    let path = directory.join(format!("{name}.key"));
    std::fs::write(&path, key.serialize_pem()).expect("written");
    super::pki::set_mode(&path, 0o600);
}

/// A new P-256 key.
pub(crate) fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

/// The key as rustls takes it.
pub(crate) fn tls_key(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()))
}

/// What is issued to a person: for client authentication, valid for decades.
pub(crate) fn person(names: &[(&str, &str)]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(names);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 1, 1);
    params.serial_number = Some(next_serial());
    params.is_ca = IsCa::ExplicitNoCa;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn ca_params(names: &[(&str, &str)]) -> CertificateParams {
    let mut params = person(names);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.extended_key_usages = Vec::new();
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// A name of UTF8String values in this order.
pub(crate) fn distinguished_name(names: &[(&str, &str)]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for (attribute, value) in names {
        name.push(attribute_type(attribute), DnValue::Utf8String((*value).to_owned()));
    }
    name
}

/// The attribute types of these tests.
pub(crate) fn attribute_type(name: &str) -> DnType {
    match name {
        "C" => DnType::CountryName,
        "O" => DnType::OrganizationName,
        "OU" => DnType::OrganizationalUnitName,
        "CN" => DnType::CommonName,
        other => panic!("{other} is not among the attribute types of these tests"),
    }
}

fn next_serial() -> SerialNumber {
    static LAST: AtomicU64 = AtomicU64::new(0x4000_0000_0000_0000);
    SerialNumber::from(LAST.fetch_add(1, Ordering::Relaxed))
}
