//! The table of outsiders, tried on one listener.
//!
//! **Implements** plaintext, TLS without a certificate, certificates that are really shown to the listener's judge (a set of
//! fixed ones, and forged ones under the names of its own authorities), every reason for which a certificate does not
//! verify on a certificate that otherwise has all that a rule wants, and spoofed names of trusted authorities.
//! **Does not** forge under the authorities of the system's store (`tls_append_default_CA`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::attempt::{Breadth, Found, Target};
use super::der::{self, Forger, Forgery};
use super::mention::Mention;
use super::spoof::{Authority, Mint};
use crate::cert::certificate::Certificate;
use crate::cert::decode;
use crate::cert::identity::{Identity, Why};
use crate::cert::name::DistinguishedName;
use crate::io::tls::judge::Judge;
use crate::io::tls::pem;
use crate::io::tls::settings::ServerTlsFiles;
use crate::policy::reached::reached;
use crate::session::settings::TlsOffer;

/// Certificates that anybody could show; their keys are thrown away.
const FIXED: [(&str, &str); 10] = [
    ("self-signed certificate", include_str!("self_signed.pem")),
    (
        "certificate of an unknown authority",
        include_str!("unknown_authority.pem"),
    ),
    ("expired certificate", include_str!("expired.pem")),
    ("certificate that is not yet valid", include_str!("not_yet_valid.pem")),
    ("certificate for servers only", include_str!("server_usage.pem")),
    ("certificate with an RSA key of 1024 bits", include_str!("weak_key.pem")),
    ("certificate signed over SHA-1", include_str!("weak_digest.pem")),
    ("X.509 version 1 certificate", include_str!("version_1.pem")),
    ("certificate of an authority itself", include_str!("authority.pem")),
    ("malformed certificate (NUL in its name)", include_str!("malformed.pem")),
];

/// Why a certificate of a trusted authority may not verify.
const REASONS: [Why; 16] = [
    Why::UnknownIssuer,
    Why::Expired,
    Why::NotYetValid,
    Why::Revoked,
    Why::Denied,
    Why::CrlMissing,
    Why::CrlStale,
    Why::OcspUnknown,
    Why::WrongExtendedKeyUsage,
    Why::BadSignature,
    Why::PathLength,
    Why::NameConstraint,
    Why::WeakAlgorithm,
    Why::OldVersion,
    Why::CaAsEndEntity,
    Why::Malformed,
];

/// What came of a table.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) tried: usize,
    pub(super) found: Vec<Found>,
}

impl Tally {
    fn add(&mut self, found: Option<Found>) {
        self.tried += 1;
        self.found.extend(found);
    }
}

/// Tries every outsider on a listener.
///
/// # Errors
/// In words: certificate files are wrong.
pub(super) fn try_all(target: &Target<'_>, forger: &Forger) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let session = &target.listener.session;
    if session.tls != TlsOffer::Implicit {
        tally.add(target.attempt("plaintext", &Identity::Plaintext, Breadth::All));
    }
    let Some(files) = target.listener.tls.as_ref().filter(|_| session.tls != TlsOffer::None) else {
        return Ok(tally);
    };
    let without = "TLS without a certificate";
    tally.add(target.attempt(without, &Identity::NoCertificate, Breadth::All));
    if !session.ask_client_certificate {
        return Ok(tally);
    }
    let judge = Judge::of(files, target.now_unix_seconds)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    let authorities = authorities(files);
    let mut mentions = vec![Mention::default()];
    mentions.extend(
        session
            .chain
            .relay
            .iter()
            .chain(&session.chain.recipient)
            .flat_map(|restriction| reached(restriction, &session.chain.lists.named))
            .flat_map(|restriction| Mention::of(&restriction)),
    );
    for (words, text) in FIXED {
        // They are parts of this program.
        let chain: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes()).flatten().collect();
        let identity = judge.examine(Some(&chain), target.now_unix_seconds).identity;
        tally.add(target.attempt(words, &identity, Breadth::All));
    }
    let no_randomness = |_| "the system has no randomness for a key".to_owned();
    for authority in &authorities {
        for mention in &mentions {
            let mint = Mint {
                forger,
                authority,
                mention,
            };
            try_forged(target, &mint, &judge, &mut tally).map_err(no_randomness)?;
            try_unverified(target, &mint, &mut tally).map_err(no_randomness)?;
            try_spoofed(target, &mint, &mut tally).map_err(no_randomness)?;
        }
    }
    try_listed_fingerprints(target, &mut tally);
    Ok(tally)
}

/// The names of an authority of ours and of an insider, a key of one's own; judged by the listener's judge.
fn try_forged(
    target: &Target<'_>,
    mint: &Mint<'_>,
    judge: &Judge,
    tally: &mut Tally,
) -> Result<(), aws_lc_rs::error::Unspecified> {
    let subject = mint.insider()?.subject;
    let issuer = &mint.authority.certificate.subject;
    // The very octets of the name, where they are known: an issuer is looked up by them.
    let mut names: Vec<Vec<u8>> = judge.hints().iter().map(|hint| hint.as_ref().to_vec()).collect();
    names.retain(|name| is_name(mint.forger, name, issuer));
    names.push(der::name(issuer));
    names.dedup();
    for name in &names {
        for forgery in Forgery::ALL {
            let der = CertificateDer::from(mint.forger.forge(name, &subject, forgery)?);
            let identity = judge.examine(Some(&[der]), target.now_unix_seconds).identity;
            let words = format!(
                "{} certificate of {} for {}",
                forgery.words(),
                issuer.one_line(),
                subject.one_line()
            );
            tally.add(target.attempt(&words, &identity, Breadth::All));
        }
    }
    Ok(())
}

/// Whether the encoded name decodes to this one.
fn is_name(forger: &Forger, encoded: &[u8], name: &DistinguishedName) -> bool {
    let probe = forger.forge(encoded, name, Forgery::Plain);
    probe.is_ok_and(|der| decode::decode(&der).is_ok_and(|certificate| certificate.issuer == *name))
}

/// All that a rule wants, in a certificate that does not verify.
fn try_unverified(
    target: &Target<'_>,
    mint: &Mint<'_>,
    tally: &mut Tally,
) -> Result<(), aws_lc_rs::error::Unspecified> {
    let insider = Arc::new(mint.insider()?);
    for why in REASONS {
        let words = format!("certificate of {}, refused because its {why}", names(&insider));
        let identity = Identity::Unverified {
            why,
            certificate: Some(Arc::clone(&insider)),
        };
        tally.add(target.attempt(&words, &identity, Breadth::Senders));
    }
    Ok(())
}

/// A certificate that verifies, with a spoofed name. It counts when it is permitted, and is not without the spoof.
fn try_spoofed(target: &Target<'_>, mint: &Mint<'_>, tally: &mut Tally) -> Result<(), aws_lc_rs::error::Unspecified> {
    let verified = |certificate: Certificate| Identity::Verified {
        certificate: Arc::new(certificate),
        chain: mint.authority.chain.clone(),
    };
    for case in mint.cases()? {
        let baseline = verified(case.baseline);
        if target.attempt("", &baseline, Breadth::Senders).is_some() {
            continue;
        }
        for spoofed in case.spoofed {
            let words = format!("spoofed certificate of {}", names(&spoofed));
            tally.add(target.attempt(&words, &verified(spoofed), Breadth::Senders));
        }
    }
    Ok(())
}

/// A fingerprint of relay_clientcerts counts without a known issuer; for every other fault it must not.
fn try_listed_fingerprints(target: &Target<'_>, tally: &mut Tally) {
    let pem = CertificateDer::from_pem_slice(FIXED[0].1.as_bytes());
    let Some(template) = pem.ok().and_then(|der| decode::decode(&der).ok()) else {
        return;
    };
    for fingerprint in &target.listener.session.chain.lists.relay_clientcerts {
        for why in REASONS.into_iter().filter(|why| *why != Why::UnknownIssuer) {
            let certificate = Certificate {
                fingerprint: fingerprint.clone(),
                ..template.clone()
            };
            let words = format!("the certificate {fingerprint}, refused because its {why}");
            let identity = Identity::Unverified {
                why,
                certificate: Some(Arc::new(certificate)),
            };
            tally.add(target.attempt(&words, &identity, Breadth::Senders));
        }
    }
}

/// `ISSUER for SUBJECT (addresses)`.
fn names(certificate: &Certificate) -> String {
    let mut text = format!(
        "{} for {}",
        certificate.issuer.one_line(),
        certificate.subject.one_line()
    );
    let alternative_names = [
        ("mail address", &certificate.mail_addresses),
        ("DNS name", &certificate.dns_names),
        ("user principal name", &certificate.user_principal_names),
    ];
    for (kind, names) in alternative_names.iter().filter(|(_, names)| !names.is_empty()) {
        text.push_str(&format!(" with {kind} {}", names.join(", ")));
    }
    text
}

/// The authorities that the listener's files name. The judge has read them already and says what is wrong.
fn authorities(files: &ServerTlsFiles) -> Vec<Authority> {
    let mut paths: Vec<PathBuf> = files.ca_file.iter().cloned().collect();
    paths.extend(files.ca_path.iter().flat_map(|directory| in_directory(directory)));
    let mut all: Vec<Arc<Certificate>> = Vec::new();
    for der in paths
        .iter()
        .flat_map(|path| pem::certificates(path).unwrap_or_default())
    {
        if let Ok(certificate) = decode::decode(&der)
            && !all.iter().any(|known| known.fingerprint == certificate.fingerprint)
        {
            all.push(Arc::new(certificate));
        }
    }
    all.iter()
        .filter(|certificate| certificate.is_ca)
        .map(|certificate| Authority {
            certificate: Arc::clone(certificate),
            chain: chain_of(certificate, &all),
        })
        .collect()
}

fn in_directory(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect()
}

/// The authority and those above it, by name.
fn chain_of(certificate: &Arc<Certificate>, all: &[Arc<Certificate>]) -> Vec<Arc<Certificate>> {
    let mut chain = vec![Arc::clone(certificate)];
    while let Some(last) = chain.last() {
        let above = all.iter().find(|above| above.subject == last.issuer);
        match above.filter(|above| !chain.iter().any(|known| known.fingerprint == above.fingerprint)) {
            Some(above) => chain.push(Arc::clone(above)),
            None => break,
        }
    }
    chain
}
