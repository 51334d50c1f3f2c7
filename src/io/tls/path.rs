//! The certificates between a leaf and its anchor.
//!
//! **Implements** what is known of a path beside the verdict: where each certificate was found, and for a chain that
//! does not verify the path it was meant to take, followed by names.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use webpki::{EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, VerifiedPath};

use super::authorities::{AnchorDetails, Authorities, Origin};
use super::signature::{self, SignatureFault};
use crate::cert::certificate::Certificate;
use crate::cert::decode;
use crate::cert::identity::Why;
use crate::cert::signed::Signed;

/// The longest path followed by names; webpki takes none of more than 6 intermediates.
const LINKS_MAX: usize = 10;

/// One certificate of a path.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) certificate: Arc<Certificate>,
    pub(super) der: CertificateDer<'static>,
    /// `None` for what the peer presented.
    pub(super) origin: Option<Origin>,
    pub(super) is_anchor: bool,
    /// basicConstraints: how many intermediates may stand below it.
    pub(super) path_length: Option<u32>,
}

impl Link {
    /// What the peer presented, or an intermediate of the pool.
    pub(super) fn new(der: &CertificateDer<'_>, authorities: &Authorities) -> Option<Self> {
        Some(Self {
            certificate: Arc::new(decode::decode(der).ok()?),
            der: der.clone().into_owned(),
            origin: authorities.origin(der),
            is_anchor: false,
            path_length: decode::path_length_constraint(der).ok()?,
        })
    }

    fn of_anchor(anchor: &AnchorDetails, authorities: &Authorities) -> Self {
        Self {
            certificate: Arc::clone(&anchor.certificate),
            der: anchor.der.clone(),
            origin: authorities.origin(&anchor.der),
            is_anchor: true,
            path_length: anchor.path_length,
        }
    }

    /// Whether the key of `issuer` has signed this certificate.
    pub(super) fn signature(&self, issuer: &Self) -> Result<(), SignatureFault> {
        let key = decode::subject_public_key_info(&issuer.der).map_err(|_| SignatureFault::Bad)?;
        let signed = Signed::of(&self.der).ok_or(SignatureFault::Bad)?;
        signature::verify(&key, &signed)
    }
}

/// A path that webpki has found, leaf first, the anchor last; `None` when a certificate of it cannot be decoded without
/// doubt.
pub(super) fn of_verified(path: &VerifiedPath<'_>, leaf: &Link, authorities: &Authorities) -> Option<Vec<Link>> {
    let mut links = vec![leaf.clone()];
    for intermediate in path.intermediate_certificates() {
        links.push(Link::new(&intermediate.der(), authorities)?);
    }
    let mut anchors = authorities.anchors.iter().zip(&authorities.anchor_details);
    // The very one that webpki took: a root that was renewed with its key equals its older certificate there.
    let (_, anchor) = anchors.find(|(anchor, _)| std::ptr::eq(*anchor, path.anchor()))?;
    links.push(Link::of_anchor(anchor, authorities));
    Some(links)
}

/// Follows issuer names upwards from a leaf; of several issuers of one name that whose key fits, an anchor before others.
pub(super) fn by_names(leaf: Link, candidates: &[CertificateDer<'_>], authorities: &Authorities) -> Vec<Link> {
    let mut links = vec![leaf];
    while let Some(last) = links.last().filter(|last| !last.is_anchor)
        && links.len() < LINKS_MAX
    {
        let wanted = &last.certificate.issuer;
        let anchors = authorities.anchor_details.iter();
        let anchors = anchors.filter(|anchor| anchor.certificate.subject == *wanted);
        let anchors = anchors.map(|anchor| Link::of_anchor(anchor, authorities));
        let others = candidates.iter().filter_map(|der| Link::new(der, authorities));
        let others = others.filter(|link| link.certificate.subject == *wanted);
        let is_new = |link: &Link| links.iter().all(|known| known.der != link.der);
        let mut found: Vec<Link> = anchors.chain(others).filter(is_new).collect();
        if found.is_empty() {
            break;
        }
        let best = found.iter().position(|link| last.signature(link).is_ok()).unwrap_or(0);
        links.push(found.swap_remove(best));
    }
    links
}

/// Which extended key usages let a certificate stand for a client; webpki asks only where the extension is present.
#[derive(Debug)]
pub(super) struct ClientUsage {
    /// `smtpd_tls_ccert_email_protection`.
    pub(super) accept_email_protection: bool,
}

/// id-kp-clientAuth 1.3.6.1.5.5.7.3.2.
const CLIENT_AUTH: KeyPurposeId<'static> = KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 2]);
/// id-kp-emailProtection 1.3.6.1.5.5.7.3.4.
const EMAIL_PROTECTION: KeyPurposeId<'static> = KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 4]);
/// anyExtendedKeyUsage 2.5.29.37.0.
const ANY_USAGE: KeyPurposeId<'static> = KeyPurposeId::new(&[0x55, 0x1d, 0x25, 0]);

impl ClientUsage {
    /// The same question of a decoded certificate; dotted OIDs.
    pub(super) fn allows(&self, usages: &[String]) -> bool {
        let is_enough = |usage: &String| match usage.as_str() {
            "1.3.6.1.5.5.7.3.2" | "2.5.29.37.0" => true,
            "1.3.6.1.5.5.7.3.4" => self.accept_email_protection,
            _ => false,
        };
        usages.is_empty() || usages.iter().any(is_enough)
    }
}

impl ExtendedKeyUsageValidator for &ClientUsage {
    fn validate(&self, usages: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let mut is_empty = true;
        for usage in usages {
            let usage = usage?;
            is_empty = false;
            let is_mail = self.accept_email_protection && usage == EMAIL_PROTECTION;
            if usage == CLIENT_AUTH || usage == ANY_USAGE || is_mail {
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

/// What a walk along issuer names met.
#[derive(Default)]
pub(super) struct Issuers {
    pub(super) reach_an_anchor: bool,
    pub(super) one_is_weak: bool,
}

/// Follows issuer names upwards in every way, without looking at signatures or dates.
pub(super) fn issuers_by_name(issuer: &[u8], candidates: &[CertificateDer<'_>], authorities: &Authorities) -> Issuers {
    let mut found = Issuers::default();
    let mut wanted = vec![issuer.to_vec()];
    let mut next = 0;
    while let Some(name) = wanted.get(next).cloned() {
        next += 1;
        let anchors = authorities.anchors.iter().zip(&authorities.anchor_details);
        for (_, details) in anchors.filter(|(anchor, _)| anchor.subject.as_ref() == name) {
            found.reach_an_anchor = true;
            found.one_is_weak |= is_weak(&details.certificate);
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

/// The smallest RSA key that counts, bits; smaller ones cannot complete a handshake either.
const RSA_BITS_MIN: u32 = 2048;

pub(super) fn is_weak(certificate: &Certificate) -> bool {
    certificate.key_algorithm == "RSA" && certificate.key_bits < RSA_BITS_MIN
}

/// webpki's error as a reason. Budgets that run out count as a chain too long.
pub(super) fn why(error: &Error) -> Why {
    match error {
        Error::CertExpired { .. } => Why::Expired,
        Error::CertNotValidYet { .. } => Why::NotYetValid,
        Error::CertRevoked => Why::Revoked,
        // Nobody is distrusted but by the deny-list.
        Error::CertDistrusted => Why::Denied,
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
