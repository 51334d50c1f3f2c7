//! The server side: a TLS acceptor per listener, its judge, and the record of what was negotiated.
//!
//! **Implements** `smtpd_tls_cert_file`, `smtpd_tls_key_file`, `smtpd_tls_ask_ccert`, `smtpd_tls_protocols`.
//! RFC 7301: a client that names application protocols must name ours, and one that names none is welcome.
//! **Does not** bound the time of a handshake, which is the driver's.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::server::{Acceptor, ServerSessionMemoryCache};
use rustls::sign::SingleCertAndKey;
use rustls::{HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::error::TlsFileError;
use super::judge::Judge;
use super::provider::{certified_key, provider, versions};
use super::recent::{self, RecentVerdicts};
use super::settings::{OcspMode, ServerTlsFiles};
use super::verifier::AcceptThenJudge;
use crate::cert::certificate::Certificate;
use crate::cert::decode;
use crate::cert::examination::Examination;
use crate::cert::identity::Identity;
use crate::io::clock;
use crate::mail::trace_header::TlsDescription;

/// Sessions kept for resumption; the oldest goes first.
const SESSIONS_MAX: usize = 4096;

/// What a client that speaks of application protocols must name (ALPN), as in Exim: a browser that an attacker leads to
/// this port names its own, and its handshake fails (ALPACA).
const APPLICATION_PROTOCOLS: [&[u8]; 2] = [b"smtp", b"esmtp"];

/// Questions to OCSP responders under way in the background.
const QUESTIONS_MAX: usize = 64;

/// One listener's TLS. Tickets and sessions are its own: a session begun under one rule for client certificates
/// must never be resumed under another, and a reload starts afresh.
pub struct ServerTls {
    config: Arc<ServerConfig>,
    judge: Arc<Judge>,
    verdicts: RecentVerdicts,
    certificate: Certificate,
    certificate_fault: Option<TlsFileError>,
    /// Bounds the questions to responders that nobody waits for.
    questions: Arc<Semaphore>,
}

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// Everything that is wrong with them, all at once.
    pub fn load(files: &ServerTlsFiles, now_unix_seconds: i64) -> Result<Self, Vec<TlsFileError>> {
        let judge = Judge::of(files, now_unix_seconds).map(Arc::new);
        Self::with_judge(files, judge, now_unix_seconds)
    }

    /// Reads the files but those of the judge, which may be that of other listeners too.
    ///
    /// # Errors
    /// Everything that is wrong with the files, the judge's included.
    pub fn with_judge(
        files: &ServerTlsFiles,
        judge: Result<Arc<Judge>, Vec<TlsFileError>>,
        now_unix_seconds: i64,
    ) -> Result<Self, Vec<TlsFileError>> {
        let own = certified_key(&files.certificate, &files.key, now_unix_seconds);
        let (own, judge) = match (own, judge) {
            (Ok(own), Ok(judge)) => (own, judge),
            (own, judge) => return Err([own.err(), judge.err()].into_iter().flatten().flatten().collect()),
        };
        let unusable = |error: rustls::Error| {
            vec![TlsFileError::Unusable {
                path: files.key.clone(),
                reason: error.to_string(),
            }]
        };
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions(files.tls12))
            .map_err(unusable)?;
        let builder = if files.ask_client_certificate {
            builder.with_client_cert_verifier(Arc::new(AcceptThenJudge::new(judge.hints())))
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(own.pair)));
        // The order is ours, so that the strongest cipher both sides have is taken whatever the peer puts first.
        config.ignore_client_order = true;
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(unusable)?;
        config.alpn_protocols = APPLICATION_PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
        Ok(Self {
            config: Arc::new(config),
            judge,
            verdicts: RecentVerdicts::default(),
            certificate: own.leaf,
            certificate_fault: own.fault,
            questions: Arc::new(Semaphore::new(QUESTIONS_MAX)),
        })
    }

    /// Does the handshake. `turn` is waited for once the client has said hello, and what it gives is held while our keys
    /// are worked with: a client that is slow holds no turn, and one that says nothing costs none.
    ///
    /// # Errors
    /// The handshake failed; the stream comes back where there is something to be written still.
    pub async fn handshake<T>(
        &self,
        stream: TcpStream,
        turn: impl Future<Output = T>,
    ) -> Result<TlsStream<TcpStream>, (io::Error, Option<TcpStream>)> {
        let mut hello = LazyConfigAcceptor::new(Acceptor::default(), stream);
        let started = match (&mut hello).await {
            Ok(started) => started,
            Err(error) => return Err((error, hello.take_io())),
        };
        let turn = turn.await;
        let handshake = started.into_stream(Arc::clone(&self.config)).into_fallible();
        drop(turn);
        handshake.await.map_err(|(error, stream)| (error, Some(stream)))
    }

    /// Who holds the session, at the given time; ask again for a resumed one, and whenever time has passed.
    pub fn judge(&self, connection: &ServerConnection, now_unix_seconds: i64) -> Identity {
        self.judge.judge(connection.peer_certificates(), now_unix_seconds)
    }

    /// Who holds a session in which these certificates were shown, and until when that holds (seconds since 1970). A
    /// verdict on the same chain is taken from memory while nothing it was made of has changed.
    pub fn examine(&self, presented: Option<&[CertificateDer<'_>]>, now_unix_seconds: i64) -> (Identity, i64) {
        let now = now_unix_seconds;
        // Read first: what changes while the chain is examined makes the verdict one of yesterday.
        let generation = self.judge.generation();
        let digest = presented.and_then(recent::digest);
        if let Some(found) = digest.and_then(|digest| self.verdicts.find(&digest, generation, now)) {
            return found;
        }
        let Examination {
            identity,
            until_unix_seconds,
            ..
        } = self.judge.examine(presented, now);
        if let Some(digest) = digest {
            let period = (now, until_unix_seconds);
            self.verdicts.keep(digest, &identity, generation, period);
        }
        (identity, until_unix_seconds)
    }

    /// Changes whenever a revocation list, the deny-list or an OCSP answer has changed: what was judged before must be
    /// judged anew.
    pub fn generation(&self) -> u64 {
        self.judge.generation()
    }

    /// Asks the OCSP responders of these certificates where `smtpd_tls_ocsp` says so: with `prefer` in the background,
    /// with `require` to the end, or until `smtpd_tls_ocsp_timeout`, and no longer than `at_most`: the session's own time
    /// limit. Cancel-safe: an answer that is not waited for is not kept.
    pub async fn ask_responders(&self, presented: Option<&[CertificateDer<'_>]>, at_most: Duration) {
        let now = clock::unix_seconds();
        let Some([leaf, issuer]) = presented.and_then(|presented| self.judge.to_be_asked(presented, now)) else {
            return;
        };
        let revocation = self.judge.revocation();
        let responders = Arc::clone(&revocation.responders);
        let timeout = revocation.settings.ocsp_timeout.min(at_most);
        if revocation.settings.ocsp == OcspMode::Require {
            let asked = responders.ask(&leaf, &issuer, timeout, now);
            let _ = tokio::time::timeout(timeout, asked).await;
            return;
        }
        // A certificate that nobody could ask about just now is asked about next time.
        let Ok(permit) = Arc::clone(&self.questions).try_acquire_owned() else {
            return;
        };
        tokio::spawn(async move {
            responders.ask(&leaf, &issuer, timeout, now).await;
            drop(permit);
        });
    }

    /// The judge itself, for configuration checks, `explain` and whoever watches its files.
    pub fn authorities(&self) -> &Arc<Judge> {
        &self.judge
    }

    /// Our own certificate, for its expiry.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Whether our certificate was expired or not yet valid when it was read. It is used all the same.
    pub fn certificate_fault(&self) -> Option<&TlsFileError> {
        self.certificate_fault.as_ref()
    }

    /// What was negotiated, as far as rustls says; signature and digest are those the key type leaves no choice of.
    pub fn describe(&self, connection: &ServerConnection) -> TlsDescription {
        let version = connection.protocol_version();
        let cipher = connection
            .negotiated_cipher_suite()
            .map(|suite| format!("{:?}", suite.suite()).replace("TLS13_", "TLS_"))
            .unwrap_or_default();
        let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        let client = connection.peer_certificates().and_then(|chain| chain.first());
        let client = client.and_then(|leaf| decode::decode(leaf).ok());
        let ours = Some(&self.certificate).filter(|_| !resumed);
        let theirs = client.as_ref().filter(|_| !resumed);
        let group = connection.negotiated_key_exchange_group();
        TlsDescription {
            protocol: protocol_name(version).to_owned(),
            cipher_bits: if cipher.contains("AES_128") { 128 } else { 256 },
            cipher,
            key_exchange: group.map(|group| format!("{:?}", group.name())),
            server_signature: ours.map(|certificate| signature_name(certificate, version)),
            server_digest: ours.and_then(|certificate| digest_name(certificate, version)),
            client_signature: theirs.map(|certificate| signature_name(certificate, version)),
            client_digest: theirs.and_then(|certificate| digest_name(certificate, version)),
            server_name: connection.server_name().map(str::to_owned),
            resumed,
        }
    }
}

fn protocol_name(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLS",
    }
}

/// RFC 8446 section 4.2.3 leaves RSA keys only PSS; TLS 1.2 leaves a choice rustls does not tell of.
fn signature_name(certificate: &Certificate, version: Option<ProtocolVersion>) -> String {
    let bits = certificate.key_bits;
    match (certificate.key_algorithm.as_str(), bits) {
        ("ECDSA", 256) => "ECDSA (prime256v1)".to_owned(),
        ("ECDSA", 384) => "ECDSA (secp384r1)".to_owned(),
        ("ECDSA", 521) => "ECDSA (secp521r1)".to_owned(),
        ("RSA", _) if version == Some(ProtocolVersion::TLSv1_3) => format!("RSA-PSS ({bits} bits)"),
        (algorithm, 0) => algorithm.to_owned(),
        ("Ed25519", _) => "Ed25519".to_owned(),
        (algorithm, _) => format!("{algorithm} ({bits} bits)"),
    }
}

/// RFC 8446 section 4.2.3 binds each curve to one digest; elsewhere there is a choice rustls does not tell of.
fn digest_name(certificate: &Certificate, version: Option<ProtocolVersion>) -> Option<String> {
    let digest = match (version?, certificate.key_algorithm.as_str(), certificate.key_bits) {
        (ProtocolVersion::TLSv1_3, "ECDSA", 256) => "SHA256",
        (ProtocolVersion::TLSv1_3, "ECDSA", 384) => "SHA384",
        (ProtocolVersion::TLSv1_3, "ECDSA", 521) => "SHA512",
        _ => return None,
    };
    Some(digest.to_owned())
}
