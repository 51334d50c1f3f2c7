//! OCSP as octets: the question, and what an answer says.
//!
//! **Implements** RFC 6960 section 4: a request for one certificate (SHA-1 identifiers, as every responder knows them, no
//! nonce, so that responders may answer from a store) and the basic response.
//! **Does not** check the signature, which needs the issuer: `io::tls::ocsp` does. Extensions of answers are passed over.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use super::decode::{self, DecodeError};
use super::der::{
    ENUMERATED, Element, GENERALIZED_TIME, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE, wrap,
};
use super::signed::Signed;

/// AlgorithmIdentifier of SHA-1, with and without NULL parameters.
const SHA1: &[u8] = &[0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00];
const SHA1_WITHOUT_NULL: &[u8] = &[0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a];
/// id-pkix-ocsp-basic 1.3.6.1.5.5.7.48.1.1.
const BASIC: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
/// `[0]`, constructed.
const CONTEXT_0: u8 = 0xa0;

/// How far ahead of ours a responder's clock may be, seconds.
const CLOCK_SKEW_SECONDS: i64 = 300;
/// How long an answer without nextUpdate counts, seconds from its thisUpdate.
const WITHOUT_NEXT_UPDATE_SECONDS: i64 = 3600;
/// The most certificates of an answer that may be the responder's own.
const CERTIFICATES_MAX: usize = 4;
/// The most single responses looked at in one answer.
const RESPONSES_MAX: usize = 100;

/// Which certificate is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateId {
    issuer_name_hash: Vec<u8>,
    issuer_key_hash: Vec<u8>,
    serial: Vec<u8>,
}

/// What a responder says of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Not revoked, as far as it knows.
    Good,
    /// Revoked, or on hold.
    Revoked,
    /// It does not know the certificate.
    Unknown,
}

/// A word that counts, and until when (seconds since 1970).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The word.
    pub said: Said,
    /// nextUpdate.
    pub until_unix_seconds: i64,
}

/// Why an answer does not count. The responder's fault, or that of somebody in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OcspFault {
    /// Not the DER of an answer.
    #[error("the answer is malformed")]
    Malformed,
    /// OCSPResponseStatus is not successful.
    #[error("the responder answered {0}")]
    NotSuccessful(&'static str),
    /// A type of response that nobody uses.
    #[error("the answer is not a basic OCSP response")]
    NotBasic,
    /// About others only.
    #[error("the answer is for another certificate")]
    OtherCertificate,
    /// thisUpdate is to come.
    #[error("the answer is from the future; one of the clocks is wrong")]
    FromTheFuture,
    /// nextUpdate is past.
    #[error("the answer has expired")]
    Expired,
}

/// An answer taken apart; nothing of it is proved yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicResponse<'a> {
    /// ResponseData and its signature.
    pub signed: Signed<'a>,
    /// Certificates that may be the responder's, DER.
    pub certificates: Vec<&'a [u8]>,
    responses: Vec<Element<'a>>,
}

impl CertificateId {
    /// The identifier of a certificate and its direct issuer, both DER.
    ///
    /// # Errors
    /// One of them cannot be decoded.
    pub fn of(leaf: &[u8], issuer: &[u8]) -> Result<Self, DecodeError> {
        let (leaf, issuer) = (decode::raw_parts(leaf)?, decode::raw_parts(issuer)?);
        let sha1 = |octets: &[u8]| digest(&SHA1_FOR_LEGACY_USE_ONLY, octets).as_ref().to_vec();
        Ok(Self {
            issuer_name_hash: sha1(&leaf.issuer),
            issuer_key_hash: sha1(&issuer.public_key),
            serial: leaf.serial,
        })
    }

    /// OCSPRequest, DER.
    pub fn request(&self) -> Vec<u8> {
        let parts = [
            wrap(SEQUENCE, SHA1),
            wrap(OCTET_STRING, &self.issuer_name_hash),
            wrap(OCTET_STRING, &self.issuer_key_hash),
            wrap(INTEGER, &self.serial),
        ];
        // CertID, Request, requestList, TBSRequest, OCSPRequest.
        (0..5).fold(parts.concat(), |inner, _| wrap(SEQUENCE, &inner))
    }

    fn is(&self, id: Element<'_>) -> Option<bool> {
        let mut id = id.reader();
        let algorithm = id.expect(SEQUENCE)?.contents;
        let name_hash = id.expect(OCTET_STRING)?.contents;
        let key_hash = id.expect(OCTET_STRING)?.contents;
        let serial = id.expect(INTEGER)?.contents;
        let is_sha1 = algorithm == SHA1 || algorithm == SHA1_WITHOUT_NULL;
        let same_issuer = name_hash == self.issuer_name_hash && key_hash == self.issuer_key_hash;
        Some(is_sha1 && same_issuer && serial == self.serial)
    }
}

/// Takes an OCSPResponse apart.
///
/// # Errors
/// It is no successful basic response.
pub fn read(response: &[u8]) -> Result<BasicResponse<'_>, OcspFault> {
    let mut outer = Reader::new(response);
    let mut parts = outer.expect(SEQUENCE).ok_or(OcspFault::Malformed)?.reader();
    let status = parts.expect(ENUMERATED).ok_or(OcspFault::Malformed)?.contents;
    if status != [0] {
        return Err(OcspFault::NotSuccessful(status_name(status)));
    }
    let (kind, octets) = response_bytes(&mut parts).ok_or(OcspFault::Malformed)?;
    if kind != BASIC {
        return Err(OcspFault::NotBasic);
    }
    basic(octets).ok_or(OcspFault::Malformed)
}

fn status_name(status: &[u8]) -> &'static str {
    match status {
        [1] => "malformedRequest",
        [2] => "internalError",
        [3] => "tryLater",
        [5] => "sigRequired",
        [6] => "unauthorized",
        _ => "an unknown status",
    }
}

/// ResponseBytes: the type and the response.
fn response_bytes<'a>(parts: &mut Reader<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let mut bytes = parts.expect(CONTEXT_0)?.reader().expect(SEQUENCE)?.reader();
    Some((
        bytes.expect(OBJECT_IDENTIFIER)?.contents,
        bytes.expect(OCTET_STRING)?.contents,
    ))
}

/// BasicOCSPResponse.
fn basic(octets: &[u8]) -> Option<BasicResponse<'_>> {
    let mut parts = Reader::new(octets).expect(SEQUENCE)?.reader();
    let signed = Signed::read(&mut parts)?;
    let certificates = match parts.optional(CONTEXT_0) {
        Some(list) => elements(list.reader().expect(SEQUENCE)?.reader(), CERTIFICATES_MAX),
        None => Vec::new(),
    };
    // ResponseData: version [0] DEFAULT, responderID, producedAt, responses.
    let mut data = Reader::new(signed.message).expect(SEQUENCE)?.reader();
    data.optional(CONTEXT_0);
    data.next_element()?;
    data.expect(GENERALIZED_TIME)?;
    Some(BasicResponse {
        signed,
        certificates: certificates.iter().map(|certificate| certificate.whole).collect(),
        responses: elements(data.expect(SEQUENCE)?.reader(), RESPONSES_MAX),
    })
}

/// The SEQUENCEs of a list, up to a bound.
fn elements(mut list: Reader<'_>, bound: usize) -> Vec<Element<'_>> {
    std::iter::from_fn(|| list.expect(SEQUENCE)).take(bound).collect()
}

impl BasicResponse<'_> {
    /// What it says of a certificate, if that counts now.
    ///
    /// # Errors
    /// It is about others, or not of this time.
    pub fn answer(&self, id: &CertificateId, now_unix_seconds: i64) -> Result<Answer, OcspFault> {
        for response in &self.responses {
            let mut parts = response.reader();
            let about = parts.expect(SEQUENCE).ok_or(OcspFault::Malformed)?;
            if id.is(about).ok_or(OcspFault::Malformed)? {
                return single(parts, now_unix_seconds);
            }
        }
        Err(OcspFault::OtherCertificate)
    }
}

/// The rest of a SingleResponse behind its CertID.
fn single(mut parts: Reader<'_>, now_unix_seconds: i64) -> Result<Answer, OcspFault> {
    let status = parts.next_element().ok_or(OcspFault::Malformed)?;
    let said = match status.tag {
        0x80 => Said::Good,
        0xa1 => Said::Revoked,
        0x82 => Said::Unknown,
        _ => return Err(OcspFault::Malformed),
    };
    let this_update = parts
        .expect(GENERALIZED_TIME)
        .and_then(time)
        .ok_or(OcspFault::Malformed)?;
    let until_unix_seconds = match parts.optional(CONTEXT_0) {
        Some(explicit) => {
            let next_update = explicit.reader().expect(GENERALIZED_TIME).and_then(time);
            next_update.ok_or(OcspFault::Malformed)?
        }
        None => this_update.saturating_add(WITHOUT_NEXT_UPDATE_SECONDS),
    };
    if this_update > now_unix_seconds.saturating_add(CLOCK_SKEW_SECONDS) {
        return Err(OcspFault::FromTheFuture);
    }
    if until_unix_seconds < now_unix_seconds {
        return Err(OcspFault::Expired);
    }
    Ok(Answer {
        said,
        until_unix_seconds,
    })
}

/// `YYYYMMDDHHMMSSZ` as seconds since 1970 (RFC 6960 section 4.2.2.1 excludes fractions).
fn time(element: Element<'_>) -> Option<i64> {
    let text = std::str::from_utf8(element.contents).ok()?;
    let digits = text.strip_suffix('Z').filter(|digits| digits.len() == 14)?;
    let time = jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", digits).ok()?;
    Some(jiff::tz::Offset::UTC.to_timestamp(time).ok()?.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::der::BIT_STRING;
    use proptest::prelude::*;

    const NOW: i64 = 1_795_514_400;

    fn id() -> CertificateId {
        CertificateId {
            issuer_name_hash: vec![1; 20],
            issuer_key_hash: vec![2; 20],
            serial: vec![0x0a, 0x1b],
        }
    }

    /// An answer about `id`, without a true signature.
    fn response(id: &CertificateId, status: &[u8], this_update: &str, next_update: Option<&str>) -> Vec<u8> {
        let about = [
            wrap(SEQUENCE, SHA1),
            wrap(OCTET_STRING, &id.issuer_name_hash),
            wrap(OCTET_STRING, &id.issuer_key_hash),
            wrap(INTEGER, &id.serial),
        ];
        let time = |text: &str| wrap(GENERALIZED_TIME, text.as_bytes());
        let mut single = [wrap(SEQUENCE, &about.concat()), status.to_vec(), time(this_update)].concat();
        if let Some(next_update) = next_update {
            single.extend(wrap(CONTEXT_0, &time(next_update)));
        }
        let responder = wrap(0xa2, &wrap(OCTET_STRING, &[2; 20]));
        let responses = wrap(SEQUENCE, &wrap(SEQUENCE, &single));
        let data = wrap(SEQUENCE, &[responder, time("20261124100000Z"), responses].concat());
        let basic = wrap(
            SEQUENCE,
            &[data, wrap(SEQUENCE, BASIC), wrap(BIT_STRING, &[0, 9])].concat(),
        );
        let bytes = [wrap(OBJECT_IDENTIFIER, BASIC), wrap(OCTET_STRING, &basic)].concat();
        let bytes = wrap(CONTEXT_0, &wrap(SEQUENCE, &bytes));
        wrap(SEQUENCE, &[wrap(ENUMERATED, &[0]), bytes].concat())
    }

    fn said(response: &[u8]) -> Result<Answer, OcspFault> {
        read(response)?.answer(&id(), NOW)
    }

    #[test]
    fn answers_of_the_three_kinds_are_read() {
        for (status, word) in [
            (&[0x80, 0][..], Said::Good),
            (&[0xa1, 0], Said::Revoked),
            (&[0x82, 0], Said::Unknown),
        ] {
            let answer = said(&response(&id(), status, "20261124095959Z", Some("20261124110000Z")));
            assert_eq!(answer.map(|a| (a.said, a.until_unix_seconds)), Ok((word, NOW + 3600)));
        }
    }

    #[test]
    fn times_decide_whether_an_answer_counts() {
        let at = |this_update, next_update| said(&response(&id(), &[0x80, 0], this_update, next_update));
        assert_eq!(at("20261124100600Z", None), Err(OcspFault::FromTheFuture));
        assert!(at("20261124100500Z", None).is_ok(), "clocks differ");
        assert_eq!(at("20261124085959Z", None), Err(OcspFault::Expired));
        assert!(at("20261124090000Z", None).is_ok());
        assert_eq!(at("20261120000000Z", Some("20261124095959Z")), Err(OcspFault::Expired));
        assert_eq!(at("2026112410000Z", None), Err(OcspFault::Malformed));
        assert_eq!(at("20261324100000Z", None), Err(OcspFault::Malformed));
    }

    #[test]
    fn answer_for_another_certificate_or_issuer_does_not_count() {
        let others = [
            CertificateId {
                serial: vec![0x0a],
                ..id()
            },
            CertificateId {
                issuer_key_hash: vec![3; 20],
                ..id()
            },
            CertificateId {
                issuer_name_hash: vec![3; 20],
                ..id()
            },
        ];
        for other in others {
            let response = response(&other, &[0x80, 0], "20261124100000Z", None);
            assert_eq!(said(&response), Err(OcspFault::OtherCertificate));
        }
    }

    #[test]
    fn refusal_of_the_responder_is_named() {
        assert_eq!(said(&[0x30, 3, 0x0a, 1, 3]), Err(OcspFault::NotSuccessful("tryLater")));
        assert_eq!(said(b"<html>"), Err(OcspFault::Malformed));
    }

    proptest! {
        #[test]
        fn answer_with_changed_octets_never_panics(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut octets = response(&id(), &[0x80, 0], "20261124100000Z", Some("20261124110000Z"));
            for (place, octet) in changes {
                let place = place.index(octets.len());
                octets[place] = octet;
            }
            let _ = said(&octets);
            octets.truncate(cut.index(octets.len()));
            let _ = said(&octets);
        }

        #[test]
        fn any_octets_never_panic(octets in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = said(&octets);
        }
    }
}
