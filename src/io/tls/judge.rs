//! The judge: whether a client's certificate leads to a trust anchor, and if not, why.
//!
//! **Implements** RFC 5280 path validation with webpki after the handshake, with the extended key usage rule of
//! `docs/certificates.md`, `smtpd_tls_ccert_verifydepth`, and one precise reason for each refusal. It is asked again
//! for every resumed session, since rustls restores a chain from a ticket without looking at it.
//! **Does not** check revocation lists.

use std::path::Path;
use std::sync::Arc;

use rustls::DistinguishedName as EncodedName;
use rustls::pki_types::{CertificateDer, TrustAnchor};
use webpki::{EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, VerifiedPath};

use super::authorities::{Authorities, Purpose, Sources};
use super::error::TlsFileError;
use super::presented;
use super::provider::{algorithms, unix_time};
use super::settings::ServerTlsFiles;
use crate::cert::certificate::Certificate;
use crate::cert::decode;
use crate::cert::examination::Examination;
use crate::cert::identity::{Identity, Why};
use crate::cert::name::DistinguishedName;

/// The smallest RSA key that counts, bits; smaller ones cannot complete a handshake either.
const RSA_BITS_MIN: u32 = 2048;

/// The authorities of a listener and the rule by which they vouch.
#[derive(Debug)]
pub struct Judge {
    authorities: Authorities,
    verify_depth: usize,
}

impl Judge {
    /// Reads the authorities. Without any file every certificate is unverified.
    ///
    /// `verify_depth` is the largest number of intermediates between leaf and anchor
    /// (`smtpd_tls_ccert_verifydepth`; webpki itself stops at 6).
    ///
    /// # Errors
    /// Everything that is wrong with the files; an expired root among them, by name.
    pub fn load(
        ca_file: Option<&Path>,
        ca_path: Option<&Path>,
        append_default_ca: bool,
        verify_depth: usize,
        now_unix_seconds: i64,
    ) -> Result<Self, Vec<TlsFileError>> {
        let sources = Sources {
            ca_file,
            ca_path,
            append_default_ca,
        };
        Ok(Self {
            authorities: Authorities::load(sources, Purpose::Clients, now_unix_seconds)?,
            verify_depth,
        })
    }

    /// Subjects of the CAfile's certificates, as Postfix sends them in a CertificateRequest: a mail client picks its
    /// certificate by them. Those of CApath and of the system's store are not sent.
    pub fn hints(&self) -> Vec<EncodedName> {
        let subjects = self.authorities.hint_subjects.iter();
        subjects.map(|subject| EncodedName::in_sequence(subject)).collect()
    }

    /// The names of the trust anchors.
    pub fn anchors(&self) -> Vec<DistinguishedName> {
        let limits = self.authorities.anchor_limits.iter();
        limits.map(|(anchor, _)| anchor.subject.clone()).collect()
    }

    /// The judge of a listener with these files.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub fn of(files: &ServerTlsFiles, now_unix_seconds: i64) -> Result<Self, Vec<TlsFileError>> {
        Self::load(
            files.ca_file.as_deref(),
            files.ca_path.as_deref(),
            files.append_default_ca,
            files.verify_depth,
            now_unix_seconds,
        )
    }

    /// Judges what a client presented and tells every check; `now_unix_seconds` is the time to judge at.
    pub fn examine(&self, presented: Option<&[CertificateDer<'_>]>, now_unix_seconds: i64) -> Examination {
        Examination {
            identity: self.judge(presented, now_unix_seconds),
            until_unix_seconds: i64::MAX,
            steps: Vec::new(),
        }
    }

    /// Judges what a client presented, leaf first; `now_unix_seconds` is the time to judge at.
    pub fn judge(&self, presented: Option<&[CertificateDer<'_>]>, now_unix_seconds: i64) -> Identity {
        let Some([leaf, rest @ ..]) = presented else {
            return Identity::NoCertificate;
        };
        let Ok(certificate) = decode::decode(leaf) else {
            return Identity::Unverified {
                why: Why::Malformed,
                certificate: None,
            };
        };
        let certificate = Arc::new(certificate);
        match self.verify(&certificate, leaf, rest, now_unix_seconds) {
            Ok(chain) => Identity::Verified { certificate, chain },
            Err(why) => Identity::Unverified {
                why,
                certificate: Some(certificate),
            },
        }
    }

    fn verify(
        &self,
        certificate: &Certificate,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now_unix_seconds: i64,
    ) -> Result<Vec<Arc<Certificate>>, Why> {
        if certificate.version != 3 {
            return Err(Why::OldVersion);
        }
        let candidates = self.candidates(rest);
        let end_entity = EndEntityCert::try_from(leaf).map_err(|error| why(&error))?;
        let issuers = self.issuers_by_name(end_entity.issuer(), &candidates);
        // webpki looks at the leaf's dates and usages before its issuer: for a stranger's certificate "expired"
        // would be the lesser half of the truth.
        if !issuers.reach_an_anchor {
            return Err(Why::UnknownIssuer);
        }
        let check_path = |path: &VerifiedPath<'_>| self.check_path(path, now_unix_seconds);
        let verified = end_entity.verify_for_usage(
            algorithms().all,
            &self.authorities.anchors,
            &candidates,
            unix_time(now_unix_seconds),
            ClientUsage,
            None,
            Some(&check_path),
        );
        match verified {
            Ok(_) if is_weak(certificate) => Err(Why::WeakAlgorithm),
            Ok(path) => self.issuers(&path),
            // A signature by a key under 2048 bits is refused as a bad one; say what is truly wrong.
            Err(Error::InvalidSignatureForPublicKey) if issuers.one_is_weak => Err(Why::WeakAlgorithm),
            Err(error) => Err(why(&error)),
        }
    }

    /// What webpki leaves out: our own depth, and the path length and dates of the anchor.
    fn check_path(&self, path: &VerifiedPath<'_>, now_unix_seconds: i64) -> Result<(), Error> {
        let (_, (anchor, path_length)) = self
            .anchors_with_limits()
            .find(|(anchor, _)| *anchor == path.anchor())
            .ok_or(Error::UnknownIssuer)?;
        let path_length = path_length.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        if path.intermediate_certificates().count() > self.verify_depth.min(path_length) {
            return Err(Error::PathLenConstraintViolated);
        }
        if now_unix_seconds > anchor.not_after_seconds {
            return Err(Error::CertExpired {
                time: unix_time(now_unix_seconds),
                not_after: unix_time(anchor.not_after_seconds),
            });
        }
        Ok(())
    }

    fn anchors_with_limits(&self) -> impl Iterator<Item = (&TrustAnchor<'static>, &(Certificate, Option<u32>))> {
        self.authorities.anchors.iter().zip(&self.authorities.anchor_limits)
    }

    /// Intermediates the path may use: the pool first, so that a peer cannot crowd it out, then what was presented.
    fn candidates<'a>(&'a self, presented: &'a [CertificateDer<'_>]) -> Vec<CertificateDer<'a>> {
        let pool = self
            .authorities
            .pool
            .iter()
            .map(|der| CertificateDer::from(der.as_ref()));
        pool.chain(presented::leading_on(presented)).collect()
    }

    /// Follows issuer names upwards, without looking at signatures or dates.
    fn issuers_by_name(&self, issuer: &[u8], candidates: &[CertificateDer<'_>]) -> Issuers {
        let mut found = Issuers::default();
        let mut wanted = vec![issuer.to_vec()];
        let mut next = 0;
        while let Some(name) = wanted.get(next).cloned() {
            next += 1;
            let anchors = self.anchors_with_limits();
            for (_, (certificate, _)) in anchors.filter(|(anchor, _)| anchor.subject.as_ref() == name) {
                found.reach_an_anchor = true;
                found.one_is_weak |= is_weak(certificate);
            }
            for der in candidates {
                let Ok(parsed) = EndEntityCert::try_from(der) else {
                    continue;
                };
                if parsed.subject() == name {
                    found.one_is_weak |= decode::decode(der).is_ok_and(|c| is_weak(&c));
                    if !wanted.iter().any(|known| known == parsed.issuer()) {
                        wanted.push(parsed.issuer().to_vec());
                    }
                }
            }
        }
        found
    }

    /// The certificates from the leaf's issuer up to the anchor.
    fn issuers(&self, path: &VerifiedPath<'_>) -> Result<Vec<Arc<Certificate>>, Why> {
        let intermediates = path.intermediate_certificates();
        let mut issuers = intermediates
            .map(|c| decode::decode(&c.der()).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| Why::Malformed)?;
        let anchor = self.anchors_with_limits().find(|(anchor, _)| *anchor == path.anchor());
        issuers.extend(anchor.map(|(_, (certificate, _))| Arc::new(certificate.clone())));
        Ok(issuers)
    }
}

/// What a walk along issuer names met.
#[derive(Default)]
struct Issuers {
    reach_an_anchor: bool,
    one_is_weak: bool,
}

fn is_weak(certificate: &Certificate) -> bool {
    certificate.key_algorithm == "RSA" && certificate.key_bits < RSA_BITS_MIN
}

/// clientAuth or anyExtendedKeyUsage must be listed; webpki asks only where the extension is present.
struct ClientUsage;

/// id-kp-clientAuth 1.3.6.1.5.5.7.3.2.
const CLIENT_AUTH: KeyPurposeId<'static> = KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 2]);
/// anyExtendedKeyUsage 2.5.29.37.0.
const ANY_USAGE: KeyPurposeId<'static> = KeyPurposeId::new(&[0x55, 0x1d, 0x25, 0]);

impl ExtendedKeyUsageValidator for ClientUsage {
    fn validate(&self, usages: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let mut is_empty = true;
        for usage in usages {
            let usage = usage?;
            is_empty = false;
            if usage == CLIENT_AUTH || usage == ANY_USAGE {
                return Ok(());
            }
        }
        if is_empty {
            Ok(())
        } else {
            Err(Error::EmptyEkuExtension)
        }
    }
}

/// webpki's error as a reason. Budgets that run out count as a chain too long.
fn why(error: &Error) -> Why {
    match error {
        Error::CertExpired { .. } => Why::Expired,
        Error::CertNotValidYet { .. } => Why::NotYetValid,
        Error::CertRevoked | Error::CertDistrusted => Why::Revoked,
        Error::UnknownRevocationStatus => Why::CrlMissing,
        Error::CrlExpired { .. } => Why::CrlStale,
        // An end entity above a leaf: nobody signed that leaf who may sign.
        Error::UnknownIssuer | Error::EndEntityUsedAsCa => Why::UnknownIssuer,
        Error::EmptyEkuExtension | Error::RequiredEkuNotFoundContext(_) => Why::WrongExtendedKeyUsage,
        // A signature of another kind than the issuer's key: somebody else made it.
        Error::InvalidSignatureForPublicKey
        | Error::SignatureAlgorithmMismatch
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => Why::BadSignature,
        Error::PathLenConstraintViolated
        | Error::MaximumPathDepthExceeded
        | Error::MaximumPathBuildCallsExceeded
        | Error::MaximumSignatureChecksExceeded => Why::PathLength,
        Error::NameConstraintViolation
        | Error::MalformedNameConstraint
        | Error::InvalidNetworkMaskConstraint
        | Error::MaximumNameConstraintComparisonsExceeded => Why::NameConstraint,
        Error::UnsupportedSignatureAlgorithmContext(_) => Why::WeakAlgorithm,
        Error::UnsupportedCertVersion => Why::OldVersion,
        Error::CaUsedAsEndEntity => Why::CaAsEndEntity,
        _ => Why::Malformed,
    }
}
