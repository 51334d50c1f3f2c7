//! Certificates that anybody could make: another authority's name as issuer, a key of one's own.
//!
//! **Implements** as much DER (X.690) as a version 3 certificate with an ECDSA P-256 key needs (RFC 5280).
//! **Does not** make anything that verifies: the issuer never saw it.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

use crate::cert::der::{BIT_STRING, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, wrap};
use crate::cert::name::DistinguishedName;

const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const SET: u8 = 0x31;
/// `[0]` and `[3]`, constructed: version and extensions.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const TRUE: [u8; 3] = [0x01, 0x01, 0xff];

/// What a forged certificate says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forgery {
    /// Nothing wrong beside its signature.
    Plain,
    /// From 2000 to 2001.
    Expired,
    /// From 2048 on.
    NotYetValid,
    /// extendedKeyUsage serverAuth.
    ServerUsage,
    /// A certification authority.
    Authority,
}

impl Forgery {
    pub(super) const ALL: [Self; 5] = [
        Self::Plain,
        Self::Expired,
        Self::NotYetValid,
        Self::ServerUsage,
        Self::Authority,
    ];

    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Plain => "forged",
            Self::Expired => "forged and expired",
            Self::NotYetValid => "forged and not yet valid",
            Self::ServerUsage => "forged for servers",
            Self::Authority => "forged as an authority",
        }
    }
}

/// Makes certificates with one key.
pub(super) struct Forger {
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl Forger {
    /// # Errors
    /// The system has no randomness for a key.
    pub(super) fn new() -> Result<Self, Unspecified> {
        Ok(Self {
            key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?,
            random: SystemRandom::new(),
        })
    }

    /// The DER of a certificate; `issuer` is an encoded name.
    ///
    /// # Errors
    /// The system has no randomness for a signature.
    pub(super) fn forge(
        &self,
        issuer: &[u8],
        subject: &DistinguishedName,
        forgery: Forgery,
    ) -> Result<Vec<u8>, Unspecified> {
        let algorithm = tlv(SEQUENCE, &[oid("1.2.840.10045.4.3.2")]);
        let to_be_signed = tlv(
            SEQUENCE,
            &[
                tlv(VERSION, &[tlv(INTEGER, &[vec![2]])]),
                tlv(INTEGER, &[vec![0x4f, 0x52]]),
                algorithm.clone(),
                issuer.to_vec(),
                validity(forgery),
                name(subject),
                self.public_key(),
                tlv(EXTENSIONS, &[tlv(SEQUENCE, &extensions(forgery))]),
            ],
        );
        let signature = self.key.sign(&self.random, &to_be_signed)?;
        Ok(tlv(
            SEQUENCE,
            &[to_be_signed, algorithm, bit_string(signature.as_ref())],
        ))
    }

    fn public_key(&self) -> Vec<u8> {
        let algorithm = tlv(SEQUENCE, &[oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7")]);
        tlv(SEQUENCE, &[algorithm, bit_string(self.key.public_key().as_ref())])
    }
}

/// A name, every value as UTF8String.
pub(super) fn name(name: &DistinguishedName) -> Vec<u8> {
    let attribute = |oid_text: &str, value: &str| {
        tlv(
            SEQUENCE,
            &[oid(oid_text), tlv(UTF8_STRING, &[value.as_bytes().to_vec()])],
        )
    };
    let rdns: Vec<Vec<u8>> = name
        .0
        .iter()
        .map(|rdn| {
            let mut attributes: Vec<_> = rdn.0.iter().map(|a| attribute(&a.oid, &a.value)).collect();
            // X.690 section 11.6: the elements of a set in ascending order.
            attributes.sort();
            tlv(SET, &attributes)
        })
        .collect();
    tlv(SEQUENCE, &rdns)
}

fn validity(forgery: Forgery) -> Vec<u8> {
    let (from, to) = match forgery {
        Forgery::Expired => ("000101000000Z", "010101000000Z"),
        Forgery::NotYetValid => ("480101000000Z", "491231235959Z"),
        _ => ("000101000000Z", "491231235959Z"),
    };
    let time = |text: &str| tlv(UTC_TIME, &[text.as_bytes().to_vec()]);
    tlv(SEQUENCE, &[time(from), time(to)])
}

/// Basic constraints, key usage, extended key usage.
fn extensions(forgery: Forgery) -> [Vec<u8>; 3] {
    let is_authority = forgery == Forgery::Authority;
    let constraints = tlv(SEQUENCE, &[if is_authority { TRUE.to_vec() } else { Vec::new() }]);
    // digitalSignature, or keyCertSign: the bits with the number of unused ones before them.
    let usage = if is_authority { [2, 0x04] } else { [7, 0x80] };
    let purpose = if forgery == Forgery::ServerUsage {
        "1.3.6.1.5.5.7.3.1"
    } else {
        "1.3.6.1.5.5.7.3.2"
    };
    let extension = |oid_text: &str, content: Vec<u8>| {
        tlv(SEQUENCE, &[oid(oid_text), TRUE.to_vec(), tlv(OCTET_STRING, &[content])])
    };
    [
        extension("2.5.29.19", constraints),
        extension("2.5.29.15", tlv(BIT_STRING, &[usage.to_vec()])),
        extension("2.5.29.37", tlv(SEQUENCE, &[oid(purpose)])),
    ]
}

fn bit_string(octets: &[u8]) -> Vec<u8> {
    tlv(BIT_STRING, &[vec![0], octets.to_vec()])
}

/// A dotted OID; arcs that are no numbers count as 0.
fn oid(dotted: &str) -> Vec<u8> {
    let arcs: Vec<u64> = dotted.split('.').map(|arc| arc.parse().unwrap_or_default()).collect();
    let first = arcs.first().copied().unwrap_or_default().saturating_mul(40);
    let first = first.saturating_add(arcs.get(1).copied().unwrap_or_default());
    let mut content = Vec::new();
    for arc in std::iter::once(first).chain(arcs.into_iter().skip(2)) {
        let digits = (0..10_u32).rev().map(|place| (arc >> (place * 7)) & 0x7f);
        let digits: Vec<u64> = digits.skip_while(|digit| *digit == 0).collect();
        let last = digits.len().saturating_sub(1);
        if digits.is_empty() {
            content.push(0);
        }
        for (n, digit) in digits.into_iter().enumerate() {
            let more = if n < last { 0x80 } else { 0 };
            content.push(u8::try_from(digit).unwrap_or_default() | more);
        }
    }
    tlv(OBJECT_IDENTIFIER, &[content])
}

/// An element of several parts.
fn tlv(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    wrap(tag, &parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::decode;
    use crate::cert::name::{Attribute, Rdn};

    #[test]
    fn forged_certificate_decodes_to_what_was_asked_for() {
        let attribute = |oid: &str, value: &str| Attribute {
            oid: oid.into(),
            value: value.into(),
        };
        let long = "é".repeat(300);
        let subject = DistinguishedName(vec![
            Rdn(vec![attribute("2.5.4.6", "FR")]),
            // In the order of X.690 section 11.6.
            Rdn(vec![
                attribute("1.2.840.113549.1.9.1", "a@b"),
                attribute("2.5.4.3", &long),
            ]),
        ]);
        let forger = Forger::new().unwrap();
        for forgery in Forgery::ALL {
            let der = forger.forge(&name(&subject), &subject, forgery).unwrap();
            let decoded = decode::decode(&der).unwrap();
            assert_eq!((&decoded.subject, &decoded.issuer), (&subject, &subject));
            assert_eq!(decoded.version, 3);
            assert_eq!(decoded.key_algorithm, "ECDSA");
            assert_eq!(decoded.is_ca, forgery == Forgery::Authority);
            let usage = if forgery == Forgery::ServerUsage {
                "1.3.6.1.5.5.7.3.1"
            } else {
                "1.3.6.1.5.5.7.3.2"
            };
            assert_eq!(decoded.extended_key_usages, [usage]);
        }
    }
}
