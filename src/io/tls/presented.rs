//! The certificates that a peer presents behind its own, as far as they may complete a chain.
//!
//! **Does not** verify anything.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// The most certificates looked at behind the leaf. Authorities that vouch for each other crosswise make webpki try
/// every way through them before it gives up: with 14 of them that takes seconds, before any peer is known; with 8 it
/// is a thousand steps. No path that webpki takes has more than 6.
const PRESENTED_MAX: usize = 8;

/// Those that may lead on, in their order. One that names itself as its issuer leads to no anchor that its subject does
/// not lead to.
pub(super) fn leading_on<'a>(presented: &'a [CertificateDer<'_>]) -> impl Iterator<Item = CertificateDer<'a>> {
    presented
        .iter()
        .filter(|der| EndEntityCert::try_from(*der).is_ok_and(|parsed| parsed.issuer() != parsed.subject()))
        .take(PRESENTED_MAX)
        .map(|der| CertificateDer::from(der.as_ref()))
}
