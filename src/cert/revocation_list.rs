//! DER to [`RevocationList`]: which certificates an authority has taken back.
//!
//! **Implements** RFC 5280 section 5: complete lists of version 1 and 2, the issuing distribution point with
//! onlyContainsUserCerts, onlyContainsCACerts and distributionPoint names.
//! **Does not** verify the signature (`io::tls` does), nor take delta lists, indirect lists and lists of some reasons
//! only: what would leave a revoked certificate out is refused.
//! **Bugs** while it is read, a list takes some ten times its size in memory.

use std::collections::HashMap;

use x509_parser::der_parser::asn1_rs::{Any, Class};
use x509_parser::extensions::{DistributionPointName, IssuingDistributionPoint, ParsedExtension, X509Extension};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::{CertificateRevocationList, RevokedCertificate};
use x509_parser::x509::ReasonCode;

use super::certificate::Certificate;
use super::decode::{fingerprint, name, url};
use super::name::DistinguishedName;

/// Why a revocation list cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// Not DER of a revocation list.
    #[error("is malformed; get it anew from its issuer")]
    Malformed,
    /// deltaCRLIndicator.
    #[error("is a delta list; give the complete list instead")]
    Delta,
    /// indirectCRL.
    #[error("is an indirect list, which speaks for other issuers too; give each issuer's own list")]
    Indirect,
    /// onlySomeReasons.
    #[error("covers some reasons for revocation only; give the list of all reasons")]
    SomeReasons,
    /// onlyContainsAttributeCerts.
    #[error("is about attribute certificates, which nobody shows here; leave it out")]
    AttributeCertificates,
    /// A distribution point named relative to its issuer.
    #[error("names its distribution point relative to its issuer, which is not supported; give the complete list")]
    RelativeName,
    /// A critical extension, of the list or of an entry.
    #[error("has the critical extension {0}, which this program does not know; give a list without it")]
    CriticalExtension(String),
}

/// A complete revocation list, for all or some of an issuer's certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationList {
    /// Whose certificates it is about.
    pub issuer: DistinguishedName,
    /// cRLNumber, decimal; absent in version 1.
    pub number: Option<String>,
    /// thisUpdate, seconds since 1970.
    pub this_update_seconds: i64,
    /// nextUpdate, seconds since 1970.
    pub next_update_seconds: Option<i64>,
    /// Which certificates of the issuer it is about.
    pub scope: Scope,
    /// SHA-256 of the whole list, upper-case hexadecimal with colons.
    pub fingerprint: String,
    /// By serial number, without leading zeros.
    revoked: HashMap<Vec<u8>, Revoked>,
}

/// Which certificates of an issuer a list is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Those of people and hosts.
    pub covers_users: bool,
    /// Those of authorities.
    pub covers_authorities: bool,
    /// Those that name one of these distribution points; all without.
    pub points: Option<Vec<String>>,
}

/// An entry of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// revocationDate, seconds since 1970.
    pub since_seconds: i64,
    /// reasonCode, in the words of RFC 5280 section 5.3.1.
    pub reason: Option<&'static str>,
}

impl RevocationList {
    /// The entry of a certificate, which must be one of the same issuer.
    pub fn entry(&self, certificate: &Certificate) -> Option<Revoked> {
        let octets = certificate
            .serial
            .split(':')
            .map(|digits| u8::from_str_radix(digits, 16));
        let serial: Result<Vec<u8>, _> = octets.collect();
        self.revoked.get(number(&serial.ok()?)).copied()
    }

    /// How many certificates it lists.
    pub fn entries(&self) -> usize {
        self.revoked.len()
    }
}

impl Scope {
    /// Whether a list of this scope can tell of a certificate. One that names no distribution point is covered by a
    /// list of any.
    pub fn covers(&self, certificate: &Certificate) -> bool {
        let is_of_kind = if certificate.is_ca {
            self.covers_authorities
        } else {
            self.covers_users
        };
        let own = &certificate.crl_distribution_points;
        let names_a_point =
            |points: &Vec<String>| own.is_empty() || own.iter().any(|point| points.iter().any(|known| known == point));
        is_of_kind && self.points.as_ref().is_none_or(names_a_point)
    }
}

/// Whether octets begin like a revocation list rather than a certificate or something else.
pub fn is_list(der: &[u8]) -> bool {
    matches!(CertificateRevocationList::from_der(der), Ok(([], _)))
}

/// Decodes one list.
///
/// # Errors
/// [`ListError`].
pub fn decode(der: &[u8]) -> Result<RevocationList, ListError> {
    let Ok(([], parsed)) = CertificateRevocationList::from_der(der) else {
        return Err(ListError::Malformed);
    };
    let list = &parsed.tbs_cert_list;
    // The parser stops at an entry that it cannot read, and so does the piece that it took for the whole.
    let is_whole = matches!(Any::from_der(list.as_ref()), Ok(([], _)));
    if !is_whole || list.signature != parsed.signature_algorithm {
        return Err(ListError::Malformed);
    }
    let scope = scope(parsed.extensions())?;
    let mut revoked = HashMap::with_capacity(list.revoked_certificates.len());
    for entry in &list.revoked_certificates {
        revoked.insert(number(entry.raw_serial()).to_vec(), read_entry(entry)?);
    }
    Ok(RevocationList {
        issuer: name(parsed.issuer()).map_err(|_| ListError::Malformed)?,
        number: parsed.crl_number().map(ToString::to_string),
        this_update_seconds: parsed.last_update().timestamp(),
        next_update_seconds: parsed.next_update().map(|time| time.timestamp()),
        scope,
        fingerprint: fingerprint(der),
        revoked,
    })
}

/// Serial numbers are compared as numbers.
fn number(octets: &[u8]) -> &[u8] {
    let zeros = octets.iter().take_while(|octet| **octet == 0).count();
    octets.get(zeros..).unwrap_or_default()
}

fn read_entry(entry: &RevokedCertificate<'_>) -> Result<Revoked, ListError> {
    for extension in entry.extensions() {
        let is_known = matches!(
            extension.parsed_extension(),
            ParsedExtension::ReasonCode(_) | ParsedExtension::InvalidityDate(_)
        );
        refuse_critical(extension, is_known)?;
    }
    Ok(Revoked {
        since_seconds: entry.revocation_date.timestamp(),
        reason: entry.reason_code().and_then(|(_, code)| reason(code)),
    })
}

fn refuse_critical(extension: &X509Extension<'_>, is_known: bool) -> Result<(), ListError> {
    if extension.critical && !is_known {
        return Err(ListError::CriticalExtension(extension.oid.to_id_string()));
    }
    Ok(())
}

fn reason(code: ReasonCode) -> Option<&'static str> {
    Some(match code {
        ReasonCode::KeyCompromise => "keyCompromise",
        ReasonCode::CACompromise => "cACompromise",
        ReasonCode::AffiliationChanged => "affiliationChanged",
        ReasonCode::Superseded => "superseded",
        ReasonCode::CessationOfOperation => "cessationOfOperation",
        ReasonCode::CertificateHold => "certificateHold",
        ReasonCode::PrivilegeWithdrawn => "privilegeWithdrawn",
        ReasonCode::AACompromise => "aACompromise",
        _ => return None,
    })
}

/// deltaCRLIndicator 2.5.29.27.
const DELTA: &str = "2.5.29.27";

fn scope(extensions: &[X509Extension<'_>]) -> Result<Scope, ListError> {
    let mut scope = Scope {
        covers_users: true,
        covers_authorities: true,
        points: None,
    };
    for (n, extension) in extensions.iter().enumerate() {
        if extensions.iter().take(n).any(|earlier| earlier.oid == extension.oid) {
            return Err(ListError::Malformed);
        }
        if extension.oid.to_id_string() == DELTA {
            return Err(ListError::Delta);
        }
        match extension.parsed_extension() {
            ParsedExtension::IssuingDistributionPoint(point) => scope = read_point(point, extension.value)?,
            ParsedExtension::CRLNumber(_) | ParsedExtension::AuthorityKeyIdentifier(_) => {}
            ParsedExtension::ParseError { .. } => return Err(ListError::Malformed),
            _ => refuse_critical(extension, false)?,
        }
    }
    Ok(scope)
}

fn read_point(point: &IssuingDistributionPoint<'_>, der: &[u8]) -> Result<Scope, ListError> {
    check_read_whole(point, der)?;
    if point.indirect_crl {
        return Err(ListError::Indirect);
    }
    if point.only_some_reasons.is_some() {
        return Err(ListError::SomeReasons);
    }
    if point.only_contains_attribute_certs {
        return Err(ListError::AttributeCertificates);
    }
    let points = match &point.distribution_point {
        None => None,
        Some(DistributionPointName::FullName(names)) => Some(names.iter().filter_map(url).collect()),
        Some(DistributionPointName::NameRelativeToCRLIssuer(_)) => return Err(ListError::RelativeName),
    };
    Ok(Scope {
        covers_users: !point.only_contains_ca_certs,
        covers_authorities: !point.only_contains_user_certs,
        points,
    })
}

/// The parser passes over parts that it cannot read, which would make the list one of everything.
fn check_read_whole(point: &IssuingDistributionPoint<'_>, der: &[u8]) -> Result<(), ListError> {
    let (_, sequence) = Any::from_der(der).map_err(|_| ListError::Malformed)?;
    let mut rest = sequence.data;
    while !rest.is_empty() {
        let (after, part) = Any::from_der(rest).map_err(|_| ListError::Malformed)?;
        let is_false = part.data == [0];
        let is_read = match part.tag().0 {
            _ if part.class() != Class::ContextSpecific => false,
            0 if point.distribution_point.is_none() => {
                let choice = Any::from_der(part.data).map(|(_, choice)| choice.tag().0);
                return Err(match choice {
                    Ok(1) => ListError::RelativeName,
                    _ => ListError::Malformed,
                });
            }
            0 => true,
            1 => point.only_contains_user_certs || is_false,
            2 => point.only_contains_ca_certs || is_false,
            3 => point.only_some_reasons.is_some(),
            4 => point.indirect_crl || is_false,
            5 => point.only_contains_attribute_certs || is_false,
            _ => false,
        };
        if !is_read {
            return Err(ListError::Malformed);
        }
        rest = after;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_are_compared_without_leading_zeros() {
        assert_eq!(number(&[0, 0, 0x80, 0]), [0x80, 0]);
        assert_eq!(number(&[0]), [0_u8; 0]);
    }

    #[test]
    fn octets_that_are_no_list_are_refused() {
        for octets in [&b""[..], b"\x30", b"\x30\x00", b"not a list"] {
            assert_eq!(decode(octets), Err(ListError::Malformed));
            assert!(!is_list(octets));
        }
    }
}
