//! The judge: whether a client's certificate leads to a trust anchor, and if not, why.
//!
//! **Implements** RFC 5280 path validation with webpki after the handshake, with the extended key usage rule of
//! `docs/certificates.md`, `smtpd_tls_ccert_verifydepth`, revocation of every certificate of the path, and one precise
//! reason for each refusal. It is asked again for every resumed session, since rustls restores a chain from a ticket
//! without looking at it.
//! **Does not** use webpki's own look at revocation lists, which knows neither grace time nor policies.

use std::path::Path;
use std::sync::Arc;

use rustls::DistinguishedName as EncodedName;
use rustls::pki_types::CertificateDer;
use webpki::{EndEntityCert, Error, VerifiedPath};

use super::authorities::{Authorities, Purpose, Sources};
use super::crl::VerifiedList;
use super::crl_files::{CrlEvent, CrlFiles};
use super::deny_list::DenyList;
use super::error::TlsFileError;
use super::ocsp::{OcspStatus, Responders};
use super::path::{self, ClientUsage, Link, is_weak, why};
use super::presented;
use super::provider::{algorithms, unix_time};
use super::revocation::{Finding, Revocation};
use super::settings::{OcspMode, OnUnknown, RevocationSettings, ServerTlsFiles};
use super::trace::{self, Traced};
use crate::cert::certificate::Certificate;
use crate::cert::decode;
use crate::cert::examination::Examination;
use crate::cert::identity::{Identity, Why};
use crate::cert::name::DistinguishedName;

/// What takes certificates back beside revocation lists; the judges of a daemon share it, and it outlives a reload.
#[derive(Clone, Debug, Default)]
pub struct SharedRevocation {
    /// The relay's own deny-list, if any.
    pub deny_list: Option<Arc<DenyList>>,
    /// What OCSP responders have said.
    pub responders: Arc<Responders>,
}

/// The authorities of a listener and the rule by which they vouch.
#[derive(Debug)]
pub struct Judge {
    authorities: Authorities,
    verify_depth: usize,
    usage: ClientUsage,
    revocation: Revocation,
    /// What it was made of; `None` for one without a listener.
    files: Option<ServerTlsFiles>,
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
        let settings = RevocationSettings::default();
        Self::build(
            sources,
            verify_depth,
            settings,
            SharedRevocation::default(),
            now_unix_seconds,
        )
    }

    /// The judge of a listener with these files, with a deny-list of its own and without a responder's answer.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub fn of(files: &ServerTlsFiles, now_unix_seconds: i64) -> Result<Self, Vec<TlsFileError>> {
        let deny_list = files.revocation.deny_list.as_deref().map(deny_list).transpose();
        let shared = SharedRevocation {
            deny_list: deny_list.map_err(|error| vec![error])?,
            responders: Arc::default(),
        };
        Self::sharing(files, shared, now_unix_seconds)
    }

    /// The judge of a listener of a daemon.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub fn sharing(
        files: &ServerTlsFiles,
        shared: SharedRevocation,
        now_unix_seconds: i64,
    ) -> Result<Self, Vec<TlsFileError>> {
        let sources = Sources {
            ca_file: files.ca_file.as_deref(),
            ca_path: files.ca_path.as_deref(),
            append_default_ca: files.append_default_ca,
        };
        let settings = files.revocation.clone();
        let judge = Self::build(sources, files.verify_depth, settings, shared, now_unix_seconds)?;
        let usage = ClientUsage {
            accept_email_protection: files.accept_email_protection,
        };
        Ok(Self {
            usage,
            files: Some(files.clone()),
            ..judge
        })
    }

    fn build(
        sources: Sources<'_>,
        verify_depth: usize,
        settings: RevocationSettings,
        shared: SharedRevocation,
        now: i64,
    ) -> Result<Self, Vec<TlsFileError>> {
        let authorities = Authorities::load(sources, Purpose::Clients, now)?;
        let revocation = Revocation {
            lists: CrlFiles::load(&settings, &authorities, now)?,
            settings,
            deny_list: shared.deny_list,
            responders: shared.responders,
        };
        Ok(Self {
            authorities,
            verify_depth,
            usage: ClientUsage {
                accept_email_protection: false,
            },
            revocation,
            files: None,
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
        let anchors = self.authorities.anchor_details.iter();
        anchors.map(|anchor| anchor.certificate.subject.clone()).collect()
    }

    /// The names of all authorities: trust anchors first, then the intermediates; each once.
    pub fn authority_names(&self) -> Vec<DistinguishedName> {
        let pool = self.authorities.pool.iter();
        let subjects = pool.filter_map(|der| decode::decode(der).ok()).map(|c| c.subject);
        let mut names: Vec<DistinguishedName> = Vec::new();
        for name in self.anchors().into_iter().chain(subjects) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Whether certificates of this issuer are refused while there is no revocation list of it: lists are looked at, and
    /// the policy for it is fail-closed.
    pub fn needs_list_of(&self, issuer: &DistinguishedName) -> bool {
        self.revocation.lists.is_some() && self.revocation.policy(issuer).on_unknown == OnUnknown::FailClosed
    }

    /// Changes whenever a revocation list, the deny-list or a responder's answer has changed.
    pub fn generation(&self) -> u64 {
        self.revocation.generation()
    }

    /// Reads revocation lists whose files have changed and tells what happened and how old the lists are. It blocks on
    /// the disk.
    pub fn refresh_lists(&self, now_unix_seconds: i64) -> Vec<CrlEvent> {
        let lists = self.revocation.lists.as_ref();
        lists.map_or_else(Vec::new, |lists| lists.refresh(now_unix_seconds))
    }

    /// The revocation lists in force, in no order.
    pub fn revocation_lists(&self) -> Vec<Arc<VerifiedList>> {
        let lists = self.revocation.lists.as_ref();
        lists.map_or_else(Vec::new, |lists| lists.lists().iter().cloned().collect())
    }

    /// The deny-list it goes by.
    pub fn deny_list(&self) -> Option<&Arc<DenyList>> {
        self.revocation.deny_list.as_ref()
    }

    /// From when on, seconds since 1970, a list no longer counts under the policy of its issuer: grace included.
    pub fn stale_from(&self, verified: &VerifiedList) -> i64 {
        self.revocation.stale_from(verified)
    }

    /// Whether a listener with these files would have this same judge.
    pub fn is_of(&self, other: &ServerTlsFiles) -> bool {
        self.files.as_ref().is_some_and(|files| {
            let own = (
                &files.ca_file,
                &files.ca_path,
                files.append_default_ca,
                files.verify_depth,
            );
            let others = (
                &other.ca_file,
                &other.ca_path,
                other.append_default_ca,
                other.verify_depth,
            );
            own == others
                && files.revocation == other.revocation
                && files.accept_email_protection == other.accept_email_protection
        })
    }

    /// Judges what a client presented, leaf first; `now_unix_seconds` is the time to judge at.
    pub fn judge(&self, presented: Option<&[CertificateDer<'_>]>, now_unix_seconds: i64) -> Identity {
        self.examine(presented, now_unix_seconds).identity
    }

    /// Judges what a client presented and tells every check; `now_unix_seconds` is the time to judge at.
    pub fn examine(&self, presented: Option<&[CertificateDer<'_>]>, now_unix_seconds: i64) -> Examination {
        let Some([leaf, rest @ ..]) = presented else {
            return Examination {
                identity: Identity::NoCertificate,
                until_unix_seconds: i64::MAX,
                steps: Vec::new(),
            };
        };
        let Some(link) = Link::new(leaf, &self.authorities) else {
            return Examination {
                identity: Identity::Unverified {
                    why: Why::Malformed,
                    certificate: None,
                },
                until_unix_seconds: i64::MAX,
                steps: vec![trace::undecodable()],
            };
        };
        let certificate = Arc::clone(&link.certificate);
        let verified = self.verified_path(&link, rest, now_unix_seconds);
        let (links, verdict) = match verified {
            Ok(links) => {
                let responder = self.responder_finding(&links, now_unix_seconds);
                (links, responder.why.map_or(Ok(()), Err))
            }
            Err(why) => (
                path::by_names(link, &self.candidates(rest), &self.authorities),
                Err(why),
            ),
        };
        let traced = Traced {
            links: &links,
            verdict,
            revocation: &self.revocation,
            usage: &self.usage,
            verify_depth: self.verify_depth,
            now_unix_seconds,
        };
        let (steps, until_unix_seconds) = traced.steps();
        let chain = links.iter().skip(1).map(|link| Arc::clone(&link.certificate));
        let identity = match verdict {
            Ok(()) => Identity::Verified {
                certificate,
                chain: chain.collect(),
            },
            Err(why) => Identity::Unverified {
                why,
                certificate: Some(certificate),
            },
        };
        Examination {
            identity,
            until_unix_seconds,
            steps,
        }
    }

    /// The leaf and its issuer, DER, when there is a responder to be asked: the chain verifies, and the leaf names one
    /// that has not yet vouched for it.
    pub(super) fn to_be_asked(
        &self,
        presented: &[CertificateDer<'_>],
        now: i64,
    ) -> Option<[CertificateDer<'static>; 2]> {
        if self.revocation.settings.ocsp == OcspMode::Off {
            return None;
        }
        let (leaf, rest) = presented.split_first()?;
        let link = Link::new(leaf, &self.authorities)?;
        let links = self.verified_path(&link, rest, now).ok()?;
        let [leaf, issuer, ..] = links.as_slice() else {
            return None;
        };
        let status = self
            .revocation
            .responders
            .status(&leaf.certificate, &issuer.certificate, now);
        let is_open = status == OcspStatus::Unknown && !leaf.certificate.ocsp_responders.is_empty();
        is_open.then(|| [leaf.der.clone(), issuer.der.clone()])
    }

    /// How responders are asked.
    pub(super) fn revocation(&self) -> &Revocation {
        &self.revocation
    }

    fn responder_finding(&self, links: &[Link], now: i64) -> Finding {
        match links {
            [leaf, issuer, ..] => self
                .revocation
                .responder_finding(&leaf.certificate, &issuer.certificate, now),
            _ => Finding::skipped("a trust anchor itself"),
        }
    }

    /// The path from the leaf to an anchor; everything but the responder's word has been checked.
    fn verified_path(&self, leaf: &Link, rest: &[CertificateDer<'_>], now: i64) -> Result<Vec<Link>, Why> {
        // First of all, since a stranger's certificate may be let in by its fingerprint.
        if let Some(why) = self.revocation.denial(&leaf.certificate).why {
            return Err(why);
        }
        let certificate: &Certificate = &leaf.certificate;
        if certificate.version != 3 {
            return Err(Why::OldVersion);
        }
        let candidates = self.candidates(rest);
        let end_entity = EndEntityCert::try_from(&leaf.der).map_err(|error| why(&error))?;
        let issuers = path::issuers_by_name(end_entity.issuer(), &candidates, &self.authorities);
        // webpki looks at the leaf's dates and usages before its issuer: for a stranger's certificate "expired"
        // would be the lesser half of the truth.
        if !issuers.reach_an_anchor {
            return Err(Why::UnknownIssuer);
        }
        let check_path = |path: &VerifiedPath<'_>| self.check_path(path, leaf, now);
        let verified = end_entity.verify_for_usage(
            algorithms().all,
            &self.authorities.anchors,
            &candidates,
            unix_time(now),
            &self.usage,
            None,
            Some(&check_path),
        );
        match verified {
            Ok(_) if is_weak(certificate) => Err(Why::WeakAlgorithm),
            Ok(path) => path::of_verified(&path, leaf, &self.authorities).ok_or(Why::Malformed),
            // A signature by a key under 2048 bits is refused as a bad one; say what is truly wrong.
            Err(Error::InvalidSignatureForPublicKey) if issuers.one_is_weak => Err(Why::WeakAlgorithm),
            Err(error) => Err(why(&error)),
        }
    }

    /// What webpki leaves out: our own depth, the path length and dates of the anchor, and revocation. A path that fails
    /// here is given up for another.
    fn check_path(&self, path: &VerifiedPath<'_>, leaf: &Link, now: i64) -> Result<(), Error> {
        let links = path::of_verified(path, leaf, &self.authorities).ok_or(Error::BadDer)?;
        let Some((anchor, below)) = links.split_last() else {
            return Err(Error::UnknownIssuer);
        };
        let path_length = anchor
            .path_length
            .map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        if below.len().saturating_sub(1) > self.verify_depth.min(path_length) {
            return Err(Error::PathLenConstraintViolated);
        }
        if now > anchor.certificate.not_after_seconds {
            return Err(Error::CertExpired {
                time: unix_time(now),
                not_after: unix_time(anchor.certificate.not_after_seconds),
            });
        }
        let denials = links.iter().skip(1);
        let mut found: Vec<Finding> = denials.map(|link| self.revocation.denial(&link.certificate)).collect();
        found.extend(links.windows(2).filter_map(|pair| {
            match pair {
                [link, issuer] => Some(
                    self.revocation
                        .list_finding(&link.certificate, &issuer.certificate, now),
                ),
                _ => None,
            }
        }));
        match found.iter().find_map(|finding| finding.why) {
            None => Ok(()),
            Some(Why::Denied) => Err(Error::CertDistrusted),
            Some(Why::CrlMissing) => Err(Error::UnknownRevocationStatus),
            Some(Why::CrlStale) => Err(Error::CrlExpired {
                time: unix_time(now),
                next_update: unix_time(now),
            }),
            Some(_) => Err(Error::CertRevoked),
        }
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
}

/// Reads a deny-list.
///
/// # Errors
/// [`TlsFileError::DenyList`].
pub fn deny_list(path: &Path) -> Result<Arc<DenyList>, TlsFileError> {
    let list = DenyList::load(path).map_err(|reason| TlsFileError::DenyList {
        path: path.to_owned(),
        reason,
    });
    list.map(Arc::new)
}
