//! A decoded certificate: what rules, logs and `explain` can see of it.
//!
//! **Does not** decode: `cert::decode` fills these fields.

use super::name::DistinguishedName;

/// The contents of a certificate that decide or are recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// 1, 2 or 3.
    pub version: u8,
    /// Upper-case hexadecimal, two digits per octet, colons between.
    pub serial: String,
    /// Issuer, in certificate order.
    pub issuer: DistinguishedName,
    /// Subject, in certificate order.
    pub subject: DistinguishedName,
    /// notBefore, seconds since 1970-01-01 00:00:00 UTC.
    pub not_before_seconds: i64,
    /// notAfter, seconds since 1970-01-01 00:00:00 UTC.
    pub not_after_seconds: i64,
    /// SAN rfc822Name.
    pub mail_addresses: Vec<String>,
    /// SAN dNSName.
    pub dns_names: Vec<String>,
    /// SAN otherName User Principal Name.
    pub user_principal_names: Vec<String>,
    /// The names of RFC 5280 section 4.2.1.3 such as `digitalSignature`; empty without the extension.
    pub key_usages: Vec<String>,
    /// Dotted OIDs; empty without the extension.
    pub extended_key_usages: Vec<String>,
    /// Dotted OIDs; empty without the extension.
    pub policies: Vec<String>,
    /// Authority information access: the `http` URLs of OCSP responders.
    pub ocsp_responders: Vec<String>,
    /// CRL distribution points: their URLs.
    pub crl_distribution_points: Vec<String>,
    /// Basic constraints CA:TRUE.
    pub is_ca: bool,
    /// SHA-256 of the whole certificate, upper-case hexadecimal with colons, as Postfix prints it.
    pub fingerprint: String,
    /// SHA-256 of the SubjectPublicKeyInfo, in the same form.
    pub public_key_fingerprint: String,
    /// `RSA`, `ECDSA`, `Ed25519` or the dotted OID of another algorithm.
    pub key_algorithm: String,
    /// Size of the public key in bits; 0 when unknown.
    pub key_bits: u32,
}

/// Which name of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameOf {
    /// The issuer.
    Issuer,
    /// The subject.
    Subject,
}

impl NameOf {
    /// `issuer`, `subject`: as rules write it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Issuer => "issuer",
            Self::Subject => "subject",
        }
    }
}

impl Certificate {
    /// One of its two names.
    pub const fn name(&self, of: NameOf) -> &DistinguishedName {
        match of {
            NameOf::Issuer => &self.issuer,
            NameOf::Subject => &self.subject,
        }
    }
}
