//! One question to one OCSP responder, and the proof of its answer.
//!
//! **Implements** RFC 6960 appendix A (POST over HTTP) and the signer rules of section 4.2.2.2: the issuer itself, or a
//! certificate with id-kp-OCSPSigning that the issuer issued directly.
//! **Does not** follow redirects, use a proxy or speak https: the answer proves itself. Whether a delegated responder's
//! own certificate was revoked is not asked (RFC 6960 section 4.2.2.2.1 leaves that to the issuer).

use std::pin::pin;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use webpki::{EndEntityCert, KeyUsage};

use super::provider::{algorithms, unix_time};
use super::signature;
use crate::cert::decode;
use crate::cert::ocsp::{Answer, BasicResponse, CertificateId, OcspFault, read};

/// The largest answer read, octets. Usual ones have one or two thousand.
const ANSWER_OCTETS_MAX: usize = 64 << 10;
const HTTP_PORT: u16 = 80;
/// id-kp-OCSPSigning 1.3.6.1.5.5.7.3.9.
const OCSP_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 9];

/// Why a responder gave no answer that counts. The responder's or the network's.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("its address is not a usable http:// URL")]
    NotHttp,
    #[error("it cannot be reached: {0}")]
    Unreachable(std::io::Error),
    #[error("HTTP failed: {0}")]
    Http(#[from] hyper::Error),
    #[error("it answered with HTTP status {0}")]
    Status(u16),
    #[error("its answer was cut off or is larger than 64 KiB")]
    Body,
    #[error(transparent)]
    Answer(#[from] OcspFault),
    #[error("the answer has no signature by the issuer, or by a responder it delegated, that can be verified here")]
    Signer,
}

impl AskError {
    /// Whether the responder is to blame as a whole, and not its answer about one certificate.
    pub(super) fn is_outage(&self) -> bool {
        matches!(
            self,
            Self::Unreachable(_) | Self::Http(_) | Self::Status(_) | Self::Body
        )
    }
}

/// Asks one responder about a certificate. `issuer` is DER. Cancel-safe.
pub(super) async fn ask(
    responder: &str,
    id: &CertificateId,
    issuer: &[u8],
    now_unix_seconds: i64,
) -> Result<Answer, AskError> {
    let octets = post(responder, id.request()).await?;
    let response = read(&octets)?;
    let answer = response.answer(id, now_unix_seconds)?;
    if is_authorised(&response, issuer, now_unix_seconds) {
        return Ok(answer);
    }
    Err(AskError::Signer)
}

/// The body of the answer to a POST.
async fn post(responder: &str, question: Vec<u8>) -> Result<Bytes, AskError> {
    let uri: Uri = responder.parse().map_err(|_| AskError::NotHttp)?;
    let is_http = uri.scheme_str() == Some("http");
    let authority = uri
        .authority()
        .filter(|authority| is_http && !authority.as_str().contains('@'));
    let authority = authority.ok_or(AskError::NotHttp)?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let port = authority.port_u16().unwrap_or(HTTP_PORT);
    let stream = TcpStream::connect((host, port)).await.map_err(AskError::Unreachable)?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::post(path)
        .header(header::HOST, authority.as_str())
        .header(header::CONTENT_TYPE, "application/ocsp-request")
        .header(header::ACCEPT, "application/ocsp-response")
        .header(header::CONNECTION, "close")
        .body(Full::new(Bytes::from(question)))
        .map_err(|_| AskError::NotHttp)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut exchange = pin!(async {
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(AskError::Status(response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), ANSWER_OCTETS_MAX).collect().await;
        body.map(http_body_util::Collected::to_bytes)
            .map_err(|_| AskError::Body)
    });
    // The connection is driven here and not in a task of its own, so that dropping this ends it.
    tokio::select! {
        answer = &mut exchange => answer,
        ended = connection => {
            ended?;
            exchange.await
        }
    }
}

/// Whether the issuer, or a responder that it delegated, has signed the answer.
fn is_authorised(response: &BasicResponse<'_>, issuer: &[u8], now_unix_seconds: i64) -> bool {
    if is_signed_by(response, issuer) {
        return true;
    }
    let mut delegated = response.certificates.iter();
    delegated
        .any(|certificate| is_signed_by(response, certificate) && is_delegated(certificate, issuer, now_unix_seconds))
}

/// Whether the key of this certificate has signed the answer.
fn is_signed_by(response: &BasicResponse<'_>, certificate: &[u8]) -> bool {
    let key = decode::subject_public_key_info(certificate);
    key.is_ok_and(|key| signature::verify(&key, &response.signed).is_ok())
}

/// Whether the issuer issued this certificate for signing OCSP answers, and it is valid now.
fn is_delegated(certificate: &[u8], issuer: &[u8], now_unix_seconds: i64) -> bool {
    let (certificate, issuer) = (CertificateDer::from(certificate), CertificateDer::from(issuer));
    let (Ok(end_entity), Ok(anchor)) = (
        EndEntityCert::try_from(&certificate),
        webpki::anchor_from_trusted_cert(&issuer),
    ) else {
        return false;
    };
    let anchors = [anchor];
    let verified = end_entity.verify_for_usage(
        algorithms().all,
        &anchors,
        &[],
        unix_time(now_unix_seconds),
        KeyUsage::required(OCSP_SIGNING),
        None,
        None,
    );
    verified.is_ok()
}
