//! DER to [`Certificate`]: with `cert::revocation_list` the only file that names x509-parser.
//!
//! **Implements** what rules read of RFC 5280: names with their string types decoded to Unicode, the subject
//! alternative name, key usages, policies, basic constraints and the key; and the raw pieces `io::tls` needs.
//! **Does not** verify anything. What cannot be decoded without doubt is refused: a name a rule would read
//! differently from a person is worse than none.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::asn1_rs::{Any, Oid, Tag};
use x509_parser::extensions::{
    DistributionPointName, ExtendedKeyUsage, GeneralName, KeyUsage, ParsedExtension, X509Extension,
};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{SubjectPublicKeyInfo, X509Name};

use super::certificate::Certificate;
use super::name::{Attribute, DistinguishedName, Rdn};

/// Why a certificate cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not DER of a certificate, an extension stands twice, or a name holds NUL or undecodable octets.
    #[error("the certificate is malformed")]
    Malformed,
}

/// otherName type of the User Principal Name.
const USER_PRINCIPAL_NAME: &str = "1.3.6.1.4.1.311.20.2.3";

/// accessMethod id-ad-ocsp.
const OCSP: &str = "1.3.6.1.5.5.7.48.1";

/// Decodes one certificate.
///
/// # Errors
/// [`DecodeError::Malformed`].
pub fn decode(der: &[u8]) -> Result<Certificate, DecodeError> {
    let parsed = parse(der)?;
    let (key_algorithm, key_bits) = key_type(parsed.public_key());
    let mut certificate = Certificate {
        version: u8::try_from(parsed.version().0.saturating_add(1)).map_err(|_| DecodeError::Malformed)?,
        serial: hexadecimal(without_sign_octet(parsed.raw_serial())),
        issuer: name(parsed.issuer())?,
        subject: name(parsed.subject())?,
        not_before_seconds: parsed.validity().not_before.timestamp(),
        not_after_seconds: parsed.validity().not_after.timestamp(),
        mail_addresses: Vec::new(),
        dns_names: Vec::new(),
        user_principal_names: Vec::new(),
        key_usages: Vec::new(),
        extended_key_usages: Vec::new(),
        policies: Vec::new(),
        ocsp_responders: Vec::new(),
        crl_distribution_points: Vec::new(),
        is_ca: false,
        fingerprint: fingerprint(der),
        public_key_fingerprint: fingerprint(parsed.public_key().raw),
        key_algorithm,
        key_bits,
    };
    for (n, extension) in parsed.extensions().iter().enumerate() {
        let is_repeated = parsed.extensions().iter().take(n).any(|e| e.oid == extension.oid);
        if is_repeated {
            return Err(DecodeError::Malformed);
        }
        read_extension(&mut certificate, extension)?;
    }
    Ok(certificate)
}

/// The SubjectPublicKeyInfo, for a certificate whose signature checks must go by the bare key.
///
/// # Errors
/// [`DecodeError::Malformed`].
pub fn subject_public_key_info(der: &[u8]) -> Result<Vec<u8>, DecodeError> {
    Ok(parse(der)?.public_key().raw.to_vec())
}

/// The octets that the question to an OCSP responder is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawParts {
    /// The issuer's name, DER.
    pub issuer: Vec<u8>,
    /// The contents of the serial number's INTEGER.
    pub serial: Vec<u8>,
    /// The public key: the bit string without its count of unused bits.
    pub public_key: Vec<u8>,
}

/// The raw parts of a certificate.
///
/// # Errors
/// [`DecodeError::Malformed`].
pub fn raw_parts(der: &[u8]) -> Result<RawParts, DecodeError> {
    let parsed = parse(der)?;
    Ok(RawParts {
        issuer: parsed.issuer().as_raw().to_vec(),
        serial: parsed.raw_serial().to_vec(),
        public_key: parsed.public_key().subject_public_key.data.to_vec(),
    })
}

/// Whether a certificate names itself as its issuer, by name and, where both are given, by key identifier: a
/// certificate of a new key under the old one has one name twice and is not self-signed.
///
/// # Errors
/// [`DecodeError::Malformed`].
pub fn is_self_signed(der: &[u8]) -> Result<bool, DecodeError> {
    let parsed = parse(der)?;
    let mut subject_key = None;
    let mut authority_key = None;
    for extension in parsed.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => subject_key = Some(id.0),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                authority_key = id.key_identifier.as_ref().map(|id| id.0);
            }
            _ => {}
        }
    }
    let same_key = match (subject_key, authority_key) {
        (Some(subject), Some(authority)) => subject == authority,
        _ => true,
    };
    Ok(same_key && parsed.subject().as_raw() == parsed.issuer().as_raw())
}

/// The path length constraint of a CA certificate: how many intermediates may stand below it (RFC 5280 section
/// 4.2.1.9); absent without one.
///
/// # Errors
/// [`DecodeError::Malformed`].
pub fn path_length_constraint(der: &[u8]) -> Result<Option<u32>, DecodeError> {
    let constraints = parse(der)?
        .basic_constraints()
        .map_err(|_| DecodeError::Malformed)?
        .map(|e| e.value.clone());
    Ok(constraints.and_then(|constraints| constraints.path_len_constraint))
}

/// The algorithm a certificate is signed with, as OpenSSL names it; the dotted OID of one without a name here.
///
/// # Errors
/// [`DecodeError::Malformed`].
pub fn signature_algorithm(der: &[u8]) -> Result<String, DecodeError> {
    let oid = parse(der)?.signature_algorithm.algorithm.to_id_string();
    let known = [
        ("1.2.840.113549.1.1.4", "md5WithRSAEncryption"),
        ("1.2.840.113549.1.1.5", "sha1WithRSAEncryption"),
        ("1.2.840.113549.1.1.10", "rsassaPss"),
        ("1.2.840.113549.1.1.11", "sha256WithRSAEncryption"),
        ("1.2.840.113549.1.1.12", "sha384WithRSAEncryption"),
        ("1.2.840.113549.1.1.13", "sha512WithRSAEncryption"),
        ("1.2.840.10045.4.1", "ecdsa-with-SHA1"),
        ("1.2.840.10045.4.3.2", "ecdsa-with-SHA256"),
        ("1.2.840.10045.4.3.3", "ecdsa-with-SHA384"),
        ("1.2.840.10045.4.3.4", "ecdsa-with-SHA512"),
        ("1.3.101.112", "ED25519"),
    ];
    let found = known.iter().find(|(known, _)| *known == oid);
    Ok(found.map_or(oid, |(_, name)| (*name).to_owned()))
}

/// The name constraints that an authority is bound by, in words; absent without any.
///
/// # Errors
/// [`DecodeError::Malformed`].
pub fn name_constraints(der: &[u8]) -> Result<Option<String>, DecodeError> {
    let parsed = parse(der)?;
    let constraints = parsed.name_constraints().map_err(|_| DecodeError::Malformed)?;
    let Some(constraints) = constraints.map(|extension| extension.value) else {
        return Ok(None);
    };
    let kinds = [
        ("permitted", &constraints.permitted_subtrees),
        ("excluded", &constraints.excluded_subtrees),
    ];
    let mut parts = Vec::new();
    for (word, trees) in kinds {
        let trees = trees.iter().flatten();
        parts.extend(trees.map(|tree| format!("{word} {}", tree.base.to_string().escape_debug())));
    }
    Ok(Some(parts.join(", ")))
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, DecodeError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(DecodeError::Malformed),
    }
}

fn read_extension(certificate: &mut Certificate, extension: &X509Extension<'_>) -> Result<(), DecodeError> {
    match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => {
            for general_name in &names.general_names {
                read_general_name(certificate, general_name)?;
            }
        }
        ParsedExtension::ExtendedKeyUsage(usages) => certificate.extended_key_usages = dotted_usages(usages),
        ParsedExtension::CertificatePolicies(policies) => {
            certificate.policies = policies.iter().map(|p| p.policy_id.to_id_string()).collect();
        }
        ParsedExtension::KeyUsage(usages) => certificate.key_usages = key_usage_names(*usages),
        ParsedExtension::AuthorityInfoAccess(access) => {
            let responders = access
                .accessdescs
                .iter()
                .filter(|a| a.access_method.to_id_string() == OCSP);
            certificate.ocsp_responders = responders.filter_map(|a| url(&a.access_location)).collect();
        }
        ParsedExtension::CRLDistributionPoints(points) => {
            let names = points
                .points
                .iter()
                .filter_map(|point| match &point.distribution_point {
                    Some(DistributionPointName::FullName(names)) => Some(names),
                    _ => None,
                });
            certificate.crl_distribution_points = names.flatten().filter_map(url).collect();
        }
        ParsedExtension::BasicConstraints(constraints) => certificate.is_ca = constraints.ca,
        ParsedExtension::ParseError { .. } => return Err(DecodeError::Malformed),
        _ => {}
    }
    Ok(())
}

/// The URL in a general name.
pub(super) fn url(general_name: &GeneralName<'_>) -> Option<String> {
    match general_name {
        GeneralName::URI(url) => Some((*url).to_owned()),
        _ => None,
    }
}

/// The bits of RFC 5280 section 4.2.1.3, by name.
fn key_usage_names(usages: KeyUsage) -> Vec<String> {
    let bits = [
        (usages.digital_signature(), "digitalSignature"),
        (usages.non_repudiation(), "nonRepudiation"),
        (usages.key_encipherment(), "keyEncipherment"),
        (usages.data_encipherment(), "dataEncipherment"),
        (usages.key_agreement(), "keyAgreement"),
        (usages.key_cert_sign(), "keyCertSign"),
        (usages.crl_sign(), "cRLSign"),
        (usages.encipher_only(), "encipherOnly"),
        (usages.decipher_only(), "decipherOnly"),
    ];
    let set = bits.iter().filter(|(is_set, _)| *is_set);
    set.map(|(_, name)| (*name).to_owned()).collect()
}

fn read_general_name(certificate: &mut Certificate, general_name: &GeneralName<'_>) -> Result<(), DecodeError> {
    match general_name {
        GeneralName::RFC822Name(mailbox) => certificate.mail_addresses.push(without_nul((*mailbox).to_owned())?),
        GeneralName::DNSName(host) => certificate.dns_names.push(without_nul((*host).to_owned())?),
        GeneralName::OtherName(oid, value) if oid.to_id_string() == USER_PRINCIPAL_NAME => {
            certificate.user_principal_names.push(user_principal_name(value)?);
        }
        GeneralName::Invalid(..) => return Err(DecodeError::Malformed),
        _ => {}
    }
    Ok(())
}

/// `[0] EXPLICIT UTF8String`.
fn user_principal_name(value: &[u8]) -> Result<String, DecodeError> {
    let (_, explicit) = Any::from_der(value).map_err(|_| DecodeError::Malformed)?;
    let (_, inner) = Any::from_der(explicit.data).map_err(|_| DecodeError::Malformed)?;
    string(&inner)
}

fn dotted_usages(usages: &ExtendedKeyUsage<'_>) -> Vec<String> {
    let known = [
        (usages.any, "2.5.29.37.0"),
        (usages.server_auth, "1.3.6.1.5.5.7.3.1"),
        (usages.client_auth, "1.3.6.1.5.5.7.3.2"),
        (usages.code_signing, "1.3.6.1.5.5.7.3.3"),
        (usages.email_protection, "1.3.6.1.5.5.7.3.4"),
        (usages.time_stamping, "1.3.6.1.5.5.7.3.8"),
        (usages.ocsp_signing, "1.3.6.1.5.5.7.3.9"),
    ];
    known
        .iter()
        .filter(|(is_listed, _)| *is_listed)
        .map(|(_, oid)| (*oid).to_owned())
        .chain(usages.other.iter().map(Oid::to_id_string))
        .collect()
}

pub(super) fn name(name: &X509Name<'_>) -> Result<DistinguishedName, DecodeError> {
    let attribute = |a: &x509_parser::x509::AttributeTypeAndValue<'_>| {
        Ok(Attribute {
            oid: attribute_type(a.attr_type())?,
            value: string(a.attr_value())?,
        })
    };
    let rdns: Result<Vec<Rdn>, DecodeError> = name
        .iter_rdn()
        .map(|rdn| rdn.iter().map(attribute).collect::<Result<_, _>>().map(Rdn))
        .collect();
    rdns.map(DistinguishedName)
}

/// The dotted OID. X.690 section 8.19.2: "the leading octet of the subidentifier shall not have the value 80"; with such
/// padding two encodings would be one attribute here and another elsewhere.
fn attribute_type(oid: &Oid<'_>) -> Result<String, DecodeError> {
    let octets = oid.as_bytes();
    let starts_padded = |at: &(usize, &u8)| {
        let before = at.0.checked_sub(1).and_then(|before| octets.get(before));
        *at.1 == 0x80 && before.is_none_or(|before| before & 0x80 == 0)
    };
    let is_whole = octets.last().is_some_and(|last| last & 0x80 == 0);
    let is_padded = octets.iter().enumerate().any(|at| starts_padded(&at));
    if is_whole && !is_padded {
        Ok(oid.to_id_string())
    } else {
        Err(DecodeError::Malformed)
    }
}

/// A value as Unicode. T61String is read as Latin-1, which is what its users meant and OpenSSL assumes.
fn string(any: &Any<'_>) -> Result<String, DecodeError> {
    let octets = any.data;
    let text = match any.tag() {
        Tag::Utf8String => std::str::from_utf8(octets).ok().map(str::to_owned),
        Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => octets
            .is_ascii()
            .then(|| octets.iter().copied().map(char::from).collect()),
        Tag::T61String => Some(octets.iter().copied().map(char::from).collect()),
        Tag::BmpString => utf16(octets),
        Tag::UniversalString => utf32(octets),
        _ => None,
    };
    without_nul(text.ok_or(DecodeError::Malformed)?)
}

fn utf16(octets: &[u8]) -> Option<String> {
    let (units, rest) = octets.as_chunks::<2>();
    let units = units.iter().map(|unit| u16::from_be_bytes(*unit));
    rest.is_empty()
        .then(|| char::decode_utf16(units).collect::<Result<_, _>>().ok())?
}

fn utf32(octets: &[u8]) -> Option<String> {
    let (units, rest) = octets.as_chunks::<4>();
    let units = units.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit)));
    rest.is_empty().then(|| units.collect())?
}

fn without_nul(text: String) -> Result<String, DecodeError> {
    if text.contains('\0') {
        return Err(DecodeError::Malformed);
    }
    Ok(text)
}

/// DER puts a zero octet before a number whose first bit is set; nobody prints it.
fn without_sign_octet(octets: &[u8]) -> &[u8] {
    match octets {
        [0, rest @ ..] if !rest.is_empty() => rest,
        _ => octets,
    }
}

pub(super) fn fingerprint(octets: &[u8]) -> String {
    hexadecimal(digest(&SHA256, octets).as_ref())
}

fn hexadecimal(octets: &[u8]) -> String {
    let mut out = String::with_capacity(octets.len().saturating_mul(3));
    for (n, octet) in octets.iter().enumerate() {
        let colon = if n == 0 { "" } else { ":" };
        let _ = write!(out, "{colon}{octet:02X}");
    }
    out
}

/// The name of the algorithm and the size of the key in bits.
fn key_type(key: &SubjectPublicKeyInfo<'_>) -> (String, u32) {
    let oid = key.algorithm.algorithm.to_id_string();
    match oid.as_str() {
        "1.2.840.113549.1.1.1" | "1.2.840.113549.1.1.10" => match key.parsed() {
            Ok(PublicKey::RSA(rsa)) => ("RSA".to_owned(), bit_length(rsa.modulus)),
            _ => ("RSA".to_owned(), 0),
        },
        "1.2.840.10045.2.1" => ("ECDSA".to_owned(), curve_bits(key)),
        "1.3.101.112" => ("Ed25519".to_owned(), 256),
        _ => (oid, 0),
    }
}

fn bit_length(number: &[u8]) -> u32 {
    let mut significant = number.iter().skip_while(|octet| **octet == 0);
    let first = significant.next().map_or(0, |octet| 8 - octet.leading_zeros());
    let rest = u32::try_from(significant.count()).unwrap_or(u32::MAX);
    first.saturating_add(rest.saturating_mul(8))
}

fn curve_bits(key: &SubjectPublicKeyInfo<'_>) -> u32 {
    let parameters = key.algorithm.parameters.as_ref();
    let curve = parameters
        .and_then(|any| any.as_oid().ok())
        .map(|oid| oid.to_id_string());
    match curve.as_deref() {
        Some("1.2.840.10045.3.1.7" | "1.3.132.0.10") => 256,
        Some("1.3.132.0.34") => 384,
        Some("1.3.132.0.35") => 521,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(tag: Tag, octets: &[u8]) -> Any<'_> {
        Any::from_tag_and_data(tag, octets)
    }

    #[test]
    fn every_string_type_is_decoded_to_unicode() {
        let cases: [(Tag, &[u8], &str); 6] = [
            (Tag::Utf8String, "é".as_bytes(), "é"),
            (Tag::PrintableString, b"CNRS", "CNRS"),
            (Tag::Ia5String, b"a@b", "a@b"),
            (Tag::T61String, b"\xe9", "é"),
            (Tag::BmpString, b"\x00\xe9\xd8\x3d\xde\x00", "é😀"),
            (Tag::UniversalString, b"\x00\x01\xf6\x00", "😀"),
        ];
        for (tag, octets, expected) in cases {
            assert_eq!(string(&any(tag, octets)).as_deref(), Ok(expected), "{tag:?}");
        }
    }

    #[test]
    fn a_value_that_cannot_be_read_without_doubt_is_refused() {
        let cases: [(Tag, &[u8]); 8] = [
            (Tag::Utf8String, b"\xe9"),
            (Tag::Utf8String, b"alice\0.example.net"),
            (Tag::PrintableString, b"\xe9"),
            (Tag::BmpString, b"\x00"),
            (Tag::BmpString, b"\xd8\x3d"),
            (Tag::BmpString, b"\x00\x00"),
            (Tag::UniversalString, b"\x00\x11\x00\x00"),
            (Tag::BitString, b"\x00\xff"),
        ];
        for (tag, octets) in cases {
            assert_eq!(
                string(&any(tag, octets)),
                Err(DecodeError::Malformed),
                "{tag:?} {octets:?}"
            );
        }
    }

    #[test]
    fn an_attribute_type_that_is_not_encoded_as_it_should_be_is_refused() {
        let read = |octets: &[u8]| attribute_type(&Oid::new(octets.to_vec().into()));
        assert_eq!(read(&[0x55, 4, 11]).as_deref(), Ok("2.5.4.11"));
        assert_eq!(read(&[0x2a, 0x81, 0x80, 0x01]).as_deref(), Ok("1.2.16385"));
        for octets in [&[][..], &[0x55, 4, 0x80, 11], &[0x55, 4, 0x8b], &[0x80, 0x55]] {
            assert_eq!(read(octets), Err(DecodeError::Malformed), "{octets:?}");
        }
    }

    #[test]
    fn octets_that_are_no_certificate_are_refused() {
        for octets in [&b""[..], b"\x30", b"\x30\x80", b"not a certificate"] {
            assert_eq!(decode(octets), Err(DecodeError::Malformed));
        }
    }

    #[test]
    fn numbers_are_measured_and_printed_without_leading_zeros() {
        assert_eq!(bit_length(&[0, 0x80, 0]), 16);
        assert_eq!(bit_length(&[0x01, 0xff]), 9);
        assert_eq!(hexadecimal(without_sign_octet(&[0, 0xAB, 0xCD])), "AB:CD");
        assert_eq!(hexadecimal(without_sign_octet(&[0])), "00");
    }
}
