//! Certificates for the tests: the committed example PKI, and the odd and broken ones made with the openssl program.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use estafette::io::tls::pem;
use estafette::io::tls::settings::{ClientTlsFiles, RevocationSettings, ServerTlsFiles};
use rustls::pki_types::CertificateDer;

/// Seconds since the epoch.
pub(crate) fn now() -> i64 {
    let elapsed = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock past 1970");
    i64::try_from(elapsed.as_secs()).expect("a clock before the year 292 billion")
}

/// A directory of certificates, removed when dropped.
pub(crate) struct Pki(tempfile::TempDir);

impl Pki {
    /// The odd and the broken ones; made once while any test holds them.
    pub(crate) fn odd() -> Arc<Self> {
        static SHARED: Mutex<Weak<Pki>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let pki = Arc::new(Self::make_odd());
            *shared = Arc::downgrade(&pki);
            pki
        })
    }

    fn make_odd() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        run(Command::new("sh")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates/make.sh"))
            .arg(directory.path()));
        Self(directory)
    }

    /// The committed example PKI, its keys with the mode git does not keep.
    pub(crate) fn example() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for entry in std::fs::read_dir(example_directory()).expect("certs-example") {
            let from = entry.expect("an entry").path();
            let to = directory.path().join(from.file_name().expect("a name"));
            std::fs::copy(&from, &to).expect("copying");
            set_mode(&to, 0o600);
        }
        Self(directory)
    }

    /// The example PKI made anew.
    pub(crate) fn example_made_anew() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        run(Command::new("sh")
            .arg(example_directory().join("make.sh"))
            .arg(directory.path()));
        Self(directory)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The certificates of NAME.pem.
    pub(crate) fn chain(&self, name: &str) -> Vec<CertificateDer<'static>> {
        pem::certificates(&self.path(&format!("{name}.pem"))).expect("a certificate")
    }

    /// The relay of the example PKI.
    pub(crate) fn server_files(&self) -> ServerTlsFiles {
        ServerTlsFiles {
            certificate: self.path("server.crt"),
            key: self.path("server.key"),
            ca_file: Some(self.path("CAcert.pem")),
            ca_path: None,
            ask_client_certificate: true,
            verify_depth: 9,
            append_default_ca: false,
            tls12: true,
            revocation: RevocationSettings::default(),
            accept_email_protection: false,
        }
    }

    /// The outbound side of the example PKI.
    pub(crate) fn client_files(&self, certificate: Option<&str>) -> ClientTlsFiles {
        ClientTlsFiles {
            certificate_and_key: certificate
                .map(|name| (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")))),
            ca_file: Some(self.path("CAcert.pem")),
            ca_path: None,
            append_default_ca: false,
            tls12: true,
        }
    }
}

pub(crate) fn example_directory() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/certs-example"))
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("setting a mode");
}

/// Runs a program that must succeed; a missing program fails the test.
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    output
}

/// What `openssl x509` prints for a certificate.
pub(crate) fn openssl_x509(file: &Path, arguments: &[&str]) -> String {
    let output = run(Command::new("openssl")
        .args(["x509", "-noout", "-in"])
        .arg(file)
        .args(arguments));
    String::from_utf8(output.stdout).expect("UTF-8").trim_end().to_owned()
}
