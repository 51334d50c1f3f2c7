//! A small PKI whose leaf names its OCSP responders, the `openssl ocsp` responder, and a server that says anything.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use estafette::cert::der::{SEQUENCE, wrap};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// id-pe-authorityInfoAccess.
const AUTHORITY_INFO_ACCESS: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 1, 1];
/// id-ad-ocsp, DER.
const OCSP: &[u8] = &[0x06, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 1];

/// An authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub der: Vec<u8>,
    pem: String,
    key_pem: String,
}

/// A certificate and its key.
pub struct Holder {
    pub der: Vec<u8>,
    pem: String,
    key_pem: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self {
            der: certificate.der().to_vec(),
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            issuer: Issuer::new(params, key),
        }
    }

    fn issue(&self, params: &CertificateParams) -> Holder {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Holder {
            der: certificate.der().to_vec(),
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }

    /// A leaf with this serial that names these responders.
    pub fn leaf(&self, serial: u8, responders: &[String]) -> Holder {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Alice Martin");
        params.serial_number = Some(vec![serial].into());
        let access = |url: &String| wrap(SEQUENCE, &[OCSP.to_vec(), wrap(0x86, url.as_bytes())].concat());
        let contents = wrap(SEQUENCE, &responders.iter().flat_map(access).collect::<Vec<u8>>());
        if !responders.is_empty() {
            let extension = CustomExtension::from_oid_content(AUTHORITY_INFO_ACCESS, contents);
            params.custom_extensions.push(extension);
        }
        self.issue(&params)
    }

    /// A responder's certificate with these usages.
    pub fn delegate(&self, usages: &[ExtendedKeyUsagePurpose], last_year: i32) -> Holder {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Responder");
        params.extended_key_usages = usages.to_vec();
        params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        self.issue(&params)
    }

    /// As the signer of its own answers.
    pub fn signer(&self) -> Holder {
        Holder {
            der: self.der.clone(),
            pem: self.pem.clone(),
            key_pem: self.key_pem.clone(),
        }
    }
}

/// The files of an `openssl ocsp` that knows serial 01 as good and 02 as revoked, and nothing else.
pub struct Files(tempfile::TempDir);

impl Files {
    pub fn new(authority: &Authority, signer: &Holder) -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        let index = "V\t460101000000Z\t\t01\tunknown\t/CN=a\nR\t460101000000Z\t260101000000Z\t02\tunknown\t/CN=b\n";
        for (name, text) in [
            ("index.txt", index),
            ("ca.pem", &authority.pem),
            ("signer.pem", &signer.pem),
            ("signer.key", &signer.key_pem),
        ] {
            fs::write(directory.path().join(name), text).expect("written");
        }
        Self(directory)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("openssl");
        command.current_dir(self.0.path());
        command.args(["ocsp", "-index", "index.txt", "-CA", "ca.pem", "-rsigner", "signer.pem"]);
        command.args(["-rkey", "signer.key", "-nmin", "5"]);
        command
    }

    /// The answer to a question, without a network.
    pub fn answer(&self, question: &[u8]) -> Vec<u8> {
        fs::write(self.path("question"), question).expect("written");
        let output = self
            .command()
            .args(["-reqin", "question", "-respout", "answer"])
            .output()
            .expect("openssl runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::read(self.path("answer")).expect("an answer")
    }
}

/// A running `openssl ocsp`; stopped when dropped.
pub struct Responder {
    child: Child,
    _files: Files,
}

impl Responder {
    pub fn start(files: Files, port: u16) -> Self {
        let mut command = files.command();
        command.args(["-port", &port.to_string()]);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("openssl runs");
        let stderr = child.stderr.take().expect("piped");
        // Its first words are that it listens, or why not.
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let told: Vec<String> = lines.by_ref().take(1).collect();
        assert!(
            told.iter().any(|line| line.contains("waiting for OCSP client")),
            "{told:?}"
        );
        // Somebody must go on reading.
        std::thread::spawn(move || lines.count());
        Self { child, _files: files }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that reads a request and says the same to everybody; nothing for an empty text.
pub struct Canned {
    pub url: String,
    pub asked: Arc<AtomicUsize>,
}

impl Canned {
    pub async fn start(says: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let url = format!("http://{}/ocsp", listener.local_addr().expect("bound"));
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        // Ends with the runtime of the test.
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let says = says.clone();
                tokio::spawn(async move {
                    let mut octets = [0; 4096];
                    let _ = stream.read(&mut octets).await;
                    if says.is_empty() {
                        // Until the other side gives up.
                        let _ = stream.read(&mut octets).await;
                    }
                    let _ = stream.write_all(&says).await;
                });
            }
        });
        Self { url, asked }
    }

    /// A server that gives this body with a status.
    pub async fn http(status: &str, body: &[u8]) -> Self {
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/ocsp-response\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        Self::start([head.as_bytes(), body].concat()).await
    }

    pub fn times(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

pub fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
